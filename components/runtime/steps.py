"""Work that has to be done in the event loop, cut into pieces so short that nobody waits for it."""

from __future__ import annotations

import asyncio

from .clock import Clock

AT_ONCE = 0.002  # seconds between turns of others; ten times that on a busy Raspberry Pi
MOST = 50  # pieces between them


class Steps:
    """Await `pause()` before each piece: it gives others their turn at first, and whenever some
    time or some pieces have gone since.

    The caller's locals may be shared with nobody: anything can happen meanwhile.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = float("-inf")
        self._taken = 0

    async def pause(self) -> None:
        self._taken += 1
        if self._taken < MOST and self._clock.monotonic() - self._began < AT_ONCE:
            return
        await asyncio.sleep(0)
        self._taken = 0
        self._began = self._clock.monotonic()
