"""The commands Klippy sends to a micro-controller, carried out on a `Machine`.

What differs from a real firmware: late steps and late pins are done at once and never shut the
board down, and a switch is read at most every millisecond.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple, Type, TypeVar

from . import dictionary
from .dictionary import ADC_MAX, ALWAYS, FREQUENCY, MOVE_QUEUE, PWM_MAX, REASONS
from .machine import Machine, pin_names
from .protocol import ProtocolError, Receiver, encode_frame
from .stepper import Stepper, nearest

STATS_SECONDS = 5.0
SWITCH_TICKS = FREQUENCY // 1000

T = TypeVar("T")


class Shutdown(Exception):
    """The firmware must stop everything; the text is one of `REASONS`."""


class TriggerSync:
    """`trsync`: tells motors to stop when a switch closes, or when Klippy falls silent."""

    def __init__(self) -> None:
        self.armed = False
        self.reason = 0
        self.expire_reason = 0
        self.expires: Optional[int] = None
        self.report_ticks = 0
        self.steppers: List[Stepper] = []
        self.run = 0  # which homing a timer belongs to


class EndStop:
    def __init__(self, pin: str) -> None:
        self.pin = pin
        self.homing = False
        self.next_clock = 0
        self.run = 0


class OutputPin:
    """A digital or PWM pin with its queue of changes and its watchdog (`max_duration`)."""

    def __init__(self, pin: str, scale: int, default: int, max_duration: int, missed: str) -> None:
        self.pin = pin
        self.scale = scale  # the value that means "on all the time"
        self.default = default
        self.max_duration = max_duration
        self.missed = missed
        self.queue: Deque[Tuple[int, int]] = deque()
        self.deadline: Optional[int] = None


class AnalogIn:
    def __init__(self, pin: str) -> None:
        self.pin = pin
        self.run = 0
        self.samples = self.rest_ticks = self.minimum = self.maximum = self.checks = 0
        self.invalid = 0


class Firmware:
    """One board. Feed it with `receive`; call `run_timers` when it says so."""

    def __init__(
        self, machine: Machine, write: Callable[[bytes], None], monotonic: Callable[[], float]
    ) -> None:
        self.machine = machine
        self.boots = 0
        self.shutdown_reason: Optional[str] = None
        self.configured = False
        self.receiver = Receiver(self._deliver, self._acknowledge)
        self._write = write
        self._monotonic = monotonic
        self._dictionary, self._commands, self._responses = dictionary.build_dictionary()
        self._handlers: Dict[str, Callable[..., None]] = {
            name: getattr(self, "_do_" + name) for name in self._commands.by_name
        }
        self._pins = {number: name for name, number in pin_names().items()}
        self._timers: List[Tuple[int, int, Callable[[int], None]]] = []
        self._order = itertools.count()
        self._boot()

    # -- life ------------------------------------------------------------------------------

    def _boot(self) -> None:
        self.boots += 1
        self.shutdown_reason = None
        self.configured = False
        self._crc = 0
        self._objects: Dict[int, Any] = {}
        self._timers.clear()
        self._booted = self._monotonic()
        self.receiver.reset()
        for pin in list(self.machine.outputs):
            self.machine.set_output(pin, 0.0, self._booted)
        self._at(int(STATS_SECONDS * FREQUENCY), self._stats)

    def reboot(self) -> None:
        """What the reset button does. Motors stop where they are, outputs go off."""
        self.settle()
        self._boot()
        self._send("starting")

    def now(self) -> int:
        """Ticks since boot."""
        return int((self._monotonic() - self._booted) * FREQUENCY)

    def receive(self, data: bytes) -> None:
        self.receiver.feed(data)

    def run_timers(self) -> float:
        """Do what is due; returns the seconds until something is due again."""
        while self._timers:
            now = self.now()
            if self._timers[0][0] > now:
                return (self._timers[0][0] - now) / FREQUENCY
            callback = heapq.heappop(self._timers)[2]
            try:
                callback(now)
            except Shutdown as exc:
                self.stop(str(exc))
        return 1.0

    def stop(self, reason: str) -> None:
        """Shut down: motors stop, outputs take the level they have when nobody cares."""
        if self.shutdown_reason is not None:
            return
        self.shutdown_reason = reason
        now = self.now()
        for thing in self._objects.values():
            if isinstance(thing, Stepper):
                thing.stop(now)
            elif isinstance(thing, TriggerSync):
                thing.armed = False
                thing.run += 1
            elif isinstance(thing, EndStop):
                self._end_homing(thing)
            elif isinstance(thing, OutputPin):
                thing.queue.clear()
                thing.deadline = None
                self._drive(thing, thing.default)
        self._send("shutdown", clock=now, static_string_id=REASONS.index(reason) + 2)

    def settle(self) -> None:
        """Bring the carriages to where they are now, before somebody looks at them."""
        now = self.now()
        for thing in self._objects.values():
            if isinstance(thing, Stepper):
                thing.advance(now)

    # -- wire ------------------------------------------------------------------------------

    def _send(self, name: str, **values: Any) -> None:
        payload = self._responses.by_name[name].encode(values)
        self._write(encode_frame(self.receiver.sequence, payload))

    def _acknowledge(self) -> None:
        self._write(encode_frame(self.receiver.sequence))

    def _deliver(self, payload: bytes) -> None:
        boots = self.boots
        try:
            for name, values in self._commands.parse(payload):
                if self.shutdown_reason is not None and name not in ALWAYS:
                    number = REASONS.index(self.shutdown_reason) + 2
                    self._send("is_shutdown", static_string_id=number)
                    continue
                self._handlers[name](**values)
                if boots != self.boots:
                    return
        except ProtocolError:
            self.stop("Command parser error")
        except Shutdown as exc:
            self.stop(str(exc))

    def _at(self, clock: int, callback: Callable[[int], None]) -> None:
        heapq.heappush(self._timers, (clock, next(self._order), callback))

    def _get(self, oid: int, kind: Type[T]) -> T:
        thing = self._objects.get(oid)
        if not isinstance(thing, kind):
            raise Shutdown("Invalid oid type")
        return thing

    def _clock(self, clock32: int) -> int:
        return nearest(clock32, self.now())

    # -- the board -------------------------------------------------------------------------

    def _do_identify(self, offset: int, count: int) -> None:
        data = self._dictionary[offset : offset + count]
        self._send("identify_response", offset=offset, data=data)

    def _do_get_uptime(self) -> None:
        now = self.now()
        self._send("uptime", high=now >> 32, clock=now)

    def _do_get_clock(self) -> None:
        self._send("clock", clock=self.now())

    def _do_get_config(self) -> None:
        self._send(
            "config",
            is_config=self.configured,
            crc=self._crc,
            is_shutdown=self.shutdown_reason is not None,
            move_count=MOVE_QUEUE,
        )

    def _do_allocate_oids(self, count: int) -> None:
        self._objects.clear()

    def _do_finalize_config(self, crc: int) -> None:
        self.configured, self._crc = True, crc

    def _do_emergency_stop(self) -> None:
        self.stop("Command request")

    def _do_clear_shutdown(self) -> None:
        self.shutdown_reason = None

    def _do_reset(self) -> None:
        self.reboot()

    def _do_debug_nop(self) -> None:
        pass

    def _stats(self, now: int) -> None:
        # A board that is almost idle: Klippy divides by the count.
        self._send("stats", count=1000, sum=100000, sumsq=100000)
        self._at(now + int(STATS_SECONDS * FREQUENCY), self._stats)

    # -- steppers --------------------------------------------------------------------------

    def _do_config_stepper(self, oid: int, step_pin: int, **_: int) -> None:
        name = self._pins[step_pin].partition("_")[0]
        self._objects[oid] = Stepper(self.machine.axes[name])

    def _do_queue_step(self, oid: int, interval: int, count: int, add: int) -> None:
        self._get(oid, Stepper).queue(interval, count, add, self.now())

    def _do_set_next_step_dir(self, oid: int, dir: int) -> None:
        self._get(oid, Stepper).set_direction(bool(dir))

    def _do_reset_step_clock(self, oid: int, clock: int) -> None:
        self._get(oid, Stepper).reset_clock(clock)

    def _do_stepper_get_position(self, oid: int) -> None:
        self._send("stepper_position", oid=oid, pos=self._get(oid, Stepper).position(self.now()))

    def _do_stepper_stop_on_trigger(self, oid: int, trsync_oid: int) -> None:
        self._get(trsync_oid, TriggerSync).steppers.append(self._get(oid, Stepper))

    # -- homing ----------------------------------------------------------------------------

    def _do_config_trsync(self, oid: int) -> None:
        self._objects[oid] = TriggerSync()

    def _do_trsync_start(
        self, oid: int, report_clock: int, report_ticks: int, expire_reason: int
    ) -> None:
        sync = self._get(oid, TriggerSync)
        sync.run += 1
        sync.armed = True
        sync.reason = 0
        sync.expire_reason = expire_reason
        sync.expires = None
        sync.report_ticks = report_ticks
        sync.steppers = []
        run = sync.run

        def report(now: int) -> None:
            if sync.armed and sync.run == run:
                self._report(oid, sync, now)
                self._at(now + sync.report_ticks, report)

        if report_ticks:
            self._at(self._clock(report_clock), report)

    def _do_trsync_set_timeout(self, oid: int, clock: int) -> None:
        sync = self._get(oid, TriggerSync)
        sync.expires = self._clock(clock)
        run = sync.run

        def expire(now: int) -> None:
            if sync.armed and sync.run == run and sync.expires is not None and now >= sync.expires:
                self._trigger(oid, sync, sync.expire_reason)

        self._at(sync.expires, expire)

    def _do_trsync_trigger(self, oid: int, reason: int) -> None:
        sync = self._get(oid, TriggerSync)
        if sync.armed:
            self._trigger(oid, sync, reason)
        else:
            self._report(oid, sync, 0)

    def _trigger(self, oid: int, sync: TriggerSync, reason: int) -> None:
        now = self.now()
        sync.armed = False
        sync.reason = reason
        for stepper in sync.steppers:
            stepper.stop(now)
        self._report(oid, sync, now)

    def _report(self, oid: int, sync: TriggerSync, clock: int) -> None:
        self._send(
            "trsync_state",
            oid=oid,
            can_trigger=sync.armed,
            trigger_reason=sync.reason,
            clock=clock,
        )

    def _do_config_endstop(self, oid: int, pin: int, pull_up: int) -> None:
        self._objects[oid] = EndStop(self._pins[pin])

    def _do_endstop_home(
        self,
        oid: int,
        clock: int,
        sample_count: int,
        rest_ticks: int,
        pin_value: int,
        trsync_oid: int,
        trigger_reason: int,
        **_: int
    ) -> None:
        stop = self._get(oid, EndStop)
        self._end_homing(stop)
        if not sample_count:
            return
        sync = self._get(trsync_oid, TriggerSync)
        axis = self.machine.axes[stop.pin.partition("_")[0]]
        self.settle()
        axis.start_homing()
        stop.homing = True
        run = stop.run

        def sample(now: int) -> None:
            if stop.run != run or not sync.armed:
                return
            self.settle()
            if axis.pressed() == bool(pin_value):
                # Klippy takes the time of the trigger from next_clock - rest_ticks.
                stop.next_clock = now + rest_ticks
                self._end_homing(stop)
                self._trigger(trsync_oid, sync, trigger_reason)
                return
            self._at(now + max(rest_ticks, SWITCH_TICKS), sample)

        self._at(self._clock(clock), sample)

    def _end_homing(self, stop: EndStop) -> None:
        stop.homing = False
        stop.run += 1
        self.machine.axes[stop.pin.partition("_")[0]].stop_homing()

    def _do_endstop_query_state(self, oid: int) -> None:
        stop = self._get(oid, EndStop)
        self.settle()
        pressed = self.machine.axes[stop.pin.partition("_")[0]].pressed()
        self._send(
            "endstop_state",
            oid=oid,
            homing=stop.homing,
            next_clock=stop.next_clock,
            pin_value=pressed,
        )

    # -- outputs ---------------------------------------------------------------------------

    def _do_config_digital_out(
        self, oid: int, pin: int, value: int, default_value: int, max_duration: int
    ) -> None:
        missed = "Missed scheduling of next digital out event"
        out = OutputPin(self._pins[pin], 1, default_value, max_duration, missed)
        self._objects[oid] = out
        self._drive(out, value)

    def _do_set_digital_out_pwm_cycle(self, oid: int, cycle_ticks: int) -> None:
        out = self._get(oid, OutputPin)
        out.scale = cycle_ticks
        out.default *= cycle_ticks

    def _do_update_digital_out(self, oid: int, value: int) -> None:
        out = self._get(oid, OutputPin)
        out.queue.clear()
        self._change(oid, out, value * out.scale, self.now())

    def _do_queue_digital_out(self, oid: int, clock: int, on_ticks: int) -> None:
        self._enqueue(oid, clock, on_ticks)

    def _do_set_digital_out(self, pin: int, value: int) -> None:
        self.machine.set_output(self._pins[pin], float(value), self._monotonic())

    def _do_config_pwm_out(
        self, oid: int, pin: int, value: int, default_value: int, max_duration: int, **_: int
    ) -> None:
        missed = "Missed scheduling of next hard pwm event"
        out = OutputPin(self._pins[pin], PWM_MAX, default_value, max_duration, missed)
        self._objects[oid] = out
        self._drive(out, value)

    def _do_queue_pwm_out(self, oid: int, clock: int, value: int) -> None:
        self._enqueue(oid, clock, value)

    def _enqueue(self, oid: int, clock32: int, value: int) -> None:
        out = self._get(oid, OutputPin)
        clock = self._clock(clock32)
        out.queue.append((clock, value))

        def due(now: int) -> None:
            while out.queue and out.queue[0][0] <= now:
                self._change(oid, out, *reversed(out.queue.popleft()))

        self._at(clock, due)

    def _change(self, oid: int, out: OutputPin, value: int, clock: int) -> None:
        """The pin takes a value; a watchdog starts when Klippy must repeat it in time."""
        self._drive(out, value)
        out.deadline = None
        if not out.max_duration or value == out.default:
            return
        out.deadline = clock + out.max_duration

        def expire(now: int) -> None:
            if out.deadline is None or now < out.deadline:
                return
            if self._objects.get(oid) is out and not out.queue:
                raise Shutdown(out.missed)

        self._at(out.deadline, expire)

    def _drive(self, out: OutputPin, value: int) -> None:
        level = min(1.0, value / float(out.scale))
        self.machine.set_output(out.pin, level, self._monotonic())

    # -- inputs ----------------------------------------------------------------------------

    def _do_config_analog_in(self, oid: int, pin: int) -> None:
        self._objects[oid] = AnalogIn(self._pins[pin])

    def _do_query_analog_in(
        self,
        oid: int,
        clock: int,
        sample_ticks: int,
        sample_count: int,
        rest_ticks: int,
        min_value: int,
        max_value: int,
        range_check_count: int,
    ) -> None:
        sensor = self._get(oid, AnalogIn)
        sensor.run += 1
        sensor.samples = sample_count
        sensor.rest_ticks = rest_ticks
        sensor.minimum, sensor.maximum = min_value, max_value
        sensor.checks = range_check_count
        sensor.invalid = 0
        if not sample_count:
            return
        run = sensor.run

        def sample(now: int) -> None:
            if self._objects.get(oid) is not sensor or sensor.run != run:
                return
            following = now + sensor.rest_ticks
            self._at(following, sample)
            ratio = self.machine.read_adc(sensor.pin, self._monotonic())
            value = int(ratio * ADC_MAX * sensor.samples + 0.5)
            self._send("analog_in_state", oid=oid, next_clock=following, value=value)
            if sensor.minimum <= value <= sensor.maximum:
                sensor.invalid = 0
                return
            sensor.invalid += 1
            if sensor.checks and sensor.invalid >= sensor.checks:
                sensor.invalid = 0
                raise Shutdown("ADC out of range")

        self._at(self._clock(clock), sample)
