"""A burst is spaced and complete; an emergency stop waits for nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.rig.stack import Stack

pytestmark = pytest.mark.stack

POLL = 1.0  # intervals.command_check of the rig


def test_a_burst_of_ten_in_one_reply(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack(
        generation=2,
        options={"security_rate_limit_seconds": 1, "security_allowed_macros": ["COUNT"]},
    )
    console = stack.klippy.console()
    with stack.hub.transaction():
        names = [f"b{n}" for n in range(10)]
        ids = [stack.hub.queue2(stack.token, "macro", f"COUNT NAME={name}") for name in names]
    seen = []
    for name in names:
        seen.append(console.wait_for(f"COUNT {name}=1", 30))
    assert seen == [line for line in console.lines if "COUNT b" in line]  # in order, each once
    handed_out = [delivery.time for delivery in stack.hub.delivered(stack.token)]
    assert max(handed_out) - min(handed_out) < POLL / 2  # in one reply
    results = [
        stack.moonraker.wait(lambda id_=id_: stack.hub.result(stack.token, id_), 20, "a result")
        for id_ in ids
    ]
    assert [result.status for result in results] == ["done"] * 10
    ended = [result.body["finished_at"] for result in results]
    # Ten of them, a second apart; a first result that is late makes it look like less.
    assert ended[-1] - ended[0] > 7


def stop_during(stack: Stack, busy: Callable[[], object], script: str) -> None:
    started = stack.hub.queue(stack.token, "gcode", id="long", gcode=script)
    waiting = stack.hub.queue(stack.token, "heat", bed_temp=99)
    stack.moonraker.wait(busy, 20, "the long command to run")
    stack.hub.queue(stack.token, "emergency_stop", id="stop")
    asked = time.monotonic()
    stack.klippy.wait_state("shutdown", 15)
    took = time.monotonic() - asked
    stop, long, late = (
        stack.moonraker.wait(lambda id_=id_: stack.hub.result(stack.token, id_), 20, f"{id_}")
        for id_ in ("stop", started, waiting)
    )
    assert (stop.status, long.status, late.status) == ("done", "failed", "refused")
    assert "emergency stop" in long.message
    (handed_out,) = [d.time for d in stack.hub.delivered(stack.token) if d.command["id"] == "stop"]
    print(
        f"from the queue to Klippy's shutdown {took:.3f} s, of which"
        f" {stop.body['finished_at'] - handed_out:.3f} s from hand-out to confirmation"
    )


def test_a_stop_during_m109(stack: Stack) -> None:
    stop_during(stack, lambda: stack.klippy.query("extruder")["target"] == 275, "M109 S275")
    assert stack.klippy.mcu.duty("hotend") == 0  # the board itself has switched it off


def test_a_stop_during_a_macro_of_ten_seconds(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack(options={"security_allowed_gcode_patterns": ["SLOW_MACRO"]})
    console = stack.klippy.console()
    stop_during(stack, lambda: console.wait_for("SLOW_MACRO started", 20), "SLOW_MACRO SECONDS=10")
    assert not [line for line in console.lines if "finished" in line]


def test_a_stop_among_rubbish(stack: Stack) -> None:
    with stack.hub.transaction():
        for rubbish in (
            None,
            "x",
            5,
            [],
            {"id": {"a": []}},
            {"action": {}},
            {"id": "r", "action": "?"},
        ):
            stack.hub.queue_raw(stack.token, rubbish)
        stack.hub.queue(stack.token, "emergency_stop", id="stop")
    stack.klippy.wait_state("shutdown", 15)
    assert (
        stack.moonraker.wait(lambda: stack.hub.result(stack.token, "stop"), 20, "its result").status
        == "done"
    )
    assert stack.hub.result(stack.token, "r").status == "refused"


def test_a_stop_while_the_hub_answers_nothing_else(stack: Stack) -> None:
    """A broken status endpoint keeps no stop from coming through."""
    stack.hub.fault("status", "html_500")
    stack.hub.queue(stack.token, "emergency_stop")
    stack.klippy.wait_state("shutdown", 30)
