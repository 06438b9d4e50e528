"""The last hour, for the panel's charts: one point every ten seconds, in memory only."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import (
    TYPE_CHECKING,
    Any,
    Deque,
    Dict,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from ...runtime.loose import as_float
from .base import Args, Pages, Request, Row

if TYPE_CHECKING:
    from ...hub.client import Reply
    from ...hub.link import Link
    from ...printer.klippy import Printer
    from ...runtime.clock import Clock
    from ...runtime.supervisor import Supervisor
    from ...status.reporter import Reporter
    from ..notifications import Notifier

INTERVAL = 10.0  # seconds
POINTS = 360  # an hour
MAX_SERIES = 16  # heaters and sensors; a printer with more shows its heaters first

Reading = Tuple[Optional[float], Optional[float]]  # temperature and target, °C
NO_READING: Reading = (None, None)


class Point(NamedTuple):
    at: float  # monotonic: wall time jumps when NTP arrives
    connected: Optional[bool]
    latency: Optional[float]  # seconds, mean of the exchanges since the last point
    readings: Mapping[str, Reading]


@dataclass(eq=False)
class Charts(Pages):
    printer: Printer
    link: Link
    reporter: Reporter
    supervisor: Supervisor
    clock: Clock
    _points: Deque[Point] = field(default_factory=lambda: deque(maxlen=POINTS), init=False)
    _latencies: List[float] = field(default_factory=list, init=False)

    def rows(self) -> Sequence[Row]:
        return (Row("history", ["GET"], self._since, bundled=True),)

    def follow(self, changes: Notifier) -> None:
        async def run() -> None:
            while True:
                self.sample()
                changes.changed()
                await self.clock.sleep(INTERVAL)

        self.reporter.subscribe(self.exchange_ended)
        self.supervisor.keep("history", run)

    def exchange_ended(self, body: Any, reply: Reply) -> None:
        """A listener for `Reporter.subscribe`."""
        if reply.ok and len(self._latencies) < POINTS:
            self._latencies.append(reply.seconds)

    def sample(self) -> None:
        """Take the point of this moment; called every `INTERVAL`."""
        snapshot = self.printer.snapshot
        readings: Dict[str, Reading] = {
            name: (heater.temperature, heater.target) for name, heater in snapshot.heaters.items()
        }
        for name, temperature in snapshot.sensors.items():
            readings.setdefault(name, (temperature, None))
        shown = dict(list(readings.items())[:MAX_SERIES])
        seen, self._latencies = self._latencies, []
        latency = sum(seen) / len(seen) if seen else None
        self._points.append(Point(self.clock.monotonic(), self.link.connected, latency, shown))

    async def _since(self, request: Request) -> Args:
        """Columns of the points after `since`; all times are unix seconds, latencies milliseconds.

        Where a heater was not there (Klippy restarting), its columns hold null.
        """
        since = as_float(request.args.get("since"), 0.0)
        to_wall = self.clock.time() - self.clock.monotonic()
        points = [point for point in self._points if point.at + to_wall > since + 0.5]
        names = dict.fromkeys(name for point in points for name in point.readings)
        series = {
            name: {
                "temperature": [_rounded(p.readings.get(name, NO_READING)[0]) for p in points],
                "target": [_rounded(p.readings.get(name, NO_READING)[1]) for p in points],
            }
            for name in names
        }
        return {
            "interval": INTERVAL,
            "times": [round(point.at + to_wall, 1) for point in points],
            "connected": [point.connected for point in points],
            "latency": [_rounded(point.latency, 1000.0) for point in points],
            "temperatures": series,
        }


def _rounded(value: Optional[float], factor: float = 1.0) -> Optional[float]:
    return None if value is None else round(value * factor, 1)
