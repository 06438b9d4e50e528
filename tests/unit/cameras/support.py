"""Stand-ins for the cameras' rooms: a printer moved by the test, a hub that keeps what it gets."""

from __future__ import annotations

import asyncio
import io
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from PIL import Image

from components.cameras.cameras import Cameras
from components.cameras.fetch import Fetcher
from components.hub.client import Reply
from components.hub.line import LineQuality
from components.hub.outcomes import Failure
from components.hub.protocol import Features, Generation
from components.net.connect import Connector
from components.net.trust import Trust
from components.printer.snapshot import Heater, Job, KlippyState, Snapshot
from components.runtime.clock import Clock
from components.runtime.supervisor import Supervisor
from components.runtime.worker import Worker
from components.settings.model import Camera, LiveSettings, Settings, Timeouts
from tests.rig.cameras import CameraServer
from tests.rig.loop_server import Exchange
from tests.unit.fakes import Board, FakeClock

HUB = "http://127.0.0.1:9/api.php"  # never asked: the hub is a stand-in
HUB_UPLOAD = "http://127.0.0.1:9/upload_image.php"


def fetcher_of(verify: bool = True) -> Fetcher:
    clock = Clock()
    return Fetcher("test", Connector(clock, Trust(clock)), lambda: verify)


class CountingWorker(Worker):
    """Knows whether it works."""

    pending = 0

    async def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.pending += 1
        try:
            return await super().run(function, *args, **kwargs)
        finally:
            self.pending -= 1


class Clocks(FakeClock):
    """A fake clock whose hands stand still while something real is under way (`busy`)."""

    busy: Callable[[], bool] = staticmethod(lambda: False)

    async def until(
        self, wanted: Callable[[], Any], *, step: float = 0.0, within: float = 60.0
    ) -> None:
        """Wait until `wanted()` is true, turning the hands by `step` seconds at each look."""
        end = time.monotonic() + within
        while not wanted():
            if time.monotonic() > end:
                raise AssertionError(f"it did not come to be within {within} s")
            if step and not self.busy():
                self.advance(step)
            await asyncio.sleep(0.002)


class FakePrinter:
    """`Printer` as the cameras know it."""

    def __init__(self) -> None:
        self.snapshot = Snapshot(klippy=KlippyState.READY, job=Job(state="standby"))
        self._listeners: list[Callable[[Snapshot, Snapshot], None]] = []

    def subscribe(self, listener: Callable[[Snapshot, Snapshot], None]) -> None:
        self._listeners.append(listener)

    def set(self, klippy: KlippyState = KlippyState.READY, **job: Any) -> None:
        """Change the job's fields, and tell."""
        self._become(self.snapshot._replace(klippy=klippy, job=self.snapshot.job._replace(**job)))

    def vanish(self) -> None:
        """Klippy is gone, and with it everything that was known."""
        self._become(Snapshot())

    def heat(self, temperature: float, target: float) -> None:
        heaters = {"extruder": Heater("extruder", temperature, target, 1.0)}
        self._become(self.snapshot._replace(heaters=heaters))

    def quietly(self, **job: Any) -> None:
        """Change what is no news: progress, durations."""
        self.snapshot = self.snapshot._replace(job=self.snapshot.job._replace(**job))

    def _become(self, new: Snapshot) -> None:
        old, self.snapshot = self.snapshot, new
        for listener in self._listeners:
            listener(old, new)


class FakeHub:
    """`HubClient` as the cameras know it. `places`: whether it keeps cameras apart."""

    def __init__(self, generation: Generation = Generation.ONE, places: bool = True) -> None:
        self.generation = generation
        # Generation 2 has no upload script of its own.
        self.image_url = HUB_UPLOAD if generation is Generation.ONE else ""
        self.places = places
        self.features = Features()
        self.line = LineQuality()
        self.failing = ""
        self.too_large: tuple[str, ...] = ()  # parts of the names of videos
        self.asked: list[str] = []  # videos, whatever became of them
        self.stored: dict[str, bytes] = {}  # by path, as the server's files
        self.uploads: list[tuple[str, bytes]] = []
        self.timelapses: list[tuple[str, bytes]] = []
        self.url: Any = None  # what it answers instead of an address

    async def upload_image(self, jpeg: bytes, name: str = "image") -> Reply:
        if self.failing:
            return Reply(False, self.failing)
        self.uploads.append((name, jpeg))
        path = f"printer_images/T_{name}.jpg" if self.places else "printer_images/T.jpg"
        self.stored[path] = jpeg
        url = f"{path}?t={len(self.uploads)}" if self.url is None else self.url
        return Reply(True, "", {"success": True, "image_url": url})

    async def upload_timelapse(self, video: bytes, filename: str) -> Reply:
        self.asked.append(filename)
        if self.failing:
            return Reply(False, self.failing)
        if any(part in filename for part in self.too_large):
            sentence = "hub.test answered HTTP 413: the server's upload limit is too small."
            return Reply(False, sentence, failure=Failure.STATUS, status=413)
        self.timelapses.append((filename, video))
        return Reply(True, "", {"success": True})

    def shows(self, url: str) -> bytes:
        """The picture that a page sees at an address the hub gave."""
        return self.stored[url.partition("?")[0]]


class Room:
    """The cameras with everything around them."""

    def __init__(
        self,
        *,
        urls: tuple[str, ...] = (),
        webcams: list[Mapping[str, Any]] | None = None,
        hub: FakeHub | None = None,
        timeout: float = 10.0,
        **camera: Any,
    ) -> None:
        self.clock = Clocks()
        self.board = Board(self.clock)
        self.printer = FakePrinter()
        self.hub = hub or FakeHub()
        settings = Settings(
            server_url=HUB,
            printer_token="T",
            camera=Camera(urls=urls, **camera),
            timeouts=Timeouts(camera=timeout),
        )
        self.live = LiveSettings(settings)
        self.webcams = list(webcams or [])
        self.webcams_trouble: Exception | None = None
        # Retries of a supervised task must not wait for a clock that stands still.
        self.supervisor = Supervisor(self.board.notices, Clock())
        self.worker = CountingWorker("test-pictures")
        self.news: list[Any] = []
        self.cameras = Cameras(
            live=self.live,
            printer=self.printer,  # type: ignore[arg-type]
            hub=self.hub,  # type: ignore[arg-type]
            webcams=self._webcams,
            notices=self.board.notices,
            supervisor=self.supervisor,
            clock=self.clock,
            worker=self.worker,
            fetcher=fetcher_of,
        )
        self.cameras.on_new(self.news.append)
        self.clock.busy = lambda: (
            bool(self.worker.pending) or any(c["asking"] for c in self.cameras.overview())
        )

    def _webcams(self) -> list[Mapping[str, Any]]:
        if self.webcams_trouble is not None:
            raise self.webcams_trouble
        return self.webcams

    async def __aenter__(self) -> Room:
        await self.cameras.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cameras.stop()
        await self.supervisor.stop()
        self.worker.close()
        assert self.supervisor.failures == {}

    def configure(self, **camera: Any) -> None:
        settings = self.live.now
        self.live.replace(settings._replace(camera=settings.camera._replace(**camera)))

    def state(self, name: str) -> str:
        return next(c["state"] for c in self.cameras.overview() if c["name"] == name)


class OldCameras(CameraServer):
    """With replies that end when the connection closes, as mjpg-streamer's do."""

    async def _mode_lengthless(self, exchange: Exchange) -> None:
        picture, _ = await self._reply(exchange, {})
        await exchange.send(b"HTTP/1.0 200 OK\r\nContent-type: image/jpeg\r\n\r\n" + picture)

    async def _mode_endless_picture(self, exchange: Exchange) -> None:
        picture, _ = await self._reply(exchange, {})
        await exchange.send(b"HTTP/1.0 200 OK\r\nContent-Type: image/jpeg\r\n\r\n" + picture)
        while True:
            await exchange.send(bytes(64 << 10))

    async def _mode_endless_chunked_picture(self, exchange: Exchange) -> None:
        picture, _ = await self._reply(exchange, {})
        await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await exchange.send(b"%x\r\n%s\r\n" % (len(picture), picture))
        while True:
            await exchange.send(b"10000\r\n" + bytes(64 << 10) + b"\r\n")

    async def _mode_silent_stream(self, exchange: Exchange) -> None:
        """A stream whose camera has nothing to show yet."""
        kind = "multipart/x-mixed-replace; boundary=frame"
        await exchange.send(f"HTTP/1.0 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode())
        await asyncio.Event().wait()

    async def _mode_disguised_stream(self, exchange: Exchange) -> None:
        """A stream that says it is a picture."""
        picture, _ = await self._reply(exchange, {})
        await exchange.send(b"HTTP/1.0 200 OK\r\nContent-Type: image/jpeg\r\n\r\n")
        while True:
            part = b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + picture + b"\r\n"
            await exchange.send(part)


@contextmanager
def cameras(count: int = 1, **options: Any) -> Iterator[OldCameras]:
    with OldCameras(count, **options) as server:
        yield server


def jpeg(size: tuple[int, int] = (64, 48), color: Any = (90, 120, 60), *, noise: int = 0) -> bytes:
    """A JPEG; with `noise`, one that compresses badly."""
    if noise:
        source = random.Random(noise)
        picture = Image.frombytes("RGB", size, source.randbytes(size[0] * size[1] * 3))
    else:
        picture = Image.new("RGB", size, color)
    return encoded(picture)


def encoded(picture: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def webcam(name: str, snapshot_url: str = "", **fields: Any) -> dict[str, Any]:
    """An entry as Moonraker lists it."""
    entry = {
        "name": name,
        "enabled": True,
        "service": "mjpegstreamer",
        "stream_url": "",
        "snapshot_url": snapshot_url,
        "flip_horizontal": False,
        "flip_vertical": False,
        "rotation": 0,
    }
    return {**entry, **fields}
