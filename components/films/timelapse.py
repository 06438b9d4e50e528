"""The timelapse: frames while printing, a video when the printer idles, a gallery of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, List

from ..cameras.cameras import NO_CAMERA, Cameras
from ..printer.snapshot import Snapshot
from ..runtime.clock import Clock
from ..runtime.disk import reason_of
from ..runtime.messages import say
from ..runtime.notices import Notices
from ..runtime.supervisor import Supervisor
from ..runtime.worker import Worker
from ..settings.model import LiveSettings, Settings
from .frames import FrameStore
from .gallery import LISTED, ROOT, Gallery
from .recorder import Recorder
from .render import Renderer
from .studio import Studio

if TYPE_CHECKING:
    from ..printer.klippy import Printer


class Timelapse:
    """`data_path` is Moonraker's; frames go to `<data_path>/tecmedhub/timelapse`. `yields()` is
    true where moonraker-timelapse films, and nobody has asked for ours besides.

    Nothing of it is seen on a printer without a camera that has never filmed.
    """

    def __init__(
        self,
        *,
        data_path: Path,
        live: LiveSettings,
        printer: "Printer",
        cameras: Cameras,
        notices: Notices,
        supervisor: Supervisor,
        clock: Clock,
        worker: Worker,
        renderer: Renderer,
        yields: Callable[[], bool],
    ) -> None:
        self._live = live
        self._printer = printer
        self._cameras = cameras
        self._notices = notices
        self._supervisor = supervisor
        self._worker = worker
        self._listeners: List[Callable[[str], None]] = []
        self._file_manager: Any = None
        self._frames = data_path / "tecmedhub" / ROOT
        store = FrameStore(self._frames)
        self.folder = data_path / ROOT  # of the videos, unless `attach` finds another
        self.gallery = Gallery(self.folder, self._frames)
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
            renderer=renderer,
            worker=worker,
            notices=notices,
            clock=clock,
            on_change=self._tell,
        )
        printer.subscribe(self._on_printer)
        live.subscribe(self._on_settings)
        cameras.on_change(self._on_cameras)

    def attach(self, file_manager: Any) -> None:
        """For `component_init` or later, when every component of Moonraker has been loaded."""
        self._file_manager = file_manager
        self._on_cameras()

    def _on_cameras(self) -> None:
        if self._cameras.names and self._file_manager is not None:
            self._show_folder()

    def _show_folder(self) -> None:
        """Put the videos where the web interfaces look: moonraker-timelapse's folder, or one of our
        own.
        """
        existing = self._file_manager.get_directory(ROOT)
        if existing:
            self.folder = Path(existing)
        else:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                self._notices.show(
                    "timelapse gallery",
                    "The folder {folder} cannot be made ({reason}): no timelapses.",
                    folder=self.folder,
                    reason=reason_of(error),
                )
                return
            self._file_manager.register_directory(ROOT, str(self.folder), full_access=True)
        self.gallery.folder = self.folder

    async def start(self) -> None:
        try:
            if await self._worker.run(self._frames.is_dir):
                self._show_folder()
            await self._recorder.load()
            await self._worker.run(self.gallery.load)
        except OSError as error:
            self._notices.show(
                "timelapse disk",
                "Timelapses of before cannot be read ({reason}): check the disk.",
                reason=reason_of(error),
            )
        self._supervisor.keep("timelapse frames", self._recorder.run)
        self._supervisor.keep("timelapse videos", self._studio.run)

    # What other rooms ask for

    def on_change(self, listener: Callable[[str], None]) -> None:
        """Call `listener(what)` when a video is there or gone ("video") or begun ("rendering")."""
        self._listeners.append(listener)

    def status_fields(self) -> Dict[str, Any]:
        """What the status body carries: `timelapses`, the newest first."""
        return {"timelapses": self._listed()}

    def _listed(self) -> List[Dict[str, Any]]:
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
            "folder": str(self.folder),
            "videos": self._listed(),
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
                return NO_CAMERA
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
        self._tell("recorded")

    def _tell(self, what: str) -> None:
        for listener in self._listeners:
            listener(what)
