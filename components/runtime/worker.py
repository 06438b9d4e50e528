"""A thread of our own for blocking work (disk, hashing, pictures): bounded, and gone when we leave.

Not Moonraker's default executor, which is shared, nor any `ThreadPoolExecutor`: the interpreter
waits at its exit for the threads of all of them, and a disk or name server that hangs would hold up
Moonraker's. These are daemon threads; whatever must not be cut short is written atomically.
"""

import _thread
import asyncio
import contextlib
import functools
import queue
import threading
from typing import Any, Callable, Iterator, NamedTuple, Optional, TypeVar

T = TypeVar("T")


class _Job(NamedTuple):
    call: Callable[[], Any]
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop


class Worker:
    """One thread, started when there is work for it."""

    def __init__(self, name: str) -> None:
        self._name = f"tecmedhub-{name}"
        self._started = False
        self._closed = False
        self._jobs: "queue.Queue[Optional[_Job]]" = queue.Queue()

    async def run(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Await `function(*args)` run in the thread; what it raises is raised here.

        A caller that is cancelled takes back what has not begun; what has begun goes on alone.
        """
        return await self.submit(function, *args, **kwargs)

    def submit(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> "asyncio.Future[T]":
        """Hand `function(*args)` in; whoever cancels the future takes back what has not begun."""
        if self._closed:
            raise RuntimeError(f"the worker {self._name} is closed")
        loop = asyncio.get_event_loop()
        future: "asyncio.Future[T]" = loop.create_future()
        self._jobs.put(_Job(functools.partial(function, *args, **kwargs), future, loop))
        if not self._started:
            self._started = True
            _start_thread(self._serve, self._name, self._lack_thread)
        return future

    def close(self) -> None:
        """Take no more work and drop what waits; whatever runs now may finish on its own."""
        self._closed = True
        for job in self._waiting():
            job.future.cancel()
        self._jobs.put(None)

    def _waiting(self) -> Iterator[_Job]:
        """Take out what has not begun."""
        try:
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    yield job
        except queue.Empty:
            pass

    def _lack_thread(self, error: RuntimeError) -> None:
        """The system has no thread left for us: what waits fails, the next job tries again."""
        self._started = False
        for job in self._waiting():
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                job.loop.call_soon_threadsafe(_settle, job.future, None, error)

    def _serve(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            if job.future.done():
                continue
            result: Any = None
            failure: Optional[BaseException] = None
            try:
                result = job.call()
            except BaseException as error:
                failure = error
            try:
                job.loop.call_soon_threadsafe(_settle, job.future, result, failure)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more
            del job, result, failure  # not to be kept alive until the next job comes


def _settle(future: "asyncio.Future[Any]", result: Any, failure: Optional[BaseException]) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(result)
    elif isinstance(failure, StopIteration):  # which no future takes
        future.set_exception(RuntimeError(repr(failure)))
    else:
        future.set_exception(failure)


async def aside(function: Callable[..., T], *args: Any) -> T:
    """Await a blocking call that may hang (a name server, a dead disk) in a thread of its own:
    giving up on it delays nobody else's work.
    """
    worker = Worker("aside")
    try:
        return await worker.run(function, *args)
    finally:
        worker.close()


def _start_thread(
    target: Callable[[], Any], name: str, failed: Callable[[RuntimeError], Any]
) -> None:
    """Start a daemon thread, and do not wait until it runs.

    `Thread.start` does wait: on a busy machine for tens of milliseconds, for which the event loop
    would stand still. `failed(error)` is called, here or in another thread, if the system has none.
    """
    thread = threading.Thread(target=target, name=name, daemon=True)
    try:
        _thread.start_new_thread(_start, (thread, failed))
    except RuntimeError as error:
        failed(error)


def _start(thread: threading.Thread, failed: Callable[[RuntimeError], Any]) -> None:
    try:
        thread.start()
    except RuntimeError as error:
        failed(error)
