"""How long the hub may let a request for commands wait. Pure.

A middlebox that forgets a connection over which nothing goes (20 s is not rare) takes the answer
with it, and the command in the answer. So the wait shrinks when none came in its time, and grows
again carefully, for hours not to where one was lost.
"""

from __future__ import annotations

from ..runtime.clock import Clock

SHORTEST_WAIT = 5.0  # seconds
SHRINK = 0.6  # times the wait that got no answer
GROW = 1.25
GROW_AFTER = 20  # waits in a row that were answered when they were over
BELOW_LOST = 0.9  # times the shortest wait that got no answer, for as long as that is remembered
REMEMBERED = 6 * 3600.0  # seconds


class LongPoll:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._longest = float("inf")  # seconds, by what was seen
        self._lost = float("inf")  # seconds; the shortest that got no answer
        self._lost_at = 0.0  # monotonic
        self._in_a_row = 0

    def wait(self, announced: float) -> float:
        """Seconds to ask for, of those that the hub announced; 0 where it does not wait at all."""
        return min(announced, self._longest)

    def answered(self, wait: float, took: float) -> None:
        """An answer came; only one that used up its time says that the line lasts so long."""
        if self._longest == float("inf") or took < 0.9 * wait:
            return
        self._in_a_row += 1
        if self._in_a_row < GROW_AFTER:
            return
        self._in_a_row = 0
        if self._clock.monotonic() - self._lost_at > REMEMBERED:
            self._lost = float("inf")
        self._longest = min(GROW * self._longest, BELOW_LOST * self._lost)

    def lost(self, wait: float, took: float) -> None:
        """No answer came within the wait and some time more, or the connection broke meanwhile."""
        silence = min(wait, took)
        if silence < SHORTEST_WAIT:
            return
        self._in_a_row = 0
        self._lost = min(self._lost, silence)
        self._lost_at = self._clock.monotonic()
        self._longest = max(SHORTEST_WAIT, SHRINK * silence)
