"""At the servers that are deployed: how soon a command is done and known there, and what a status
with a camera costs.

The deployed servers stand in tests/deployed, with the files of `server/` in them; printer, Klippy
and Moonraker are the real stack.
"""

from __future__ import annotations

import contextlib
import json
import random
import statistics
import time
from typing import Any

from bench.figures import Figure
from tests.rig.cameras import CameraServer
from tests.rig.deployed import DeployedStack
from tests.rig.gcode import make_gcode
from tests.rig.hub_records import Request
from tests.rig.klippy import short_folder
from tests.rig.stack import Stack

PART = "deployed"
SIZE = (1280, 720)
COMMANDS = 12
KLIPPYS_BEAT = 0.25  # seconds; Klippy answers questions about itself so often
RANDOM = random.Random(1)
HEAD = 40  # bytes of a request's first line and of the blank one, besides path and headers


def measure(quick: bool) -> list[Figure]:
    figures = [_commands(generation, 4 if quick else COMMANDS) for generation in (1, 2)]
    seconds = 30 if quick else 120
    uploaded, inline = _an_hour(seconds, uploads=True), _an_hour(seconds, uploads=False)
    return [
        *figures,
        Figure(PART, "generation 2, one camera, printing: sent an hour", uploaded, "MB", 8.0),
        Figure(PART, "the same without image_url", inline, "MB"),
    ]


def _commands(generation: int, count: int) -> Figure:
    """Median seconds from the page's button to the result stored at the server."""
    times = []
    with contextlib.ExitStack() as running:
        folder = running.enter_context(short_folder("b"))
        options = {"security_rate_limit_seconds": 0, "camera_enabled": "false"}
        stack = DeployedStack(folder, generation=generation, options=options)
        running.enter_context(stack)
        server, token = stack.server, stack.token

        def known(number: Any) -> bool:
            if generation == 1:  # without a request, which would wait for the lock as well
                files = (server.folder / "tecmedhub_data").glob("commands-*.json")
                kept = [json.loads(file.read_text(encoding="utf-8")) for file in files]
                return any(log.get(number, {}).get("status") == "done" for log in kept)
            row = server.row("SELECT status FROM commands WHERE id = ?", number)
            return row is not None and row["status"] == "completed"

        for speed in range(100, 100 + count + 1):
            time.sleep(RANDOM.uniform(0.0, KLIPPYS_BEAT))  # not in step with Klippy's answers
            started = time.monotonic()
            if generation == 1:
                number = server.send(token, "gcode", gcode=f"M220 S{speed}")
            else:
                number = server.send(token, "gcode", f"M220 S{speed}")
            server.wait_for(lambda n=number: known(n), 30, "the result")
            times.append(time.monotonic() - started)
    name = f"generation {generation}: a line of G-code, page to stored result, median of {count}"
    return Figure(PART, name, statistics.median(times[1:]), "s", 0.3)  # the first one polls


def _an_hour(seconds: float, uploads: bool) -> float:
    """MB that a printing generation 2 printer with one camera sends in an hour."""
    with contextlib.ExitStack() as running:
        camera = running.enter_context(CameraServer(1, size=SIZE))[0]
        camera.noise = True
        folder = running.enter_context(short_folder("b"))
        stack = Stack(folder, generation=2, options={"camera_urls": camera.snapshot_url})
        running.enter_context(stack)
        script = f"{stack.hub.base_url}/upload_image.php"
        stack.configure(
            intervals_status_update=5,  # as a user has it
            intervals_command_check=3,
            image_url=script if uploads else None,
        )
        for number in range(50):  # a printer in use has files
            (stack.gcodes / f"pieza_{number:02}.gcode").write_text("G28\n")
        stack.put("larga.gcode", make_gcode(seconds=seconds + 120, layers=20, hotend=60, bed=0))
        stack.print("larga.gcode")
        stack.hub.wait_for(
            lambda: (stack.hub.status(stack.token) or {}).get("status") == "printing", 60
        )
        stack.hub.wait_for(lambda: _at_rest(stack), 90, "statuses at their own pace")
        since = time.time()
        time.sleep(seconds)
        sent = sum(map(_bytes, stack.hub.requests(since=since)))
    return sent * 3600 / seconds / 1e6


def _at_rest(stack: Stack) -> bool:
    """Whether nothing is news any more: fifty files and a print have just been."""
    times = [status.time for status in stack.hub.history(stack.token)[-3:]]
    return len(times) == 3 and times[2] - times[0] > 9.0


def _bytes(request: Request) -> int:
    headers = sum(len(name) + len(value) + 4 for name, value in request.headers.items())
    return HEAD + len(request.path) + headers + request.size
