"""Makes Mainsail and Fluidd show their timelapse page: they do so where a component `timelapse` is.

Where moonraker-timelapse is installed, it is that component and nothing happens here. Elsewhere
this answers the few calls the page makes, with settings that are all marked as fixed, since they
are TecMedHub's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, Optional

from ..runtime.messages import in_language, say
from ..runtime.outward import for_pages
from ..settings.model import LiveSettings

if TYPE_CHECKING:
    from .timelapse import Timelapse

NAME = "timelapse"
EVENT = "timelapse:timelapse_event"


class TimelapsePage:
    """`server` is Moonraker's; `language()` is what its pages are told in."""

    def __init__(
        self,
        server: Any,
        timelapse: Timelapse,
        live: LiveSettings,
        language: Callable[[], str] = lambda: "en",
    ) -> None:
        self._server = server
        self._timelapse = timelapse
        self._live = live
        self._language = language

    def attach(self) -> bool:
        """Register, unless the real component is there; whether it was done.

        For `component_init` or later, when every component of Moonraker has been loaded.
        """
        server = self._server
        if server.lookup_component(NAME, None) is not None:
            return False
        server.register_component(NAME, self)
        path = f"/machine/{NAME}"
        server.register_endpoint(f"{path}/settings", ["GET", "POST"], self._settings)
        server.register_endpoint(f"{path}/lastframeinfo", ["GET"], self._last_frame)
        server.register_endpoint(f"{path}/render", ["POST"], self._render)
        server.register_endpoint(f"{path}/saveframes", ["POST"], self._save_frames)
        server.register_notification(EVENT)
        self._timelapse.on_change(self._tell)
        return True

    async def _settings(self, _request: Any) -> Dict[str, Any]:
        """moonraker-timelapse's settings, as far as they fit; a POST changes nothing."""
        camera = self._live.now.camera
        settings: Dict[str, Any] = {
            "enabled": camera.enabled and camera.timelapse_enabled,
            "mode": "hyperlapse",
            "camera": "",
            "hyperlapse_cycle": camera.timelapse_interval,
            "autorender": True,
            "saveframes": False,
            "gcode_verbose": False,
            "parkhead": False,
            "output_framerate": camera.timelapse_fps,
            "constant_rate_factor": 23,
            "pixelformat": "yuv420p",
            "variable_fps": False,
            "duplicatelastframe": 0,
            "previewimage": True,
            "stream_delay_compensation": 0,
            "extraoutputparams": "",
            "time_format_code": "%Y%m%d_%H%M",
        }
        return dict(settings, blockedsettings=sorted(settings))

    async def _last_frame(self, _request: Any) -> Dict[str, Any]:
        recording = self._timelapse.overview()["recording"]
        return {"framecount": recording["frames"] if recording else 0, "lastframefile": ""}

    async def _render(self, _request: Any) -> Dict[str, Any]:
        said = await self._timelapse.render_now()
        return {"action": "render", "status": "skipped", "msg": for_pages(self._told_as(said))}

    async def _save_frames(self, _request: Any) -> Dict[str, Any]:
        said = say("TecMedHub keeps the frames only until their video is made.")
        return {"action": "saveframes", "status": "skipped", "msg": self._told_as(said)}

    def _told_as(self, text: str) -> str:
        return in_language(text, self._language())

    def _tell(self, what: str) -> None:
        event = self._event(what)
        if event is not None:
            self._server.send_event(EVENT, dict(event, action="render"))

    def _event(self, what: str) -> Optional[Dict[str, Any]]:
        if what == "rendering":
            return {
                "status": "started",
                "framecount": "",
                "framerate": self._live.now.camera.timelapse_fps,
            }
        videos = self._timelapse.overview()["videos"]
        if what != "video" or not videos:
            return None
        name = videos[0]["name"]
        return {
            "status": "success",
            "filename": name,
            "printfile": "",
            "msg": for_pages(self._told_as(say("{video} is ready.", video=name))),
        }
