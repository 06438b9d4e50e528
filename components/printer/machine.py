"""What a printer is, for as long as Klippy runs: its heaters, sensors, fans, macros and bounds.

Read from Klipper's object list, its `heaters` object and printer.cfg as Klipper understood it.
Pure.

`configfile.settings` has the names of sections and options in lower case, whatever printer.cfg
says; objects keep their case.
"""

import functools
from typing import Any, FrozenSet, List, Mapping, NamedTuple, Optional, Tuple

from ..runtime.loose import as_dict, as_float, as_list, as_text
from .part_fan import PartFan, find_part_fan

HEATER_FAMILIES = ("extruder", "heater_bed", "heater_generic")
MACRO = "gcode_macro "

Settings = Mapping[str, Mapping[str, Any]]


class Templates(NamedTuple):
    """What macros run, as printer.cfg has it; all names in upper case."""

    macros: Mapping[str, str] = {}  # G-code template by name
    delayed: Mapping[str, str] = {}  # of each delayed_gcode, likewise
    renamed: Mapping[str, str] = {}  # rename_existing → the name that it had


class Machine(NamedTuple):
    """`limits`: (min_temp, max_temp) in °C of each heater, by its object's name; `sensors`:
    objects with a temperature that are no heaters; `macros`: upper case, hidden ones included.
    """

    objects: FrozenSet[str] = frozenset()
    limits: Mapping[str, Tuple[float, float]] = {}
    sensors: Tuple[str, ...] = ()
    macros: FrozenSet[str] = frozenset()
    templates: Templates = Templates()
    part_fan: PartFan = PartFan()
    settings: Mapping[str, Mapping[str, Any]] = {}
    clock: Optional[float] = None  # seconds that the board's clock had run for when it was read

    def options(self, section: str) -> Mapping[str, Any]:
        """What printer.cfg says of a section, as Klipper understood it."""
        return self.settings.get(section.lower(), {})


def read_machine(available: List[str], asked: Mapping[str, Any], part_fan: str = "") -> Machine:
    """`available`: Klipper's object list; `asked`: its answer for `configfile`, `heaters` and
    `toolhead`; `part_fan`: the operator's word for it, "" if there is none.
    """
    settings = {
        str(name).lower(): as_dict(options)
        for name, options in as_dict(as_dict(asked.get("configfile")).get("settings")).items()
    }
    known = as_dict(asked.get("heaters"))
    there = frozenset(available)
    heaters = [as_text(name) for name in as_list(known.get("available_heaters"))]
    heaters += [n for n in available if family(n) in HEATER_FAMILIES and n not in heaters]
    sensors = [as_text(name) for name in as_list(known.get("available_sensors"))]
    return Machine(
        objects=there,
        limits={name: heater_limits(name, settings) for name in heaters if name in there},
        sensors=tuple(n for n in sensors if n in there and n not in heaters),
        macros=frozenset(n[len(MACRO) :].upper() for n in available if n.startswith(MACRO)),
        templates=templates_of(settings),
        part_fan=find_part_fan(available, settings, part_fan),
        settings={n: o for n, o in settings.items() if not n.startswith(MACRO)},
        clock=as_float(as_dict(asked.get("toolhead")).get("estimated_print_time")),
    )


def templates_of(settings: Settings) -> Templates:
    """What macros and delayed G-code run, of `configfile.settings`."""
    macros, delayed, renamed = {}, {}, {}
    for section, options in settings.items():
        kind, _, name = section.partition(" ")
        upper = name.strip().upper()
        if kind == "gcode_macro":
            macros[upper] = as_text(options.get("gcode"))
            alias = as_text(options.get("rename_existing")).strip().upper()
            if alias:
                renamed[alias] = upper
        elif kind == "delayed_gcode":
            delayed[upper] = as_text(options.get("gcode"))
    return Templates(macros, delayed, renamed)


def heater_limits(name: str, settings: Settings) -> Tuple[float, float]:
    """(min_temp, max_temp) in °C; zeros while unknown. An extruder may share another's heater."""
    options = as_dict(settings.get(name.lower()))
    shared = as_text(options.get("shared_heater"))
    if shared and "max_temp" not in options:
        options = as_dict(settings.get(shared.lower()))
    low, high = as_float(options.get("min_temp"), 0.0), as_float(options.get("max_temp"), 0.0)
    return low or 0.0, high or 0.0


@functools.lru_cache(maxsize=256)  # asked for each object of each snapshot
def family(name: str) -> str:
    """The kind of an object: "heater_generic chamber" → "heater_generic", "extruder1" →
    "extruder".

    >>> family("extruder1"), family("extruder_stepper a"), family("fan_generic aux")
    ('extruder', 'extruder_stepper', 'fan_generic')
    """
    first = name.split(" ", 1)[0]
    if first.startswith("extruder") and first[8:].isdigit():
        return "extruder"
    return first
