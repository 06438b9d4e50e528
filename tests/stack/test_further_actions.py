"""The further actions and the operator's own, on the real Klippy: both sides of each bound, in
a job and out of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.rig.gcode import make_gcode
from tests.rig.printers import PRINTERS
from tests.rig.stack import Stack
from tests.stack.watching import seen, state

pytestmark = pytest.mark.stack

PARTS = """
[servo gripper]
pin: spare0
[led bar]
red_pin: spare1
blue_pin: spare2
[led hidden]
red_pin: spare3
[gcode_macro PURGE]
gcode:
    RESPOND MSG="purged {params.LENGTH}"
[gcode_macro M104]
rename_existing: M104.1
gcode:
    M104.1 S{params.S|default(0)}
"""
OWN = {
    "dim": {
        "gcode": "SET_PIN PIN=light VALUE={share}",
        "parameters": {"share": {"min": 0, "max": 1, "default": 0.5}},
        "danger": False,
        "confirmation": {"object": "output_pin light", "field": "value", "equals": "{share}"},
    },
    "purge": {"macro": "PURGE", "parameters": {"LENGTH": {"min": 1, "max": 50}}},
    "nudge": {
        "gcode": "G91\nG1 {axis}{way}\nG90",
        "parameters": {"axis": {"choices": ["X", "Y"]}, "way": {"min": -1, "max": 1}},
        "lane": "control",
        "danger": False,  # so its operator believes
    },
    "wrong": {"gcode": "M117 {x}"},
}


def done(stack: Stack, action: str, **params: Any) -> str:
    result = stack.do(action, timeout=60, **params)
    assert result.status == "done", (action, params, result.status, result.message)
    return str(result.message)


def refused(stack: Stack, action: str, **params: Any) -> str:
    result = stack.do(action, timeout=60, **params)
    assert result.status == "refused", (action, params, result.status, result.message)
    return str(result.message)


@pytest.fixture
def bench(make_stack: Callable[..., Stack]) -> Stack:
    stack = make_stack(
        extra_config=PARTS,
        features={"full_status": True},
        options={"security_allowed_pins": "light, bar", "security_rate_limit_seconds": 0},
    )
    stack.override.write_text(json.dumps({"actions": OWN}), encoding="utf-8")
    seen(stack, "the operator's own", lambda s: "dim" in names(s))
    return stack


def names(status: dict[str, Any]) -> set[str]:
    return {offer["name"] for offer in status["client"]["actions"]}


def test_each_on_both_sides_of_its_bounds(bench: Stack) -> None:
    refused(bench, "move", x=10)  # not homed yet
    done(bench, "home")
    done(bench, "move", x=220, y=0, z=5)
    assert bench.klippy.query("gcode_move")["gcode_position"][:3] == [220, 0, 5]
    refused(bench, "move", x=220.5)
    done(bench, "move", x=-220, relative=True, speed=300)
    refused(bench, "move", x=-0.5, relative=True)
    refused(bench, "move", x=1, speed=301)

    refused(bench, "extrude", length=5)  # cold
    done(bench, "heat", heater="extruder", temp=60)
    bench.klippy.wait_temperature("extruder", 55, 30)
    seen(bench, "the heat", lambda s: s["temp_hotend"] > 50)
    done(bench, "extrude", length=50, speed=50)
    refused(bench, "extrude", length=50.5)
    done(bench, "retract", length=1)

    done(bench, "set_pin", pin="light", value=1)
    assert bench.klippy.query("output_pin light")["value"] == 1
    refused(bench, "set_pin", pin="light", value=1.1)
    refused(bench, "set_pin", pin="gripper", value=0)  # not among security.allowed_pins
    done(bench, "set_fan", fan="aux_fan", speed=128)
    refused(bench, "set_fan", fan="hotend_fan", speed=1)
    done(bench, "z_offset", step=0.1)
    refused(bench, "z_offset", step=0.11)
    assert bench.klippy.query("gcode_move")["homing_origin"][2] == pytest.approx(0.1)

    done(bench, "led", led="bar", red=1, blue="0.5")
    (light,) = bench.klippy.query("led bar")["color_data"]
    assert (light[0], light[2]) == (1, 0.5)
    refused(bench, "led", led="bar", red=1.1)
    refused(bench, "led", led="bar", blue=-0.1)
    refused(bench, "led", led="hidden", red=1)  # not among security.allowed_pins
    refused(bench, "led", led="none", red=1)
    assert "no object to leave out" in refused(bench, "exclude_object", object="part_1")
    refused(bench, "queue_remove")
    refused(bench, "power", device="lamp", state="off")

    done(bench, "dim")
    assert bench.klippy.query("output_pin light")["value"] == 0.5
    done(bench, "dim", share="1")
    refused(bench, "dim", share=1.1)
    done(bench, "purge", LENGTH=50)
    refused(bench, "purge", LENGTH=51)
    refused(bench, "wrong", x=1)
    x = bench.klippy.query("gcode_move")["gcode_position"][0]
    done(bench, "nudge", axis="X", way=1)
    bench.klippy.gcode("M400")
    assert bench.klippy.query("gcode_move")["gcode_position"][0] == x + 1


def test_in_a_job_what_moves_wants_a_confirmation(bench: Stack) -> None:
    bench.put("job.gcode", make_gcode(seconds=600, objects=2, hotend=0, bed=0))
    bench.print("job.gcode")
    seen(bench, "the job's first layer", lambda s: s["job"]["layer"] == 1, 60)
    for action, params in (
        ("move", {"x": 10}),
        ("z_offset", {"step": 0.02}),
        ("exclude_object", {"object": "part_1"}),
        ("purge", {"LENGTH": 5}),
        ("nudge", {"axis": "X", "way": 1}),
        ("gcode", {"gcode": "M104.1 S0"}),
        ("gcode", {"gcode": "M204 S1000"}),
    ):
        assert "confirm" in refused(bench, action, **params)
    assert "out of range" in refused(bench, "gcode", gcode="M204 S900000", confirm=True)
    done(bench, "gcode", gcode="M104 S40")  # a macro that hands on what it is called with
    assert bench.klippy.query("extruder")["target"] == 40
    done(bench, "gcode", gcode="M104.1 S50")
    assert bench.klippy.query("extruder")["target"] == 50
    done(bench, "z_offset", step=0.02, confirm=True)
    done(bench, "exclude_object", object="part_1", confirm=True)
    assert bench.klippy.query("exclude_object")["excluded_objects"] == ["PART_1"]
    refused(bench, "exclude_object", object="part_9", confirm=True)
    done(bench, "dim", share=0.25)  # "danger": false, and a light disturbs nobody
    done(bench, "led", led="bar", red=0.2)
    assert "after the job" in refused(bench, "z_offset", save=True, confirm=True)
    assert bench.klippy.query("print_stats")["state"] == "printing"
    done(bench, "cancel")
    state(bench, "idle")


def test_an_offset_is_kept_in_printer_cfg_and_klippy_comes_back(bench: Stack) -> None:
    config = bench.klippy.query("configfile")["settings"]["stepper_z"]
    assert (config["position_endstop"], config["position_min"]) == (0, 0)
    assert "no offset to keep" in refused(bench, "z_offset", save=True)
    done(bench, "home")
    done(bench, "z_offset", step=0.05)
    assert "Klipper would not start" in refused(bench, "z_offset", save=True)
    assert "Z goes from 0 to 250 mm" in refused(bench, "z_offset", step=-0.1)
    done(bench, "move", z=5)
    done(bench, "z_offset", step=-0.1)
    assert done(bench, "z_offset", save=True) == "the offset is kept"
    bench.klippy.wait_ready()
    kept = bench.klippy.query("configfile")["settings"]["stepper_z"]["position_endstop"]
    assert kept == pytest.approx(0.05)
    state(bench, "idle")
    assert "no offset to keep" in refused(bench, "z_offset", save=True)
    done(bench, "home")  # what was asked behind it, runs


@pytest.mark.parametrize("calibrated", [True, False])
def test_an_offset_of_a_delta_is_kept_where_its_towers_are_homed(
    calibrated: bool, make_stack: Callable[..., Stack]
) -> None:
    config = PRINTERS["delta"].config()
    for tower, place in (("b", 250.2), ("c", 249.9)) if calibrated else ():
        section = f"[stepper_{tower}]\n"
        assert section in config
        config = config.replace(section, f"{section}position_endstop: {place}\n")
    stack = make_stack(template=config)
    done(stack, "home")
    done(stack, "move", z=100)
    done(stack, "z_offset", step=-0.1)
    if not calibrated:  # Klippy would shut down with an internal error
        assert "DELTA_CALIBRATE" in refused(stack, "z_offset", save=True)
        assert stack.klippy.query("webhooks")["state"] == "ready"
        return
    assert done(stack, "z_offset", save=True) == "the offset is kept"
    stack.klippy.wait_ready()
    known = stack.klippy.query("configfile")["settings"]
    kept = [known[f"stepper_{tower}"]["position_endstop"] for tower in "abc"]
    assert kept == pytest.approx([250.1, 250.3, 250.0])


def test_klippers_own_words_belong_to_the_result(bench: Stack) -> None:
    result = bench.do("gcode", gcode="M777")
    assert (result.status, "M777" in result.message) == ("failed", True)
    result = bench.do("gcode", gcode="G1 X5")
    assert (result.status, "home" in result.message.lower()) == ("failed", True)
