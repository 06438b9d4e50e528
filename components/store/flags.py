"""Small things to remember across restarts: the bed needs clearing, remote control was switched off
at the printer."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from typing import Any, Callable, Dict, Tuple

from ..runtime.clock import Clock
from .database import Database
from .sqlite_file import StoreUnavailable, Work

SCHEMA = """
CREATE TABLE IF NOT EXISTS flags (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,      -- JSON
    changed_at REAL NOT NULL  -- unix seconds
);
"""


class Flags:
    """Named JSON values, read from memory and written through."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._values: Dict[str, Any] = {}
        self._asked = 0  # how many writes
        self._written: Dict[str, int] = {}  # the newest of each, for the database's thread
        self.loaded = False  # until then, what is not known may yet be so
        self.forgotten = False  # what a former run remembered was lost with a damaged database
        database.on_begun_anew(self._store_again)

    async def load(self) -> None:
        """Read them all, once; a value that is no JSON counts as absent."""
        if self.loaded:
            return
        rows = await self._database.lasting(
            lambda db: db.execute("SELECT name, value FROM flags").fetchall()
        )
        for name, text in rows:
            try:
                self._values.setdefault(name, json.loads(text))
            except (TypeError, ValueError, RecursionError):
                continue
        self.loaded, self.forgotten = True, self._database.begun_anew

    def get(self, name: str, default: Any = None) -> Any:
        return self._values.get(name, default)

    def put(self, name: str, value: Any) -> None:
        """Remember a JSON value: in force at once, on disk as soon as the disk allows."""
        if self._note(name, value):
            self._database.post(self._write(name), durable=True)
            self._database.checkpoint()

    async def stored(self, name: str, within: float) -> bool:
        """Whether the disk has its value, waiting for that at most so many seconds."""
        if name not in self._values:
            return True
        try:
            await asyncio.wait_for(self._database.lasting(self._write(name)), within)
        except (asyncio.TimeoutError, StoreUnavailable):
            return False
        return True

    def kept(self, name: str) -> Tuple[Callable[[], Any], Callable[[Any], None]]:
        """One of them, for a room that knows nothing of this one: how to recall and to remember
        it.
        """
        return (lambda: self.get(name)), (lambda value: self.put(name, value))

    def _store_again(self) -> None:
        for name in self._values:
            self._database.post(self._write(name), durable=True)

    def _note(self, name: str, value: Any) -> bool:
        if name in self._values and self._values[name] == value:
            return False
        self._values[name] = value
        return True

    def _write(self, name: str) -> Work:
        """Of the value as it is now: a later one must not be on the disk before what was stored
        ahead of it."""
        now, text = self._clock.time(), json.dumps(self._values[name])
        self._asked += 1
        number = self._asked

        def write(db: sqlite3.Connection) -> None:
            if number < self._written.get(name, 0):
                return  # the disk refused it once, and has taken a later one meanwhile
            db.execute("INSERT OR REPLACE INTO flags VALUES (?, ?, ?)", (name, text, now))
            self._written[name] = number

        return write
