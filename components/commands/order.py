"""One thing to do, and how one sees that it was done; the reader of numbers within bounds. Pure."""

from typing import Any, Callable, Mapping, NamedTuple, Tuple

from ..printer.snapshot import Snapshot
from ..runtime.loose import as_float, as_text
from ..runtime.messages import say, sentence
from .actions import Parameter
from .gcode import Refused

CONFIRM_WITHIN = 30.0  # seconds after Klippy's answer until the state must show it

Predicate = Callable[[Snapshot], bool]


# The words of Klipper's print_stats for how a job is, as `say(job.state)` shows them to people.
JOB_STATES = (
    sentence("standby"),
    sentence("printing"),
    sentence("paused"),
    sentence("complete"),
    sentence("cancelled"),
    sentence("error"),
)
# The verbs after which Klippy goes and comes back.
RESTARTS = ("firmware_restart", "restart", "save_config")
RESTART_WITHIN = 120.0  # seconds that a restarting Klippy may be away
ENDS_KLIPPY = say("ends Klippy or the computer")


class Failed(Exception):
    """It was tried, and will not happen any more: a sentence for people."""


class TooOld(Exception):
    """It was asked too long ago to be tried: a sentence for people."""


def check_restarted(now: Snapshot) -> None:
    """Raise `Failed` unless Klippy is ready again."""
    if not now.ready:
        raise Failed(
            say(
                'Klippy is not ready after the restart ({state}): "{message}"',
                state=now.klippy.value,
                message=now.message,
            )
        )


class Order(NamedTuple):
    """One thing to do, and the state that shows its success."""

    verb: str  # of `Printer`, with `arguments`; "hook" is another room's; "" is nothing to send
    arguments: Tuple[Any, ...] = ()
    # The result's message, of the state that was reached; raises `Failed` if that is no success.
    done: Callable[[Snapshot], str] = lambda now: ""
    reached: Predicate = lambda now: True
    good_enough: Predicate = lambda now: False  # after a while
    missed: Callable[[Snapshot], str] = lambda now: ""  # what Klippy reports instead
    told: Callable[[Any], str] = as_text  # of what the verb returned: the message, if it has one
    within: float = CONFIRM_WITHIN
    insist: str = ""  # the script for where it was taken and, as `stuck` tells, had no effect
    stuck: Predicate = lambda now: False
    settle: float = 0.0  # seconds after which `done` is asked
    dangers: Tuple[Tuple[str, str], ...] = ()  # (what, why it would disturb a job)
    prints: bool = False  # it may start a print
    alone: bool = False  # it must not wait in Klippy's queue behind somebody else's script
    strikes: bool = False  # no print that was asked before it begins after it

    @property
    def script(self) -> str:
        return str(self.arguments[0]) if self.verb == "gcode" else ""


def read_number(params: Mapping[str, Any], wanted: Parameter) -> float:
    """A parameter within its bounds; raises `Refused`."""
    bounds = say(
        "{low} to {high}{unit}",
        low=number(wanted.low),
        high=number(wanted.high),
        unit=_unit(wanted.unit),
    )
    given = params.get(wanted.name)
    if given is None or given == "":
        raise Refused(
            say(
                "The parameter {name} is missing: give a number from {bounds}.",
                name=wanted.name,
                bounds=bounds,
            )
        )
    value = as_float(given)
    if value is None:
        raise Refused(
            say(
                "The parameter {name} is no number: give one from {bounds}.",
                name=wanted.name,
                bounds=bounds,
            )
        )
    if not wanted.low <= value <= wanted.high:
        raise Refused(
            say(
                "{name} {value} is out of range: give a number from {bounds}.",
                name=wanted.name,
                value=number(value),
                bounds=bounds,
            )
        )
    return value


def number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""
