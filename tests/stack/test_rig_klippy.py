"""Real Klippy on the software micro-controller: is the printer of the other tests one?"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.gcode import make_gcode
from tests.rig.klippy import ROOT, KlippyError, KlippyRig, RigError, short_folder, wait_until


@pytest.fixture(scope="module")
def printer() -> Iterator[KlippyRig]:
    with short_folder() as folder, KlippyRig(folder) as rig:
        yield rig


@pytest.fixture
def rig(printer: KlippyRig) -> KlippyRig:
    """A printer that is ready and cold, whatever the test before has done to it."""
    printer.mcu.revive()
    printer.mcu.sensor("hotend", "")
    if printer.klippy is None:
        printer.launch()
    if printer.state() != "ready":
        printer.firmware_restart()
    printer.gcode("CANCEL_PRINT")
    printer.gcode("TURN_OFF_HEATERS")
    return printer


def test_it_homes_on_its_switches(rig: KlippyRig) -> None:
    rig.gcode("G28")
    toolhead = rig.query("toolhead")
    assert toolhead["homed_axes"] == "xyz"
    switches = {axis: rig.mcu.state()["axes"][axis]["switch"] for axis in "xyz"}
    assert None not in switches.values()
    rig.gcode("G1 X50 Y40 Z5 F6000\nM400")
    before = rig.mcu.steps("x")
    rig.gcode("G28")
    # A board that waits for the processor sees its switch late, and the carriage runs on meanwhile.
    assert rig.mcu.steps("x") - before >= 50 * 80 - 50
    assert {axis: rig.mcu.state()["axes"][axis]["switch"] for axis in "xyz"} == switches


def test_its_heaters_reach_their_targets_and_stay(rig: KlippyRig) -> None:
    rig.gcode("M140 S60\nM109 S210\nM190 S60")

    def steady() -> bool:
        read = [rig.query("extruder")["temperature"]]
        true = [rig.mcu.temperature_of(heater) for heater in ("hotend", "bed")]
        at_target = read + true == pytest.approx([210, 210, 60], abs=2)
        return at_target and 0.2 < rig.mcu.duty("hotend") < 0.6

    wait_until(steady, 60.0, "both at their targets")  # a Klippy that starves overshoots first
    rig.gcode("TURN_OFF_HEATERS")
    wait_until(lambda: rig.mcu.duty("hotend") == rig.mcu.duty("bed") == 0.0, 5.0, "heaters off")


def test_it_prints_a_file_to_its_end(rig: KlippyRig) -> None:
    text = make_gcode(seconds=4, layers=3, body="COUNT NAME=printed", objects=2, thumbnail=True)
    (rig.gcodes / "short.gcode").write_text(text, encoding="utf-8")
    counted = rig.count("printed")
    before = rig.mcu.steps("e")
    rig.gcode("SDCARD_PRINT_FILE FILENAME=short.gcode")
    rig.wait_print("printing", 10.0)
    stats = rig.wait_print("complete", 60.0)
    assert stats["info"] == {"total_layer": 3, "current_layer": 3}
    assert rig.mcu.steps("e") - before == pytest.approx(stats["filament_used"] * 3200 / 33.5, abs=2)
    assert rig.count("printed") == counted + 1
    assert rig.query("extruder")["target"] == rig.query("heater_bed")["target"] == 0
    assert rig.query("exclude_object")["objects"][1]["name"] == "PART_1"


def test_its_macros_answer_on_the_console(rig: KlippyRig) -> None:
    with rig.console() as console:
        rig.gcode("LOAD_FILAMENT TEMP=210 MATERIAL=PLA")
        assert console.wait_for("LOAD_FILAMENT TEMP=210", 5.0).endswith("LENGTH=none MATERIAL=PLA")
        rig.gcode("SLOW_MACRO SECONDS=0.5")
        console.wait_for("SLOW_MACRO finished", 5.0)
    with pytest.raises(KlippyError, match="on purpose"):
        rig.gcode("FAILING_MACRO")


def test_a_broken_sensor_shuts_it_down_and_a_firmware_restart_recovers_it(rig: KlippyRig) -> None:
    rig.gcode("G28\nM104 S100")
    rig.wait_temperature("extruder", 90.0, 30.0)
    rig.gcode("M104 S0")  # or a busy machine lets Klippy complain of the heating first
    rig.mcu.sensor("hotend", "open")
    info = rig.wait_state("shutdown", 10.0)
    assert "ADC out of range" in info["state_message"]
    assert rig.mcu.state()["shutdown"] == "ADC out of range"
    assert rig.mcu.duty("hotend") == 0.0
    rig.mcu.sensor("hotend", "")
    rig.firmware_restart()
    assert rig.query("toolhead")["homed_axes"] == ""
    rig.gcode("G28")


def test_an_emergency_stop_switches_everything_off(rig: KlippyRig) -> None:
    rig.gcode("M106 S255\nM104 S100")
    wait_until(lambda: rig.mcu.duty("hotend") > 0, 10.0, "the heater on")
    rig.api("emergency_stop")
    rig.wait_state("shutdown", 10.0)
    wait_until(lambda: rig.mcu.state()["shutdown"] == "Command request", 5.0, "the board to stop")
    assert rig.mcu.duty("hotend") == 0.0
    assert rig.mcu.state()["pins"]["part_fan"] == 0.0


def test_a_cut_cable_is_lost_communication(rig: KlippyRig) -> None:
    rig.gcode("M104 S100")
    wait_until(lambda: rig.mcu.duty("hotend") > 0, 10.0, "the heater on")
    rig.mcu.silent()
    info = rig.wait_state("shutdown", 20.0)
    assert "Lost communication with MCU" in info["state_message"]
    assert rig.mcu.duty("hotend") == 0.0, "the board itself must have noticed"
    rig.mcu.talk()
    rig.firmware_restart()


def test_a_board_without_power_comes_back(rig: KlippyRig) -> None:
    boots = rig.mcu.state()["boots"]
    rig.mcu.dead()
    assert rig.mcu.state()["link"] == "dead"
    rig.wait_state("shutdown", 20.0)
    rig.mcu.revive()
    rig.firmware_restart()
    assert rig.mcu.state()["boots"] > boots
    rig.gcode("G28")


def test_when_klippy_is_killed_the_board_switches_the_heater_off(rig: KlippyRig) -> None:
    rig.gcode("M104 S100")
    wait_until(lambda: rig.mcu.duty("hotend") > 0, 10.0, "the heater on")
    rig.kill()
    assert rig.state() == ""
    wait_until(lambda: rig.mcu.duty("hotend") == 0.0, 10.0, "the heater off")
    with pytest.raises(RigError, match="shutdown"):
        rig.start(30.0)
    rig.firmware_restart()
    assert rig.query("extruder")["target"] == 0


def test_a_restart_of_the_service_keeps_the_boards_configuration(rig: KlippyRig) -> None:
    boots = rig.mcu.state()["boots"]
    rig.restart()
    assert rig.state() == "ready"
    assert rig.mcu.state()["boots"] == boots


def test_a_folder_too_long_for_a_socket_is_refused(rig: KlippyRig) -> None:
    with pytest.raises(RigError, match="107 bytes"):
        KlippyRig(rig.data_path / ("x" * 100))


ORPHAN = """
import os, pathlib, sys
from tests.rig.klippy import KlippyRig
rig = KlippyRig(pathlib.Path(sys.argv[1]))
rig.start()
print(rig.klippy.pid, rig.board.pid, flush=True)
os._exit(1)
"""


def test_nothing_is_left_behind_when_the_tests_are_killed() -> None:
    with short_folder() as folder:
        command = [sys.executable, "-c", ORPHAN, str(folder)]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
        pids = [int(word) for word in result.stdout.split()]
        assert len(pids) == 2, result.stderr.decode()
        wait_until(lambda: not any(alive(pid) for pid in pids), 15.0, "both processes to end")


def alive(pid: int) -> bool:
    """Whether it runs: a zombie whose new parent is slow to collect it does not."""
    try:
        status = Path("/proc/%d/stat" % (pid,)).read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
