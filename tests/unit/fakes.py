"""Stand-ins that rooms are tested with: a clock the test turns, notices that are lists."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable

from components.runtime.clock import Clock
from components.runtime.notices import Notices


class FakeClock(Clock):
    """Time stands still until `advance`; sleepers wake in order."""

    def __init__(self, wall: float = 1_700_000_000.0) -> None:
        self.wall = wall
        self.mono = 1000.0
        self._timers: list[asyncio.TimerHandle] = []

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.call_later(seconds, lambda: future.done() or future.set_result(None))
        await future

    def call_later(self, seconds: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        loop = asyncio.get_running_loop()
        self._timers.append(asyncio.TimerHandle(self.mono + seconds, callback, (), loop))
        return self._timers[-1]

    def advance(self, seconds: float) -> None:
        self.mono += seconds
        self.wall += seconds
        due = sorted((t for t in self._timers if t.when() <= self.mono), key=lambda t: t.when())
        self._timers = [timer for timer in self._timers if timer.when() > self.mono]
        for timer in due:
            if not timer.cancelled():
                timer._run()

    @property
    def sleeping(self) -> bool:
        """Whether anybody waits for the hands to move."""
        return any(not timer.cancelled() for timer in self._timers)


class Board:
    """What Moonraker would show, but for the time of each warning, and the console would say."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.warnings: dict[str, str] = {}
        self.console: list[str] = []
        self.language = "en"
        self.logger = logging.getLogger("test.tecmedhub")
        self.notices = Notices(
            self.logger,
            clock or FakeClock(),
            lambda text, warn_id: self.warnings.__setitem__(warn_id, _without_time(text)),
            lambda warn_id: self.warnings.pop(warn_id, None) and None,
            self.console.append,
            lambda: self.language,
        )


def _without_time(text: str) -> str:
    return re.sub(r" \((since|desde) [-0-9]+ [:0-9]+\)$", "", text)


WITHIN = 60.0  # true seconds for what must come: a busy machine's disk may take ten


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Wait for something that a thread, another task or a process brings about."""
    end = time.monotonic() + WITHIN
    while not condition():
        assert time.monotonic() < end, f"it never came about: {what or condition}"
        await asyncio.sleep(0.001)


async def settle(rounds: int = 20) -> None:
    """Let every task that can run now, run."""
    for _ in range(rounds):
        await asyncio.sleep(0)
