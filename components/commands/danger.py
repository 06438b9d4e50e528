"""What G-code could do to a job, a bed or a printer that somebody is adjusting. Pure.

One table, a reason a row: it judges what is asked, however that is written. `M104 S0`, `heat` with
0 and `cool_down` meet the same rule, and so does a macro that comes to it: macros are looked
through as printer.cfg has them, those that they call included. A line that a macro works out as it
runs could be anything, and is taken for that.
"""

import functools
import re
from typing import Dict, FrozenSet, Iterator, List, Mapping, NamedTuple, Optional, Set, Tuple

from ..printer.snapshot import Heater, Snapshot
from ..runtime.loose import as_float, as_int
from ..runtime.messages import say
from .gcode import Line, Refused, read_line

# °C that a target may fall during a job without a confirmation: people fine-tune a filament by less
# than that, and none that holds to the bed or flows at one temperature lets go within it.
COOLING = 20.0

_ROWS: Tuple[Tuple[str, str], ...] = (
    (
        say("moves the head or the extruder"),
        "G0 G1 G2 G3 G5 G10 G11 G12 G27 G28 G29 G30 G32 G33 G34 G38 M125 M600 M701 M702"
        " FORCE_MOVE STEPPER_BUZZ MANUAL_STEPPER PROBE PROBE_ACCURACY TEST_RESONANCES"
        " MEASURE_AXES_NOISE RESTORE_GCODE_STATE SET_DUAL_CARRIAGE ACTIVATE_EXTRUDER",
    ),
    (
        say("changes where or how the next move goes"),
        "G17 G18 G19 G20 G21 G31 G53 G54 G60 G61 G80 G90 G91 G92 M82 M83 M206 M290"
        " SET_KINEMATIC_POSITION SET_GCODE_OFFSET BED_MESH_CLEAR BED_MESH_PROFILE SKEW_PROFILE"
        " SET_SKEW SYNC_EXTRUDER_MOTION SET_EXTRUDER_ROTATION_DISTANCE EXCLUDE_OBJECT TUNING_TOWER",
    ),
    (say("lets the axes go"), "M18 M84 M999 SET_STEPPER_ENABLE"),
    (
        say("keeps the head where it stands"),
        "G4 M0 M1 M109 M116 M190 M191 M226 M400 M601 M602 TEMPERATURE_WAIT",
    ),
    (
        say("adjusts the printer"),
        "MANUAL_PROBE ACCEPT ABORT TESTZ PROBE_CALIBRATE Z_ENDSTOP_CALIBRATE"
        " BED_MESH_CALIBRATE BED_TILT_CALIBRATE BED_SCREWS_ADJUST SCREWS_TILT_CALCULATE"
        " DELTA_CALIBRATE QUAD_GANTRY_LEVEL Z_TILT_ADJUST SHAPER_CALIBRATE AXIS_TWIST_COMPENSATION"
        " AXIS_TWIST_COMPENSATION_CALIBRATE PID_CALIBRATE MPC_CALIBRATE ENDSTOP_PHASE_CALIBRATE"
        " DEBUG_WRITE",
    ),
    (
        say("takes the job's file away or starts another"),
        "M2 M20 M23 M24 M25 M26 M30 M32 CLEAR_PAUSE SDCARD_PRINT_FILE SDCARD_RESET_FILE",
    ),
    (say("turns heaters off"), "TURN_OFF_HEATERS M81"),
    (say("ends Klippy or the computer"), "SAVE_CONFIG RESTART FIRMWARE_RESTART HOST_RESTART"),
)
DANGER: Dict[str, str] = {word: reason for reason, words in _ROWS for word in words.split()}
NO_TARGETS: Mapping[str, float] = {}
JOB_VERBS = frozenset(("PAUSE", "RESUME", "CANCEL_PRINT"))  # asked by name: as the actions
STARTS_PRINT = frozenset(("M23", "M24", "M32", "SDCARD_PRINT_FILE", "start_job_queue"))
# What only a person may call; Klippy does not tell who let a macro run.
FOR_PEOPLE = ("tecmedhub_bed_clear", "tecmedhub_remote_on")
_UNKNOWN = "\0"  # stands in a template for what it works out as it runs
_ANYTHING = say("works out its commands as it runs")
_OPAQUE = frozenset(("RUN_SHELL_COMMAND",))

_STATEMENT = re.compile(r"\{#.*?#\}|\{%.*?%\}", re.DOTALL)
_EXPRESSION = re.compile(r"\{[^{}]*\}")
_ACTION = re.compile(r"\{-?\s*action_(\w+)\s*\(\s*(?:[\"'](\w*)[\"'])?")
_TOOL = re.compile(r"T[0-9]+")
_HEATS = {"M104": "", "M109": "", "M140": "heater_bed", "M190": "heater_bed"}


class Effect(NamedTuple):
    """What a script could do."""

    dangers: Tuple[Tuple[str, str], ...] = ()  # (its command, the reason), as the table has it
    prints: bool = False  # it may start a print
    for_people: str = ""  # the remote method it may call that is not the hub's


class Target(NamedTuple):
    """A heater and the °C that a line sets; None for either is what cannot be told before it
    runs."""

    heater: Optional[Heater]
    value: Optional[float]


def effect_of(script: str, snapshot: Snapshot, before: Mapping[str, float] = NO_TARGETS) -> Effect:
    """Everything that a script, and the macros it calls, could do. `before` is what heaters were
    set to before the hub set them, within the job that runs."""
    dangers: List[Tuple[str, str]] = []
    prints, for_people = False, ""
    for line in map(read_line, script.split("\n")):
        if line.word in JOB_VERBS:
            continue
        reached = {line.word, *_reached(line.word, snapshot)}
        for word in sorted(reached):
            reason = _reason_of(word)
            if reason and (line.word, reason) not in dangers:
                dangers.append((line.word, reason))
        cooling = cools(line, snapshot, before)
        if cooling:
            dangers.append((line.word, cooling))
        prints = prints or bool(reached & STARTS_PRINT) or _UNKNOWN in reached
        for_people = for_people or next((name for name in FOR_PEOPLE if name in reached), "")
    return Effect(tuple(dangers), prints, for_people)


def _reason_of(word: str) -> str:
    if word == _UNKNOWN:
        return _ANYTHING
    return say("changes the tool") if _TOOL.fullmatch(word) else DANGER.get(word, "")


# Heaters


def target_of(line: Line, snapshot: Snapshot) -> Optional[Target]:
    """The target that this line sets; None if it sets none. A missing value is 0, as in Klipper."""
    if line.word == "SET_HEATER_TEMPERATURE":
        given = line.named()
        heaters = {name.split(" ")[-1].upper(): h for name, h in snapshot.heaters.items()}
        return Target(heaters.get(given.get("HEATER", "").upper()), _value(given.get("TARGET")))
    if line.word not in _HEATS:
        return None
    letters, name = line.letters(), _HEATS[line.word]
    if name:
        return Target(snapshot.heaters.get(name), _value(letters.get("S")))
    tool = as_int(letters.get("T"))
    which = None if tool is None else f"extruder{tool or ''}"
    heater = snapshot.extruder if which is None else snapshot.heaters.get(which)
    return Target(heater, _value(letters.get("S")))


def cools(line: Line, snapshot: Snapshot, before: Mapping[str, float] = NO_TARGETS) -> str:
    """Why this line takes heat from a job; "" if it does not."""
    try:
        target = target_of(line, snapshot)
    except Refused:
        return _ANYTHING
    if target is None or target.value is None:
        return ""
    if target.value <= 0:
        return say("turns a heater off")
    if target.heater is None:
        return ""
    highest = max(target.heater.target or 0.0, before.get(target.heater.name, 0.0))
    fall = highest - target.value
    return say("lets a heater cool by {fall:.0f} °C", fall=fall) if fall > COOLING else ""


def _value(text: Optional[str]) -> Optional[float]:
    return 0.0 if text is None else as_float(text)


# Macros


def _reached(word: str, snapshot: Snapshot) -> Set[str]:
    """Every command that this one may lead to, by its macro and those that it calls."""
    templates = snapshot.machine.templates
    found: Set[str] = set()
    todo = [word]
    while todo:
        name = todo.pop()
        original = templates.renamed.get(name)
        if original is not None and original not in found:
            found.add(original)
        text = templates.macros.get(name)
        if text is None:
            if name in snapshot.macros:
                found.add(_UNKNOWN)
            continue
        for called in calls_of(text):
            for delayed in _delayed(called, templates.delayed):
                if delayed not in found:
                    found.update((delayed, *calls_of(templates.delayed[delayed])))
                    todo += calls_of(templates.delayed[delayed])
            plain = called.partition(" ")[0]
            if plain not in found:
                found.add(plain)
                todo.append(plain)
    return found


def _delayed(called: str, delayed: Mapping[str, str]) -> Iterator[str]:
    """The delayed G-code that `UPDATE_DELAYED_GCODE NAME` sets going; all of it without a name."""
    word, _, name = called.partition(" ")
    if word == "UPDATE_DELAYED_GCODE":
        yield from [name] if name in delayed else delayed


@functools.lru_cache(maxsize=128)
def calls_of(template: str) -> FrozenSet[str]:
    """The commands and remote methods that a template names; `_UNKNOWN` among them where it works
    one out.

    >>> sorted(calls_of("{% if 1 %}g28 X{y}{% endif %} ; G1\\n{action_respond_info('hi')}"))
    ['G28']
    >>> calls_of("{params.CMD} F=1") == {"\\0"}
    True
    """
    found: Set[str] = set()
    text = _STATEMENT.sub("\n", template)
    for name, argument in _ACTION.findall(text):
        if name == "call_remote_method":
            found.add(argument or _UNKNOWN)
        elif name == "emergency_stop":
            found.add("RESTART")  # it ends the job all the same
    inner = None
    while inner != text:
        inner, text = text, _EXPRESSION.sub(_worked_out, text)
    for line in map(read_line, text.split("\n")):
        if not line.word:
            continue
        if _UNKNOWN in line.word or "{" in line.word or line.word in _OPAQUE:
            found.add(_UNKNOWN)
        elif line.word == "UPDATE_DELAYED_GCODE":
            found.add(f"{line.word} {_name_in(line)}")
        elif line.word in _HEATS or line.word == "SET_HEATER_TEMPERATURE":
            found.add(_heating(line))
        else:
            found.add(line.word)
    return frozenset(found)


def _worked_out(expression: "re.Match[str]") -> str:
    return "" if _ACTION.match(expression.group()) else _UNKNOWN


def _name_in(line: Line) -> str:
    try:
        return line.named().get("ID", "").upper()
    except Refused:
        return ""


def _heating(line: Line) -> str:
    """What stands for a line of a macro that sets a heater: its word if that keeps the head, else
    TURN_OFF_HEATERS unless it names a temperature that is not 0."""
    if line.word in DANGER:
        return line.word
    try:
        text = line.named().get("TARGET") if "_" in line.word else line.letters().get("S")
    except Refused:
        text = None
    value = as_float(text)
    return line.word if value is not None and value > 0 else "TURN_OFF_HEATERS"
