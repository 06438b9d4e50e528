"""Klippy comes and goes, Moonraker comes and goes: what the hub sees, and that the plugin is back
by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.rig.gcode import make_gcode
from tests.rig.stack import Stack
from tests.stack.watching import Status, seen, state, updated

pytestmark = pytest.mark.stack

Made = Callable[..., Stack]


def obeys(stack: Stack) -> None:
    """The whole way works: a command reaches Klippy, and its effect reaches the hub."""
    result = stack.do("heat", hotend_temp=61)
    assert result.status == "done", result.message
    assert stack.klippy.query("extruder")["target"] == 61
    seen(stack, "the new target", lambda status: status["temp_hotend_target"] == 61)
    stack.do("cool_down")


def start_a_print(stack: Stack, name: str = "cube.gcode", **gcode: Any) -> None:
    """Returns when its first layer is under way; cold, unless `gcode` says otherwise."""
    stack.put(name, make_gcode(**{"seconds": 60, "layers": 40, "hotend": 0, "bed": 0, **gcode}))
    stack.print(name)

    def under_way(status: Status) -> bool:
        job = status["job"]
        return job["filename"] == name and bool(job["layer"]) and status["progress"] > 0

    seen(stack, f"{name} under way", under_way, 60)


# Klippy


def test_klippy_off_and_on_again(stack: Stack) -> None:
    stack.klippy.stop_klippy()
    gone = state(stack, "error", "Klippy is not connected")
    assert gone["klippy_state"] == "disconnected"
    assert gone["temp_hotend"] == gone["temp_hotend_target"] == 0
    stack.klippy.start()
    seen(stack, "temperatures", lambda s: s["status"] == "idle" and s["temp_hotend"] > 20)
    obeys(stack)


def test_klippy_shut_down_by_a_broken_sensor(stack: Stack) -> None:
    stack.klippy.mcu.sensor("bed", "open")
    broken = state(stack, "error", "ADC out of range")
    assert broken["klippy_state"] == "shutdown"
    stack.klippy.mcu.sensor("bed", "")
    result = stack.do("firmware_restart", timeout=60)
    assert result.status == "done", result.message
    state(stack, "idle")
    obeys(stack)


def test_klippy_with_a_fault_in_its_configuration(stack: Stack) -> None:
    good = stack.klippy.config_file.read_text(encoding="utf-8")
    try:
        stack.klippy.config_file.write_text(good.replace("max_temp: 280", "max_temp: hot"))
        stack.klippy.api("gcode/restart")
        broken = state(stack, "error", "max_temp")
        assert broken["klippy_state"] == "error"
    finally:
        stack.klippy.config_file.write_text(good)
    stack.klippy.firmware_restart()
    state(stack, "idle")
    obeys(stack)


def test_the_cable_is_cut(stack: Stack) -> None:
    stack.klippy.gcode("M104 S60")
    stack.klippy.mcu.silent()
    state(stack, "error", "Lost communication with MCU")
    stack.klippy.mcu.talk()
    stack.klippy.firmware_restart()
    state(stack, "idle")
    obeys(stack)


def test_firmware_restart_in_mid_print(stack: Stack) -> None:
    start_a_print(stack)
    stack.klippy.firmware_restart()
    idle = state(stack, "idle")
    words = stack.hub.states(stack.token)
    after = words[words.index("printing") + 1 :]
    assert after[-1] == "idle" and set(after[:-1]) == {"error"}, words
    assert (idle["progress"], idle["current_file"], idle["time_remaining"]) == (0, "", 0)
    job = seen(stack, "the job in the history", lambda s: s["history"])["history"][0]
    assert job["filename"] == "cube.gcode" and job["status"] != "completed"
    assert idle["last_completed"] == ""
    obeys(stack)


def test_klippy_killed_in_mid_print(stack: Stack) -> None:
    start_a_print(stack, hotend=60)
    stack.klippy.kill()
    state(stack, "error", "not connected")
    board = stack.klippy.mcu
    stack.hub.wait_for(lambda: board.state()["shutdown"], 20, "the board to switch itself off")
    stack.klippy.launch()
    broken = seen(stack, "the fall", lambda s: s["klippy_state"] in ("shutdown", "error"))
    assert broken["status"] == "error" and broken["state_message"]
    stack.klippy.firmware_restart()
    state(stack, "idle")
    obeys(stack)


# Moonraker


def test_moonraker_killed_and_started_in_mid_print(stack: Stack) -> None:
    start_a_print(stack, seconds=15)
    stack.moonraker.kill()
    stack.moonraker.start()
    updated(stack)
    again = state(stack, "printing")
    assert again["current_file"] == "cube.gcode" and again["progress"] > 0
    assert stack.hub.states(stack.token)[-1] == "printing"
    assert stack.do("set_flow", flow=101).status == "done"
    over = seen(stack, "the print over", lambda s: s["last_completed"], 90)
    assert re.fullmatch(r"cube\.gcode \(\d\d:\d\d\)", over["last_completed"])
    assert over["status"] == "idle"


def test_moonraker_started_beside_a_klippy_in_shutdown(stack: Stack) -> None:
    stack.moonraker.stop()
    stack.klippy.api("emergency_stop")
    stack.klippy.wait_state("shutdown", 20)
    stack.moonraker.start()
    updated(stack)
    stopped = state(stack, "error", "Shutdown due to webhooks request")
    assert stopped["klippy_state"] == "shutdown"
    seen(stack, "temperatures", lambda s: s["temp_hotend"] > 20)
    stack.klippy.firmware_restart()
    state(stack, "idle")
    obeys(stack)


def test_a_restart_within_the_process_leaves_nothing_doubled(stack: Stack) -> None:
    for _ in range(2):
        stack.moonraker.restart_in_process()
        stack.moonraker.wait_klippy()
    state(stack, "idle")
    obeys(stack)
    assert stack.moonraker.warnings() == []
    log = (stack.moonraker.logs / "tecmedhub.log").read_text(encoding="utf-8")
    starts = [line for line in log.splitlines() if "is at work" in line]
    assert len(starts) == len(set(starts)) >= 3, "each line is written once, by one handler"
    with stack.moonraker.websocket() as ws:
        command = stack.hub.queue(stack.token, "set_speed", speed=110)
        stack.hub.wait_for(lambda: stack.hub.result(stack.token, command), 20)
        ws.wait("notify_gcode_response", lambda params: "set_speed done" in params[0])
        said = [p for m, p in ws.messages if m == "notify_gcode_response" and "set_speed" in p[0]]
    assert len(said) == 2, "one line as it begins, one as it ends"


@pytest.mark.parametrize("generation", [1, 2])
def test_the_last_words(generation: int, make_stack: Made) -> None:
    stack = make_stack(generation=generation)
    assert stack.moonraker.sigterm() == 0
    last = stack.hub.status(stack.token)
    assert last is not None
    assert (last["status"], last["state_message"]) == ("offline", "Moonraker is stopping")


# The server learns something


def test_events_told_in_vain_are_told_again_once_the_hub_stores_them(stack: Stack) -> None:
    def told() -> dict[int, str]:
        updates = stack.hub.history(stack.token)
        events = [event for update in updates for event in update.body["events"]]
        assert len({event["seq"] for event in events}) == len(events), "each is told once"
        return {event["seq"]: event["kind"] for event in events}

    start_a_print(stack)
    stack.do("cancel")
    stack.hub.wait_for(lambda: "job_cancelled" in told().values(), 20, "the end of the job")
    stack.moonraker.restart_in_process()
    stack.moonraker.wait_klippy()
    updated(stack, 2)
    in_vain = told()
    assert {"job_started", "job_cancelled"} <= set(in_vain.values())
    assert stack.hub.events(stack.token) == []
    stack.hub.set(features={"events": True})

    def stored() -> dict[int, str]:
        return {e.body["seq"]: e.body["kind"] for e in stack.hub.events(stack.token)}

    stack.hub.wait_for(lambda: stored().items() >= in_vain.items(), 20, "all of them")
    assert list(stored()) == sorted(stored()), "in order"
    assert {event.deliveries for event in stack.hub.events(stack.token)} == {1}


# Both generations, end to end


@pytest.mark.parametrize("generation", [1, 2])
def test_a_pause_as_each_generation_knows_it(generation: int, make_stack: Made) -> None:
    stack = make_stack(generation=generation)

    def order(action: str, basic: str) -> None:
        if generation == 1:
            stack.hub.queue(stack.token, action)
        else:
            stack.hub.queue2(stack.token, "basic", basic)

    start_a_print(stack, seconds=30)
    order("pause", "PAUSE")
    paused = seen(stack, "the pause", lambda s: s["print_state"] == "paused")
    assert paused["status"] == "paused"
    assert paused["current_file"] == "cube.gcode"
    kept = stack.hub.printer(stack.token, generation)
    assert kept is not None and kept["status"] == paused["status"]
    order("resume", "RESUME")
    seen(stack, "it going on", lambda s: s["print_state"] == "printing")
    order("cancel", "CANCEL")
    seen(stack, "the cancelled job", lambda s: s["history"] and s["status"] == "idle")
    words = stack.hub.states(stack.token)
    expected = ["idle", "printing", "paused", "printing", "idle"]
    assert words[words.index("idle") :] == expected


# Options


def test_a_wrong_option_is_named_and_stops_nothing_else(stack: Stack) -> None:
    stack.configure(
        intervals_status_update="often",
        timeouts_server=900,
        printer_data_location="Lab Principal",
        camera_enabeld="no",
    )
    seen(stack, "the location", lambda status: status["location"] == "Lab Principal")
    warnings = "\n".join(stack.moonraker.warnings())
    for told in ("intervals_status_update", "often", "0.5 to 55", "timeouts_server", "900"):
        assert told in warnings
    assert "camera_enabeld" in warnings and "camera_enabled" in warnings
    obeys(stack)
    stack.configure()
    assert stack.moonraker.warnings() == []
