"""Long work, cut into pieces so short that nobody waits for it: in the event loop, or in a thread,
which holds up the loop as well while it holds the interpreter.
"""

from __future__ import annotations

import asyncio
import time

from .clock import Clock

AT_ONCE = 0.002  # seconds between turns of others; ten times that on a busy Raspberry Pi
MOST = 50  # pieces between them
BREATH = 0.0005  # seconds; enough for a thread that waits to wake and take the interpreter


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


def breathe(piece: int, every: int = 20) -> None:
    """In a thread: let the event loop have the interpreter at every so many pieces of work.

    Work that waits for the disk lets go of it again and again, but takes it back before the loop's
    thread is awake, which can starve that for a tenth of a second.
    """
    if piece % every == every - 1:
        time.sleep(BREATH)
