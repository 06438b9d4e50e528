"""The chain as a whole, from the hub to the printer and back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.rig.gcode import make_gcode
from tests.rig.stack import Stack

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("generation", [1, 2])
def test_a_print_and_a_command_go_all_the_way(
    generation: int, make_stack: Callable[..., Stack]
) -> None:
    stack = make_stack(generation=generation)
    stack.put("cube.gcode", make_gcode(seconds=2))
    stack.print("cube.gcode")

    def states() -> list[str]:
        return stack.hub.states(stack.token)

    stack.moonraker.wait(lambda: states()[-2:] == ["printing", "idle"], 60, "the print's end")
    if generation == 1:
        assert stack.do("heat", hotend_temp=80).status == "done"
    else:
        stack.hub.queue2(stack.token, "gcode", "M104 S80")
        heater = stack.klippy
        stack.moonraker.wait(lambda: heater.query("extruder")["target"] == 80, 20, "the target")
    assert stack.moonraker.warnings() == []
    assert stack.moonraker.sigterm() == 0
    assert states()[-1] == "offline"


def test_a_stack_forgets(stack: Stack) -> None:
    stack.put("cube.gcode", make_gcode(seconds=30))
    stack.print("cube.gcode")
    stack.moonraker.wait(lambda: "printing" in stack.hub.states(stack.token), 30, "the print")
    stack.klippy.mcu.sensor("bed", "open")
    stack.klippy.wait_state("shutdown", 20)
    stack.klippy.mcu.sensor("bed", "")
    stack.override.write_text("{}")
    stack.hub.fault("status", "html_500")
    stack.reset()
    assert stack.klippy.state() == "ready"
    assert list(stack.gcodes.iterdir()) == []
    assert stack.hub.states(stack.token)[-1] == "idle"
    assert stack.moonraker.warnings() == []
