"""The plugin's own database, served by a thread of its own: the event loop never waits for a disk.

Not Moonraker's database: that has one connection for everybody and costs several fsyncs a write. A
room's table class takes a `Database`, and hands it functions that run as one transaction each.
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any, Callable, List, Optional, Sequence, Tuple, TypeVar

from ..runtime.clock import Clock
from ..runtime.notices import Notices
from ..runtime.worker import Worker
from .sqlite_file import RETRY_EVERY, Connect, SqliteFile, Work

T = TypeVar("T")

FILE_NAME = "tecmedhub.db"
MAX_POSTED = 1000  # jobs that nobody waits for; beyond it the disk has stalled for minutes
CLOSE_WITHIN = 2.0  # seconds that Moonraker's exit may be delayed


class StoreClosed(Exception):
    """The store was used before `open` or after `close`."""


class Database:
    """`<folder>/tecmedhub.db`: WAL mode, one connection, used by the one thread of `worker`."""

    def __init__(
        self,
        folder: Path,
        notices: Notices,
        clock: Clock,
        worker: Optional[Worker] = None,
        connect: Connect = sqlite3.connect,
    ) -> None:
        self.path = folder / FILE_NAME
        self._notices = notices
        self._clock = clock
        self._worker = worker or Worker("store")
        self._connect = connect
        self._posted = 0
        self._early: List[Tuple[Work, bool]] = []  # posted before `open`
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._file: Optional[SqliteFile] = None
        self._retry: Optional[asyncio.TimerHandle] = None
        self._closing: "Optional[asyncio.Future[None]]" = None

    @property
    def writable(self) -> bool:
        """Whether what is stored now will still be there after a restart."""
        return self._file is not None and self._file.on_disk

    async def open(self, schemas: Sequence[str]) -> None:
        """Open the file and make its tables. Never raises: a damaged file is set aside, an unusable
        folder means working in memory; either shows as a notice."""
        if self._loop is not None:
            return
        self._loop = asyncio.get_event_loop()
        file = SqliteFile(self.path, self._clock.monotonic, self._tell, self._connect)
        opened = self._worker.submit(file.open, list(schemas))
        self._file = file
        early, self._early = self._early, []
        for work, durable in early:
            self._submit_posted(work, durable)
        await asyncio.shield(opened)

    async def run(self, work: Callable[[sqlite3.Connection], T], *, durable: bool = False) -> T:
        """Run `work(connection)` as one transaction and await its result; with `durable` it is on
        the disk's platter (synchronous=FULL) before this returns. What `work` raises is raised
        here, after a rollback. A caller that is cancelled does not undo the transaction."""
        return await asyncio.shield(self._worker.submit(self._open_file.run, work, durable))

    async def checkpoint(self) -> None:
        """Move what is committed out of the write-ahead log: then even its loss undoes nothing."""
        await asyncio.shield(self._worker.submit(self._open_file.checkpoint))

    def post(self, work: Work, *, durable: bool = False) -> None:
        """Run `work` some time soon, in order, and do not wait; a failure becomes a notice.

        Before `open` it waits for that; after `close` it is dropped.
        """
        if self._posted >= MAX_POSTED:
            self._notices.show(
                "store_busy",
                f"The disk under {self.path.parent} is so slow that records are being left out:"
                " check the SD card.",
            )
            return
        if self._closing is not None:
            return
        self._posted += 1
        if self._file is None:
            self._early.append((work, durable))
        else:
            self._submit_posted(work, durable)

    async def close(self) -> None:
        """Finish what waits, at most two seconds, and close. May be called twice, or before
        `open`."""
        if self._closing is None:
            if self._file is None:
                return
            self._closing = self._worker.submit(self._file.close)
            if self._retry is not None:
                self._retry.cancel()
        await asyncio.wait([self._closing], timeout=CLOSE_WITHIN)
        self._worker.close()

    # Inside

    @property
    def _open_file(self) -> SqliteFile:
        if self._file is None or self._closing is not None:
            raise StoreClosed("The store is not open.")
        return self._file

    def _submit_posted(self, work: Work, durable: bool) -> None:
        assert self._file is not None
        self._worker.submit(self._file.run, work, durable).add_done_callback(self._posted_ended)

    def _posted_ended(self, ended: "asyncio.Future[Any]") -> None:
        self._posted -= 1
        if self._posted == 0:
            self._notices.clear("store_busy", "The disk keeps up again.")
        error = None if ended.cancelled() else ended.exception()
        if error is not None:
            self._notices.log_once(
                f"store post {type(error).__name__} {error}",
                f"A record could not be stored: {type(error).__name__}: {error}",
                exc_info=error,
            )

    def _return_later(self) -> None:
        """While memory stands in for the disk: try the disk again now and then."""
        if self._closing is None:
            self._retry = self._clock.call_later(RETRY_EVERY, self._try_return)

    def _try_return(self) -> None:
        if self._closing is None and not self.writable:
            self._worker.submit(self._open_file.try_return)
            self._return_later()

    def _tell(self, key: str, text: str) -> None:
        """From the worker's thread."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._show, key, text)
        except RuntimeError:
            pass  # the loop is closed: nobody looks any more

    def _show(self, key: str, text: str) -> None:
        if not text:
            self._notices.clear(key, "The data folder can be written again.")
            return
        self._notices.show(key, text)
        if not self.writable:
            self._return_later()
