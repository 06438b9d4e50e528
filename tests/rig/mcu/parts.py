"""What a board is made of besides motors: switches, triggers, outputs, inputs.

Each part carries out its own commands; the firmware only finds the part a command is for. Their
timers look at a run number, so that a timer of a past run does nothing.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple

from .dictionary import ADC_MAX, FREQUENCY
from .machine import Axis, Machine
from .stepper import Stepper

SWITCH_TICKS = FREQUENCY // 1000
BUTTON_TICKS = FREQUENCY // 20


class Shutdown(Exception):
    """The firmware must stop everything; the text is one of `dictionary.REASONS`."""


class Core:
    """What parts need of the firmware they belong to."""

    machine: Machine

    def now(self) -> int:
        """Ticks since boot."""
        raise NotImplementedError

    def seconds(self) -> float:
        """The machine's time."""
        raise NotImplementedError

    def clock(self, clock32: int) -> int:
        """The full clock a 32-bit one stands for."""
        raise NotImplementedError

    def at(self, clock: int, callback: Callable[[int], None]) -> None:
        """Call back when that clock is reached, with the clock then."""
        raise NotImplementedError

    def send(self, name: str, **values: Any) -> None:
        raise NotImplementedError

    def settle(self) -> None:
        """Bring the carriages to where they are now."""
        raise NotImplementedError


class TriggerSync:
    """`trsync`: stops motors when a switch closes, or when Klippy falls silent."""

    def __init__(self, core: Core, oid: int) -> None:
        self.armed = False
        self._core = core
        self._oid = oid
        self._reason = 0
        self._expire_reason = 0
        self._expires = 0
        self._steppers: List[Stepper] = []
        self._run = 0

    def start(self, report_clock: int, report_ticks: int, expire_reason: int) -> None:
        self._run += 1
        self._steppers = []
        self._reason = 0
        self._expire_reason = expire_reason
        self.armed = True
        run = self._run

        def report(now: int) -> None:
            if self.armed and self._run == run:
                self._report(now)
                self._core.at(now + report_ticks, report)

        if report_ticks:
            self._core.at(self._core.clock(report_clock), report)

    def add(self, stepper: Stepper) -> None:
        self._steppers.append(stepper)

    def set_timeout(self, clock: int) -> None:
        self._expires = self._core.clock(clock)
        run = self._run

        def expire(now: int) -> None:
            # A later timeout has its own timer.
            if self.armed and self._run == run and now >= self._expires:
                self.trigger(self._expire_reason)

        self._core.at(self._expires, expire)

    def trigger(self, reason: int) -> None:
        now = self._core.now()
        if self.armed:
            self.armed = False
            self._reason = reason
            for stepper in self._steppers:
                stepper.stop(now)
        self._report(now)

    def cancel(self) -> None:
        self.armed = False
        self._run += 1

    def _report(self, clock: int) -> None:
        self._core.send(
            "trsync_state",
            oid=self._oid,
            can_trigger=self.armed,
            trigger_reason=self._reason,
            clock=clock,
        )


class EndStop:
    """`endstop`: looks at a switch while its axis is homing."""

    def __init__(self, core: Core, oid: int, axis: Axis) -> None:
        self._core = core
        self._oid = oid
        self._axis = axis
        self._homing = False
        self._next_clock = 0
        self._run = 0

    def home(
        self, clock: int, rest_ticks: int, pressed: bool, sync: TriggerSync, reason: int
    ) -> None:
        self.cancel()
        self._core.settle()
        self._axis.start_homing()
        self._homing = True
        run = self._run

        def sample(now: int) -> None:
            if self._run != run or not sync.armed:
                return
            self._core.settle()
            if self._axis.pressed() != pressed:
                self._core.at(now + max(rest_ticks, SWITCH_TICKS), sample)
                return
            # Klippy takes the moment of contact from next_clock - rest_ticks.
            self._next_clock = now + rest_ticks
            self.cancel()
            sync.trigger(reason)

        self._core.at(self._core.clock(clock), sample)

    def cancel(self) -> None:
        self._run += 1
        self._homing = False
        self._axis.stop_homing()

    def report(self) -> None:
        self._core.settle()
        self._core.send(
            "endstop_state",
            oid=self._oid,
            homing=self._homing,
            next_clock=self._next_clock,
            pin_value=self._axis.pressed(),
        )


class OutputPin:
    """A digital or PWM pin with its queue of changes and its watchdog (`max_duration`).

    `scale` is the value that means "on all the time", `default` the one nobody has to repeat.
    """

    def __init__(
        self, core: Core, pin: str, scale: int, default: int, max_duration: int, missed: str
    ) -> None:
        self._core = core
        self._pin = pin
        self._scale = scale
        self._default = default
        self._max_duration = max_duration
        self._missed = missed
        self._queue: Deque[Tuple[int, int]] = deque()
        self._deadline: Optional[int] = None

    def set_cycle(self, ticks: int) -> None:
        self._scale = ticks
        self._default *= ticks

    def drive(self, value: int) -> None:
        """Set the level, whatever the watchdog."""
        level = min(1.0, value / float(self._scale))
        self._core.machine.set_output(self._pin, level, self._core.seconds())

    def update(self, on: bool) -> None:
        self._queue.clear()
        self._change(self._core.now(), self._scale if on else 0)

    def queue(self, clock32: int, value: int) -> None:
        clock = self._core.clock(clock32)
        self._queue.append((clock, value))

        def due(now: int) -> None:
            while self._queue and self._queue[0][0] <= now:
                self._change(*self._queue.popleft())

        self._core.at(clock, due)

    def reset(self) -> None:
        self._queue.clear()
        self._deadline = None
        self.drive(self._default)

    def _change(self, clock: int, value: int) -> None:
        self.drive(value)
        self._deadline = None
        if not self._max_duration or value == self._default:
            return
        self._deadline = clock + self._max_duration

        def expire(now: int) -> None:
            if self._deadline is not None and now >= self._deadline and not self._queue:
                raise Shutdown(self._missed)

        self._core.at(self._deadline, expire)


class AnalogIn:
    """`analog_in`: a temperature sensor's converter, read at intervals and checked for range."""

    def __init__(self, core: Core, oid: int, pin: str) -> None:
        self._core = core
        self._oid = oid
        self._pin = pin
        self._run = 0

    def query(
        self, clock: int, samples: int, rest_ticks: int, minimum: int, maximum: int, checks: int
    ) -> None:
        """`checks` readings in a row out of range shut the board down; 0: none do."""
        self._run += 1
        if not samples:
            return
        run = self._run
        invalid = 0

        def sample(now: int) -> None:
            nonlocal invalid
            if self._run != run:
                return
            following = now + rest_ticks
            self._core.at(following, sample)
            ratio = self._core.machine.read_adc(self._pin, self._core.seconds())
            value = int(ratio * ADC_MAX * samples + 0.5)
            self._core.send("analog_in_state", oid=self._oid, next_clock=following, value=value)
            invalid = 0 if minimum <= value <= maximum else invalid + 1
            if checks and invalid >= checks:
                invalid = 0
                raise Shutdown("ADC out of range")

        self._core.at(self._core.clock(clock), sample)


class Buttons:
    """`buttons`: switches that are looked at now and then; each change is told until it has been
    acknowledged.
    """

    def __init__(self, core: Core, oid: int) -> None:
        self._core = core
        self._oid = oid
        self._pins: Dict[int, str] = {}  # by their bit
        self._seen = 0
        self._untold: List[int] = []  # states that Klippy has not acknowledged
        self._acknowledged = 0
        self._run = 0

    def add(self, bit: int, pin: str) -> None:
        self._pins[bit] = pin

    def query(self, clock: int, rest_ticks: int, invert: int) -> None:
        self._run += 1
        run = self._run
        self._seen, self._untold, self._acknowledged = invert, [], 0

        def look(now: int) -> None:
            if self._run != run or not rest_ticks:
                return
            inputs = self._core.machine.inputs
            state = sum(inputs.get(pin, False) << bit for bit, pin in self._pins.items())
            if state != self._seen:
                self._seen = state
                self._untold.append(state)
            if self._untold:
                self._core.send(
                    "buttons_state",
                    oid=self._oid,
                    ack_count=self._acknowledged & 0xFF,
                    state=bytes(self._untold),
                )
            self._core.at(now + max(rest_ticks, BUTTON_TICKS), look)

        self._core.at(self._core.clock(clock), look)

    def acknowledge(self, count: int) -> None:
        del self._untold[:count]
        self._acknowledged += count
