"""Emergency stops and shutdowns of Klippy's, as the commands see them: what was asked before one is
not run after it.

Without this, a `home` that waited its turn would run as soon as somebody had restarted the
firmware.
"""

from __future__ import annotations

import asyncio
from typing import List, Set

from ..printer.snapshot import KlippyState, Snapshot
from ..runtime.records import NamedTuple
from .actions import Action


class Epoch(NamedTuple):
    """How many stops and shutdowns there had been at some moment."""

    stops: int
    shutdowns: int


class Halts:
    """Counts them, and wakes whoever waits for Klippy's answer to something that can no longer
    succeed."""

    def __init__(self) -> None:
        self._stops = 0
        self._shutdowns = 0
        self._reason = ""
        self._waiting: Set["asyncio.Future[None]"] = set()

    @property
    def now(self) -> Epoch:
        return Epoch(self._stops, self._shutdowns)

    def note_stop(self) -> None:
        self._stops += 1
        self._wake("an emergency stop came")

    def note_change(self, old: Snapshot, new: Snapshot) -> None:
        """A listener for `Printer.subscribe`."""
        fallen = (KlippyState.SHUTDOWN, KlippyState.ERROR)
        if new.klippy in fallen and old.klippy not in fallen:
            self._shutdowns += 1
            self._wake(f'Klippy stopped: "{new.message or new.klippy.value}"')

    def objection(self, since: Epoch, action: Action) -> str:
        """Why something that was asked at `since` must not run any more; "" if it may."""
        if since.stops != self._stops:
            return "An emergency stop came before its turn: send it again if it is still wanted."
        if action.needs_klippy and since.shutdowns != self._shutdowns:
            reason = self._reason[:1].upper() + self._reason[1:]
            return f"{reason}, before its turn: send it again if it is still wanted."
        return ""

    def struck(self, since: Epoch) -> str:
        """What halted the printer since then; "" if nothing did."""
        if since.stops != self._stops:
            return "an emergency stop came"  # whatever Klippy then says of its shutdown
        return self._reason if since != self.now else ""

    def waiter(self, since: Epoch) -> "asyncio.Future[None]":
        """Done at the next halt, or at once if there was one since."""
        future: "asyncio.Future[None]" = asyncio.get_event_loop().create_future()
        if since != self.now:
            future.set_result(None)
            return future
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        return future

    def _wake(self, reason: str) -> None:
        self._reason = reason
        waiting: List["asyncio.Future[None]"] = list(self._waiting)
        for future in waiting:
            if not future.done():
                future.set_result(None)
