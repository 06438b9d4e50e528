"""Printers as labs have them, on the real Klippy: what is seen, set, and printed of each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.rig.printers import PRINTERS, Model
from tests.rig.stack import Stack
from tests.stack.watching import seen, state

pytestmark = pytest.mark.stack


def print_of(model: Model, laps: int) -> str:
    """A file that every printer of the table can print: near the middle, and short."""
    moves = ["G1 X30 Y10 F3000", "G1 X30 Y30", "G1 X10 Y30", "G1 X10 Y10"]
    start = model.prepare or "G28"
    return "\n".join([start, "G90", "G1 X10 Y10 Z5 F3000", *(moves * laps), "M400", ""])


@pytest.mark.parametrize("name", PRINTERS)
def test_a_printer_is_seen_set_and_printed_on(name: str, make_stack: Callable[..., Stack]) -> None:
    model = PRINTERS[name]
    stack = make_stack(template=model.config())

    idle = state(stack, "idle")
    assert set(idle["heaters"]) == set(model.heaters)
    assert all(20 < heater["temperature"] < 30 for heater in idle["heaters"].values())

    assert stack.do("heat", hotend_temp=60, bed_temp=40 if model.bed else 0).status == "done"
    hot = seen(stack, "the targets", lambda s: s["temp_hotend_target"] == 60)
    assert hot["temp_bed_target"] == (40 if model.bed else 0)
    if not model.bed:
        assert stack.do("heat", bed_temp=40).status == "refused"
    assert stack.do("cool_down").status == "done"

    blown = stack.do("set_fan", speed=128)
    assert blown.status == ("done" if model.fan else "refused"), blown.message
    if model.fan:
        seen(stack, "the part fan", lambda s: s["fan_speed"] == 50)
        assert stack.hub.status(stack.token)["fans"][model.fan] == 50
        assert stack.do("fan_off").status == "done"

    homed = stack.do("home", timeout=60)
    assert homed.status == "done", homed.message
    seen(stack, "homed axes", lambda s: s["homed_axes"] == "xyz")

    stack.put(model.file, print_of(model, laps=40))
    begun = stack.do("print_local", file=model.file, timeout=60)
    assert begun.status == "done", begun.message
    state(stack, "printing")
    assert seen(stack, "the file", lambda s: s["current_file"] == model.file)
    for action, word in (("pause", "paused"), ("resume", "printing"), ("cancel", "idle")):
        result = stack.do(action, timeout=60)
        assert result.status == "done", (action, result.message)
        state(stack, word)
    seen(  # "idle" may be told before the history
        stack,
        "the cancelled job",
        lambda s: s["history"] and s["history"][0]["status"] == "cancelled",
    )

    stack.put(model.file, print_of(model, laps=1))
    assert stack.do("print_local", file=model.file, timeout=60).status == "done"
    over = seen(stack, "the end", lambda s: s["print_state"] == "complete", 60)
    assert (over["status"], over["progress"]) == ("idle", 100)
    assert stack.moonraker.warnings() == []
