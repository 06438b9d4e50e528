"""Whether this computer's date may be believed, for what is deleted by its age.

A Raspberry Pi has no clock: until NTP has answered, which a school may forbid for months, its date
is decades off, and all that it wrote meanwhile bears that date.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

from ..runtime.clock import Clock
from ..runtime.loose import as_float
from ..settings.model import LiveSettings

NOTED_EVERY = 600.0  # seconds between two notes of a wrong clock: each is written to the card
MAX_CLOCK_ERROR = 86400.0  # seconds between our clock and the hub's beyond which ages mean nothing


class Calendar:
    """`hub_time()` is unix seconds by the hub's clock, None until it has answered; `recall` and
    `remember` keep a number across restarts.
    """

    def __init__(
        self,
        clock: Clock,
        live: LiveSettings,
        hub_time: Callable[[], Optional[float]],
        recall: Callable[[], Any],
        remember: Callable[[Any], None],
    ) -> None:
        self._clock = clock
        self._live = live
        self._hub_time = hub_time
        self._recall = recall
        self._remember = remember

    def is_right(self) -> bool:
        """Whether our clock is the hub's, more or less; where no hub is set, ours is believed."""
        hub = self._hub_time()
        if hub is None:
            return not self._live.now.complete
        return abs(hub - self._clock.time()) <= MAX_CLOCK_ERROR

    def note(self) -> None:
        """The hub has answered: while our clock is wrong, `wrong_until` goes along."""
        hub = self._hub_time()
        if hub is None or self.is_right() or abs(hub - self.wrong_until) < NOTED_EVERY:
            return
        self._remember(round(hub))

    @property
    def wrong_until(self) -> float:
        """Unix seconds by the hub's clock, 0 if never: what our clock dated before may be younger
        than it seems."""
        return as_float(self._recall(), 0.0)
