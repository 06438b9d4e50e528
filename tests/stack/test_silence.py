"""Klippy's messages that do not come through: a NaN or an infinity with Moonraker's speed-ups, a
Klippy that hangs.

The hub must never be told old figures as if they were new.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.rig.klippy import RigError
from tests.rig.moonraker import with_speedups
from tests.rig.stack import Stack
from tests.stack.watching import seen

pytestmark = [pytest.mark.stack, pytest.mark.versions]

BOARD = "temperature_sensor board"


@pytest.fixture
def reading(folder: Path) -> Iterator[Callable[[str], None]]:
    """Sets what the file holds that BOARD reads, always eight bytes long."""
    path = folder / "reading"

    def write(text: str) -> None:
        path.write_text(f"{text:<8}", encoding="ascii")

    write("31500")
    write.path = path  # type: ignore[attr-defined]
    yield write


def sensor(reading: Callable[[str], None]) -> str:
    path = reading.path  # type: ignore[attr-defined]
    return (
        f"[{BOARD}]\nsensor_type: temperature_host\nsensor_path: {path}\n"
        "min_temp: 0\nmax_temp: 100\n"
    )


def test_a_sensor_that_reads_nan_costs_only_its_own_value(
    moonraker_python: str, make_stack: Callable[..., Stack], reading: Callable[[str], None]
) -> None:
    stack = make_stack(python=moonraker_python, extra_config=sensor(reading))
    seen(stack, "the sensor", lambda s: s["sensors"].get(BOARD) == 31.5)
    reading("nan")
    stack.klippy.gcode("M104 S60\nM106 S255")
    now = seen(stack, "what the printer does", lambda s: s["temp_hotend_target"] == 60, timeout=20)
    assert now["fan_speed"] == 100
    assert now["status"] == "idle"
    seen(stack, "no value of the sensor", lambda s: BOARD not in s["sensors"], timeout=20)
    assert stack.do("heat", hotend_temp=50).status == "done"
    seen(stack, "the new target", lambda s: s["temp_hotend_target"] == 50)
    if stack.moonraker.warnings():  # only where it keeps messages from coming through
        assert all(BOARD in text for text in stack.moonraker.warnings())
    reading("32500")
    seen(stack, "the sensor again", lambda s: s["sensors"].get(BOARD) == 32.5, timeout=30)
    stack.moonraker.wait(lambda: not stack.moonraker.warnings(), 10, "the warning to go")


FLAG = """
[gcode_macro FLAG]
variable_value: 0
gcode:
    RESPOND MSG="{value}"
"""
RAISE = {
    "gcode": "SET_GCODE_VARIABLE MACRO=FLAG VARIABLE=value VALUE={value}",
    "parameters": {"value": {"min": 1, "max": 9}},
    "danger": False,
    "confirmation": {"object": "gcode_macro FLAG", "field": "value", "equals": "{value}"},
}


def test_what_did_not_answer_is_asked_for_anew_while_klippy_speaks(
    make_stack: Callable[..., Stack],
) -> None:
    """The plugin subscribes anew behind another client that waits for an answer which Moonraker
    cannot read. Until then its former subscription holds, and Klippy always has something to say;
    but what changes of an object that is lost tells nothing.
    """
    stack = make_stack(
        python=with_speedups(),
        extra_config=FLAG,
        options={"timeouts_moonraker": 1},
        speed=0.01,  # of the heaters: longer than all this takes
    )
    stack.klippy.gcode("M104 S250\nSET_GCODE_VARIABLE MACRO=FLAG VARIABLE=value VALUE=1e999")
    with stack.moonraker.websocket() as page:
        page.send("printer.objects.subscribe", {"objects": {"gcode_macro FLAG": None}})
        page.call("server.info")  # what was sent before is on its way
        stack.override.write_text(json.dumps({"actions": {"raise": RAISE}}), encoding="utf-8")
        stack.moonraker.wait(
            lambda: [w for w in stack.moonraker.warnings() if "gcode_macro FLAG" in w],
            60,
            "the warning that names what is lost",
        )
        assert stack.do("raise", value=7).status == "done"
    stack.moonraker.wait(lambda: not stack.moonraker.warnings(), 60, "the warning to go")
    assert stack.do("raise", value=8).status == "done"


def test_a_klippy_that_hangs_is_told_as_an_error(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack()
    if stack.klippy.klippy is None:
        raise RigError("no Klippy runs")
    process = stack.klippy.klippy.pid
    os.kill(process, signal.SIGSTOP)
    try:
        hanging = seen(stack, "the error", lambda s: s["status"] == "error", timeout=20)
        assert "answered nothing" in hanging["state_message"]
        assert any("answered nothing" in text for text in stack.moonraker.warnings())
    finally:
        os.kill(process, signal.SIGCONT)
    back = seen(
        stack,
        "Klippy again",
        lambda s: s["status"] != "error" or "answered nothing" not in s["state_message"],
        timeout=30,
    )
    assert back["state_message"] != hanging["state_message"]
