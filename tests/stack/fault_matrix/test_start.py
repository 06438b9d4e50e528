"""The start on the real stack: no row of the database, and no room, can end it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator

import pytest

from tests.rig.klippy import wait_until
from tests.stack.fault_matrix.bench import PATIENCE, FaultyStack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


@contextlib.contextmanager
def records(stack: FaultyStack) -> Iterator[sqlite3.Connection]:
    """The plugin's database, while Moonraker is away; which comes back then."""
    stack.moonraker.kill()
    with contextlib.closing(
        sqlite3.connect(stack.moonraker.state_folder / "tecmedhub.db")
    ) as connection:
        yield connection
        connection.commit()
    stack.moonraker.start()
    stack.moonraker.wait_klippy()


def add(connection: sqlite3.Connection, action: str, command: str, status: str) -> None:
    connection.execute(
        "INSERT INTO commands (key, id, action, summary, command, status, received_at)"
        " VALUES (?, ?, ?, '', ?, ?, ?)",
        (f"key {action} {status} {command}", '"left"', action, command, status, time.time() - 9e5),
    )


def works(stack: FaultyStack) -> None:
    stack.wait_connected()
    assert stack.do("set_speed", speed=100).status == "done"
    assert not [w for w in stack.moonraker.warnings() if "TecMedHub" in w]


def test_an_old_emergency_stop_that_a_crash_left_behind(stack: FaultyStack) -> None:
    with records(stack) as connection:
        add(connection, "emergency_stop", '{"action": "emergency_stop"}', "received")
    works(stack)
    assert stack.klippy.state() == "ready"
    with records(stack) as connection:
        (left,) = connection.execute(
            "SELECT COUNT(*) FROM commands WHERE status IN ('received', 'executing')"
        ).fetchone()
    assert left == 0


def test_rows_of_anything(stack: FaultyStack) -> None:
    stack.traces_expected = True
    with records(stack) as connection:
        for action in ("heat", "no_such_action", "", "emergency_stop"):
            for command in ("", "{", "[]", '{"params": 7}', '{"params": {"hotend_temp": {}}}'):
                for status in ("received", "executing", "no such state"):
                    add(connection, action, command, status)
        for table, columns in (
            ("flags", "name, value, changed_at"),
            ("events", "kind, at, data"),
            ("downloads", "name, hub_name, source, command_id, state, size, started"),
        ):
            for value in ("{", "[[[", "x", "-1"):
                row = ", ".join(f"'{value}{n}'" for n, _ in enumerate(columns.split(",")))
                connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({row})")
        for name in ("job", "history", "bed_needs_clearing", "bed_cleared_at", "remote_off_by"):
            connection.execute("INSERT OR REPLACE INTO flags VALUES (?, '[{}]', 'x')", (name,))
        connection.execute("UPDATE flags SET value = '\"\"' WHERE name = 'remote_off_by'")
    works(stack)


def test_one_room_that_cannot_start_is_told_and_the_rest_works(stack: FaultyStack) -> None:
    stack.traces_expected = True
    stack.moonraker.stop()
    staging = stack.moonraker.source / "moonraker" / "components" / "history.py"
    text = staging.read_text()
    broken = text.replace(
        "    async def _handle_jobs_list(self,",
        "    async def _handle_jobs_list(self, *a, **k):\n"
        "        raise KeyError('no such history')\n\n"
        "    async def _handle_jobs_list_(self,",
    )
    assert broken != text
    staging.write_text(broken)
    try:
        stack.moonraker.start()
        stack.moonraker.wait_klippy()
        stack.wait_connected()
        assert stack.do("set_speed", speed=100).status == "done"
        wait_until(
            lambda: any("no such history" in w for w in stack.moonraker.warnings()),
            PATIENCE,
            "the warning",
        )
    finally:
        staging.write_text(text)
        stack.moonraker.stop()
        stack.moonraker.start()
        stack.moonraker.wait_klippy()
    works(stack)


def test_a_card_that_stalls_at_boot_allows_nothing(stack: FaultyStack) -> None:
    """To read a pipe takes until somebody writes into it, as a stalled card does until it wakes."""
    stack.moonraker.stop()
    stack.override.write_text('{"security": {"remote_control": "off"}}')
    memory = stack.moonraker.state_folder / "last_good_settings.json"
    memory.unlink(missing_ok=True)
    os.mkfifo(memory)
    told = stack.hub.count(stack.token)
    command = stack.hub.queue(stack.token, "set_speed", speed=90)
    try:
        stack.moonraker.start()
        stack.moonraker.wait_klippy()
        stack.wait_warning("until then nothing is told to the hub")
        time.sleep(3.0)  # more than one round of statuses and commands: none may come
        assert stack.hub.count(stack.token) == told
        assert [waiting["id"] for waiting in stack.hub.waiting(stack.token)] == [command]
        memory.write_bytes(b"")
        assert stack.wait_result(command).status == "refused"
        stack.wait_no_warning("until then nothing")
    finally:
        stack.moonraker.stop()
        stack.override.write_text("{}")
        memory.unlink(missing_ok=True)
        stack.moonraker.start()
        stack.moonraker.wait_klippy()
    works(stack)
