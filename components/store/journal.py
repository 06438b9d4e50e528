"""What happened, on disk, until the hub has heard of it: events with their original times and
numbers.

A Raspberry Pi has no clock: what is recorded before the network brings the time bears a wrong one.
So an event also bears the machine's monotonic time, and gets its true one when it is told. Numbers
of a new database begin above those of any former one, and after a power cut, which may have undone
the last seconds, they go on above what may have been used: a hub must not take new events for old
ones, and sees the gap.

A hub that does not say that it stores events is told each one once, and has acknowledged nothing:
they are kept for whoever looks, and for the day on which the server learns to store them.

Bounded: beyond `MAX_ROWS` those told but not stored go first, the oldest before the others; then
the minute samples are thinned (every second one), then the oldest go. What the hub was never told
of is told as one `gap` event, so that it can see that something is missing.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ..runtime.clock import Clock
from ..runtime.redaction import Redactor
from .database import Database

MAX_ROWS = 10_000
MAX_DATA = 4096  # characters of JSON of one event
KEEP_DELIVERED = 200  # rows, for whoever looks at the printer
SAMPLE = "sample"
GAP = "gap"
WRONG_BY = 5.0  # seconds; less is not worth correcting
CLOSED, IN_USE = 0, 1  # of the database (PRAGMA user_version)
NEW, STORED, TOLD = 0, 1, 2  # the column `delivered`: not told, acknowledged, told in vain
NUMBERS_FROM = 1_767_225_600  # unix seconds: 2026; numbers are left out for the time since then
NUMBERS_A_SECOND = 4  # more than ever happens in the long run; 32 bits last until 2043
MAY_BE_UNDONE = 100  # events, by a power cut; for when the clock is behind, too

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    at REAL NOT NULL,
    data TEXT NOT NULL,
    delivered INTEGER NOT NULL DEFAULT 0,
    boot TEXT NOT NULL DEFAULT '',  -- of the machine, while `clock` ran
    clock REAL NOT NULL DEFAULT 0   -- monotonic seconds at the event
);
CREATE INDEX IF NOT EXISTS events_due ON events (delivered, seq);
"""


_INSERT = """
INSERT INTO events (seq, kind, at, data, boot, clock) VALUES (
    1 + COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'events'), ?), ?, ?, ?, ?, ?
)
"""


class Journal:
    """Events are `{seq, kind, at, data}`: `seq` grows by one and is never used again, `at` is unix
    seconds.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        max_rows: int = MAX_ROWS,
        redactor: Optional[Redactor] = None,
        now: Optional[Callable[[], float]] = None,
        storing: Callable[[], bool] = lambda: True,
    ) -> None:
        """`now()` is the best knowledge of the time when events are told, unix seconds;
        `storing()` whether the hub keeps what it is told.
        """
        self._database = database
        self._redactor = redactor or Redactor()
        self._clock = clock
        self._now = now or clock.time
        self._boot = clock.boot()
        self._max_rows = max_rows
        self._storing = storing
        self._new = 1  # until counted, there may be some
        self._told = 0
        self._recorded = 0  # since the start

    async def start(self) -> None:
        before = self._recorded
        await self._database.run(self._open, durable=True)
        await self._database.checkpoint()  # "in use" must outlive a write-ahead log of garbage
        left, self._told = await self._database.run(_count)
        self._new = left + self._recorded - before

    def record(self, kind: str, data: Mapping[str, Any]) -> None:
        """Write an event down, in order, without waiting for the disk."""
        text = self._redactor.known(json.dumps(dict(data), ensure_ascii=True, default=str))
        if len(text) > MAX_DATA:
            text = json.dumps({"message": "this event was too large to keep"})
        at = self._clock.time()
        self._new += 1
        self._recorded += 1
        thin = self._recorded % 100 == 0

        row = (_seed(at), kind, at, text, self._boot, self._clock.monotonic())

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_INSERT, row)
            if thin:
                bound(connection, self._max_rows, at)

        self._database.post(work)

    async def due(self, limit: int) -> List[Dict[str, Any]]:
        """The oldest events that the hub has not acknowledged (of one that stores none: that it
        was not told). No disk is touched when there are none.
        """
        if self.undelivered <= 0:
            return []
        before = self._recorded
        storing = self._storing()
        where = f"delivered <> {STORED}" if storing else f"delivered = {NEW}"
        found = await self._database.run(
            lambda connection: self._select(connection, where, "seq ASC", limit)
        )
        if not found:
            self._new = self._recorded - before
            self._told = 0 if storing else self._told
        return found

    async def delivered(self, told: Sequence[Mapping[str, Any]], stored: bool) -> None:
        """A status with these events, as `due` gave them, was answered with success; `stored` if
        the hub had said before that it stores events.

        One that says so only now may have let these go, and is told them again.
        """
        now = self._clock.time()
        rows = [(STORED if stored else TOLD, event["seq"]) for event in told]

        def work(connection: sqlite3.Connection) -> Tuple[int, int]:
            connection.executemany("UPDATE events SET delivered = ? WHERE seq = ?", rows)
            bound(connection, self._max_rows, now)
            return _count(connection)

        before = self._recorded
        left, self._told = await self._database.run(work)
        # What was recorded while we waited stands behind us in the queue, and was not counted.
        self._new = left + self._recorded - before

    async def recent(self, limit: int) -> List[Dict[str, Any]]:
        """The newest events, newest first, delivered or not."""
        return await self._database.run(
            lambda connection: self._select(connection, "1", "seq DESC", limit)
        )

    @property
    def undelivered(self) -> int:
        """How many are `due`."""
        return self._new + (self._told if self._storing() else 0)

    def close(self) -> None:
        """The last event is recorded: the next start goes on with the next number."""
        self._database.post(lambda connection: connection.execute(f"PRAGMA user_version={CLOSED}"))

    # In the database's thread

    def _open(self, connection: sqlite3.Connection) -> None:
        (state,) = connection.execute("PRAGMA user_version").fetchone()
        if state == IN_USE:  # by a run that had no end
            connection.execute(
                "UPDATE sqlite_sequence SET seq = MAX(seq + ?, ?) WHERE name = 'events'",
                (MAY_BE_UNDONE, _seed(self._clock.time())),
            )
        connection.execute(f"PRAGMA user_version={IN_USE}")

    def _select(
        self, connection: sqlite3.Connection, where: str, order: str, limit: int
    ) -> List[Dict[str, Any]]:
        query = (
            f"SELECT seq, kind, at, data, boot, clock FROM events WHERE {where}"  # noqa: S608
            f" ORDER BY {order} LIMIT ?"
        )
        return [
            {
                "seq": seq,
                "kind": kind,
                "at": round(self._true_time(at, boot, clock), 3),
                "data": _loads(data),
            }
            for seq, kind, at, data, boot, clock in connection.execute(query, (limit,))
        ]

    def _true_time(self, at: float, boot: str, clock: float) -> float:
        if not boot or boot != self._boot:
            return at
        true = self._now() - (self._clock.monotonic() - clock)
        return true if abs(true - at) > WRONG_BY else at


def bound(connection: sqlite3.Connection, max_rows: int, now: float) -> None:
    """Keep the table within its limit; say in a `gap` event what went untold."""
    connection.execute(
        "DELETE FROM events WHERE delivered = ? AND seq <= (SELECT COALESCE(MAX(seq), 0) FROM "
        "events) - ?",
        (STORED, KEEP_DELIVERED),
    )
    (rows,) = connection.execute("SELECT COUNT(*) FROM events").fetchone()
    if rows > max_rows:
        rows -= connection.execute(
            "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE delivered = ? "
            "ORDER BY seq LIMIT ?)",
            (TOLD, rows - max_rows),
        ).rowcount
    if rows <= max_rows:
        return
    first, last = connection.execute("SELECT MIN(at), MAX(at) FROM events").fetchone()
    before = rows
    connection.execute(
        "DELETE FROM events WHERE kind = ? AND delivered = ? AND seq % 2 = 0", (SAMPLE, NEW)
    )
    (rows,) = connection.execute("SELECT COUNT(*) FROM events").fetchone()
    if rows > max_rows - 1:
        connection.execute(
            "DELETE FROM events WHERE seq IN (SELECT seq FROM events ORDER BY seq LIMIT ?)",
            (rows - max_rows + 1,),
        )
        (rows,) = connection.execute("SELECT COUNT(*) FROM events").fetchone()
    data = {"dropped": before - rows, "between": [first, last]}
    connection.execute(
        "INSERT INTO events (kind, at, data) VALUES (?, ?, ?)", (GAP, now, json.dumps(data))
    )


def _seed(at: float) -> int:
    return max(int((at - NUMBERS_FROM) * NUMBERS_A_SECOND), 0)


def _count(connection: sqlite3.Connection) -> Tuple[int, int]:
    """How many were not told, and how many were told in vain."""
    return connection.execute(
        "SELECT COALESCE(SUM(delivered = ?), 0), COALESCE(SUM(delivered = ?), 0) FROM events",
        (NEW, TOLD),
    ).fetchone()


def _loads(text: str) -> Dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
