"""Part fans that are no [fan]: seen, set and confirmed, on the real Klippy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.rig.printers import PRINTERS
from tests.rig.stack import Stack
from tests.stack.watching import seen

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("name", ["like SV08", "like K1"])
def test_a_part_fan_behind_a_macro(make_stack: Callable[..., Stack], name: str) -> None:
    stack = make_stack(template=PRINTERS[name].config())
    stack.klippy.gcode("M106 S128")
    now = seen(stack, "the part fan", lambda s: s["fan_speed"] == 50)
    assert now["fans"][PRINTERS[name].fan] == 50
    assert stack.do("set_fan", speed=255).status == "done"
    seen(stack, "full speed", lambda s: s["fan_speed"] == 100)
    assert stack.do("toggle_fan").status == "done"
    seen(stack, "the fan off", lambda s: s["fan_speed"] == 0)
    assert stack.do("toggle_fan").status == "done"
    result = stack.do("fan_off")
    assert (result.status, result.message) == ("done", "fan 0 %")


def test_the_operator_names_the_part_fan(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack()
    stack.klippy.gcode("SET_FAN_SPEED FAN=aux_fan SPEED=0.5")
    seen(stack, "the [fan] standing", lambda s: s["fans"].get("fan_generic aux_fan") == 50)
    stack.override.write_text('{"printer": {"part_fan": "aux_fan"}}', encoding="utf-8")
    seen(stack, "the other fan", lambda s: s["fan_speed"] == 50)
