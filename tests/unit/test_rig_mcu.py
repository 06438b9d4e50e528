"""The software micro-controller: the wire, the step queues, the machine, all without Klippy."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rig.mcu.dictionary import FREQUENCY, build_dictionary
from tests.rig.mcu.firmware import Firmware
from tests.rig.mcu.machine import FIRST_TRAVEL, Axis, Machine, Thermistor, pin_names
from tests.rig.mcu.protocol import (
    Message,
    ProtocolError,
    Receiver,
    crc16,
    decode_vlq,
    encode_frame,
    encode_vlq,
)
from tests.rig.mcu.stepper import Stepper, nearest

PINS = pin_names()


# -- wire --------------------------------------------------------------------------------------


@given(st.integers(min_value=-(2**31), max_value=2**32 - 1))
def test_a_vlq_integer_survives_the_wire(value: int) -> None:
    data = encode_vlq(value)
    decoded, end = decode_vlq(data + b"\xff", 0)
    assert decoded & 0xFFFFFFFF == value & 0xFFFFFFFF
    assert end == len(data) <= 5


@pytest.mark.parametrize(
    ("value", "encoded"),
    # The limits of each length, from the table in Klipper's Protocol.md.
    [
        (-32, "60"),
        (95, "5f"),
        (-4096, "e000"),
        (12287, "df7f"),
        (-524288, "e08000"),
        (1572863, "dfff7f"),
        (2**32 - 1, "7f"),
    ],
)
def test_vlq_integers_have_the_lengths_of_the_protocol(value: int, encoded: str) -> None:
    assert encode_vlq(value).hex() == encoded


def test_the_crc_is_klippers() -> None:
    # identify offset=0 count=40, the first thing any Klippy asks, by its own msgproto.py.
    frame = encode_frame(1, encode_vlq(1) + encode_vlq(0) + encode_vlq(40))
    assert frame.hex() == "081101002842247e"
    assert crc16(b"") == 0xFFFF


def test_a_message_carries_numbers_signed_or_not_and_bytes() -> None:
    message = Message(7, "things oid=%c clock=%u add=%hi data=%.*s")
    values = {"oid": 3, "clock": 0xFFFFFFF0, "add": -5, "data": b"\x7eabc"}
    ident, pos = decode_vlq(message.encode(values), 0)
    assert ident == 7
    assert message.decode(message.encode(values), pos)[0] == values


def test_a_payload_too_long_is_refused() -> None:
    with pytest.raises(ProtocolError, match="60 bytes"):
        encode_frame(0, bytes(60))


class Wire:
    """A receiver and what it said."""

    def __init__(self) -> None:
        self.payloads: List[bytes] = []
        self.answers: List[int] = []
        self.receiver = Receiver(self.payloads.append, self._acknowledge)

    def _acknowledge(self) -> None:
        self.answers.append(self.receiver.sequence)


@given(st.lists(st.integers(min_value=1, max_value=30), max_size=20))
def test_frames_arrive_whatever_the_pieces_they_come_in(sizes: List[int]) -> None:
    wire = Wire()
    sent = [b"one", b"", b"\x7e\x7e", b"four"]
    stream = b"".join(encode_frame(number, payload) for number, payload in enumerate(sent))
    for size in sizes:
        wire.receiver.feed(stream[:size])
        stream = stream[size:]
    wire.receiver.feed(stream)
    assert wire.payloads == sent
    assert wire.answers == [1, 2, 3, 4]


def test_a_frame_out_of_sequence_is_answered_with_the_one_expected() -> None:
    wire = Wire()
    wire.receiver.feed(encode_frame(5, b"lost"))
    assert (wire.payloads, wire.answers) == ([], [0])


def test_the_sequence_wraps_after_fifteen() -> None:
    wire = Wire()
    for number in range(20):
        wire.receiver.feed(encode_frame(number, b"x"))
    assert len(wire.payloads) == 20
    assert wire.receiver.sequence == 4


@pytest.mark.parametrize(
    "noise",
    [
        b"\x1b\x01\x00\x01\x0e\x11\x04",  # what Klippy sends first, to leave a boot loader
        b"\x00",
        b"\xff" * 200,
        b"\x08\x11\x01\x00\x28\x00\x00\x7e",  # a wrong check sum
        b"\x08\x71\x01\x00\x28\x50\x28\x7e",  # another protocol's second byte
        encode_frame(0, b"cut")[:-4],
    ],
)
def test_noise_is_skipped_up_to_the_next_sync(noise: bytes) -> None:
    wire = Wire()
    wire.receiver.feed(noise + b"\x7e")
    wire.receiver.feed(encode_frame(0, b"after"))
    assert wire.payloads == [b"after"]
    assert wire.receiver.rejected >= 1
    assert wire.answers[0] == 0, "the sender must hear that something was lost"


def test_sync_bytes_between_frames_are_no_noise() -> None:
    wire = Wire()
    wire.receiver.feed(b"\x7e\x7e" + encode_frame(0, b"a") + b"\x7e")
    assert (wire.payloads, wire.answers, wire.receiver.rejected) == ([b"a"], [1], 0)


# -- step queues -------------------------------------------------------------------------------


@given(st.integers(min_value=0, max_value=2**40), st.integers(min_value=-(2**30), max_value=2**30))
def test_a_32_bit_clock_means_the_moment_nearest_to_now(now: int, delta: int) -> None:
    assert nearest((now + delta) & 0xFFFFFFFF, now) == now + delta


@given(
    st.integers(min_value=100, max_value=100_000),
    st.integers(min_value=1, max_value=500),
    st.integers(min_value=-20, max_value=20),
    st.booleans(),
)
def test_a_stepper_stands_where_its_steps_have_led(
    interval: int, count: int, add: int, forward: bool
) -> None:
    interval = max(interval, abs(add) * count + 1)
    axis = Axis()
    stepper = Stepper(axis)
    start = 5_000_000_000
    stepper.reset_clock(start & 0xFFFFFFFF)
    stepper.set_direction(forward)
    stepper.queue(interval, count, add, start)
    # Step by step, as a real motor would.
    clock, sign = start, 1 if forward else -1
    for step in range(count):
        clock += interval + add * step
        assert stepper.position(clock - 1) == sign * step
        assert stepper.position(clock) == sign * (step + 1)
    assert axis.steps == count


def test_a_stepper_after_idling_steps_soon_and_not_a_turn_of_the_clock_ago() -> None:
    stepper = Stepper(Axis())
    stepper.set_direction(True)
    now = 3 * 2**32 + 1000
    # A fresh stepper, no reset_step_clock: the interval is the low half of the clock itself.
    stepper.queue((now + 500) & 0xFFFFFFFF, 1, 0, now)
    assert stepper.position(now + 499) == 0
    assert stepper.position(now + 500) == 1


def test_a_stopped_stepper_drops_steps_until_its_clock_is_set() -> None:
    stepper = Stepper(Axis())
    stepper.set_direction(True)
    stepper.queue(100, 50, 0, 0)
    assert stepper.position(1000) == 10
    stepper.stop(1000)
    stepper.queue(100, 50, 0, 1000)
    assert stepper.position(9000) == 10
    stepper.reset_clock(9000)
    stepper.queue(100, 1, 0, 9000)
    assert stepper.position(9100) == 11


# -- machine -----------------------------------------------------------------------------------


def test_the_switch_stands_where_the_first_homing_finds_it_and_stays() -> None:
    axis = Axis()
    axis.position = 500
    assert not axis.pressed()
    axis.start_homing()
    axis.position = 500 - FIRST_TRAVEL + 1
    assert not axis.pressed()
    axis.position -= 1
    assert axis.pressed()
    axis.stop_homing()
    for position, pressed in ((500, False), (500 - FIRST_TRAVEL, True), (-9000, True)):
        axis.position = position
        assert axis.pressed() is pressed


def test_the_thermistor_reads_as_its_data_sheet() -> None:
    thermistor = Thermistor()
    for celsius, ohm in Thermistor.POINTS:
        assert thermistor.ratio(celsius) == pytest.approx(ohm / (ohm + 4700.0), rel=1e-6)


def test_a_zone_heats_towards_its_end_and_cools_to_the_ambient() -> None:
    machine = Machine(0.0)
    bed = machine.zones["bed"]
    machine.set_output("bed_heater", 0.5, 0.0)
    half = 25.0 + bed.rate * bed.tau * 0.5
    assert 25.0 < bed.temperature(0.5) < bed.temperature(1.0) < half
    assert bed.temperature(100.0) == pytest.approx(half)
    machine.set_output("bed_heater", 0.0, 100.0)
    assert bed.temperature(200.0) == pytest.approx(25.0)


def test_a_broken_heater_does_not_heat() -> None:
    machine = Machine(0.0)
    machine.zones["bed"].set_strength(0.0, 0.0)
    machine.set_output("bed_heater", 1.0, 0.0)
    assert machine.zones["bed"].temperature(60.0) == pytest.approx(25.0)


# -- firmware ----------------------------------------------------------------------------------


class Host:
    """Speaks to a firmware over the wire, with a clock that moves when told."""

    def __init__(self) -> None:
        self.time = 100.0
        self.responses: List[Tuple[str, Dict[str, Any]]] = []
        _, self._commands, self._answers = build_dictionary()
        self.machine = Machine(self.time)
        self._receiver = None
        self.firmware = Firmware(self.machine, self._receive, lambda: self.time)
        self._sequence = 0

    def _receive(self, frame: bytes) -> None:
        self.responses += self._answers.parse(frame[2:-3])

    def send(self, name: str, **values: int) -> None:
        payload = self._commands.by_name[name].encode(values)
        self.firmware.receive(encode_frame(self._sequence, payload))
        self._sequence = self.firmware.receiver.sequence

    def clock(self, seconds_ahead: float = 0.0) -> int:
        return (self.firmware.now() + int(seconds_ahead * FREQUENCY)) & 0xFFFFFFFF

    def run(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        end = self.time + seconds
        while self.time < end:
            # The firmware counts whole ticks: go a hair beyond the one that is due.
            self.time = min(end, self.time + self.firmware.run_timers() + 1e-6)
        self.firmware.run_timers()

    def said(self, name: str) -> List[Dict[str, Any]]:
        return [values for kind, values in self.responses if kind == name]


def heater(host: Host) -> None:
    """The bed's heater as Klippy configures it: 10 Hz, to be repeated within 3 s."""
    host.send("allocate_oids", count=4)
    host.send(
        "config_digital_out",
        oid=0,
        pin=PINS["bed_heater"],
        value=0,
        default_value=0,
        max_duration=3 * FREQUENCY,
    )
    host.send("set_digital_out_pwm_cycle", oid=0, cycle_ticks=FREQUENCY // 10)
    host.send("finalize_config", crc=1234)


def test_the_dictionary_is_handed_out_in_pieces() -> None:
    host = Host()
    data = b""
    while True:
        host.send("identify", offset=len(data), count=40)
        piece = host.said("identify_response")[-1]
        assert piece["offset"] == len(data)
        if not piece["data"]:
            break
        data += piece["data"]
    assert data == build_dictionary()[0]


def test_a_heater_follows_its_schedule() -> None:
    host = Host()
    heater(host)
    host.send("queue_digital_out", oid=0, clock=host.clock(0.5), on_ticks=FREQUENCY // 40)
    host.run(0.4)
    assert host.machine.zones["bed"].duty == 0.0
    host.run(0.2)
    assert host.machine.zones["bed"].duty == 0.25


def test_a_heater_nobody_repeats_goes_off_and_shuts_the_board_down() -> None:
    host = Host()
    heater(host)
    host.send("queue_digital_out", oid=0, clock=host.clock(0.1), on_ticks=FREQUENCY // 10)
    host.run(2.0)
    host.send("queue_digital_out", oid=0, clock=host.clock(0.1), on_ticks=FREQUENCY // 10)
    host.run(2.5)
    assert host.firmware.shutdown_reason is None
    host.run(1.0)
    assert host.firmware.shutdown_reason == "Missed scheduling of next digital out event"
    assert host.machine.zones["bed"].duty == 0.0
    assert len(host.said("shutdown")) == 1


def test_a_heater_switched_off_needs_no_repetition() -> None:
    host = Host()
    heater(host)
    host.send("queue_digital_out", oid=0, clock=host.clock(0.1), on_ticks=FREQUENCY // 10)
    host.run(1.0)
    host.send("queue_digital_out", oid=0, clock=host.clock(0.1), on_ticks=0)
    host.run(30.0)
    assert host.firmware.shutdown_reason is None


@pytest.mark.parametrize("fault", ["open", "short"])
def test_a_broken_sensor_shuts_the_board_down_at_the_fourth_reading(fault: str) -> None:
    host = Host()
    heater(host)
    host.send("config_analog_in", oid=1, pin=PINS["bed_sensor"])
    host.send(
        "query_analog_in",
        oid=1,
        clock=host.clock(0.1),
        sample_ticks=1,
        sample_count=8,
        rest_ticks=FREQUENCY // 10,
        min_value=500,
        max_value=32000,
        range_check_count=4,
    )
    host.run(0.95)
    assert host.firmware.shutdown_reason is None
    host.machine.zones["bed"].fault = fault
    host.run(0.35)
    assert host.firmware.shutdown_reason is None
    host.run(0.2)
    assert host.firmware.shutdown_reason == "ADC out of range"


def test_a_board_that_is_shut_down_refuses_commands_until_it_is_reset() -> None:
    host = Host()
    heater(host)
    host.send("emergency_stop")
    host.send("update_digital_out", oid=0, value=1)
    assert host.machine.zones["bed"].duty == 0.0
    assert len(host.said("is_shutdown")) == 1
    host.send("get_config")
    assert host.said("config")[-1]["is_shutdown"] == 1
    host.send("reset")
    assert host.firmware.receiver.sequence == 0, "a board just reset expects the first frame"
    host.send("get_config")
    assert host.said("config")[-1] == {
        "is_config": 0,
        "crc": 0,
        "is_shutdown": 0,
        "move_count": 1024,
    }


def homing(host: Host, expire: float) -> None:
    """Move x towards its switch at 1000 steps/s, 5 s long, Klippy silent after `expire` seconds."""
    host.send("allocate_oids", count=3)
    host.send(
        "config_stepper",
        oid=0,
        step_pin=PINS["x_step"],
        dir_pin=PINS["x_dir"],
        invert_step=0,
        step_pulse_ticks=40,
    )
    host.send("config_endstop", oid=1, pin=PINS["x_stop"], pull_up=1)
    host.send("config_trsync", oid=2)
    host.send(
        "trsync_start",
        oid=2,
        report_clock=host.clock(0.1),
        report_ticks=FREQUENCY // 10,
        expire_reason=4,
    )
    host.send("stepper_stop_on_trigger", oid=0, trsync_oid=2)
    host.send("trsync_set_timeout", oid=2, clock=host.clock(expire))
    host.send(
        "endstop_home",
        oid=1,
        clock=host.clock(0.1),
        sample_ticks=300,
        sample_count=4,
        rest_ticks=2000,
        pin_value=1,
        trsync_oid=2,
        trigger_reason=1,
    )
    host.send("reset_step_clock", oid=0, clock=host.clock())
    host.send("set_next_step_dir", oid=0, dir=0)
    host.send("queue_step", oid=0, interval=FREQUENCY // 1000, count=5000, add=0)


def test_homing_stops_the_motor_at_the_switch() -> None:
    host = Host()
    homing(host, expire=10.0)
    host.run(5.0)
    last = host.said("trsync_state")[-1]
    assert (last["can_trigger"], last["trigger_reason"]) == (0, 1)
    host.send("stepper_get_position", oid=0)
    assert host.said("stepper_position")[-1]["pos"] == pytest.approx(-FIRST_TRAVEL, abs=3)
    host.send("endstop_query_state", oid=1)
    state = host.said("endstop_state")[-1]
    assert (state["homing"], state["pin_value"]) == (0, 1)
    # Klippy subtracts rest_ticks and takes the rest for the moment of contact.
    assert state["next_clock"] - 2000 == pytest.approx(FIRST_TRAVEL / 1000 * FREQUENCY, rel=0.01)


def test_homing_stops_when_klippy_falls_silent() -> None:
    host = Host()
    homing(host, expire=0.5)
    host.run(5.0)
    last = host.said("trsync_state")[-1]
    assert (last["can_trigger"], last["trigger_reason"]) == (0, 4)
    assert -FIRST_TRAVEL < host.machine.axes["x"].position == pytest.approx(-500, abs=3)


def test_a_payload_nobody_understands_shuts_the_board_down() -> None:
    host = Host()
    host.firmware.receive(encode_frame(0, b"\x5f\x00"))
    assert host.firmware.shutdown_reason == "Command parser error"
