"""Sleeping until a time is over or somebody rings: what every loop of this room does between two
rounds.
"""

from __future__ import annotations

import asyncio
from typing import Optional

from ..runtime.clock import Clock


class Alarm:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rung: Optional["asyncio.Future[None]"] = None
        self._ringing = False

    def ring(self) -> None:
        """End the wait under way, or, if there is none, the next one at once."""
        self._ringing = True
        if self._rung is not None and not self._rung.done():
            self._rung.set_result(None)

    async def wait(self, seconds: Optional[float] = None) -> bool:
        """True if it was rung, False if `seconds` went by (None: wait for the ring). One waiter at
        a time.
        """
        if not self._ringing:
            self._rung = asyncio.get_event_loop().create_future()
            waits = {asyncio.ensure_future(_settle(self._rung))}
            if seconds is not None:
                waits.add(asyncio.ensure_future(self._clock.sleep(max(seconds, 0.0))))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
                self._rung = None
        rang, self._ringing = self._ringing, False
        return rang


async def _settle(future: "asyncio.Future[None]") -> None:
    await future
