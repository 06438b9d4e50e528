"""One SQLite file that never fails for long: set aside when it is garbage, kept in memory while the
disk refuses.

Blocking, and used by one thread only (`database.Database` owns that thread).
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any, Callable, List, Optional, Sequence, TypeVar

T = TypeVar("T")

BUSY_TIMEOUT = 5.0  # seconds another process (a person with the sqlite3 shell) may hold the file
RETRY_EVERY = 10.0  # seconds between attempts to go back from memory to the disk
CACHE_KIB = 256  # of pages in memory; SQLite's own 2 MiB would fill up in a long outage
KEPT_BROKEN = 3  # files set aside; older ones are deleted, so that a bad card does not fill up
# What SQLite says when the disk, not the statement, is at fault (sqlite.org/rescode.html; the texts
# are stable).
DISK_WORDS = ("readonly", "read-only", "unable to open", "disk i/o", "is full", "is locked")


Connect = Callable[..., sqlite3.Connection]  # as `sqlite3.connect`


class SqliteFile:
    """`tell(key, text)` reports a standing fault, `tell(key, "")` takes it back."""

    def __init__(
        self,
        path: Path,
        monotonic: Callable[[], float],
        tell: Callable[[str, str], None],
        connect: Connect = sqlite3.connect,
    ) -> None:
        self._path = path
        self._open_connection = connect
        self._monotonic = monotonic
        self._tell = tell
        self._schemas: List[str] = []
        self._connection: Optional[sqlite3.Connection] = None
        self._full = False  # synchronous=FULL is in force
        self._copied = False  # memory holds everything that was on disk
        self._last_try = 0.0
        self.on_disk = False

    def open(self, schemas: Sequence[str]) -> None:
        """Open, repair or replace the file; ends with a usable connection in every case."""
        self._schemas = list(schemas)
        try:
            self._use_disk(self._open_disk())
        except (sqlite3.Error, OSError) as error:
            self._fall_back(error)

    def run(self, work: Callable[[sqlite3.Connection], T], durable: bool) -> T:
        """One transaction. A fault of the disk moves the store into memory and runs `work` there;
        what `work` itself raises is raised again after a rollback."""
        if not self.on_disk and self._monotonic() - self._last_try >= RETRY_EVERY:
            self.try_return()
        try:
            return self._transact(work, durable)
        except sqlite3.DatabaseError as error:
            if not self.on_disk:
                raise
            if _is_broken(error):
                self._replace_broken(error)
            elif _is_disk_fault(error):
                self._fall_back(error)
            else:
                raise
        return self._transact(work, durable)

    def try_return(self) -> None:
        """Put what memory holds back on disk and go on there, if the disk allows it now."""
        self._last_try = self._monotonic()
        memory = self._connection
        if self.on_disk or memory is None:
            return
        try:
            disk = self._open_disk()
        except (sqlite3.Error, OSError):
            return
        try:
            _pour(memory, disk, replace_all=self._copied)
        except sqlite3.Error:
            disk.close()
            return
        memory.close()
        self._use_disk(disk)

    def checkpoint(self) -> None:
        """Write the log into the file itself, as far as nobody else reads it."""
        if self._connection is not None:
            try:
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            except sqlite3.Error:
                pass  # the next transaction will tell

    def close(self) -> None:
        if self._connection is not None:
            try:
                self._connection.close()
            except sqlite3.Error:
                pass
            self._connection = None

    # Inside

    def _transact(self, work: Callable[[sqlite3.Connection], T], durable: bool) -> T:
        connection = self._connection
        if connection is None:
            raise sqlite3.ProgrammingError("the store is closed")
        if durable != self._full:
            connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._full = durable
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            _roll_back(connection)
            raise
        return result

    def _open_disk(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if not _is_broken(error):
                raise
            self._set_aside(error)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        connection = self._open_connection(
            str(self._path), timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict is None or verdict[0] != "ok":
                raise sqlite3.DatabaseError(f"malformed: {verdict}")
            self._create(connection)
            connection.execute("BEGIN IMMEDIATE")  # refused at once where the file is read-only
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    def _create(self, connection: sqlite3.Connection) -> None:
        for schema in self._schemas:
            connection.executescript(schema)

    def _use_disk(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._full = False
        self.on_disk = True
        self._tell("store", "")

    def _fall_back(self, error: Exception) -> None:
        """Go on in memory, with everything that can still be read from the disk."""
        memory = self._open_connection(":memory:", isolation_level=None, check_same_thread=False)
        self._copied = self._copy_into(memory)
        self._create(memory)
        self.close()
        self._connection = memory
        self._full = False
        self.on_disk = False
        self._last_try = self._monotonic()
        self._tell(
            "store",
            f"The folder {self._path.parent} cannot be written ({error}): commands and events are"
            " kept in memory"
            " only, and a restart would lose them. Free some space, or make the folder writable"
            " for Moonraker's user.",
        )

    def _copy_into(self, memory: sqlite3.Connection) -> bool:
        if not self._path.exists():
            return True
        sources: List[Callable[[], sqlite3.Connection]] = []
        current = self._connection
        if current is not None:
            sources.append(lambda: current)
        uri = self._path.resolve().as_uri()
        for mode in (
            "mode=ro",
            "mode=ro&immutable=1",
        ):  # the second reads even where no -shm can be made
            sources.append(lambda query=mode: self._open_connection(f"{uri}?{query}", uri=True))  # type: ignore[misc]
        for source in sources:
            try:
                connection = source()
                connection.backup(memory)
            except (sqlite3.Error, OSError):
                continue
            if connection is not current:
                connection.close()
            return True
        return False

    def _replace_broken(self, error: Exception) -> None:
        self.close()
        try:
            self._set_aside(error)
            self._use_disk(self._connect())
        except (sqlite3.Error, OSError) as second:
            self._fall_back(second)

    def _set_aside(self, error: Exception) -> None:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime())
        aside = self._path.with_name(f"{self._path.name}.broken-{stamp}")
        self._path.replace(aside)
        for suffix in ("-wal", "-shm"):
            extra = self._path.with_name(self._path.name + suffix)
            if extra.exists():
                extra.replace(aside.with_name(aside.name + suffix))
        self._tell(
            "store_broken",
            f"The database {self._path} was damaged ({error}): it was set aside as {aside.name}"
            " and a new one was"
            " begun. Commands and events recorded in it are not reported any more.",
        )
        kept = sorted(self._path.parent.glob(f"{self._path.name}.broken-*[0-9]"))
        for old in kept[:-KEPT_BROKEN]:
            for leftover in old.parent.glob(f"{old.name}*"):
                leftover.unlink()


def _pour(memory: sqlite3.Connection, disk: sqlite3.Connection, replace_all: bool) -> None:
    """Copy all rows of `memory` into `disk`, in one transaction of `disk`."""
    tables = [
        row[0]
        for row in memory.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
    ]
    disk.execute("BEGIN IMMEDIATE")
    try:
        for table in tables:
            if replace_all:
                disk.execute(f'DELETE FROM "{table}"')  # noqa: S608 - names of our own schemas
            rows = memory.execute(f'SELECT * FROM "{table}"')  # noqa: S608
            marks = ",".join("?" * len(rows.description))
            disk.executemany(f'INSERT OR REPLACE INTO "{table}" VALUES ({marks})', rows)  # noqa: S608
        disk.execute("COMMIT")
    except BaseException:
        _roll_back(disk)
        raise


def _roll_back(connection: sqlite3.Connection) -> None:
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        pass  # the failure that brought us here is the one to tell


def _is_broken(error: BaseException) -> bool:
    # SQLite's NOTADB and CORRUPT come as the bare class; its subclasses mean something else.
    return type(error) is sqlite3.DatabaseError


def _is_disk_fault(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, sqlite3.OperationalError) and any(w in text for w in DISK_WORDS)


Work = Callable[[sqlite3.Connection], Any]
