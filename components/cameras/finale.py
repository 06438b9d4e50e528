"""The finished part before the head parks: the newest picture that was taken while filament was
still being laid down.

Klipper calls a print complete when the last line of its file is through, and by then END_PRINT has
moved the head, or is moving it. So near the end a camera is looked at every few seconds, and the
filament counter tells later which of those looks were still of the print: the counter went on
growing after them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Awaitable, Callable, Deque, Optional

from ..printer.snapshot import Job, Snapshot
from ..runtime.clock import Clock
from .fetch import Fetched

LOOK_EVERY = 5.0  # seconds
LOOKS_KEPT = 3
TIME_LEFT = 60.0  # seconds by the progress so far
PROGRESS = 0.98  # of a long print, whose last minutes go by in no proportion to the file
TOO_OLD = 90.0  # seconds; then a picture of the parked head says more
GROWTH = 0.05  # mm of filament


@dataclass(frozen=True)
class _Look:
    fetched: Fetched
    filament: float  # mm used when it had been taken
    at: float  # monotonic seconds


def near_end(snapshot: Snapshot) -> bool:
    """Whether this print may be over within a minute or so."""
    job = snapshot.job
    if not snapshot.printing or job.progress <= 0.0:
        return False
    left = job.print_duration * (1.0 - job.progress) / job.progress
    return job.progress >= PROGRESS or left <= TIME_LEFT


class Finale:
    """`grab()` takes a picture with the camera that counts."""

    def __init__(
        self, *, look: Callable[[], Snapshot], grab: Callable[[], Awaitable[Fetched]], clock: Clock
    ) -> None:
        self._look = look
        self._grab = grab
        self._clock = clock
        self._looks: Deque[_Look] = deque(maxlen=LOOKS_KEPT)
        self._filename = ""

    async def run(self) -> None:
        """Watch for the ends of prints, for ever."""
        while True:
            await self.step()
            await self._clock.sleep(LOOK_EVERY)

    async def step(self) -> None:
        snapshot = self._look()
        if not near_end(snapshot):
            if not snapshot.printing:
                self._looks.clear()
            return
        if snapshot.job.filename != self._filename:
            self._looks.clear()
            self._filename = snapshot.job.filename
        fetched = await self._grab()
        if fetched.trouble is None:
            # The counter after the picture came: what grows it later was laid down after the picture.
            filament = self._look().job.filament_used
            self._looks.append(_Look(fetched, filament, self._clock.monotonic()))

    def picture(self, job: Job) -> Optional[Fetched]:
        """The newest picture from before the end of `job`, which has just become complete; None if
        there is none.
        """
        if job.filename != self._filename or not self._looks:
            return None
        # END_PRINT retracts some
        peak = max([job.filament_used] + [look.filament for look in self._looks])
        now = self._clock.monotonic()
        for look in reversed(self._looks):
            if look.filament < peak - GROWTH and now - look.at <= TOO_OLD:
                return look.fetched
        return None
