"""After the hand-over: what Klippy answers, and whether the printer then shows it.

An answer means that a script is over; what was asked is done when the printer's state shows it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Callable

from ..printer.console import complaint, unknown_words
from ..printer.klippy import Printer
from ..printer.snapshot import KlippyState, Snapshot
from ..printer.verbs import KlippyEnded, PrinterError
from ..runtime.clock import Clock
from ..runtime.messages import say, sentence
from ..store.life import State
from .gcode import read_line
from .halt import Halts
from .lanes import Job
from .order import RESTARTS, Failed, Order

EXACT_WITHIN = 5.0  # seconds after Klippy's answer until a nearly right state counts
CONSOLE_TURNS = 6  # of the event loop, until Moonraker has handed on a line that came before
SHOWN_WITHIN = 1.0  # seconds after a complaint in which it may show that it happened all the same
LAST_WORDS = 2.0  # seconds Klippy has after a halt to say itself why it gave up
LONG = 1.0  # seconds: a script that ran longer may have been ended by a shutdown without an error
SETTLE = 0.5  # seconds until such a shutdown has shown in the state
JOB_VERBS = ("pause", "resume", "cancel")
AWAY = (KlippyState.DISCONNECTED, KlippyState.STARTUP)


class Ended(Exception):
    """How it ended, where that is neither done nor refused."""

    def __init__(self, state: State, message: str) -> None:
        super().__init__(message)
        self.state = state


class Outcome:
    def __init__(self, printer: Printer, clock: Clock, halts: Halts) -> None:
        self._printer = printer
        self._clock = clock
        self._halts = halts

    async def answer(self, job: Job, sending: "asyncio.Future[Any]") -> Any:
        """Klippy's answer, however long that takes; less if Klippy leaves meanwhile."""
        if not job.action.needs_klippy:
            return await sending
        halted = self._halts.waiter(self._halts.falls)
        try:
            await asyncio.wait({sending, halted}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done() and job.handed is None:
                await asyncio.wait({sending})  # the verdict is still to come, and will see it
            elif not sending.done():
                alarm = asyncio.ensure_future(self._clock.sleep(LAST_WORDS))
                await asyncio.wait({sending, alarm}, return_when=asyncio.FIRST_COMPLETED)
                alarm.cancel()
        finally:
            halted.cancel()
        if not sending.done():
            self._check_alive(job)
        try:
            return await sending
        except KlippyEnded:
            raise
        except PrinterError:
            if self._halts.stopping:  # Klippy's words can be quicker than its state
                await self._printer.wait_for(lambda now: not now.ready, SETTLE)
            self._check_alive(job)  # says more than Klippy's words about its own shutdown
            raise

    async def said(self, job: Job, order: Order) -> str:
        """What Klipper's console complained of while this ran; raises `Failed` where it did not
        even know the command, or where what was asked has had no effect: no use to wait then.
        """
        if not order.script and order.verb not in JOB_VERBS:
            return ""
        for _ in range(CONSOLE_TURNS):
            await asyncio.sleep(0)
        lines = self._printer.console.since(job.handed or 0.0)
        said = complaint(lines)
        known = {line.word for line in map(read_line, order.script.split("\n"))}
        unknown = sorted(known.intersection(unknown_words(lines)))
        if said and not unknown:  # Klippy's state comes up to a quarter of a second later
            await self._printer.wait_for(order.reached, SHOWN_WITHIN)
        if unknown or (said and not order.reached(self._printer.snapshot)):
            raise Failed(say('Klippy: "{said}"', said=said))
        return said

    async def confirmed(self, job: Job, order: Order, answer: Any) -> str:
        """See the printer show it; the message of its success."""
        assert job.handed is not None
        watched = job.action.needs_klippy and bool(order.verb) and order.verb not in RESTARTS
        if watched and self._clock.monotonic() - job.handed > LONG:
            await self._printer.wait_for(lambda now: not now.ready, SETTLE)

        def reached(now: Snapshot) -> bool:
            if order.verb in RESTARTS:
                return self._halts.falls != job.falls and now.klippy not in AWAY
            return order.reached(now)

        def nearly(now: Snapshot) -> bool:
            return reached(now) or order.good_enough(now)

        within, exact = order.within, True
        if not await self._shown(job, reached, min(EXACT_WITHIN, within), watched):
            exact = False
            if order.insist:
                await self._insist(order)
            if not await self._shown(job, nearly, within - EXACT_WITHIN, watched):
                raise Failed(
                    say(
                        "Klippy took it, but {trouble} after {seconds:.0f} s.",
                        trouble=order.missed(self._printer.snapshot),
                        seconds=within,
                    )
                )
            exact = reached(self._printer.snapshot)
        if order.settle:
            await self._printer.wait_for(lambda now: not now.busy, order.settle)
            self._check_alive(job)
        now = self._printer.snapshot
        message = order.told(answer) or order.done(now)
        for note in (job.note, "" if exact else order.missed(now)):
            if note:
                message = with_note(message, note)
        return message

    async def _insist(self, order: Order) -> None:
        """Where Klipper has taken a verb and done nothing: what does it there, looked at anew."""
        try:
            now = await self._printer.look()
        except PrinterError:
            return
        if order.stuck(now) and order.stuck(self._printer.snapshot):
            await self._printer.gcode(order.insist)

    async def _shown(
        self, job: Job, shown: Callable[[Snapshot], bool], seconds: float, watched: bool
    ) -> bool:
        await self._printer.wait_for(
            lambda now: shown(now) or (watched and not now.ready), max(seconds, 0.1)
        )
        if watched:
            self._check_alive(job)
        return shown(self._printer.snapshot)

    def _check_alive(self, job: Job) -> None:
        """Raise what became of it if Klippy has left since it was handed over."""
        now = self._printer.snapshot
        if job.order is not None and job.order.verb in RESTARTS:
            return  # it is meant to leave
        if not job.action.needs_klippy or (self._halts.falls == job.falls and now.ready):
            return
        if self._halts.falls != job.falls and self._halts.ended:
            raise Ended(State.INTERRUPTED, interrupted("Klippy"))
        reason = self._halts.reason or say(
            'Klippy stopped ({state}): "{message}"', state=now.klippy.value, message=now.message
        )
        raise Ended(State.FAILED, say("It was cut short: {reason}.", reason=reason))


_UNKNOWN = sentence(
    "{who} ended while this ran: whether the printer finished it is unknown, and it was not run"
    " again. Look at the printer, then send it again if it is still wanted."
)


def interrupted(who: str) -> str:
    """The message of a command during which Moonraker or Klippy ended."""
    return say(_UNKNOWN, who=who)


def with_note(message: str, note: str) -> str:
    return (
        say("{message} ({note})", message=message, note=note)
        if message
        else say("({note})", note=note)
    )
