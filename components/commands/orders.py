"""What each command comes to: what is sent, and by what one sees that it worked. Pure.

`order_for` also holds every bound that depends on the printer, for what is asked, however it is
written: a value out of range is refused, never clamped.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple

from ..printer.snapshot import Heater, Job, Snapshot
from ..printer.verbs import JobQueue
from ..runtime.loose import as_float, as_text
from ..runtime.messages import say
from ..settings.model import Security
from . import gcode
from .actions import ACTIONS, FAN, FLOW, PRINTS, SPEED, Parameter
from .danger import builtin, target_of
from .further import BUILDERS, set_named_fan
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

FAN_MAX = 255.0
CLOSE = 0.02  # of a fan's full speed; Klipper may round and scale it (max_power)
MACHINE_WITHIN = 120.0  # seconds until a computer that accepted a reboot must have gone
BEGUN_FOR = 1.0  # seconds that a print must go on to have begun


def order_for(command: Command, snapshot: Snapshot, security: Security, path: str) -> Order:
    """The order for a command at this moment; `path` is where the file of a print lies. Raises
    `Refused` with the reason."""
    if command.action in PRINTS:
        return _print(path, snapshot)
    builder = _BUILDERS.get(command.action)
    return Order("hook") if builder is None else builder(command, snapshot, security)


def _home(command: Command, snapshot: Snapshot, security: Security) -> Order:
    axis = command.action[len("home_") :]
    axes = axis or "xyz"
    return Order(
        "gcode",
        (f"G28 {axis.upper()}".strip(),),
        reached=lambda now: set(axes) <= set(now.homed_axes),
        done=lambda now: say("homed {axes}", axes=" ".join(axes.upper())),
        missed=lambda now: say(
            "Klippy reports these axes as homed: {axes}", axes=now.homed_axes.upper() or say("none")
        ),
    )


def _heat(command: Command, snapshot: Snapshot, security: Security) -> Order:
    """`hotend_temp` (of `tool`, or of the active one), `bed_temp`, and `temp` of any `heater`."""
    asked: List[Tuple[Heater, float]] = []
    tool = command.params.get("tool")
    hotend = snapshot.extruder
    if tool not in (None, ""):
        number_ = int(read_number(command.params, Parameter("tool", 0, 99, "")))
        hotend = snapshot.heaters.get(f"extruder{number_ or ''}")
    named = (
        ("hotend_temp", hotend, say("hotend")),
        ("bed_temp", snapshot.bed, say("heated bed")),
        ("temp", _heater_named(command, snapshot), say("heater of that name")),
    )
    for name, heater, what in named:
        given = command.params.get(name)
        if given is None or given == "":
            continue
        if heater is None and as_float(given) == 0 and name != "temp":
            continue  # what is not there is cold already
        if heater is None:
            raise Refused(
                say("This printer has no {what}: leave {name} out.", what=what, name=name)
            )
        asked.append((heater, _temperature(heater, name, given)))
    if not asked:
        raise Refused(say("heat names no heater: give hotend_temp, bed_temp, or heater and temp."))
    targets = {heater.name: value for heater, value in asked}
    told = ", ".join(f"{name} {number(value)} °C" for name, value in targets.items())
    lines = [
        f"SET_HEATER_TEMPERATURE HEATER={_heater_word(name, snapshot)} TARGET={number(value)}"
        for name, value in targets.items()
    ]
    return Order(
        "gcode",
        ("\n".join(lines),),
        reached=lambda now: all(_has_target(now, name, value) for name, value in targets.items()),
        done=lambda now: told,
        missed=lambda now: say(
            "Klippy reports the targets {targets}", targets=_targets(now, targets)
        ),
    )


def _heater_named(command: Command, snapshot: Snapshot) -> Optional[Heater]:
    """The heater that the command names in full or by its last word, whatever the case."""
    named = as_text(command.params.get("heater")).strip().lower()
    for name, heater in snapshot.heaters.items():
        if named and named in (name.lower(), name.lower().split(" ")[-1]):
            return heater
    return None


def _heater_word(name: str, snapshot: Snapshot) -> str:
    """As SET_HEATER_TEMPERATURE calls it: an extruder may share another's heater."""
    shared = as_text(snapshot.machine.options(name).get("shared_heater"))
    return shared or name.rsplit(" ", maxsplit=1)[-1]


def _cool_down(command: Command, snapshot: Snapshot, security: Security) -> Order:
    return Order(
        "gcode",
        ("TURN_OFF_HEATERS",),
        reached=lambda now: not any(heater.target for heater in now.heaters.values()),
        done=lambda now: say("all heaters are off"),
        missed=lambda now: say(
            "Klippy reports the targets {targets}", targets=_targets(now, now.heaters)
        ),
    )


def _set_speed(command: Command, snapshot: Snapshot, security: Security) -> Order:
    value = read_number(command.params, ACTIONS["set_speed"].numbers[0])
    return Order(
        "gcode",
        (f"M220 S{number(value)}",),
        reached=lambda now: abs(now.speed_factor * 100 - value) < 0.1,
        done=lambda now: say("speed {value} %", value=number(value)),
        missed=lambda now: say(
            "Klippy reports a speed of {value} %", value=number(now.speed_factor * 100)
        ),
    )


def _set_flow(command: Command, snapshot: Snapshot, security: Security) -> Order:
    value = read_number(command.params, ACTIONS["set_flow"].numbers[0])
    return Order(
        "gcode",
        (f"M221 S{number(value)}",),
        reached=lambda now: abs(now.extrude_factor * 100 - value) < 0.1,
        done=lambda now: say("flow {value} %", value=number(value)),
        missed=lambda now: say(
            "Klippy reports a flow of {value} %", value=number(now.extrude_factor * 100)
        ),
    )


def _toggle_fan(command: Command, snapshot: Snapshot, security: Security) -> Order:
    return _fan(0.0 if (snapshot.fan_speed or 0.0) > 0 else FAN_MAX, snapshot)


def _set_fan(command: Command, snapshot: Snapshot, security: Security) -> Order:
    value = read_number(command.params, ACTIONS["set_fan"].numbers[0])
    if command.params.get("fan") not in (None, ""):
        return set_named_fan(as_text(command.params["fan"]), value / FAN_MAX, snapshot)
    return _fan(value, snapshot)


def _fan_off(command: Command, snapshot: Snapshot, security: Security) -> Order:
    return _fan(0.0, snapshot)


def _fan(value: float, snapshot: Snapshot) -> Order:
    if snapshot.fan_speed is None:
        raise Refused(
            say(
                "This printer has no part fan: neither [fan] in printer.cfg nor an M106"
                " that leads to one (printer.part_fan can name it)."
            )
        )
    wanted = value / FAN_MAX
    part, known = snapshot.machine.part_fan, snapshot.machine.objects
    if part.names and not (part.by_macro or part.tools or "fan" in known or not known):
        return set_named_fan(part.names[0], wanted, snapshot)
    return Order(
        "gcode",
        (f"M106 S{number(value)}" if value > 0 else part.off,),
        reached=lambda now: abs((now.fan_speed or 0.0) - wanted) < (CLOSE if value > 0 else 1e-6),
        done=lambda now: say("fan {value} %", value=number(round(wanted * 100, 1))),
        missed=lambda now: say(
            "Klippy reports the fan at {value} %",
            value=number(round((now.fan_speed or 0) * 100, 1)),
        ),
        good_enough=lambda now: value > 0 and (now.fan_speed or 0.0) > 0,  # max_power scales it
    )


def _gcode(command: Command, snapshot: Snapshot, security: Security) -> Order:
    text = command.params.get("gcode")
    if not isinstance(text, str) or not text.strip():
        raise Refused(say("The parameter gcode is missing: give the G-code as a text."))
    script = gcode.check_script(
        text,
        security.allowed_gcode_patterns,
        lambda line: _may_be_called(line, snapshot, security),
    )
    for line in script.lines:
        _check_bounds(line, snapshot)
    return Order("gcode", (script.text,))


def _may_be_called(line: gcode.Line, snapshot: Snapshot, security: Security) -> bool:
    """Whether a line is the call of a macro that the action `macro` would allow: generation 2's
    page has no button for macros, only a box for G-code."""
    if any(gcode.matches_name("macro", pattern) for pattern in security.denied_actions):
        return False
    try:
        name, parameters = gcode.read_macro_call(line.text)
        _check_macro(line.word, snapshot, security)
        return gcode.read_line(gcode.build_macro_call(name, parameters)).word == line.word
    except Refused:
        return False


_BOUNDED = {"M220": SPEED, "M221": FLOW, "M106": FAN}
LEAST_ACCEL = 100.0  # mm/s²: a job at less hardly gets on, and none of the slicers sets less


def _check_bounds(line: gcode.Line, snapshot: Snapshot) -> None:
    """What the actions hold to, for a line of G-code that asks for the same."""
    target = target_of(line, snapshot)
    if target is not None and target.value is None:
        raise Refused(
            say("{word} sets a temperature that is no number: correct it.", word=line.word)
        )
    if target is not None and target.heater is not None:
        _temperature(target.heater, line.word, target.value)
    word = builtin(line.word, snapshot)
    bounds = _BOUNDED.get(word)
    if bounds is not None and "S" in line.letters():
        read_number({line.word: line.letters()["S"]}, bounds._replace(name=line.word))
    if word == "M204":
        _check_accel(line, line.letters(), "SPT", snapshot)
    elif word == "SET_VELOCITY_LIMIT":
        _check_accel(line, line.named(), ("ACCEL",), snapshot)


def _check_accel(
    line: gcode.Line, given: Mapping[str, str], names: Iterable[str], snapshot: Snapshot
) -> None:
    """Klipper takes any acceleration above 0: no more than printer.cfg grants the printer."""
    values = [given[name] for name in names if name in given]
    if not values:
        return
    most = as_float(snapshot.machine.options("printer").get("max_accel"))
    if most is None:
        raise Refused(
            say(
                "max_accel of printer.cfg, the most that {word} may set, is not known yet: try"
                " again in a moment.",
                word=line.word,
            )
        )
    bounds = Parameter(line.word, min(LEAST_ACCEL, most), most, "mm/s²")
    for value in values:
        read_number({line.word: value}, bounds)


def _temperature(heater: Heater, name: str, given: Any) -> float:
    if heater.max_temp <= 0:
        raise Refused(
            say(
                "The limits of {heater} are not known yet: try again in a moment.",
                heater=heater.name,
            )
        )
    return read_number({name: given}, Parameter(name, 0, heater.max_temp, "°C"))


def _macro(command: Command, snapshot: Snapshot, security: Security) -> Order:
    name = as_text(command.params.get("macro_name")).strip()
    if not name:
        raise Refused(say("The parameter macro_name is missing: give the name of a macro."))
    parameters = command.params.get("params") or {}
    if not isinstance(parameters, dict):
        raise Refused(say("The macro's params are no object: give NAME: value pairs."))
    call = gcode.build_macro_call(name, parameters)
    _check_macro(name.upper(), snapshot, security)
    return Order("gcode", (call,))


def _check_macro(word: str, snapshot: Snapshot, security: Security) -> None:
    if word.startswith("_"):
        raise Refused(
            say(
                "{word} is a hidden macro (its name begins with _): only others may be called.",
                word=word,
            )
        )
    if word not in snapshot.macros:
        raise Refused(
            say(
                "There is no gcode_macro {word} in the printer's configuration: check its name.",
                word=word,
            )
        )
    if not any(gcode.matches_name(word, pattern) for pattern in security.allowed_macros):
        allowed = ", ".join(security.allowed_macros) or say("none")
        raise Refused(
            say(
                "{word} is not among security.allowed_macros ({allowed}): allow it on the printer.",
                word=word,
                allowed=allowed,
            )
        )


# The job


def _pause(command: Command, snapshot: Snapshot, security: Security) -> Order:
    if snapshot.paused:
        return Order("", done=lambda now: say("it was paused already"))
    _job(snapshot, "pause")

    def done(now: Snapshot) -> str:
        if not now.paused:
            raise Failed(
                say(
                    "The job ended before it could be paused: it is {state}.",
                    state=say(now.job.state),
                )
            )
        file = now.job.filename
        return say("paused {file}", file=file) if file else say("paused")

    # A PAUSE while nothing was printed leaves Klipper's is_paused set, and the next without effect.
    stale = snapshot.flag("pause_resume", "is_paused")
    return Order(
        "gcode" if stale else "pause",
        ("CLEAR_PAUSE\nPAUSE",) if stale else (),
        reached=lambda now: now.paused or not now.busy,
        done=done,
        missed=_still,
    )


def _resume(command: Command, snapshot: Snapshot, security: Security) -> Order:
    if snapshot.printing:
        return Order("", done=lambda now: say("it was printing already"))
    _job(snapshot, "resume")

    def done(now: Snapshot) -> str:
        if now.job.state not in ("printing", "complete"):
            ended = say("The job did not go on: it is {state}.", state=say(now.job.state))
            said = now.job.message
            raise Failed(say("{what} {said}", what=ended, said=said) if said else ended)
        file = now.job.filename
        return say("printing {file}", file=file) if file else say("printing")

    by_file = snapshot.paused_by_file
    return Order(
        "gcode" if by_file else "resume",
        ("M24",) if by_file else (),
        # Klipper's is_paused may be of a PAUSE at another time, and the job paused by its file.
        insist="M24",
        stuck=lambda now: now.paused_by_file,
        reached=lambda now: not now.paused,
        done=done,
        missed=_still,
    )


def _cancel(command: Command, snapshot: Snapshot, security: Security) -> Order:
    _job(snapshot, "cancel")
    name = snapshot.job.filename
    by_file = snapshot.paused_by_file
    return Order(
        "gcode" if by_file else "cancel",
        ("CANCEL_PRINT\nSDCARD_RESET_FILE",) if by_file else (),
        insist="SDCARD_RESET_FILE",  # as with resume
        stuck=lambda now: now.paused_by_file and now.job.filename == name,
        reached=lambda now: not now.busy or now.job.filename != name,
        done=lambda now: say("cancelled {file}", file=name) if name else say("cancelled"),
        missed=_still,
        strikes=True,
    )


def _job(snapshot: Snapshot, verb: str) -> None:
    if not snapshot.busy:
        raise Refused(say("Nothing is being printed, so there is nothing to {verb}.", verb=verb))


def _still(now: Snapshot) -> str:
    return say("the job is still {state}", state=say(now.job.state))


def _print(path: str, snapshot: Snapshot) -> Order:
    def run(job: Job) -> Tuple[Any, ...]:
        """What tells one run of a file from another, and never changes once it is over."""
        return job.state, job.filename, job.total_duration, job.print_duration, job.filament_used

    before = run(snapshot.job)

    def over(job: Job) -> bool:
        return job.state in ("complete", "cancelled", "error") and run(job) != before

    def done(now: Snapshot) -> str:
        job = now.job
        if now.busy or not over(job):
            return say("printing {file}", file=path)
        if job.state == "complete":
            return say("printed {file}", file=path)
        said = job.message or say("no message")
        if job.state == "cancelled":
            raise Failed(
                say('{file} began and was cancelled at once: "{said}"', file=path, said=said)
            )
        raise Failed(say('{file} began and failed: "{said}"', file=path, said=said))

    return Order(
        "start_print",
        (path,),
        reached=lambda now: now.job.filename == path and (now.busy or over(now.job)),
        done=done,
        missed=lambda now: say("{file} did not begin", file=path),
        settle=BEGUN_FOR,
        prints=True,
        alone=True,
    )


def queued(path: str, start: bool) -> Order:
    """A print that goes into Moonraker's job queue; its message says what will become of it."""

    def told(queue: JobQueue) -> str:
        if start:
            return say("{file} is in the job queue, which has been started", file=path)
        if queue.automatic and queue.state != "paused":
            return say(
                "{file} is in the job queue: it begins when the jobs before it are complete",
                file=path,
            )
        why = (
            say("it is paused")
            if queue.automatic
            else say("[job_queue] automatic_transition is off")
        )
        return say(
            "{file} is in the job queue, which does not start by itself ({why}): start it there",
            file=path,
            why=why,
        )

    return Order("queue_print", (path, start), told=told, prints=start, alone=start)


# Klippy and the computer


def _firmware_restart(command: Command, snapshot: Snapshot, security: Security) -> Order:
    def done(now: Snapshot) -> str:
        check_restarted(now)
        return say("Klippy is ready again")

    # A script that was just RESTART comes here too (wire): it leaves the board alone.
    host_only = as_text(command.params.get("gcode")).strip().upper() == "RESTART"
    return Order(
        "restart" if host_only else "firmware_restart",
        done=done,
        missed=lambda now: say("it has not come back"),
        within=RESTART_WITHIN,
        dangers=((command.action, ENDS_KLIPPY),),
        strikes=True,
    )


def _machine(command: Command, snapshot: Snapshot, security: Security) -> Order:
    """A success is told by the next start, which sees that the machine was booted anew."""
    return Order(
        "machine",
        (command.action,),
        reached=lambda now: False,
        missed=lambda now: say("the computer still runs"),
        within=MACHINE_WITHIN,
        dangers=((command.action, ENDS_KLIPPY),),
        strikes=True,
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
    "pause": _pause,
    "resume": _resume,
    "cancel": _cancel,
    "firmware_restart": _firmware_restart,
    "reboot": _machine,
    "shutdown": _machine,
    **BUILDERS,
}


def _has_target(snapshot: Snapshot, name: str, value: float) -> bool:
    heater = snapshot.heaters.get(name)
    return heater is not None and heater.target is not None and abs(heater.target - value) < 0.01


def _targets(snapshot: Snapshot, names: Mapping[str, Any]) -> str:
    found = [snapshot.heaters[name] for name in names if name in snapshot.heaters]
    return ", ".join(f"{heater.name} {number(heater.target or 0.0)} °C" for heater in found) or say(
        "none"
    )
