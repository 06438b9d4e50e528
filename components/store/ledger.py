"""Every command the hub ever handed out, and what became of it: received → executing → one final
state.

The hub forgets a command as it hands it out, so this table is the only witness: it decides that an
id is run once, also across crashes, and keeps each result until the hub has acknowledged it. Knows
nothing of printers.
"""

from __future__ import annotations

# ruff: noqa: S608 - the only texts put into queries are constants of this file
import asyncio
import json
import sqlite3
from collections import OrderedDict
from enum import Enum
from typing import Any, Dict, Iterable, List, Optional, Sequence, Set

from ..runtime.records import NamedTuple
from ..runtime.redaction import Redactor
from ..runtime.steps import breathe
from .database import Database

KEEP_SECONDS = 30 * 86400.0
KEEP_ROWS = 10_000
KEPT_RECENT = 200  # rows held in memory for the panel
PRUNE_EVERY = 500  # commands

SCHEMA = """
CREATE TABLE IF NOT EXISTS commands (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,            -- what makes two deliveries the same command
    id TEXT NOT NULL,                    -- the hub's own id, as JSON
    action TEXT NOT NULL,
    summary TEXT NOT NULL,               -- for people
    command TEXT NOT NULL,               -- JSON to run it from after a restart; emptied when final
    status TEXT NOT NULL,
    message TEXT NOT NULL DEFAULT '',
    received_at REAL NOT NULL,           -- unix seconds by the hub's clock
    finished_at REAL,
    boot TEXT NOT NULL DEFAULT '',       -- the machine's boot id when it began to run
    acknowledged INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS commands_open ON commands (acknowledged, status);
"""

_COLUMNS = "seq, key, id, action, summary, command, status, message, received_at, finished_at, boot"


class State(str, Enum):
    RECEIVED = "received"
    EXECUTING = "executing"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    EXPIRED = "expired"
    INTERRUPTED = "interrupted"


FINAL = (State.DONE, State.FAILED, State.REFUSED, State.EXPIRED, State.INTERRUPTED)


class Entry(NamedTuple):
    """A command as it is first written down."""

    key: str
    id: Any  # JSON value
    action: str
    summary: str
    command: str  # JSON
    received_at: float
    status: State = State.RECEIVED  # EXECUTING for what cannot wait to be written down first


class Row(NamedTuple):
    seq: int
    key: str
    id: Any
    action: str
    summary: str
    command: str
    status: State
    message: str
    received_at: float
    finished_at: Optional[float]
    boot: str

    def result(self) -> Dict[str, Any]:
        """As the hub is told."""
        return {
            "id": self.id,
            "action": self.action,
            "status": self.status.value,
            "message": self.message,
            "received_at": _seconds(self.received_at),
            "finished_at": _seconds(self.finished_at or self.received_at),
        }


class Ledger:
    """Times are given by the caller, in unix seconds by the hub's clock. `redactor` keeps secrets
    off the disk: a command may have been handed out with an address that holds the token.
    """

    def __init__(self, database: Database, redactor: Optional[Redactor] = None) -> None:
        self._database = database
        self._redactor = redactor or Redactor()
        # Results not acknowledged, by key; and their keys by the id as JSON, which a hub may use
        # for more than one command.
        self._due: "OrderedDict[str, Dict[str, Any]]" = OrderedDict()
        self._due_keys: Dict[str, List[str]] = {}
        self._recent: "OrderedDict[str, Dict[str, Any]]" = OrderedDict()  # for people, oldest first
        self._since_prune = PRUNE_EVERY  # once soon after the start

    async def load(self) -> List[Row]:
        """Read what a former run left; returns the rows that were not final, in the order of their
        arrival."""

        def read(db: sqlite3.Connection) -> List[List[Row]]:
            final = ",".join(f"'{state.value}'" for state in FINAL)
            queries = (
                f"SELECT {_COLUMNS} FROM commands WHERE status NOT IN ({final}) ORDER BY seq",
                f"SELECT {_COLUMNS} FROM commands WHERE acknowledged = 0 AND status IN ({final})"
                " ORDER BY seq",
                f"SELECT {_COLUMNS} FROM commands ORDER BY seq DESC LIMIT {KEPT_RECENT}",
            )
            return [[_row(found) for found in db.execute(query)] for query in queries]

        unfinished, due, recent = await self._database.lasting(read)
        for index, row in enumerate(due):
            if index % 100 == 99:
                await asyncio.sleep(0)  # after a long outage there are thousands
            self._await_word(row.key, row.result())
        self._recent = OrderedDict((row.key, _for_people(row)) for row in reversed(recent))
        return [row._replace(command=self._redactor.opened(row.command)) for row in unfinished]

    async def receive(self, entries: Sequence[Entry]) -> Set[str]:
        """Write the whole batch down, on disk when this returns; the keys that were new.

        A command that was known already is not written again; its result, if it has one, becomes
        due once more.
        """
        if not entries:
            return set()

        def write(db: sqlite3.Connection) -> List[Any]:
            new, again = [], []
            for index, entry in enumerate(map(self._without_secrets, entries)):
                breathe(index, 5)
                cursor = db.execute(
                    "INSERT OR IGNORE INTO commands (key, id, action, summary, command, status,"
                    " received_at)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        entry.key,
                        json.dumps(entry.id),
                        entry.action,
                        entry.summary,
                        entry.command,
                        entry.status.value,
                        entry.received_at,
                    ),
                )
                if cursor.rowcount:
                    new.append(entry)
                    continue
                db.execute("UPDATE commands SET acknowledged = 0 WHERE key = ?", (entry.key,))
                known = f"SELECT {_COLUMNS} FROM commands WHERE key = ?"
                again.append(_row(db.execute(known, (entry.key,)).fetchone()))
            return [new, again]

        new, again = await self._database.run(write, durable=True)
        fresh = {entry.key for entry in new}
        for row in again:
            if row.status in FINAL and row.key not in fresh:
                self._await_word(row.key, row.result())
        for entry in new[-KEPT_RECENT:]:
            self._remember(entry.key, _for_people(_row_of(entry)))
        self._since_prune += len(fresh)
        if self._since_prune >= PRUNE_EVERY:
            self._since_prune = 0
            await self.prune(max(entry.received_at for entry in entries))
        return fresh

    async def received_by_action(self, action: str) -> Dict[str, float]:
        """When each known command of this action was received, by key."""

        def read(db: sqlite3.Connection) -> Dict[str, float]:
            query = "SELECT key, received_at FROM commands WHERE action = ? ORDER BY seq"
            return dict(db.execute(query, (action,)).fetchall())

        return await self._database.run(read)

    async def begin(self, key: str, boot: str = "") -> None:
        """It is about to run; on disk when this returns, so that a crash can never run it a second
        time."""

        def write(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE commands SET status = ?, boot = ? WHERE key = ?",
                (State.EXECUTING.value, boot, key),
            )

        await self._database.run(write, durable=True)
        if key in self._recent:
            self._recent[key]["status"] = State.EXECUTING.value

    async def finish(
        self, key: str, status: State, message: str, now: float
    ) -> Optional[Dict[str, Any]]:
        """Its final state, once, on disk when this returns: the result for the hub; None if it has
        one already, or was never received."""
        message = self._redactor.known(message)

        def write(db: sqlite3.Connection) -> Optional[Row]:
            found = db.execute(f"SELECT {_COLUMNS} FROM commands WHERE key = ?", (key,)).fetchone()
            if found is None or _row(found).status in FINAL:
                return None
            db.execute(
                "UPDATE commands SET status = ?, message = ?, finished_at = ?, command = '' WHERE"
                " key = ?",
                (status.value, message, now, key),
            )
            return _row(
                db.execute(f"SELECT {_COLUMNS} FROM commands WHERE key = ?", (key,)).fetchone()
            )

        row = await self._database.lasting(write)
        if row is None:
            return None
        result = row.result()
        self._await_word(key, result)
        self._remember(key, _for_people(row))
        return result

    def tell(self, entry: Entry, status: State, message: str, now: float) -> Dict[str, Any]:
        """The final state of what the disk did not take: the result is told from memory, once."""
        row = _row_of(self._without_secrets(entry))._replace(
            status=status, message=self._redactor.known(message), finished_at=now
        )
        self._await_word(row.key, row.result())
        self._remember(row.key, _for_people(row))
        return row.result()

    def due(self, limit: int = 50) -> List[Dict[str, Any]]:
        """Results that the hub has not acknowledged, oldest first."""
        return [dict(result) for result, _ in zip(self._due.values(), range(limit))]

    @property
    def due_count(self) -> int:
        return len(self._due)

    async def acknowledge(self, results: Iterable[Any]) -> None:
        """The hub has them: results as `due` gave them, or their ids alone.

        An id may have another result by now, of a command that the hub was not told of yet.
        """
        taken: Set[str] = set()
        for item in results:
            whole = isinstance(item, dict) and "id" in item
            for key in self._due_keys.get(json.dumps(item["id"] if whole else item), ()):
                if not whole or self._due[key] == item:
                    taken.add(key)
        if not taken:
            return

        def write(db: sqlite3.Connection) -> None:
            db.executemany(
                "UPDATE commands SET acknowledged = 1 WHERE key = ?", [(k,) for k in taken]
            )

        for key in taken:
            self._forget_due(key)
        self._database.post(write)

    def recent(self, limit: int = 50) -> List[Dict[str, Any]]:
        """The newest commands with their states, newest first, for people."""
        return [dict(row) for row, _ in zip(reversed(list(self._recent.values())), range(limit))]

    async def prune(self, now: float) -> None:
        """Forget final commands older than 30 days, and the oldest beyond 10,000."""
        final = ",".join(f"'{state.value}'" for state in FINAL)

        def write(db: sqlite3.Connection) -> None:
            db.execute(
                f"DELETE FROM commands WHERE status IN ({final}) AND received_at < ?",
                (now - KEEP_SECONDS,),
            )
            db.execute(
                f"DELETE FROM commands WHERE status IN ({final}) AND seq <="
                " (SELECT seq FROM commands ORDER BY seq DESC LIMIT 1 OFFSET ?)",
                (KEEP_ROWS,),
            )

        await self._database.run(write)

    def _without_secrets(self, entry: Entry) -> Entry:
        redactor = self._redactor
        return entry._replace(
            action=redactor.known(entry.action),
            summary=redactor.known(entry.summary),
            command=redactor.sealed(entry.command),
        )

    def _await_word(self, key: str, result: Dict[str, Any]) -> None:
        """The hub shall have this result, and say so."""
        if key not in self._due:
            self._due_keys.setdefault(json.dumps(result["id"]), []).append(key)
        self._due[key] = result
        if len(self._due) > KEEP_ROWS:
            self._forget_due(next(iter(self._due)))

    def _forget_due(self, key: str) -> None:
        result = self._due.pop(key, None)
        if result is None:
            return
        ident = json.dumps(result["id"])
        keys = self._due_keys[ident]
        keys.remove(key)
        if not keys:
            del self._due_keys[ident]

    def _remember(self, key: str, shown: Dict[str, Any]) -> None:
        self._recent[key] = shown
        while len(self._recent) > KEPT_RECENT:
            self._recent.popitem(last=False)


def _row(found: Sequence[Any]) -> Row:
    values = list(found)
    try:
        values[2] = json.loads(values[2])
    except ValueError:
        pass
    try:
        values[6] = State(values[6])
    except ValueError:
        values[6] = State.INTERRUPTED
    return Row(*values)


def _row_of(entry: Entry) -> Row:
    return Row(
        0, entry.key, entry.id, entry.action, entry.summary, entry.command, entry.status, "",
        entry.received_at, None, "",
    )  # fmt: skip


def _for_people(row: Row) -> Dict[str, Any]:
    return {
        "id": row.id,
        "action": row.action,
        "summary": row.summary,
        "status": row.status.value,
        "message": row.message,
        "received_at": _seconds(row.received_at),
        "finished_at": None if row.finished_at is None else _seconds(row.finished_at),
    }


def _seconds(value: float) -> float:
    return round(value, 3)
