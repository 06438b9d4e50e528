"""When the next status is due, and why: the heartbeat, and news at once. Pure but for the alarm
that wakes the sender.
"""

from __future__ import annotations

from typing import Callable, Set

from ..runtime.alarm import Alarm
from ..runtime.clock import Clock
from ..settings.model import Intervals

COALESCE = 0.05  # seconds: what changes together goes out together, well within the promised 0.3 s
MIN_SPACING = 0.25  # seconds between two updates: at most four a second


def next_due(
    now: float, last_sent: float, first_news: float, intervals: Intervals, idle: bool
) -> float:
    """The moment (monotonic) at which the next status goes out; `first_news` is `inf` while there
    is none.

    >>> from components.settings.model import Intervals
    >>> next_due(10.0, 9.0, float("inf"), Intervals(), False)
    14.0
    >>> next_due(10.0, 9.0, 10.0, Intervals(), False)
    10.05
    """
    heartbeat = last_sent + (
        max(intervals.status_idle, intervals.status_update) if idle else intervals.status_update
    )
    news = max(first_news + COALESCE, last_sent + MIN_SPACING)
    return min(heartbeat, news)


class Cadence:
    """Waits for the next moment to send; `news(reason)` brings it forward."""

    def __init__(
        self, clock: Clock, intervals: Callable[[], Intervals], idle: Callable[[], bool]
    ) -> None:
        self._clock = clock
        self._intervals = intervals
        self._idle = idle
        self._last_sent = float("-inf")
        self._first_news = float("inf")
        self._reasons: Set[str] = set()
        self._alarm = Alarm(clock)

    def news(self, reason: str) -> None:
        """Something changed that the hub should know at once."""
        if self._first_news == float("inf"):
            self._first_news = self._clock.monotonic()
        self._reasons.add(reason)
        self._alarm.ring()

    async def due(self) -> Set[str]:
        """Wait until a status is to be sent; the reasons, empty for a heartbeat."""
        while True:
            now = self._clock.monotonic()
            intervals = self._intervals()
            # Whether it is idle takes a look at the printer, and matters to few.
            idle = intervals.status_idle > intervals.status_update and self._idle()
            left = next_due(now, self._last_sent, self._first_news, intervals, idle) - now
            if left <= 0:
                break
            await self._alarm.wait(left)
        return self.taken()

    def taken(self) -> Set[str]:
        """A status is being made now: all news so far is in it."""
        self._last_sent = self._clock.monotonic()
        self._first_news = float("inf")
        reasons, self._reasons = self._reasons, set()
        return reasons
