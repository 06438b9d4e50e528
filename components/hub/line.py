"""How good the line to the hub is, told by the exchanges that there are anyway. Pure.

What it is for: on a narrow or lossy line pictures get smaller and rarer, before a status or a
command waits behind one.
"""

from __future__ import annotations

from typing import Any, Dict, Optional

from .outcomes import Exchange, Failure

LARGE = 8_000  # bytes; the time of a smaller request tells of the round trip
PICTURE_SECONDS = 2.0  # that the pictures of a round may take
PICTURE_SHARE = 0.4  # of the line's time, at the most
SMALLEST_PICTURE = 6_000  # bytes; below, nothing is to be seen
AMPLE = 400_000.0  # bytes a second from which nothing has to be spared
BETTER, WORSE = 0.3, 0.6  # how far a new figure moves the old one
TROUBLED = 0.2  # share of exchanges that fail, from which half as much is sent


class LineQuality:
    def __init__(self) -> None:
        self.up: Optional[float] = None  # bytes a second; None: nothing large was sent yet
        self.round_trip: Optional[float] = None  # seconds, of a small request and its answer
        self.failing = 0.0  # share of the last exchanges that the line spoilt

    def seen(self, sent: int, exchange: Exchange) -> None:
        """An exchange has ended that carried `sent` bytes to the hub and did not wait there."""
        spoilt = exchange.failure in (Failure.TIMED_OUT, Failure.UNREACHABLE)
        self.failing += 0.1 * (float(spoilt) - self.failing)
        if sent < LARGE:
            if exchange.failure is None:
                self.round_trip = _moved(self.round_trip, exchange.seconds, BETTER, WORSE)
        elif exchange.failure is None:
            seconds = max(exchange.seconds - (self.round_trip or 0.0), 0.01)
            self.up = _moved(self.up, sent / seconds, WORSE, BETTER)
        elif exchange.failure is Failure.TIMED_OUT and exchange.seconds > 0:
            # Not all of it went out in that time.
            self.up = min(self.up or AMPLE, sent / exchange.seconds / 2)

    def picture_limit(self, limit: int, pictures: int = 1) -> int:
        """The most bytes of a picture, of `limit`, where `pictures` go up together."""
        if self.up is None or self.up >= AMPLE:
            return limit
        room = self.up * PICTURE_SECONDS * (0.5 if self.failing > TROUBLED else 1.0)
        return min(limit, max(int(room / max(pictures, 1)), SMALLEST_PICTURE))

    def rest_after(self, seconds: float) -> float:
        """Seconds in which no picture is sent after one that took so long."""
        if self.up is None or self.up >= AMPLE:
            return 0.0
        return seconds * (1.0 / PICTURE_SHARE - 1.0)

    def as_dict(self) -> Dict[str, Any]:
        """For the panel: bytes a second, seconds, a share, and whether pictures are held back."""
        return {
            "up": None if self.up is None else round(self.up),
            "round_trip": None if self.round_trip is None else round(self.round_trip, 3),
            "failing": round(self.failing, 2),
            "spared": self.up is not None and self.up < AMPLE,
        }


def _moved(old: Optional[float], new: float, when_less: float, when_more: float) -> float:
    if old is None:
        return new
    return old + (when_less if new < old else when_more) * (new - old)
