"""The cameras: each in a loop of its own, its last good picture at hand, what is worth sending
sent.

No camera waits for another, and nothing outside waits for a camera: the status body takes what is
there. All that works with pictures is read with the first camera: without one it would take a
third of a megabyte for nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple

from ..printer.snapshot import Job, Snapshot
from ..runtime.clock import Clock
from ..runtime.messages import say
from ..runtime.notices import Notices
from ..runtime.supervisor import Supervisor
from ..runtime.worker import Worker
from ..settings.model import LiveSettings, Settings
from .cadence import Reason, active, event_between, is_change

if TYPE_CHECKING:
    from ..hub.client import HubClient
    from ..printer.klippy import Printer
    from .fetch import Fetcher
    from .finale import Finale
    from .pictures import Shape
    from .publish import Publisher, Shot
    from .reply import Fetched
    from .sources import Source
    from .watch import Watch

ASKED_TIMEOUT = 20.0  # seconds that `snapshot` waits for all cameras together
TOO_LARGE = 1.5  # times what the line is good for, from which a picture is taken anew
_NO_CAMERA = say("There is no camera: add one in the web interface, or set camera.urls.")
_NOT_YET = say("The camera is only just being set up: try again in a moment.")

Webcams = Callable[[], Iterable[Mapping[str, Any]]]


class Cameras:
    """`webcams()` gives Moonraker's webcam entries as mappings (`WebCam.as_dict`), `fetcher()` what
    fetches pictures.
    """

    def __init__(
        self,
        *,
        live: LiveSettings,
        printer: "Printer",
        hub: "HubClient",
        webcams: Webcams,
        notices: Notices,
        supervisor: Supervisor,
        clock: Clock,
        worker: Worker,
        fetcher: Callable[[], Fetcher],
    ) -> None:
        self._live = live
        self._printer = printer
        self._hub = hub
        self._webcams = webcams
        self._notices = notices
        self._supervisor = supervisor
        self._clock = clock
        self._worker = worker
        self._make_fetcher = fetcher
        self._fetcher: Optional[Fetcher] = None  # this and the next two come with the first camera
        self._publisher: Optional[Publisher] = None
        self._finale: Optional[Finale] = None
        self._watches: List[Watch] = []
        self._loops: Dict[Watch, "asyncio.Task[None]"] = {}
        self._changed_at: Optional[float] = None
        self._listeners: List[Callable[[Shot], None]] = []
        self._rebuilt: List[Callable[[], None]] = []
        self._running = False
        printer.subscribe(self._on_printer)
        live.subscribe(self._on_settings)

    async def start(self) -> None:
        if self._finale is None and self._wanted():
            await self._bring()
        self._running = True
        self._rebuild()

    async def _bring(self) -> None:
        await self._worker.run(_read)
        from .finale import Finale  # noqa: PLC0415  (read already, in the thread)
        from .publish import Publisher  # noqa: PLC0415

        self._fetcher = self._make_fetcher()
        self._publisher = Publisher(
            live=self._live,
            hub=self._hub,
            notices=self._notices,
            clock=self._clock,
            shots=self._shots,
            on_new=self._tell,
        )
        self._finale = Finale(
            look=lambda: self._printer.snapshot,
            camera=lambda: self.best,
            grab=self.grab,
            clock=self._clock,
        )
        self._supervisor.keep("camera uploads", self._publisher.run)
        self._supervisor.keep("camera at the end of prints", self._finale.run)

    async def stop(self) -> None:
        self._running = False
        watches, self._watches = self._watches, []
        for watch in watches:
            self._close(watch)
        if self._fetcher is not None:
            self._fetcher.close()

    # What other rooms ask for

    def webcams_changed(self, *_event: Any) -> None:
        """Moonraker's `webcam:webcams_changed`: somebody edited them in the web interface."""
        if self._running:
            self._rebuild()

    def hub_changed(self, connected: bool, _seconds: float) -> None:
        """A listener for `Link.subscribe`."""
        if self._publisher is not None:
            self._publisher.hub_changed(connected)

    def on_new(self, listener: Callable[[Shot], None]) -> None:
        """Call `listener(shot)` when the status body has a new picture to carry."""
        self._listeners.append(listener)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener()` when the list of cameras may be another."""
        self._rebuilt.append(listener)

    def image_fields(self) -> Dict[str, Any]:
        """What the status body carries: `image`, `images`, and where it is not fresh `image_age`
        (seconds) and `image_state`.
        """
        if self._publisher is None:
            return {}
        self._spare_the_line()
        return self._publisher.image_fields()

    def picture(self, name: str = "") -> Optional[Shot]:
        """The last good picture of the camera `name` (empty: of the first that has one)."""
        for shot in self._shots():
            if not name or shot.camera == name:
                return shot
        return None

    async def view(self, name: str, max_age: float) -> Optional[Shot]:
        """A picture of the camera `name` (empty: the first) for somebody who looks now, at most
        `max_age` seconds old where the camera gives one; the hub hears nothing of it.
        """
        for watch in self._watches:
            if not name or watch.camera.name == name:
                return await watch.view(max_age)
        return None

    @property
    def names(self) -> Tuple[str, ...]:
        return tuple(watch.camera.name for watch in self._watches)

    def overview(self) -> List[Dict[str, Any]]:
        """Every camera for the panel, the doctor and the statistics; ages in seconds."""
        now = self._clock.monotonic()
        return [
            {
                "name": watch.camera.name,
                "state": watch.camera.state,
                "message": watch.camera.trouble.sentence if watch.camera.failures else "",
                "age": None if watch.newest is None else round(now - watch.newest.taken_at, 1),
                "asking": watch.camera.asking,
                "attempts": watch.camera.attempts,
                "bytes": watch.bytes_taken,
            }
            for watch in self._watches
        ]

    @property
    def why_none(self) -> str:
        """Why there is nothing to take a picture with, for people."""
        return _NOT_YET if self._finale is None and self._wanted() else _NO_CAMERA

    async def snapshot(self) -> str:
        """Take a picture with every camera now; one sentence on how it went. Raises nothing."""
        if not self._watches:
            return self.why_none
        wishes = {watch.camera.name: watch.wish(Reason.ASKED) for watch in self._watches}
        await asyncio.wait(set(wishes.values()), timeout=ASKED_TIMEOUT)
        failed = [
            name
            for name, wish in wishes.items()
            if not wish.done() or wish.cancelled() or not wish.result()
        ]
        if not failed:
            return say("Pictures taken: {cameras}.", cameras=", ".join(wishes))
        good = len(wishes) - len(failed)
        return say(
            "No picture from {failed}; {good} of {count} cameras gave one.",
            failed=", ".join(failed),
            good=good,
            count=len(wishes),
        )

    # What the timelapse asks for

    async def grab(self, name: str) -> Fetched:
        """The bytes that the camera `name` gives at this moment; shares requests with the looks."""
        from .reply import Fetched, Trouble  # noqa: PLC0415

        for watch in self._watches:
            if watch.camera.name == name:
                return await watch.camera.grab()
        return Fetched(trouble=Trouble.RESTING, sentence=say("it is no longer configured."))

    def shape(self, name: str, max_bytes: int) -> Shape:
        """How pictures of the camera `name` are turned and scaled."""
        from .pictures import Shape  # noqa: PLC0415
        from .watch import WIDTHS, shape_for  # noqa: PLC0415

        resolution = self._live.now.camera.resolution
        for watch in self._watches:
            if watch.camera.name == name:
                return shape_for(watch.camera.source, resolution, max_bytes)
        return Shape(WIDTHS.get(resolution, WIDTHS["high"]), max_bytes)

    @property
    def best(self) -> str:
        """The camera to film with: the first that works, or else the first; "" without cameras."""
        for watch in self._watches:
            if watch.shot is not None and watch.camera.state == "ok":
                return watch.camera.name
        return self._watches[0].camera.name if self._watches else ""

    def finale_picture(self, job: Job) -> Optional[Fetched]:
        """What the camera `best` saw last before the head parked after `job`, if it looked."""
        return self._finale.picture(job) if self._finale is not None else None

    # Following the configuration

    def _rebuild(self) -> None:
        """Make the watches fit the configuration; a camera that stays goes on undisturbed."""
        if self._finale is None:
            if self._wanted():
                self._running = False  # until all is read
                start = self._supervisor.start(say("the cameras"), self.start)
                self._supervisor.spawn("cameras", start)
            return
        sources = self._sources() if self._live.now.camera.enabled else ()
        before = {watch.camera.source: watch for watch in self._watches}
        self._watches = []
        for index, source in enumerate(sources):
            watch = before.pop(source, None) or self._open(source)
            watch.first = index == 0
            if watch.shot is not None:
                watch.shot = replace(watch.shot, first=watch.first)
            self._watches.append(watch)
        for watch in before.values():
            self._close(watch)
        for listener in self._rebuilt:
            listener()

    def _wanted(self) -> bool:
        """Whether there is any camera."""
        camera = self._live.now.camera
        return camera.enabled and bool(camera.urls or self._entries())

    def _sources(self) -> Tuple[Source, ...]:
        from .sources import find_sources  # noqa: PLC0415

        camera = self._live.now.camera
        return find_sources(camera.urls, self._entries(), camera.primary, camera.order)

    def _entries(self) -> List[Mapping[str, Any]]:
        try:
            return list(self._webcams())
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
            self._notices.log_once(
                f"webcams {fault}",
                "Moonraker's list of cameras cannot be read ({fault}).",
                fault=fault,
            )
            return []

    def _open(self, source: Source) -> Watch:
        from .camera import Camera  # noqa: PLC0415
        from .watch import Watch  # noqa: PLC0415

        assert self._fetcher is not None and self._publisher is not None
        camera = Camera(
            source,
            fetcher=self._fetcher,
            notices=self._notices,
            clock=self._clock,
            timeout=lambda: self._live.now.timeouts.camera,
        )
        watch = Watch(
            camera,
            live=self._live,
            look_at_printer=lambda: self._printer.snapshot,
            is_active=self._is_active,
            byte_limit=self._byte_limit,
            on_shot=self._publisher.shot_taken,
            worker=self._worker,
            notices=self._notices,
            clock=self._clock,
        )
        self._loops[watch] = self._supervisor.spawn(f"camera {source.name}", watch.run())
        return watch

    def _byte_limit(self, first: bool) -> int:
        from .publish import byte_limit  # noqa: PLC0415

        uploads = bool(self._hub.image_url)
        limit = byte_limit(self._live.now, self._hub.generation, uploads, first)
        # Uploads take turns; within the status all go together, a third longer as text.
        together = 1 if uploads else max(len(self._watches), 1)
        return self._hub.line.picture_limit(limit, together)

    def _spare_the_line(self) -> None:
        """A picture made before the line turned out to be narrow rides along in each status of
        generation 2: it is taken anew, smaller.
        """
        if self._hub.image_url:
            return
        for watch in self._watches:
            shot = watch.shot
            if shot is not None and len(shot.jpeg) > TOO_LARGE * self._byte_limit(watch.first):
                watch.wish(Reason.ASKED)

    def _close(self, watch: Watch) -> None:
        self._loops.pop(watch).cancel()
        watch.close()

    def _on_settings(self, old: Settings, new: Settings) -> None:
        if not self._running:
            return
        if old.camera != new.camera:
            self._rebuild()
        for watch in self._watches:
            watch.wake()

    # Following the printer

    def _is_active(self) -> bool:
        return active(self._printer.snapshot, self._clock.monotonic(), self._changed_at)

    def _on_printer(self, old: Snapshot, new: Snapshot) -> None:
        if self._finale is None:
            return
        if is_change(old, new):
            self._changed_at = self._clock.monotonic()
        if old.job.state != new.job.state:
            self._finale.printer_changed(new)
        event = event_between(old, new)
        if event is None:
            return
        finale = self.finale_picture(new.job) if event is Reason.FINISHED else None
        best = self.best
        for watch in self._watches:
            watch.wish(event, finale if watch.camera.name == best else None)

    def _shots(self) -> List[Shot]:
        return [
            replace(watch.shot, state=watch.camera.state)
            for watch in self._watches
            if watch.shot is not None
        ]

    def _tell(self, shot: Shot) -> None:
        for listener in self._listeners:
            listener(shot)


def _read() -> None:
    from . import camera, fetch, finale, publish, sources, watch  # noqa: F401, PLC0415
