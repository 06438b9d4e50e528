"""Stand-ins that rooms are tested with: a clock the test turns, notices that are lists."""

from __future__ import annotations

import asyncio
import logging

from components.runtime.clock import Clock
from components.runtime.notices import Notices


class FakeClock(Clock):
    """Time stands still until `advance`; sleepers wake in order."""

    def __init__(self, wall: float = 1_700_000_000.0) -> None:
        self.wall = wall
        self.mono = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.mono + seconds, future))
        await future

    def advance(self, seconds: float) -> None:
        self.mono += seconds
        self.wall += seconds
        for due, future in sorted(self._sleepers, key=lambda s: s[0]):
            if due <= self.mono and not future.done():
                future.set_result(None)
        self._sleepers = [s for s in self._sleepers if not s[1].done()]


class Board:
    """What Moonraker would show, and the console would say."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.warnings: dict[str, str] = {}
        self.console: list[str] = []
        self.logger = logging.getLogger("test.tecmedhub")
        self.notices = Notices(
            self.logger,
            clock or FakeClock(),
            lambda text, warn_id: self.warnings.__setitem__(warn_id, text),
            lambda warn_id: self.warnings.pop(warn_id, None) and None,
            self.console.append,
        )


async def settle(rounds: int = 20) -> None:
    """Let every task that can run now, run."""
    for _ in range(rounds):
        await asyncio.sleep(0)
