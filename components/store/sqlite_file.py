"""One SQLite file: set aside when it is garbage, still read where it cannot be written, and opened
anew when the disk allows.

Nothing is kept in memory in its place: what was not stored is not there, and whoever wanted it
stored is told (`StoreUnavailable`). Blocking, and used by one thread only (`database.Database`).
"""

from __future__ import annotations

import re
import sqlite3
import time
from pathlib import Path
from typing import Any, Callable, List, Optional, Sequence, TypeVar

from ..runtime.messages import say

T = TypeVar("T")

Connect = Callable[..., sqlite3.Connection]  # as `sqlite3.connect`
Work = Callable[[sqlite3.Connection], Any]

BUSY_TIMEOUT = 5.0  # seconds another process (a person with the sqlite3 shell) may hold the file
CACHE_KIB = 256  # of pages in memory; SQLite's own 2 MiB would fill up in a long outage
KEPT_BROKEN = 3  # files set aside; older ones are deleted, so that a bad card does not fill up
# What SQLite says when the disk, not the statement, is at fault (sqlite.org/rescode.html; the texts
# are stable).
DISK_WORDS = ("readonly", "read-only", "unable to open", "disk i/o", "is full", "is locked")
# Where no file can be written: first with its log, then without (no -shm can be made for that).
READ_ONLY = ("mode=ro", "mode=ro&immutable=1")


class StoreUnavailable(Exception):
    """The disk neither took nor gave what it was asked for; nothing was changed."""


class SqliteFile:
    """`tell(key, text)` reports a standing fault, `tell(key, "")` takes it back."""

    def __init__(
        self, path: Path, tell: Callable[[str, str], None], connect: Connect = sqlite3.connect
    ) -> None:
        self._path = path
        self._tell = tell
        self._open_connection = connect
        self._schemas: List[str] = []
        self._connection: Optional[sqlite3.Connection] = None
        self._writes = False  # the connection was opened for writing
        self._full = False  # synchronous=FULL is in force
        self.writable = False  # as far as is known
        self.set_aside = False  # what was there before, since it was damaged
        self.left_open = False  # the run before had no end: SQLite removes its log as it closes

    def open(self, schemas: Sequence[str]) -> None:
        """Open, repair or replace the file, or tell why it cannot be."""
        self._schemas = list(schemas)
        try:
            self.left_open = self._with("-wal").exists()
        except OSError:
            self.left_open = True
        self._reopen()

    def run(self, work: Callable[[sqlite3.Connection], T], durable: bool) -> T:
        """One transaction; StoreUnavailable when the disk refuses it. What `work` itself raises is
        raised again after a rollback."""
        try:
            try:
                return self._transact(work, durable)
            except sqlite3.DatabaseError as error:
                if not _is_broken(error):
                    raise
                self._replace_broken(error)
                return self._transact(work, durable)
        except sqlite3.DatabaseError as error:
            if not _is_disk_fault(error):
                raise
            self._tell_fault(error)
            raise StoreUnavailable(str(error)) from error

    def checkpoint(self) -> None:
        """Move what is committed out of the log: then even its loss undoes nothing."""
        if self._connection is not None and self._writes:
            try:
                # Read to its end: a statement under way that writes lets no transaction commit.
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            except sqlite3.Error:
                pass  # the next transaction will tell

    def probe(self) -> None:
        """Whether the disk takes something again: a page is written to find out."""
        try:
            if self._writes:
                self._transact(_write_something, durable=False)
                self._mended()
                return
        except sqlite3.Error:
            pass
        self._reopen()

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
            raise StoreUnavailable(say("{path} cannot be opened", path=self._path))
        if durable != self._full:
            connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._full = durable
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if "readonly" not in str(error):
                raise
            connection.execute("BEGIN")  # it can still be read
        try:
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            _roll_back(connection)
            raise
        return result

    def _reopen(self) -> None:
        if not self._writes:
            self.close()  # SQLite would share its read-only memory with the new one
        try:
            connection = self._open_disk()
        except (sqlite3.Error, OSError) as error:
            if self._connection is None:
                self._connection = self._open_to_read()
                self._writes = False
            self._tell_fault(error)
            return
        self.close()
        self._connection, self._writes, self._full = connection, True, False
        self._mended()

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
            # Of a new file: a commit writes some pages, each whole, to a card that wears out by it.
            connection.execute("PRAGMA page_size=1024")
            connection.execute("PRAGMA journal_mode=WAL").fetchall()
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict is None or verdict[0] != "ok":
                raise sqlite3.DatabaseError(f"malformed: {verdict}")
            for schema in self._schemas:
                _make_tables(connection, schema)
            connection.execute("BEGIN IMMEDIATE")
            _write_something(connection)  # refused at once where the disk takes nothing
            connection.execute("COMMIT")
            connection.execute("PRAGMA shrink_memory")  # a tenth of a megabyte that the check read
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_to_read(self) -> Optional[sqlite3.Connection]:
        """What is known (who switched remote control off, say) holds on a read-only disk, too."""
        for query in READ_ONLY:
            try:
                connection = self._open_connection(
                    f"{self._path.resolve().as_uri()}?{query}",
                    uri=True,
                    isolation_level=None,
                    check_same_thread=False,
                )
                connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            except (sqlite3.Error, OSError):
                continue
            return connection
        return None

    def _mended(self) -> None:
        self.writable = True
        self._tell("store", "")

    def _tell_fault(self, error: Exception) -> None:
        self.writable = False
        self._tell(
            "store",
            say(
                "The folder {folder} cannot be written ({error}): commands of the hub are refused,"
                " but for an emergency stop, and events wait in memory, until it can. Free some"
                " space, or make the folder writable for Moonraker's user.",
                folder=self._path.parent,
                error=error,
            ),
        )

    def _replace_broken(self, error: Exception) -> None:
        self.close()
        try:
            self._set_aside(error)
        except OSError as fault:
            self._tell_fault(fault)
            raise StoreUnavailable(str(fault)) from error
        self._reopen()

    def _set_aside(self, error: Exception) -> None:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime())
        aside = self._path.with_name(f"{self._path.name}.broken-{stamp}")
        self._path.replace(aside)
        self.set_aside = True
        for suffix in ("-wal", "-shm"):
            extra = self._with(suffix)
            if extra.exists():
                extra.replace(aside.with_name(aside.name + suffix))
        self._tell(
            "store_broken",
            say(
                "The database {path} was damaged ({error}): it was set aside as {aside} and a new"
                " one was begun. Commands and events recorded in it are not reported any more.",
                path=self._path,
                error=error,
                aside=aside.name,
            ),
        )
        kept = sorted(self._path.parent.glob(f"{self._path.name}.broken-*[0-9]"))
        for old in kept[:-KEPT_BROKEN]:
            for leftover in old.parent.glob(f"{old.name}*"):
                leftover.unlink()

    def _with(self, suffix: str) -> Path:
        return self._path.with_name(self._path.name + suffix)


def _make_tables(connection: sqlite3.Connection, schema: str) -> None:
    """What a schema ends with may add columns, each of which an earlier start may have added."""
    for part in re.split(r"^(?=ALTER TABLE)", schema, flags=re.MULTILINE):
        try:
            connection.executescript(part)
        except sqlite3.OperationalError as error:
            if "duplicate column name" not in str(error):
                raise


def _write_something(connection: sqlite3.Connection) -> None:
    """The number means nothing: a transaction without a change would touch no disk."""
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version={(number + 1) % 1000}")


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
