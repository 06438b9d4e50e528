"""A large file from the PHP hub to disk: the plugin beside curl, in turns, in the same folder.

Both end with the bytes safely on disk (fsync). The plugin also hashes them, looks at every one and
hands the file over; so curl is timed alone and with md5sum behind it. The plugin runs in a process
of its own, whose event loop and memory are watched.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench.figures import Figure
from components.hub.protocol import HubFile
from tests.rig.gcode import make_gcode
from tests.rig.hub import PhpHub
from tests.rig.klippy import short_folder
from tests.unit.files.bench import Bench, FileServer

PART = "download"
MIB = 2**20
TOKEN = "BENCH"


def measure(quick: bool) -> list[Figure]:
    size = (20 if quick else 200) * MIB
    rounds = 1 if quick else 5
    with short_folder("b") as folder, PhpHub(folder / "hub") as hub:
        body = part(size)
        hub.add_file("large.gcode", body, TOKEN)
        url = (
            f"{hub.base_url}/api_files.php?action=download_file"
            f"&file=large.gcode&printer_token={TOKEN}"
        )
        md5 = hashlib.md5(body).hexdigest()
        del body
        curls, ours = [], []
        for _ in range(rounds):
            curls.append(run_curl(url, folder / "curl.gcode", size))
            ours.append(run_plugin(url, folder / "plugin", size, md5))
    seconds = statistics.median(run["seconds"] for run in ours)
    curl = statistics.median(run[0] for run in curls)
    checked = statistics.median(run[1] for run in curls)
    name = f"{size // MIB} MiB"
    return [
        Figure(PART, f"{name} with the plugin", seconds, "s"),
        Figure(PART, f"{name} with curl", curl, "s"),
        Figure(PART, f"{name} with curl and md5sum", checked, "s"),
        Figure(PART, "the plugin's throughput", size / seconds / MIB, "MiB/s"),
        Figure(PART, "curl's throughput", size / curl / MIB, "MiB/s"),
        Figure(PART, "the plugin's time as a multiple of curl's", seconds / curl, "×"),
        Figure(PART, "… of curl's and md5sum's", seconds / checked, "×"),
        Figure(PART, "CPU of the plugin", statistics.median(r["cpu"] for r in ours), "s"),
        Figure(PART, "memory growth, worst", max(r["growth"] for r in ours) / MIB, "MiB", 8.0),
        Figure(PART, "event loop held, worst", max(r["held"] for r in ours), "s", 0.010),
    ]


def part(size: int) -> bytes:
    """G-code as slicers write it, exactly `size` bytes."""
    piece = make_gcode(seconds=600, layers=200, thumbnail=True).encode()
    return (piece * (size // len(piece) + 1))[: size - 1] + b"\n"


def run_curl(url: str, path: Path, size: int) -> tuple[float, float]:
    """Seconds until curl's file is on the platter, and until md5sum has read it."""
    began = time.perf_counter()
    subprocess.run(["curl", "-sS", "--fail", "-o", str(path), url], check=True)
    with open(path, "rb") as file:
        os.fsync(file.fileno())
    seconds = time.perf_counter() - began
    subprocess.run(["md5sum", str(path)], check=True, stdout=subprocess.DEVNULL)
    checked = time.perf_counter() - began
    assert path.stat().st_size == size
    path.unlink()
    return seconds, checked


def run_plugin(url: str, folder: Path, size: int, md5: str) -> dict[str, float]:
    """What one download cost, in a new process."""
    command = [sys.executable, "-m", "bench.download", url, str(folder), str(size), md5]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    shutil.rmtree(folder)
    found: dict[str, float] = json.loads(done.stdout)
    return found


# In the process of its own


class LoopWatch:
    """The longest that one callback held the event loop, waits for a processor taken off."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._schedstat = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        original = asyncio.events.Handle._run
        watch = self

        def run(handle: asyncio.Handle) -> None:
            waited, began = watch._waited(), time.perf_counter()
            try:
                original(handle)
            finally:
                held = time.perf_counter() - began - (watch._waited() - waited)
                watch.longest = max(watch.longest, held)

        asyncio.events.Handle._run = run  # type: ignore[method-assign]

    def _waited(self) -> float:
        return int(os.pread(self._schedstat, 100, 0).split()[1]) / 1e9


def resident(field: str) -> int:
    """Bytes: VmRSS now, VmHWM at the most since `forget_peak`."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"{field}:\s+(\d+) kB", text)
    assert found is not None
    return int(found.group(1)) * 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


async def download(url: str, folder: Path, size: int, md5: str) -> dict[str, float]:
    folder.mkdir()
    server: Any = SimpleNamespace(origin=url.rsplit("/", 1)[0])
    async with Bench(folder, server) as bench:
        bench.hub.file_request = lambda name: (url, {})  # type: ignore[method-assign]
        await warm_up(bench)
        bench.hub.files = [HubFile("large.gcode", size, md5)]
        watch = LoopWatch()
        before = resident("VmRSS")
        forget_peak()
        cpu = time.process_time()
        began = time.perf_counter()
        path = await bench.fetch("large.gcode")
        seconds = time.perf_counter() - began
        assert (bench.root / path).stat().st_size == size
        return {
            "seconds": seconds,
            "cpu": time.process_time() - cpu,
            "growth": resident("VmHWM") - before,
            "held": watch.longest,
        }


async def warm_up(bench: Bench) -> None:
    """A small file first: what is loaded once is no growth."""
    async with FileServer(body=b"G28\n" * 50_000).running() as small:
        kept = bench.live.now
        bench.live.replace(kept._replace(server_url=small.origin))
        await bench.fetch("small.gcode", url=f"{small.origin}/small")
        bench.live.replace(kept)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("size", type=int)
    parser.add_argument("md5")
    given = parser.parse_args()
    print(json.dumps(asyncio.run(download(given.url, given.folder, given.size, given.md5))))
