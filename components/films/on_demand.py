"""The camera rooms, brought in with the first camera: a printer without one pays for none of this.

They are a sixth of the plugin's memory. Until there is a camera, or something filmed before is
left, the two classes here answer for them; afterwards they pass everything on.
"""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple

from ..runtime.clock import Clock
from ..runtime.messages import say
from ..runtime.notices import Notices
from ..runtime.supervisor import Supervisor
from ..runtime.worker import Worker
from ..settings.model import LiveSettings

if TYPE_CHECKING:
    from ..cameras.cameras import Cameras
    from ..cameras.publish import Shot
    from ..hub.client import HubClient
    from ..net.connect import Connector
    from ..printer.klippy import Printer
    from .timelapse import Timelapse

NO_CAMERA = say("There is no camera: add one in the web interface, or set camera.urls.")


class CameraDesk:
    """What other rooms ask the cameras for; see `cameras.Cameras`."""

    def __init__(self) -> None:
        self.room: Optional[Cameras] = None
        self._listeners: List[Callable[[Shot], None]] = []

    def open(self, room: Cameras) -> None:
        self.room = room
        for listener in self._listeners:
            room.on_new(listener)

    def on_new(self, listener: Callable[[Shot], None]) -> None:
        self._listeners.append(listener)
        if self.room is not None:
            self.room.on_new(listener)

    def hub_changed(self, connected: bool, seconds: float) -> None:
        if self.room is not None:
            self.room.hub_changed(connected, seconds)

    def image_fields(self) -> Dict[str, Any]:
        return self.room.image_fields() if self.room else {}

    def picture(self, name: str = "") -> Optional[Shot]:
        return self.room.picture(name) if self.room else None

    @property
    def names(self) -> Tuple[str, ...]:
        return self.room.names if self.room else ()

    async def view(self, name: str, max_age: float) -> Optional[Shot]:
        return await self.room.view(name, max_age) if self.room else None

    def overview(self) -> List[Dict[str, Any]]:
        return self.room.overview() if self.room else []

    async def snapshot(self) -> str:
        return await self.room.snapshot() if self.room else NO_CAMERA


class TimelapseDesk:
    """What other rooms ask the timelapse for; see `timelapse.Timelapse`."""

    def __init__(self, folder: Path) -> None:
        self.room: Optional[Timelapse] = None
        self._folder = folder
        self._listeners: List[Callable[[str], None]] = []

    def open(self, room: Timelapse) -> None:
        self.room = room
        for listener in self._listeners:
            room.on_change(listener)

    def on_change(self, listener: Callable[[str], None]) -> None:
        self._listeners.append(listener)
        if self.room is not None:
            self.room.on_change(listener)

    def status_fields(self) -> Dict[str, Any]:
        return self.room.status_fields() if self.room else {"timelapses": []}

    def overview(self) -> Dict[str, Any]:
        if self.room is not None:
            return self.room.overview()
        return {
            "recording": None,
            "waiting": [],
            "rendering": "",
            "frames_taken": 0,
            "frames_missed": 0,
            "rendered": 0,
            "interrupted": 0,
            "folder": str(self._folder),
            "videos": [],
        }

    async def render_now(self) -> str:
        return await self.room.render_now() if self.room else NO_CAMERA


class CamerasOnDemand:
    """Brings the rooms in at the start, or later when a camera is configured; they then stay.

    `webcams()` gives Moonraker's webcam entries as mappings; `reader` is the thread that the
    modules are read in, since an import would hold up the event loop; `pictures` is the rooms' own.
    """

    def __init__(
        self,
        *,
        data_path: Path,
        file_manager: Any,
        live: LiveSettings,
        printer: Printer,
        hub: HubClient,
        webcams: Callable[[], Iterable[Mapping[str, Any]]],
        notices: Notices,
        supervisor: Supervisor,
        clock: Clock,
        reader: Worker,
        pictures: Worker,
        user_agent: str,
        yields: Callable[[], bool] = lambda: False,
        connector: Optional[Connector] = None,
    ) -> None:
        self._data_path = data_path
        self._file_manager = file_manager
        self._live = live
        self._printer = printer
        self._hub = hub
        self._webcams = webcams
        self._notices = notices
        self._supervisor = supervisor
        self._clock = clock
        self._reader = reader
        self._pictures = pictures
        self._user_agent = user_agent
        self._yields = yields
        self._connector = connector
        self._running = False
        self._asked_for = False
        self.cameras = CameraDesk()
        self.timelapse = TimelapseDesk(data_path / "timelapse")
        live.subscribe(lambda old, new: self._look())

    async def start(self) -> None:
        """Bring them in where they are needed from the start, and wait for them."""
        try:
            left = await self._reader.run((self._data_path / "tecmedhub" / "timelapse").is_dir)
        except OSError:
            left = True  # the room itself says what is wrong with the disk
        self._running = True
        if left or self._needed():
            self._asked_for = True
            await self._bring()

    async def stop(self) -> None:
        self._running = False
        if self.cameras.room is not None:
            await self.cameras.room.stop()

    def webcams_changed(self, *_event: Any) -> None:
        """Moonraker's `webcam:webcams_changed`: somebody edited them in the web interface."""
        if self.cameras.room is not None:
            self.cameras.room.webcams_changed()
        else:
            self._look()

    def _look(self) -> None:
        if self._running and not self._asked_for and self._needed():
            self._asked_for = True
            self._supervisor.spawn("camera rooms", self._bring())

    def _needed(self) -> bool:
        camera = self._live.now.camera
        if not camera.enabled or camera.urls:
            return camera.enabled
        try:
            return any(True for _ in self._webcams())
        except Exception:
            return True  # the room itself says what is wrong with them

    async def _bring(self) -> None:
        """Read the rooms and start them. Nothing else must suffer where they cannot be read."""
        try:
            await self._reader.run(importlib.import_module, ".timelapse", __package__)
            from ..cameras.cameras import Cameras  # noqa: PLC0415  (read already, in the thread)
            from .timelapse import Timelapse  # noqa: PLC0415
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._asked_for = False  # the next change of cameras or settings tries again
            self._notices.show(
                "camera rooms",
                say(
                    "Pictures and timelapses cannot start ({kind}: {error}); everything else "
                    "works. Run TecMedHub's install.sh again, then restart Moonraker.",
                    kind=type(error).__name__,
                    error=str(error),
                ),
            )
            return
        if not self._running:
            return
        self._notices.clear("camera rooms", say("Pictures and timelapses work again."))
        ground: Dict[str, Any] = {
            "live": self._live,
            "printer": self._printer,
            "hub": self._hub,
            "notices": self._notices,
            "supervisor": self._supervisor,
            "clock": self._clock,
            "worker": self._pictures,
        }
        cameras = Cameras(
            webcams=self._webcams,
            user_agent=self._user_agent,
            connector=self._connector,
            **ground,
        )
        timelapse = Timelapse(
            data_path=self._data_path, cameras=cameras, yields=self._yields, **ground
        )
        timelapse.attach(self._file_manager)
        self.cameras.open(cameras)
        self.timelapse.open(timelapse)
        await cameras.start()
        await timelapse.start()
