"""The emergency stop: past every queue, limit and disk, the moment it is found in a reply."""

from __future__ import annotations

import asyncio
import re
from typing import Dict, Mapping, Sequence, Tuple

from ..printer.klippy import Printer, PrinterError
from ..runtime.notices import Notices
from ..store.ledger import State
from .actions import EMERGENCY_STOP
from .halt import Halts
from .wire import Command

# Seconds in which an id is the same stop; later it stops again: one too many is safer than one too
# few, and a hub whose database was made anew counts its ids from 1.
REPEATED = 86_400.0
CONFIRM_WITHIN = 5.0  # seconds until Klippy must show that it has stopped

_RENEWED = re.compile(r"@[0-9]+$")

Outcome = Tuple[State, str]


class EmergencyStop:
    def __init__(self, printer: Printer, halts: Halts, notices: Notices) -> None:
        self._printer = printer
        self._halts = halts
        self._notices = notices
        self._seen: Dict[str, float] = {}

    def recall(self, received: Mapping[str, float]) -> None:
        """The stops of former runs: when each was received, by its key."""
        self._seen = {_RENEWED.sub("", key): at for key, at in received.items()}

    def renewed(self, command: Command, now: float) -> Command:
        """The same command, with a key of its own if its id stopped the printer long ago."""
        before = self._seen.get(command.key)
        if before is None or now - before < REPEATED:
            return command
        return command._replace(key=f"{command.key}@{now:.0f}")

    def known(self, command: Command) -> bool:
        """Whether this very stop was sent already."""
        return command.key in self._seen

    def send(self, stops: Sequence[Command], now: float) -> "asyncio.Task[Outcome]":
        """Stop the printer, once for all of these; nothing asked before it runs after it."""
        for command in stops:
            self._seen[_RENEWED.sub("", command.key)] = now
        self._halts.note_stop()
        task = asyncio.ensure_future(self._stop())
        self._notices.console(f"Hub: {EMERGENCY_STOP}")
        return task

    async def _stop(self) -> Outcome:
        try:
            await self._printer.emergency_stop()
        except PrinterError as error:
            return State.FAILED, str(error)
        if await self._printer.wait_for(lambda now: not now.ready, CONFIRM_WITHIN):
            return State.DONE, "the printer is stopped"
        return State.FAILED, (
            f"Klippy took it, but reports ready after {CONFIRM_WITHIN:.0f} s: go to the printer and"
            " switch it off."
        )
