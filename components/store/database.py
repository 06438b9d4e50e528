"""The plugin's own database, served by a thread of its own: the event loop never waits for a disk.

Not Moonraker's database: that has one connection for everybody and costs several fsyncs a write. A
room's table class takes a `Database`, and hands it functions that run as one transaction each.

While the disk refuses, what must be stored before anything is done about it fails at once (`run`);
records that nobody waits for (`post`), and such as must last before they are told (`lasting`), wait
in order until the disk takes them. What is posted in one turn of the event loop is one transaction:
it tells of one moment, and no SIGKILL leaves half of that behind.
"""

import asyncio
import sqlite3
from collections import deque
from pathlib import Path
from typing import Any, Callable, Deque, List, NamedTuple, Optional, Sequence, Tuple, TypeVar

from ..runtime.clock import Clock
from ..runtime.notices import Notices
from ..runtime.worker import Worker
from .sqlite_file import Connect, SqliteFile, StoreUnavailable, Work

T = TypeVar("T")

FILE_NAME = "tecmedhub.db"
RETRY_EVERY = 10.0  # seconds between attempts to write to a disk that refuses
MAX_POSTED = 1000  # jobs that nobody waits for; beyond it the disk has stalled for minutes
CLOSE_WITHIN = 2.0  # seconds that Moonraker's exit may be delayed


class StoreClosed(StoreUnavailable):
    """The store was used before `open` or after `close`."""


class _Posted(NamedTuple):
    work: Work
    durable: bool
    done: "Optional[asyncio.Future[Any]]"  # somebody waits for its end, however long it takes
    parts: Tuple[Any, ...] = ()  # what of one turn this is


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
        self._turn: List[_Posted] = []  # what was posted in this turn of the loop
        self._to_checkpoint = False  # behind that
        self._waiting: Deque[_Posted] = deque()  # for `open`, or for a disk that refuses
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._file: Optional[SqliteFile] = None
        self.refuses = False  # the disk, at the last attempt; until then it may be slow
        self.refusals = 0  # of what had been posted: so often a later transaction came before it
        self._retry: Optional[asyncio.TimerHandle] = None
        self._begun_anew: List[Callable[[], None]] = []
        self._closing: "Optional[asyncio.Future[None]]" = None

    @property
    def writable(self) -> bool:
        """Whether what is stored now will still be there after a restart."""
        return self._file is not None and self._file.writable

    @property
    def behind(self) -> bool:
        """Whether something waits that a transaction of now would not see."""
        return bool(self._waiting)

    @property
    def left_open(self) -> bool:
        """Whether the run before ended without closing it: its last records may be undone."""
        return self._file is not None and self._file.left_open

    @property
    def begun_anew(self) -> bool:
        """Whether the file was damaged and set aside: what stood in it is forgotten."""
        return self._file is not None and self._file.set_aside

    def on_begun_anew(self, listener: Callable[[], None]) -> None:
        """Call `listener()` when that comes to pass: who knows something better stores it again."""
        self._begun_anew.append(listener)

    async def open(self, schemas: Sequence[str]) -> None:
        """Open the file and make its tables. Never raises: a damaged file is set aside, and a disk
        that refuses is asked again; either shows as a notice."""
        if self._loop is not None:
            return
        self._loop = asyncio.get_event_loop()
        file = SqliteFile(self.path, self._tell, self._connect)
        opened = self._worker.submit(file.open, list(schemas))
        self._file = file
        self._submit_waiting()
        await asyncio.shield(opened)

    async def run(self, work: Callable[[sqlite3.Connection], T], *, durable: bool = False) -> T:
        """Run `work(connection)` as one transaction and await its result; with `durable` it is on
        the disk's platter (synchronous=FULL) before this returns. What `work` raises is raised
        here, after a rollback; StoreUnavailable when the disk refuses. A caller that is cancelled
        does not undo the transaction."""
        file = self._open_file
        self._end_turn()
        return await asyncio.shield(self._worker.submit(file.run, work, durable))

    def post(self, work: Work, *, durable: bool = False) -> None:
        """Run `work` some time soon, in order, and do not wait; a failure becomes a notice.

        Before `open`, and while the disk refuses, it waits; after `close` it is dropped. So is what
        comes on top of very much, unless it is `durable`: of that there is little, and what it
        tells would not be told again.
        """
        if self._posted >= MAX_POSTED and not durable:
            self._notices.show(
                "store_busy",
                "The disk under {folder} is so slow that records are being left out: check the"
                " SD card.",
                folder=self.path.parent,
            )
            return
        self._post(_Posted(work, durable, None))

    def checkpoint(self) -> None:
        """Let what was posted outlive even a write-ahead log of garbage."""
        if self._file is not None and self._closing is None:
            self._to_checkpoint = True
            if not self._turn:
                self._end_turn()

    async def lasting(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """As a durable `run`, however long the disk refuses."""
        done: "asyncio.Future[T]" = asyncio.get_event_loop().create_future()
        self._post(_Posted(work, True, done))
        return await done

    async def close(self) -> None:
        """Finish what waits, at most two seconds, and close. May be called twice, or before
        `open`."""
        if self._closing is None:
            if self._file is None:
                return
            self._submit_waiting()
            self._end_turn()
            self._closing = self._worker.submit(self._file.close)
            if self._retry is not None:
                self._retry.cancel()
        await asyncio.wait([self._closing], timeout=CLOSE_WITHIN)
        self._worker.close()
        while self._waiting:
            self._end(self._waiting.popleft(), None, StoreClosed("The store is closed."))

    # Inside

    @property
    def _open_file(self) -> SqliteFile:
        if self._file is None or self._closing is not None:
            raise StoreClosed("The store is not open.")
        return self._file

    def _post(self, posted: _Posted) -> None:
        if self._closing is not None:
            if posted.done is not None:
                posted.done.set_exception(StoreClosed("The store is closed."))
            return
        self._posted += 1
        if self._file is None or self._waiting:
            self._waiting.append(posted)
        elif posted.done is not None:
            self._end_turn()
            self._submit(posted)
        else:
            if not self._turn:
                asyncio.get_event_loop().call_soon(self._end_turn)
            self._turn.append(posted)

    def _end_turn(self) -> None:
        turn, self._turn = tuple(self._turn), []
        if len(turn) == 1:
            self._submit(turn[0])
        elif turn:
            durable = any(posted.durable for posted in turn)
            self._submit(_Posted(_all_of(turn), durable, None, turn))
        if self._to_checkpoint and self._file is not None:
            self._to_checkpoint = False
            self._worker.submit(self._file.checkpoint)

    def _submit_waiting(self) -> None:
        waiting: List[_Posted] = list(self._waiting)
        self._waiting.clear()
        for posted in waiting:
            self._submit(posted)

    def _submit(self, posted: _Posted) -> None:
        assert self._file is not None
        future = self._worker.submit(self._file.run, posted.work, posted.durable)
        future.add_done_callback(lambda ended: self._ended(posted, ended))

    def _ended(self, posted: _Posted, ended: "asyncio.Future[Any]") -> None:
        error = StoreClosed("The store is closed.") if ended.cancelled() else ended.exception()
        if isinstance(error, StoreUnavailable) and self._closing is None:
            self.refusals += 1
            self._waiting.append(posted)
        elif error is not None and posted.parts and self._closing is None:
            for part in posted.parts:  # what cannot be stored takes none along
                self._submit(part)
        else:
            self._end(posted, None if error is not None else ended.result(), error)

    def _end(self, posted: _Posted, result: Any, error: Optional[BaseException]) -> None:
        self._posted -= max(len(posted.parts), 1)
        if self._posted == 0:
            self._notices.clear("store_busy", "The disk keeps up again.")
        if posted.done is not None:
            if posted.done.done():
                return
            if error is None:
                posted.done.set_result(result)
            else:
                posted.done.set_exception(error)
        elif error is not None:
            self._notices.log_once(
                f"store post {type(error).__name__} {error}",
                "A record could not be stored: {kind}: {error}",
                kind=type(error).__name__,
                error=str(error),
                exc_info=error,
            )

    def _tell(self, key: str, text: str) -> None:
        """From the worker's thread."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._show, key, text)
        except RuntimeError:
            pass  # the loop is closed: nobody looks any more

    def _show(self, key: str, text: str) -> None:
        assert self._loop is not None
        if key == "store":
            self.refuses = bool(text)
        elif text:
            for listener in self._begun_anew:
                listener()
        if text:
            self._notices.show(key, text)
        else:
            self._notices.clear(key, "The data folder can be written again.")
            # Behind the ends that came with this: what was refused last has to be there.
            self._loop.call_soon(self._submit_waiting)
        if not self.writable and self._retry is None and self._closing is None:
            self._retry = self._clock.call_later(RETRY_EVERY, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        if self._closing is None:
            self._worker.submit(self._open_file.probe)


def _all_of(turn: Sequence[_Posted]) -> Work:
    def work(connection: sqlite3.Connection) -> None:
        for posted in turn:
            posted.work(connection)

    return work
