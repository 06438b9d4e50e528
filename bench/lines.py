"""Bad lines: commands and statuses over 600 ms with 5 % loss, and over 64 kbit/s beside cameras.

Six Moonrakers at one Klippy, each behind a line of its own (tests/rig/line.py: a TCP relay, since
not every machine lets a benchmark make networks) before nginx with TLS 1.3; all at the same time.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import statistics
import time
from pathlib import Path

from bench.figures import Figure
from bench.wire import options
from tests.rig.cameras import CameraServer
from tests.rig.front import Front
from tests.rig.hub import PhpHub
from tests.rig.klippy import KlippyRig, RigError, short_folder
from tests.rig.line import Line
from tests.rig.moonraker import MoonrakerRig

PART = "lines"
PERIOD = 5.0  # seconds between two statuses, the default
FAR = {"delay": 0.3, "loss": 0.05}  # one way
NARROW = {"up": 8000.0, "down": 32_000.0, "delay": 0.05}  # bytes a second
LONGEST = 8.0  # seconds without a status: the hub calls a printer offline after some more
RANDOM = random.Random(1)  # of the moments


def measure(quick: bool) -> list[Figure]:
    commands, narrow_for = (8, 60.0) if quick else (30, 300.0)
    figures: list[Figure] = []
    with contextlib.ExitStack() as running:
        folder: Path = running.enter_context(short_folder("n"))
        klippy = running.enter_context(KlippyRig(folder / "k"))
        cameras = running.enter_context(CameraServer(2))
        hubs = {way: running.enter_context(PhpHub()) for way in ("polled", "long-polled")}
        hubs["long-polled"].set(features={"long_poll": 25, "command_results": True})
        fronts = {
            way: running.enter_context(Front(hub.port, protocols="TLSv1.3"))
            for way, hub in hubs.items()
        }

        lines: dict[str, Line] = {}

        def printer(token: str, way: str, quality: dict[str, float], seen: int, gen: int) -> None:
            line = running.enter_context(Line(fronts[way].port, seed=len(token)))
            lines[token] = line
            line.set(**quality)
            path = "/api.php" if gen == 1 else "/printer-api/update.php"
            url = f"https://127.0.0.1:{line.port}{path}"
            given = options(url, token, fronts[way].authority)
            given["security_rate_limit_seconds"] = "0"
            if seen:
                urls = [camera.snapshot_url for camera in cameras][:seen]
                given.update(camera_enabled="true", camera_urls="\n".join(urls))
            rig = MoonrakerRig(folder / token, tecmedhub=given, klippy_socket=klippy.socket)
            running.enter_context(rig)

        for way in hubs:
            printer(f"far-{way}", way, FAR, 0, 1)
        for gen in (1, 2):
            for seen in (1, 2):
                printer(f"narrow-{gen}-{seen}", "polled", NARROW, seen, gen)
        time.sleep(30.0)
        began = time.time()
        before = {token: line.counters.up for token, line in lines.items()}
        for way, most in (("polled", 1.2), ("long-polled", 0.7)):
            started = time.time()
            took = [_command(hubs[way], klippy, f"far-{way}") for _ in range(commands)]
            lost = sum(seconds is None for seconds in took)
            known = [seconds for seconds in took if seconds is not None]
            gaps = _gaps(hubs[way], f"far-{way}", started)
            name = f"600 ms, 5 % loss, {way}"
            median = statistics.median(known)
            figures += [
                Figure(PART, f"{name}: status period", statistics.mean(gaps) / PERIOD, "×", 1.2),
                Figure(PART, f"{name}: longest between statuses", max(gaps), "s"),
                Figure(PART, f"{name}: command, median", median, "s", most),
                Figure(PART, f"{name}: command, slowest", max(known), "s"),
                Figure(PART, f"{name}: commands lost", float(lost), "", 0.0),
            ]
        time.sleep(max(0.0, narrow_for - (time.time() - began)))
        for gen in (1, 2):
            for seen in (1, 2):
                token = f"narrow-{gen}-{seen}"
                many = "a camera" if seen == 1 else "two cameras"
                name = f"64 kbit/s up, generation {gen}, {many}"
                longest = max(_gaps(hubs["polled"], token, began))
                sent = (lines[token].counters.up - before[token]) / (time.time() - began)
                used = 100 * sent / NARROW["up"]
                figures += [
                    Figure(PART, f"{name}: longest between statuses", longest, "s", LONGEST),
                    Figure(PART, f"{name}: of the line in use", used, "%"),
                ]
    return figures


def _command(hub: PhpHub, klippy: KlippyRig, token: str) -> float | None:
    """Seconds until Klippy has run it, somebody being at work at the hub; None if it never does."""
    time.sleep(RANDOM.uniform(0.5, 4.0))
    mark = f"bench-{RANDOM.getrandbits(40):x}"
    with klippy.console() as console:
        started = time.monotonic()
        hub.queue(token, "gcode", gcode=f"M118 {mark}")
        try:
            console.wait_for(f"echo: {mark}", 60.0)
        except (OSError, RigError) as error:
            print(f"  {token}: {error}", flush=True)
            return None
        return time.monotonic() - started


def _gaps(hub: PhpHub, token: str, since: float) -> list[float]:
    """Seconds between statuses as they arrived, and from the last one until now."""
    times = [seen.time for seen in hub.requests(endpoint="status", token=token, since=since)]
    times = [since, *times, time.time()]
    return [after - before for before, after in itertools.pairwise(times)]
