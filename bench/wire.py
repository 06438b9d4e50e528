"""What goes over the line, and what TLS costs: the plugin and client v4 side by side behind nginx.

Bytes are those of TCP's payload, TLS included, counted by a relay for each of them; the headers of
IP and TCP are added for as many segments as there would be on an Ethernet. CPU is that of
Moonrakers with the plugin, without it, and with the bare sketch, which opens a connection for each
request; all of them at the same nginx over TLS 1.3, in one run.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench import sketch
from bench.figures import Figure
from bench.process import cpu_seconds
from components.net.trust import BUNDLES
from tests.rig import probe
from tests.rig.cameras import CameraServer
from tests.rig.front import Front
from tests.rig.hub import PhpHub
from tests.rig.klippy import ROOT, KlippyRig, short_folder
from tests.rig.line import Line
from tests.rig.moonraker import MoonrakerRig

PART = "wire"
CORE = "% of a core"
HEADERS = 40 + 12  # bytes of IPv4 and TCP with time stamps
SEGMENT = 1448  # bytes of payload in a full one
SEGMENTS = 4  # of an exchange, at the least: request, answer, and an acknowledgement of each
MONTH = 30 * 24 * 60  # minutes
HELD = 0.003  # seconds; the project's promise, and what the probe begins to note
V4 = Path(__file__).with_name("v4.py")


class Metered:
    """One client and its line; `taken` is what went over it since the start."""

    def __init__(self, line: Line, front: Front) -> None:
        self.line = line
        self.front = front
        self.before = self._now()
        self.started = time.monotonic()

    def _now(self) -> tuple[int, int]:
        counters = self.line.counters
        return counters.up + counters.down, counters.connections

    def begin(self) -> None:
        self.before = self._now()
        self.started = time.monotonic()

    @property
    def bytes_a_minute(self) -> float:
        return (self._now()[0] - self.before[0]) / (time.monotonic() - self.started) * 60

    @property
    def connections_an_hour(self) -> float:
        return (self._now()[1] - self.before[1]) / (time.monotonic() - self.started) * 3600

    def gb_a_month(self, exchanges_a_minute: float) -> float:
        payload = self.bytes_a_minute
        headers = max(exchanges_a_minute * SEGMENTS, 2 * payload / SEGMENT) * HEADERS
        return (payload + headers) * MONTH / 1e9


def measure(quick: bool) -> list[Figure]:
    window = 60.0 if quick else 600.0
    rounds, copies = (3, 3) if quick else (8, 6)
    with contextlib.ExitStack() as running:
        folder: Path = running.enter_context(short_folder("b"))
        hub = running.enter_context(PhpHub())
        tls = running.enter_context(Front(hub.port, protocols="TLSv1.3"))
        plain = running.enter_context(Front(hub.port, tls=None))
        camera = running.enter_context(CameraServer(1))
        klippy = running.enter_context(KlippyRig(folder / "k"))
        ways: dict[str, Metered] = {}
        rigs: dict[str, MoonrakerRig] = {}
        for name, front, path, pictures in (
            ("plain http", plain, "/api.php", False),
            ("https", tls, "/api.php", False),
            ("https, a camera", tls, "/api.php", True),
            ("https, generation 2, a camera", tls, "/printer-api/update.php", True),
        ):
            line = running.enter_context(Line(front.port))
            url = f"{front.scheme}://127.0.0.1:{line.port}{path}"
            given = options(url, f"W{len(ways)}", front.authority)
            if pictures:
                given.update(camera_enabled="true", camera_urls=camera[0].snapshot_url)
            rig = MoonrakerRig(
                folder / f"w{len(ways)}",
                tecmedhub=given,
                klippy_socket=klippy.socket,
                sections=probe.SECTION if name == "https" else "",
            )
            rig.prepare()
            probe.install(rig.source / "moonraker")
            rigs[name] = running.enter_context(rig)
            ways[name] = Metered(line, front)
        line = running.enter_context(Line(tls.port))
        command = [sys.executable, str(V4), f"https://127.0.0.1:{line.port}/api.php", "V4"]
        process = subprocess.Popen([*command, tls.authority], cwd=ROOT)
        running.callback(process.kill)
        v4 = Metered(line, tls)
        time.sleep(20.0)  # first connections, first minute's worth of what goes seldom
        for metered in (*ways.values(), v4):
            metered.begin()
        costs = _processor(running, folder, klippy, hub, tls, rounds, copies)
        held = [_held(rigs["https"], 20.0 if quick else 100.0) for _ in range(3)]
        left = window - (time.monotonic() - v4.started)
        time.sleep(max(left, 0.0))
        ours = ways["https"]
        ratio = ours.bytes_a_minute / v4.bytes_a_minute
        figures = [
            Figure(PART, "sent and received a minute", ours.bytes_a_minute / 1000, "kB"),
            Figure(PART, "client v4's", v4.bytes_a_minute / 1000, "kB"),
            Figure(PART, "of client v4's bytes", ratio, "×", 1.3),
            Figure(PART, "TLS handshakes an hour", ours.connections_an_hour, "", 1.0),
            Figure(PART, "event loop held by the plugin", statistics.median(held), "s", HELD),
            *costs,
        ]
        for name, metered in ways.items():
            figures.append(Figure(PART, f"a month, {name}", metered.gb_a_month(32.0), "GB"))
        figures.append(Figure(PART, "a month, client v4 over https", v4.gb_a_month(32.0), "GB"))
    return figures


def _held(rig: MoonrakerRig, seconds: float) -> float:
    """Seconds for which the plugin held the event loop at the worst meanwhile; `HELD` at least."""
    rig.post("/server/probe/stalls", {"begin": True})
    time.sleep(seconds)
    seen = rig.post("/server/probe/stalls")["seen"]
    return max([HELD, *(float(stall["seconds"]) for stall in seen if stall["ours"])])


def _processor(
    running: contextlib.ExitStack,
    folder: Path,
    klippy: KlippyRig,
    hub: PhpHub,
    tls: Front,
    rounds: int,
    copies: int,
) -> list[Figure]:
    rigs: dict[str, list[MoonrakerRig]] = {"ours": [], "bare": [], "sketch": []}
    for number in range(copies):
        for kind, those in rigs.items():
            those.append(running.enter_context(prepared(kind, number, folder, klippy, tls)))
    time.sleep(15.0)
    spent: dict[str, list[float]] = {kind: [] for kind in rigs}
    for _ in range(rounds):
        before = {kind: [cpu_seconds(rig.pid) for rig in those] for kind, those in rigs.items()}
        started = time.monotonic()
        time.sleep(20.0)
        passed = time.monotonic() - started
        for kind, those in rigs.items():
            now = [cpu_seconds(rig.pid) for rig in those]
            share = [100 * (a - b) / passed for a, b in zip(now, before[kind], strict=True)]
            spent[kind].append(statistics.mean(share))
    alone, ours_cpu, least_cpu = (statistics.median(spent[k]) for k in ("bare", "ours", "sketch"))
    extra, sketched = ours_cpu - alone, least_cpu - alone
    return [
        Figure(PART, "extra CPU over TLS", extra, CORE),
        Figure(PART, "extra CPU of the bare sketch over TLS", sketched, CORE),
        Figure(PART, "extra CPU against the sketch's", extra / sketched, "×", 0.6),
    ]


def prepared(
    kind: str, number: int, folder: Path, klippy: KlippyRig, tls: Front, sections: str = ""
) -> MoonrakerRig:
    """A Moonraker of one kind, not started: `ours`, `bare` or `sketch`. All of them trust the
    front's authority as they would the system's.
    """
    url = tls.url("/api.php")
    rig = MoonrakerRig(
        folder / f"{kind[0]}{number}",
        plugin=kind == "ours",
        tecmedhub=options(url, f"C{number}", "") if kind == "ours" else None,
        sections=sections + (f"[sketch]\nurl: {url}\n" if kind == "sketch" else ""),
        klippy_socket=klippy.socket,
        environment={"SSL_CERT_FILE": tls.authority, **dict.fromkeys(BUNDLES, "")},
    )
    rig.prepare()
    if kind == "sketch":
        sketch.install(rig.source / "moonraker")
    return rig


def options(url: str, token: str, ca_file: str) -> dict[str, str]:
    options = {
        "server_url": url,
        "printer_token": token,
        "printer_name": token,
        "camera_enabled": "false",
    }
    if ca_file:
        options["network_ca_file"] = ca_file
    return options
