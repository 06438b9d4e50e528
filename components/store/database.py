"""The plugin's own database, served by a thread of its own: the event loop never waits for a disk.

Not Moonraker's database: that has one connection for everybody and costs several fsyncs a write. A
room's table class takes a `Database`, and hands it functions that run as one transaction each.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from pathlib import Path
from typing import Any, Callable, Optional, Sequence, TypeVar

from ..runtime.clock import Clock
from ..runtime.notices import Notices
from ..runtime.records import NamedTuple
from .sqlite_file import RETRY_EVERY, SqliteFile, Work

T = TypeVar("T")

FILE_NAME = "tecmedhub.db"
MAX_POSTED = 1000  # jobs that nobody waits for; beyond it the disk has stalled for minutes
CLOSE_WITHIN = 2.0  # seconds that Moonraker's exit may be delayed


class StoreClosed(Exception):
    """The store was used before `open` or after `close`."""


class _Job(NamedTuple):
    work: Optional[Work]  # None: a checkpoint
    durable: bool
    done: Callable[[Any, Optional[BaseException]], None]


class Database:
    """`<folder>/tecmedhub.db`: WAL mode, one connection, one thread."""

    def __init__(self, folder: Path, notices: Notices, clock: Clock) -> None:
        self.path = folder / FILE_NAME
        self._notices = notices
        self._clock = clock
        self._jobs: "queue.Queue[Optional[_Job]]" = queue.Queue()
        self._posted = 0
        self._dropped = 0
        self._thread: Optional[threading.Thread] = None
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._gone: Optional["asyncio.Future[None]"] = None
        self._file: Optional[SqliteFile] = None
        self._closed = False

    @property
    def writable(self) -> bool:
        """Whether what is stored now will still be there after a restart."""
        return self._file is not None and self._file.on_disk

    async def open(self, schemas: Sequence[str]) -> None:
        """Open the file and make its tables. Never raises: a damaged file is set aside, an unusable
        folder means working in memory; either shows as a notice."""
        if self._thread is not None:
            return
        loop = asyncio.get_event_loop()
        self._loop = loop
        self._closed = False
        self._gone = loop.create_future()
        opened: "asyncio.Future[None]" = loop.create_future()
        self._file = SqliteFile(self.path, self._clock.monotonic, self._tell)
        self._thread = threading.Thread(
            target=self._serve, args=(list(schemas), opened), name="tecmedhub-store", daemon=True
        )
        self._thread.start()
        await opened

    async def run(self, work: Callable[[sqlite3.Connection], T], *, durable: bool = False) -> T:
        """Run `work(connection)` as one transaction and await its result; with `durable` it is on
        the disk's platter (synchronous=FULL) before this returns. What `work` raises is raised
        here, after a rollback. A caller that is cancelled does not undo the transaction."""
        loop = asyncio.get_event_loop()
        future: "asyncio.Future[T]" = loop.create_future()

        def settle(result: Any, error: Optional[BaseException]) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        self._put(_Job(work, durable, settle))
        return await future

    async def checkpoint(self) -> None:
        """Move what is committed out of the write-ahead log: then even its loss undoes nothing."""
        gone: "asyncio.Future[None]" = asyncio.get_event_loop().create_future()
        self._put(_Job(None, False, lambda result, error: _settle(gone)))
        await gone

    def post(self, work: Work, *, durable: bool = False) -> None:
        """Run `work` some time soon, in order, and do not wait; a failure becomes a notice.

        Before `open` it waits for that; after `close` it is dropped.
        """
        if self._posted >= MAX_POSTED:
            self._dropped += 1
            self._notices.show(
                "store_busy",
                f"The disk under {self.path.parent} is so slow that records are being left out:"
                " check the SD card.",
            )
            return

        def settle(result: Any, error: Optional[BaseException]) -> None:
            self._posted -= 1
            if self._posted == 0:
                self._notices.clear("store_busy", "The disk keeps up again.")
            if error is not None:
                self._notices.log_once(
                    f"store post {type(error).__name__} {error}",
                    f"A record could not be stored: {type(error).__name__}: {error}",
                    exc_info=error,
                )

        if self._closed:
            return
        self._posted += 1
        self._jobs.put(_Job(work, durable, settle))

    async def close(self) -> None:
        """Finish what waits, at most two seconds, and close. May be called twice, or before
        `open`."""
        thread, gone = self._thread, self._gone
        self._thread = None
        self._closed = True
        if gone is None:
            return
        if thread is not None:
            self._jobs.put(None)
        await asyncio.wait([gone], timeout=CLOSE_WITHIN)

    # Inside

    def _put(self, job: _Job) -> None:
        if self._thread is None:
            raise StoreClosed("The store is not open.")
        self._jobs.put(job)

    def _serve(self, schemas: Sequence[str], opened: "asyncio.Future[None]") -> None:
        """The thread's whole life."""
        file = self._file
        assert file is not None
        try:
            file.open(schemas)
        finally:
            self._in_loop(lambda: _settle(opened))
        while True:
            try:
                job = self._jobs.get(timeout=None if file.on_disk else RETRY_EVERY)
            except queue.Empty:
                file.try_return()
                continue
            if job is None:
                break
            result, error = None, None
            try:
                if job.work is None:
                    file.checkpoint()
                else:
                    result = file.run(job.work, job.durable)
            except Exception as failure:
                error = failure
            self._in_loop(lambda j=job, r=result, e=error: j.done(r, e))  # type: ignore[misc]
        file.close()
        gone = self._gone
        assert gone is not None
        self._in_loop(lambda: _settle(gone))

    def _tell(self, key: str, text: str) -> None:
        if text:
            self._in_loop(lambda: self._notices.show(key, text))
        else:
            self._in_loop(lambda: self._notices.clear(key, "The data folder can be written again."))

    def _in_loop(self, call: Callable[[], Any]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
