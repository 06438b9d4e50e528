"""What happened, on disk, until the hub has heard of it: events with their original times and
numbers.

A Raspberry Pi has no clock: what is recorded before the network brings the time bears a wrong one.
So an event also bears the machine's monotonic time, and gets its true one when it is told. A hub
must not take new events for old ones: after a power cut, which may have undone the last of them,
numbers go on above what may have been used, and those of a new database begin above any former
one's. The hub sees the gap.

A hub that does not say that it stores events is told each one once, and has acknowledged nothing:
they are kept for whoever looks, and for the day on which the server learns to store them.

Bounded: beyond `MAX_ROWS` what was told once goes first, then the oldest samples, then the oldest
events. What the hub was never told of is told as a `gap` event.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from ..runtime.clock import Clock
from ..runtime.loose import as_float, as_int, as_text
from ..runtime.messages import Message, all_in_language, parts, restored, say
from ..runtime.redaction import Redactor
from .database import Database
from .sqlite_file import StoreUnavailable

MAX_ROWS = 10_000
MAX_DATA = 4096  # characters of JSON of one event
KEEP_DELIVERED = 200  # rows, for whoever looks at the printer
SAMPLE = "sample"
GAP = "gap"
WRONG_BY = 5.0  # seconds; less is not worth correcting
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
-- JSON: the parts of the texts in `data`, by their names; since 5.2.0
ALTER TABLE events ADD COLUMN made_of TEXT NOT NULL DEFAULT '';
"""


_INSERT = """
INSERT INTO events (seq, kind, at, data, boot, clock, made_of) VALUES (
    1 + COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'events'), ?), ?, ?, ?, ?, ?, ?
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
        language: Callable[[], str] = lambda: "en",
    ) -> None:
        """`now()` is the best knowledge of the time when events are told, unix seconds;
        `storing()` whether the hub keeps what it is told; `language()` is what texts are written
        in: they are kept with their parts, for whoever reads another one.
        """
        self._database = database
        self._redactor = redactor or Redactor()
        self._clock = clock
        self._now = now or clock.time
        self._boot = clock.boot()
        self._max_rows = max_rows
        self._storing = storing
        self._language = language
        self._new = 1  # until counted, there may be some
        self._told = 0
        self._recorded = 0  # since the start
        self._acknowledged: Set[int] = set()  # numbers of which the disk does not know that yet

    async def start(self) -> None:
        before, refusals = self._recorded, self._database.refusals
        if self._database.left_open:
            seed = _seed(self._clock.time())
            await self._database.lasting(
                lambda connection: connection.execute(
                    "UPDATE sqlite_sequence SET seq = MAX(seq + ?, ?) WHERE name = 'events'",
                    (MAY_BE_UNDONE, seed),
                )
            )
        left, self._told = await self._database.lasting(_count)
        self._counted(left, before, refusals)

    def record(self, kind: str, data: Mapping[str, Any]) -> None:
        """Write an event down, in order, without waiting for the disk."""
        text, made_of = self._kept(data)
        if len(text) > MAX_DATA:
            text, made_of = self._kept({"message": say("This event was too large to keep.")})
        at = self._clock.time()
        self._new += 1
        self._recorded += 1
        full = self._recorded % 100 == 0

        row = (_seed(at), kind, at, text, self._boot, self._clock.monotonic(), made_of)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_INSERT, row)
            if full:
                bound(connection, self._max_rows, at)

        self._database.post(work)

    async def due(self, limit: int) -> List[Dict[str, Any]]:
        """The oldest events that the hub has not acknowledged (of one that stores none: that it
        was not told). No disk is touched when there are none, and none are due while it refuses.
        """
        if self.undelivered <= 0:
            return []
        before, refusals = self._recorded, self._database.refusals
        whole = not self._database.behind
        storing = self._storing()
        where = f"delivered <> {STORED}" if storing else f"delivered = {NEW}"
        known = set(self._acknowledged)
        try:
            found = await self._database.run(
                lambda connection: self._select(connection, where, "seq ASC", limit + len(known))
            )
        except StoreUnavailable:
            return []
        found = [event for event in found if event["seq"] not in known][:limit]
        whole = whole and refusals == self._database.refusals and self._database.writable
        if not found and not known and whole:
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

        before, refusals = self._recorded, self._database.refusals
        numbers = {event["seq"] for event in told}
        self._acknowledged |= numbers
        try:
            left, self._told = await self._database.lasting(work)
        except StoreUnavailable:
            return  # we are leaving: they are told once more
        finally:
            self._acknowledged -= numbers
        self._counted(left, before, refusals)

    async def recent(self, limit: int) -> List[Dict[str, Any]]:
        """The newest events, newest first, delivered or not; none from a disk that refuses."""
        try:
            return await self._database.run(
                lambda connection: self._select(connection, "1", "seq DESC", limit)
            )
        except StoreUnavailable:
            return []

    @property
    def undelivered(self) -> int:
        """How many are `due`."""
        return self._new + (self._told if self._storing() else 0)

    def _counted(self, left: int, before: int, refusals: int) -> None:
        """`left` were on the disk after what was recorded `before`; what has come since stands
        behind that in the queue, and so may what was refused: then `due` has to look.
        """
        self._new = left + self._recorded - before
        if refusals != self._database.refusals:
            self._new = max(self._new, 1)

    def _kept(self, data: Mapping[str, Any]) -> Tuple[str, str]:
        """The columns `data` and `made_of`."""
        known = self._redactor.known
        made_of = {
            name: [parts(text) for text in value] if isinstance(value, tuple) else parts(value)
            for name, value in data.items()
            if isinstance(value, Message) or (value and isinstance(value, tuple))
        }
        told = all_in_language(data, self._language())
        text = known(json.dumps(told, ensure_ascii=True, default=str))
        return text, known(json.dumps(made_of)) if made_of else ""

    # In the database's thread

    def _select(
        self, connection: sqlite3.Connection, where: str, order: str, limit: int
    ) -> List[Dict[str, Any]]:
        query = (
            "SELECT seq, kind, at, data, boot, clock, made_of FROM events"  # noqa: S608
            f" WHERE {where} ORDER BY {order} LIMIT ?"
        )
        return [
            {
                "seq": seq,
                "kind": as_text(kind),
                "at": round(self._true_time(at, as_text(boot), clock), 3),
                "data": _restored(_loads(data), _loads(made_of) if made_of else {}),
            }
            for seq, kind, at, data, boot, clock, made_of in connection.execute(query, (limit,))
        ]

    def _true_time(self, noted: Any, boot: str, clock: Any) -> float:
        at = as_float(noted, 0.0)
        if not boot or boot != self._boot:
            return at
        true = self._now() - (self._clock.monotonic() - (as_float(clock, 0.0)))
        return true if abs(true - at) > WRONG_BY else at


def bound(connection: sqlite3.Connection, max_rows: int, now: float) -> None:
    """Keep the table within its limit; say in a `gap` event what went untold."""
    connection.execute(
        "DELETE FROM events WHERE delivered = ? AND seq <= (SELECT COALESCE(MAX(seq), 0) FROM "
        "events) - ?",
        (STORED, KEEP_DELIVERED),
    )
    (rows,) = connection.execute("SELECT COUNT(*) FROM events").fetchone()
    if rows <= max_rows:
        return
    gone = connection.execute(
        "SELECT seq, kind, at, data, delivered FROM events"
        " ORDER BY delivered <> ?, kind <> ?, seq LIMIT ?",
        (TOLD, SAMPLE, rows - max_rows),
    ).fetchall()
    connection.executemany("DELETE FROM events WHERE seq = ?", [(row[0],) for row in gone])
    untold = [row for row in gone if row[4] == NEW]
    if not untold:
        return
    times = [as_float(row[2], 0.0) for row in untold]
    lost = 0
    for _seq, kind, _at, text, _delivered in untold:  # a gap that goes was itself of so many
        lost += (as_int(_loads(text).get("dropped")) or 1) if kind == GAP else 1
    data = {"dropped": lost, "between": [min(times), max(times)]}
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


def _restored(data: Dict[str, Any], made_of: Mapping[str, Any]) -> Dict[str, Any]:
    found: Dict[str, Any] = {}
    for name, value in data.items():
        kept = made_of.get(name)
        if isinstance(value, list) and isinstance(kept, list):
            found[name] = [restored(text, one) for text, one in zip(value, kept)]
        else:
            found[name] = restored(value, kept)
    return found


def _loads(text: Any) -> Dict[str, Any]:
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
