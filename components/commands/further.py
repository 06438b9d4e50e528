"""What people of the field expect beyond client v4's list: moves, filament, any heater, fan, pin or
light by name, the height of the nozzle, objects to leave out. Pure, as `orders`.

Each has its bounds from printer.cfg (`Snapshot.machine.settings`) and is confirmed by the state.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Tuple

from ..printer.snapshot import Snapshot
from ..runtime.loose import as_bool, as_dict, as_float, as_list, as_text
from ..runtime.messages import say
from ..settings.model import Security
from . import gcode
from .actions import Parameter
from .danger import OUR_STATE
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

AXES = "xyz"
NEAR = 0.011  # mm: Klipper rounds what it tells
MOVE_SPEED = 50.0  # mm/s, of x and y where none is given
Z_SPEED = 5.0  # mm/s
FEED_SPEED = 5.0  # mm/s, of the filament
Z_STEP = 0.1  # mm: what a nozzle may come closer by at once
ONLY_FILAMENT = 50.0  # mm, Klipper's max_extrude_only_distance by default

Builder = Callable[[Command, Snapshot, Security], Order]


def move(command: Command, snapshot: Snapshot, security: Security) -> Order:
    """`x`, `y`, `z` in mm: a place, or with `relative: true` a way; `speed` in mm/s."""
    relative = as_bool(command.params.get("relative"))
    here, low, high = _place(snapshot), _limits(snapshot, "minimum"), _limits(snapshot, "maximum")
    targets: Dict[int, float] = {}
    for index, axis in enumerate(AXES):
        if command.params.get(axis) in (None, ""):
            continue
        if axis not in snapshot.homed_axes or index >= min(len(here), len(low), len(high)):
            raise Refused(say("{axis} is not homed: send home first.", axis=axis.upper()))
        start = here[index] if relative else 0.0
        bounds = Parameter(axis, low[index] - start, high[index] - start, "mm")
        targets[index] = start + read_number(command.params, bounds)
    if not targets:
        raise Refused(say("move names no axis: give x, y or z in mm."))
    highest = _setting(snapshot, "printer", "max_velocity", 300.0)
    usual = Z_SPEED if set(targets) == {2} else MOVE_SPEED
    speed = _optional(command, Parameter("speed", 0.1, highest, "mm/s"), min(usual, highest))
    words = " ".join(f"{AXES[index].upper()}{number(value)}" for index, value in targets.items())
    return Order(
        "gcode",
        (_kept(f"G90\nG1 {words} F{number(speed * 60)}\nM400"),),
        reached=lambda now: all(
            index < len(now.position) and abs(now.position[index] - value) < NEAR
            for index, value in targets.items()
        ),
        done=lambda now: say("at {place}", place=words),
        missed=lambda now: say(
            "Klippy reports the place {place}",
            place=" ".join(f"{a.upper()}{number(p)}" for a, p in zip(AXES, now.position)),
        ),
    )


def extrude(command: Command, snapshot: Snapshot, security: Security) -> Order:
    """`length` in mm of filament, `speed` in mm/s; `retract` is the same backwards."""
    heater = snapshot.extruder
    if heater is None:
        raise Refused(say("This printer has no hotend."))
    longest = _setting(snapshot, heater.name, "max_extrude_only_distance", ONLY_FILAMENT)
    fastest = _setting(snapshot, heater.name, "max_extrude_only_velocity", 100.0)
    length = read_number(command.params, Parameter("length", 0.1, longest, "mm"))
    speed = _optional(command, Parameter("speed", 0.1, min(fastest, 100.0), "mm/s"), FEED_SPEED)
    coldest = _setting(snapshot, heater.name, "min_extrude_temp", 170.0)
    if (heater.temperature or 0.0) < coldest:
        raise Refused(
            say(
                "{heater} is at {now:.0f} °C, and filament moves from {least:.0f} °C on: heat it"
                " first.",
                heater=heater.name,
                now=heater.temperature or 0.0,
                least=coldest,
            )
        )
    way = length if command.action == "extrude" else -length
    before = _raw(snapshot)[3]
    return Order(
        "gcode",
        (_kept(f"M83\nG1 E{number(way)} F{number(speed * 60)}\nM400"),),
        reached=lambda now: abs(_raw(now)[3] - before - way * now.extrude_factor) < NEAR,
        done=lambda now: say("{length} mm of filament", length=number(way)),
        missed=lambda now: say("Klippy reports that the filament has not moved so far"),
    )


def set_pin(command: Command, snapshot: Snapshot, security: Security) -> Order:
    """`pin` by its name in printer.cfg, `value` from 0 to its scale."""
    name = _allowed(command, "pin", ("output_pin", "pwm_tool", "servo"), snapshot, security)
    options = _options(snapshot, name)
    short = name.partition(" ")[2]
    scale = as_float(options.get("scale"), 1.0) or 1.0
    value = read_number(command.params, Parameter("value", 0, scale, ""))
    if (
        not as_bool(options.get("pwm"))
        and name.startswith("output_pin")
        and value not in (0, scale)
    ):
        raise Refused(
            say("{pin} is on or off: give 0 or {on} as its value.", pin=short, on=number(scale))
        )
    return Order(
        "gcode",
        (f"SET_PIN PIN={short} VALUE={number(value)}",),
        reached=lambda now: abs((now.pins.get(name) or 0.0) - value / scale) < NEAR,
        done=lambda now: f"{short} {number(value)}",
        missed=lambda now: say(
            "Klippy reports {pin} at {value}",
            pin=short,
            value=number((now.pins.get(name) or 0.0) * scale),
        ),
    )


_COLOURS = ("red", "green", "blue", "white")


def led(command: Command, snapshot: Snapshot, security: Security) -> Order:
    """`led` by its name in printer.cfg; `red`, `green`, `blue`, `white` from 0 to 1."""
    kinds = ("neopixel", "dotstar", "led", "pca9533", "pca9632")
    name = _allowed(command, "led", kinds, snapshot, security)
    short = name.partition(" ")[2]
    colours = [_optional(command, Parameter(colour, 0, 1, ""), 0.0) for colour in _COLOURS]
    words = " ".join(f"{c.upper()}={number(v)}" for c, v in zip(_COLOURS, colours))

    def shows(now: Snapshot) -> bool:
        lights = as_list(now.objects.get(name, {}).get("color_data"))
        return bool(lights) and all(
            abs((as_float(seen) or 0.0) - wanted) < NEAR
            for light in lights
            for seen, wanted in zip(light, colours)
        )

    return Order(
        "gcode",
        (f"SET_LED LED={short} {words} SYNC=0",),
        reached=shows,
        done=lambda now: f"{short} {words}",
        missed=lambda now: say("Klippy reports other colours of {led}", led=short),
    )


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
    place = _raw(snapshot)[2]
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
    by_probe = "z_virtual_endstop" in as_text(_options(snapshot, sections[0]).get("endstop_pin"))
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
    delta = _options(snapshot, "printer").get("kinematics", "delta") == "delta"
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
    options = _options(snapshot, section)
    return "endstop_pin" in options or "position_endstop" in options


def _check_endstops(snapshot: Snapshot, sections: Tuple[str, ...]) -> None:
    """With an end stop beyond its axis, Klipper would not start any more: printer.cfg is a
    person's to mend then. A delta's second and third tower stand at the first's where printer.cfg
    has nothing of theirs, and Z_OFFSET_APPLY_ENDSTOP shuts Klippy down on that.
    """
    places = [as_float(_options(snapshot, one).get("position_endstop")) for one in sections]
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
    options = _options(snapshot, section)
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


def exclude_object(command: Command, snapshot: Snapshot, security: Security) -> Order:
    """`object`: one of the job's, which is not printed any further."""
    if not snapshot.busy:
        raise Refused(say("Nothing is being printed, so there is no object to leave out."))
    known = {
        as_text(as_dict(one).get("name")): one
        for one in as_list(snapshot.objects.get("exclude_object", {}).get("objects"))
    }
    name = as_text(command.params.get("object")).strip()
    wanted = next((one for one in known if one.upper() == name.upper()), "")
    if not wanted:
        raise Refused(
            say(
                "The job has no object {name}: it has {known}.",
                name=f'"{name}"',
                known=", ".join(sorted(known)[:20]) or say("none"),
            )
        )

    def left_out(now: Snapshot) -> bool:
        excluded = as_list(now.objects.get("exclude_object", {}).get("excluded_objects"))
        return wanted in excluded

    return Order(
        "gcode",
        (gcode.build_macro_call("EXCLUDE_OBJECT", {"NAME": wanted}),),
        reached=left_out,
        done=lambda now: say("{name} is left out", name=wanted),
        missed=lambda now: say("Klippy reports that {name} is printed on", name=wanted),
        alone=True,  # behind somebody's script another job may begin, and call its own the same
    )


def set_named_fan(named: str, share: float, snapshot: Snapshot) -> Order:
    """A fan by its name in printer.cfg, at a share from 0 to 1: those that G-code can set."""
    named = named.strip()
    found = find_object(named, ("fan_generic", "output_pin", "pwm_tool"), snapshot)
    if named.lower() == "fan" and "fan" in snapshot.machine.objects:
        found = "fan"
    if not found or found not in snapshot.fans:
        raise Refused(
            say(
                "There is no fan {name} that can be set: this printer has {known}.",
                name=f'"{named}"',
                known=", ".join(sorted(snapshot.fans)) or say("none"),
            )
        )
    short = found.split(" ")[-1]
    scale = as_float(_options(snapshot, found).get("scale"), 1.0) or 1.0
    script = f"M106 S{number(share * 255)}"
    if found != "fan":
        script = f"SET_FAN_SPEED FAN={short} SPEED={number(share)}"
    if not found.startswith("fan"):
        script = f"SET_PIN PIN={short} VALUE={number(share * scale)}"
    return Order(
        "gcode",
        (script,),
        reached=lambda now: abs((now.fans.get(found) or 0.0) - share) < 0.02,
        good_enough=lambda now: share > 0 and (now.fans.get(found) or 0.0) > 0,
        done=lambda now: f"{short} {number(round(share * 100, 1))} %",
        missed=lambda now: say(
            "Klippy reports {fan} at {speed} %",
            fan=short,
            speed=number(round((now.fans.get(found) or 0.0) * 100, 1)),
        ),
    )


def power(command: Command, snapshot: Snapshot, security: Security) -> Order:
    """`device` of Moonraker's [power], `state`: on or off."""
    name = as_text(command.params.get("device")).strip()
    if not any(gcode.matches_name(name, one) for one in security.allowed_power_devices):
        raise Refused(
            say(
                "{name} is not among security.allowed_power_devices ({allowed}): allow it on the"
                " printer.",
                name=f'"{name}"',
                allowed=", ".join(security.allowed_power_devices) or say("none"),
            )
        )
    state = as_text(command.params.get("state")).strip().lower()
    if state not in ("on", "off"):
        raise Refused(say("power wants a state: on or off."))
    off = ((command.action, say("switches something off")),) if state == "off" else ()
    return Order("power", (name, state == "on"), dangers=off)


def queue(command: Command, snapshot: Snapshot, security: Security) -> Order:
    """Moonraker's job queue: queue_start, queue_pause, queue_clear, queue_remove (`job`)."""
    verb = command.action[len("queue_") :]
    job = as_text(command.params.get("job")).strip()
    if verb == "remove" and not job:
        raise Refused(say("queue_remove names no job: give its id or its file as job."))
    return Order("queue", (verb, job), prints=verb == "start")


BUILDERS: Dict[str, Builder] = {
    "power": power,
    "queue_start": queue,
    "queue_pause": queue,
    "queue_clear": queue,
    "queue_remove": queue,
    "move": move,
    "extrude": extrude,
    "retract": extrude,
    "set_pin": set_pin,
    "led": led,
    "z_offset": z_offset,
    "exclude_object": exclude_object,
}


# What is known of the printer


def _kept(script: str) -> str:
    """A script that leaves the ways of moving as they were."""
    return f"SAVE_GCODE_STATE NAME={OUR_STATE}\n{script}\nRESTORE_GCODE_STATE NAME={OUR_STATE}"


def _place(snapshot: Snapshot) -> Tuple[float, ...]:
    return snapshot.position[:3]


def _raw(snapshot: Snapshot) -> Tuple[float, ...]:
    """Where Klipper's own coordinates stand: x, y, z, e; these go on whatever G92 says."""
    place = as_list(snapshot.objects.get("gcode_move", {}).get("position"))
    return tuple(as_float(value, 0.0) or 0.0 for value in place) if len(place) > 3 else (0.0,) * 4


def _limits(snapshot: Snapshot, which: str) -> Tuple[float, ...]:
    """How far G-code may go: the axes' ends, less what shifts its coordinates (G92, an offset)."""
    ends = as_list(snapshot.objects.get("toolhead", {}).get(f"axis_{which}"))
    raw = _raw(snapshot)
    return tuple(
        (as_float(end, 0.0) or 0.0) - (raw[i] - snapshot.position[i])
        for i, end in enumerate(ends[:3])
        if i < len(snapshot.position)
    )


def _offset(snapshot: Snapshot) -> float:
    origin = as_list(snapshot.objects.get("gcode_move", {}).get("homing_origin"))
    return (as_float(origin[2], 0.0) or 0.0) if len(origin) > 2 else 0.0


def _options(snapshot: Snapshot, section: str) -> Mapping[str, Any]:
    return snapshot.machine.settings.get(section.lower(), {})


def _setting(snapshot: Snapshot, section: str, option: str, default: float) -> float:
    return as_float(_options(snapshot, section).get(option), default) or default


def _optional(command: Command, wanted: Parameter, default: float) -> float:
    if command.params.get(wanted.name) in (None, ""):
        return default
    return read_number(command.params, wanted)


def _allowed(
    command: Command,
    parameter: str,
    kinds: Tuple[str, ...],
    snapshot: Snapshot,
    security: Security,
) -> str:
    """The object of Klipper's that the command names, if the operator allows it."""
    named = as_text(command.params.get(parameter)).strip()
    found = find_object(named, kinds, snapshot)
    if not found:
        raise Refused(
            say(
                "There is no {kind} {name} in the printer's configuration: check its name.",
                kind=parameter,
                name=f'"{named}"',
            )
        )
    short = found.partition(" ")[2]
    if not any(gcode.matches_name(short, pattern) for pattern in security.allowed_pins):
        raise Refused(
            say(
                "{name} is not among security.allowed_pins ({allowed}): allow it on the printer.",
                name=short,
                allowed=", ".join(security.allowed_pins) or say("none"),
            )
        )
    return found


def find_object(named: str, kinds: Tuple[str, ...], snapshot: Snapshot) -> str:
    """The full name of an object of these kinds, named in full or without its kind, whatever the
    case; "" if there is none.
    """
    for name in sorted(snapshot.machine.objects):
        kind, _, short = name.partition(" ")
        if kind in kinds and named and named.lower() in (name.lower(), short.lower()):
            return name
    return ""
