"""Tasks that must not die: an exception is logged once with its trace, counted, and the task
begins anew.

Moonraker forgets a failed task silently, and a timer that raises is dead for ever; every loop of
ours runs here.
"""

from __future__ import annotations

import asyncio
from typing import Awaitable, Callable, Dict, Set

from .clock import Clock
from .messages import Message, say, sentence
from .notices import Notices

RESTART_DELAYS = (1.0, 2.0, 5.0, 15.0, 60.0)  # a loop that fails at once must not burn a Pi's core
START_WITHIN = 5.0  # seconds that the others wait for a room that starts
HEALTHY_AFTER = 300.0  # a task that ran this long starts again at the first delay


_NOT_UP = sentence(
    "TecMedHub could not start {room} ({error}): it is tried again by itself, and the rest goes on"
    " without. If this stays, look into tecmedhub.log."
)
_NOT_UP_AND_NEEDED = sentence(
    "TecMedHub could not start {room} ({error}): it is tried again by itself, and until then"
    " nothing is told to the hub or taken from it, no emergency stop either: stop the printer at"
    " the printer. If this stays, look into tecmedhub.log and check the SD card."
)
_FAILED = sentence("The task '{name}' failed")
_FAILED_AND_AGAIN = sentence("The task '{name}' failed and starts again")


class Supervisor:
    def __init__(self, notices: Notices, clock: Clock) -> None:
        self._notices = notices
        self._clock = clock
        self._tasks: Dict[str, "asyncio.Task[None]"] = {}
        self._once: Set["asyncio.Task[None]"] = set()
        self.failures: Dict[str, int] = {}  # by task name, for the statistics

    def keep(self, name: str, body: Callable[[], Awaitable[None]]) -> None:
        """Run `body` until it returns or `stop`, anew after each failure."""
        self._tasks[name] = asyncio.ensure_future(self._keep(name, body))

    async def start(
        self, room: Message, work: Callable[[], Awaitable[None]], *, needed: bool = False
    ) -> None:
        """Bring a room up. What fails is told, and tried again until it works; this returns after
        the first attempt, or some seconds of it, since nobody else may be kept away by it. What
        all others go by is `needed`: this returns when it is up, however long that takes.

        `work` may be called again after it has failed at any point.
        """
        tried, up = asyncio.Event(), asyncio.Event()
        key = f"start_{room}"

        def tell(error: str) -> None:
            text = _NOT_UP_AND_NEEDED if needed else _NOT_UP
            self._notices.show(key, text, room=room, error=error)

        async def attempt() -> None:
            try:
                await work()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                tell(str(error) or type(error).__name__)
                raise
            else:
                self._notices.clear(key, "{room}: started after all.", room=room)
                self._tasks.pop(f"start {room}", None)
                up.set()
            finally:
                tried.set()

        self.keep(f"start {room}", attempt)
        waiting = asyncio.ensure_future((up if needed else tried).wait())
        try:
            await asyncio.wait([waiting], timeout=START_WITHIN)
            if needed:
                if not tried.is_set():
                    tell(say("no answer within {seconds} s", seconds=round(START_WITHIN)))
                await waiting
        finally:
            waiting.cancel()

    def stop_starting(self) -> None:
        """We are leaving: what is not up yet need not come up, and would fail at what closes."""
        for name in [name for name in self._tasks if name.startswith("start ")]:
            self._tasks.pop(name).cancel()

    def spawn(self, name: str, work: Awaitable[None]) -> "asyncio.Task[None]":
        """Run `work` once, apart from its caller; a failure is reported, never lost."""
        task = asyncio.ensure_future(self._once_guarded(name, work))
        self._once.add(task)
        task.add_done_callback(self._once.discard)
        if asyncio.iscoroutine(work):  # one cancelled before it began is no mistake to warn of
            task.add_done_callback(lambda _task: work.close())
        return task

    @property
    def running(self) -> Dict[str, bool]:
        return {name: not task.done() for name, task in self._tasks.items()}

    async def finish(self, name: str, timeout: float) -> None:
        """Give a kept task `timeout` seconds to return by itself, then cancel it: also if whoever
        waits for that has no time any more.
        """
        task = self._tasks.pop(name, None)
        if task is None or task.done():
            return
        try:
            await asyncio.wait([task], timeout=timeout)
        finally:
            task.cancel()

    async def stop(self) -> None:
        """Cancel everything and wait until it has gone (at most two seconds)."""
        tasks = [t for t in list(self._tasks.values()) + list(self._once) if not t.done()]
        self._tasks.clear()
        current = asyncio.current_task()
        tasks = [t for t in tasks if t is not current]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=2.0)

    async def _keep(self, name: str, body: Callable[[], Awaitable[None]]) -> None:
        attempt = 0
        while True:
            started = self._clock.monotonic()
            try:
                await body()
                return
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self._report(name, error, again=True)
            if self._clock.monotonic() - started > HEALTHY_AFTER:
                attempt = 0
            await self._clock.sleep(RESTART_DELAYS[min(attempt, len(RESTART_DELAYS) - 1)])
            attempt += 1

    async def _once_guarded(self, name: str, work: Awaitable[None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._report(name, error, again=False)

    def _report(self, name: str, error: Exception, again: bool) -> None:
        self.failures[name] = self.failures.get(name, 0) + 1
        text = _FAILED_AND_AGAIN if again else _FAILED
        self._notices.log_fault(f"task {name}", text, error, name=name)
