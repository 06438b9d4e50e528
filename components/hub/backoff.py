"""When to try again: as documented at first, then for ever, at random moments, so that a fleet
does not return in step.
"""

from __future__ import annotations

import random
from typing import Callable

from ..settings.model import Settings

LONGEST = 60.0  # seconds between attempts at the most, however long the outage


class Backoff:
    """Counts failures in a row and says how long to wait after each.

    The first `retries.max_attempts` waits are `base_delay` (doubled each time with
    `exponential_backoff`), each spread by a quarter; from then on a random moment up to `LONGEST`,
    never nearer than `intervals.reconnect_attempt`. There is no giving up.
    """

    def __init__(self, settings: Callable[[], Settings], rng: random.Random) -> None:
        self._settings = settings
        self._rng = rng
        self.failures = 0

    def failed(self) -> float:
        """Count one more failure in a row; seconds to wait now."""
        now = self._settings()
        retries = now.retries
        self.failures += 1
        if self.failures <= retries.max_attempts:
            step = min(self.failures - 1, 16) if retries.exponential_backoff else 0
            delay = min(retries.base_delay * 2.0**step, LONGEST)
            return self._rng.uniform(0.75 * delay, delay)
        return self._rng.uniform(min(now.intervals.reconnect_attempt, LONGEST / 2), LONGEST)

    def succeeded(self) -> None:
        self.failures = 0
