"""What people of the field expect beyond client v4's list: moves, filament, any heater, fan, pin or
light by name, objects to leave out (`height` has the nozzle's). Pure, as `orders`.

Each has its bounds from printer.cfg (`Snapshot.machine.settings`) and is confirmed by the state.
"""

from __future__ import annotations

from typing import Callable, Dict, Tuple

from ..printer.snapshot import Snapshot
from ..runtime.loose import as_bool, as_dict, as_float, as_list, as_text
from ..runtime.messages import say
from ..settings.model import Security
from . import gcode
from .actions import Parameter
from .danger import OUR_STATE
from .gcode import Refused
from .height import z_offset
from .order import Order, number, read_number
from .wire import Command

AXES = "xyz"
NEAR = 0.011  # mm: Klipper rounds what it tells
MOVE_SPEED = 50.0  # mm/s, of x and y where none is given
Z_SPEED = 5.0  # mm/s
FEED_SPEED = 5.0  # mm/s, of the filament
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
    before = snapshot.raw_position[3]
    return Order(
        "gcode",
        (_kept(f"M83\nG1 E{number(way)} F{number(speed * 60)}\nM400"),),
        reached=lambda now: abs(now.raw_position[3] - before - way * now.extrude_factor) < NEAR,
        done=lambda now: say("{length} mm of filament", length=number(way)),
        missed=lambda now: say("Klippy reports that the filament has not moved so far"),
    )


def set_pin(command: Command, snapshot: Snapshot, security: Security) -> Order:
    """`pin` by its name in printer.cfg, `value` from 0 to its scale."""
    name = _allowed(command, "pin", ("output_pin", "pwm_tool", "servo"), snapshot, security)
    options = snapshot.machine.options(name)
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
    scale = as_float(snapshot.machine.options(found).get("scale"), 1.0) or 1.0
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


def _limits(snapshot: Snapshot, which: str) -> Tuple[float, ...]:
    """How far G-code may go: the axes' ends, less what shifts its coordinates (G92, an offset)."""
    ends = as_list(snapshot.objects.get("toolhead", {}).get(f"axis_{which}"))
    raw = snapshot.raw_position
    return tuple(
        (as_float(end, 0.0) or 0.0) - (raw[i] - snapshot.position[i])
        for i, end in enumerate(ends[:3])
        if i < len(snapshot.position)
    )


def _setting(snapshot: Snapshot, section: str, option: str, default: float) -> float:
    return as_float(snapshot.machine.options(section).get(option), default) or default


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
