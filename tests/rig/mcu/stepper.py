"""A stepper motor's queue, evaluated only when somebody asks where the carriage is."""

from __future__ import annotations

from collections import deque
from typing import Deque, NamedTuple

from .machine import Axis


def nearest(clock32: int, now: int) -> int:
    """The 64-bit clock with these low 32 bits that is nearest to `now`.

    Klipper's clocks travel as 32 bits and mean "within half a turn of now".
    """
    delta = (clock32 - now) & 0xFFFFFFFF
    return now + (delta - (1 << 32) if delta & 0x80000000 else delta)


class Move(NamedTuple):
    """`steps` steps; step k (from 1) falls at ``start + interval*k + add*k*(k-1)/2``."""

    start: int
    interval: int
    steps: int
    add: int
    sign: int

    def clock_of(self, step: int) -> int:
        return self.start + self.interval * step + self.add * step * (step - 1) // 2

    def steps_until(self, now: int) -> int:
        low, high = 0, self.steps
        while low < high:
            middle = (low + high + 1) // 2
            if self.clock_of(middle) <= now:
                low = middle
            else:
                high = middle - 1
        return low


class Stepper:
    """`config_stepper`: counts steps in its axis; its own position starts at 0 at each boot."""

    def __init__(self, axis: Axis) -> None:
        self.axis = axis
        self._origin = axis.position
        self._moves: Deque[Move] = deque()
        self._done = 0  # steps of the first move that are in the axis already
        self._sign = -1
        self._last = 0  # clock of the last step queued
        # A fresh stepper takes steps before any reset_step_clock; a stopped one does not.
        self._stopped = False

    def reset_clock(self, clock: int) -> None:
        self._last = clock
        self._stopped = False

    def set_direction(self, forward: bool) -> None:
        self._sign = 1 if forward else -1

    def queue(self, interval: int, count: int, add: int, now: int) -> None:
        if self._stopped or count < 1:
            return
        self.advance(now)
        start = self._last
        if not self._moves:
            # After idling the interval has wrapped: only its low 32 bits came over the wire.
            start = nearest(start + interval, now) - interval
        move = Move(start, interval, count, add, self._sign)
        self._last = move.clock_of(count)
        self._moves.append(move)

    def advance(self, now: int) -> None:
        """Make the steps that are due."""
        while self._moves:
            move = self._moves[0]
            done = move.steps_until(now)
            self.axis.position += (done - self._done) * move.sign
            self.axis.steps += done - self._done
            self._done = done
            if done < move.steps:
                return
            self._moves.popleft()
            self._done = 0

    def stop(self, now: int) -> None:
        """Drop what is queued and take nothing more before a reset_step_clock."""
        self.advance(now)
        self._moves.clear()
        self._done = 0
        self._last = 0
        self._stopped = True

    def position(self, now: int) -> int:
        self.advance(now)
        return self.axis.position - self._origin
