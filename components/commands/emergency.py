"""The emergency stop: past every queue, limit and disk, the moment it is found in a reply.

It is sent again until Klippy shows that it has stopped. Where Klippy does not take it, that is told
within ten seconds, at the hub and at the printer; and where the operator wants it so, the printer's
power is switched off (`security.emergency_power_device`).
"""

from __future__ import annotations

import asyncio
from typing import Any, Dict, Iterable, Optional, Sequence, Set, Tuple

from ..printer.snapshot import KlippyState
from ..printer.verbs import PrinterError
from ..runtime.messages import say
from ..store.life import State
from .actions import EMERGENCY_STOP
from .halt import Halts
from .tools import Tools
from .wire import Command

REPEATED = 10.0  # seconds in which an id is the same stop: one too many costs nothing
# The same, while a hub that hands out again has not acknowledged its result: where the disk is too
# slow to tell it, each delivery would stop whatever was begun since.
UNHEARD = 600.0
AGAIN_AFTER = 1.0  # seconds until a stop that Klippy has not taken is sent again
AGAIN_LATER = 5.0  # the same, once it has been told
POWER_AFTER = 3.5  # seconds until the power is switched off: so that it is off after 5
TOLD_AFTER = 7.0  # seconds until it is told: so that its result is there within 10

_STOPPED = (KlippyState.SHUTDOWN, KlippyState.ERROR)

Outcome = Tuple[State, str]


class EmergencyStop:
    def __init__(self, tools: Tools, halts: Halts) -> None:
        self._tools = tools
        self._printer = tools.printer
        self._halts = halts
        self._seen: Dict[str, float] = {}  # when each was sent, monotonic
        self._unheard: Set[str] = set()  # of these: the hub has acknowledged no result
        self._first: "Optional[asyncio.Future[Outcome]]" = None  # what is told within 10 s
        self._more: "Optional[asyncio.Future[str]]" = None  # beside those
        self._power: "Optional[asyncio.Future[str]]" = None
        self._last: "Optional[asyncio.Future[Outcome]]" = None  # what became of it

    def repeated(self, command: Command) -> bool:
        """Whether this very stop was sent before, and is not another one of the same words."""
        sent = self._seen.get(command.identity)
        redelivered = command.identity in self._unheard and self._tools.hub_redelivers()
        within = UNHEARD if redelivered else REPEATED
        return sent is not None and self._tools.clock.monotonic() - sent < within

    def acknowledged(self, identities: Iterable[str]) -> None:
        """The hub has results of these commands."""
        self._unheard.difference_update(identities)

    def send(self, stops: Sequence[Command], number: int) -> None:
        """Stop the printer, once for all of these; nothing up to the command `number` runs after
        it."""
        now = self._tools.clock.monotonic()
        self._seen = {key: at for key, at in self._seen.items() if now - at < UNHEARD}
        self._seen.update((command.identity, now) for command in stops)
        self._unheard.intersection_update(self._seen)
        self._unheard.update(command.identity for command in stops)
        self._halts.note_stop(number)
        if self._last is None or self._last.done():
            self._first = asyncio.get_event_loop().create_future()
            self._last = asyncio.ensure_future(self._until_taken(self._first))
        else:
            self._more = asyncio.ensure_future(self._attempt())  # at once, once more
        self._tools.notices.console(f"Hub: {EMERGENCY_STOP}")

    async def first_outcome(self) -> Outcome:
        """What to tell within ten seconds; `State.RUNNING` if Klippy does not take it."""
        assert self._first is not None
        return await asyncio.shield(self._first)

    async def last_outcome(self) -> Outcome:
        assert self._last is not None
        return await asyncio.shield(self._last)

    def close(self) -> None:
        if self._last is not None:
            self._last.cancel()

    async def _until_taken(self, first: "asyncio.Future[Outcome]") -> Outcome:
        outcome = await self._stop(first)
        self._tools.notices.clear("emergency_stop", "The emergency stop has an end.")
        if not first.done():
            first.set_result(outcome)
        return outcome

    async def _stop(self, first: "asyncio.Future[Outcome]") -> Outcome:
        clock, device = self._tools.clock, self._tools.live.now.security.emergency_power_device
        began, cut_at, power = clock.monotonic(), POWER_AFTER, None
        while True:
            attempt = asyncio.ensure_future(self._attempt())
            pause = AGAIN_LATER if first.done() else AGAIN_AFTER
            if device and _still_on(power):
                pause = min(pause, max(began + cut_at - clock.monotonic(), 0.05))
            taken = await self._taken(attempt, pause)
            error = attempt.result() if attempt.done() else say("it does not answer")
            attempt.cancel()
            off, cut = _said_of(device, power)
            if taken:
                return State.DONE, cut if off else say("the printer is stopped")
            gone = not self._printer.snapshot.ready
            if gone and first.done():
                ended = (State.FAILED, say("Klippy ended and did not take it."))
                return first.result() if off else ended
            passed = clock.monotonic() - began
            if device and passed >= cut_at and _still_on(power):
                cut_at = passed + AGAIN_LATER  # what failed once may work the next time
                power = self._power = asyncio.ensure_future(self._cut_power(device))
            if off and not first.done():
                first.set_result((State.DONE, cut))
                self._show(say("An emergency stop has come. {what}", what=cut))
            elif passed >= TOLD_AFTER and not first.done():
                said = say(
                    "Klippy does not take it ({error}): use the switch on the wall. {what}",
                    error=error,
                    what=cut,
                )
                self._show(say("An emergency stop has come. {what}", what=said))
                if gone:
                    return State.FAILED, said  # there is nobody to send it to
                first.set_result((State.RUNNING, said))

    async def _attempt(self) -> str:
        """Send it; why that failed, or ""."""
        try:
            await self._printer.emergency_stop()
        except PrinterError as error:
            return str(error)
        return ""

    async def _taken(self, attempt: "asyncio.Future[str]", seconds: float) -> bool:
        """Whether Klippy shows within so many seconds that it has stopped; its answer alone counts
        where it was not up."""
        shown: "asyncio.Future[bool]" = asyncio.ensure_future(
            self._printer.wait_for(lambda now: now.klippy in _STOPPED, seconds)
        )

        def answered() -> bool:
            up = self._printer.snapshot.ready
            return attempt.done() and not attempt.result() and not up

        for _ in range(3):
            await asyncio.sleep(0)  # it is on its way, whatever is known already
        either: Set["asyncio.Future[Any]"] = {attempt, shown}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return answered() or await shown or answered()

    async def _cut_power(self, device: str) -> str:
        """Why it could not be switched off, or ""."""
        try:
            await self._printer.power_off(device)
        except Exception as error:  # whatever a device of Moonraker's does
            return f"{type(error).__name__}: {error}"
        return ""

    def _show(self, text: str) -> None:
        self._tools.notices.show("emergency_stop", text)


def _still_on(power: "Optional[asyncio.Future[str]]") -> bool:
    """Whether nothing is under way, or done, that switches the power off."""
    return power is None or (power.done() and bool(power.result()))


def _said_of(device: str, power: "Optional[asyncio.Future[str]]") -> Tuple[bool, str]:
    """Whether the power is off, and what there is to say of it."""
    if power is None:
        return False, ""
    if not power.done():
        return False, say("The power device {device} has not answered yet.", device=device)
    if power.result():
        return False, say(
            "The power device {device} was not switched off: {error}.",
            device=device,
            error=power.result(),
        )
    return True, say(
        "Klippy did not take it, so the power device {device} was switched off.", device=device
    )
