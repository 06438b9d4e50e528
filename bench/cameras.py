"""What pictures cost: bytes an hour against a picture every 30 s, processor time, memory, delays.

The hours are hours of a clock that is turned by hand; pictures, servers and requests are real. The
delays are measured on the real stack, with a camera that hangs and without, by turns in one run.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from bench.figures import Figure
from components.cameras.pictures import Shape, glance, prepare
from components.hub.client import Reply
from components.hub.protocol import Generation, multipart
from tests.rig.cameras import CameraServer
from tests.rig.klippy import short_folder
from tests.rig.stack import Stack
from tests.unit.cameras.support import FakeHub, Room

PART = "cameras"
SIZE = (1280, 720)
V4_INTERVAL = 30.0  # seconds: client v4 sent the camera's own file so often, whatever happened
HEADERS = 300  # bytes of an upload's HTTP head
STATUS_INTERVAL = 5.0  # seconds: generation 2 takes the picture along in each status
HANG = 14  # seconds: longer than the statuses take that are timed meanwhile
BAD = ("html", "truncated", "big", "multipart", "bomb_jpeg")


def measure(quick: bool) -> list[Figure]:
    return [
        *_traffic(),
        *_processor(20 if quick else 200),
        *_delays(2 if quick else 10),
        *_memory(4 if quick else 30),
    ]


# -- bytes -------------------------------------------------------------------------------------


class _MeteredHub(FakeHub):
    sent = 0

    async def upload_image(self, jpeg: bytes, name: str = "image") -> Reply:
        fields = {"token": "T"}
        head, tail = multipart("tecmedhub-" + "0" * 32, fields, "image", "s.jpg", "image/jpeg")
        self.sent += HEADERS + len(head) + len(jpeg) + len(tail)
        return await super().upload_image(jpeg, name)


def _traffic() -> list[Figure]:
    def still(room: Room, server: CameraServer) -> None:
        server[0].changing = False

    def lively(room: Room, server: CameraServer) -> None:
        server[0].changing = True  # somebody works beside the printer all the time

    def printing(room: Room, server: CameraServer) -> None:
        room.printer.set(state="printing", filename="a.gcode")

    figures = []
    ways: list[tuple[str, Callable[..., None], float | None]] = [
        ("idle", still, 10.0),
        ("idle, the scene never at rest", lively, 10.0),
        ("printing", printing, None),
    ]
    for name, prepare_room, limit in ways:
        sent, v4, inline = asyncio.run(_hour(prepare_room))
        figures += [
            Figure(PART, f"{name}: of v4's bytes", 100.0 * sent / v4, "%", limit),
            Figure(PART, f"{name}: sent an hour", sent / 1000, "kB"),
        ]
        if name == "printing":
            per_hour = inline * 3600 / STATUS_INTERVAL / 1000
            figures += [
                Figure(PART, "client v4: sent an hour", v4 / 1000, "kB"),
                Figure(PART, "generation 2: sent an hour, within the statuses", per_hour, "kB"),
            ]
    return figures


async def _hour(prepare_room: Callable[..., None]) -> tuple[int, float, int]:
    """Bytes sent, bytes that client v4 would have sent, bytes of a generation 2 picture."""
    hub = _MeteredHub()
    with CameraServer(1, size=SIZE) as server:
        server[0].changing, server[0].noise = True, True
        async with Room(urls=(server[0].snapshot_url,), hub=hub) as room:
            await room.clock.until(lambda: hub.uploads)  # the very first belongs to no hour
            prepare_room(room, server)
            hub.sent = 0
            start = room.clock.mono
            await room.clock.until(lambda: room.clock.mono >= start + 3600, step=5.0, within=600)
            sent = hub.sent
        own = statistics.mean(picture.size for picture in server[0].served)
        async with Room(urls=(server[0].snapshot_url,), hub=FakeHub(Generation.TWO)) as second:
            await second.clock.until(second.cameras.image_fields)
            inline = len(second.cameras.image_fields()["image"])
    return sent, own * 3600 / V4_INTERVAL, inline


# -- processor ---------------------------------------------------------------------------------


def _processor(rounds: int) -> list[Figure]:
    with CameraServer(1, size=SIZE) as server:
        server[0].noise = True
        data = server[0].picture()

    def milliseconds(work: Callable[[], Any]) -> float:
        work()
        started = time.thread_time()
        for _ in range(rounds):
            work()
        return (time.thread_time() - started) / rounds * 1000

    shape = Shape(max_width=1280, max_bytes=100_000)
    return [
        Figure(
            PART, "a look at an idle scene, in a thread", milliseconds(lambda: glance(data)), "ms"
        ),
        Figure(
            PART,
            "a picture made to send, in a thread",
            milliseconds(lambda: prepare(data, shape)),
            "ms",
        ),
    ]


# -- delays ------------------------------------------------------------------------------------


def _delays(rounds: int) -> list[Figure]:
    """Status period and command latency while a camera hangs, against those while it refuses.

    It refuses, rather than works, so that no new picture makes a status of its own.
    """
    periods: dict[str, list[float]] = {"refuses": [], "hangs": []}
    commands: dict[str, list[float]] = {"refuses": [], "hangs": []}
    with CameraServer(1, size=SIZE) as server, short_folder("b") as folder:
        camera = server[0]
        options = {
            "camera_urls": camera.snapshot_url,
            "timeouts_camera": HANG,
            "security_rate_limit_seconds": 0,
        }
        with Stack(folder, options=options) as stack:
            for _ in range(rounds):
                for way, mode in (("refuses", "status"), ("hangs", "hang")):
                    camera.behave(mode)
                    seen = len(camera.requests())
                    asked = stack.hub.queue(stack.token, "snapshot")
                    camera.wait_for_request(seen + 1)
                    periods[way].append(_period(stack))
                    commands[way].append(_command(stack))
                    stack.hub.wait_for(lambda a=asked: stack.hub.result(stack.token, a), 60)

    def ratio(of: dict[str, list[float]]) -> float:
        return 100 * statistics.median(of["hangs"]) / statistics.median(of["refuses"])

    return [
        Figure(PART, "status period while a camera hangs", ratio(periods), "%", 110.0),
        Figure(PART, "command latency while a camera hangs", ratio(commands), "%", 150.0),
    ]


def _period(stack: Stack) -> float:
    """The longest time between two of four statuses."""
    count = stack.hub.count(stack.token)
    stack.hub.wait_for(lambda: stack.hub.count(stack.token) >= count + 4, 60)
    times = [status.time for status in stack.hub.history(stack.token)[-4:]]
    return max(b - a for a, b in pairwise(times))


def _command(stack: Stack) -> float:
    started = time.monotonic()
    command = stack.hub.queue(stack.token, "set_speed", speed=100)
    stack.hub.wait_for(lambda: stack.hub.result(stack.token, command), 30)
    return time.monotonic() - started


# -- memory ------------------------------------------------------------------------------------


def _memory(rounds: int) -> list[Figure]:
    with CameraServer(1, size=SIZE) as server, short_folder("b") as folder:
        camera = server[0]
        with Stack(folder, options={"camera_urls": camera.snapshot_url}) as stack:
            for _ in range(5):
                stack.do("snapshot")
            before = _resident(stack.moonraker.pid)
            for number in range(rounds):
                camera.behave(BAD[number % len(BAD)])
                stack.do("snapshot", timeout=60)
            grown = _resident(stack.moonraker.pid) - before
    name = f"memory grown by {rounds} bad pictures"
    return [Figure(PART, name, grown / 1000, "MB", 30.0)]


def _resident(pid: int) -> float:
    """kB of memory that a process holds."""
    with open(f"/proc/{pid}/status", encoding="ascii") as lines:
        return next(float(line.split()[1]) for line in lines if line.startswith("VmRSS"))
