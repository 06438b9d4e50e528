"""Why a job is paused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from components.printer.pauses import Pauses
from components.printer.snapshot import Job, KlippyState, Snapshot
from components.runtime.supervisor import Supervisor
from tests.unit.fakes import Board, FakeClock, settle


class Bench:
    def __init__(self, piece: bytes = b"", by_file: bool = False) -> None:
        self.clock = FakeClock()
        self.pause_asked = float("-inf")
        self.piece = piece
        self.told = 0
        self.handlers: dict[str, Any] = {}
        card = {"file_position": len(piece)}
        self.snapshot = Snapshot(
            klippy=KlippyState.READY,
            job=Job(state="paused", filename="a.gcode"),
            objects={"virtual_sdcard": card, "pause_resume": {"is_paused": not by_file}},
        )
        self.pauses = Pauses(
            self,
            self,  # type: ignore[arg-type]
            self.clock,
            Supervisor(Board(self.clock).notices, self.clock),
            self.read,
            self.tell,
        )
        self.pauses.register()

    def register_event_handler(self, event: str, handler: Any) -> None:
        self.handlers[event] = handler

    async def read(self, filename: str, start: int, length: int) -> bytes:
        await asyncio.sleep(0)
        return self.piece[start : start + length]

    def tell(self) -> None:
        self.told += 1

    def paused(self) -> str:
        return self.pauses.explain("paused", self.snapshot.job)


async def test_the_hub_asked() -> None:
    bench = Bench()
    bench.pause_asked = bench.clock.monotonic() - 1
    assert bench.paused() == "paused by the hub"
    assert bench.pauses.explain("resumed", bench.snapshot.job) == ""
    assert bench.pauses.reason == ""


async def test_the_filament_ran_out() -> None:
    bench = Bench()
    sensors = {"filament_switch_sensor runout": False, "filament_motion_sensor other": True}
    bench.snapshot = bench.snapshot._replace(filament_sensors=sensors)
    assert bench.paused() == "no filament at the sensor runout"


async def test_somebody_sent_it() -> None:
    bench = Bench()
    bench.handlers["klippy_connection:gcode_received"]("G28\npause")
    bench.clock.advance(2)
    assert bench.paused() == "paused by PAUSE, sent to the printer"


@pytest.mark.parametrize(
    ("piece", "by_file", "reason"),
    [
        (b"G1 X1\nM600 ; colour\n", False, "paused by M600 in the file"),
        (b"G1 X1\nM25\n", True, "paused by M25 in the file"),
        (b"G1 X1\n", True, "the file stopped: it holds something there that Klipper cannot read"),
        (b"G1 X1\n", False, "paused at the printer, by a person or a macro"),
    ],
)
async def test_what_the_file_said_last(piece: bytes, by_file: bool, reason: str) -> None:
    bench = Bench(b"; begin\n" * 200 + piece, by_file)
    assert bench.paused() == ""
    await settle()
    assert (bench.pauses.reason, bench.told) == (reason, 1)


async def test_a_reason_that_comes_too_late_is_none() -> None:
    bench = Bench(b"M600\n")
    bench.paused()
    bench.snapshot = bench.snapshot._replace(job=Job(state="printing"))
    await settle()
    assert bench.pauses.reason == ""
