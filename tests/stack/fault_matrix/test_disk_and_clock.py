"""Rows of the fault matrix: a disk that is full, read-only, slow or damaged; clocks that jump."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from components.store.database import RETRY_EVERY
from tests.rig.klippy import wait_until
from tests.stack.fault_matrix.bench import JOB, PATIENCE, FaultyStack
from tests.stack.fault_matrix.test_printer import job_events, newest, told
from tests.stack.test_engine_stop import hung

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

BACK_ON_DISK = RETRY_EVERY + PATIENCE  # seconds
YEAR = 365 * 86400.0
# The hub's clock is known by whole seconds of its replies, and by the time they took.
JUDGED_WITHIN = 5.0  # seconds
STALL = 10.0  # seconds that each writing takes on a card that dies


@pytest.fixture(autouse=True)
def _mended(stack: FaultyStack) -> Iterator[None]:
    yield
    stack.hazards.clear()


@pytest.mark.parametrize("state", ["full", "read-only"])
def test_the_data_folder(stack: FaultyStack, state: str) -> None:
    """What cannot be stored is refused and told, a warning says what to do, statuses go on; events
    are told afterwards.
    """
    seq, hits = stack.last_seq(), stack.hazards.hits
    stack.hazards.disk(state, stack.moonraker.state_folder)
    name = f"disk_{state.replace('-', '_')}"
    result = stack.wait_result(stack.count_once(name))
    assert result.status == "refused"
    assert "cannot store this command" in result.message
    assert stack.hazards.hits > hits
    warning = stack.wait_warning("commands of the hub are refused")
    assert str(stack.moonraker.state_folder) in warning
    assert "Free some space, or make the folder writable" in warning
    stack.print_job()
    stack.wait_flow(2)
    assert newest(stack)["last_completed"].startswith("job.gcode")
    stack.hazards.clear()
    stack.wait_no_warning("cannot be written", BACK_ON_DISK)
    told(stack, seq, "job_started", "job_finished")
    assert job_events(stack, seq) == ["job_started", "job_finished"]
    assert stack.wait_result(stack.count_once(f"{name}_after")).status == "done"
    assert stack.klippy.count(name) == 0
    assert stack.klippy.count(f"{name}_after") == 1


def stopped_until_it_writes_again(stack: FaultyStack) -> None:
    stop = stack.hub.queue(stack.token, "emergency_stop")
    stack.klippy.wait_state("shutdown", PATIENCE)
    assert stack.wait_result(stop).status == "done"
    writes_again(stack)


def writes_again(stack: FaultyStack) -> None:
    stack.hazards.clear()
    stack.calm()
    stack.wait_no_warning("cannot be written", BACK_ON_DISK)


@pytest.mark.parametrize("state", ["full", "read-only"])
def test_the_stop_on_a_data_folder_that_takes_nothing(stack: FaultyStack, state: str) -> None:
    stack.hazards.disk(state, stack.moonraker.state_folder)
    stopped_until_it_writes_again(stack)
    assert stack.wait_result(stack.count_once(f"stopped_{state[:4]}")).status == "done"


def test_a_stop_that_klippy_does_not_take_is_told_from_a_full_disk(stack: FaultyStack) -> None:
    stack.hazards.disk("full", stack.moonraker.state_folder)
    with hung(stack):
        stop = stack.hub.queue(stack.token, "emergency_stop")
        told = stack.hub.wait_for(
            lambda: stack.hub.result(stack.token, stop), PATIENCE, "what became of the stop"
        )
        assert (told.status, "switch on the wall" in told.message) == ("running", True)
        stack.wait_warning("switch on the wall")
    stack.klippy.wait_state("shutdown", PATIENCE)
    assert stack.wait_result(stop).status == "done"
    writes_again(stack)


def test_a_stalled_card_delays_neither_status_nor_stop(stack: FaultyStack) -> None:
    seq = stack.last_seq()
    stack.hazards.disk("slow", stack.moonraker.state_folder, delay=STALL)
    stack.print_job()  # events wait for the card
    # A transaction is several writings: whoever waited for one would come far too late.
    stack.wait_flow(4, 2 * STALL)
    stop = stack.hub.queue(stack.token, "emergency_stop")
    stack.klippy.wait_state("shutdown", 2 * STALL)
    stack.wait_flow(2)
    stack.hazards.clear()
    assert stack.wait_result(stop).status == "done"
    stack.calm()
    told(stack, seq, "job_started", "job_finished", "klippy_error", "klippy_ready")


@pytest.mark.parametrize("state", ["full", "read-only"])
def test_the_whole_disk(stack: FaultyStack, state: str) -> None:
    """Moonraker itself can write nothing either: its log, its database, its history."""
    seq = stack.last_seq()
    stack.hazards.disk(state, stack.moonraker.data_path)
    name = f"whole_disk_{state.replace('-', '_')}"
    assert stack.wait_result(stack.count_once(name)).status == "refused"
    stack.wait_warning("cannot be written")
    stack.wait_flow()
    stopped_until_it_writes_again(stack)
    assert stack.wait_result(stack.count_once(f"{name}_after")).status == "done"
    told(stack, seq, "klippy_error", "klippy_ready")
    assert stack.klippy.count(name) == 0


def test_a_file_that_does_not_fit(stack: FaultyStack) -> None:
    stack.hub.add_file("large.gcode", JOB.encode() + b";" * 300_000, stack.token)
    data = stack.moonraker.data_path
    stack.hazards.disk("full", stack.gcodes, data / "tecmedhub/staging", data / ".tecmedhub")
    result = stack.do("print", file="large.gcode")
    assert result.status == "failed"
    assert 'There is no room for "large.gcode"' in result.message
    stack.wait_flow(2)
    stack.hazards.clear()
    assert stack.do("print", file="large.gcode").status == "done"
    stack.hub.wait_for(lambda: newest(stack)["last_completed"].startswith("large.gcode"), PATIENCE)


def test_a_file_on_a_disk_that_has_become_read_only(stack: FaultyStack) -> None:
    stack.hub.add_file("refused.gcode", JOB.encode(), stack.token)
    data = stack.moonraker.data_path
    stack.hazards.disk("read-only", stack.gcodes, data / "tecmedhub/staging", data / ".tecmedhub")
    result = stack.do("print", PATIENCE, file="refused.gcode")
    assert result.status == "failed"
    assert "Read-only file system" in result.message
    assert not (stack.gcodes / "refused.gcode").exists()
    stack.wait_flow(2)
    stack.hazards.clear()
    assert stack.do("print", PATIENCE, file="refused.gcode").status == "done"
    stack.hub.wait_for(
        lambda: newest(stack)["last_completed"].startswith("refused.gcode"), PATIENCE
    )


def test_the_log_cannot_be_written(stack: FaultyStack) -> None:
    log = stack.moonraker.logs / "tecmedhub.log"
    stack.hazards.disk("full", log)
    assert stack.wait_result(stack.count_once("no_log")).status == "done"
    assert str(log) in stack.wait_warning("cannot be written")
    stack.hazards.clear()
    assert stack.wait_result(stack.count_once("log_again")).status == "done"
    stack.wait_no_warning("cannot be written")
    wait_until(lambda: "is written again" in stack.log_text(), PATIENCE, "the log to say so")


def test_the_data_folder_is_read_only_from_the_start(stack: FaultyStack) -> None:
    stack.hazards.disk("read-only", stack.moonraker.state_folder)
    stack.restart()
    stack.wait_warning("cannot be written")
    assert stack.wait_result(stack.count_once("ro_start")).status == "refused"
    stack.wait_flow(2)
    stack.hazards.clear()
    stack.wait_no_warning("cannot be written", BACK_ON_DISK)
    assert stack.wait_result(stack.count_once("ro_start_after")).status == "done"
    assert stack.klippy.count("ro_start") == 0


@pytest.mark.parametrize("what", ["database", "write-ahead log"])
def test_the_store_is_garbage(stack: FaultyStack, what: str) -> None:
    path = stack.moonraker.state_folder / "tecmedhub.db"
    log = path.with_name("tecmedhub.db-wal")
    stack.restart()  # the file is written anew, and what follows is in the log
    stack.print_job()
    stack.wait_quiet()
    seq = stack.last_seq()
    stack.moonraker.kill()
    if what == "database":
        log.unlink(missing_ok=True)
        path.write_bytes(b"no database " * 5000)
    else:
        log.write_bytes(b"no log at all " * 5000)
    stack.moonraker.start()
    stack.moonraker.wait_klippy()
    name = f"garbage_{what.replace(' ', '_').replace('-', '_')}"
    if what == "database":  # nobody knows any more who had switched remote control off
        refused = stack.wait_result(stack.count_once(f"{name}_off"))
        assert (refused.status, "damaged" in refused.message) == ("refused", True)
        stack.moonraker.post("/server/tecmedhub/remote_on", {})
    assert stack.wait_result(stack.count_once(name)).status == "done"
    assert stack.klippy.count(name) == 1
    if what == "database":
        warning = stack.wait_warning("was damaged")
        assert "set aside as tecmedhub.db.broken-" in warning
        assert list(path.parent.glob("tecmedhub.db.broken-*"))
    # New events have numbers of their own: none is taken for an old one.
    stack.print_job()
    stack.hub.wait_for(
        lambda: job_events(stack, seq) == ["job_started", "job_finished"],
        PATIENCE,
        "the job and nothing of the one before it",
    )
    numbers = [event.body["seq"] for event in stack.hub.events(stack.token)]
    assert len(numbers) == len(set(numbers))
    stack.restart()
    stack.wait_quiet()


def test_the_state_file_is_garbage(stack: FaultyStack) -> None:
    path = stack.moonraker.state_folder / "printer_state.json"
    stack.moonraker.stop()
    path.write_bytes(b'{"totals": {"updates_sent": "NaN", "errors": -5}, \xff')
    stack.moonraker.start()
    stack.moonraker.wait_klippy()
    stack.wait_flow(2)
    stack.moonraker.wait(lambda: json.loads(path.read_text())["totals"]["updates_sent"], PATIENCE)


def test_a_boot_without_a_clock(stack: FaultyStack) -> None:
    """1970 until the network brings the time: commands are not old, and events get their times."""
    stack.moonraker.stop()
    stack.hazards.clock(86400 - time.time())
    stack.faults.refuse()
    seq = stack.last_seq()
    began = time.time()
    stack.moonraker.start()
    stack.moonraker.wait_klippy()
    stack.wait_warning("refuses connections")
    stack.print_job()
    ended = time.time()
    stack.faults.listen()
    fresh = stack.count_once("in_1970")
    assert stack.wait_result(fresh).status == "done"
    stale = stack.hub.queue(stack.token, "set_speed", speed=90, timestamp=time.time() - 130)
    assert stack.wait_result(stale).status == "expired"
    result = stack.hub.result(stack.token, fresh)
    assert began <= result.body["finished_at"] <= time.time() + JUDGED_WITHIN  # by the hub's clock
    check_times(told(stack, seq, "job_started", "job_finished"), began, ended)
    stack.hazards.clear()  # the time arrives
    stack.wait_flow(3)
    assert stack.wait_result(stack.count_once("after_1970")).status == "done"


@pytest.mark.parametrize("jump", [-3600.0, 3600.0, -20 * YEAR, 20 * YEAR])
def test_the_wall_clock_jumps(stack: FaultyStack, jump: float) -> None:
    seq = stack.last_seq()
    stack.hazards.clock(jump)
    stack.wait_flow(3)
    name = f"jump{jump:.0f}".replace("-", "back")
    assert stack.wait_result(stack.count_once(name)).status == "done"
    began = stack.time()
    stack.print_job()
    ended = stack.time()
    check_times(told(stack, seq, "job_started", "job_finished"), began, ended)
    stack.wait_no_warning()
    stack.hazards.clock(0)
    stack.wait_flow(3)
    assert stack.do("set_speed", PATIENCE, speed=100).status == "done"
    stack.wait_quiet()
    assert stack.klippy.count(name) == 1


def check_times(events: list[dict[str, Any]], began: float, ended: float) -> None:
    """A job's events bear true times, whatever the clock said."""
    for event in events:
        if event["kind"] in ("job_started", "job_finished"):
            assert began - JUDGED_WITHIN <= event["at"] <= ended + JUDGED_WITHIN, event


# As of the European Union: without tzdata, which a small machine may lack.
MADRID = "CET-1CEST,M3.5.0/2,M10.5.0/3"
CHANGES = {"forward": "2027-03-28T01:00:00+00:00", "back": "2027-10-31T01:00:00+00:00"}


@pytest.mark.parametrize("way", CHANGES)
def test_daylight_saving(stack: FaultyStack, way: str) -> None:
    """A job is printed while the local time leaves out an hour, or has one twice."""
    change = datetime.datetime.fromisoformat(CHANGES[way]).timestamp()
    stack.moonraker.stop()
    stack.moonraker.environment["TZ"] = MADRID
    try:
        stack.moonraker.start()
        stack.moonraker.wait_klippy()
        stack.wait_quiet()
        seq = stack.last_seq()
        ahead = int(change - 5 - stack.time())
        stack.hazards.clock(ahead)
        stack.hub.set(clock_offset=ahead)
        # A reply with a command brings the hub's time.
        assert stack.do("set_speed", PATIENCE, speed=100).status == "done"
        began = stack.time() + ahead
        stack.print_job(text=f"G4 P500\n{JOB}", name="change.gcode")
        wait_until(lambda: stack.time() + ahead > change + 1, PATIENCE, "the change of the hour")
        ended = stack.time() + ahead
        check_times(told(stack, seq, "job_started", "job_finished"), began, ended)
        (*_, last) = stack.wait_statuses(3, stack.time())
        moment = datetime.datetime.fromisoformat(last.body["timestamp"])
        assert moment.utcoffset() == datetime.timedelta(hours=2 if way == "forward" else 1)
        assert abs(moment.timestamp() - stack.time() - ahead) < PATIENCE
        assert stack.wait_result(stack.count_once(f"daylight_{way}")).status == "done"
        stack.wait_no_warning()
    finally:
        stack.hazards.clear()
        stack.hub.set(clock_offset=None)
        del stack.moonraker.environment["TZ"]
        stack.moonraker.stop()
