"""What G-code could do is judged by what it comes to, not by how it is written."""

from __future__ import annotations

import pytest

from components.commands.danger import DANGER, effect_of
from components.commands.gcode import read_line
from components.printer.snapshot import Snapshot
from tests.unit.commands.support import MACROS, printing, ready


def hot() -> Snapshot:
    """A job at 210 and 60 °C."""
    job = printing()
    heaters = {
        "extruder": job.heaters["extruder"]._replace(target=210.0),
        "heater_bed": job.heaters["heater_bed"]._replace(target=60.0),
    }
    return job._replace(heaters=heaters)


def reasons(script: str, snapshot: Snapshot | None = None) -> str:
    return "; ".join(reason for _, reason in effect_of(script, snapshot or hot()).dangers)


@pytest.mark.parametrize("word", sorted(DANGER))
def test_each_word_of_the_table_is_what_klipper_reads_and_has_its_reason(word: str) -> None:
    assert read_line(word).word == word
    assert DANGER[word] in reasons(word)
    assert DANGER[word] in reasons(f"M117 first\nn5 {word.lower()} S1")


@pytest.mark.parametrize(
    "script",
    [
        "M104 S0",
        "m104",
        "N1 M104 T0 S0 ; off",
        "M140 S0",
        "M109 S45",
        "M190 S20",
        "SET_HEATER_TEMPERATURE HEATER=extruder TARGET=0",
        "SET_HEATER_TEMPERATURE HEATER=heater_bed",
        "M104 S180",
        "M140 S35",
        "TURN_OFF_HEATERS",
        "G4 P15000",
        "T1",
    ],
)
def test_what_takes_heat_from_a_job_or_holds_its_head(script: str) -> None:
    assert reasons(script)


@pytest.mark.parametrize(
    "script",
    ["M104 S200", "M104 S190", "M104 S240", "M140 S55", "M106 S0", "M107", "M220 S50", "M117 G28"],
)
def test_what_people_fine_tune_in_a_job(script: str) -> None:
    assert reasons(script) == ""


@pytest.mark.parametrize(
    ("macro", "said"),
    [
        ("PARK", ""),
        ("SAY", ""),
        ("HEAT", ""),
        ("AWAY X=5", "moves the head"),
        ("OUTER", "moves the head"),
        ("ANY CMD=G28", "works out its commands"),
        ("OFF", "turns a heater off"),
        ("WARM T=0", "works out a temperature"),
        ("GO FILE=x", "starts another"),
        ("AGAIN", "starts another"),
        ("LATER", "starts another"),
        ("_HIDDEN", "works out its commands"),
    ],
)
def test_macros_are_looked_through(macro: str, said: str) -> None:
    assert (said in reasons(macro)) if said else reasons(macro) == ""


@pytest.mark.parametrize("macro", ["GO", "AGAIN", "LATER", "ANY", "SDCARD_PRINT_FILE", "_HIDDEN"])
def test_a_macro_of_any_name_that_prints_prints(macro: str) -> None:
    assert effect_of(macro, ready()).prints
    assert effect_of(f"M117 hi\n{macro} X=1", ready()).prints


@pytest.mark.parametrize("macro", sorted(set(MACROS) - {"GO", "AGAIN", "LATER", "ANY"}))
def test_no_other_does(macro: str) -> None:
    assert effect_of(macro, ready()).prints == (macro == "SDCARD_PRINT_FILE")


def with_macros(renamed: dict[str, str] | None = None, **macros: str) -> Snapshot:
    """The job at 210 and 60 °C on a printer with these macros besides."""
    job = hot()
    known = job.machine.templates
    templates = known._replace(
        macros={**known.macros, **macros}, renamed={**known.renamed, **(renamed or {})}
    )
    return job._replace(
        macros=job.macros | set(macros), machine=job.machine._replace(templates=templates)
    )


RENAMED = {"M104.1": "M104", "M140.1": "M140", "HEAT_BASE": "SET_HEATER_TEMPERATURE"}


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("M104.1 S0", "turns a heater off"),
        ("M104.2 S50", "lets a heater cool by 160"),
        ("M140.1 S35", "lets a heater cool by 25"),
        ("M140.1", "turns a heater off"),
        ("HEAT_BASE HEATER=extruder TARGET=100", "lets a heater cool by 110"),
        ("M104.1 S200", ""),
        ("M104 S200", ""),  # its macro hands on what it is called with
        ("M104 S50", "lets a heater cool by 160"),
        ("OUT", "turns a heater off"),
    ],
)
def test_a_renamed_command_is_what_it_was(script: str, said: str) -> None:
    renamed = {**RENAMED, "M104.2": "M104.1"}
    macro = "{% set s = params.S %}\nM104.1 S{s}"
    reason = reasons(script, with_macros(renamed, M104=macro, OUT="M104.1 S0"))
    assert (said in reason) if said else reason == ""


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("M104 S50", "lets a heater cool by 160"),
        ("M104 S195", ""),
        ("M140 S30", "lets a heater cool by 30"),
        ("SET_HEATER_TEMPERATURE HEATER=heater_bed TARGET=20", "lets a heater cool by 40"),
        ("SET_HEATER_TEMPERATURE HEATER={params.H} TARGET=60", "lets a heater cool by 150"),
        ("M104 T{params.T} S50", "lets a heater cool by 160"),
        ("M104 {params.S}", "works out"),
        ("M140 S{params.S} ; S60", "works out a temperature"),
    ],
)
def test_a_macro_that_sets_a_low_temperature_cools(template: str, said: str) -> None:
    reason = reasons("STANDBY", with_macros(STANDBY=template))
    assert (said in reason) if said else reason == ""


def test_a_script_of_its_own_is_followed_as_a_macro_is() -> None:
    assert "starts another" in reasons("UPDATE_DELAYED_GCODE ID=start_it DURATION=1")
    assert effect_of("UPDATE_DELAYED_GCODE ID=start_it DURATION=1", ready()).prints
    assert "works out its commands" in reasons("RUN_SHELL_COMMAND CMD=x")


def test_our_own_scripts_save_what_no_job_goes_back_to() -> None:
    assert reasons("SAVE_GCODE_STATE NAME=tecmedhub") == ""
    assert "goes back" in reasons("SAVE_GCODE_STATE NAME=PAUSE_STATE")
    assert "goes back" in reasons("SAVE_GCODE_STATE NAME={params.N}")


@pytest.mark.parametrize(
    "template",
    [
        '{% set _ = action_call_remote_method("tecmedhub_bed_clear") %}',
        "{% if 1 %}{% set _ = action_call_remote_method( 'tecmedhub_bed_clear', a=1) %}{% endif %}",
        '{- action_call_remote_method(method="tecmedhub_bed_clear") }',
        '{"" ~ action_call_remote_method("tecmedhub_bed_clear")}',
    ],
)
def test_a_remote_method_is_found_wherever_it_is_called(template: str) -> None:
    assert effect_of("X", with_macros(X=template)).for_people == "tecmedhub_bed_clear"


@pytest.mark.parametrize(
    "template",
    [
        '{action_call_remote_method("tecmedhub_" ~ "bed_clear")}',
        "{% set clear = action_call_remote_method %}{clear('tecmedhub_bed_clear')}",
    ],
)
def test_a_remote_method_that_is_worked_out_could_be_any(template: str) -> None:
    assert "works out its commands" in reasons("X", with_macros(X=template))


def test_a_comment_calls_nothing() -> None:
    told = '{# {action_call_remote_method("tecmedhub_bed_clear")} #}\nM117 hi'
    assert effect_of("X", with_macros(X=told)) == effect_of("M117 hi", hot())


def test_what_is_for_people_is_found() -> None:
    assert effect_of("BED_CLEAR", ready()).for_people == "tecmedhub_bed_clear"
    assert effect_of("PARK", ready()).for_people == ""


def test_the_jobs_own_verbs_are_as_the_actions() -> None:
    assert reasons("PAUSE\nRESUME\nCANCEL_PRINT") == ""


def test_macros_that_call_each_other_have_an_end() -> None:
    circle = ready()
    templates = circle.machine.templates._replace(macros={"A": "B", "B": "A\nG28"})
    machine = circle.machine._replace(templates=templates)
    assert "moves" in reasons("A", circle._replace(machine=machine))
