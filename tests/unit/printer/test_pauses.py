"""Why a job is paused."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from unittest import mock

import pytest

from components.printer.jobs import News, Watched
from components.printer.pauses import SETTLES, Pause, Pauses
from components.printer.snapshot import Job, KlippyState, Snapshot
from components.runtime.messages import in_language
from components.runtime.supervisor import Supervisor
from tests.unit.fakes import Board, FakeClock, settle, until

JOB = Watched("a.gcode", "paused", "boot", 0.0, 0.0)


class Bench:
    def __init__(self, piece: bytes = b"", by_file: bool = False) -> None:
        self.clock = FakeClock()
        self.pause_asked = float("-inf")
        self.piece = piece
        self.told = 0
        self.kept: Any = None
        self.news: list[News] = []
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
            lambda: self.kept,
            self.remember,
        )
        self.pauses.register()
        self.pauses.subscribe(self.news.append)

    def register_event_handler(self, event: str, handler: Any) -> None:
        self.handlers[event] = handler

    async def read(self, filename: str, start: int, length: int) -> bytes:
        await asyncio.sleep(0)
        return self.piece[start : start + length]

    def tell(self) -> None:
        self.told += 1

    def remember(self, value: Any) -> None:
        self.kept = json.loads(json.dumps(value))

    def paused(self) -> str:
        """As `Jobs` does it."""
        reason = self.pauses.explain("paused", self.snapshot.job)
        self.pauses.job_told(News("paused", JOB, reason))
        return reason

    def happens(self, kind: str) -> None:
        self.pauses.explain(kind, self.snapshot.job)
        self.pauses.job_told(News(kind, JOB))

    @property
    def reasons(self) -> list[tuple[str, str]]:
        return [(one.kind, one.message) for one in self.news]


async def test_the_hub_asked() -> None:
    bench = Bench()
    bench.pause_asked = bench.clock.monotonic() - 1
    assert bench.paused() == "paused by the hub"
    assert bench.reasons == [("paused", "paused by the hub")], "told at once"
    bench.happens("resumed")
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
    assert bench.reasons == [], "it is not told before the file was looked at"
    await settle()
    if by_file:  # or in the course of a cancel
        assert bench.reasons == []
        bench.clock.advance(SETTLES)
        await settle()
    assert (bench.pauses.reason, bench.told) == (reason, 1)
    assert bench.reasons == [("paused", reason)]


async def test_a_reason_that_comes_too_late_is_none() -> None:
    bench = Bench(b"M600\n")
    bench.paused()
    bench.snapshot = bench.snapshot._replace(job=Job(state="printing"))
    await settle()
    assert bench.pauses.reason == ""


async def test_a_cancel_is_told_as_no_pause() -> None:
    """Klipper's print_stats say "paused" for a moment (virtual_sdcard, do_pause)."""
    bench = Bench(b"G1 X1\n", by_file=True)
    bench.paused()
    await settle()
    bench.pauses.explain("ended", bench.snapshot.job)
    bench.pauses.job_told(News("ended", JOB, status="cancelled"))
    bench.clock.advance(SETTLES)
    await settle()
    assert [one.kind for one in bench.news] == ["ended"]
    assert bench.pauses.pauses == []


async def test_what_comes_next_does_not_wait_for_a_reason() -> None:
    bench = Bench(b"M600\n")
    bench.paused()
    bench.happens("resumed")
    await settle()
    assert bench.reasons == [("paused", ""), ("resumed", "")]


async def test_a_disk_that_does_not_answer_keeps_no_pause_from_being_told() -> None:
    bench = Bench(b"M600\n")
    bench.read = _never  # type: ignore[method-assign]
    bench.pauses._read = _never
    with mock.patch("components.printer.pauses.PATIENCE", 0.01):
        bench.paused()
        await until(lambda: bench.news)
    assert bench.reasons == [("paused", "")]


async def _never(filename: str, start: int, length: int) -> bytes:
    await asyncio.get_running_loop().create_future()
    return b""


async def test_the_pauses_of_a_job_outlive_a_restart_and_end_with_the_next() -> None:
    bench = Bench(b"M600\n")
    bench.happens("begun")
    began = bench.clock.time()
    bench.paused()
    await settle()
    bench.clock.advance(90.0)
    bench.happens("resumed")
    bench.clock.advance(10.0)
    bench.pause_asked = bench.clock.monotonic()
    bench.paused()
    first = Pause(began, 90.0, "paused by M600 in the file")
    second = Pause(began + 100.0, None, "paused by the hub")
    assert bench.pauses.pauses == [first, second]

    again = Bench()
    again.kept = bench.kept
    again.clock.wall = bench.clock.time() + 50.0
    again.pauses.start()
    assert (again.pauses.pauses, again.pauses.reason) == ([first, second], "paused by the hub")
    assert in_language(again.pauses.pauses[0].reason, "es") == "pausada por M600 en el archivo"
    again.happens("ended")
    wanted = [first, second._replace(seconds=50.0)]
    assert (again.pauses.pauses, again.pauses.reason) == (wanted, ""), "its history wants them"
    again.happens("begun")
    assert again.pauses.pauses == []
    assert again.kept == {"pauses": []}


async def test_a_pause_of_which_nobody_knows_why_is_one_as_well() -> None:
    bench = Bench(b"M600\n")
    began = bench.clock.time()
    bench.paused()
    bench.clock.advance(0.3)
    bench.happens("resumed")
    assert bench.pauses.pauses == [Pause(began, 0.3, "")]


@pytest.mark.parametrize("kept", [None, [], {"pauses": 5}, {"pauses": [1, {}]}, "x"])
async def test_whatever_was_kept_is_read(kept: Any) -> None:
    bench = Bench()
    bench.kept = kept
    bench.pauses.start()
    assert bench.pauses.reason == ""
