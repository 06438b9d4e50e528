"""Rows of the fault matrix: an SD card that takes its time, and what comes meanwhile."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from tests.rig.klippy import wait_until
from tests.stack.fault_matrix.bench import JOB, PATIENCE, FaultyStack
from tests.stack.fault_matrix.test_moonraker import LEAVES_WITHIN, executing
from tests.stack.fault_matrix.test_printer import shut_down

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

SLOW = 0.3  # seconds that each writing takes


@pytest.fixture(autouse=True)
def _mended(stack: FaultyStack) -> Iterator[None]:
    yield
    stack.hazards.clear()


def delivered(stack: FaultyStack) -> None:
    stack.hub.wait_for(lambda: not stack.hub.waiting(stack.token), PATIENCE, "the delivery")


def rows(stack: FaultyStack, query: str) -> list[Any]:
    """What stands on the disk, Moonraker at work or not."""
    path = stack.moonraker.state_folder / "tecmedhub.db"
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def test_replies_keep_their_order(stack: FaultyStack) -> None:
    """`cool_down` comes while the `heat` before it, and what is to be refused of the same reply,
    are not yet stored: the heater ends cold.
    """
    stack.hazards.disk("slow", stack.moonraker.state_folder, delay=10 * SLOW)
    with stack.hub.transaction():
        refused = stack.hub.queue(stack.token, "set_speed", speed=999)
        heat = stack.hub.queue(stack.token, "heat", bed_temp=45)
    delivered(stack)
    cool = stack.hub.queue(stack.token, "cool_down")
    delivered(stack)
    # Nothing of these three; what was queued before this row may be told at any time.
    early = [command for command in (refused, heat, cool) if stack.hub.result(stack.token, command)]
    assert not early
    stack.hazards.clear()
    assert stack.wait_result(refused).status == "refused"
    assert stack.wait_result(heat).status == "done"
    assert stack.wait_result(cool).status == "done"
    assert stack.klippy.query("heater_bed")["target"] == 0


def begin_slow(stack: FaultyStack, seconds: float, *names: str) -> tuple[Any, list[Any]]:
    """One command runs, and these wait behind it, stored."""
    slow = {"macro_name": "SLOW_MACRO", "params": {"SECONDS": seconds}}
    with stack.hub.transaction():
        running = stack.hub.queue(stack.token, "macro", **slow)
        waiting = [stack.count_once(name) for name in names]
    wait_until(lambda: executing(stack) == [running], PATIENCE, "the command to begin")
    return running, waiting


@pytest.mark.parametrize("how", ["SIGTERM", "restart"])
def test_what_waits_outlives_an_exit(stack: FaultyStack, how: str) -> None:
    """The database is closed whatever else the exit waits for, and that Moonraker lets go of Klippy
    is none of Klippy's ends.
    """
    seq = stack.last_seq()
    running, (waiting,) = begin_slow(stack, 10, f"over_{how}")
    statistics = stack.moonraker.state_folder / "printer_state"
    stack.hazards.disk("slow", statistics, delay=5 * SLOW)
    if how == "SIGTERM":
        assert stack.moonraker.sigterm(LEAVES_WITHIN) == 0
        assert not (stack.moonraker.state_folder / "tecmedhub.db-wal").exists()
        stack.moonraker.start()
    else:
        stack.restart()
    stack.hazards.clear()
    assert stack.wait_result(running).status == "interrupted"
    found = stack.wait_result(waiting)
    assert (found.status, stack.klippy.count(f"over_{how}")) == ("done", 1), found.body
    stack.wait_quiet()
    kinds = [event.body["kind"] for event in stack.events_since(seq)]
    assert not {"klippy_disconnected", "klippy_error"}.intersection(kinds), kinds


def test_what_klippys_end_dropped_does_not_run_on_the_next(stack: FaultyStack) -> None:
    """Moonraker is killed when it has met the Klippy started anew, and before the card has taken
    all that it refused.
    """
    names = [f"dropped_{number}" for number in range(40)]  # Klippy starts before all are refused
    session = "SELECT value FROM flags WHERE name = 'job'"
    _, waiting = begin_slow(stack, PATIENCE, *names)
    before = rows(stack, session)
    stack.hazards.disk("slow", stack.moonraker.state_folder, delay=SLOW)
    shut_down(stack)
    stack.klippy.wait_state("shutdown", PATIENCE)
    stack.calm()
    wait_until(lambda: rows(stack, session) != before, PATIENCE, "the session to be stored")
    stack.moonraker.kill()
    (left,) = rows(stack, "SELECT COUNT(*) FROM commands WHERE status = 'received'")[0]
    assert left > 0, "all were refused before the kill"
    stack.hazards.clear()
    stack.moonraker.start()
    for command in waiting:
        assert stack.wait_result(command).status == "refused"
    assert not any(stack.klippy.count(name) for name in names)


def test_a_download_is_told_as_cancelled(stack: FaultyStack) -> None:
    data = stack.moonraker.data_path
    stack.hub.add_file("slow.gcode", JOB.encode() + b";" * 6_000_000, stack.token)
    stack.hazards.disk("slow", data / "tecmedhub/staging", data / ".tecmedhub", delay=2 * SLOW)
    fetched = stack.hub.queue(stack.token, "print", file="slow.gcode")
    wait_until(lambda: (stack.status()["download"] or {}).get("bytes"), PATIENCE, "the first bytes")
    assert stack.do("cancel_download", file="slow.gcode").status == "done"
    stack.hazards.clear()
    result = stack.wait_result(fetched)
    assert (result.status, "cancelled" in result.message) == ("failed", True), result.body
    assert not (stack.gcodes / "slow.gcode").exists()
    assert stack.klippy.query("print_stats")["state"] != "printing"


def damage(stack: FaultyStack) -> None:
    """The card loses what lies in the database, and SQLite has to read it."""
    path = stack.moonraker.state_folder / "tecmedhub.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.execute("BEGIN IMMEDIATE")
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.write(b"no database " * (size // 12))
        connection.execute("PRAGMA user_version=7")
        connection.execute("COMMIT")


def test_a_damaged_database_keeps_the_kill_switch(stack: FaultyStack) -> None:
    stack.moonraker.post("/server/tecmedhub/remote_off", {})
    damage(stack)
    first = stack.wait_result(stack.count_once("damaged"))
    assert (first.status, "switched off" in first.message) == ("refused", True), first.body
    stack.wait_warning("was damaged")
    stack.moonraker.kill()
    stack.moonraker.start()
    stack.moonraker.wait_klippy()
    second = stack.wait_result(stack.count_once("damaged"))
    assert (second.status, second.message) == ("refused", first.message)
    stack.moonraker.post("/server/tecmedhub/remote_on", {})
    assert stack.wait_result(stack.count_once("mended")).status == "done"
    assert stack.klippy.count("damaged") == 0
