"""Makes the videos: when the printer idles, one at a time, and sees to the gallery and to the hub's
copy.

A print that starts ends a rendering at once; it begins anew when the printer idles again. Frames
whose rendering fails for good, or for which there is no ffmpeg, become a ZIP: nothing that was
filmed is thrown away.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Callable, List, Optional

from ..printer.snapshot import KlippyState, Snapshot
from ..runtime.alarm import Alarm
from ..runtime.clock import Clock
from ..runtime.notices import Notices
from ..runtime.worker import Worker
from ..settings.model import LiveSettings
from .frames import FrameStore, Recording
from .gallery import Gallery, Video
from .pictures import size_of
from .recorder import Recorder
from .render import Film, Renderer

if TYPE_CHECKING:
    from ..hub.client import HubClient

# seconds of idling before a rendering: the last moves and the next job of a queue come first
SETTLE = 10.0
SETTLE_BLIND = 300.0  # the same while Klippy cannot be seen
ATTEMPTS = 2  # at a video, before its frames become a ZIP
RETRY = 60.0  # seconds after a failed attempt
UPLOAD_MAX = 32 << 20  # bytes of a video; it is held in memory twice while it is sent
UPLOAD_RETRY = (60.0, 300.0, 1800.0, 3600.0)  # seconds
LOOK = 5.0  # seconds between two looks at an idle printer with a video to make


class Studio:
    """`on_change()` is called when the list of videos or what is said about them has changed."""

    def __init__(
        self,
        *,
        live: LiveSettings,
        look: Callable[[], Snapshot],
        hub: "HubClient",
        recorder: Recorder,
        store: FrameStore,
        gallery: Gallery,
        renderer: Renderer,
        worker: Worker,
        notices: Notices,
        clock: Clock,
        on_change: Callable[[str], None],
    ) -> None:
        self._live = live
        self._look = look
        self._hub = hub
        self._recorder = recorder
        self._store = store
        self._gallery = gallery
        self._renderer = renderer
        self._worker = worker
        self._notices = notices
        self._clock = clock
        self._on_change = on_change
        self._alarm = Alarm(clock)
        self._uploads = Alarm(clock)
        self._idle_since: Optional[float] = None
        self._hurry = False
        self._task: Optional["asyncio.Task[str]"] = None
        self.rendering = ""  # the G-code file whose video is being made
        self.rendered = 0
        self.interrupted = 0

    # What rings

    def recording_waits(self) -> None:
        self._alarm.ring()

    def hurry(self) -> None:
        """Make the videos that wait as soon as no print is on, without letting it settle."""
        self._hurry = True
        self._alarm.ring()

    def printer_changed(self, new: Snapshot) -> None:
        if new.busy:
            self._idle_since = None
            if self._task is not None:
                self._task.cancel()  # the print needs the processor
        else:
            self._alarm.ring()

    # Videos

    async def run(self) -> None:
        while True:
            waiting = self._recorder.waiting
            if waiting and self._may_render():
                await self._produce(waiting[0])
                continue
            self._hurry = self._hurry and bool(waiting)
            await self._alarm.wait(LOOK if waiting else None)

    def _may_render(self) -> bool:
        snapshot = self._look()
        now = self._clock.monotonic()
        if snapshot.busy:
            self._idle_since = None
            return False
        if self._idle_since is None:
            self._idle_since = now
        blind = snapshot.klippy in (KlippyState.DISCONNECTED, KlippyState.STARTUP)
        if self._hurry and not blind:
            return True
        return now - self._idle_since >= (SETTLE_BLIND if blind else SETTLE)

    async def _produce(self, recording: Recording) -> None:
        """Make one video, or its ZIP; on failure leave it for later."""
        printed = recording.manifest.filename
        try:
            frames = await self._worker.run(self._store.ready_frames, recording)
            ffmpeg = await self._renderer.ffmpeg()
            if frames and ffmpeg:
                self._notices.clear("ffmpeg", "ffmpeg is there now: timelapses become videos.")
                await self._video(recording, ffmpeg)
            elif frames:
                self._notices.show(
                    "ffmpeg",
                    "Timelapses are kept as ZIP files of their frames, because ffmpeg is missing: "
                    "'sudo apt install ffmpeg' makes them videos.",
                    warning=False,
                )
                await self._archive(recording)
            else:
                await self._drop(recording)
            self._notices.clear("timelapse gallery")
        except OSError as error:
            self._notices.show(
                "timelapse gallery",
                f"The timelapse of {printed} cannot be stored ({error.strerror or error}): "
                "check the disk.",
            )
            await self._clock.sleep(RETRY)

    async def _video(self, recording: Recording, ffmpeg: str) -> None:
        last = await self._worker.run(self._store.last_frame, recording)
        assert last is not None
        width, height = await self._worker.run(size_of, last)
        film = Film(
            folder=recording.folder,
            frames=recording.frames,
            width=width,
            height=height,
            fps=self._live.now.camera.timelapse_fps,
            output=recording.folder / "video.mp4",
        )
        self.rendering = recording.manifest.filename
        self._on_change("rendering")
        try:
            trouble = await self._interruptible(ffmpeg, film)
        finally:
            self.rendering = ""
        if trouble is None:
            self.interrupted += 1
            return
        if trouble:
            await self._failed(recording, trouble)
            return
        self._notices.clear("timelapse render")
        await self._publish(recording, film.output, film.frames / film.fps)

    async def _interruptible(self, ffmpeg: str, film: Film) -> Optional[str]:
        """What `Renderer.render` says, or None if a print cut it short."""
        task = asyncio.ensure_future(self._renderer.render(ffmpeg, film))
        self._task = task
        try:
            if self._look().busy:  # it may have started while the frames were counted
                task.cancel()
            await asyncio.wait({task})
        finally:
            self._task = None
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=1.0)
        return None if task.cancelled() else task.result()

    async def _failed(self, recording: Recording, trouble: str) -> None:
        manifest = replace(recording.manifest, attempts=recording.manifest.attempts + 1)
        await self._worker.run(self._store.save, recording, manifest)
        self._notices.show(
            "timelapse render", f"The timelapse of {manifest.filename} was not made: {trouble}"
        )
        if manifest.attempts >= ATTEMPTS:
            await self._archive(recording)
        else:
            await self._clock.sleep(RETRY)

    async def _archive(self, recording: Recording) -> None:
        target = recording.folder / "frames.zip"
        await self._worker.run(self._store.zip, recording, target)
        await self._publish(recording, target, 0.0)

    async def _publish(self, recording: Recording, file: Path, seconds: float) -> None:
        last = await self._worker.run(self._store.last_frame, recording)
        poster = await self._worker.run(last.read_bytes) if last is not None else None
        video = await self._worker.run(
            self._gallery.add,
            file,
            poster,
            printed=recording.manifest.filename,
            now=recording.manifest.ended or self._clock.time(),
            seconds=seconds,
            frames=recording.frames,
        )
        self.rendered += 1
        self._notices.log_once(
            f"timelapse {video.name}",
            f"The timelapse {video.name} is ready ({video.frames} frames).",
            level=logging.INFO,
        )
        await self._drop(recording)
        await self.trim()
        self._on_change("video")
        self._uploads.ring()

    async def _drop(self, recording: Recording) -> None:
        self._recorder.forget(recording)
        await self._worker.run(self._store.drop, recording)

    async def trim(self) -> None:
        """Keep no more videos than wished, in number and in bytes (the frames count, too)."""
        camera = self._live.now.camera
        frames = sum(recording.bytes for recording in self._recorder.recordings)
        budget = max((camera.timelapse_max_mb << 20) - frames, 0)
        gone = await self._worker.run(self._gallery.trim, camera.timelapse_keep, budget)
        if gone:
            self._on_change("video")

    # The hub's copies

    async def run_uploads(self) -> None:
        """Send each video to a hub that has announced that it takes them, between the prints."""
        failures = 0
        while True:
            video = self._to_send()
            if video is None:
                failures = 0
                await self._uploads.wait(UPLOAD_RETRY[0])
                continue
            if await self._send(video):
                failures = 0
                continue
            await self._clock.sleep(UPLOAD_RETRY[min(failures, len(UPLOAD_RETRY) - 1)])
            failures += 1

    def _to_send(self) -> Optional[Video]:
        if not (self._live.now.complete and self._hub.features.timelapse_upload):
            return None
        if self._look().busy:
            return None
        unsent: List[Video] = [
            video
            for video in self._gallery.videos
            if not video.sent and video.name.endswith(".mp4") and video.size <= UPLOAD_MAX
        ]
        return unsent[-1] if unsent else None

    async def _send(self, video: Video) -> bool:
        try:
            data = await self._worker.run(self._gallery.read, video.name, UPLOAD_MAX)
        except OSError:
            data = None
        if data is not None:
            reply = await self._hub.upload_timelapse(data, video.name)
            if not reply.ok:
                self._notices.show(
                    "timelapse upload",
                    f"The hub did not take the timelapse {video.name}. {reply.sentence}",
                    warning=False,
                )
                return False
            self._notices.clear("timelapse upload", "The hub takes timelapses again.")
        try:
            await self._worker.run(self._gallery.mark_sent, video.name)
        except OSError:
            return False
        return True
