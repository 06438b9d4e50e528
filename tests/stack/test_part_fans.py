"""Part fans that are no [fan]: seen, set and confirmed, on the real Klippy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.rig.klippy import TEMPLATE
from tests.rig.stack import Stack
from tests.stack.watching import seen

pytestmark = pytest.mark.stack

VALUE = "{params.S|default(255)|float / 255}"


def macro(name: str, *lines: str) -> str:
    return f"[gcode_macro {name}]\ngcode:\n" + "".join(f"    {line}\n" for line in lines)


SV08 = (
    "[fan_generic fan0]\npin: part_fan\n[fan_generic fan1]\npin: spare0\n"
    + macro(
        "M106", f"SET_FAN_SPEED FAN=fan0 SPEED={VALUE}", f"SET_FAN_SPEED FAN=fan1 SPEED={VALUE}"
    )
    + macro("M107", "SET_FAN_SPEED FAN=fan0 SPEED=0", "SET_FAN_SPEED FAN=fan1 SPEED=0")
)
K1 = (
    "".join(
        f"[output_pin fan{n}]\npin: {pin}\npwm: True\nscale: 255\nvalue: 0\n"
        for n, pin in ((0, "part_fan"), (1, "spare0"), (2, "spare1"))
    )
    + macro(
        "M106",
        "{% set fan = params.P|default(0)|int %}",
        "SET_PIN PIN=fan{fan} VALUE={params.S|default(255)}",
    )
    + macro("M107", "SET_PIN PIN=fan0 VALUE=0")
)


@pytest.mark.parametrize(
    ("parts", "fan"),
    [(SV08, "fan_generic fan0"), (K1, "output_pin fan0")],
    ids=["like SV08", "like K1"],
)
def test_a_part_fan_behind_a_macro(make_stack: Callable[..., Stack], parts: str, fan: str) -> None:
    without = TEMPLATE.read_text(encoding="utf-8").replace("[fan]\npin: part_fan\n", "")
    stack = make_stack(template=without, extra_config=parts)
    stack.klippy.gcode("M106 S128")
    now = seen(stack, "the part fan", lambda s: s["fan_speed"] == 50)
    assert now["fans"][fan] == 50
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
