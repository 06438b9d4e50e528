"""Takes the frames: one each `timelapse_interval` while a print prints, pauses left out, onto the
disk.

What was filmed before a restart of Moonraker goes on if the same print still runs, and else waits
for its video. While it is unknown what the printer does (Klippy away or starting), nothing is
decided.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Callable, List, Optional

from ..cameras.pictures import PictureError, prepare
from ..cameras.reply import Fetched
from ..printer.snapshot import Job, KlippyState, Snapshot
from ..runtime.alarm import Alarm
from ..runtime.clock import Clock
from ..runtime.disk import reason_of
from ..runtime.notices import Notices
from ..runtime.worker import Worker
from ..settings.model import LiveSettings
from .frames import (
    GIVEN_UP,
    RECORDING,
    WAITING,
    FrameStore,
    Manifest,
    Recording,
    over_budget,
    same_print,
)

if TYPE_CHECKING:
    from ..cameras.cameras import Cameras

FRAME_BYTES = 200_000  # of a JPEG; twice an uploaded picture's, for it is compressed once more
SHORTEST_INTERVAL = 1.0  # seconds; what a camera on a Pi gives without getting hot
MIN_FRAMES = 5  # a third of a second of video; fewer show nothing
MIN_FREE = 500 << 20  # bytes on the disk; below it no frame is written, for the system needs them
IDLE_LOOK = 5.0  # seconds; for what does not ring, such as a job begun anew


class Recorder:
    """`on_waiting()` is called when a recording has become ready for its video; `yields()` is true
    where another program films the prints and nobody has asked for two videos of each.
    """

    def __init__(
        self,
        *,
        live: LiveSettings,
        look: Callable[[], Snapshot],
        cameras: "Cameras",
        store: FrameStore,
        worker: Worker,
        notices: Notices,
        clock: Clock,
        on_waiting: Callable[[], None],
        yields: Callable[[], bool] = lambda: False,
    ) -> None:
        self._live = live
        self._look = look
        self._cameras = cameras
        self._store = store
        self._worker = worker
        self._notices = notices
        self._clock = clock
        self._on_waiting = on_waiting
        self._yields = yields
        self._alarm = Alarm(clock)
        self._next_at = 0.0  # monotonic
        # total_duration when last seen: it only falls when a new job has begun
        self._duration = 0.0
        self._seen = False  # whether `current` was seen running in this life
        self._finale: Optional[Fetched] = None
        self.current: Optional[Recording] = None
        self.recordings: List[Recording] = []
        self.frames_taken = 0
        self.frames_missed = 0

    async def load(self) -> None:
        """Find what former lives left behind."""
        self.recordings = await self._worker.run(self._store.scan)
        filmed = [r for r in self.recordings if r.manifest.state == RECORDING]
        if filmed:
            # if it still runs: decided by the first step that sees the printer
            self.current = filmed[-1]
            for recording in filmed[:-1]:
                await self._finish(recording, "")

    async def run(self) -> None:
        while True:
            try:
                await self._step()
                self._notices.clear("timelapse disk")
            except OSError as error:
                self._notices.show(
                    "timelapse disk",
                    "Timelapse frames cannot be kept ({reason}): check the disk.",
                    reason=reason_of(error),
                )
            await self._alarm.wait(self._pause())

    def printer_changed(self, old: Snapshot, new: Snapshot) -> None:
        if old.job.state != new.job.state or old.klippy is not new.klippy:
            if new.job.state == "complete" and old.busy:
                self._finale = self._cameras.finale_picture(new.job)
            self._alarm.ring()

    def wake(self) -> None:
        self._alarm.ring()

    @property
    def waiting(self) -> List[Recording]:
        """The recordings that can be made into videos, oldest first."""
        return [r for r in self.recordings if r.manifest.state == WAITING]

    def revive(self) -> None:
        """Let what was given up wait for its video again."""
        for recording in self.recordings:
            if recording.manifest.state == GIVEN_UP:
                recording.manifest = replace(recording.manifest, state=WAITING, attempts=0)

    def forget(self, recording: Recording) -> None:
        """Its video is made, and its frames are gone."""
        self.recordings = [r for r in self.recordings if r is not recording]

    def _pause(self) -> Optional[float]:
        printing = self._look().printing
        if self.current is None and not (printing and self._enabled()):
            return None  # nothing to film, nothing to decide: a change rings
        if self.current is None or not printing:
            return IDLE_LOOK
        return min(max(self._next_at - self._clock.monotonic(), 0.0), IDLE_LOOK)

    async def _step(self) -> None:
        snapshot = self._look()
        known = snapshot.ready and bool(snapshot.job.state)
        lost = snapshot.klippy in (KlippyState.SHUTDOWN, KlippyState.ERROR)
        if not known and not lost:
            return
        if self.current is not None and (lost or not self._goes_on(self.current, snapshot.job)):
            recording, self.current = self.current, None
            ended = snapshot.job.state in ("complete", "cancelled", "error") and not lost
            await self._finish(recording, snapshot.job.state if ended else "")
        if self.current is None and snapshot.printing:
            await self._begin(snapshot.job)
        self._seen = self.current is not None
        self._duration = snapshot.job.total_duration
        if self.current is not None and snapshot.printing and self._enabled():
            await self._frame(self.current)

    def _goes_on(self, recording: Recording, job: Job) -> bool:
        if not self._seen:
            return same_print(recording.manifest, job, self._clock.time())
        # Seen running, it needs no wall clock, which NTP may turn meanwhile.
        return (
            job.state in ("printing", "paused")
            and job.filename == recording.manifest.filename
            and job.total_duration >= self._duration - 1.0
        )

    def _enabled(self) -> bool:
        camera = self._live.now.camera
        if not (camera.enabled and camera.timelapse_enabled):
            return False
        if self._yields():
            self._notices.show(
                "timelapse other",
                "moonraker-timelapse films the prints, so TecMedHub does not: set "
                "camera.timelapse_enabled to true for videos of both.",
                warning=False,
            )
            return False
        self._notices.clear("timelapse other")
        return True

    def _interval(self) -> float:
        """Seconds between two frames: `timelapse_interval`, or fewer for a print whose video would
        be shorter than `timelapse_seconds` by the slicer's estimate.
        """
        camera = self._live.now.camera
        file = self._look().file
        frames = camera.timelapse_seconds * camera.timelapse_fps
        known = file.filename == self._look().job.filename and file.estimated_time > 0
        if not known or not frames:
            return camera.timelapse_interval
        spaced = max(file.estimated_time / frames, SHORTEST_INTERVAL)
        return min(camera.timelapse_interval, spaced)

    async def _begin(self, job: Job) -> None:
        camera = self._cameras.best
        if not camera or not job.filename or not self._enabled():
            return
        started = self._clock.time() - job.total_duration
        manifest = Manifest(filename=job.filename, started=started, camera=camera)
        self.current = await self._worker.run(self._store.begin, manifest)
        self.recordings.append(self.current)
        self._finale = None
        self._next_at = self._clock.monotonic()

    async def _finish(self, recording: Recording, outcome: str) -> None:
        """The print is over: let the recording wait for its video, or drop it if it is empty."""
        finale, self._finale = self._finale, None
        fault: Optional[OSError] = None
        if finale is not None and outcome == "complete":
            try:
                await self._add(recording, finale.data)
            except OSError as error:
                fault = error
        if recording.frames < MIN_FRAMES:
            self.forget(recording)
            await self._worker.run(self._store.drop, recording)
            return
        manifest = replace(
            recording.manifest, state=WAITING, ended=self._clock.time(), outcome=outcome
        )
        recording.manifest = manifest  # whatever the disk says, or nobody would make its video
        self._on_waiting()
        await self._worker.run(self._store.save, recording, manifest)
        if fault is not None:
            raise fault

    async def _frame(self, recording: Recording) -> None:
        """Take the next frame if its time has come; one that the camera owes is not made up for."""
        now = self._clock.monotonic()
        if now < self._next_at:
            return
        interval = self._interval() * recording.manifest.thinned
        self._next_at = max(self._next_at + interval, now)
        camera = recording.manifest.camera
        if camera not in self._cameras.names:  # renamed or removed in mid-print
            camera = self._cameras.best
        fetched = await self._cameras.grab(camera)
        if fetched.trouble is None and await self._add(recording, fetched.data):
            self.frames_taken += 1
        else:
            self.frames_missed += 1

    async def _add(self, recording: Recording, data: bytes) -> bool:
        free = await self._worker.run(self._store.free)
        if free < MIN_FREE:
            self._notices.show(
                "timelapse space",
                "The disk has only {free} MiB left: no timelapse frames are taken until "
                "{needed} MiB are free.",
                free=free >> 20,
                needed=MIN_FREE >> 20,
            )
            return False
        self._notices.clear("timelapse space", "The disk has room for timelapse frames again.")
        shape = self._cameras.shape(recording.manifest.camera, FRAME_BYTES)
        try:
            picture = await self._worker.run(prepare, data, shape)
        except PictureError:
            return False  # the camera's own loop meets the same, and says so
        await self._worker.run(self._store.add, recording, picture.jpeg)
        await self._keep_budget()
        return True

    async def _keep_budget(self) -> None:
        """Frames may take half of what the timelapse may; the other half is the videos'."""
        budget = (self._live.now.camera.timelapse_max_mb << 20) // 2
        while True:
            fullest = over_budget(self.recordings, budget)
            if fullest is None:
                return
            await self._worker.run(self._store.thin, fullest)
            self._notices.log_once(
                f"timelapse thinned {fullest.folder.name} {fullest.manifest.thinned}",
                "The timelapse of {file} has reached its share of the disk: every {step}th "
                "frame is kept from now on.",
                file=fullest.manifest.filename,
                step=fullest.manifest.thinned,
                level=logging.INFO,
            )
