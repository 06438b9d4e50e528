"""A printer that lives through months in minutes: the real stack at a tempo, and what it costs.

Moonraker with the plugin and the PHP hub run with their clocks hurried (tests/rig/hazards.py), so
that every period, back-off and time limit of theirs passes that much faster; Klippy, the disk and
the processor are as quick as ever. Durations below are seconds of the hurried clock, unless they
are called true.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import statistics
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.rig.faults import FaultServer, Rule
from tests.rig.loop_server import Exchange
from tests.rig.moonraker import MoonrakerRig
from tests.rig.waiting import wait_until
from tests.soak import scales
from tests.stack.fault_matrix.bench import FaultyStack

HOUR = 3600.0
MIB = 1 << 20
PATIENCE = 120  # of the plugin with the hub
HANDED_OVER = 0.25  # true seconds for a reply with commands to be read in peace
SPOILING = ("hang_body", "cut", "truncated", "drip")  # a reply of a hub that has done its work
# Everything takes as long as ever on the machine, so what a user sets to 10 s must be minutes here.
# Else as a user has it, but for the periods: fewer requests make a higher tempo possible.
OPTIONS = {
    "language": "en",
    "timeouts_server": PATIENCE,
    "timeouts_camera": 60,
    "timeouts_moonraker": 60,
    "timeouts_file_download": 1200,
    "intervals_status_update": 15,
    "intervals_command_check": 10,
    "intervals_command_check_active": 5,
    "intervals_health_check": 60,
    "retries_max_attempts": 5,
    "retries_exponential_backoff": True,
    "retries_base_delay": 2,
    "security_rate_limit_seconds": 1,
    "expiry_control": 3600,
    "expiry_gcode": 3600,
    "camera_capture_interval": 30,
    "camera_timelapse_enabled": True,
    "camera_timelapse_interval": 30,
    "logging_max_size_mb": 100,  # the size is what is measured: no rotation
}
SAMPLES = 9
BETWEEN = 20.0
TIME_STAMP = "2026-11-22 00:00:00,000 "  # before each entry of moonraker.log
QUEUE = 2.0  # runnable processes a processor, with which the tempo can be kept
LOOK_EVERY = 2.0  # true seconds
CALM = 10 * 60.0  # before anything is measured: connections time out, caches are tidied


class HouseFaults(FaultServer):
    """Sees to it that commands, once the hub has handed them out, reach the printer.

    The hub deletes what it hands out, so a reply that is lost on its way is lost for good; no
    plugin can help that, and no test may hold it against one. So a reply with commands is never
    damaged, and time passes slowly while the plugin reads it: on a busy machine its time limit, a
    second at this tempo, might be over. What may be lost all the same is in `doubtful`.
    """

    def __init__(self, house: House) -> None:
        super().__init__(house.hub.port)
        self._house = house
        self.handing_over = 0
        self.doubtful: set[str] = set()

    def _rule(self, target: str) -> Rule:
        rule = super()._rule(target)
        spoils = rule.mode in SPOILING or rule.params.get("after")
        return Rule("pass", "", {}, None) if spoils and "get_commands" in target else rule

    async def _mode_pass(self, exchange: Exchange) -> None:
        if "get_commands" not in exchange.seen.target:
            await super()._mode_pass(exchange)
            return
        began = self._house.now()
        raw = bytearray()
        asked = asyncio.ensure_future(self._ask_upstream(exchange, raw.extend))
        doubtful = True
        try:
            await asyncio.shield(asked)
            if not _command_ids(raw):
                await exchange.send(bytes(raw))
                return
            self.handing_over += 1
            self._house.keep_pace()
            asyncio.get_running_loop().call_later(HANDED_OVER, self._hurry_again)
            await exchange.send(bytes(raw))
            doubtful = self._house.now() - began > PATIENCE / 4
        finally:
            with contextlib.suppress(OSError):
                await asked
            if doubtful:
                self.doubtful.update(_command_ids(raw))

    def _hurry_again(self) -> None:
        self.handing_over -= 1
        self._house.keep_pace()


def _command_ids(raw: bytes | bytearray) -> list[str]:
    _, _, body = bytes(raw).partition(b"\r\n\r\n")
    try:
        return [str(command["id"]) for command in json.loads(body)["commands"]]
    except (ValueError, KeyError, TypeError):
        return []


@dataclass(frozen=True)
class Size:
    """What Moonraker holds at a calm moment."""

    resident: float  # bytes
    bare: float  # bytes, of the Moonraker beside it that has no plugin
    objects: float
    blocks: float  # of Python's memory
    belongings: dict[str, Any]

    def __str__(self) -> str:
        held = self.belongings
        return (
            f"{self.resident / MIB:.2f} MiB (a Moonraker without the plugin {self.bare / MIB:.2f}),"
            f" {self.objects:,.0f} objects, {self.blocks:,.0f} blocks, {len(held['tasks'])} tasks,"
            f" {len(held['threads'])} threads, {held['sockets']} sockets"
        )


@dataclass(frozen=True)
class Written:
    """What the logs have grown by."""

    own: str  # of tecmedhub.log
    moonraker: str  # the plugin's entries in moonraker.log
    seconds: float

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.own.encode()) + len(self.moonraker.encode())

    @property
    def a_day(self) -> float:
        """Bytes."""
        return self.size * 24 * HOUR / self.seconds

    def __str__(self) -> str:
        return (
            f"{len(self.own.encode())} B in tecmedhub.log and {len(self.moonraker.encode())} B in "
            f"moonraker.log in {self.seconds / HOUR:.1f} h ({self.a_day / 1000:.1f} kB a day)"
        )


class House(FaultyStack):
    """See the module."""

    def __init__(self, folder: Path, *, tempo: float, **arguments: Any) -> None:
        options = {**OPTIONS, **arguments.pop("options", {})}
        super().__init__(folder, options=options, **arguments)
        self.moonraker.sections += scales.SECTION
        self.tempo = tempo  # at most
        self._pace = threading.Lock()
        self._over = threading.Event()
        self.hub.environment.update(self.hazards.environment)
        self._house_faults: HouseFaults | None = None
        self.bare = MoonrakerRig(
            folder / "bare",
            plugin=False,
            python=self.moonraker.python,
            sections=scales.SECTION,
            klippy_socket=self.klippy.socket,
            environment=self.hazards.environment,
        )

    @property
    def faults(self) -> HouseFaults:
        if self._house_faults is None:
            self._house_faults = HouseFaults(self).start()
        return self._house_faults

    def start(self) -> House:
        for rig in (self.moonraker, self.bare):
            rig.prepare()
            scales.install(rig.source / "moonraker")
        self.moonraker.config_file.unlink()  # to be written anew when the hub has its port
        super().start()
        self.bare.start()
        self.bare.wait_klippy()
        self.keep_pace()  # not before: a busy machine would miss every time limit
        threading.Thread(target=self._keep_pace, daemon=True).start()
        return self

    def stop(self) -> None:
        self._over.set()
        # How Moonraker leaves is no matter here, and at a tempo it may wait in vain for a child.
        self.bare.kill()
        self.moonraker.kill()
        super().stop()
        if self._house_faults is not None:
            self._house_faults.stop()

    # -- time ----------------------------------------------------------------------------------

    def now(self) -> float:
        """By the hurried monotonic clock."""
        return self.hazards.monotonic()

    def pass_time(self, seconds: float) -> None:
        """Nothing else to do."""
        end = self.now() + seconds
        while self.now() < end:
            time.sleep(0.02)

    def hurry(self, tempo: float) -> None:
        self.tempo = tempo
        self.keep_pace()

    def keep_pace(self) -> None:
        """Let time pass as fast as the machine can follow: with neighbours, what takes its true
        time would take longer than the plugin's time limits, which pass at the tempo.
        """
        waiting = os.getloadavg()[0] / (os.cpu_count() or 1)
        with self._pace:
            held = self._house_faults is not None and self._house_faults.handing_over
            self.hazards.tempo(1 if held else self.tempo / max(waiting / QUEUE, 1))

    def _keep_pace(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            self.keep_pace()

    # -- order ---------------------------------------------------------------------------------

    def peace(self, timeout: float = 60.0) -> None:
        """No fault any more; all is delivered and idle. `timeout`: true seconds."""
        self.faults.clear_behaviour()
        self.faults.listen()
        for server in self.camera_servers:
            server.clear_behaviour()
            server.listen()
        self.configure_live("")
        self.calm()
        self.moonraker.wait_klippy(timeout=timeout)
        self.faults.drop_connections()
        wait_until(self._at_peace, timeout, "all to be delivered and idle")

    def _at_peace(self) -> bool:
        if self.hub.waiting(self.token):
            return False
        state = self.status()
        undelivered = {"events": 0, "command_results": 0}
        return bool(state["undelivered"] == undelivered and not self.busy())

    def busy(self) -> bool:
        """Klippy has a job."""
        return bool(self.klippy.query("print_stats")["state"] in ("printing", "paused"))

    # -- measuring -----------------------------------------------------------------------------

    def size(self) -> Size:
        """The median of some samples; of the belongings, the least that was seen."""
        self.pass_time(CALM)
        seen, bare, held = [], [], []
        for _ in range(SAMPLES):
            seen.append(self.weight(self.moonraker))
            bare.append(self.weight(self.bare)["resident"])
            held.append(self.probe())
            self.pass_time(BETWEEN)
        least = min(held, key=lambda one: (len(one["tasks"]), one["sockets"]))
        resident, objects, blocks = (
            statistics.median(one[name] for one in seen)
            for name in ("resident", "objects", "blocks")
        )
        return Size(resident, statistics.median(bare), objects, blocks, least)

    @staticmethod
    def weight(moonraker: MoonrakerRig) -> dict[str, int]:
        answer: dict[str, int] = moonraker.get("/server/scales/weight")
        return answer

    def logs(self) -> tuple[str, str]:
        """tecmedhub.log, and the plugin's entries in moonraker.log.

        Moonraker says the same on its stderr, which is not rotated at midnight, but for the time.
        """
        text = (self.moonraker.logs / "moonraker.err").read_text("utf-8", "replace")
        entries = re.split(r"^(?=\[)", text, flags=re.MULTILINE)
        theirs = [TIME_STAMP + entry for entry in entries if "tecmedhub" in entry.lower()]
        return self.log_text(), "".join(theirs)

    @contextlib.contextmanager
    def writing(self) -> Any:
        """`with house.writing() as found: …`, and `found[0]` is what was `Written` meanwhile."""
        own, theirs = self.logs()
        began = self.now()
        found: list[Written] = []
        yield found
        own_now, theirs_now = self.logs()
        seconds = self.now() - began
        found.append(Written(own_now[len(own) :], theirs_now[len(theirs) :], seconds))


__all__ = ["HOUR", "MIB", "House", "HouseFaults", "Size", "Written"]
