"""All that films, and what it keeps: the recorder of frames, the studio, the gallery, the uploads.

Read and made by `Timelapse`, where there is something to film or to show.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Dict, List, NamedTuple, Optional

from ..cameras.cameras import Cameras
from ..printer.snapshot import Snapshot
from ..runtime.clock import Clock
from ..runtime.disk import reason_of
from ..runtime.messages import say
from ..runtime.notices import Notices
from ..runtime.supervisor import Supervisor
from ..runtime.worker import Worker
from ..settings.model import LiveSettings, Settings
from .frames import FrameStore
from .gallery import Gallery
from .recorder import Recorder
from .render import Renderer
from .studio import Studio
from .uploads import Uploads

if TYPE_CHECKING:
    from ..hub.client import HubClient
    from ..printer.klippy import Printer

LISTED = 20  # videos in the status body


class Means(NamedTuple):
    """What each part of it works with."""

    live: LiveSettings
    notices: Notices
    supervisor: Supervisor
    clock: Clock
    worker: Worker


class Filming:
    """`frames` and `videos` are folders. `yields()` is true where moonraker-timelapse films, and
    nobody has asked for ours besides; `tell(what)` hears of a video that is there or gone
    ("video"), begun ("rendering") or waited for ("recorded").
    """

    def __init__(
        self,
        *,
        frames: Path,
        videos: Path,
        means: Means,
        printer: "Printer",
        hub: "HubClient",
        cameras: Cameras,
        yields: Callable[[], bool],
        tell: Callable[[str], None],
        renderer: Optional[Renderer] = None,
    ) -> None:
        live, notices, supervisor, clock, worker = means
        self._printer = printer
        self._cameras = cameras
        self._notices = notices
        self._supervisor = supervisor
        self._worker = worker
        self._tell = tell
        store = FrameStore(frames)
        self.gallery = Gallery(videos, frames)
        self._recorder = Recorder(
            live=live,
            look=lambda: printer.snapshot,
            cameras=cameras,
            store=store,
            worker=worker,
            notices=notices,
            clock=clock,
            on_waiting=self._waits,
            yields=yields,
        )
        self._studio = Studio(
            live=live,
            look=lambda: printer.snapshot,
            recorder=self._recorder,
            store=store,
            gallery=self.gallery,
            renderer=renderer or Renderer(worker),
            worker=worker,
            notices=notices,
            clock=clock,
            on_change=self._changed,
        )
        self._uploads = Uploads(
            live=live,
            look=lambda: printer.snapshot,
            hub=hub,
            gallery=self.gallery,
            notices=notices,
            clock=clock,
            worker=worker,
        )
        printer.subscribe(self._on_printer)
        live.subscribe(self._on_settings)

    async def start(self) -> None:
        await self._read(lambda: self._worker.run(self.gallery.load))
        await self._read(self._recorder.load)
        self._supervisor.keep("timelapse frames", self._recorder.run)
        self._supervisor.keep("timelapse videos", self._studio.run)
        self._supervisor.keep("timelapse uploads", self._uploads.run)

    async def _read(self, load: Callable[[], Awaitable[None]]) -> None:
        try:
            await load()
        except OSError as error:
            self._notices.show(
                "timelapse disk",
                "Timelapses of before cannot be read ({reason}): check the disk.",
                reason=reason_of(error),
            )

    # What is told

    def listed(self) -> List[Dict[str, Any]]:
        """The newest videos, as they stand in the status body."""
        return [video.listed() for video in self.gallery.videos[:LISTED]]

    def overview(self) -> Dict[str, Any]:
        """For the panel and the statistics."""
        current = self._recorder.current
        return {
            "recording": None
            if current is None
            else {
                "filename": current.manifest.filename,
                "camera": current.manifest.camera,
                "frames": current.frames,
                "bytes": current.bytes,
                "thinned": current.manifest.thinned,
            },
            "waiting": [
                {"filename": r.manifest.filename, "frames": r.frames}
                for r in self._recorder.waiting
            ],
            "rendering": self._studio.rendering,
            "frames_taken": self._recorder.frames_taken,
            "frames_missed": self._recorder.frames_missed,
            "rendered": self._studio.rendered,
            "interrupted": self._studio.interrupted,
            "videos": self.listed(),
        }

    async def render_now(self) -> str:
        """Make the videos that wait without further delay; one sentence on what will happen."""
        current = self._recorder.current
        if self._printer.snapshot.busy:
            if current is None:
                return say("There is no timelapse of this print.")
            return say(
                "{frames} frames so far; their video is made when the print is over.",
                frames=current.frames,
            )
        if self._studio.rendering:
            return say("The video of {file} is being made.", file=self._studio.rendering)
        self._studio.hurry()
        waiting = self._recorder.waiting
        if not waiting:
            if not self._cameras.names:
                return self._cameras.why_none
            return say("There are no frames to make a video of.")
        oldest = waiting[0]
        return say(
            "The video of {file} ({frames} frames) is being made.",
            file=oldest.manifest.filename,
            frames=oldest.frames,
        )

    # Following

    def _on_printer(self, old: Snapshot, new: Snapshot) -> None:
        self._recorder.printer_changed(old, new)
        self._studio.printer_changed(new)

    def _on_settings(self, old: Settings, new: Settings) -> None:
        if old.camera == new.camera:
            return
        self._recorder.wake()
        if (old.camera.timelapse_keep, old.camera.timelapse_max_mb) != (
            new.camera.timelapse_keep,
            new.camera.timelapse_max_mb,
        ):
            self._supervisor.spawn("timelapse trim", self._studio.trim())

    def _waits(self) -> None:
        self._studio.recording_waits()
        self._changed("recorded")

    def _changed(self, what: str) -> None:
        self._uploads.gallery_changed()
        self._tell(what)
