"""What the plugin costs a Moonraker: CPU, memory, requests, bytes; also with 10,000 files.

Moonrakers with the plugin, without it, and with the bare sketch of a client run side by side at
one Klippy, so that whatever else the machine does hits all of them. Many of each kind, since two
with the very same code differ for as long as they live, by a fifth of what is measured here: every
second Moonraker reads what memory it uses, and that takes the system longer for one process than
for another of the same size. What is left of this is printed as the standard error.
"""

from __future__ import annotations

import compileall
import contextlib
import json
import math
import sqlite3
import statistics
import time
from pathlib import Path

from bench import sketch
from bench.figures import Figure
from bench.process import cpu_seconds, rss_kib
from tests.rig.faults import FaultServer
from tests.rig.gcode import make_gcode
from tests.rig.hub import PhpHub
from tests.rig.klippy import ROOT, KlippyRig, short_folder
from tests.rig.moonraker import MoonrakerRig

PART = "footprint"
MANY = 10_000  # files
CORE = "% of a core"
WARM_UP = 15.0  # seconds: metadata scans, first connections

Rigs = dict[str, list[MoonrakerRig]]  # by kind
Values = dict[str, list[float]]  # by kind: one value for each of its rigs


def measure(quick: bool) -> list[Figure]:
    """A quick run has no figures of the processor: two Moonrakers of each kind for twenty seconds
    tell nothing of it, their standard error is as large as what is measured.
    """
    window, rounds, copies = (10.0, 2, 2) if quick else (60.0, 5, 8)
    # As the installer does: a Moonraker that compiles the plugin itself keeps a megabyte of that.
    compileall.compile_dir(str(ROOT / "components"), quiet=1)
    with contextlib.ExitStack() as running:
        folder: Path = running.enter_context(short_folder("b"))
        hub = running.enter_context(PhpHub())
        meter = running.enter_context(FaultServer(hub.port))
        klippy = running.enter_context(KlippyRig(folder / "k"))
        rigs: Rigs = {"ours": [], "bare": [], "sketch": []}
        for number in range(copies):
            options = hub_options(hub.gen1_url, f"T{number}")
            for kind, rig in (
                ("ours", moonraker(folder / f"a{number}", klippy, options)),
                ("bare", moonraker(folder / f"b{number}", klippy, None)),
                ("sketch", sketched(folder / f"c{number}", klippy, hub)),
            ):
                rigs[kind].append(running.enter_context(rig))
        # Its traffic is counted by a proxy, which cuts answers into pieces: no measure of CPU.
        metered = hub_options(meter.url("/api.php"), "metered")
        running.enter_context(moonraker(folder / "d", klippy, metered))
        time.sleep(WARM_UP)
        started, before = time.monotonic(), _traffic(meter)
        idle = per_cent(rigs, window, rounds)
        minutes = (time.monotonic() - started) / 60
        spent = [now - then for now, then in zip(_traffic(meter), before, strict=True)]
        memory = _extra_memory(rigs)
        seconds = window * rounds + 20
        (klippy.gcodes / "bench.gcode").write_text(make_gcode(seconds=seconds, bed=0))
        klippy.gcode("SDCARD_PRINT_FILE FILENAME=bench.gcode")
        printing = per_cent(rigs, window, rounds)
        klippy.gcode("CANCEL_PRINT")
        memory_after = _extra_memory(rigs)
    figures = [
        Figure(PART, "extra memory, idle", memory, "MB", 6.0),
        Figure(PART, "extra memory, after a print", memory_after, "MB", 6.0),
        Figure(PART, "requests to the hub a minute", spent[0] / minutes, "requests"),
        Figure(PART, "sent to the hub a minute", spent[1] / minutes / 1000, "kB"),
        Figure(PART, "received from the hub a minute", spent[2] / minutes / 1000, "kB"),
    ]
    if quick:
        return figures
    processor = [*_processor("idle", idle), *_processor("printing", printing)]
    return [*processor, *figures, *_many_files()]


def _processor(when: str, costs: Values) -> list[Figure]:
    """The promise, 0.12 % where the sketch costs 0.08 %, is one of proportion: what a second of a
    virtual machine's processor is worth changes by half from one hour to the next.
    """
    alone, ours, least = (statistics.mean(costs[kind]) for kind in ("bare", "ours", "sketch"))
    ours, least = ours - alone, least - alone
    ratio = ours / least
    # The law of propagation of errors (JCGM 100, 5.1.2), for (ours - alone) / (sketch - alone).
    weights = {"ours": 1.0, "sketch": ratio, "bare": ratio - 1.0}
    error = math.hypot(*(w * _standard_error(costs[kind]) for kind, w in weights.items())) / least
    return [
        Figure(PART, f"Moonraker alone, {when}", alone, CORE),
        Figure(PART, f"extra CPU, {when}", ours, CORE),
        Figure(PART, f"extra CPU of the bare sketch, {when}", least, CORE),
        Figure(PART, f"extra CPU against the sketch's, {when}", ratio, "×", 0.12 / 0.08),
        Figure(PART, f"standard error of that, {when}", error, "×"),
    ]


def _many_files() -> list[Figure]:
    """The CPU with 10,000 files in the gcodes root against ten, both with the plugin; what so many
    files cost a Moonraker without it is taken off.
    """
    window, rounds, copies = 60.0, 3, 3
    with contextlib.ExitStack() as running:
        folder: Path = running.enter_context(short_folder("b"))
        hub = running.enter_context(PhpHub())
        klippy = running.enter_context(KlippyRig(folder / "k"))
        rigs: Rigs = {}
        for kind, count in (("a", MANY), ("b", 10), ("bare a", MANY), ("bare b", 10)):
            rigs[kind] = []
            for number in range(copies):
                name = f"{kind}{number}".replace(" ", "")
                plugin = None if kind.startswith("bare") else hub_options(hub.gen1_url, name)
                rig = moonraker(folder / name, klippy, plugin)
                with rig:
                    pass  # it makes its database
                _fill(rig.data_path, count)
                rigs[kind].append(running.enter_context(rig))
        _until_quiet([rig for kind in rigs.values() for rig in kind])
        costs = per_cent(rigs, window, rounds)
    a, b, bare_a, bare_b = (statistics.mean(costs[k]) for k in ("a", "b", "bare a", "bare b"))
    ratio = (a / b) / (bare_a / bare_b)
    name = f"CPU with {MANY:,} files against 10"
    return [Figure(PART, name, ratio, "×", 1.1)]


def _fill(data: Path, count: int) -> None:
    """Files whose metadata Moonraker has read before: for 10,000 it would take half an hour."""
    known = []
    for number in range(count):
        file = data / "gcodes" / f"part_{number:05}.gcode"
        file.write_text("G28\n")
        stat = file.stat()
        record = json.dumps({"size": stat.st_size, "modified": stat.st_mtime})
        known.append(("gcode_metadata", file.name, record.encode()))
    database = data / "database" / "moonraker-sql.db"
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany("INSERT INTO namespace_store VALUES (?, ?, ?)", known)


def _until_quiet(rigs: list[MoonrakerRig]) -> None:
    """Moonraker scans new files for their metadata: wait until it has nothing left to do."""
    deadline = time.monotonic() + 1800
    while time.monotonic() < deadline:
        before = [cpu_seconds(_pid(rig)) for rig in rigs]
        time.sleep(5.0)
        if all(cpu_seconds(_pid(r)) - b < 0.06 for r, b in zip(rigs, before, strict=True)):
            return
    raise TimeoutError("Moonraker is still busy with its files")


def moonraker(
    folder: Path, klippy: KlippyRig, options: dict[str, str] | None, repository: Path = ROOT
) -> MoonrakerRig:
    """With the plugin of `repository`, or, without `options`, without it."""
    return MoonrakerRig(
        folder,
        tecmedhub=options,
        plugin=options is not None,
        klippy_socket=klippy.socket,
        repository=repository,
    )


def hub_options(url: str, token: str) -> dict[str, str]:
    return {
        "server_url": url,
        "printer_token": token,
        "printer_name": token,
        "camera_enabled": "false",
    }


def sketched(folder: Path, klippy: KlippyRig, hub: PhpHub) -> MoonrakerRig:
    rig = MoonrakerRig(
        folder,
        plugin=False,
        sections=f"[sketch]\nurl: {hub.gen1_url}\n",
        klippy_socket=klippy.socket,
    )
    rig.prepare()
    sketch.install(rig.source / "moonraker")
    return rig


def per_cent(rigs: Rigs, seconds: float, rounds: int) -> Values:
    """% of a core, of each rig the median of `rounds` windows: whatever visits the machine once is
    left out.
    """
    windows = [_window(rigs, seconds) for _ in range(rounds)]
    return {
        kind: [statistics.median(w[kind][number] for w in windows) for number in range(len(those))]
        for kind, those in rigs.items()
    }


def _window(rigs: Rigs, seconds: float) -> Values:
    before = _spent(rigs)
    started = time.monotonic()
    time.sleep(seconds)
    after = _spent(rigs)
    passed = time.monotonic() - started
    return {
        kind: [100 * (a - b) / passed for a, b in zip(after[kind], before[kind], strict=True)]
        for kind in rigs
    }


def _spent(rigs: Rigs) -> Values:
    """CPU seconds so far."""
    return {kind: [cpu_seconds(_pid(rig)) for rig in those] for kind, those in rigs.items()}


def _standard_error(values: list[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values))


def _extra_memory(rigs: Rigs) -> float:
    """MB that a Moonraker with the plugin takes more than one without."""
    ours, bare = (statistics.mean(rss_kib(_pid(r)) for r in rigs[k]) for k in ("ours", "bare"))
    return (ours - bare) / 1024


def _traffic(meter: FaultServer) -> tuple[int, int, int]:
    counters = meter.counters
    return counters.requests, counters.bytes_in, counters.bytes_out


def _pid(rig: MoonrakerRig) -> int:
    assert rig.process is not None
    return rig.process.pid
