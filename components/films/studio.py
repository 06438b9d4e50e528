"""Makes the videos: when the printer idles, one at a time, and sees to the gallery.

A print that starts ends a rendering at once; it begins anew when the printer idles again. Frames
whose rendering fails for good, or for which there is no ffmpeg, become a ZIP: nothing that was
filmed is thrown away. A finished video that cannot be stored waits beside its frames.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path
from typing import Callable, Dict, Optional

from ..cameras.pictures import size_of
from ..printer.snapshot import KlippyState, Snapshot
from ..runtime.alarm import Alarm
from ..runtime.clock import Clock
from ..runtime.disk import discard, reason_of
from ..runtime.messages import say
from ..runtime.notices import Notices
from ..runtime.worker import Worker
from ..settings.model import LiveSettings
from .frames import ARCHIVE, GIVEN_UP, VIDEO, FrameStore, Manifest, Recording
from .gallery import Gallery
from .recorder import Recorder
from .render import Film, Renderer

# seconds of idling before a rendering: the last moves and the next job of a queue come first
SETTLE = 10.0
SETTLE_BLIND = 300.0  # the same while Klippy cannot be seen
RENDERINGS = 2  # of a video, before its frames become a ZIP
ATTEMPTS = 5  # of any kind, before it is given up
RETRIES = (60.0, 300.0, 1800.0, 3600.0)  # seconds after each failed attempt
SPARE = 200 << 20  # bytes that stay free
ROOM_RETRY = 300.0  # seconds between looks at a disk that is too full
LOOK = 5.0  # seconds between two looks at an idle printer with a video to make


class Studio:
    """`on_change(what)` hears of a rendering that begins ("rendering") and of a gallery that has
    changed ("video").
    """

    def __init__(
        self,
        *,
        live: LiveSettings,
        look: Callable[[], Snapshot],
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
        self._recorder = recorder
        self._store = store
        self._gallery = gallery
        self._renderer = renderer
        self._worker = worker
        self._notices = notices
        self._clock = clock
        self._on_change = on_change
        self._alarm = Alarm(clock)
        self._idle_since: Optional[float] = None
        self._hurry = False
        self._rests: Dict[Path, float] = {}  # folder of a recording → monotonic, after a failure
        self._task: Optional["asyncio.Task[str]"] = None
        self.rendering = ""  # the G-code file whose video is being made
        self.rendered = 0
        self.interrupted = 0

    # What rings

    def recording_waits(self) -> None:
        self._alarm.ring()

    def hurry(self) -> None:
        """Make the videos that wait, and those that were given up, as soon as no print is on,
        without letting it settle.
        """
        self._hurry = True
        self._rests.clear()
        self._recorder.revive()
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
            self._hurry = self._hurry and bool(self._recorder.waiting)
            recording = self._next()
            if recording is not None and self._may_render():
                await self._produce(recording)
                continue
            await self._alarm.wait(LOOK if self._recorder.waiting else None)

    def _next(self) -> Optional[Recording]:
        """The oldest recording that does not rest after a failure; one that fails holds up no
        other.
        """
        now = self._clock.monotonic()
        rests = self._rests
        self._rests = {folder: until for folder, until in rests.items() if until > now}
        waiting = [r for r in self._recorder.waiting if r.folder not in self._rests]
        return waiting[0] if waiting else None

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
        try:
            made = await self._worker.run(self._store.finished, recording)
            if made is not None:
                await self._publish(recording, made, recording.frames / self._fps)
                self._notices.clear("timelapse render")
                return
            frames = await self._worker.run(self._store.ready_frames, recording)
            if not frames:
                await self._drop(recording)
                return
            if not await self._has_room(recording):
                return
            ffmpeg = await self._renderer.ffmpeg()
            if ffmpeg:
                self._notices.clear("ffmpeg", "ffmpeg is there now: timelapses become videos.")
                await self._video(recording, ffmpeg)
            else:
                self._notices.show(
                    "ffmpeg",
                    "Timelapses are kept as ZIP files of their frames, because ffmpeg is "
                    "missing: 'sudo apt install ffmpeg' makes them videos.",
                    warning=False,
                )
                await self._archive(recording)
                self._notices.clear("timelapse render")
        except OSError as error:
            reason = reason_of(error)
            await self._failed(recording, say("it cannot be stored ({reason})", reason=reason))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the films behind it are not to wait for this one for ever
            self._notices.log_fault("timelapse", "A timelapse cannot be made", error)
            said = f"{type(error).__name__}: {error}"
            await self._failed(recording, say("The plugin itself failed: {said}", said=said))

    async def _has_room(self, recording: Recording) -> bool:
        """Whether a video or a ZIP of it may be written, here and where it is shown; looked at
        before each, since a full disk stops Moonraker and Klipper's log.
        """
        free = min(
            await self._worker.run(self._store.free), await self._worker.run(self._gallery.free)
        )
        needed = recording.bytes + SPARE
        if free >= needed:
            self._notices.clear("timelapse room", "There is room for timelapses again.")
            return True
        self._rests[recording.folder] = self._clock.monotonic() + ROOM_RETRY
        self._notices.show(
            "timelapse room",
            "The timelapse of {file} waits for room: {needed} MiB must be free on the "
            "printer's disk, and {free} are. Delete old G-code, videos or logs.",
            file=recording.manifest.filename,
            needed=needed >> 20,
            free=free >> 20,
        )
        return False

    @property
    def _fps(self) -> int:
        return self._live.now.camera.timelapse_fps

    async def _video(self, recording: Recording, ffmpeg: str) -> None:
        last = await self._worker.run(self._store.last_frame, recording)
        assert last is not None
        width, height = await self._worker.run(size_of, last)
        film = Film(
            folder=recording.folder,
            frames=recording.frames,
            width=width,
            height=height,
            fps=self._fps,
            output=recording.folder / VIDEO,
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
            await self._failed(recording, trouble, rendering=True)
            return
        self._notices.clear("timelapse render")
        size = (await self._worker.run(film.output.stat)).st_size
        # Whatever becomes of storing it, it is not rendered again.
        await self._note(recording, replace(recording.manifest, rendered=size))
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

    async def _failed(self, recording: Recording, trouble: str, rendering: bool = False) -> None:
        """Try again later and later, and give up in the end with a sentence; frames that ffmpeg
        does not take become a ZIP.
        """
        attempts = recording.manifest.attempts + 1
        manifest = replace(recording.manifest, attempts=attempts)
        if attempts >= ATTEMPTS:
            manifest = replace(manifest, state=GIVEN_UP)
            text = say(
                "The timelapse of {file} was given up after {count} attempts: {trouble}. Its "
                "frames stay in {folder}; timelapse_now tries again.",
                file=manifest.filename,
                count=attempts,
                trouble=trouble,
                folder=recording.folder,
            )
        else:
            text = say(
                "The timelapse of {file} was not made: {trouble}. It is tried again.",
                file=manifest.filename,
                trouble=trouble,
            )
        await self._note(recording, manifest)
        self._rests[recording.folder] = (
            self._clock.monotonic() + RETRIES[min(attempts, len(RETRIES)) - 1]
        )
        self._notices.show("timelapse render", text)
        if rendering and attempts == RENDERINGS:
            try:
                await self._archive(recording)
            except OSError as error:
                reason = reason_of(error)
                self._notices.show(
                    "timelapse render",
                    "The frames of {file} cannot be kept as a ZIP ({reason}): check the disk.",
                    file=manifest.filename,
                    reason=reason,
                )

    async def _note(self, recording: Recording, manifest: Manifest) -> None:
        """Remember it, on the disk if that takes it."""
        try:
            await self._worker.run(self._store.save, recording, manifest)
        except OSError:
            recording.manifest = manifest

    async def _archive(self, recording: Recording) -> None:
        target = recording.folder / ARCHIVE
        await self._worker.run(self._store.zip, recording, target)
        try:
            await self._publish(recording, target, 0.0)
        except BaseException:
            await self._worker.run(discard, target)
            raise

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
            "The timelapse {video} is ready ({frames} frames).",
            video=video.name,
            frames=video.frames,
            level=logging.INFO,
        )
        await self._drop(recording)
        await self.trim()
        self._on_change("video")

    async def _drop(self, recording: Recording) -> None:
        self._recorder.forget(recording)
        self._rests.pop(recording.folder, None)
        await self._worker.run(self._store.drop, recording)

    async def trim(self) -> None:
        """Keep no more videos than wished, in number and in bytes (the frames count, too)."""
        camera = self._live.now.camera
        frames = sum(recording.bytes for recording in self._recorder.recordings)
        budget = max((camera.timelapse_max_mb << 20) - frames, 0)
        gone = await self._worker.run(self._gallery.trim, camera.timelapse_keep, budget)
        if self._gallery.trouble:
            self._notices.show(
                "timelapse index",
                "The list of the plugin's own timelapses cannot be written ({reason}): they "
                "will not be cleaned up after a restart. Check the disk.",
                reason=self._gallery.trouble,
            )
        else:
            self._notices.clear("timelapse index")
        if gone:
            self._on_change("video")
