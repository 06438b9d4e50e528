"""The computer beside the printer: its clocks, its disk, what stands in for threads.

Blocking work runs in the event loop, in one piece, somewhere within the virtual time that it takes:
a crash finds it done or not begun, as a transaction. SQLite is the real one; the disk sees its
statements.
"""

from __future__ import annotations

import asyncio
import functools
import random
import sqlite3
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.runtime.clock import Clock
from components.runtime.worker import Worker

from .loop import VirtualLoop

EPOCH = 1_796_000_000.0  # unix seconds, when a story begins: 2026-11-30
WAL = ("", "-wal")


class Machine:
    """Its power can be cut: then its clock is wrong until it hears the time, and the disk keeps
    what was synced."""

    def __init__(self, loop: VirtualLoop, rng: random.Random, folder: Path) -> None:
        self.loop = loop
        self.disk = Disk(loop, rng, folder)
        self.outlet = Outlet(loop, True)
        self.boots = 1
        self._booted_at = 0.0
        self._wrong_by = 0.0  # seconds that the wall clock lags behind
        self._right_at = 0.0  # when it hears the time (loop time)

    def cut_power(self, wrong_by: float, right_after: float) -> None:
        self.boots += 1
        self._booted_at = self.loop.time()
        self._wrong_by = wrong_by
        self._right_at = self.loop.time() + right_after
        self.disk.lose_unsynced()

    def wall(self) -> float:
        now = self.loop.time()
        return EPOCH + now - (self._wrong_by if now < self._right_at else 0.0)

    def uptime(self) -> float:
        return 1000.0 + self.loop.time() - self._booted_at


class Outlet:
    """The plug that feeds the printer, as Moonraker's [power] switches it."""

    def __init__(self, loop: VirtualLoop, works: bool) -> None:
        self._loop = loop
        self.works = works
        self.state = "on"
        self.on_off: Callable[[], None] = lambda: None

    async def switch(self, state: str) -> str:
        """What it is then."""
        await asyncio.sleep(0.2)
        if self.works and state != self.state:
            self.state = state
            if state == "off":
                self.on_off()
        return self.state


class MachineClock(Clock):
    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def time(self) -> float:
        return self._machine.wall()

    def monotonic(self) -> float:
        return self._machine.uptime()

    def boot(self) -> str:
        return f"boot-{self._machine.boots}"


class Disk:
    """`track`: the story has a power cut, so what is synced has to be remembered."""

    def __init__(self, loop: VirtualLoop, rng: random.Random, folder: Path) -> None:
        self.folder = folder
        self._loop = loop
        self._rng = rng
        self._slow_until = 0.0
        self._slow_by = 0.0
        self.full = False
        self.track = False
        self.after_work: Callable[[], None] = lambda: None  # something may have changed on it
        self._synced: dict[Path, bytes] = {}
        self._open: list[sqlite3.Connection] = []

    def slow(self, seconds_a_write: float, until: float) -> None:
        self._slow_by, self._slow_until = seconds_a_write, until

    def mend(self) -> None:
        self.full = False
        self._slow_until = 0.0

    def takes(self, writes: bool) -> float:
        """Seconds that the next piece of blocking work takes."""
        rng = self._rng
        if writes and self._loop.time() < self._slow_until:
            return self._slow_by * rng.uniform(0.5, 1.5)
        return rng.uniform(0.002, 0.02) if writes else rng.uniform(0.0005, 0.003)

    def connect(self, *args: Any, **options: Any) -> sqlite3.Connection:
        connection = sqlite3.connect(
            *args, **options, factory=functools.partial(_Connection, disk=self)
        )
        self._open.append(connection)
        return connection

    def before_commit(self) -> None:
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")

    def after_commit(self, database: str, durable: bool) -> None:
        if self.track and durable and database:
            for suffix in WAL:
                path = Path(database + suffix)
                if path.exists():
                    self._synced[path] = path.read_bytes()

    def let_go(self) -> None:
        """The process that held the files is dead."""
        for connection in self._open:
            connection.close()
        self._open.clear()

    def lose_unsynced(self) -> None:
        """After `let_go`. The card may have written all of it nevertheless."""
        if not self.track or self._rng.random() < 0.3:
            return
        for path in self.folder.glob("tecmedhub/tecmedhub.db*"):
            path.unlink()
        for path, content in self._synced.items():
            path.write_bytes(content)


class _Connection(sqlite3.Connection):
    def __init__(self, database: str, *args: Any, disk: Disk, **options: Any) -> None:
        super().__init__(database, *args, **options)
        self._disk = disk
        self._file = database if database != ":memory:" and not database.startswith("file:") else ""
        self._durable = False
        self._changes = 0  # up to the last commit or rollback
        self._versioned = False  # a change that SQLite does not count

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        head = sql[:6].upper()
        if head == "COMMIT":
            return self._commit(sql)
        if head == "PRAGMA" and "synchronous=" in sql:
            self._durable = "FULL" in sql or "EXTRA" in sql
        if head == "PRAGMA" and "user_version=" in sql:
            self._versioned = True
        cursor = super().execute(sql, *args)
        if head == "ROLLBA":
            self._over()
        return cursor

    def commit(self) -> None:
        self._commit("COMMIT")

    def _commit(self, sql: str) -> sqlite3.Cursor:
        if not self._file:
            return super().execute(sql)
        if self._versioned or self.total_changes != self._changes:
            self._disk.before_commit()
        cursor = super().execute(sql)
        self._over()
        self._disk.after_commit(self._file, self._durable)
        return cursor

    def _over(self) -> None:
        self._changes, self._versioned = self.total_changes, False


class VirtualWorker(Worker):
    """One piece of work after the other, as the real one; in virtual time, without a thread."""

    def __init__(self, name: str, machine: Machine) -> None:
        self._writes = name == "store"
        self._disk = machine.disk
        self._loop = machine.loop
        self._pending: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()
        self._busy = False
        self._shut = False

    async def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await self.submit(function, *args, **kwargs)

    def submit(
        self, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> asyncio.Future[Any]:
        if self._shut:
            raise RuntimeError("the worker is closed")
        future = self._loop.create_future()
        self._pending.append((functools.partial(function, *args, **kwargs), future))
        if not self._busy:
            self._next()
        return future

    def close(self) -> None:
        self._shut = True
        for _call, future in self._pending:
            future.cancel()
        self._pending.clear()

    def _next(self) -> None:
        self._busy = bool(self._pending)
        if self._pending:
            call, future = self._pending.popleft()
            takes = self._disk.takes(self._writes)
            self._loop.call_later(takes * 0.8, self._work, call, future, takes * 0.2)

    def _work(self, call: Callable[[], Any], future: asyncio.Future[Any], left: float) -> None:
        result, error = None, None
        if not future.done():
            try:
                result = call()
            except Exception as caught:
                error = caught
            self._disk.after_work()
        self._loop.call_later(left, self._settle, future, result, error)

    def _settle(self, future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
        if not future.done():
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        self._next()
