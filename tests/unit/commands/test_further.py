"""Moves, filament, pins, lights, offsets, objects: both sides of their bounds, what is sent."""

from __future__ import annotations

from typing import Any

import pytest

from components.commands import policy
from components.commands.gcode import Refused
from components.commands.offers import Offers, Parts, offers
from components.commands.order import Failed, Order
from components.commands.situation import Coming, Situation
from components.commands.wire import Command
from components.printer.machine import Machine, Templates
from components.printer.part_fan import PartFan
from components.printer.snapshot import Heater, Job, KlippyState, Snapshot
from components.printer.verbs import JobQueue
from components.settings.model import RemoteControl, Security, Settings
from components.settings.operator import read_actions

PARTS = ("fan", "fan_generic box", "output_pin light", "neopixel bar", "exclude_object", "probe")
MACHINE = Machine(
    objects=frozenset(PARTS),
    macros=frozenset({"PURGE"}),
    part_fan=PartFan(("fan",)),
    settings={
        "printer": {"max_velocity": 300.0},
        "stepper_z": {"endstop_pin": "probe:z_virtual_endstop"},
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
        ("exclude_object", {"object": "PART_1"}, "Nothing is being printed"),
        ("spool", {"spool": -1}, "out of range"),
        ("spool", {"spool": 1_000_000}, "out of range"),
        ("spool", {}, "spool is missing"),
        ("queue_start", {}, "The job queue is empty"),
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
    with pytest.raises(Refused, match="confirm: true"):
        judge(action, PRINTING, **params)
    assert judge(action, PRINTING, confirm=True, **params).verb
    assert judge("set_pin", PRINTING, pin="light", value=1).script  # a light disturbs nobody


PRINTING = READY._replace(job=Job(state="printing", filename="a.gcode", total_duration=60.0))


def refused(asked: Command, situation: Situation) -> str:
    with pytest.raises(Refused) as reason:
        policy.judge(asked, situation)
    return str(reason.value)


def test_only_an_object_of_the_job_is_left_out() -> None:
    assert judge("exclude_object", PRINTING, confirm=True, object="part_1").script
    with pytest.raises(Refused, match="it has PART_1"):
        judge("exclude_object", PRINTING, confirm=True, object="PART_2")


@pytest.mark.parametrize(("age", "runs"), [(59.0, True), (61.0, False)])
def test_what_was_asked_before_the_job_began_was_about_another(age: float, runs: bool) -> None:
    job = Job(state="printing", filename="b.gcode", total_duration=60.0)
    now = Situation(SECURITY, READY._replace(job=job), age=age)
    asked = Command("i", "1", "exclude_object", 1, 0.0, params={"object": "PART_1"}, confirm=True)
    if runs:
        assert policy.judge(asked, now).alone, "behind somebody's script may come another job"
    else:
        assert "asked before b.gcode began" in refused(asked, now)


def test_what_feeds_the_printer_stays_on_in_a_job_whatever_the_hub_confirms() -> None:
    security = Security(allowed_power_devices=("*",))
    off = Command("i", "1", "power", 1, 0.0, {"device": "psu", "state": "off"}, confirm=True)
    there = {"psu": True, "lamp": False}
    for situation in (
        Situation(security, PRINTING, power=there),
        Situation(security, READY, power=there, coming=(Coming("b.gcode", fetching=True),)),
    ):
        assert "feeds the printer" in refused(off, situation)
        lamp = off._replace(params={"device": "lamp", "state": "off"})
        assert policy.judge(lamp, situation).arguments == ("lamp", False)
        on = off._replace(params={"device": "psu", "state": "on"})
        assert policy.judge(on, situation).arguments == ("psu", True)
    assert policy.judge(off, Situation(security, READY, power=there)).arguments == ("psu", False)


@pytest.mark.parametrize(
    ("snapshot", "queue", "clear_bed", "reason"),
    [
        (READY, JobQueue("paused", 0, True), False, "is empty"),
        (READY, JobQueue("paused", 2, True), False, ""),
        (READY, JobQueue("paused", 1, True), True, ""),
        (READY, JobQueue("paused", 2, False), True, ""),
        (READY, JobQueue("paused", 2, True), True, "on top of the finished one"),
        (PRINTING, JobQueue("paused", 1, False), False, "automatic_transition is off"),
        (PRINTING, JobQueue("paused", 1, True), False, ""),
        (PRINTING, JobQueue("paused", 1, True), True, "on top of the finished one"),
        (
            READY._replace(klippy=KlippyState.SHUTDOWN),
            JobQueue("paused", 1, True),
            False,
            "Klippy is not ready",
        ),
    ],
)
def test_the_queue_is_started_where_that_leads_to_something(
    snapshot: Snapshot, queue: JobQueue, clear_bed: bool, reason: str
) -> None:
    asked = Command("i", "1", "queue_start", 1, 0.0)
    situation = Situation(Security(require_clear_bed=clear_bed), snapshot, queue=queue)
    if reason:
        assert reason in refused(asked, situation)
    else:
        assert policy.judge(asked, situation).arguments == ("start", "")


def test_an_offset_is_kept_by_a_restart_that_is_seen_in_printer_cfg() -> None:
    z = {"endstop_pin": "probe:z_virtual_endstop"}
    heights = {"probe": {"z_offset": 1.0}, "stepper_z": z, "stepper_x": {"position_endstop": 0.0}}
    at_rest = READY._replace(machine=MACHINE._replace(settings=heights))
    order = judge("z_offset", at_rest, save=True)
    assert (order.verb, order.arguments) == ("save_config", ("Z_OFFSET_APPLY_PROBE",))
    with pytest.raises(Failed, match="heights of before"):
        order.done(at_rest)
    kept = {**heights, "probe": {"z_offset": 0.8}}
    assert order.done(at_rest._replace(machine=MACHINE._replace(settings=kept)))
    with pytest.raises(Failed, match="not ready"):
        order.done(READY._replace(klippy=KlippyState.ERROR))
    for confirm in (False, True):
        with pytest.raises(Refused, match="after the job"):
            judge("z_offset", PRINTING, confirm=confirm, save=True)
    coming = Situation(SECURITY, READY, coming=(Coming("b.gcode"),))
    asked = Command("i", "1", "z_offset", 1, 0.0, params={"save": True})
    assert "about to begin" in refused(asked, coming)
    level = {**OBJECTS, "gcode_move": {"position": [1, 2, 5, 7], "homing_origin": [0, 0, 0, 0]}}
    with pytest.raises(Refused, match="no offset to keep"):
        judge("z_offset", READY._replace(objects=level), save=True)


@pytest.mark.parametrize(
    ("z", "step", "fits"),
    [(-1.9, -0.1, True), (-1.91, -0.1, False), (249.9, 0.1, True), (249.91, 0.1, False)],
)
def test_the_nozzle_is_not_lowered_past_the_end_of_its_axis(
    z: float, step: float, fits: bool
) -> None:
    at = {**OBJECTS, "gcode_move": {"position": [1, 2, z, 7], "homing_origin": [0, 0, 0, 0]}}
    if fits:
        assert judge("z_offset", READY._replace(objects=at), step=step).script
    else:
        with pytest.raises(Refused, match="Z goes from -2 to 250 mm"):
            judge("z_offset", READY._replace(objects=at), step=step)


@pytest.mark.parametrize(
    ("offset", "low", "high", "reason"),
    [
        (0.2, -0.2, 250, ""),
        (0.2, 0, 250, "would be at -0.2 mm"),
        (-0.2, 0, 0.2, ""),
        (-0.3, 0, 0.2, "would be at 0.3 mm"),
    ],
)
def test_no_offset_is_kept_with_which_klipper_would_not_start(
    offset: float, low: float, high: float, reason: str
) -> None:
    z = {
        "endstop_pin": "^PA1",
        "position_endstop": 0.0,
        "position_min": low,
        "position_max": float(high),
    }
    moved = {**OBJECTS, "gcode_move": {"position": [1, 2, 5, 7], "homing_origin": [0, 0, offset]}}
    machine = MACHINE._replace(settings={"stepper_z": z})  # it has a probe, but homes by a switch
    at = READY._replace(machine=machine, objects=moved)
    if reason:
        with pytest.raises(Refused, match=reason):
            judge("z_offset", at, save=True)
    else:
        assert judge("z_offset", at, save=True).arguments == ("Z_OFFSET_APPLY_ENDSTOP",)


def towers(*places: float | None, pin: str = "^PE4", **printer: str) -> dict[str, dict[str, Any]]:
    """printer.cfg of a delta with a probe; `places`: the position_endstop of its towers."""
    known = {
        f"stepper_{tower}": {"endstop_pin": pin, "position_endstop": place}
        for tower, place in zip("abc", places, strict=True)
    }
    return {"printer": {"kinematics": "delta", **printer}, "probe": {"z_offset": 1.0}, **known}


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        (towers(250.1, 250.2, 249.9), "ENDSTOP"),
        (towers(250.1, 250.2, 249.9, pin="tmc2209_stepper_a:virtual_endstop"), "ENDSTOP"),
        (towers(250.1, 250.2, 249.9, pin="probe:z_virtual_endstop"), "PROBE"),
        ({"carriage up": {"axis": "z", "endstop_pin": "PA1"}, "probe": {}}, "ENDSTOP"),
        ({"carriage z": {"endstop_pin": "probe:z_virtual_endstop"}}, "PROBE"),
        (
            {"stepper_z": {"endstop_pin": "tmc2209_stepper_z:virtual_endstop"}, "probe": {}},
            "ENDSTOP",
        ),
    ],
)
def test_an_offset_is_kept_by_what_homes_z(settings: Any, word: str) -> None:
    at_rest = READY._replace(machine=MACHINE._replace(settings=settings))
    assert judge("z_offset", at_rest, save=True).arguments == (f"Z_OFFSET_APPLY_{word}",)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "does not tell by what Z is homed"),
        ({"probe": {"z_offset": 1.0}}, "does not tell by what Z is homed"),
        (towers(1.0, 2.0, 3.0, kinematics="rotary_delta"), "does not tell by what Z is homed"),
        # Klipper tells the first's for those that have none, and falls when it is to change them.
        (towers(250.0, 250.0, 250.0), "run DELTA_CALIBRATE"),
        (towers(250.0, 250.1, None), "run DELTA_CALIBRATE"),
        (towers(0.3, 0.1, 0.3001), r"of \[stepper_b\]"),
    ],
)
def test_an_offset_that_klipper_would_not_keep_is_refused(settings: Any, reason: str) -> None:
    at_rest = READY._replace(machine=MACHINE._replace(settings=settings))
    with pytest.raises(Refused, match=reason):
        judge("z_offset", at_rest, save=True)


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


@pytest.mark.parametrize(
    ("gcode", "why"),
    [
        ("G1 X10", "moves the head"),
        ("n5 g28", "moves the head"),
        ("M117 hi\nG91", "changes where"),
        ("M84", "lets the axes go"),
        ("M109 S200", "keeps the head"),
        ("M104 S{t}", "turns a heater off"),
        ("SET_HEATER_TEMPERATURE HEATER=extruder TARGET={t}", "turns a heater off"),
        ("SDCARD_PRINT_FILE FILENAME=x.gcode", "starts another"),
        ("SAVE_CONFIG", "ends Klippy"),
        ("PURGE", "works out its commands"),  # a macro whose text nobody knows
        ("GO_AWAY", "moves the head"),
        ("OUTER", "moves the head"),
        ("{w} X5", "moves the head"),
    ],
)
@pytest.mark.parametrize("lane", ["gcode", "control"])
def test_no_word_of_the_operators_lets_what_disturbs_a_job_into_it(
    gcode: str, why: str, lane: str
) -> None:
    """The stricter of what was declared and what is in it, counts."""
    parameters = {
        "t": {"min": 0, "max": 250, "default": 0},
        "w": {"choices": ["G1", "M117"], "default": "G1"},
    }
    given = {name: value for name, value in parameters.items() if f"{{{name}}}" in gcode}
    raw = {"gcode": gcode, "danger": False, "lane": lane, "parameters": given}
    macros = {"GO_AWAY": "{% if 1 %}G1 X{params.X|default(0)}{% endif %}", "OUTER": "GO_AWAY"}
    machine = MACHINE._replace(templates=Templates(macros))
    macro = {"macro": gcode, "danger": False, "lane": lane}
    kinds = [raw, macro] if gcode in (*macros, "PURGE") else [raw]
    for kind in kinds:
        own, told = read_actions({"mine": kind}, ())
        assert not told
        busy = PRINTING._replace(machine=machine, macros=frozenset((*macros, "PURGE")))
        with pytest.raises(Refused, match=why):
            judge("mine", busy, own=own)
        assert judge("mine", busy, confirm=True, own=own).script
        assert judge("mine", busy._replace(job=Job(state="standby")), own=own).script


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
    assert not {"power", "spool"} & found.keys()
    parts = Parts(("lamp", "psu"), spoolman=True)
    more = {offer["name"]: offer["parameters"] for offer in offers(READY, settings, parts)}
    assert more["power"]["device"]["choices"] == ["lamp"], "what is allowed, of what is there"
    assert (more["spool"]["spool"]["min"], more["spool"]["spool"]["max"]) == (0, 999_999)
    assert "file" in more["delete_file"]
    few = settings._replace(security=Security(remote_control=RemoteControl.PRINT))
    assert {"pause", "print"} <= {offer["name"] for offer in offers(READY, few)}
    assert not {"move", "gripper"} & {offer["name"] for offer in offers(READY, few)}
    kept = Offers()
    assert kept.of(READY, settings) is kept.of(READY, settings)
    assert kept.of(READY, settings) is not kept.of(READY, settings, parts)


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
