"""What a hub may ask of this very printer, with bounds: `client.actions` of the status, from which
it can draw buttons. Pure.
"""

import fnmatch
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..printer.snapshot import Snapshot
from ..runtime.loose import as_float, as_list
from ..settings.model import OperatorAction, OperatorParameter, Settings
from .actions import ACTIONS, Action, Parameter, find_action
from .further import AXES, ONLY_FILAMENT, find_object
from .gcode import matches_name
from .height import Z_STEP
from .policy import LEVELS, MAX_NAME

Offer = Dict[str, Any]


class Parts(NamedTuple):
    """What Moonraker has besides the printer."""

    power_devices: Tuple[str, ...] = ()
    spoolman: bool = False


NO_PARTS = Parts()


class Offers:
    """Makes the list anew when the printer's parts or the settings have changed."""

    def __init__(self) -> None:
        self._of: Tuple[Any, ...] = ()
        self._parts = Parts()
        self._offers: List[Offer] = []

    def of(self, snapshot: Snapshot, settings: Settings, parts: Parts = NO_PARTS) -> List[Offer]:
        of = (snapshot.machine, snapshot.ready, settings)
        same = len(self._of) == len(of) and all(a is b for a, b in zip(self._of, of))
        if not same or parts != self._parts:
            self._of, self._parts = of, parts
            self._offers = offers(snapshot, settings, parts)
        return self._offers


def offers(snapshot: Snapshot, settings: Settings, parts: Parts = NO_PARTS) -> List[Offer]:
    """`{name, parameters: {name: {type, min, max, unit, choices, default}}, danger, description}`
    of each action that is allowed here and that this printer has the parts for.
    """
    found: List[Offer] = []
    bounds = _bounds(snapshot, settings, parts)
    for action in ACTIONS.values():
        if _allowed(action, settings) and bounds.get(action.name, {}) is not None:
            found.append({"name": action.name, "parameters": bounds.get(action.name) or {}})
    for name, mine in settings.actions.items():
        its = find_action(name, settings.actions)
        if its is not None and _allowed(its, settings):
            found.append(_own(mine))
    return found


def _allowed(action: Action, settings: Settings) -> bool:
    security = settings.security
    if LEVELS.index(security.remote_control) < LEVELS.index(action.level):
        return False
    denied = (pattern.strip().lower() for pattern in security.denied_actions)
    return not any(fnmatch.fnmatchcase(action.name, pattern) for pattern in denied)


def _bounds(snapshot: Snapshot, settings: Settings, parts: Parts) -> Mapping[str, Optional[Offer]]:
    """The parameters of those that have bounds; None of one that this printer cannot do."""
    hotend, bed = snapshot.extruder, snapshot.bed
    heat: Offer = {}
    if hotend is not None:
        heat["hotend_temp"] = _number(0, hotend.max_temp, "°C")
    if bed is not None:
        heat["bed_temp"] = _number(0, bed.max_temp, "°C")
    if snapshot.heaters:
        heat["heater"] = {"type": "choice", "choices": sorted(snapshot.heaters)}
    low = as_list(snapshot.objects.get("toolhead", {}).get("axis_minimum"))
    high = as_list(snapshot.objects.get("toolhead", {}).get("axis_maximum"))
    axes = {
        axis: _number(as_float(low[i], 0.0), as_float(high[i], 0.0), "mm")
        for i, axis in enumerate(AXES)
        if i < min(len(low), len(high))
    }
    filament: Optional[Offer] = None
    if hotend is not None:
        options = snapshot.machine.options(hotend.name)
        longest = as_float(options.get("max_extrude_only_distance"), ONLY_FILAMENT)
        filament = {"length": _number(0.1, longest or ONLY_FILAMENT, "mm")}
    pins = _permitted(snapshot, settings, ("output_pin", "pwm_tool", "servo"))
    leds = _permitted(snapshot, settings, ("neopixel", "dotstar", "led", "pca9533", "pca9632"))
    fan = ACTIONS["set_fan"].numbers[0]
    part_fan: Optional[Offer] = None if snapshot.fan_speed is None else {}
    objects = snapshot.machine.objects
    return {
        "heat": heat or None,
        "set_speed": _of_numbers(ACTIONS["set_speed"].numbers),
        "set_flow": _of_numbers(ACTIONS["set_flow"].numbers),
        "set_fan": None if not snapshot.fans else _of_numbers((fan,)),
        "toggle_fan": part_fan,
        "fan_off": part_fan,
        "move": axes or None,
        "extrude": filament,
        "retract": filament,
        "set_pin": {"pin": {"type": "choice", "choices": pins}} if pins else None,
        "led": {"led": {"type": "choice", "choices": leds}} if leds else None,
        "z_offset": {"step": _number(-Z_STEP, Z_STEP, "mm")},
        "exclude_object": {} if "exclude_object" in objects else None,
        "power": _power(settings, parts),
        "spool": _of_numbers(ACTIONS["spool"].numbers) if parts.spoolman else None,
        "delete_file": {"file": {"type": "text", "max_length": MAX_NAME}},
    }


def _power(settings: Settings, parts: Parts) -> Optional[Offer]:
    allowed = [
        name
        for name in parts.power_devices
        if any(matches_name(name, one) for one in settings.security.allowed_power_devices)
    ]
    if not allowed:
        return None
    return {
        "device": {"type": "choice", "choices": allowed},
        "state": {"type": "choice", "choices": ["on", "off"]},
    }


def _permitted(snapshot: Snapshot, settings: Settings, kinds: Tuple[str, ...]) -> List[str]:
    names = (name.partition(" ") for name in snapshot.machine.objects)
    return sorted(
        short
        for kind, _, short in names
        if kind in kinds
        and find_object(short, kinds, snapshot)
        and any(matches_name(short, pattern) for pattern in settings.security.allowed_pins)
    )


def _of_numbers(numbers: Tuple[Parameter, ...]) -> Offer:
    return {one.name: _number(one.low, one.high, one.unit) for one in numbers}


def _number(low: float, high: float, unit: str) -> Offer:
    return {"type": "number", "min": low, "max": high, "unit": unit}


def _own(mine: OperatorAction) -> Offer:
    return {
        "name": mine.name,
        "parameters": {one.name: _parameter(one) for one in mine.parameters},
        "danger": mine.danger,
        "description": mine.description,
    }


def _parameter(one: OperatorParameter) -> Offer:
    shown: Offer = {"type": one.kind}
    if one.kind == "number":
        shown.update(_number(one.low, one.high, one.unit))
    elif one.kind == "choice":
        shown["choices"] = list(one.choices)
    elif one.kind == "text":
        shown["max_length"] = one.longest
    if one.default is not None:
        shown["default"] = one.default
    return shown


def offered(offers: Sequence[Mapping[str, Any]]) -> List[Offer]:
    """What `client.actions` offers, each with the parameter that it cannot do without."""
    found = []
    for offer in offers:
        parameters = dict(offer["parameters"])
        known = ACTIONS.get(offer["name"])
        if known is not None and known.main and not parameters:
            parameters[known.main] = {"type": "text"}
        found.append(dict(offer, parameters=parameters))
    return found
