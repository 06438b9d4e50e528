"""An event loop in which nothing ever waits: when nobody has anything to do, the clock jumps to
the next moment at which somebody has.

A `Process` is what dies together: from the moment of its death none of its callbacks is run any
more, not even a `finally`, as after SIGKILL. Which process a callback belongs to, its context says.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

TURNS = 100_000  # of the loop within one moment; a busy one has some hundreds


class Stalled(Exception):
    """Nothing is left that could ever happen: something waits for what nobody will do."""


class Spinning(Exception):
    """Something is done again and again, and no time passes: the event loop would be held."""


class Process:
    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.context = contextvars.Context()
        self.context.run(PROCESS.set, self)

    def __repr__(self) -> str:
        return f"<{self.name}{'' if self.alive else ', dead'}>"


PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class _Numbered:
    """Hashed by order of first use and not by address, so that sets have the same order in every
    run."""

    _number: int | None = None
    _numbers = itertools.count()  # one for all loops would do as well: only the order counts

    def __hash__(self) -> int:
        number = self._number
        if number is None:
            number = self._number = next(_Numbered._numbers)
        return number


class _Future(_Numbered, asyncio.Future):  # type: ignore[type-arg]
    pass


class _Task(_Numbered, asyncio.Task):  # type: ignore[type-arg]
    pass


class VirtualLoop(asyncio.BaseEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._turns = 0  # at this moment
        self._selector = self
        self.mistake: BaseException | None = None  # in the world itself
        self._graves: list[Any] = []  # what dead processes held: never to be collected in a story
        _Numbered._numbers = itertools.count()
        self.set_task_factory(self._make_task)
        self.set_exception_handler(lambda loop, context: None)

    def time(self) -> float:
        return self._now

    def play(self, work: Coroutine[Any, Any, Any], process: Process) -> asyncio.Task[Any]:
        """A task of the world's own; a mistake in it ends the story."""
        task = self.create_task(work, context=process.context.copy())
        task.add_done_callback(self._look)
        return task

    def _look(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and self.mistake is None:
            self.mistake = error

    def kill(self, process: Process, *held: Any) -> None:
        """SIGKILL: nothing of it runs from now on. `held` is kept until the loop is closed."""
        process.alive = False
        for handle in itertools.chain(self._ready, self._scheduled):
            context = handle._context
            if context is not None and context.get(PROCESS) is process:
                self._graves.append((handle._callback, handle._args))
                handle.cancel()
        self._graves.append(held)
        self._graves.append(asyncio.all_tasks(self))

    def bury(self) -> None:
        """After the last step: end every coroutine, and forget all."""
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with contextlib.suppress(BaseException):
                task.get_coro().close()  # type: ignore[union-attr]
        self._graves.clear()
        self._ready.clear()
        self._scheduled.clear()
        self.close()

    # What asyncio asks of a loop

    def create_future(self) -> asyncio.Future[Any]:
        return _Future(loop=self)

    def _make_task(self, loop: Any, coro: Any, context: Any = None) -> asyncio.Task[Any]:
        return _Task(coro, loop=loop, context=context)

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        process = PROCESS.get() if context is None else context.get(PROCESS)
        handle = asyncio.Handle(callback, args, self, context)
        if process is not None and not process.alive:
            self._graves.append((callback, args))
            handle.cancel()
            return handle
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> Any:
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, *_args: Any) -> Any:
        raise AssertionError("a thread was asked for")

    def select(self, timeout: float | None) -> Iterable[Any]:
        if timeout is None:
            raise Stalled("nothing is left that could ever happen")
        if timeout > 0 and self._scheduled:
            self._now, self._turns = max(self._now, self._scheduled[0].when()), 0
        self._turns += 1
        if self._turns > TURNS:
            raise Spinning(f"{TURNS} turns of the event loop at {self._now:.1f} s")
        return ()

    def _process_events(self, _events: Iterable[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        pass
