"""A stop has a result, whatever Klippy does, and may cut the power.

How soon: tests/unit/commands/test_gate, by a clock that no busy machine delays.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.rig.stack import Stack
from tests.rig.wall_switch import WallSwitch

pytestmark = pytest.mark.stack


@contextmanager
def hung(stack: Stack) -> Iterator[None]:
    """Klippy does nothing at all, and stays connected."""
    assert stack.klippy.klippy is not None
    pid = stack.klippy.klippy.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def stop(stack: Stack) -> tuple[str, float]:
    """Ask for it; the id, and when the hub handed it out."""
    command = str(stack.hub.queue(stack.token, "emergency_stop"))

    def handed_out() -> float:
        found = [d.time for d in stack.hub.delivered(stack.token) if d.command["id"] == command]
        return found[0] if found else 0.0

    return command, float(stack.moonraker.wait(handed_out, 10, "the stop to be handed out"))


def test_a_stop_that_klippy_does_not_take_is_told_and_sent_again(
    make_stack: Callable[..., Stack],
) -> None:
    stack = make_stack(options={"language": "en"})
    with hung(stack):
        command, _ = stop(stack)
        told = stack.moonraker.wait(
            lambda: stack.hub.result(stack.token, command), 12, "what became of the stop"
        )
        assert (told.status, "switch on the wall" in told.message) == ("running", True)
        assert [w for w in stack.moonraker.warnings() if "switch on the wall" in w]
    stack.klippy.wait_state("shutdown", 10)
    stack.moonraker.wait(
        lambda: stack.hub.result(stack.token, command).status == "done", 20, "its end"
    )
    stack.moonraker.wait(
        lambda: not [w for w in stack.moonraker.warnings() if "switch on the wall" in w],
        10,
        "the warning to go",
    )


def test_the_power_is_cut_after_a_while_where_klippy_does_not_take_it(
    make_stack: Callable[..., Stack],
) -> None:
    with WallSwitch() as switch:
        stack = make_stack(
            sections=switch.section("printer"),
            options={"security_emergency_power_device": "printer", "language": "en"},
        )
        with hung(stack):
            command, at = stop(stack)
            stack.moonraker.wait(lambda: not switch.on, 10, "the power to go")
            (off,) = [when for when, word in switch.asked if word == "off"]
            assert off - at > 3
            told = stack.moonraker.wait(
                lambda: stack.hub.result(stack.token, command), 12, "what became of the stop"
            )
            assert (told.status, "printer was switched off" in told.message) == ("done", True)
            assert [w for w in stack.moonraker.warnings() if "printer was switched off" in w]


def test_the_power_stays_on_where_klippy_takes_it_or_nobody_wants_it_cut(
    make_stack: Callable[..., Stack],
) -> None:
    with WallSwitch() as switch:
        stack = make_stack(
            sections=switch.section("printer"),
            options={"security_emergency_power_device": "printer"},
        )
        command, _ = stop(stack)
        stack.klippy.wait_state("shutdown", 10)
        result = stack.moonraker.wait(
            lambda: stack.hub.result(stack.token, command), 10, "its result"
        )
        assert result.status == "done"
        stack.klippy.firmware_restart()
        stack.moonraker.wait_klippy()
        stack.configure(security_emergency_power_device=None)
        with hung(stack):
            command, _ = stop(stack)
            stack.moonraker.wait(
                lambda: stack.hub.result(stack.token, command), 12, "what became of the stop"
            )
        time.sleep(1)  # what would come, would come at once
        assert (switch.on, "off" in switch.requests) == (True, False)


def test_a_power_device_that_is_not_there_is_told(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack(options={"security_emergency_power_device": "printer"})
    stack.moonraker.wait(
        lambda: [w for w in stack.moonraker.warnings() if "emergency_power_device" in w],
        10,
        "the warning",
    )


def test_the_same_stop_again_after_ten_seconds_stops_again(stack: Stack) -> None:
    """A hub whose database was made anew counts its ids from 1."""
    stack.hub.queue(stack.token, "emergency_stop", id=1, timestamp=0)
    stack.klippy.wait_state("shutdown", 10)
    stack.klippy.firmware_restart()
    stack.moonraker.wait_klippy()
    time.sleep(11)
    stack.hub.queue(stack.token, "emergency_stop", id=1, timestamp=0)
    stack.klippy.wait_state("shutdown", 10)
