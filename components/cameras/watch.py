"""The loop that looks at one camera, judges what it sees, and keeps the last picture of worth."""

from __future__ import annotations

import asyncio
from typing import Callable, Dict, List, Mapping, Optional, Tuple

from ..printer.snapshot import Snapshot
from ..runtime.alarm import Alarm
from ..runtime.clock import Clock
from ..runtime.notices import Notices
from ..runtime.worker import Worker
from ..settings.model import LiveSettings
from .cadence import Allowance, Reason, scene_changed, worth_sending
from .camera import Camera
from .pictures import Picture, PictureError, Shape, glance, is_black, prepare
from .publish import Shot
from .reply import Fetched
from .sources import Source

WIDTHS: Mapping[str, Optional[int]] = {"low": 640, "high": 1280, "original": None}  # pixels
SHORTEST_PAUSE = 1.0  # seconds between two looks
# The telling ones first: one picture answers all that wait for one.
EVENT_ORDER = (Reason.FAILED, Reason.FINISHED, Reason.PAUSED, Reason.STARTED, Reason.ASKED)


def shape_for(source: Source, resolution: str, max_bytes: int) -> Shape:
    """How pictures of this camera are turned and scaled."""
    return Shape(
        max_width=WIDTHS.get(resolution, WIDTHS["high"]),
        max_bytes=max_bytes,
        flip_horizontal=source.flip_horizontal,
        flip_vertical=source.flip_vertical,
        rotation=source.rotation,
    )


class Watch:
    """`is_active()`: whether the printer works; `byte_limit(first)`: what a picture may weigh."""

    def __init__(
        self,
        camera: Camera,
        *,
        live: LiveSettings,
        look_at_printer: Callable[[], Snapshot],
        is_active: Callable[[], bool],
        byte_limit: Callable[[bool], int],
        on_shot: Callable[[Shot], None],
        worker: Worker,
        notices: Notices,
        clock: Clock,
    ) -> None:
        self.camera = camera
        self.first = False  # of the cameras as configured
        self.shot: Optional[Shot] = None
        self.bytes_taken = 0
        self._live = live
        self._look_at_printer = look_at_printer
        self._is_active = is_active
        self._byte_limit = byte_limit
        self._on_shot = on_shot
        self._worker = worker
        self._notices = notices
        self._clock = clock
        self._alarm = Alarm(clock)
        self._wishes: Dict[Reason, Optional[Fetched]] = {}
        self._askers: List["asyncio.Future[bool]"] = []
        self._signature = b""  # of the last picture kept
        self._allowance = Allowance()
        self._view: Optional[Shot] = None  # for people in front of the panel; goes nowhere else

    async def view(self, max_age: float) -> Optional[Shot]:
        """A picture for somebody who looks at this moment: at most `max_age` seconds old where the
        camera gives one, else the newest there is. Nothing is sent, or counted as sent.
        """
        newest = self.newest
        now = self._clock.monotonic()
        if newest is not None and now - newest.taken_at < max_age:
            return newest
        fetched = await self.camera.grab()
        if fetched.trouble is not None:
            return newest
        try:
            picture = await self._prepared(fetched.data)
        except PictureError as error:
            self.camera.damaged(str(error))
            return newest
        self._view = self._shot(picture, Reason.ASKED, now)
        return self._view

    @property
    def newest(self) -> Optional[Shot]:
        """The newest picture, whether it was for the hub or for somebody in front of the panel."""
        shots = [shot for shot in (self.shot, self._view) if shot is not None]
        return max(shots, key=lambda shot: shot.taken_at, default=None)

    def wish(self, reason: Reason, brought: Optional[Fetched] = None) -> "asyncio.Future[bool]":
        """Ask for a picture at once; `brought` are its bytes, where they are there already.

        The future tells whether it came to be.
        """
        done: "asyncio.Future[bool]" = asyncio.get_event_loop().create_future()
        self._askers.append(done)
        self._wishes[reason] = brought
        self._alarm.ring()
        return done

    def wake(self) -> None:
        """Look now: the configuration has changed."""
        self._alarm.ring()

    def close(self) -> None:
        """End its affairs; the task of `run` is its starter's to cancel, before."""
        self.camera.close()
        for done in self._askers:
            done.cancel()

    async def run(self) -> None:
        """Look and look again, for ever."""
        while True:
            pause = self._live.now.camera.capture_interval
            try:
                await self._look()
                if self.camera.failures:
                    pause = self.camera.retry_at - self._clock.monotonic()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                fault = f"{type(error).__name__}: {error}"
                self._notices.log_once(
                    f"camera loop {fault}",
                    "Camera '{name}': a fault of this plugin ({fault}).",
                    name=self.camera.name,
                    fault=fault,
                    exc_info=error,
                )
            await self._alarm.wait(max(pause, SHORTEST_PAUSE))

    async def _look(self) -> None:
        wish, brought = self._next_wish()
        askers, self._askers = self._askers, []
        good = False
        try:
            fetched = brought or await self.camera.grab(urgent=wish is not None)
            if fetched.trouble is None:
                good = await self._consider(fetched.data, wish)
        finally:
            for done in askers:
                if not done.done():
                    done.set_result(good)

    def _next_wish(self) -> Tuple[Optional[Reason], Optional[Fetched]]:
        for reason in EVENT_ORDER:
            if reason in self._wishes:
                brought = self._wishes[reason]
                self._wishes.clear()
                return reason, brought
        return None, None

    async def _consider(self, data: bytes, wish: Optional[Reason]) -> bool:
        """Judge the picture, keep it if it is worth its bytes; False if it is none."""
        now = self._clock.monotonic()
        self.bytes_taken += len(data)
        is_active = self._is_active()
        signature = b""
        picture: Optional[Picture] = None
        try:
            if wish is None and not is_active and self.shot is not None:
                signature = await self._worker.run(glance, data)
            reason = wish or worth_sending(
                is_active=is_active,
                now=now,
                sent_at=None if self.shot is None else self.shot.taken_at,
                scene_differs=bool(signature) and scene_changed(self._signature, signature),
                allowance=self._allowance,
            )
            if reason is not None:
                picture = await self._prepared(data)
                signature = picture.signature
        except PictureError as error:
            self.camera.damaged(str(error))
            return False
        self.camera.decoded(is_black(signature), watched=self._look_at_printer().printing)
        if picture is not None and reason is not None:
            self._keep(picture, reason, now)
        return True

    def _keep(self, picture: Picture, reason: Reason, now: float) -> None:
        if reason is Reason.CHANGED:
            self._allowance = self._allowance.spent(now)
        self._signature = picture.signature
        self.shot = self._shot(picture, reason, now)
        self._on_shot(self.shot)

    async def _prepared(self, data: bytes) -> Picture:
        limit = self._byte_limit(self.first)
        shape = shape_for(self.camera.source, self._live.now.camera.resolution, limit)
        return await self._worker.run(prepare, data, shape)

    def _shot(self, picture: Picture, reason: Reason, now: float) -> Shot:
        taken = self._clock.time()
        return Shot(self.camera.name, self.first, picture.jpeg, taken, now, reason)
