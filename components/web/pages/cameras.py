"""Pictures and films."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Mapping, Sequence

from ...runtime.loose import as_float, as_text
from ..doctor.doctor import Check
from .base import Args, Macro, Pages, Refused, Request, Row, done

if TYPE_CHECKING:
    from ...cameras.cameras import Cameras
    from ...films.timelapse import Timelapse
    from ...runtime.clock import Clock
    from ...settings.model import LiveSettings
    from ..notifications import Notifier

FRESHEST = 1.0  # seconds: however many look, a camera is asked no more often


@dataclass(eq=False)
class CameraPages(Pages):
    cameras: Cameras
    timelapse: Timelapse
    live: LiveSettings
    clock: Clock

    def rows(self) -> Sequence[Row]:
        return (
            Row("snapshot", ["GET", "POST"], self._snapshot),
            Row("image", ["GET"], self._image, "image/jpeg"),
            Row("timelapse_now", ["POST"], self._timelapse_now),
        )

    def macros(self) -> Mapping[str, Macro]:
        return {
            "tecmedhub_snapshot": lambda _: self.cameras.snapshot(),
            "tecmedhub_timelapse_now": lambda _: self.timelapse.render_now(),
        }

    def checks(self) -> Sequence[Check]:
        from ..doctor import host  # noqa: PLC0415  (read late: `Doctor`)

        return (
            Check("cameras", lambda: host.cameras(self.cameras, self.live), 25.0),
            Check("ffmpeg", lambda: host.ffmpeg(self.live), 10.0),
        )

    def overview(self) -> Args:
        return {"cameras": self.cameras.overview()}

    def status(self) -> Args:
        return {"timelapse": self.timelapse.overview()}

    def follow(self, changes: Notifier) -> None:
        self.cameras.on_new(changes.on("pictures"))
        self.timelapse.on_change(changes.on("videos"))

    async def _snapshot(self, request: Request) -> Args:
        cameras = self.cameras
        if request.method == "GET":
            return {"cameras": cameras.overview()}
        asked_at = self.clock.monotonic()
        message = await cameras.snapshot()
        shots = [cameras.picture(name) for name in cameras.names]
        good = bool(shots) and all(s is not None and s.taken_at >= asked_at for s in shots)
        return {"ok": good, "message": message, "cameras": cameras.overview()}

    async def _image(self, request: Request) -> bytes:
        name = as_text(request.args.get("camera"))
        max_age = as_float(request.args.get("max_age"))
        if max_age is None:
            shot = self.cameras.picture(name)
        else:
            shot = await self.cameras.view(name, max(max_age, FRESHEST))
        if shot is None:
            raise Refused("There is no picture of that camera yet.")
        jpeg: bytes = shot.jpeg
        return jpeg

    async def _timelapse_now(self, request: Request) -> Args:
        return done(await self.timelapse.render_now())
