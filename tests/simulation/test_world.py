"""The simulated world itself: what it is built of behaves as the real thing, and nothing in it is
left to chance."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.case import Case, matches
from tests.simulation.hub import Asked
from tests.simulation.invariants import judge
from tests.simulation.klippy import Klippy
from tests.simulation.klippy_gcode import Habits
from tests.simulation.loop import PROCESS, Process, Spinning, Stalled, VirtualLoop
from tests.simulation.machine import Disk, Machine, VirtualWorker
from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.shrink import shrink
from tests.simulation.story import HAPPENINGS, Happening, Story, make_house, make_story
from tests.simulation.witness import Witness
from tests.simulation.world import DEEDS, play

ROOT = Path(__file__).resolve().parents[2]
TRACE = """
import sys
from tests.simulation.story import make_story
from tests.simulation.world import play
for seed in sys.argv[1:]:
    for fact in play(make_story(seed)).facts:
        print(fact)
"""


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    yield loop
    loop.bury()
    asyncio.set_event_loop(None)


def test_a_seed_is_one_story_to_the_last_letter_in_any_process() -> None:
    traces = []
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", TRACE, "7", "24", "33"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            timeout=120,
        )
        traces.append(done.stdout)
    assert len(traces[0].splitlines()) > 100
    assert traces[0] == traces[1]


def test_every_kind_of_happening_has_its_deed() -> None:
    assert HAPPENINGS.keys() == DEEDS.keys()


# The loop


def test_nobody_ever_waits(loop: VirtualLoop) -> None:
    async def sleep_long() -> str:
        await asyncio.wait({asyncio.ensure_future(asyncio.sleep(86400.0))}, timeout=3600.0)
        return f"{loop.time():.0f}"

    assert loop.run_until_complete(sleep_long()) == "3600"


def test_what_nobody_will_ever_end_is_told(loop: VirtualLoop) -> None:
    with pytest.raises(Stalled):
        loop.run_until_complete(loop.create_future())


def test_a_loop_that_is_held_is_told(loop: VirtualLoop) -> None:
    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(Spinning):
        loop.run_until_complete(spin())


def test_a_killed_process_does_nothing_more(loop: VirtualLoop) -> None:
    did: list[str] = []
    process = Process("victim")
    asked = loop.create_future()

    async def live() -> None:
        try:
            did.append("began")
            await asked
            did.append("was answered")
        finally:
            did.append("tidied up")

    async def world() -> None:
        loop.create_task(live(), context=process.context.copy())
        loop.call_later(5.0, did.append, "a timer", context=process.context)
        await asyncio.sleep(1.0)
        loop.kill(process)
        asked.set_result(None)
        await asyncio.sleep(10.0)

    loop.run_until_complete(world())
    assert did == ["began"]
    assert PROCESS.get() is None


# The disk


def write(disk: Disk, path: Path, text: str, durable: bool) -> None:
    db = disk.connect(str(path), isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
    db.execute("BEGIN IMMEDIATE")
    db.execute("CREATE TABLE IF NOT EXISTS notes (text TEXT)")
    db.execute("INSERT INTO notes VALUES (?)", (text,))
    db.execute("COMMIT")


def notes(disk: Disk, path: Path) -> list[str]:
    return [text for (text,) in disk.connect(str(path)).execute("SELECT text FROM notes")]


class Careless(random.Random):
    def random(self) -> float:
        return 0.99  # the card has written nothing that it did not have to


def test_a_power_cut_loses_what_was_not_synced(loop: VirtualLoop, tmp_path: Path) -> None:
    disk = Disk(loop, Careless(1), tmp_path)
    disk.track = True
    (tmp_path / "tecmedhub").mkdir()
    path = tmp_path / "tecmedhub" / "tecmedhub.db"
    write(disk, path, "kept", True)
    write(disk, path, "lost", False)
    disk.let_go()
    disk.lose_unsynced()
    assert notes(disk, path) == ["kept"]


def test_a_kill_loses_nothing_that_was_committed(loop: VirtualLoop, tmp_path: Path) -> None:
    disk = Disk(loop, Careless(1), tmp_path)
    write(disk, tmp_path / "x.db", "kept", False)
    disk.let_go()
    assert notes(disk, tmp_path / "x.db") == ["kept"]


def test_a_full_disk_takes_no_commit(loop: VirtualLoop, tmp_path: Path) -> None:
    disk = Disk(loop, random.Random(1), tmp_path)
    disk.full = True
    with pytest.raises(sqlite3.OperationalError, match="full"):
        write(disk, tmp_path / "x.db", "no", True)


def test_blocking_work_takes_virtual_time_in_order(loop: VirtualLoop, tmp_path: Path) -> None:
    machine = Machine(loop, random.Random(1), tmp_path)
    machine.disk.slow(2.0, 100.0)
    worker = VirtualWorker("store", machine)

    async def work() -> list[Any]:
        jobs = [worker.submit(lambda n=n: (n, loop.time())) for n in range(3)]
        jobs[1].cancel()
        return await asyncio.gather(*jobs, return_exceptions=True)

    first, second, third = loop.run_until_complete(work())
    assert (first[0], third[0]) == (0, 2)
    assert isinstance(second, asyncio.CancelledError)
    assert 0.5 < first[1] < third[1]


# Klippy


class Bench:
    """A Klippy, ready, with one person at it."""

    def __init__(self, loop: VirtualLoop, **habits: Any) -> None:
        self.loop = loop
        self.witness = Witness(loop)
        self.klippy = Klippy(loop, random.Random(1), self.witness, Habits(**habits))
        self.klippy.files = {
            "part.gcode": ["G28", *["G1 X1"] * 20],
            "own.gcode": ["G1 X1", "M25", "G1 X1"],
            "gone.gcode": ["CANCEL_PRINT"],
            "bad.gcode": ["G1 X1", "~", "G1 X1"],
        }
        self.wait(10.0)

    def do(self, script: str, seconds: float = 0.0) -> str:
        self.klippy.person(script)
        return self.wait(seconds)

    def wait(self, seconds: float) -> str:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        return f"{self.klippy.stats_state} {self.klippy.is_paused}"

    def begins(self) -> list[tuple[int, float]]:
        return [(f.data["run"], f.at) for f in self.witness.of("klippy", "begins")]


@pytest.fixture
def bench(loop: VirtualLoop) -> Bench:
    return Bench(loop)


def test_one_script_at_a_time(bench: Bench) -> None:
    bench.do("G4 P5000")
    bench.do("G28", 30.0)
    (_, first), (_, second) = bench.begins()
    assert second == pytest.approx(first + 5.0, abs=0.1)


def test_a_job_from_begin_to_end(bench: Bench) -> None:
    assert bench.do('SDCARD_PRINT_FILE FILENAME="part.gcode"', 2.0) == "printing False"
    assert bench.do("PAUSE", 20.0) == "paused True"
    assert bench.do("RESUME", 3.0) == "printing False"
    assert bench.wait(60.0) == "complete False"


def test_a_job_paused_by_m25_is_deaf_to_resume_and_cancel(bench: Bench) -> None:
    assert bench.do('SDCARD_PRINT_FILE FILENAME="own.gcode"', 10.0) == "paused False"
    assert bench.do("RESUME", 5.0) == "paused False"
    assert bench.do("CANCEL_PRINT", 5.0) == "paused False"
    assert bench.do("M24", 10.0) == "complete False"


def test_what_klipper_cannot_read_pauses_the_job(bench: Bench) -> None:
    assert bench.do('SDCARD_PRINT_FILE FILENAME="bad.gcode"', 10.0) == "paused False"
    assert bench.do("SDCARD_RESET_FILE", 5.0) == "standby False"


def test_a_job_that_cancels_itself(bench: Bench) -> None:
    assert bench.do('SDCARD_PRINT_FILE FILENAME="gone.gcode"', 5.0) == "cancelled False"


def test_a_shutdown_ends_moves_with_an_error_and_dwells_without(bench: Bench) -> None:
    bench.do("G4 P60000", 1.0)
    bench.klippy.shut_down("test")
    bench.wait(2.0)
    bench.do("G28", 2.0)
    dwell, home = bench.witness.of("klippy", "ended")
    assert "error" not in dwell.data
    assert home.data["error"].startswith("test")


def test_a_restart_waits_for_its_turn_and_forgets_the_job(bench: Bench) -> None:
    bench.do('SDCARD_PRINT_FILE FILENAME="part.gcode"', 3.0)
    bench.do("G4 P5000")
    bench.do("FIRMWARE_RESTART", 4.0)
    assert bench.klippy.stats_state == "printing"
    bench.wait(20.0)
    assert (bench.klippy.state, bench.klippy.stats_state) == ("ready", "standby")


def test_a_hung_klippy_goes_on_where_it_stood(bench: Bench) -> None:
    bench.do('SDCARD_PRINT_FILE FILENAME="part.gcode"', 8.0)
    before = bench.klippy.line
    bench.klippy.hang()
    bench.do("PAUSE", 60.0)
    assert bench.klippy.line <= before + 1
    bench.klippy.wake(False)
    assert bench.wait(5.0) == "paused True"


# The judge


def told(story: Story) -> set[str]:
    return {violation.rule for violation in judge(play(story))}


def story(*happenings: tuple[float, str, dict[str, Any]], **house: Any) -> Story:
    made = {
        **make_house(random.Random(3)),
        "generation": 1,
        "features": {},
        "skew": 0.0,
        "delay": 0.05,
        "require_clear_bed": False,
        "home": 3.0,
        "cancel": 0.5,
        "moonraker_after": 0.0,
        "status_every": 5,
        "check_every": 3,
        "print_it": "short_m.gcode",
        **house,
    }
    return Story("hand-made", made, tuple(Happening(*h) for h in happenings))


def ask(at: float, *commands: list[Any]) -> tuple[float, str, dict[str, Any]]:
    return (at, "ask", {"commands": [*commands]})


def test_an_ordinary_day_breaks_no_rule() -> None:
    day = story(
        ask(20.0, [1, "home", {}, False]),
        ask(40.0, [2, "print_local", {"file": "short_2.gcode"}, False]),
        ask(50.0, [3, "pause", {}, False]),
        ask(60.0, [4, "resume", {}, False]),
        ask(120.0, [5, "heat", {"hotend_temp": 205}, False]),
        (150.0, "restart", {}),
        (200.0, "kill", {"seconds": 2.0}),
        ask(240.0, [6, "emergency_stop", {}, False]),
    )
    seen = play(day)
    assert [str(v) for v in judge(seen)] == []
    case = Case(seen)
    ends = {c.action: end[1] for c in seen.asked if (end := case.end_of(c))}
    assert ends == {
        "home": "done",
        "print_local": "done",
        "pause": "done",
        "resume": "done",
        "heat": "done",
        "emergency_stop": "done",
        "set_flow": "done",
    }


def test_scripts_are_known_again_at_the_door() -> None:
    heat = Asked(7, "heat", {"hotend_temp": 157}, False)
    assert matches(heat, "SET_HEATER_TEMPERATURE HEATER=extruder TARGET=157")
    assert matches(heat, "M104 S157")
    assert not matches(heat, "M104 S157\nM117 n9")
    assert matches(Asked(9, "gcode", {"gcode": ""}, False), "M104 S157\nM117 n9")
    assert not matches(Asked(9, "gcode", {"gcode": ""}, False), "M117 n99")
    printing = Asked(3, "print_local", {"file": "short_3.gcode"}, False)
    assert matches(printing, 'SDCARD_PRINT_FILE FILENAME="short_3.gcode"')


def test_a_failing_story_is_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = {4, 11}

    def broken(candidate: Story) -> set[str]:
        return {"I1"} if needed <= {round(h.at) for h in candidate.happenings} else set()

    monkeypatch.setattr("tests.simulation.shrink.broken", broken)
    long = Story("x", {}, tuple(Happening(float(n), "person") for n in range(40)))
    assert {round(h.at) for h in shrink(long, "I1").happenings} == needed


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_no_mutant_is_stale(mutant: Mutant) -> None:
    for file, text, instead in mutant.changes:
        source = (ROOT / "components" / file).read_text(encoding="utf-8")
        assert source.count(text) == 1, f"{file} holds it {source.count(text)} times"
        compile(source.replace(text, instead), file, "exec")


def test_stories_are_data_that_can_be_printed_and_made_again() -> None:
    assert str(make_story("5")) == str(make_story("5"))
    assert str(make_story("5")) != str(make_story("6"))
