"""The event journal: in order, on disk, bounded, and honest about gaps."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from components.runtime.clock import Clock
from components.runtime.messages import in_language, say
from components.store import journal
from components.store.database import FILE_NAME, RETRY_EVERY, Database
from components.store.journal import GAP, SAMPLE, Journal
from tests.unit.fakes import Board, FakeClock, until


async def opened(
    folder: Path, max_rows: int = journal.MAX_ROWS, storing: Callable[[], bool] = lambda: True
) -> tuple[Database, Journal]:
    database = Database(folder, Board().notices, Clock())
    await database.open([journal.SCHEMA])
    events = Journal(database, FakeClock(1_700_000_000.25), max_rows, storing=storing)
    await events.start()
    return database, events


async def test_events_wait_with_their_times_and_numbers_until_acknowledged(tmp_path: Path) -> None:
    database, events = await opened(tmp_path)
    events.record("job_started", {"filename": "a.gcode"})
    events.record("job_finished", {"filename": "a.gcode"})
    due = await events.due(50)
    assert [(e["seq"], e["kind"], e["at"]) for e in due] == [
        (1, "job_started", 1_700_000_000.25),
        (2, "job_finished", 1_700_000_000.25),
    ]
    await events.delivered(due[:1], True)
    assert [e["seq"] for e in await events.due(50)] == [2]
    await database.close()


async def test_they_survive_a_restart_and_numbers_are_never_used_again(tmp_path: Path) -> None:
    database, events = await opened(tmp_path)
    events.record("a", {})
    await events.due(1)
    await database.close()
    database, events = await opened(tmp_path)
    assert events.undelivered == 1
    await events.delivered(await events.due(1), True)
    events.record("b", {})
    assert [e["seq"] for e in await events.due(50)] == [2]
    await database.close()


async def test_what_waited_for_the_disk_is_told_though_it_was_asked_for_too_early(
    tmp_path: Path,
) -> None:
    board, clock = Board(), FakeClock()
    database = Database(tmp_path, board.notices, clock)
    await database.open([journal.SCHEMA])
    events = Journal(database, clock)
    await events.start()
    full = [sqlite3.OperationalError("database or disk is full")]

    def refused(_db: sqlite3.Connection) -> None:
        if full:
            raise full.pop()

    database.post(refused)
    await until(lambda: database.behind)
    events.record("klippy_error", {})  # behind that
    clock.advance(RETRY_EVERY)
    assert await events.due(50) == []  # asked after the disk took something, before the event was
    await until(lambda: not database.behind)
    assert events.undelivered == 1
    assert [event["kind"] for event in await events.due(50)] == ["klippy_error"]
    await database.close()


async def test_a_hub_that_stores_no_events_is_told_each_once_and_they_are_kept(
    tmp_path: Path,
) -> None:
    database, events = await opened(tmp_path, storing=lambda: False)
    count = journal.KEEP_DELIVERED + 50
    for number in range(count):
        events.record("job_started", {"n": number})
    told = await events.due(count)
    assert len(told) == count
    await events.delivered(told, False)
    assert await events.due(count) == []
    assert events.undelivered == 0
    events.record("job_finished", {})
    assert [e["kind"] for e in await events.due(count)] == ["job_finished"]
    assert len(await events.recent(count)) == count  # for the panel
    await database.close()


async def test_a_server_that_learns_to_store_events_gets_those_of_before(tmp_path: Path) -> None:
    database, events = await opened(tmp_path, storing=lambda: False)
    for kind in ("a", "b", "c"):
        events.record(kind, {})
    await events.delivered(await events.due(2), False)
    await database.close()
    storing = False
    database, events = await opened(tmp_path, storing=lambda: storing)
    assert [e["kind"] for e in await events.due(50)] == ["c"]
    storing = True
    assert events.undelivered == 3
    due = await events.due(50)
    assert [e["kind"] for e in due] == ["a", "b", "c"]
    await events.delivered(due, True)
    assert (events.undelivered, await events.due(50)) == (0, [])
    storing = False
    assert (events.undelivered, await events.due(50)) == (0, [])
    await database.close()


async def test_a_server_that_learns_it_while_it_is_told_gets_all_again(tmp_path: Path) -> None:
    storing = False
    database, events = await opened(tmp_path, storing=lambda: storing)
    for kind in ("a", "b"):
        events.record(kind, {})
        told = await events.due(50)
        storing = kind == "b"  # says the answer to the status that holds it, or another just now
        await events.delivered(told, False)
    assert events.undelivered == 2
    due = await events.due(50)
    assert [e["kind"] for e in due] == ["a", "b"]
    await events.delivered(due, True)
    assert (events.undelivered, await events.due(50)) == (0, [])
    await database.close()


async def test_what_was_told_in_vain_goes_before_what_nobody_knows(tmp_path: Path) -> None:
    database, events = await opened(tmp_path, max_rows=300, storing=lambda: False)
    for number in range(199):
        events.record("job_failed", {"n": number})
    await events.delivered(await events.due(199), False)
    for number in range(201):
        events.record(SAMPLE, {"n": number})
    assert [e["data"] for e in await events.due(300)] == [{"n": number} for number in range(201)]
    kept = await events.recent(500)
    assert len(kept) == 300
    assert [e["data"]["n"] for e in kept if e["kind"] == "job_failed"] == [*range(198, 99, -1)]
    await database.close()


async def test_it_is_bounded_samples_go_first_and_the_gap_is_told(tmp_path: Path) -> None:
    database, events = await opened(tmp_path, max_rows=300)
    events.record("job_started", {"filename": "a.gcode"})
    for number in range(499):
        events.record(SAMPLE, {"n": number})
    kept = await events.due(10_000)
    assert len(kept) <= 300 + 100
    assert kept[0]["kind"] == "job_started"
    gaps = [e for e in kept if e["kind"] == GAP]
    dropped = sum(e["data"]["dropped"] for e in gaps)
    assert dropped == 500 - (len(kept) - len(gaps))
    await database.close()


async def test_without_samples_the_oldest_go(tmp_path: Path) -> None:
    database, events = await opened(tmp_path, max_rows=100)
    for number in range(300):
        events.record("job_failed", {"n": number})
    kept = await events.due(10_000)
    assert len(kept) <= 200
    assert kept[-1]["kind"] == GAP
    assert kept[-2]["data"] == {"n": 299}
    await database.close()


async def test_an_event_too_large_is_replaced_by_a_word(tmp_path: Path) -> None:
    database, events = await opened(tmp_path)
    events.record("klippy_error", {"message": "x" * 10_000})
    ((only),) = await events.due(5)
    assert len(str(only["data"])) < 200
    await database.close()


async def test_what_is_recorded_while_the_disk_works_is_due_all_the_same(tmp_path: Path) -> None:
    database, events = await opened(tmp_path)
    events.record("a", {})
    acknowledging = asyncio.ensure_future(events.delivered(await events.due(50), True))
    await asyncio.sleep(0)  # its work is on the way to the disk
    events.record("b", {})
    await acknowledging
    assert [e["kind"] for e in await events.due(50)] == ["b"]
    await database.close()


async def test_what_is_recorded_before_the_database_opens_is_kept(tmp_path: Path) -> None:
    database = Database(tmp_path, Board().notices, Clock())
    events = Journal(database, FakeClock())
    events.record("klippy_error", {})
    await database.open([journal.SCHEMA])
    await events.start()
    assert [e["kind"] for e in await events.due(50)] == ["klippy_error"]
    await database.close()


async def test_an_event_of_before_the_time_was_known_gets_its_true_time(tmp_path: Path) -> None:
    database = Database(tmp_path, Board().notices, Clock())
    await database.open([journal.SCHEMA])
    clock = FakeClock(86_400.0)  # 1970
    events = Journal(database, clock)
    await events.start()
    events.record("job_started", {})
    clock.advance(30.0)
    assert [e["at"] for e in await events.due(9)] == [86_400.0]
    clock.wall = 1_800_000_000.0  # the network brings the time
    assert [e["at"] for e in await events.due(9)] == [1_800_000_000.0 - 30.0]
    clock.advance(1000.0)
    assert [e["at"] for e in await events.recent(9)] == [1_800_000_000.0 - 30.0]
    rebooted = FakeClock(1_900_000_000.0)
    rebooted.boot = lambda: "another"  # type: ignore[method-assign]
    later = Journal(database, rebooted)
    await later.start()
    assert [e["at"] for e in await later.due(9)] == [86_400.0]
    await database.close()


async def test_a_database_made_anew_uses_no_number_of_the_lost_one(tmp_path: Path) -> None:
    numbers = []
    for folder, wall in (("a", 1_800_000_000.0), ("b", 1_800_001_000.0)):
        database = Database(tmp_path / folder, Board().notices, Clock())
        await database.open([journal.SCHEMA])
        events = Journal(database, FakeClock(wall))
        for _ in range(20):
            events.record("x", {})
        numbers.append([e["seq"] for e in await events.due(50)])
        await database.close()
    for seqs in numbers:
        assert seqs == list(range(seqs[0], seqs[0] + 20))
    assert numbers[0][-1] < numbers[1][0]


@pytest.mark.parametrize(
    ("clean", "later", "left_out"),
    [
        (True, 500.0, 0),
        (False, 500.0, 500 * journal.NUMBERS_A_SECOND - 1),
        (False, -3600.0, journal.MAY_BE_UNDONE),  # no clock of its own, and no network yet
    ],
)
async def test_after_a_power_cut_no_number_is_used_that_may_be_known(
    tmp_path: Path, clean: bool, later: float, left_out: int
) -> None:
    wall = 1_800_000_000.0
    database = Database(tmp_path, Board().notices, Clock())
    await database.open([journal.SCHEMA])
    first = Journal(database, FakeClock(wall))
    await first.start()
    first.record("a", {})
    await first.due(1)
    left = tmp_path / "left"
    left.mkdir()
    if not clean:
        for path in tmp_path.glob(f"{FILE_NAME}*"):
            shutil.copy(path, left)
    await database.close()
    database = Database(tmp_path if clean else left, Board().notices, Clock())
    await database.open([journal.SCHEMA])
    second = Journal(database, FakeClock(wall + later))
    await second.start()
    second.record("b", {})
    one, two = [event["seq"] for event in await second.due(9)]
    assert two == one + 1 + left_out
    await database.close()


async def test_a_write_ahead_log_of_garbage_undoes_no_number(tmp_path: Path) -> None:
    """What was told of may have stood in nothing but that log."""
    wall = 1_800_000_000.0
    database = Database(tmp_path, Board().notices, Clock())
    await database.open([journal.SCHEMA])
    clean = Journal(database, FakeClock(wall))
    await clean.start()
    clean.record("first", {})
    await database.close()
    database = Database(tmp_path, Board().notices, Clock())
    await database.open([journal.SCHEMA])
    events = Journal(database, FakeClock(wall + 10.0))
    await events.start()
    events.record("a", {})
    (_, told) = await events.due(9)
    # A power cut, after which the file alone can be read.
    left = tmp_path / "left"
    left.mkdir()
    shutil.copy(database.path, left)
    (left / f"{FILE_NAME}-wal").write_bytes(b"no log at all " * 5000)
    await database.close()
    database = Database(left, Board().notices, Clock())
    await database.open([journal.SCHEMA])
    events = Journal(database, FakeClock(wall + 500.0))
    await events.start()
    events.record("b", {})
    (*_, event) = await events.due(9)
    assert event["kind"] == "b"
    assert event["seq"] > told["seq"]
    await database.close()


async def test_our_words_in_an_event_are_read_in_any_language(tmp_path: Path) -> None:
    database = Database(tmp_path, Board().notices, Clock())
    await database.open([journal.SCHEMA])
    events = Journal(database, FakeClock(), language=lambda: "es")
    await events.start()
    data = {"state": "error", "message": say("Klippy is not connected"), "filename": "ñ.gcode"}
    events.record("klippy_error", data)
    events.record("klippy_error", {"message": "Lost communication with MCU"})
    ours, theirs = await events.due(50)
    assert {**ours["data"], "message": ""} == {**data, "message": ""}
    assert in_language(ours["data"]["message"], "es") == "Klippy no está conectado"
    assert in_language(ours["data"]["message"], "en") == "Klippy is not connected"
    assert theirs["data"] == {"message": "Lost communication with MCU"}
    await database.close()
