"""What a G-code action sends to Klippy, and by what one sees that it worked. Pure.

`order_for` also holds every bound that depends on the printer: a value out of range is refused,
never clamped.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Tuple

from ..printer.snapshot import Heater, Snapshot
from ..runtime.loose import as_float, as_text
from ..runtime.records import NamedTuple
from ..settings.model import Security
from . import gcode
from .actions import ACTIONS, Parameter
from .gcode import Refused
from .wire import Command

FAN_MAX = 255.0
CLOSE = 0.02  # of a fan's full speed; Klipper may round and scale it (max_power)


class Order(NamedTuple):
    """G-code, and the state that shows its success."""

    script: str
    reached: Callable[[Snapshot], bool]
    done: str  # the result's message
    missed: Callable[[Snapshot], str]  # what Klippy reports instead
    good_enough: Callable[[Snapshot], bool] = lambda snapshot: False
    moving: Tuple[str, ...] = ()  # words that would disturb a job
    starts_print: bool = False


def order_for(command: Command, snapshot: Snapshot, security: Security) -> Order:
    """The order for a command of the G-code lane; raises `Refused` with the reason."""
    return _BUILDERS[command.action](command, snapshot, security)


def read_number(params: Mapping[str, Any], wanted: Parameter) -> float:
    """A parameter within its bounds; raises `Refused`."""
    bounds = f"{_number(wanted.low)} to {_number(wanted.high)}{_unit(wanted.unit)}"
    given = params.get(wanted.name)
    if given is None or given == "":
        raise Refused(f"The parameter {wanted.name} is missing: give a number from {bounds}.")
    value = as_float(given)
    if value is None:
        raise Refused(f"The parameter {wanted.name} is no number: give one from {bounds}.")
    if not wanted.low <= value <= wanted.high:
        raise Refused(
            f"{wanted.name} {_number(value)} is out of range: give a number from {bounds}."
        )
    return value


def _home(command: Command, snapshot: Snapshot, security: Security) -> Order:
    axis = command.action[len("home_") :]
    axes = axis or "xyz"
    return Order(
        script=f"G28 {axis.upper()}".strip(),
        reached=lambda now: set(axes) <= set(now.homed_axes),
        done=f"homed {' '.join(axes.upper())}",
        missed=lambda now: (
            f"Klippy reports these axes as homed: {now.homed_axes.upper() or 'none'}"
        ),
    )


def _heat(command: Command, snapshot: Snapshot, security: Security) -> Order:
    asked: List[Tuple[Heater, float]] = []
    named = (
        ("hotend_temp", snapshot.extruder, "hotend"),
        ("bed_temp", snapshot.bed, "heated bed"),
    )
    for name, heater, what in named:
        given = command.params.get(name)
        if given is None or given == "":
            continue
        if heater is None:
            raise Refused(f"This printer has no {what}: leave {name} out.")
        if heater.max_temp <= 0:
            raise Refused(f"The limits of the {what} are not known yet: try again in a moment.")
        asked.append(
            (heater, read_number(command.params, Parameter(name, 0, heater.max_temp, "°C")))
        )
    if not asked:
        raise Refused("heat names no heater: give hotend_temp, bed_temp or both.")
    targets = {heater.name: value for heater, value in asked}
    lines = [
        f"SET_HEATER_TEMPERATURE HEATER={name.split(' ')[-1]} TARGET={_number(value)}"
        for name, value in targets.items()
    ]
    return Order(
        script="\n".join(lines),
        reached=lambda now: all(_has_target(now, name, value) for name, value in targets.items()),
        done=", ".join(f"{name} {_number(value)} °C" for name, value in targets.items()),
        missed=lambda now: "Klippy reports the targets " + _targets(now, targets),
    )


def _cool_down(command: Command, snapshot: Snapshot, security: Security) -> Order:
    return Order(
        script="TURN_OFF_HEATERS",
        reached=lambda now: not any(heater.target for heater in now.heaters.values()),
        done="all heaters are off",
        missed=lambda now: "Klippy reports the targets " + _targets(now, now.heaters),
    )


def _set_speed(command: Command, snapshot: Snapshot, security: Security) -> Order:
    value = read_number(command.params, ACTIONS["set_speed"].numbers[0])
    return Order(
        script=f"M220 S{_number(value)}",
        reached=lambda now: abs(now.speed_factor * 100 - value) < 0.1,
        done=f"speed {_number(value)} %",
        missed=lambda now: f"Klippy reports a speed of {_number(now.speed_factor * 100)} %",
    )


def _set_flow(command: Command, snapshot: Snapshot, security: Security) -> Order:
    value = read_number(command.params, ACTIONS["set_flow"].numbers[0])
    return Order(
        script=f"M221 S{_number(value)}",
        reached=lambda now: abs(now.extrude_factor * 100 - value) < 0.1,
        done=f"flow {_number(value)} %",
        missed=lambda now: f"Klippy reports a flow of {_number(now.extrude_factor * 100)} %",
    )


def _toggle_fan(command: Command, snapshot: Snapshot, security: Security) -> Order:
    return _fan(0.0 if (snapshot.fan_speed or 0.0) > 0 else FAN_MAX, snapshot)


def _set_fan(command: Command, snapshot: Snapshot, security: Security) -> Order:
    return _fan(read_number(command.params, ACTIONS["set_fan"].numbers[0]), snapshot)


def _fan_off(command: Command, snapshot: Snapshot, security: Security) -> Order:
    return _fan(0.0, snapshot)


def _fan(value: float, snapshot: Snapshot) -> Order:
    if snapshot.fan_speed is None:
        raise Refused("This printer has no part fan ([fan] in printer.cfg).")
    wanted = value / FAN_MAX
    return Order(
        script=f"M106 S{_number(value)}" if value > 0 else "M107",
        reached=lambda now: abs((now.fan_speed or 0.0) - wanted) < (CLOSE if value > 0 else 1e-6),
        done=f"fan {_number(round(wanted * 100, 1))} %",
        missed=lambda now: (
            f"Klippy reports the fan at {_number(round((now.fan_speed or 0) * 100, 1))} %"
        ),
        good_enough=lambda now: value > 0 and (now.fan_speed or 0.0) > 0,  # max_power scales it
    )


def _gcode(command: Command, snapshot: Snapshot, security: Security) -> Order:
    text = command.params.get("gcode")
    if not isinstance(text, str) or not text.strip():
        raise Refused("The parameter gcode is missing: give the G-code as a text.")
    script = gcode.check_script(text, security.allowed_gcode_patterns)
    return Order(
        script=script.text,
        reached=lambda now: True,
        done="",
        missed=lambda now: "",
        moving=script.moving,
        starts_print=not gcode.STARTS_PRINT.isdisjoint(script.words),
    )


def _macro(command: Command, snapshot: Snapshot, security: Security) -> Order:
    name = as_text(command.params.get("macro_name")).strip()
    if not name:
        raise Refused("The parameter macro_name is missing: give the name of a macro.")
    parameters = command.params.get("params") or {}
    if not isinstance(parameters, dict):
        raise Refused("The macro's params are no object: give NAME: value pairs.")
    call = gcode.build_macro_call(name, parameters)
    word = name.upper()
    if word.startswith("_"):
        raise Refused(
            f"{word} is a hidden macro (its name begins with _): only others may be called."
        )
    if word not in snapshot.macros:
        raise Refused(
            f"There is no gcode_macro {word} in the printer's configuration: check its name."
        )
    if not any(gcode.matches_name(word, pattern) for pattern in security.allowed_macros):
        allowed = ", ".join(security.allowed_macros) or "none"
        raise Refused(
            f"{word} is not among security.allowed_macros ({allowed}): allow it on the printer."
        )
    return Order(
        script=call,
        reached=lambda now: True,
        done="",
        missed=lambda now: "",
        moving=(word,) if gcode.moves(word) else (),
    )


_BUILDERS: Dict[str, Callable[[Command, Snapshot, Security], Order]] = {
    "home": _home,
    "home_x": _home,
    "home_y": _home,
    "home_z": _home,
    "heat": _heat,
    "cool_down": _cool_down,
    "set_speed": _set_speed,
    "set_flow": _set_flow,
    "toggle_fan": _toggle_fan,
    "set_fan": _set_fan,
    "fan_off": _fan_off,
    "gcode": _gcode,
    "macro": _macro,
}


def _has_target(snapshot: Snapshot, name: str, value: float) -> bool:
    heater = snapshot.heaters.get(name)
    return heater is not None and heater.target is not None and abs(heater.target - value) < 0.01


def _targets(snapshot: Snapshot, names: Mapping[str, Any]) -> str:
    found = [snapshot.heaters[name] for name in names if name in snapshot.heaters]
    return (
        ", ".join(f"{heater.name} {_number(heater.target or 0.0)} °C" for heater in found) or "none"
    )


def _number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""
