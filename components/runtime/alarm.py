"""Sleeping until a time is over or somebody rings: what every loop does between two rounds."""

from __future__ import annotations

import asyncio
import functools
from typing import Optional, Set

from .clock import Clock


class Alarm:
    """As an `asyncio.Event` under `wait_for`, without a task for each wait, which would cost a loop
    that looks every few seconds more than what it does then.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: "Set[asyncio.Future[bool]]" = set()
        self._ringing = False

    def ring(self) -> None:
        """End every wait under way, or, if there is none, the next one at once."""
        if not self._waiting:
            self._ringing = True
        for future in self._waiting:
            _end(future, True)

    def hush(self) -> None:
        """Forget a ring that nobody has heard."""
        self._ringing = False

    async def wait(self, seconds: Optional[float] = None) -> bool:
        """True if it was rung, False if `seconds` went by (None: wait for the ring)."""
        if self._ringing:
            self._ringing = False
            return True
        future: "asyncio.Future[bool]" = asyncio.get_event_loop().create_future()
        self._waiting.add(future)
        timer = None
        if seconds is not None:
            end = functools.partial(_end, future, False)
            timer = self._clock.call_later(max(seconds, 0.0), end)
        try:
            return await future
        finally:
            if timer is not None:
                timer.cancel()
            self._waiting.discard(future)


def _end(future: "asyncio.Future[bool]", rung: bool) -> None:
    if not future.done():
        future.set_result(rung)
