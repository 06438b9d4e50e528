"""May this command run, and what does it come to? Pure: the command, the settings and the printer
go in, an `Order` comes out, or the reason against it.

`STANDING` rules look at the command and the operator's settings only; they are asked when a command
arrives and again with the others. `MOMENT` rules look at the printer, at what it was asked before
and at what Klippy works on. Each objects by a sentence with a remedy, or raises `NotYet`. Nothing
the hub sends can widen any of them: `confirm: true` only answers the question that
`validate_dangerous_commands` asks.
"""

import fnmatch
from typing import Any, Callable, FrozenSet, Mapping, Tuple

from ..printer.snapshot import KlippyState, Snapshot
from ..runtime.loose import as_float, as_text, printable
from ..runtime.messages import say
from ..settings.model import Expiry, RemoteControl
from . import orders
from .actions import ACTIONS, PRINTS, Action, Lane, Own, find_action
from .danger import builtin, effect_of
from .gcode import Refused, read_line
from .order import Order, read_number
from .own import own_order
from .situation import Coming, Situation
from .wire import Command, print_request

# From least to most that the hub may do; an action needs its own level or one further right.
LEVELS = (RemoteControl.OFF, RemoteControl.MONITOR, RemoteControl.PRINT, RemoteControl.FULL)
MAX_NAME = (
    255  # bytes of a file name; for files that are fetched, the files room has rules of its own
)
NEWS_WITHIN = 1.0  # seconds until all that Klipper tells of a job is of that job
CLOCKS_APART = 60.0  # seconds by which a clock may be wrong before an age says nothing

_JOB_WORDS = {
    "PAUSE": (("printing",), say("being printed")),
    "RESUME": (("paused",), say("paused")),
    "CANCEL_PRINT": (("printing", "paused"), say("not over")),
}
_CARD_AT_WORK = ("virtual_sdcard", "is_active")  # it is, a moment before print_stats says so

NONE_OWN: Own = {}

Rule = Callable[[Command, Action, Situation], str]


class NotYet(Exception):
    """It may run when this is over: a clause for people."""


def check_arrival(command: Command, situation: Situation) -> None:
    """Raises `Refused` if this command will never run, whatever the printer does."""
    _apply(command, situation, STANDING)


def judge(command: Command, situation: Situation, path: str = "") -> Order:
    """What the command comes to at this moment; raises `Refused` or `NotYet`. `path` is where the
    file of a print lies, where that is known."""
    action = _apply(command, situation, STANDING + MOMENT)
    snapshot, security = situation.snapshot, situation.security
    if _means_what_is_coming(action, situation):
        return _before_it_begins(situation.coming)
    if action.name in PRINTS and _is_queued(command, situation):
        order = orders.queued(path, start=not snapshot.busy and situation.queue.state == "ready")
        return _weigh(command, order, situation)
    if action.name == "heat" and not command.params:
        command = command._replace(params=_preset(situation))
    mine = situation.own.get(action.name) if action.name not in ACTIONS else None
    if mine is not None:
        order = own_order(mine, command, snapshot)
    else:
        order = orders.order_for(command, snapshot, security, path)
    if order.script and (action.lane is Lane.GCODE or mine is not None):
        _check_job_words(order.script, snapshot)
        effect = effect_of(order.script, snapshot, situation.before)
        if effect.for_people:
            raise Refused(
                say("{name} is for people at the printer, not for the hub.", name=effect.for_people)
            )
        if effect.prints and security.require_clear_bed and situation.bed_needs_clearing:
            raise Refused(_BED)
        order = order._replace(dangers=(*order.dangers, *effect.dangers))
    return _weigh(command, order, situation)


def _check_job_words(script: str, snapshot: Snapshot) -> None:
    """By name these pass where the action would send them, and nowhere else: a PAUSE without a job
    stays in Klipper, so that the RESUME of the next job drives to where the head stood then."""
    for line in map(read_line, script.split("\n")):
        word = builtin(line.word, snapshot)
        states, means = _JOB_WORDS.get(word, ((snapshot.job.state,), ""))
        if snapshot.job.state not in states:
            raise Refused(
                say(
                    "{word} means a job that is {state}, and there is none: nothing was sent.",
                    word=line.word,
                    state=means,
                )
            )


def _preset(situation: Situation) -> Mapping[str, Any]:
    """`commands.heat_preset`, as far as this printer has what is to be heated."""
    hotend, _, bed = (part.strip() for part in situation.heat_preset.partition("/"))
    given = {
        "hotend_temp": hotend if situation.snapshot.extruder else "",
        "bed_temp": bed if situation.snapshot.bed else "",
    }
    for value in given.values():
        if value and as_float(value) is None:
            raise Refused(
                say(
                    "heat came without a temperature, and commands.heat_preset ({preset}) is not"
                    " written hot end/bed, such as 200/60: correct it on the printer.",
                    preset=printable(situation.heat_preset, 20),
                )
            )
    return {name: value for name, value in given.items() if value}


def _means_what_is_coming(action: Action, now: Situation) -> bool:
    """Whether a cancel means prints that have not begun: a job that runs may be another's."""
    mine = not now.snapshot.busy or now.asked_before_its_job
    return action.name == "cancel" and bool(now.coming) and mine


def _before_it_begins(coming: Tuple[Coming, ...]) -> Order:
    """A cancel of prints that are about to begin."""
    for print_ in coming:
        if print_.handed:
            raise NotYet(say("{file} is about to begin", file=print_.file))
    names = ", ".join(print_.file for print_ in coming)
    return Order(
        "", done=lambda now: say("cancelled {files} before it began", files=names), strikes=True
    )


def _weigh(command: Command, order: Order, situation: Situation) -> Order:
    """Whether it may be handed over now, in view of what it could disturb."""
    late = command.confirm and situation.asked_before_its_job
    asks = situation.security.validate_dangerous_commands and (late or not command.confirm)
    dangers = order.dangers
    if order.prints and situation.snapshot.adjusting:
        dangers = ((command.action, say("moves the head")),)
    disturbed = situation.disturbed_by(", ".join(sorted({name for name, _ in dangers})[:5]))
    if dangers and asks and disturbed:
        if late:
            raise Refused(
                say(
                    "{disturbed} (it {danger}), and began after this was asked: send it again if it"
                    " is meant for this job.",
                    disturbed=disturbed,
                    danger=dangers[0][1],
                )
            )
        raise Refused(
            say(
                "{disturbed} (it {danger}): wait for the end, or send it with confirm: true.",
                disturbed=disturbed,
                danger=dangers[0][1],
            )
        )
    # A Klippy that is down works on nothing, and no empty script of ours comes through its queue.
    alone = situation.snapshot.ready and (order.alone or (bool(dangers) and asks))
    if alone and not situation.snapshot.busy and situation.snapshot.flag(*_CARD_AT_WORK):
        raise NotYet(say("a job is about to begin"))
    return order._replace(alone=alone)


def expiry(
    command: Command, limits: Expiry, now: float, recovered: bool = False, own: Own = NONE_OWN
) -> str:
    """Why it is too old to run at `now` (unix seconds, the hub's clock); "" if it is not.

    One of a former run that seems to come from the future was written down by another clock than
    today's: how old it is, nobody can tell.
    """
    action = find_action(command.action, own)
    if action is None:
        return ""
    limit = getattr(limits, action.expiry) if action.seconds is None else action.seconds
    age = command.age(now)
    if limit > 0 and recovered and command.received_at > now + CLOCKS_APART:
        return say(
            "{action} was received before a restart, by a clock that was ahead of"
            " today's, so its age is not known and it was not run. Send it again if it"
            " is still wanted.",
            action=command.action,
        )
    if limit <= 0 or age <= limit:
        return ""
    return say(
        "{action} is {age} old and was not run: it is too old after {limit}"
        " (expiry.{field}). Send it again if it is still wanted.",
        action=command.action,
        age=_duration(age),
        limit=_duration(limit),
        field=action.expiry,
    )


def _apply(command: Command, situation: Situation, rules: Tuple[Rule, ...]) -> Action:
    if command.problem:
        raise Refused(command.problem)
    action = find_action(command.action, situation.own)
    if action is None:
        shown = printable(command.action, 40)
        raise Refused(
            say(
                'The action "{shown}" is unknown: see the list of commands in the documentation.',
                shown=shown,
            )
        )
    for rule in rules:
        reason = rule(command, action, situation)
        if reason:
            raise Refused(reason)
    return action


# Standing rules


def _for_this_printer(command: Command, action: Action, now: Situation) -> str:
    if command.foreign:
        return say("The command carries another printer's token: check the server's command queue.")
    return ""


def _not_switched_off(command: Command, action: Action, now: Situation) -> str:
    if now.switched_off_by and action.level is not RemoteControl.MONITOR:
        return say(
            "Remote control was switched off at the printer ({who}): it can only be"
            " switched on there, by tecmedhub_remote_on.",
            who=now.switched_off_by,
        )
    return ""


def _level(command: Command, action: Action, now: Situation) -> str:
    level = now.security.remote_control
    if LEVELS.index(level) >= LEVELS.index(action.level):
        return ""
    return say(
        "security.remote_control is {level} on this printer, which does not allow {action}.",
        level=level.value,
        action=action.name,
    )


def _not_denied(command: Command, action: Action, now: Situation) -> str:
    denied = (pattern.strip().lower() for pattern in now.security.denied_actions)
    if any(fnmatch.fnmatchcase(action.name, pattern) for pattern in denied):
        return say(
            "{action} is denied on this printer (security.denied_actions).", action=action.name
        )
    return ""


def _numbers(command: Command, action: Action, now: Situation) -> str:
    return _reason(lambda: [read_number(command.params, wanted) for wanted in action.numbers])


def _file_named(command: Command, action: Action, now: Situation) -> str:
    if action.name not in PRINTS:
        return ""
    name = print_request(command).file
    if not name.strip():
        return say("{action} names no file: give the parameter file.", action=action.name)
    if len(name.encode("utf-8", "replace")) > MAX_NAME or any(
        ord(c) < 32 or c in '"\x7f' for c in name
    ):
        return say("The file's name is too long or holds quotes or control characters: rename it.")
    if action.name == "print_local" and not all(part.strip(".") for part in name.split("/")):
        return say("print_local takes a path below the gcodes folder, such as labs/part.gcode.")
    return ""


# Rules of the moment


def _missing(action: Action, objects: FrozenSet[str]) -> str:
    """The section of printer.cfg that the action needs and that is not there; "" if none."""
    needed = {"pause": "pause_resume", "resume": "pause_resume", "cancel": "pause_resume"}
    section = "virtual_sdcard" if action.name in PRINTS else needed.get(action.name, "")
    return section if section and objects and section not in objects else ""


def _klippy_ready(command: Command, action: Action, now: Situation) -> str:
    if not action.needs_klippy:
        return ""
    snapshot = now.snapshot
    if snapshot.doubt:
        return snapshot.doubt
    missing = _missing(action, snapshot.machine.objects)
    if snapshot.ready and missing:
        return say(
            "{action} needs [{section}] in printer.cfg, which this printer has not: add it there.",
            action=action.name,
            section=missing,
        )
    if snapshot.ready:
        return (
            ""
            if snapshot.objects
            else say("Klippy has only just become ready: send it again in a moment.")
        )
    said = snapshot.message or say("no message")
    remedy = {
        KlippyState.SHUTDOWN: say("mend the cause, then send firmware_restart"),
        KlippyState.ERROR: say("mend the configuration, then restart Klipper"),
        KlippyState.STARTUP: say("wait until it is ready"),
    }.get(snapshot.klippy, say("start Klipper on the printer"))
    if now.switched_off:
        remedy = say("[power {device}] is off: switch it on", device=now.switched_off)
    return say(
        'Klippy is not ready ({state}: "{said}"): {remedy}.',
        state=snapshot.klippy.value,
        said=said,
        remedy=remedy,
    )


def _begun(command: Command, action: Action, now: Situation) -> str:
    """Pause and resume mean a job that has begun."""
    if action.name not in ("pause", "resume") or now.snapshot.busy or not now.coming:
        return ""
    if now.coming[0].fetching:
        return say(
            "{file} has not begun, its file is on the way: send cancel if it shall not begin.",
            file=now.coming[0].file,
        )
    raise NotYet(say("{file} is about to begin", file=now.coming[0].file))


def _printer_free(command: Command, action: Action, now: Situation) -> str:
    if action.name not in PRINTS or not now.snapshot.busy or print_request(command).queue:
        return ""
    job = now.snapshot.job
    name = job.filename or say("a job")
    return say(
        "The printer is busy: {name} is {state}. Wait for its end, or send it with"
        " queue: true to put it into the job queue.",
        name=name,
        state=say(job.state),
    )


def _bed_clear(command: Command, action: Action, now: Situation) -> str:
    if action.name == "queue_start" and now.security.require_clear_bed:
        if now.bed_needs_clearing:
            return _BED
        if now.snapshot.busy or (now.queue.automatic and now.queue.waiting > 1):
            return _ON_TOP
    if action.name not in PRINTS or not now.security.require_clear_bed:
        return ""
    if _is_queued(command, now):
        return _ON_TOP
    if now.bed_needs_clearing:
        return _BED
    return ""


def _power_stays(command: Command, action: Action, now: Situation) -> str:
    """Whatever `confirm` says: what feeds the printer stays on in a job."""
    name = as_text(command.params.get("device")).strip()
    off = as_text(command.params.get("state")).strip().lower() == "off"
    if action.name != "power" or not off or not now.power.get(name):
        return ""
    if not now.snapshot.busy and not now.coming:
        return ""
    return say(
        "[power {name}] feeds the printer, and a job is not over: send cancel first.", name=name
    )


def _of_this_job(command: Command, action: Action, now: Situation) -> str:
    """Whoever asks sees a job, and means that one. Objects are called alike in many jobs, and those
    of this one are known a moment later."""
    job = now.snapshot.job
    if action.name == "exclude_object":
        late = now.snapshot.busy and now.age > job.total_duration - NEWS_WITHIN
    else:
        late = action.name in ("cancel", "resume") and now.asked_before_its_job
    if not late or _means_what_is_coming(action, now):
        return ""
    return say(
        "{action} was asked before {file} began: send it again if it is meant for this job.",
        action=action.name,
        file=job.filename or say("a job"),
    )


def _queue_can_start(command: Command, action: Action, now: Situation) -> str:
    """A queue that Moonraker would not start, though it answers as if it had."""
    if action.name != "queue_start":
        return ""
    if not now.queue.waiting:
        return say("The job queue is empty: send print with queue: true.")
    if now.snapshot.busy and not now.queue.automatic:
        return say(
            "A job is not over, and [job_queue] automatic_transition is off: the queue can only be"
            " started after it."
        )
    if not now.snapshot.ready:
        return say("Klippy is not ready, and Moonraker starts no job queue before it is.")
    return ""


_ON_TOP = say(
    "security.require_clear_bed is on, and a queued job could begin on top of"
    " the finished one: send it once the bed has been declared clear."
)
_BED = say(
    "The last job may still be on the bed (security.require_clear_bed): take it off,"
    " then declare the bed clear with the macro call tecmedhub_bed_clear or in the"
    " panel."
)


def _is_queued(command: Command, now: Situation) -> bool:
    """Whether it goes into Moonraker's job queue: behind a job, or behind what waits there."""
    return print_request(command).queue and (now.snapshot.busy or now.queue.waiting > 0)


STANDING: Tuple[Rule, ...] = (
    _for_this_printer,
    _not_switched_off,
    _level,
    _not_denied,
    _numbers,
    _file_named,
)
MOMENT: Tuple[Rule, ...] = (
    _klippy_ready,
    _begun,
    _printer_free,
    _power_stays,
    _of_this_job,
    _queue_can_start,
    _bed_clear,
)


def _reason(check: Callable[[], object]) -> str:
    try:
        check()
    except Refused as reason:
        return str(reason)
    return ""


def _duration(seconds: float) -> str:
    """
    >>> _duration(65), _duration(7200)
    ('65 s', '120 min')
    """
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
