"""The files fetched from the hub: what is ours to replace or to clean up, and what a crash left
half done.

A row is written before the first byte is fetched, and again, durably, before the file appears among
the printer's own. Paths are relative to the gcodes root. Sums are those of the bytes as the hub
sent them; `disk_size` and `disk_mtime_ns` are the file as Moonraker left it (its processors may
rewrite what they are given).
"""

import sqlite3
from enum import Enum
from typing import Any, Dict, List, NamedTuple, Optional

from ..runtime.clock import Clock
from ..runtime.loose import as_float, as_int, as_text
from .database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS downloads (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    hub_name TEXT NOT NULL,
    source TEXT NOT NULL,
    command_id TEXT NOT NULL, -- always ''
    state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    path TEXT NOT NULL DEFAULT '',
    size INTEGER,
    md5 TEXT NOT NULL DEFAULT '',
    sha256 TEXT NOT NULL DEFAULT '',
    disk_size INTEGER,
    disk_mtime_ns INTEGER,
    to_mark INTEGER NOT NULL DEFAULT 0,
    started REAL NOT NULL,
    finished REAL
);
CREATE INDEX IF NOT EXISTS downloads_state ON downloads (state);
-- As `hub.identity.scope`: of the hub that asked for it; since 5.2.0
ALTER TABLE downloads ADD COLUMN hub TEXT NOT NULL DEFAULT '';
"""

KEPT_ROWS = 500  # of those that own no file any more


class DownloadState(str, Enum):
    """`running` and `placing` are what a crash leaves behind; only `done` owns a file."""

    RUNNING = "running"
    PLACING = "placing"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    GONE = "gone"  # deleted, renamed or replaced since


class DownloadRow(NamedTuple):
    id: int
    name: str  # as the command called it
    hub_name: str  # as the hub's list calls it; "" when it came from an address of its own
    source: str  # "hub", or the address without its query
    state: DownloadState
    reason: str
    path: str
    size: Optional[int]
    md5: str
    sha256: str
    disk_size: Optional[int]
    disk_mtime_ns: Optional[int]
    to_mark: bool  # the hub has yet to hear that it is here
    started: float  # unix seconds
    finished: Optional[float]
    hub: str = ""  # that asked for it, as `hub.identity.scope`; "" before 5.2.0


class Downloads:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def begin(
        self,
        name: str,
        hub_name: str,
        source: str,
        size: Optional[int],
        md5: str,
        sha256: str,
        hub: str = "",
    ) -> int:
        """A download starts; sums as announced, empty where they were not. Returns its id."""
        row = (
            name,
            hub_name,
            source,
            DownloadState.RUNNING.value,
            size,
            md5,
            sha256,
            self._clock.time(),
            hub,
        )

        def work(connection: sqlite3.Connection) -> int:
            cursor = connection.execute(
                "INSERT INTO downloads (name, hub_name, source, command_id, state, size, md5, "
                "sha256, started, hub)"
                " VALUES (?, ?, ?, '', ?, ?, ?, ?, ?, ?)",
                row,
            )
            return int(cursor.lastrowid or 0)

        return await self._database.run(work)

    async def placing(self, ident: int, path: str, size: int, md5: str, sha256: str) -> None:
        """The bytes are verified and about to become `path`; sums as found."""
        await self._update(
            ident,
            durable=True,
            state=DownloadState.PLACING,
            path=path,
            size=size,
            md5=md5,
            sha256=sha256,
        )

    async def done(
        self, ident: int, path: str, disk_size: int, disk_mtime_ns: int, to_mark: bool
    ) -> None:
        """`path` is in place; whatever row owned that path before owns it no more."""
        finished = self._clock.time()

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE downloads SET state = ?, reason = 'replaced' WHERE path = ? AND state = "
                "? AND id != ?",
                (DownloadState.GONE.value, path, DownloadState.DONE.value, ident),
            )
            connection.execute(
                "UPDATE downloads SET state = ?, path = ?, disk_size = ?, disk_mtime_ns = ?, "
                "to_mark = ?, finished = ?"
                " WHERE id = ?",
                (
                    DownloadState.DONE.value,
                    path,
                    disk_size,
                    disk_mtime_ns,
                    int(to_mark),
                    finished,
                    ident,
                ),
            )

        await self._database.run(work, durable=True)

    async def ended(self, ident: int, state: DownloadState, reason: str) -> None:
        """`failed`, `interrupted` or `gone`; old rows that own nothing are forgotten on the way."""
        finished = self._clock.time()

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE downloads SET state = ?, reason = ?, to_mark = 0, finished = ? WHERE id "
                "= ?",
                (state.value, reason[:500], finished, ident),
            )
            connection.execute(
                "DELETE FROM downloads WHERE state IN ('failed', 'interrupted', 'gone') AND id "
                "NOT IN"
                " (SELECT id FROM downloads ORDER BY id DESC LIMIT ?)",
                (KEPT_ROWS,),
            )

        await self._database.run(work)

    async def marked(self, ident: int) -> None:
        """The hub has heard of it, or need not hear any more."""
        await self._update(ident, to_mark=0)

    async def touched(self, ident: int, disk_size: int, disk_mtime_ns: int) -> None:
        """The same bytes lie there with another time."""
        await self._update(ident, disk_size=disk_size, disk_mtime_ns=disk_mtime_ns)

    async def unfinished(self) -> List[DownloadRow]:
        return await self._select("state IN ('running', 'placing') ORDER BY id")

    async def owned(self) -> List[DownloadRow]:
        """The files that came from the hub and are still ours, oldest first."""
        return await self._select("state = 'done' ORDER BY finished, id")

    async def owner_of(self, path: str) -> Optional[DownloadRow]:
        rows = await self._select("state = 'done' AND path = ? ORDER BY id DESC LIMIT 1", path)
        return rows[0] if rows else None

    async def named(self, name: str, source: str) -> List[DownloadRow]:
        """Files of ours that commands call `name`, newest first."""
        return await self._select(
            "state = 'done' AND name = ? AND source = ? ORDER BY id DESC", name, source
        )

    async def to_mark(self) -> List[DownloadRow]:
        return await self._select("state = 'done' AND to_mark = 1 ORDER BY id")

    async def recent(self, limit: int = 50) -> List[DownloadRow]:
        """For people: newest first, whatever became of them."""
        return await self._select("1 ORDER BY id DESC LIMIT ?", limit)

    async def _select(self, where: str, *values: Any) -> List[DownloadRow]:
        def work(connection: sqlite3.Connection) -> List[DownloadRow]:
            cursor = connection.execute(f"SELECT {_COLUMNS} FROM downloads WHERE {where}", values)  # noqa: S608
            return [_read(row) for row in cursor.fetchall()]

        return await self._database.run(work)

    async def _update(self, ident: int, *, durable: bool = False, **fields: Any) -> None:
        values: Dict[str, Any] = {
            k: v.value if isinstance(v, Enum) else v for k, v in fields.items()
        }
        changes = ", ".join(f"{name} = ?" for name in values)
        statement = f"UPDATE downloads SET {changes} WHERE id = ?"  # noqa: S608  # our own names

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(statement, (*values.values(), ident))

        await self._database.run(work, durable=durable)


_COLUMNS = (
    "id, name, hub_name, source, state, reason, path, size, md5, sha256, disk_size, "
    "disk_mtime_ns, to_mark, started, finished, hub"
)


def _read(row: Any) -> DownloadRow:
    """Whatever stands in the columns: no row may end a start."""
    try:
        state = DownloadState(row[4])
    except ValueError:
        state = DownloadState.INTERRUPTED
    return DownloadRow(
        id=row[0],
        name=as_text(row[1]),
        hub_name=as_text(row[2]),
        source=as_text(row[3]),
        state=state,
        reason=as_text(row[5]),
        path=as_text(row[6]),
        size=as_int(row[7]),
        md5=as_text(row[8]),
        sha256=as_text(row[9]),
        disk_size=as_int(row[10]),
        disk_mtime_ns=row[11] if isinstance(row[11], int) else None,  # as_int stops at 2**53
        to_mark=bool(row[12]),
        started=as_float(row[13], 0.0),
        finished=as_float(row[14]),
        hub=as_text(row[15]),
    )
