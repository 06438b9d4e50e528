"""Which fan M106 sets, on printers with and without a [fan]."""

from __future__ import annotations

from typing import Any

import pytest

from components.printer.part_fan import PartFan, find_part_fan, learn, part_speed


def macro(text: str) -> dict[str, Any]:
    return {"gcode": text}


SV08 = {
    "gcode_macro m106": macro(
        "{% set s = params.S|default(255)|float / 255 %}\n"
        "SET_FAN_SPEED FAN=fan0 SPEED={s}\nSET_FAN_SPEED FAN=fan1 SPEED={s}"
    ),
    "gcode_macro m107": macro("SET_FAN_SPEED FAN=fan0 SPEED=0\nSET_FAN_SPEED FAN=fan1 SPEED=0"),
}
K1 = {
    "gcode_macro m106": macro("{% set fan = params.P|default(0) %}\nSET_PIN PIN=fan{fan} VALUE=1")
}
WRAPPED = {
    "gcode_macro m106": macro("_SET_PART_FAN SPEED={params.S}"),
    "gcode_macro _set_part_fan": macro("SET_FAN_SPEED FAN='part' SPEED={params.SPEED}"),
}
M106 = "gcode_macro M106"


@pytest.mark.parametrize(
    ("objects", "settings", "names", "off"),
    [
        (["fan", "fan_generic aux"], {}, ("fan",), "M107"),
        (["fan", M106, "fan_generic aux"], SV08, ("fan",), "M107"),
        (
            ["fan_generic fan0", "fan_generic fan1", "fan_generic box", M106, "gcode_macro M107"],
            SV08,
            ("fan_generic fan0", "fan_generic fan1"),
            "M107",
        ),
        (["output_pin fan0", "output_pin fan1", M106], K1, ("output_pin fan0",), "M106 S0"),
        (
            ["fan_generic part", M106, "gcode_macro _SET_PART_FAN"],
            WRAPPED,
            ("fan_generic part",),
            "M106 S0",
        ),
        (["fan_generic aux"], {}, (), "M107"),  # nothing that M106 could lead to
    ],
    ids=["plain", "wrapped fan", "SV08", "K1", "macro in a macro", "none"],
)
def test_m106_is_followed_to_what_it_sets(
    objects: list[str], settings: dict[str, Any], names: tuple[str, ...], off: str
) -> None:
    found = find_part_fan(objects, settings)
    assert found.names == names
    assert found.there == bool(names)
    if names:
        assert found.off == off


def test_the_operators_word_comes_first() -> None:
    objects = ["fan", "fan_generic side"]
    for told in ("fan_generic side", "Side"):
        assert find_part_fan(objects, {}, told).names == ("fan_generic side",)
    assert find_part_fan(objects, {}, "no_such").names == ("fan",)


def test_the_fastest_counts_where_several_blow_as_one() -> None:
    fan = PartFan(("fan_generic a", "fan_generic b"))
    assert (
        part_speed(fan, {"fan_generic a": {"speed": 0.2}, "fan_generic b": {"speed": 0.5}}) == 0.5
    )
    assert part_speed(PartFan(), {}) is None
    assert part_speed(PartFan(("output_pin fan0",)), {"output_pin fan0": {"value": 0.3}}) == 0.3


def test_a_toolchanger_has_the_fan_of_the_tool_in_hand() -> None:
    fan = find_part_fan(["toolchanger", "tool T0", "fan_generic t0", "fan_generic t1"], {})
    objects: dict[str, dict[str, Any]] = {
        "toolchanger": {"tool": "tool T1"},
        "tool T0": {"fan": "t0"},
        "tool T1": {"fan": "fan_generic t1"},
        "fan_generic t0": {"speed": 1.0},
        "fan_generic t1": {"speed": 0.25},
    }
    assert part_speed(fan, objects) == 0.25
    objects["toolchanger"]["tool"] = None
    assert part_speed(fan, objects) == 0.0


def test_what_the_macro_left_open_is_learned_from_what_moves() -> None:
    fan = find_part_fan(["output_pin fan0", "output_pin fan2", M106], K1)
    assert learn(fan, 0.5, {"output_pin fan2": 0.5}).names == ("output_pin fan2",)
    assert learn(fan, 0.5, {"output_pin fan2": 1.0}) == fan  # that was something else
    certain = PartFan(("fan_generic a",))
    assert learn(certain, 0.5, {"fan_generic b": 0.5}) == certain
