"""The height of the nozzle: `z_offset`, in steps, and how an offset is kept in printer.cfg. Pure,
as `orders`.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Tuple

from ..printer.snapshot import Snapshot
from ..runtime.loose import as_bool, as_float, as_list, as_text
from ..runtime.messages import say
from ..settings.model import Security
from .actions import Parameter
from .gcode import Refused
from .order import (
    ENDS_KLIPPY,
    RESTART_WITHIN,
    Failed,
    Order,
    check_restarted,
    number,
    read_number,
)
from .wire import Command

Z_STEP = 0.1  # mm: what a nozzle may come closer by at once


def z_offset(command: Command, snapshot: Snapshot, security: Security) -> Order:
    """`step` in mm, which lifts the nozzle (or lowers it, below 0); `save: true` keeps the offset,
    for which Klipper is restarted.
    """
    if as_bool(command.params.get("save")):
        return _save_offset(command, snapshot)
    step = read_number(command.params, Parameter("step", -Z_STEP, Z_STEP, "mm"))
    if "z" not in snapshot.homed_axes:
        raise Refused(say("{axis} is not homed: send home first.", axis="Z"))
    _check_room(snapshot, step)
    wanted = _offset(snapshot) + step
    return Order(
        "gcode",
        (f"SET_GCODE_OFFSET Z_ADJUST={number(step)} MOVE=1",),
        reached=lambda now: abs(_offset(now) - wanted) < 0.0005,
        done=lambda now: say("the offset is {offset} mm", offset=number(_offset(now))),
        missed=lambda now: say("Klippy reports the offset {offset}", offset=number(_offset(now))),
    )


def _check_room(snapshot: Snapshot, step: float) -> None:
    """Klipper keeps the offset of a move that it then refuses, and the next one makes up for it."""
    toolhead = snapshot.objects.get("toolhead", {})
    ends = [as_list(toolhead.get(name)) for name in ("axis_minimum", "axis_maximum")]
    place = snapshot.raw_position[2]
    if all(len(end) > 2 for end in ends):
        low, high = (as_float(end[2], 0.0) or 0.0 for end in ends)
        if not low <= place + step <= high:
            raise Refused(
                say(
                    "The nozzle is at {place} mm, and Z goes from {low} to {high} mm: move it"
                    " first.",
                    place=number(place),
                    low=number(low),
                    high=number(high),
                )
            )


def _save_offset(command: Command, snapshot: Snapshot) -> Order:
    if snapshot.busy:
        raise Refused(say("Klipper is restarted to keep the offset: send it after the job."))
    if not _offset(snapshot):
        raise Refused(say("There is no offset to keep: adjust it with step first."))
    sections = _homes_z(snapshot)
    pin = as_text(snapshot.machine.options(sections[0]).get("endstop_pin"))
    by_probe = "z_virtual_endstop" in pin
    if not by_probe:
        _check_endstops(snapshot, sections)
    word = "Z_OFFSET_APPLY_PROBE" if by_probe else "Z_OFFSET_APPLY_ENDSTOP"
    before = _heights(snapshot)

    def done(now: Snapshot) -> str:
        check_restarted(now)
        if _heights(now) == before:
            raise Failed(say("Klipper has restarted, but printer.cfg has the heights of before."))
        return say("the offset is kept")

    return Order(
        "save_config",
        (word,),
        done=done,
        missed=lambda now: say("Klippy has not come back"),
        within=RESTART_WITHIN,
        dangers=((command.action, ENDS_KLIPPY),),
        alone=True,
        strikes=True,
    )


def _homes_z(snapshot: Snapshot) -> Tuple[str, ...]:
    """The sections of printer.cfg by whose end stops Z is homed, as Klipper's manual_probe.py looks
    for them: [stepper_z], the [carriage …] of Z, or a delta's three towers."""
    settings = snapshot.machine.settings
    carriages = (n for n in settings if n.startswith("carriage ") and _axis(n, settings[n]) == "z")
    z = next((name for name in ("stepper_z", *carriages) if _known(snapshot, name)), "")
    if z:
        return (z,)
    delta = snapshot.machine.options("printer").get("kinematics", "delta") == "delta"
    if delta and _known(snapshot, "stepper_a"):
        return ("stepper_a", "stepper_b", "stepper_c")
    raise Refused(
        say(
            "printer.cfg does not tell by what Z is homed (an endstop_pin of [stepper_z], or of"
            " [stepper_a] on a delta), so the offset cannot be kept from here: keep it at the"
            " printer."
        )
    )


def _axis(section: str, options: Mapping[str, Any]) -> str:
    return as_text(options.get("axis")) or section.rpartition(" ")[2]


def _known(snapshot: Snapshot, section: str) -> bool:
    options = snapshot.machine.options(section)
    return "endstop_pin" in options or "position_endstop" in options


def _check_endstops(snapshot: Snapshot, sections: Tuple[str, ...]) -> None:
    """With an end stop beyond its axis, Klipper would not start any more: printer.cfg is a
    person's to mend then. A delta's second and third tower stand at the first's where printer.cfg
    has nothing of theirs, and Z_OFFSET_APPLY_ENDSTOP shuts Klippy down on that.
    """
    places = [as_float(snapshot.machine.options(one).get("position_endstop")) for one in sections]
    if any(place in (None, places[0]) for place in places[1:]):
        raise Refused(
            say(
                "Klipper keeps an offset only where each tower has a position_endstop of its own"
                " in printer.cfg: run DELTA_CALIBRATE and SAVE_CONFIG at the printer first, which"
                " write them."
            )
        )
    for section, place in zip(sections, places):
        if place is not None:
            _check_endstop(snapshot, section, place)


def _check_endstop(snapshot: Snapshot, section: str, place: float) -> None:
    options = snapshot.machine.options(section)
    low = as_float(options.get("position_min"), 0.0) or 0.0
    high = as_float(options.get("position_max"))
    new = place - _offset(snapshot)
    if new < low or (high is not None and new > high):
        raise Refused(
            say(
                "With this offset the end stop of Z would be at {place} mm, beyond the axis"
                " ({low} to {high} mm), and Klipper would not start: change position_min or"
                " position_max of [{section}] in printer.cfg first.",
                place=number(new),
                low=number(low),
                high="–" if high is None else number(high),
                section=section,
            )
        )


def _heights(snapshot: Snapshot) -> Dict[str, Any]:
    """What Z_OFFSET_APPLY_ENDSTOP and Z_OFFSET_APPLY_PROBE change in printer.cfg."""
    return {
        f"{section} {name}": options[name]
        for section, options in snapshot.machine.settings.items()
        for name in ("position_endstop", "z_offset")
        if name in options
    }


def _offset(snapshot: Snapshot) -> float:
    origin = as_list(snapshot.objects.get("gcode_move", {}).get("homing_origin"))
    return (as_float(origin[2], 0.0) or 0.0) if len(origin) > 2 else 0.0
