"""The status body against the printer itself, as Klippy's own socket tells of it."""

from __future__ import annotations

import datetime
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rig.gcode import make_gcode
from tests.rig.stack import Stack
from tests.stack.watching import Status, seen, state, updated

pytestmark = pytest.mark.stack

Made = Callable[..., Stack]

# The body as the README of client v4 shows it.
DOCUMENTED = (
    *("action", "token", "name", "client_version", "timestamp", "status"),
    *("temp_hotend", "temp_bed", "temp_hotend_target", "temp_bed_target"),
    *("print_speed", "fan_speed", "progress", "current_file", "time_remaining", "last_completed"),
    *("uptime", "system", "files", "tags", "filament", "bed_status", "location", "image"),
)

SECOND_HOTEND = """
[extruder1]
step_pin: e1_step
dir_pin: e1_dir
enable_pin: !e1_enable
microsteps: 16
rotation_distance: 33.5
nozzle_diameter: 0.4
filament_diameter: 1.75
heater_pin: hotend1_heater
sensor_type: EPCOS 100K B57560G104F
sensor_pin: hotend1_sensor
min_temp: 0
max_temp: 250
control: watermark

[heater_generic enclosure]
heater_pin: chamber_heater
sensor_type: temperature_host
sensor_path: %s
min_temp: 0
max_temp: 80
control: watermark
"""


def test_every_figure_is_the_printers(make_stack: Made, folder: Path) -> None:
    sensor = folder / "celsius"
    sensor.write_text("31500\n")  # thousandths
    stack = make_stack(
        extra_config=SECOND_HOTEND % (sensor,),
        name="🦄 Mi Impresora",
        options={
            "printer_data_tags": "Prusa, PLA",
            "printer_data_filament_material": "PLA",
            "printer_data_filament_remaining": "80",
            "printer_data_location": "Lab Principal",
            "printer_data_bed_status": "limpia",
        },
    )
    klippy = stack.klippy
    klippy.gcode("G28\nG1 X30 Y40 Z5 F6000\nM400")
    klippy.gcode("M140 S60\nM109 S80\nM190 S60\nM220 S306\nM221 S97\nM106 S191")
    klippy.gcode(
        "SET_HEATER_TEMPERATURE HEATER=extruder1 TARGET=45\nSET_FAN_SPEED FAN=aux_fan SPEED=0.4"
    )
    status = seen(stack, "all of it", lambda s: s["fans"].get("fan_generic aux_fan") == 40)
    assert status["print_speed"] == 306  # client v4 sent 305
    assert status["print_flow"] == 97
    assert status["fan_speed"] == 75
    assert (status["temp_hotend_target"], status["temp_bed_target"]) == (80, 60)

    def as_hot_as_they_are(status: Status) -> bool:
        heaters = [klippy.query(name)["temperature"] for name in ("extruder", "heater_bed")]
        return [status["temp_hotend"], status["temp_bed"]] == pytest.approx(heaters, abs=3)

    seen(stack, "the temperatures", as_hot_as_they_are)  # a starved Klippy lets them swing
    assert status["temp_hotend"] == round(status["temp_hotend"], 1)
    heaters = status["heaters"]
    assert set(heaters) == {"extruder", "extruder1", "heater_bed", "heater_generic enclosure"}
    assert heaters["extruder1"]["target"] == 45
    assert heaters["heater_generic enclosure"]["temperature"] == 31.5
    assert "temperature_sensor chamber" in status["sensors"]
    assert status["fans"]["heater_fan hotend_fan"] == 100  # above heater_temp
    assert status["homed_axes"] == "xyz"
    assert status["position"][:3] == [30, 40, 5]
    assert (status["print_state"], status["klippy_state"]) == ("standby", "ready")

    klippy.gcode("ACTIVATE_EXTRUDER EXTRUDER=extruder1")
    other = seen(stack, "the other hot end", lambda s: s["temp_hotend_target"] == 45)
    assert other["temp_hotend"] == other["heaters"]["extruder1"]["temperature"]

    assert other["name"] == "🦄 Mi Impresora"
    assert other["tags"] == ["Prusa", "PLA"]
    assert other["filament"] == {"material": "PLA", "remaining": 80}
    assert (other["location"], other["bed_status"]) == ("Lab Principal", "limpia")
    assert (other["action"], other["token"]) == ("update_printer", stack.token)
    assert re.fullmatch(r"5\.\d+\.\d+", other["client_version"])
    stamp = datetime.datetime.fromisoformat(other["timestamp"])
    assert stamp.utcoffset() is not None
    assert abs(stamp.timestamp() - time.time()) < 120
    assert re.fullmatch(r"\d+h \d+m", other["uptime"])
    assert other["system"]["memory_usage"] > 10  # MB used, of the computer
    assert set(other["system"]) == {"cpu_usage", "memory_usage", "cpu_temp"}
    assert isinstance(other["network"], dict)
    assert 0 < other["disk"]["free"] <= other["disk"]["total"]
    assert (other["progress"], other["time_remaining"], other["current_file"]) == (0, 0, "")


def test_each_update_is_complete(stack: Stack) -> None:
    """The hub replaces what it knows: a field left out would be lost, also while Klippy is off."""
    stack.klippy.stop_klippy()
    state(stack, "error", "not connected")
    stack.klippy.start()
    state(stack, "idle")
    for status in stack.hub.history(stack.token):
        assert not set(DOCUMENTED) - set(status.body), status.status


def test_files_are_followed_by_events(stack: Stack) -> None:
    def names(status: Status) -> list[str]:
        return [entry["name"] for entry in status["files"]]

    stack.put("first.gcode", make_gcode(seconds=1))
    seen(stack, "the first file", lambda s: names(s) == ["first.gcode"])
    stack.put("señal 🦄.gcode", make_gcode(seconds=1, tail=2_621_440))
    status = seen(
        stack, "the newest first", lambda s: names(s) == ["señal 🦄.gcode", "first.gcode"]
    )
    size = (stack.gcodes / "señal 🦄.gcode").stat().st_size
    entry = status["files"][0]
    assert entry["size"] == f"{size / 1048576:.1f} MB"
    assert abs(entry["modified"] - time.time()) < 120
    body = {"source": "gcodes/first.gcode", "dest": "gcodes/second.gcode"}
    stack.moonraker.post("/server/files/move", body)
    seen(stack, "the new name", lambda s: set(names(s)) == {"señal 🦄.gcode", "second.gcode"})
    stack.moonraker.delete("/server/files/gcodes/second.gcode")
    seen(stack, "one file less", lambda s: names(s) == ["señal 🦄.gcode"])
    (stack.gcodes / "lab").mkdir()
    (stack.gcodes / "lab" / "copied.gcode").write_text(make_gcode(seconds=1))  # past Moonraker
    seen(stack, "the file in a folder", lambda s: "lab/copied.gcode" in names(s))


def test_the_fifty_newest_files(stack: Stack) -> None:
    now = int(time.time())
    for age in range(60):
        path = stack.folder / f"{age:02}.gcode"
        path.write_text("G28\n")
        os.utime(path, (now - age, now - age))
        path.rename(stack.gcodes / path.name)
    expected = [f"{age:02}.gcode" for age in range(50)]
    seen(stack, "the newest fifty", lambda s: [f["name"] for f in s["files"]] == expected)

    def scanned() -> bool:
        folder = stack.moonraker.get("/server/files/directory?path=gcodes&extended=true")
        return all("uuid" in file for file in folder["files"])

    # Moonraker of its own accord hangs at its exit when it is told to go in the middle of this.
    stack.moonraker.wait(scanned, 120, "Moonraker to have looked into sixty files")


def test_changes_do_not_wait_for_the_next_update(make_stack: Made) -> None:
    """The next regular update is 55 s away, and the waiting here ends long before that."""
    stack = make_stack(options={"intervals_status_update": 55, "intervals_command_check": 55})
    klippy, soon = stack.klippy, 25
    klippy.gcode("M104 S60")
    seen(stack, "the target", lambda s: s["temp_hotend_target"] == 60, soon)
    klippy.gcode("M220 S150\nM106 S255")
    seen(stack, "factor and fan", lambda s: (s["print_speed"], s["fan_speed"]) == (150, 100), soon)
    stack.put("cube.gcode", make_gcode(seconds=40, hotend=0, bed=0))
    seen(stack, "the file", lambda s: s["files"], soon)
    stack.print("cube.gcode")
    seen(stack, "the print", lambda s: s["status"] == "printing", soon)
    stack.moonraker.post("/printer/print/pause")
    seen(stack, "the pause", lambda s: s["print_state"] == "paused", soon)
    stack.moonraker.post("/printer/print/cancel")
    seen(stack, "the end", lambda s: s["status"] == "idle" and s["history"], soon)
    klippy.api("emergency_stop")
    seen(stack, "the stop", lambda s: s["status"] == "error", soon)


def test_progress_is_the_slicers_word(stack: Stack) -> None:
    """M73 says 40 % near the file's beginning: that is what counts."""
    text = make_gcode(
        seconds=4, layers=2, m73=False, hotend=0, bed=0, body="M73 P40 R12\nPAUSE", tail=20000
    )
    stack.put("m73.gcode", text)
    stack.print("m73.gcode")
    stack.klippy.wait_print("paused", 30)
    seen(stack, "M73's progress", lambda s: s["print_state"] == "paused" and s["progress"] == 40)


def test_progress_by_bytes_counts_no_comments(stack: Stack) -> None:
    """Thumbnails before the G-code and settings behind it are no print."""
    half = "PAUSE\n" + "G4 P1\n" * 2000
    text = make_gcode(
        seconds=1,
        layers=1,
        m73=False,
        hotend=0,
        bed=0,
        head=150_000,
        tail=150_000,
        body="G4 P1\n" * 2000 + half,
    )
    stack.put("bytes.gcode", text)
    stack.print("bytes.gcode")
    stack.klippy.wait_print("paused", 60)
    card = stack.klippy.query("virtual_sdcard")
    lines = text.encode().splitlines(keepends=True)
    gcode = [i for i, line in enumerate(lines) if line.strip() and not line.startswith(b";")]
    first = sum(len(line) for line in lines[: gcode[0]])
    last = sum(len(line) for line in lines[: gcode[-1] + 1])
    share = (card["file_position"] - first) / (last - first)
    assert 0.3 < share < 0.7
    percent = round(share * 100)
    seen(stack, f"{percent} %", lambda s: abs(s["progress"] - percent) <= 1)
    stack.moonraker.post("/printer/print/resume")
    over = seen(stack, "the end", lambda s: s["status"] == "idle", 60)
    assert over["progress"] == 100


def test_the_m73_of_the_job_before_is_not_that_of_the_next(stack: Stack) -> None:
    stack.put("first.gcode", make_gcode(seconds=4, hotend=0, bed=0))
    text = make_gcode(seconds=25, m73=False, hotend=0, bed=0, estimate=7200)
    stack.put("second.gcode", text)
    stack.print("first.gcode")
    stack.klippy.wait_print("complete", 60)
    stack.print("second.gcode")

    def under_way(status: Status) -> bool:
        return status["current_file"] == "second.gcode" and bool(status["progress"])

    now = seen(stack, "the second job", under_way)
    assert now["progress"] < 60
    assert now["time_remaining"] > 60


def test_progress_is_kept_through_a_pause(stack: Stack) -> None:
    lines = make_gcode(seconds=12, layers=2, m73=False, hotend=60, bed=0, estimate=3600).split("\n")
    at = lines.index(";LAYER_CHANGE")
    lines[at:at] = ["M73 P0 R60", "G1 X60 Y60 E1 F3000", "M73 P70 R18", "PAUSE"]
    stack.put("p.gcode", "\n".join(lines))
    stack.print("p.gcode")
    stack.klippy.wait_print("paused", 60)
    stack.klippy.wait_idle(30)  # a second later Klipper drops M73
    updated(stack, 2)
    now = stack.hub.status(stack.token)
    assert now is not None
    assert (now["status"], now["progress"], now["time_remaining"]) == ("paused", 70, 18)


def test_layers_of_a_file_that_tells_klipper_nothing(stack: Stack) -> None:
    stack.put("quiet.gcode", make_gcode(seconds=10, layers=4, layer_info=False, bed=0))
    stack.print("quiet.gcode")
    now = seen(stack, "the third layer", lambda s: (s["job"]["layer"] or 0) >= 3, 60)
    assert now["job"]["layers"] == 4


def test_a_hub_that_can_tell_null_from_0_is_told_null(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack(features={"null_times": True})
    text = make_gcode(seconds=20, estimated_time=False, m73=False, hotend=210, bed=60)
    stack.put("unknown.gcode", text)
    stack.print("unknown.gcode")
    seen(stack, "no time", lambda s: s["print_state"] == "printing" and s["time_remaining"] is None)
    seen(stack, "a time", lambda s: s["time_remaining"] == 0 and s["progress"] > 5, 60)


def test_time_remaining_is_the_slicers_and_heating_is_none_of_it(stack: Stack) -> None:
    text = make_gcode(seconds=20, layers=4, hotend=210, bed=60, estimate=3600)
    stack.put("long.gcode", text)
    stack.print("long.gcode")

    def heating_up(status: Status) -> bool:
        job = status["job"]
        before = status["print_state"] == "printing" and not job["layer"]
        return before and bool(job["total_duration"] > 1)

    heating = seen(stack, "heating", heating_up)
    assert heating["time_remaining"] == 60
    assert heating["job"]["estimate"] == 3600
    later = seen(stack, "a quarter", lambda s: s["progress"] >= 10, 60)
    assert later["job"]["print_duration"] < later["job"]["total_duration"]
    done = later["progress"] / 100
    assert 0 < later["time_remaining"] < 60 * (1 - done) + 1
    stack.moonraker.post("/printer/print/cancel")
    assert seen(stack, "the end", lambda s: s["status"] == "idle")["time_remaining"] == 0


def test_history_and_the_last_completed(stack: Stack) -> None:
    stack.put("pieza.gcode", make_gcode(seconds=2, hotend=60, bed=0))
    stack.print("pieza.gcode")
    over = seen(stack, "the end", lambda s: s["history"] and s["status"] == "idle", 60)
    ended = datetime.datetime.fromtimestamp(over["history"][0]["end_time"])
    assert over["last_completed"] == f"pieza.gcode ({ended:%H:%M})"
    job = over["history"][0]
    assert (job["filename"], job["status"]) == ("pieza.gcode", "completed")
    used = stack.klippy.query("print_stats")["filament_used"]
    assert job["filament_used"] == pytest.approx(used, abs=0.1) and used > 0
    stack.put("otra.gcode", make_gcode(seconds=30, hotend=0, bed=0))
    stack.print("otra.gcode")
    seen(stack, "the next print", lambda s: s["current_file"] == "otra.gcode")
    stack.moonraker.post("/printer/print/cancel")
    after = seen(stack, "two jobs", lambda s: len(s["history"]) == 2)
    assert [job["status"] for job in after["history"]] == ["cancelled", "completed"]
    assert after["last_completed"] == over["last_completed"]
    stack.moonraker.kill()
    stack.moonraker.start()  # Moonraker's history is read again
    updated(stack, 2)
    again = seen(stack, "the history", lambda s: len(s["history"]) == 2)
    assert again["last_completed"] == over["last_completed"]


PAUSES = """
[gcode_macro M600]
gcode:
    PAUSE
[gcode_macro LUNCH]
gcode:
    PAUSE
[filament_switch_sensor runout]
switch_pin: spare5
event_delay: 0.5
pause_delay: 0.1
"""


def pauses_somebody(stack: Stack, how: str) -> str:
    """Have a running job paused; the reason that is told."""
    if how == "runout":
        stack.klippy.mcu.switch("spare5", False)
        return "no filament at the sensor runout"
    if how == "hub":
        assert stack.do("pause", timeout=60).status == "done"
        return "paused by the hub"
    if how == "user":
        stack.moonraker.post("/printer/gcode/script", {"script": "PAUSE"})
        return "paused by PAUSE, sent to the printer"
    if how == "macro":
        stack.klippy.gcode("LUNCH")  # as a button at the printer calls it
        return "paused at the printer, by a person or a macro"
    return f"paused by {how} in the file"


@pytest.mark.parametrize("how", ["M600", "M25", "runout", "macro", "user", "hub"])
def test_the_reason_of_a_pause(make_stack: Callable[..., Stack], how: str) -> None:
    stack = make_stack(extra_config=PAUSES, features={"events": True, "full_status": True})
    stack.klippy.mcu.switch("spare5", True)
    seen(
        stack,
        "filament",
        lambda s: s["filament_sensors"] == {"filament_switch_sensor runout": True},
    )
    body = how if how.startswith("M") else ""
    stack.put("p.gcode", make_gcode(seconds=20, hotend=0, bed=0, body=body))
    stack.print("p.gcode")
    if not body:
        state(stack, "printing")
    reason = pauses_somebody(stack, how)
    state(stack, "paused", reason)
    stack.klippy.mcu.switch("spare5", True)

    stack.moonraker.kill()
    stack.moonraker.start()
    state(stack, "paused", reason)  # also after a restart in the pause

    assert stack.do("resume", timeout=60).status == "done"
    stack.klippy.gcode("M220 S1000")  # what is left of it is no matter here
    over = seen(stack, "the end", lambda s: s["history"] and s["status"] == "idle", 60)
    (pause,) = over["history"][0]["pauses"]
    assert pause["reason"] == reason
    assert over["history"][0]["start_time"] < pause["at"] < over["history"][0]["end_time"]
    assert 0 < pause["seconds"] < over["history"][0]["total_duration"]
    beside = "" if how == "hub" else f" – {reason}"
    assert over["last_completed"].endswith(f"){beside}")

    def told() -> list[str]:
        events = [event.body for event in stack.hub.events(stack.token)]
        return [e["data"]["message"] for e in events if e["kind"] == "job_paused"]

    stack.hub.wait_for(told, 30, "the event of the pause")
    assert told() == [reason]
