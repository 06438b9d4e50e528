"""What would become of a command of the hub's at this moment: judged by the very rules that judge
the hub's own, and told. Nothing is run, sent, fetched or written down.
"""

import itertools
from typing import Any, Awaitable, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ..printer.verbs import PrinterError
from ..runtime.messages import say
from ..settings.model import Settings
from . import policy
from .actions import EMERGENCY_STOP, find_action
from .gcode import Refused
from .order import Order, TooOld
from .policy import NotYet
from .situation import Situation
from .wire import Command, Reader, entries, print_request

MOST = 20  # commands of one trial

# What Klippy is sent for a verb of `Printer`: an endpoint of its API, or a line of G-code.
_TO_KLIPPY = {
    "pause": "pause_resume/pause",
    "resume": "pause_resume/resume",
    "cancel": "pause_resume/cancel",
    "emergency_stop": "emergency_stop",
    "start_print": 'SDCARD_PRINT_FILE FILENAME="{0}"',
    "firmware_restart": "FIRMWARE_RESTART",
    "restart": "RESTART",
}
# And what Moonraker's own components are asked.
_TO_MOONRAKER = {
    "queue_print": "job_queue: add {0}",
    "queue": "job_queue: {0} {1}",
    "power": "power: {0} {1}",
    "machine": "machine.{0}",
}


_WORDS: Mapping[Any, str] = {True: "on", False: "off"}


class Trials:
    """`settings()` and `situation()` are those of this moment; `weigh(command)` is the order that
    it comes to now, and raises `Refused`, `NotYet` or `TooOld`; `find_local(path)` is why a file of
    the printer's cannot be printed, `looks` are those of `Deeds`.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        situation: Callable[[], Situation],
        weigh: Callable[[Command], Order],
        find_local: Callable[[str], Awaitable[str]],
        looks: Mapping[str, Callable[[Command], Awaitable[str]]],
        hub_now: Callable[[], float],
    ) -> None:
        self._looks = looks
        self._settings = settings
        self._situation = situation
        self._weigh = weigh
        self._find_local = find_local
        self._hub_now = hub_now

    async def of(self, raw: Any, reader: Reader, generation: int) -> List[Dict[str, Any]]:
        """What became of each of these `commands`, in whatever shape a reply may have them."""
        if isinstance(raw, dict) and "commands" in raw:
            raw = raw["commands"]
        now = self._hub_now()
        items = itertools.islice(entries(raw), MOST)
        return [await self._one(reader.read(item, generation, now)) for item in items]

    async def _one(self, command: Command) -> Dict[str, Any]:
        own = self._settings().actions
        action = find_action(command.action, own)
        known = None if command.problem else action
        found = await self._judged(command)
        needed = False
        if found.outcome == "refused" and not command.confirm and known is not None:
            confirmed = await self._judged(command._replace(confirm=True))
            needed = confirmed.outcome != "refused"
            if needed:  # what it would send if it were confirmed
                found = found._replace(order=confirmed.order)
        order = found.order
        limit = None
        if known is not None:
            expiry = self._settings().expiry
            limit = getattr(expiry, known.expiry) if known.seconds is None else known.seconds
        return {
            "action": command.action,
            "summary": command.summary(),
            "outcome": found.outcome,
            "message": found.message,
            "lane": None if known is None else known.lane.value,
            "to": _receiver(order),
            "sends": _sends(order),
            "dangers": [] if order is None else [why for _, why in order.dangers],
            "confirm": {"given": command.confirm, "needed": needed},
            "expires_after": limit or None,
        }

    async def _judged(self, command: Command) -> "_Found":
        try:
            order = await self._order(command)
        except Refused as reason:
            return _Found("refused", str(reason))
        except NotYet as reason:
            return _Found("waits", say("It would wait: {reason}.", reason=str(reason)))
        except TooOld as reason:
            return _Found("expired", str(reason))
        if order.verb:
            fetched = command.action == "print" and order.verb in ("start_print", "queue_print")
            return _Found(
                "runs",
                say("It would run, once its file has been fetched and verified.")
                if fetched
                else say("It would run now."),
                order,
            )
        told = order.done(self._situation().snapshot)
        return _Found("runs", say("Nothing would be sent: {why}.", why=told), order)

    async def _order(self, command: Command) -> Order:
        if command.is_stop:
            policy.check_arrival(command, self._situation())
            settings = self._settings()
            late = policy.expiry(command, settings.expiry, self._hub_now(), own=settings.actions)
            if late:
                raise TooOld(late)
            return Order(EMERGENCY_STOP)
        order = self._weigh(command)
        request = print_request(command)
        if request.local:
            reason = await self._find_local(request.file)
            if reason:
                raise Refused(reason)
        look = self._looks.get(command.action)
        if look is not None:
            try:
                reason = await look(command)
            except PrinterError as error:
                raise Refused(str(error)) from None
            if reason:
                raise Refused(reason)
        return order


class _Found(NamedTuple):
    outcome: str  # "runs", "waits", "refused" or "expired"
    message: str
    order: Optional[Order] = None


def _receiver(order: Optional[Order]) -> Optional[str]:
    """Who would be asked: "klippy", "moonraker", or "plugin" for what it does by itself."""
    if order is None or not order.verb:
        return None
    if order.script or order.verb in _TO_KLIPPY or order.verb == "save_config":
        return "klippy"
    return "plugin" if order.verb == "hook" else "moonraker"


def _sends(order: Optional[Order]) -> Sequence[str]:
    """Line by line."""
    if order is None or not order.verb or order.verb == "hook":
        return []
    words = [_WORDS.get(argument, str(argument)) for argument in order.arguments]
    if order.verb in ("gcode", "save_config"):
        after = ["SAVE_CONFIG"] if order.verb == "save_config" else []
        return [*words[0].splitlines(), *after]
    pattern = _TO_KLIPPY.get(order.verb) or _TO_MOONRAKER.get(order.verb, order.verb)
    return [pattern.format(*words).strip()]
