"""The timelapse: frames while printing, a video when the printer idles, a gallery of them.

All that films (`filming`) is read with the first camera, or where something was filmed before:
elsewhere it would take a quarter of a megabyte for nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional

from ..cameras.cameras import Cameras
from ..runtime.disk import reason_of
from ..runtime.messages import say
from ..runtime.notices import Notices
from ..runtime.supervisor import Supervisor
from ..runtime.worker import Worker

if TYPE_CHECKING:
    from .filming import Filming

ROOT = "timelapse"  # Moonraker's file root of the videos; also the name of our folders

Tell = Callable[[str], None]


class Timelapse:
    """`data_path` is Moonraker's; frames go to `<data_path>/tecmedhub/timelapse`. `make(frames,
    videos, tell)` makes what films.

    Nothing of it is seen on a printer without a camera that has never filmed.
    """

    def __init__(
        self,
        *,
        data_path: Path,
        cameras: Cameras,
        notices: Notices,
        supervisor: Supervisor,
        worker: Worker,
        make: Callable[[Path, Path, Tell], Filming],
    ) -> None:
        self._cameras = cameras
        self._notices = notices
        self._supervisor = supervisor
        self._worker = worker
        self._make = make
        self._listeners: List[Tell] = []
        self._file_manager: Any = None
        self._frames = data_path / "tecmedhub" / ROOT
        self._folder = data_path / ROOT  # of the videos, unless `attach` finds another
        self._filming: Optional[Filming] = None
        self._running = False
        cameras.on_change(self._on_cameras)

    def attach(self, file_manager: Any) -> None:
        """For `component_init` or later, when every component of Moonraker has been loaded."""
        self._file_manager = file_manager

    async def start(self) -> None:
        filmed = await self._worker.run(self._frames.is_dir)
        if filmed or self._cameras.names:
            self._show_folder()
            if self._filming is None:
                await self._worker.run(_read)
                self._filming = self._make(self._frames, self._folder, self._tell)
            await self._filming.start()
        self._running = True

    def _on_cameras(self) -> None:
        if self._running and self._filming is None and self._cameras.names:
            self._running = False  # until all is read
            start = self._supervisor.start(say("the timelapses"), self.start)
            self._supervisor.spawn("timelapses", start)

    def _show_folder(self) -> None:
        """Put the videos where the web interfaces look: moonraker-timelapse's folder, or one of our
        own.
        """
        existing = self._file_manager.get_directory(ROOT)
        if existing:
            self._folder = Path(existing)
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._notices.show(
                "timelapse gallery",
                "The folder {folder} cannot be made ({reason}): no timelapses.",
                folder=self._folder,
                reason=reason_of(error),
            )
            return
        self._file_manager.register_directory(ROOT, str(self._folder), full_access=True)

    # What other rooms ask for

    def on_change(self, listener: Tell) -> None:
        """Call `listener(what)` when a video is there or gone ("video") or begun ("rendering")."""
        self._listeners.append(listener)

    def status_fields(self) -> Dict[str, Any]:
        """What the status body carries: `timelapses`, the newest first."""
        return {"timelapses": [] if self._filming is None else self._filming.listed()}

    def overview(self) -> Dict[str, Any]:
        """For the panel and the statistics."""
        told: Dict[str, Any] = {"recording": None, "waiting": [], "rendering": "", "videos": []}
        if self._filming is not None:
            told = self._filming.overview()
        return dict(told, folder=str(self._folder))

    async def render_now(self) -> str:
        """Make the videos that wait without further delay; one sentence on what will happen."""
        if self._filming is None:
            return self._cameras.why_none
        return await self._filming.render_now()

    def _tell(self, what: str) -> None:
        for listener in self._listeners:
            listener(what)


def _read() -> None:
    from . import filming  # noqa: F401, PLC0415
