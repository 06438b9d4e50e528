"""The last hour, for the panel's charts: one point every ten seconds, in memory only."""

from __future__ import annotations

import math
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, Callable, Deque, Dict, List, NamedTuple, Optional, Tuple

if TYPE_CHECKING:
    from ..hub.client import Reply
    from ..printer.snapshot import Snapshot
    from ..runtime.clock import Clock

INTERVAL = 10.0  # seconds
POINTS = 360  # an hour
MAX_SERIES = 16  # heaters and sensors; a printer with more shows its heaters first

Reading = Tuple[Optional[float], Optional[float]]  # temperature and target, °C
Packed = Tuple[Tuple[str, ...], bytes]


class Point(NamedTuple):
    at: float  # monotonic: wall time jumps when NTP arrives
    connected: Optional[bool]
    latency: Optional[float]  # seconds, mean of the exchanges since the last point
    names: Tuple[str, ...]  # shared by all points of the same printer
    readings: Tuple[Reading, ...]

    def packed(self) -> Packed:
        """An hour of these as objects would be a tenth of a megabyte."""
        figures = [self.at, math.nan if self.connected is None else float(self.connected)]
        for figure in (self.latency, *(value for pair in self.readings for value in pair)):
            figures.append(math.nan if figure is None else figure)
        return self.names, struct.pack(f"=d{len(figures) - 1}f", *figures)


def unpacked(point: Packed) -> Point:
    names, packed = point
    at, *rest = struct.unpack(f"=d{2 + 2 * len(names)}f", packed)
    connected, latency, *values = (None if math.isnan(value) else value for value in rest)
    readings = tuple(zip(values[::2], values[1::2]))
    return Point(at, None if connected is None else bool(connected), latency, names, readings)


class History:
    def __init__(
        self,
        clock: Clock,
        look: Callable[[], Snapshot],
        connected: Callable[[], Optional[bool]],
    ) -> None:
        self._clock = clock
        self._look = look
        self._connected = connected
        self._points: Deque[Packed] = deque(maxlen=POINTS)
        self._latencies: List[float] = []
        self._names: Tuple[str, ...] = ()

    def exchange_ended(self, body: Any, reply: Reply) -> None:
        """A listener for `Reporter.subscribe`."""
        if reply.ok and len(self._latencies) < POINTS:
            self._latencies.append(reply.seconds)

    def sample(self) -> None:
        """Take the point of this moment; called every `INTERVAL`."""
        snapshot = self._look()
        readings: Dict[str, Reading] = {
            name: (heater.temperature, heater.target) for name, heater in snapshot.heaters.items()
        }
        for name, temperature in snapshot.sensors.items():
            readings.setdefault(name, (temperature, None))
        names = tuple(list(readings)[:MAX_SERIES])
        if names != self._names:
            self._names = names
        seen, self._latencies = self._latencies, []
        self._points.append(
            Point(
                self._clock.monotonic(),
                self._connected(),
                sum(seen) / len(seen) if seen else None,
                self._names,
                tuple(readings[name] for name in names),
            ).packed()
        )

    def as_dict(self, since: float = 0.0) -> Dict[str, Any]:
        """Columns of the points after `since`; all times are unix seconds, latencies milliseconds.

        Where a heater was not there (Klippy restarting), its columns hold null.
        """
        to_wall = self._clock.time() - self._clock.monotonic()
        points = [
            point for point in map(unpacked, self._points) if point.at + to_wall > since + 0.5
        ]
        names: Dict[str, None] = {}
        for point in points:
            names.update(dict.fromkeys(point.names))
        series: Dict[str, Dict[str, List[Optional[float]]]] = {
            name: {"temperature": [], "target": []} for name in names
        }
        for point in points:
            known = dict(zip(point.names, point.readings))
            for name, columns in series.items():
                temperature, target = known.get(name, (None, None))
                columns["temperature"].append(_rounded(temperature))
                columns["target"].append(_rounded(target))
        return {
            "interval": INTERVAL,
            "times": [round(point.at + to_wall, 1) for point in points],
            "connected": [point.connected for point in points],
            "latency": [_rounded(point.latency, 1000.0) for point in points],
            "temperatures": series,
        }


def _rounded(value: Optional[float], factor: float = 1.0) -> Optional[float]:
    return None if value is None else round(value * factor, 1)
