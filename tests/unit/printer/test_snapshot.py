"""What is read from Klipper's status objects."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from components.printer.machine import Machine, read_machine
from components.printer.news import news_of
from components.printer.part_fan import PartFan
from components.printer.progress import FileFacts, JobMemory
from components.printer.snapshot import (
    KlippyState,
    Snapshot,
    read_snapshot,
    subscription,
)

OBJECTS: dict[str, dict[str, Any]] = {
    "print_stats": {
        "state": "printing",
        "filename": "cubo.gcode",
        "print_duration": 60.0,
        "total_duration": 200.0,
        "filament_used": 123.4,
        "info": {"current_layer": 3, "total_layer": 10},
    },
    "toolhead": {"extruder": "extruder1", "homed_axes": "xy"},
    "gcode_move": {"speed_factor": 1.2, "extrude_factor": 0.95, "gcode_position": [1, 2, 3, 4]},
    "extruder": {"temperature": 25.0, "target": 0.0, "power": 0.0},
    "extruder1": {"temperature": 180.0, "target": 210.0, "power": 1.0},
    "heater_bed": {"temperature": 59.0, "target": 60.0, "power": 0.4},
    "heater_generic chamber": {"temperature": 40.0, "target": 40.0, "power": 0.1},
    "fan": {"speed": 0.75, "rpm": None},
    "fan_generic aux": {"speed": 0.5},
    "temperature_sensor pi": {"temperature": 51.2},
    "temperature_fan case": {"speed": 0.3, "temperature": 33.0, "target": 40.0},
    "filament_switch_sensor runout": {"filament_detected": False, "enabled": True},
    "filament_switch_sensor off": {"filament_detected": False, "enabled": False},
}


def snapshot(objects: dict[str, dict[str, Any]], **facts: Any) -> Snapshot:
    machine = Machine(limits={"extruder1": (0.0, 290.0)}, macros=frozenset({"LOAD"}))
    fan = PartFan(("fan",)) if "fan" in objects else PartFan()
    machine = machine._replace(part_fan=fan)
    known = FileFacts(**facts)
    memory = JobMemory()
    memory.follow(objects, known)
    course = memory.course(objects, known)
    return read_snapshot(KlippyState.READY, "", objects, machine, known, course)


def test_every_heater_fan_and_sensor_is_there_by_name() -> None:
    now = snapshot(OBJECTS)
    assert set(now.heaters) == {"extruder", "extruder1", "heater_bed", "heater_generic chamber"}
    assert now.extruder is not None
    assert (now.extruder.name, now.extruder.max_temp) == ("extruder1", 290.0)
    assert now.fans == {"fan": 0.75, "fan_generic aux": 0.5, "temperature_fan case": 0.3}
    assert now.sensors == {"temperature_sensor pi": 51.2, "temperature_fan case": 33.0}
    assert now.filament_sensors == {"filament_switch_sensor runout": False}
    assert (now.job.layer, now.job.layers) == (3, 10)
    assert now.heating


def test_an_absent_bed_and_fan_are_absent() -> None:
    now = snapshot({"print_stats": {}, "extruder": {"temperature": None, "target": None}})
    assert (now.bed, now.fan_speed, now.heating) == (None, None, False)
    assert now.extruder is not None
    assert now.extruder.temperature is None


@given(
    st.dictionaries(
        st.sampled_from([*OBJECTS, "virtual_sdcard", "display_status", "webhooks"]),
        st.dictionaries(
            st.sampled_from(["state", "filename", "temperature", "target", "info", "progress"]),
            st.none() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=2),
        ),
    )
)
def test_status_of_any_shape_is_read(objects: dict[str, dict[str, Any]]) -> None:
    now = snapshot(objects)
    assert 0.0 <= now.job.progress <= 1.0


def test_only_what_klipper_has_is_subscribed_to() -> None:
    there = ["extruder", "extruder2", "gcode_macro X", "heater_fan hotend", "mcu"]
    wanted = subscription(there, Machine())
    assert set(wanted) == {"extruder", "extruder2", "heater_fan hotend"}
    assert wanted["extruder2"] == ["temperature", "target", "power"]
    assert subscription(["print_stats"], Machine()) == {"print_stats": None}  # all of it


def test_heaters_and_sensors_are_what_klipper_calls_so() -> None:
    """Whatever their kind: a vendor's own is no reason to be missing."""
    there = ["extruder", "vendor_heater box", "vendor_sensor lid", "configfile", "heaters"]
    heaters = {
        "available_heaters": ["extruder", "vendor_heater box"],
        "available_sensors": ["extruder", "vendor_heater box", "vendor_sensor lid"],
    }
    settings = {"vendor_heater box": {"min_temp": 0, "max_temp": 60}}
    machine = read_machine(there, {"heaters": heaters, "configfile": {"settings": settings}})
    assert set(subscription(there, machine)) == {*there[:3]}
    status = {
        "vendor_heater box": {"temperature": 40.0},
        "vendor_sensor lid": {"temperature": 30.0},
    }
    now = read_snapshot(KlippyState.READY, "", status, machine, FileFacts())
    assert now.heaters["vendor_heater box"].max_temp == 60.0
    assert now.sensors == {"vendor_sensor lid": 30.0}


def test_a_temperature_is_no_news_a_target_is() -> None:
    news = news_of(["extruder1", "print_stats", "toolhead", "mcu"])
    assert news["extruder1"].isdisjoint({"temperature": 200.1, "power": 0.5})
    assert not news["extruder1"].isdisjoint({"target": 0.0})
    assert "state" in news["print_stats"]
    assert "position" not in news["toolhead"]
    assert news["mcu"] == frozenset()


def test_names_and_limits_come_from_klipper() -> None:
    """Klipper's settings have all names in lower case; a second hot end may share a heater."""
    there = ["gcode_macro Load_Filament", "extruder", "extruder1", "heater_generic Chamber"]
    settings = {
        "extruder": {"min_temp": 5, "max_temp": "275"},
        "extruder1": {"shared_heater": "extruder"},
        "heater_generic chamber": {"min_temp": 0, "max_temp": 70},
        "mcu": {},
    }
    machine = read_machine(there, {"configfile": {"settings": settings}})
    assert machine.macros == {"LOAD_FILAMENT"}
    assert machine.limits == {
        "extruder": (5.0, 275.0),
        "extruder1": (5.0, 275.0),
        "heater_generic Chamber": (0.0, 70.0),
    }


def test_what_is_old_is_said_to_be() -> None:
    now = read_snapshot(KlippyState.READY, "", {}, Machine(), FileFacts(), doubt="Klippy is silent")
    assert now.doubt == "Klippy is silent"
