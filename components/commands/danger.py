"""What G-code could do to a job, a bed or a printer that somebody is adjusting. Pure.

One table, a reason a row: it judges what is asked, however that is written. `M104 S0`, `heat` with
0, `cool_down` and the `M104.1 S0` that a macro's `rename_existing` left meet the same rule, and so
does a macro that comes to it: macros are looked through as printer.cfg has them, those that they
call included. A line that a macro works out as it runs could be anything, and is taken for that.
"""

import functools
import re
from typing import Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Set, Tuple

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
        " MEASURE_AXES_NOISE RESTORE_GCODE_STATE SET_DUAL_CARRIAGE ACTIVATE_EXTRUDER"
        " RESTORE_DUAL_CARRIAGE_STATE ANGLE_CALIBRATE",
    ),
    (
        say("changes where or how the next move goes"),
        "G17 G18 G19 G20 G21 G31 G53 G54 G60 G61 G80 G90 G91 G92 M82 M83 M206 M290"
        " SET_KINEMATIC_POSITION SET_GCODE_OFFSET BED_MESH_CLEAR BED_MESH_PROFILE SKEW_PROFILE"
        " SET_SKEW SYNC_EXTRUDER_MOTION SET_EXTRUDER_ROTATION_DISTANCE EXCLUDE_OBJECT TUNING_TOWER"
        " BED_MESH_OFFSET SET_STEPPER_CARRIAGES",
    ),
    # The job goes on with these as they are left; none of them goes back by itself.
    (say("changes how fast the head may go"), "M204 SET_VELOCITY_LIMIT"),
    (say("changes the place to which the job goes back"), "SAVE_GCODE_STATE"),
    (say("lets the axes go"), "M18 M84 M999 SET_STEPPER_ENABLE"),
    (say("changes the force of the motors"), "SET_TMC_CURRENT SET_TMC_FIELD INIT_TMC"),
    (say("moves the probe's pin, which hits the part"), "BLTOUCH_DEBUG"),
    (
        say("keeps the head where it stands"),
        "G4 M0 M1 M109 M116 M190 M191 M226 M400 M601 M602 TEMPERATURE_WAIT",
    ),
    (
        say("adjusts the printer"),
        "MANUAL_PROBE ACCEPT NEXT ADJUSTED ABORT TESTZ PROBE_CALIBRATE Z_ENDSTOP_CALIBRATE"
        " BED_MESH_CALIBRATE BED_TILT_CALIBRATE BED_SCREWS_ADJUST SCREWS_TILT_CALCULATE"
        " DELTA_CALIBRATE QUAD_GANTRY_LEVEL Z_TILT_ADJUST SHAPER_CALIBRATE AXIS_TWIST_COMPENSATION"
        " AXIS_TWIST_COMPENSATION_CALIBRATE PID_CALIBRATE MPC_CALIBRATE ENDSTOP_PHASE_CALIBRATE"
        " PROBE_EDDY_CURRENT_CALIBRATE TEMPERATURE_PROBE_CALIBRATE DEBUG_WRITE",
    ),
    (
        say("takes the job's file away or starts another"),
        "M2 M20 M23 M24 M25 M26 M30 M32 CLEAR_PAUSE SDCARD_PRINT_FILE SDCARD_RESET_FILE",
    ),
    (say("turns heaters off"), "TURN_OFF_HEATERS M81"),
    # A paused job counts as idle: its time over, Klipper turns heaters and motors off.
    (say("changes after how long a pause turns heaters off"), "SET_IDLE_TIMEOUT"),
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

_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_STATEMENT = re.compile(r"\{%.*?%\}", re.DOTALL)
_EXPRESSION = re.compile(r"\{[^{}]*\}")
_ACTION = re.compile(  # wherever it stands: {action_…(…)}, {% set x = action_…(…) %}, {% do … %}
    r"\baction_(\w+)(?:\s*\(\s*(?:method\s*=\s*)?(?:([\"'])(\w*)\2\s*(?=[,)]))?)?"
)
_ONLY_ACTION = re.compile(r"\{-?\s*action_\w+\s*\(")  # what stands for nothing in the text
_TOOL = re.compile(r"T[0-9]+")
_HEATS = {"M104": "", "M109": "", "M140": "heater_bed", "M190": "heater_bed"}
_HEAT_BY_NAME = "SET_HEATER_TEMPERATURE"
OUR_STATE = "tecmedhub"  # that our own scripts save and restore; no job goes back to it


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
        reached, heats = _reached(line, snapshot)
        reasons = [_reason_of(word) for word in sorted(reached)]
        reasons += [cools(one, snapshot, before) for one in heats]
        for reason in reasons:
            if reason and (line.word, reason) not in dangers:
                dangers.append((line.word, reason))
        prints = prints or bool(reached & STARTS_PRINT) or _UNKNOWN in reached
        for_people = for_people or next((name for name in FOR_PEOPLE if name in reached), "")
    return Effect(tuple(dangers), prints, for_people)


def _reason_of(word: str) -> str:
    if word == _UNKNOWN:
        return _ANYTHING
    return say("changes the tool") if _TOOL.fullmatch(word) else DANGER.get(word, "")


# Heaters


def builtin(word: str, snapshot: Snapshot) -> str:
    """The command by Klipper's own name: M104 for the M104.1 that `rename_existing` made of it."""
    renamed = snapshot.machine.templates.renamed
    for _ in renamed:  # one that was renamed may be renamed again
        word = renamed.get(word, word)
    return word


def targets_of(script: str, snapshot: Snapshot) -> List[Tuple[Heater, float]]:
    """(heater, °C): every target that a script, and the macros it calls, could set, as far as that
    can be told before it runs."""
    found: List[Tuple[Heater, float]] = []
    for line in map(read_line, script.split("\n")):
        for one in _reached(line, snapshot)[1]:
            try:
                target = target_of(one, snapshot)
            except Refused:
                continue
            if target is not None and target.heater is not None and target.value is not None:
                found.append((target.heater, target.value))
    return found


def target_of(line: Line, snapshot: Snapshot) -> Optional[Target]:
    """The target that this line sets; None if it sets none. A missing value is 0, as in Klipper."""
    word = builtin(line.word, snapshot)
    if word == _HEAT_BY_NAME:
        given = line.named()
        heaters = {name.split(" ")[-1].upper(): h for name, h in snapshot.heaters.items()}
        heater = heaters.get(given.get("HEATER", "").upper())
        return Target(heater, _value(given.get("TARGET"), line))
    if word not in _HEATS:
        return None
    letters, name = line.letters(), _HEATS[word]
    value = _value(letters.get("S"), line)
    if name:
        return Target(snapshot.heaters.get(name), value)
    if "T" not in letters:
        return Target(snapshot.extruder, value)
    tool = as_int(letters["T"])
    return Target(None if tool is None else snapshot.heaters.get(f"extruder{tool or ''}"), value)


def cools(line: Line, snapshot: Snapshot, before: Mapping[str, float] = NO_TARGETS) -> str:
    """Why this line takes heat from a job; "" if it does not."""
    try:
        target = target_of(line, snapshot)
    except Refused:
        return _ANYTHING
    if target is None:
        return ""
    if target.value is None:
        return say("works out a temperature as it runs") if _UNKNOWN in line.text else ""
    if target.value <= 0:
        return say("turns a heater off")
    heaters = [] if target.heater is None else [target.heater]
    if target.heater is None and _UNKNOWN in line.text:
        heaters = list(snapshot.heaters.values())  # it could be any
    highest = [max(h.target or 0.0, before.get(h.name, 0.0)) for h in heaters]
    fall = max(highest, default=0.0) - target.value
    return say("lets a heater cool by {fall:.0f} °C", fall=fall) if fall > COOLING else ""


def _value(text: Optional[str], line: Line) -> Optional[float]:
    return 0.0 if text is None and _UNKNOWN not in line.text else as_float(text)


# Macros


def _reached(first: Line, snapshot: Snapshot) -> Tuple[Set[str], List[Line]]:
    """The word of every command that this line may lead to, by its macro and those that it calls,
    and those lines among them that set a heater."""
    templates = snapshot.machine.templates
    words: Set[str] = set()
    heats: Set[Line] = set()
    seen: Set[Tuple[Line, str]] = set()
    todo = [(first, "")]
    while todo:
        line, macro = step = todo.pop()
        if step in seen:
            continue
        seen.add(step)
        word = builtin(line.word, snapshot)
        if _UNKNOWN in word or "{" in word or word in _OPAQUE:
            words.add(_UNKNOWN)
            continue
        if word == "SAVE_GCODE_STATE" and _named_in(line, "NAME") == OUR_STATE.upper():
            continue
        words.update((line.word, word))
        # A macro in a command's place hands on what it was called with, and that is judged itself.
        handed_on = word == macro and _UNKNOWN in line.text
        if (word in _HEATS or word == _HEAT_BY_NAME) and not handed_on:
            heats.add(line)
        if word == "UPDATE_DELAYED_GCODE":
            name = _named_in(line, "ID")
            for delayed in [name] if name in templates.delayed else templates.delayed:
                todo += [(called, "") for called in calls_of(templates.delayed[delayed])]
        text = templates.macros.get(line.word)
        if text is not None:
            todo += [(called, word) for called in calls_of(text)]
        elif line.word in snapshot.macros:
            words.add(_UNKNOWN)
    return words, sorted(heats)


@functools.lru_cache(maxsize=128)
def calls_of(template: str) -> FrozenSet[Line]:
    """The lines that a template may come to, `_UNKNOWN` in them where it works something out; a
    remote method is one, too.

    >>> calls = calls_of("{% if 1 %}g28 X{y}{% endif %} ; G1\\n{action_respond_info('hi')}")
    >>> [(line.word, line.text) for line in calls]
    [('G28', 'g28 X\\x00')]
    >>> [line.text for line in calls_of("{params.CMD} F=1")]
    ['\\x00 F=1']
    """
    text = _COMMENT.sub("\n", template)
    found: Set[str] = set()
    for name, _, argument in _ACTION.findall(text):
        if name == "call_remote_method":
            found.add(argument or _UNKNOWN)
        elif name == "emergency_stop":
            found.add("RESTART")  # it ends the job all the same
    lines = {Line(name, name) for name in found}
    text, inner = _STATEMENT.sub("\n", text), None
    while inner != text:
        inner, text = text, _EXPRESSION.sub(_worked_out, text)
    read = (read_line(line.partition(";")[0]) for line in text.split("\n"))
    lines.update(line for line in read if line.word)
    return frozenset(lines)


def _worked_out(expression: "re.Match[str]") -> str:
    return "" if _ONLY_ACTION.match(expression.group()) else _UNKNOWN


def _named_in(line: Line, parameter: str) -> str:
    try:
        return line.named().get(parameter, "").upper()
    except Refused:
        return ""
