"""Every documented action does what it says on the real Klippy, and every bound holds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rig.gcode import make_gcode
from tests.rig.klippy import short_folder
from tests.rig.stack import Stack

pytestmark = pytest.mark.stack

Asked = Callable[..., Any]


def heated(stack: Stack, heater: str) -> float:
    return float(stack.klippy.query(heater)["target"])


def homed(stack: Stack) -> set[str]:
    return set(stack.klippy.query("toolhead")["homed_axes"])


def factor(stack: Stack, name: str) -> float:
    return round(float(stack.klippy.query("gcode_move")[name]), 3)


def fan(stack: Stack) -> float:
    return round(float(stack.klippy.query("fan")["speed"]), 2)


def done(result: Any) -> str:
    assert result.status == "done", result.message
    return str(result.message)


def refused(result: Any) -> str:
    assert result.status == "refused", (result.status, result.message)
    return str(result.message)


def ask2(stack: Stack, type_: str, command: str, timeout: float = 60) -> Any:
    """Queue a generation 2 command and wait for its result."""
    number = stack.hub.queue2(stack.token, type_, command)
    return stack.moonraker.wait(
        lambda: stack.hub.result(stack.token, number), timeout, f"the result of {command}"
    )


def start_a_print(stack: Stack, seconds: float = 60) -> None:
    stack.put("cube.gcode", make_gcode(seconds=seconds))
    done(stack.do("print_local", file="cube.gcode"))
    assert stack.klippy.query("print_stats")["state"] == "printing"


def test_generation_1_at_rest(stack: Stack) -> None:
    console = stack.klippy.console()
    for axis in "xyz":
        done(stack.do(f"home_{axis}"))
        assert axis in homed(stack)
    stack.klippy.gcode("M84")
    assert homed(stack) == set()
    done(stack.do("home"))
    assert homed(stack) == set("xyz")
    done(stack.do("heat", hotend_temp=60))
    assert (heated(stack, "extruder"), heated(stack, "heater_bed")) == (60, 0)
    done(stack.do("heat", bed_temp="45.5"))
    assert (heated(stack, "extruder"), heated(stack, "heater_bed")) == (60, 45.5)
    done(stack.do("heat", hotend_temp=0, bed_temp=50))
    assert (heated(stack, "extruder"), heated(stack, "heater_bed")) == (0, 50)
    done(stack.do("cool_down"))
    assert (heated(stack, "extruder"), heated(stack, "heater_bed")) == (0, 0)
    done(stack.do("set_speed", speed=150))
    assert factor(stack, "speed_factor") == 1.5
    done(stack.do("set_flow", flow="95"))
    assert factor(stack, "extrude_factor") == 0.95
    for action, speed in (("toggle_fan", 1.0), ("toggle_fan", 0.0)):
        done(stack.do(action))
        assert fan(stack) == speed
    done(stack.do("set_fan", speed=128))
    assert fan(stack) == 0.5
    done(stack.do("fan_off"))
    assert fan(stack) == 0
    done(stack.do("gcode", gcode="; two lines\nM104 S55\nm140 s44 ; and a comment"))
    assert (heated(stack, "extruder"), heated(stack, "heater_bed")) == (55, 44)
    done(stack.do("macro", macro_name="LOAD_FILAMENT", params={"TEMP": 210, "MATERIAL": "PLA +"}))
    assert console.wait_for("LOAD_FILAMENT TEMP=210", 5).endswith("MATERIAL=PLA +")
    assert "hub: macro" in console_of(stack).lower()


def console_of(stack: Stack) -> str:
    """What stands in the console of Mainsail and Fluidd."""
    kept = stack.moonraker.get("/server/gcode_store", count=300)["gcode_store"]
    return "\n".join(row["message"] for row in kept)


def test_generation_1_and_the_job(stack: Stack) -> None:
    start_a_print(stack)
    done(stack.do("pause"))
    assert stack.klippy.query("print_stats")["state"] == "paused"
    assert "already" in done(stack.do("pause"))
    done(stack.do("resume"))
    assert stack.klippy.query("print_stats")["state"] == "printing"
    refused(stack.do("print_local", file="cube.gcode"))
    assert "queue" in done(stack.do("print_local", file="cube.gcode", queue=True))
    queue = stack.moonraker.get("/server/job_queue/status")["queued_jobs"]
    assert [job["filename"] for job in queue] == ["cube.gcode"]
    for action in ("home", "home_x", "cool_down", "firmware_restart", "reboot", "shutdown"):
        assert "confirm: true" in refused(stack.do(action))
    assert "G1" in refused(stack.do("gcode", gcode="M104 S60\nG1 X10"))
    done(stack.do("set_speed", speed=120))
    done(stack.do("gcode", gcode="M117 printing"))
    done(stack.do("cancel"))
    assert stack.klippy.query("print_stats")["state"] == "cancelled"
    for action in ("pause", "resume", "cancel"):
        refused(stack.do(action))
    assert stack.klippy.state() == "ready"


def test_confirmed_danger_runs(stack: Stack) -> None:
    start_a_print(stack)
    done(stack.do("pause"))
    done(stack.do("home", confirm=True, timeout=40))
    done(stack.do("gcode", gcode="G1 X15 F6000", confirm="1"))
    done(stack.do("cool_down", confirm=True))
    done(stack.do("firmware_restart", confirm=True, timeout=60))
    assert stack.klippy.state() == "ready"
    assert stack.klippy.query("print_stats")["state"] == "standby"


def test_generation_2(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack(generation=2)
    done(ask2(stack, "basic", "HOME"))
    assert homed(stack) == set("xyz")
    done(ask2(stack, "gcode", "M104 S50\nM140 S40"))
    assert (heated(stack, "extruder"), heated(stack, "heater_bed")) == (50, 40)
    done(ask2(stack, "gcode", "M220 S120"))
    assert factor(stack, "speed_factor") == 1.2
    done(ask2(stack, "basic", "COOL_DOWN"))
    assert heated(stack, "extruder") == 0
    done(ask2(stack, "basic", "HEAT:hotend_temp=40 bed_temp=30"))
    assert (heated(stack, "extruder"), heated(stack, "heater_bed")) == (40, 30)
    done(ask2(stack, "basic", "SET_SPEED:80"))
    assert factor(stack, "speed_factor") == 0.8
    done(ask2(stack, "basic", "SET_FLOW:110"))
    assert factor(stack, "extrude_factor") == 1.1
    done(ask2(stack, "basic", "SET_FAN:255"))
    done(ask2(stack, "basic", "TOGGLE_FAN"))
    assert fan(stack) == 0
    done(ask2(stack, "macro", "COUNT NAME=two N=3"))
    assert stack.klippy.count("two") == 3
    assert "RESTART" in refused(ask2(stack, "gcode", "G28\nRESTART"))
    assert "unknown" in refused(ask2(stack, "basic", "FLY"))
    stack.put("cube.gcode", make_gcode(seconds=60))
    done(ask2(stack, "basic", "PRINT_LOCAL:cube.gcode"))
    done(ask2(stack, "basic", "PAUSE"))
    assert stack.klippy.query("print_stats")["state"] == "paused"
    done(ask2(stack, "basic", "RESUME"))
    done(ask2(stack, "basic", "CANCEL"))
    assert stack.klippy.query("print_stats")["state"] == "cancelled"
    done(ask2(stack, "basic", "EMERGENCY_STOP"))
    assert stack.klippy.state() == "shutdown"
    assert "firmware_restart" in refused(ask2(stack, "basic", "HOME"))
    done(ask2(stack, "basic", "FIRMWARE_RESTART", timeout=60))
    assert stack.klippy.state() == "ready"


BOUNDS = [
    ("set_speed", "speed", 50, 200),
    ("set_flow", "flow", 75, 125),
    ("set_fan", "speed", 0, 255),
    ("heat", "hotend_temp", 0, 280),
    ("heat", "bed_temp", 0, 130),
]


def test_every_bound_on_both_sides_of_its_edges(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack(options={"security_rate_limit_seconds": 0})
    asked = []
    for action, name, low, high in BOUNDS:
        for value, state in (
            (low, "done"),
            (high, "done"),
            (low - 1, "refused"),
            (high + 1, "refused"),
        ):
            asked.append(
                (stack.hub.queue(stack.token, action, **{name: value}), state, action, value)
            )
    for command, state, action, value in asked:
        result = stack.moonraker.wait(
            lambda command=command: stack.hub.result(stack.token, command), 30, f"{action} {value}"
        )
        assert result.status == state, (action, value, result.message)
    assert heated(stack, "heater_bed") == 130
    assert (factor(stack, "speed_factor"), factor(stack, "extrude_factor")) == (2.0, 1.25)


def test_klippys_own_words_come_back(stack: Stack) -> None:
    stack.klippy.gcode("M84")
    result = stack.do("gcode", gcode="G1 X10")
    assert (result.status, "Must home" in result.message) == ("failed", True)
    result = stack.do("macro", macro_name="FAILING_MACRO")
    assert (result.status, "on purpose" in result.message) == ("failed", True)
    assert "hidden" in refused(stack.do("macro", macro_name="_HIDDEN"))
    assert "no gcode_macro" in refused(stack.do("macro", macro_name="NO_SUCH"))
    assert "emergency_stop" in refused(stack.do("gcode", gcode="G28\nN5 m112*33"))
    assert "could end it" in refused(
        stack.do("macro", macro_name="LOAD_FILAMENT", params={"TEMP": "210\nM104 S250"})
    )
    assert "not among the printer's files" in refused(stack.do("print_local", file="gone.gcode"))


def test_a_restart_and_what_was_asked_behind_it(stack: Stack) -> None:
    stack.klippy.mcu.shutdown("Timer too close")
    stack.klippy.wait_state("shutdown", 10)
    assert "Timer too close" in refused(stack.do("set_speed", speed=110))
    with stack.hub.transaction():
        asked = [
            stack.hub.queue(stack.token, "firmware_restart"),
            stack.hub.queue(stack.token, "set_speed", speed=130),
        ]
    for command in asked:
        done(
            stack.moonraker.wait(
                lambda id_=command: stack.hub.result(stack.token, id_), 60, "a result"
            )
        )
    assert factor(stack, "speed_factor") == 1.3


def test_an_old_command_is_reported_and_not_run(stack: Stack) -> None:
    old = stack.hub.now() - 130
    result = stack.do("heat", hotend_temp=60, timestamp=old)
    assert result.status == "expired"
    assert heated(stack, "extruder") == 0


def test_age_is_told_by_the_hubs_clock(make_stack: Callable[..., Stack]) -> None:
    """The Pi has no clock of its own: a hub ten years ahead still gets its commands run."""
    stack = make_stack(connected=False)
    stack.hub.set(clock_offset=10 * 365 * 86400.0)
    stack.wait_connected()
    done(stack.do("set_speed", speed=110))
    assert stack.do("set_speed", speed=90, timestamp=stack.hub.now() - 130).status == "expired"
    assert factor(stack, "speed_factor") == 1.1


def test_the_kill_switch_and_the_bed_from_a_macro(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack(
        options={"security_require_clear_bed": True},
        extra_config="""
[gcode_macro REMOTE_OFF]
gcode:
    {action_call_remote_method("tecmedhub_remote_off")}
[gcode_macro REMOTE_ON]
gcode:
    {action_call_remote_method("tecmedhub_remote_on")}
[gcode_macro BED_CLEAR]
gcode:
    {action_call_remote_method("tecmedhub_bed_clear")}
""",
    )
    stack.klippy.gcode("REMOTE_OFF")
    assert "switched off at the printer" in refused(stack.do("set_speed", speed=110))
    stack.moonraker.kill()
    stack.moonraker.start()
    stack.moonraker.wait_klippy()
    refused(stack.do("set_speed", speed=110))
    stack.klippy.gcode("REMOTE_ON")
    done(stack.do("set_speed", speed=110))
    start_a_print(stack)
    done(stack.do("cancel"))
    assert "tecmedhub_bed_clear" in refused(stack.do("print_local", file="cube.gcode"))
    stack.moonraker.wait(
        lambda: stack.hub.status(stack.token)["bed_status"] == "needs clearing",
        10,
        "the bed status",
    )
    stack.klippy.gcode("BED_CLEAR")
    done(stack.do("print_local", file="cube.gcode"))


@pytest.fixture
def harmless_machine() -> Iterator[tuple[Stack, Path]]:
    """A chain whose Moonraker believes itself outside any container, and whose `sudo`, `systemctl`
    and the like only write their calls down."""
    with short_folder("s") as folder:
        tools, calls = folder / "bin", folder / "calls"
        tools.mkdir()
        calls.touch()
        for name in ("sudo", "systemctl", "reboot", "poweroff", "halt", "shutdown"):
            tool = tools / name
            tool.write_text(f'#!/bin/sh\necho "{name} $*" >> "{calls}"\n')
            tool.chmod(0o755)
        stack = Stack(folder)
        stack.moonraker.environment["PATH"] = f"{tools}:{os.environ['PATH']}"
        with stack:
            stack.moonraker.stop()
            machine = stack.moonraker.source / "moonraker" / "components" / "machine.py"
            text = machine.read_text()
            machine.write_text(text.replace("inside_container = True", "inside_container = False"))
            stack.moonraker.start()
            stack.moonraker.wait_klippy()
            yield stack, calls


@pytest.mark.parametrize(("action", "word"), [("reboot", "reboot"), ("shutdown", "poweroff")])
def test_the_machine(harmless_machine: tuple[Stack, Path], action: str, word: str) -> None:
    stack, calls = harmless_machine
    command = stack.hub.queue(stack.token, action)
    stack.moonraker.wait(calls.read_text, 20, "the machine to be asked")
    assert word in calls.read_text()
    asked = len(calls.read_text().splitlines())
    stack.moonraker.kill()  # as the machine's end would
    stack.moonraker.start()
    result = stack.moonraker.wait(lambda: stack.hub.result(stack.token, command), 20, "the result")
    assert result.status == "interrupted"  # the machine's boot id is what it was
    assert len(calls.read_text().splitlines()) == asked
