"""Moves, filament, pins, lights, offsets, objects: both sides of their bounds, what is sent."""

from __future__ import annotations

from typing import Any

import pytest

from components.commands import policy
from components.commands.gcode import Refused
from components.commands.offers import Offers, offers
from components.commands.order import Order
from components.commands.policy import Situation
from components.commands.wire import Command
from components.printer.machine import Machine
from components.printer.part_fan import PartFan
from components.printer.snapshot import Heater, Job, KlippyState, Snapshot
from components.settings.model import RemoteControl, Security, Settings
from components.settings.operator import read_actions

PARTS = ("fan", "fan_generic box", "output_pin light", "neopixel bar", "exclude_object", "probe")
MACHINE = Machine(
    objects=frozenset(PARTS),
    macros=frozenset({"PURGE"}),
    part_fan=PartFan(("fan",)),
    settings={
        "printer": {"max_velocity": 300.0},
        "extruder": {"max_extrude_only_distance": 60.0, "min_extrude_temp": 170.0},
        "output_pin light": {"pwm": True, "scale": 10.0},
    },
)
OBJECTS: dict[str, dict[str, Any]] = {
    "toolhead": {"axis_minimum": [0, 0, -2, 0], "axis_maximum": [220, 220, 250, 0]},
    "gcode_move": {"position": [10, 20, 5.2, 7], "homing_origin": [0, 0, 0.2, 0]},
    "neopixel bar": {"color_data": [[0, 0, 0, 0]]},
    "exclude_object": {"objects": [{"name": "PART_1"}], "excluded_objects": []},
}
READY = Snapshot(
    klippy=KlippyState.READY,
    job=Job(state="standby"),
    heaters={
        "extruder": Heater("extruder", 200.0, 200.0, 0.5, 0.0, 280.0),
        "extruder1": Heater("extruder1", 25.0, 0.0, 0.0, 0.0, 280.0),
        "heater_generic Chamber": Heater("heater_generic Chamber", 25.0, 0.0, 0.0, 0.0, 70.0),
    },
    fan_speed=0.0,
    fans={"fan": 0.0, "fan_generic box": 0.0},
    pins={"output_pin light": 0.0},
    homed_axes="xyz",
    position=(10.0, 20.0, 5.0, 7.0),
    macros=MACHINE.macros,
    machine=MACHINE,
    objects=OBJECTS,
)
SECURITY = Security(allowed_pins=("light", "bar"), allowed_power_devices=("lamp",))


def judge(
    action: str, snapshot: Snapshot = READY, confirm: bool = False, own: Any = None, **params: Any
) -> Order:
    asked = Command("i", "1", action, 1, 0.0, params=params, confirm=confirm)
    return policy.judge(asked, Situation(SECURITY, snapshot, own=own or {}))


def script(action: str, **params: Any) -> str:
    return judge(action, **params).script


@pytest.mark.parametrize(
    ("action", "params", "sent"),
    [
        ("move", {"x": 220, "z": "10"}, "G1 X220 Z10 F3000"),
        ("move", {"x": -10, "relative": True, "speed": 300}, "G1 X0 F18000"),
        ("move", {"z": -2.2}, "G1 Z-2.2 F300"),  # the offset has moved the end of the axis
        ("extrude", {"length": 60}, "G1 E60 F300"),
        ("retract", {"length": 0.1, "speed": 40}, "G1 E-0.1 F2400"),
        ("set_pin", {"pin": "light", "value": 10}, "SET_PIN PIN=light VALUE=10"),
        ("led", {"led": "bar", "red": 1}, "SET_LED LED=bar RED=1 GREEN=0 BLUE=0 WHITE=0 SYNC=0"),
        ("z_offset", {"step": -0.1}, "SET_GCODE_OFFSET Z_ADJUST=-0.1 MOVE=1"),
        ("set_fan", {"fan": "box", "speed": 255}, "SET_FAN_SPEED FAN=box SPEED=1"),
        ("heat", {"heater": "chamber", "temp": 70}, "HEATER=Chamber TARGET=70"),
        ("heat", {"tool": 1, "hotend_temp": 60}, "HEATER=extruder1 TARGET=60"),
        ("heat", {"hotend_temp": 60, "bed_temp": 0}, "HEATER=extruder TARGET=60"),  # no bed here
    ],
)
def test_what_is_sent(action: str, params: dict[str, Any], sent: str) -> None:
    assert sent in script(action, **params)


@pytest.mark.parametrize(
    ("action", "params", "reason"),
    [
        ("move", {"x": 220.1}, "x 220.1 is out of range"),
        ("move", {"x": -10.1, "relative": True}, "out of range"),
        ("move", {"z": -2.3}, "out of range"),
        ("move", {"x": 10, "speed": 301}, "speed 301 is out of range"),
        ("move", {}, "names no axis"),
        ("extrude", {"length": 60.1}, "out of range"),
        ("retract", {"length": 0}, "out of range"),
        ("set_pin", {"pin": "light", "value": 10.1}, "out of range"),
        ("set_pin", {"pin": "heater", "value": 1}, "There is no pin"),
        ("led", {"led": "bar", "red": 1.1}, "out of range"),
        ("z_offset", {"step": 0.11}, "out of range"),
        ("set_fan", {"fan": "nothing", "speed": 1}, "There is no fan"),
        ("heat", {"heater": "chamber", "temp": 71}, "out of range"),
        ("heat", {"tool": 2, "hotend_temp": 60}, "has no hotend"),
        ("heat", {"bed_temp": 40}, "has no heated bed"),
        ("exclude_object", {"object": "PART_2"}, "it has PART_1"),
        ("power", {"device": "printer", "state": "on"}, "allowed_power_devices"),
        ("power", {"device": "lamp", "state": "maybe"}, "on or off"),
        ("queue_remove", {}, "names no job"),
    ],
)
def test_what_is_refused(action: str, params: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        judge(action, **params)


def test_only_homed_axes_move_and_only_hot_filament() -> None:
    with pytest.raises(Refused, match="X is not homed"):
        judge("move", READY._replace(homed_axes="yz"), x=1)
    cold = {"extruder": Heater("extruder", 169.0, 0.0, 0.0, 0.0, 280.0)}
    with pytest.raises(Refused, match="heat it first"):
        judge("extrude", READY._replace(heaters=cold), length=1)


@pytest.mark.parametrize(
    ("action", "params"),
    [
        ("move", {"x": 1}),
        ("extrude", {"length": 1}),
        ("z_offset", {"step": 0.05}),
        ("exclude_object", {"object": "part_1"}),
        ("power", {"device": "lamp", "state": "off"}),
    ],
)
def test_what_could_disturb_a_job_wants_a_confirmation(action: str, params: Any) -> None:
    busy = READY._replace(job=Job(state="printing", filename="a.gcode"))
    with pytest.raises(Refused, match="confirm: true"):
        judge(action, busy, **params)
    assert judge(action, busy, confirm=True, **params).verb
    assert judge("set_pin", busy, pin="light", value=1).script  # a light disturbs nobody


def test_pins_and_lights_are_only_set_where_the_operator_allows_it() -> None:
    asked = Command("i", "1", "set_pin", 1, 0.0, params={"pin": "light", "value": 1})
    with pytest.raises(Refused, match=r"security\.allowed_pins"):
        policy.judge(asked, Situation(Security(), READY))


def test_a_move_is_done_when_the_head_is_there() -> None:
    order = judge("move", x=15, y=25)
    assert not order.reached(READY)
    assert order.reached(READY._replace(position=(15.0, 25.0, 5.0, 7.0)))
    fed = judge("extrude", length=10)
    raw = {**OBJECTS, "gcode_move": {"position": [10, 20, 5.2, 17]}}
    assert (fed.reached(READY), fed.reached(READY._replace(objects=raw))) == (False, True)


OWN, _ = read_actions(
    {
        "gripper": {
            "gcode": "SET_SERVO SERVO=gripper ANGLE={angle}",
            "parameters": {"angle": {"min": 0, "max": 90, "default": 45}},
            "danger": False,
            "expiry": 5,
            "confirmation": {"object": "servo gripper", "field": "value", "equals": "{angle}"},
        },
        "purge": {"macro": "PURGE", "parameters": {"LENGTH": {"min": 1, "max": 50}}},
        "say": {
            "gcode": 'RESPOND MSG="{text}" TYPE={kind}',
            "parameters": {
                "text": {"type": "text", "max_length": 10},
                "kind": {"choices": ["echo", "error"], "default": "echo"},
            },
        },
    },
    (),
)


def test_the_operators_own_actions() -> None:
    order = judge("gripper", own=OWN)
    assert order.script == "SET_SERVO SERVO=gripper ANGLE=45"
    asked = judge("gripper", own=OWN, angle="90")
    turned = READY._replace(objects={"servo gripper": {"value": 90.0}})
    assert (asked.reached(READY), asked.reached(turned), order.reached(turned)) == (
        False,
        True,
        False,
    )
    assert judge("purge", own=OWN, LENGTH=50).script == "PURGE LENGTH=50.0"
    assert judge("say", own=OWN, text="hola que").script == 'RESPOND MSG="hola que" TYPE=echo'


@pytest.mark.parametrize(
    ("action", "params", "reason"),
    [
        ("gripper", {"angle": 91}, "out of range"),
        ("purge", {}, "LENGTH is missing"),
        ("say", {"text": 'a" M112'}, "letters, digits"),
        ("say", {"text": "a\nM112"}, "letters, digits"),
        ("say", {"text": "x" * 11}, "at most 10"),
        ("say", {"text": "a", "kind": "other"}, "one of echo, error"),
        ("unheard_of", {}, "is unknown"),
    ],
)
def test_the_operators_own_bounds(action: str, params: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        judge(action, own=OWN, **params)


def test_the_operators_own_actions_are_judged_too() -> None:
    busy = READY._replace(job=Job(state="printing", filename="a.gcode"))
    assert judge("gripper", busy, own=OWN).script  # "danger": false, and its G-code moves nothing
    with pytest.raises(Refused, match="confirm: true"):
        judge("purge", busy, own=OWN, LENGTH=5)
    old = Command("i", "1", "gripper", 1, 0.0, timestamp=0.0)
    limits = Settings().expiry
    assert policy.expiry(old, limits, 6.0, own=OWN)
    assert not policy.expiry(old, limits, 4.0, own=OWN)


def test_a_hub_can_draw_buttons_for_what_this_printer_can_do() -> None:
    settings = Settings(security=SECURITY, actions=OWN)
    found = {offer["name"]: offer for offer in offers(READY, settings)}
    assert found["move"]["parameters"]["z"] == {
        "type": "number",
        "min": -2.0,
        "max": 250.0,
        "unit": "mm",
    }
    assert found["heat"]["parameters"]["hotend_temp"]["max"] == 280.0
    assert "bed_temp" not in found["heat"]["parameters"]
    assert found["gripper"]["parameters"]["angle"]["default"] == 45.0
    assert found["set_pin"]["parameters"]["pin"]["choices"] == ["light"]
    few = settings._replace(security=Security(remote_control=RemoteControl.PRINT))
    assert {"pause", "print"} <= {offer["name"] for offer in offers(READY, few)}
    assert not {"move", "gripper"} & {offer["name"] for offer in offers(READY, few)}
    kept = Offers()
    assert kept.of(READY, settings) is kept.of(READY, settings)


def test_what_printer_cfg_lacks_is_named() -> None:
    with pytest.raises(Refused, match=r"pause needs \[pause_resume\] in printer\.cfg"):
        judge("pause", READY._replace(job=Job(state="printing")))
    with pytest.raises(Refused, match=r"\[virtual_sdcard\]"):
        judge("print_local", file="a.gcode")


def test_nothing_is_done_to_a_printer_of_which_only_old_figures_are_known() -> None:
    with pytest.raises(Refused, match="Klippy has sent nothing"):
        judge("move", READY._replace(doubt="Klippy has sent nothing for 10 s."), x=1)


def test_a_printer_that_was_switched_off_is_said_to_be() -> None:
    off = READY._replace(klippy=KlippyState.DISCONNECTED, message="Klippy is not connected")
    asked = Command("i", "1", "move", 1, 0.0, params={"x": 1})
    with pytest.raises(Refused, match=r"\[power printer\] is off: switch it on"):
        policy.judge(asked, Situation(SECURITY, off, switched_off="printer"))
