"""The commands Klippy sends to a micro-controller, carried out on a `Machine`.

What differs from a real firmware: late steps and late pins are done at once and never shut the
board down, a switch is read at most every millisecond, a button every 50.
"""

from __future__ import annotations

import heapq
import itertools
from typing import Any, Callable, Dict, List, Optional, Tuple, Type, TypeVar

from . import dictionary
from .dictionary import ALWAYS, FREQUENCY, MOVE_QUEUE, PWM_MAX, REASONS
from .machine import Axis, Machine, pin_names
from .parts import AnalogIn, Buttons, Core, EndStop, OutputPin, Shutdown, TriggerSync
from .protocol import ProtocolError, Receiver, encode_frame
from .stepper import Stepper, nearest

STATS_SECONDS = 5.0

T = TypeVar("T")


class Firmware(Core):
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
        self.at(int(STATS_SECONDS * FREQUENCY), self._stats)

    def reboot(self) -> None:
        """What the reset button does. Motors stop where they are, outputs go off."""
        self.settle()
        self._boot()
        self.send("starting")

    def now(self) -> int:
        return int((self._monotonic() - self._booted) * FREQUENCY)

    def seconds(self) -> float:
        return self._monotonic()

    def clock(self, clock32: int) -> int:
        return nearest(clock32, self.now())

    def at(self, clock: int, callback: Callable[[int], None]) -> None:
        heapq.heappush(self._timers, (clock, next(self._order), callback))

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
            elif isinstance(thing, (TriggerSync, EndStop)):
                thing.cancel()
            elif isinstance(thing, OutputPin):
                thing.reset()
        self.send("shutdown", clock=now, static_string_id=REASONS.index(reason) + 2)

    def settle(self) -> None:
        now = self.now()
        for thing in self._objects.values():
            if isinstance(thing, Stepper):
                thing.advance(now)

    # -- wire ------------------------------------------------------------------------------

    def send(self, name: str, **values: Any) -> None:
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
                    self.send("is_shutdown", static_string_id=number)
                    continue
                self._handlers[name](**values)
                if boots != self.boots:
                    return
        except ProtocolError:
            self.stop("Command parser error")
        except Shutdown as exc:
            self.stop(str(exc))

    def _get(self, oid: int, kind: Type[T]) -> T:
        thing = self._objects.get(oid)
        if not isinstance(thing, kind):
            raise Shutdown("Invalid oid type")
        return thing

    def _axis(self, pin: int) -> Axis:
        """The axis a pin belongs to; `Shutdown` when Klippy's configuration names another pin."""
        axis = self.machine.axes.get(self._pins[pin].partition("_")[0])
        if axis is None:
            raise Shutdown("Command parser error")
        return axis

    # -- the board -------------------------------------------------------------------------

    def _do_identify(self, offset: int, count: int) -> None:
        data = self._dictionary[offset : offset + count]
        self.send("identify_response", offset=offset, data=data)

    def _do_get_uptime(self) -> None:
        now = self.now()
        self.send("uptime", high=now >> 32, clock=now)

    def _do_get_clock(self) -> None:
        self.send("clock", clock=self.now())

    def _do_get_config(self) -> None:
        self.send(
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
        self.send("stats", count=1000, sum=100000, sumsq=100000)
        self.at(now + int(STATS_SECONDS * FREQUENCY), self._stats)

    # -- steppers --------------------------------------------------------------------------

    def _do_config_stepper(self, oid: int, step_pin: int, **_: int) -> None:
        self._objects[oid] = Stepper(self._axis(step_pin))

    def _do_queue_step(self, oid: int, interval: int, count: int, add: int) -> None:
        self._get(oid, Stepper).queue(interval, count, add, self.now())

    def _do_set_next_step_dir(self, oid: int, dir: int) -> None:
        self._get(oid, Stepper).set_direction(bool(dir))

    def _do_reset_step_clock(self, oid: int, clock: int) -> None:
        self._get(oid, Stepper).reset_clock(clock)

    def _do_stepper_get_position(self, oid: int) -> None:
        self.send("stepper_position", oid=oid, pos=self._get(oid, Stepper).position(self.now()))

    def _do_stepper_stop_on_trigger(self, oid: int, trsync_oid: int) -> None:
        self._get(trsync_oid, TriggerSync).add(self._get(oid, Stepper))

    # -- homing ----------------------------------------------------------------------------

    def _do_config_trsync(self, oid: int) -> None:
        self._objects[oid] = TriggerSync(self, oid)

    def _do_trsync_start(
        self, oid: int, report_clock: int, report_ticks: int, expire_reason: int
    ) -> None:
        self._get(oid, TriggerSync).start(report_clock, report_ticks, expire_reason)

    def _do_trsync_set_timeout(self, oid: int, clock: int) -> None:
        self._get(oid, TriggerSync).set_timeout(clock)

    def _do_trsync_trigger(self, oid: int, reason: int) -> None:
        self._get(oid, TriggerSync).trigger(reason)

    def _do_config_endstop(self, oid: int, pin: int, **_: int) -> None:
        self._objects[oid] = EndStop(self, oid, self._axis(pin))

    def _do_endstop_home(
        self,
        oid: int,
        clock: int,
        sample_count: int,
        rest_ticks: int,
        pin_value: int,
        trsync_oid: int,
        trigger_reason: int,
        **_: int,
    ) -> None:
        stop = self._get(oid, EndStop)
        if not sample_count:
            stop.cancel()
            return
        sync = self._get(trsync_oid, TriggerSync)
        stop.home(clock, rest_ticks, bool(pin_value), sync, trigger_reason)

    def _do_endstop_query_state(self, oid: int) -> None:
        self._get(oid, EndStop).report()

    # -- outputs ---------------------------------------------------------------------------

    def _do_config_digital_out(
        self, oid: int, pin: int, value: int, default_value: int, max_duration: int
    ) -> None:
        missed = "Missed scheduling of next digital out event"
        self._add_output(
            oid, OutputPin(self, self._pins[pin], 1, default_value, max_duration, missed), value
        )

    def _do_config_pwm_out(
        self, oid: int, pin: int, value: int, default_value: int, max_duration: int, **_: int
    ) -> None:
        missed = "Missed scheduling of next hard pwm event"
        self._add_output(
            oid,
            OutputPin(self, self._pins[pin], PWM_MAX, default_value, max_duration, missed),
            value,
        )

    def _add_output(self, oid: int, output: OutputPin, value: int) -> None:
        self._objects[oid] = output
        output.drive(value)

    def _do_set_digital_out_pwm_cycle(self, oid: int, cycle_ticks: int) -> None:
        self._get(oid, OutputPin).set_cycle(cycle_ticks)

    def _do_update_digital_out(self, oid: int, value: int) -> None:
        self._get(oid, OutputPin).update(bool(value))

    def _do_queue_digital_out(self, oid: int, clock: int, on_ticks: int) -> None:
        self._get(oid, OutputPin).queue(clock, on_ticks)

    def _do_queue_pwm_out(self, oid: int, clock: int, value: int) -> None:
        self._get(oid, OutputPin).queue(clock, value)

    def _do_set_digital_out(self, pin: int, value: int) -> None:
        self.machine.set_output(self._pins[pin], float(value), self.seconds())

    # -- inputs ----------------------------------------------------------------------------

    def _do_config_analog_in(self, oid: int, pin: int) -> None:
        self._objects[oid] = AnalogIn(self, oid, self._pins[pin])

    def _do_query_analog_in(
        self,
        oid: int,
        clock: int,
        sample_count: int,
        rest_ticks: int,
        min_value: int,
        max_value: int,
        range_check_count: int,
        **_: int,
    ) -> None:
        self._get(oid, AnalogIn).query(
            clock, sample_count, rest_ticks, min_value, max_value, range_check_count
        )

    def _do_config_buttons(self, oid: int, **_: int) -> None:
        self._objects[oid] = Buttons(self, oid)

    def _do_buttons_add(self, oid: int, pos: int, pin: int, **_: int) -> None:
        self._get(oid, Buttons).add(pos, self._pins[pin])

    def _do_buttons_query(
        self, oid: int, clock: int, rest_ticks: int, invert: int, **_: int
    ) -> None:
        self._get(oid, Buttons).query(clock, rest_ticks, invert)

    def _do_buttons_ack(self, oid: int, count: int) -> None:
        self._get(oid, Buttons).acknowledge(count)
