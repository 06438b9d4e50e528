"""A fleet that comes back after its server was gone: 200 plugins in virtual time.

Each is the real reporter, poller, link and back-off on a clock of its own; only the wire is a
function. The server is away for half an hour, long after all have used up their documented retries.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable, Coroutine
from typing import Any

from bench.figures import Figure
from components.hub.client import HubClient
from components.hub.link import Link
from components.hub.outcomes import Exchange, Failure
from components.hub.poller import CommandPoller
from components.runtime.clock import Clock
from components.runtime.notices import Notices
from components.settings.model import LiveSettings, Settings
from components.status.cadence import Cadence
from components.status.reporter import Reporter, ResultBox

PART = "fleet"
PRINTERS = 200
OUTAGE = 1800.0  # seconds
WATCHED = 60.0  # seconds after the server is back
ANSWER = b'{"success": true, "commands": []}'


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        ready: Any = getattr(self, "_ready")  # noqa: B009
        scheduled: Any = getattr(self, "_scheduled")  # noqa: B009
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
        if not ready and scheduled:
            # A little past it: a wait of no time at all would find the clock standing for ever.
            self._now = max(self._now, scheduled[0]._when) + 1e-6
        super()._run_once()  # type: ignore[misc]


class LoopClock(Clock):
    def time(self) -> float:
        return 1_700_000_000.0 + self.monotonic()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class Server:
    """Counts requests by the second; refuses connections during the outage."""

    def __init__(self, start: float) -> None:
        self.gone = (start, start + OUTAGE)
        self.by_second: dict[int, int] = {}

    async def exchange(self, method: str, url: str, **_: Any) -> Exchange:
        now = asyncio.get_running_loop().time()
        self.by_second[int(now)] = self.by_second.get(int(now), 0) + 1
        if self.gone[0] <= now < self.gone[1]:
            await asyncio.sleep(0.01)
            return Exchange(Failure.UNREACHABLE, "The server is gone.")
        await asyncio.sleep(0.02)
        return Exchange(None, "", 200, ANSWER)


class NoJournal:
    undelivered = 0

    async def due(self, limit: int) -> list[dict[str, Any]]:
        return []


def plugin(number: int, server: Any) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    """The loops of one printer, started at a moment of its own."""
    rng = random.Random(number)
    live = LiveSettings(Settings(server_url="http://hub/api.php", printer_token=f"T{number}"))
    clock = LoopClock()
    notices = Notices(_silent(), clock)
    client = HubClient(live, server, clock)
    link = Link(live, notices, clock, rng)
    cadence = Cadence(clock, lambda: live.now.intervals, lambda: True)
    box = ResultBox(lambda limit: [], _nothing)
    journal: Any = NoJournal()
    body = {"token": f"T{number}"}
    reporter = Reporter(client, link, cadence, journal, lambda: dict(body), box, clock)
    poller = CommandPoller(live, client, link, clock)

    async def run() -> None:
        await asyncio.sleep(rng.uniform(0, 5))
        await asyncio.gather(reporter.run(), poller.run())

    return [run]


async def _nothing(results: Any) -> None:
    return None


def _silent() -> Any:
    import logging

    logger = logging.getLogger("bench.fleet")
    logger.disabled = True
    return logger


async def _simulate(printers: int) -> dict[int, int]:
    start = 120.0
    server = Server(start)
    tasks = [asyncio.ensure_future(run()) for n in range(printers) for run in plugin(n, server)]
    await asyncio.sleep(start + OUTAGE + WATCHED + 5)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    back = int(start + OUTAGE)
    return {second: server.by_second.get(second, 0) for second in range(back, back + int(WATCHED))}


def measure(quick: bool) -> list[Figure]:
    loop = VirtualLoop()
    try:
        seconds = loop.run_until_complete(_simulate(50 if quick else PRINTERS))
    finally:
        loop.close()
    mean = sum(seconds.values()) / len(seconds)
    return [
        Figure(PART, "requests a second, mean of the first minute", mean, "requests"),
        Figure(PART, "requests in the busiest second", max(seconds.values()), "requests"),
        Figure(PART, "busiest second against the mean", max(seconds.values()) / mean, "×", 3.0),
    ]
