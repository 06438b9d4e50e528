"""May this command run? Pure rules in two tables; the first that objects refuses, with a reason and
a remedy.

`STANDING` rules look at the command and the operator's settings only; they are asked when a command
arrives and again when its turn comes. `MOMENT` rules look at the printer, and are asked at its
turn. Nothing the hub sends can widen any of them: `confirm: true` only answers the question that
`validate_dangerous_commands` asks.
"""

from __future__ import annotations

import fnmatch
from typing import Callable, Tuple

from ..printer.snapshot import KlippyState, Snapshot
from ..runtime.loose import printable
from ..runtime.records import NamedTuple
from ..settings.model import Expiry, RemoteControl, Security
from . import orders
from .actions import ACTIONS, PRINTS, Action, Lane
from .gcode import Refused
from .wire import Command, print_request

# From least to most that the hub may do; an action needs its own level or one further right.
LEVELS = (RemoteControl.OFF, RemoteControl.MONITOR, RemoteControl.PRINT, RemoteControl.FULL)
MAX_NAME = (
    255  # bytes of a file name; for files that are fetched, the files room has rules of its own
)

Rule = Callable[[Command, Action, "Situation"], str]


class Situation(NamedTuple):
    """Everything a rule may look at besides the command."""

    security: Security
    snapshot: Snapshot
    switched_off_by: str = ""  # who used the kill switch at the printer; "" while it is on
    bed_needs_clearing: bool = False


def refusal_on_arrival(command: Command, situation: Situation) -> str:
    """Why this command will never run, whatever the printer does; "" if it may wait for its
    turn."""
    return _first(command, situation, STANDING)


def refusal(command: Command, situation: Situation) -> str:
    """Why this command may not run now; "" if it may."""
    return _first(command, situation, STANDING + MOMENT)


def expiry(command: Command, limits: Expiry, now: float) -> str:
    """Why it is too old to run at `now` (unix seconds, the hub's clock); "" if it is not."""
    action = ACTIONS.get(command.action)
    if action is None:
        return ""
    limit: float = getattr(limits, action.expiry)
    age = command.age(now)
    if limit <= 0 or age <= limit:
        return ""
    return (
        f"{command.action} is {_duration(age)} old and was not run: it is too old after"
        f" {_duration(limit)}"
        f" (expiry.{action.expiry}). Send it again if it is still wanted."
    )


def _first(command: Command, situation: Situation, rules: Tuple[Rule, ...]) -> str:
    if command.problem:
        return command.problem
    action = ACTIONS.get(command.action)
    if action is None:
        shown = printable(command.action, 40)
        return f'The action "{shown}" is unknown: see the list of commands in the documentation.'
    for rule in rules:
        reason = rule(command, action, situation)
        if reason:
            return reason
    return ""


# Standing rules


def _for_this_printer(command: Command, action: Action, now: Situation) -> str:
    if command.foreign:
        return "The command carries another printer's token: check the server's command queue."
    return ""


def _not_switched_off(command: Command, action: Action, now: Situation) -> str:
    if now.switched_off_by and action.level is not RemoteControl.MONITOR:
        return (
            f"Remote control was switched off at the printer ({now.switched_off_by}): it can only"
            " be switched on there, by tecmedhub_remote_on."
        )
    return ""


def _level(command: Command, action: Action, now: Situation) -> str:
    level = now.security.remote_control
    if LEVELS.index(level) >= LEVELS.index(action.level):
        return ""
    return (
        f"security.remote_control is {level.value} on this printer, which does not allow"
        f" {action.name}."
    )


def _not_denied(command: Command, action: Action, now: Situation) -> str:
    denied = (pattern.strip().lower() for pattern in now.security.denied_actions)
    if any(fnmatch.fnmatchcase(action.name, pattern) for pattern in denied):
        return f"{action.name} is denied on this printer (security.denied_actions)."
    return ""


def _numbers(command: Command, action: Action, now: Situation) -> str:
    return _reason(
        lambda: [orders.read_number(command.params, wanted) for wanted in action.numbers]
    )


def _file_named(command: Command, action: Action, now: Situation) -> str:
    if action.name not in PRINTS:
        return ""
    name = print_request(command).file
    if not name.strip():
        return f"{action.name} names no file: give the parameter file."
    if len(name.encode("utf-8", "replace")) > MAX_NAME or any(
        ord(c) < 32 or c in '"\x7f' for c in name
    ):
        return "The file's name is too long or holds quotes or control characters: rename it."
    if action.name == "print_local" and not all(part.strip(".") for part in name.split("/")):
        return "print_local takes a path below the gcodes folder, such as labs/part.gcode."
    return ""


# Rules of the moment


def _klippy_ready(command: Command, action: Action, now: Situation) -> str:
    if not action.needs_klippy:
        return ""
    snapshot = now.snapshot
    if snapshot.ready:
        return (
            ""
            if snapshot.objects
            else "Klippy has only just become ready: send it again in a moment."
        )
    said = snapshot.message or "no message"
    remedy = {
        KlippyState.SHUTDOWN: "mend the cause, then send firmware_restart",
        KlippyState.ERROR: "mend the configuration, then restart Klipper",
        KlippyState.STARTUP: "wait until it is ready",
    }.get(snapshot.klippy, "start Klipper on the printer")
    return f'Klippy is not ready ({snapshot.klippy.value}: "{said}"): {remedy}.'


def _dangerous(command: Command, action: Action, now: Situation) -> str:
    if not action.dangerous:
        return ""
    return _needs_confirmation(command, action.name, now)


def _needs_confirmation(command: Command, what: str, now: Situation) -> str:
    if not now.snapshot.busy or not now.security.validate_dangerous_commands or command.confirm:
        return ""
    job = now.snapshot.job
    return (
        f"{what} would disturb the job {job.filename or 'of this printer'}, which is {job.state}:"
        " wait for its end,"
        " or send it with confirm: true."
    )


def _job_state(command: Command, action: Action, now: Situation) -> str:
    snapshot = now.snapshot
    if action.name == "pause" and not snapshot.busy:
        return "Nothing is being printed, so there is nothing to pause."
    if action.name == "resume" and not snapshot.busy:
        return "No print is paused, so there is nothing to resume."
    if action.name == "cancel" and not snapshot.busy:
        return "Nothing is being printed, so there is nothing to cancel."
    return ""


def _printer_free(command: Command, action: Action, now: Situation) -> str:
    if action.name not in PRINTS or not now.snapshot.busy or print_request(command).queue:
        return ""
    job = now.snapshot.job
    return (
        f"The printer is busy: {job.filename or 'a job'} is {job.state}. Wait for its end, or"
        " send it with"
        " queue: true to put it into the job queue."
    )


def _bed_clear(command: Command, action: Action, now: Situation) -> str:
    if action.name not in PRINTS or not now.security.require_clear_bed:
        return ""
    if now.snapshot.busy:  # only with queue: true
        return (
            "security.require_clear_bed is on, and a queued job could begin on top of the"
            " finished one: send it once"
            " the bed has been declared clear."
        )
    if now.bed_needs_clearing:
        return _BED
    return ""


_BED = (
    "The last job may still be on the bed (security.require_clear_bed): take it off, then declare"
    " the bed clear with"
    " the macro call tecmedhub_bed_clear or in the panel."
)


def _order(command: Command, action: Action, now: Situation) -> str:
    """Whatever depends on the printer's heaters, fans and macros, and on the words of a script."""
    if action.lane is not Lane.GCODE or action.name == "firmware_restart":
        return ""
    try:
        order = orders.order_for(command, now.snapshot, now.security)
    except Refused as reason:
        return str(reason)
    if order.starts_print and now.security.require_clear_bed and now.bed_needs_clearing:
        return _BED
    if order.moving:
        return _needs_confirmation(command, ", ".join(sorted(set(order.moving))[:5]), now)
    return ""


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
    _dangerous,
    _job_state,
    _printer_free,
    _bed_clear,
    _order,
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
