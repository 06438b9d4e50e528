"""The operator's settings, from what is written to what is in force, and back.

What is written: `conf` reads moonraker.conf, `jsonc` a JSON file. `loader` makes of it what is in
force, by the table of `options`; `values` reads one value, `operator` the operator's own actions;
`caution` and `memory` keep accidents from widening anything. `override` keeps `model.LiveSettings`
in step with the files, and `saving` writes them for the panel.
"""
