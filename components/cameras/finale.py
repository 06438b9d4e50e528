"""The finished part before the head parks: the newest picture taken while filament still flowed.

Klipper calls a print complete when the last line of its file is through, and by then END_PRINT has
moved the head, or is moving it. So near the end a camera is looked at every few seconds, and the
filament counter tells later which of those looks were still of the print: it grew after them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Awaitable, Callable, Optional

from ..printer.snapshot import Job, Snapshot
from ..runtime.alarm import Alarm
from ..runtime.clock import Clock
from .reply import Fetched

LOOK_EVERY = 5.0  # seconds
TIME_LEFT = 60.0  # seconds by the progress so far
PROGRESS = 0.98  # of a long print, whose last minutes go by in no proportion to the file
TOO_OLD = 300.0  # seconds; an END_PRINT that waits for the nozzle to cool takes minutes
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
    """`camera()` names the camera that counts ("" for none), `grab(camera)` takes its picture."""

    def __init__(
        self,
        *,
        look: Callable[[], Snapshot],
        camera: Callable[[], str],
        grab: Callable[[str], Awaitable[Fetched]],
        clock: Clock,
    ) -> None:
        self._look = look
        self._camera = camera
        self._grab = grab
        self._clock = clock
        self._alarm = Alarm(clock)
        self._confirmed: Optional[_Look] = None  # filament was laid down after it
        self._latest: Optional[_Look] = None  # the first one with the counter where it stands now
        self._filename = ""

    def printer_changed(self, new: Snapshot) -> None:
        if new.printing:
            self._alarm.ring()

    async def run(self) -> None:
        """Watch for the ends of prints, for ever."""
        while True:
            await self.step()
            await self._alarm.wait(LOOK_EVERY if self._look().printing else None)

    async def step(self) -> None:
        job = self._look().job
        if job.filename != self._filename or not self._look().printing:
            self._confirmed = self._latest = None
            self._filename = job.filename
        camera = self._camera()
        if not camera or not near_end(self._look()):
            return
        fetched = await self._grab(camera)
        if fetched.trouble is not None:
            return
        # The counter after the picture came: what grows it later was laid down after the picture.
        filament = self._look().job.filament_used
        if self._latest is not None and filament <= self._latest.filament + GROWTH:
            return  # nothing was printed since: the head may be parking already
        self._confirmed = self._latest
        self._latest = _Look(fetched, filament, self._clock.monotonic())

    def picture(self, job: Job) -> Optional[Fetched]:
        """The newest picture from before the end of `job`, just complete; None if there is none."""
        if job.filename != self._filename:
            return None
        look = self._latest
        grew = look is not None and job.filament_used > look.filament + GROWTH
        if not grew and self._confirmed is not None:
            look = self._confirmed  # the latest may show the head on its way
        if look is None or self._clock.monotonic() - look.at > TOO_OLD:
            return None
        return look.fetched
