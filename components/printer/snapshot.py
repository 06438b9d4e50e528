"""What the printer is at one moment, read from Klipper's status objects. Pure: no Klippy, no
Moonraker, no clock.

Klipper's words are kept: object names are the full names of its status ("extruder1",
"heater_generic chamber"), temperatures are °C, speeds and powers run from 0 to 1, factors are 1.0
at 100 %.
"""

from enum import Enum
from typing import Any, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Tuple

from ..runtime.loose import as_bool, as_float, as_list, as_text
from .console import plain_words
from .machine import HEATER_FAMILIES, Machine, family
from .part_fan import part_speed
from .progress import Course, FileFacts

HEATING_BELOW = 3.0  # °C under its target at which a heater counts as heating

FANS = ("fan", "fan_generic", "heater_fan", "controller_fan", "temperature_fan", "multi_fan")
PINS = ("output_pin", "pwm_tool", "servo")
FILAMENT_SENSORS = ("filament_switch_sensor", "filament_motion_sensor")

Objects = Mapping[str, Mapping[str, Any]]

# What Klipper is asked to tell of: object name, or its first word for a family of them → fields. A
# missing object is skipped. Of objects that have hardly more than what is read of them, ALL fields:
# Moonraker then need not pick them out of each diff, four times a second.
ALL: Tuple[str, ...] = ()
SUBSCRIPTION: Dict[str, Tuple[str, ...]] = {
    "webhooks": ("state", "state_message"),
    "print_stats": ALL,
    "virtual_sdcard": ALL,
    "display_status": ALL,
    "gcode_move": (
        *("speed_factor", "extrude_factor", "gcode_position"),
        *("position", "homing_origin"),
    ),
    "toolhead": ("extruder", "homed_axes", "axis_minimum", "axis_maximum"),
    "pause_resume": ALL,
    "manual_probe": ("is_active",),
    "bed_screws": ("is_active",),
    "extruder": ("temperature", "target", "power"),
    "heater_bed": ALL,
    "heater_generic": ALL,
    "fan": ("speed",),
    "fan_generic": ("speed",),
    "heater_fan": ("speed",),
    "controller_fan": ("speed",),
    "temperature_fan": ("speed", "temperature", "target"),
    "multi_fan": ("speed",),
    "output_pin": ("value",),
    "pwm_tool": ("value",),
    "servo": ("value",),
    "neopixel": ("color_data",),
    "dotstar": ("color_data",),
    "led": ("color_data",),
    "pca9533": ("color_data",),
    "pca9632": ("color_data",),
    "exclude_object": ("objects", "excluded_objects", "current_object"),
    "toolchanger": ("tool",),
    "tool": ("fan",),
    "temperature_sensor": ALL,
    "filament_switch_sensor": ("filament_detected", "enabled"),
    "filament_motion_sensor": ("filament_detected", "enabled"),
}

# Of heaters and sensors whose kind is none of these: Klipper's `heaters` object names them.
HEATER = ("temperature", "target", "power")
SENSOR = ("temperature",)


NOWHERE = Course()


class KlippyState(str, Enum):
    DISCONNECTED = "disconnected"
    STARTUP = "startup"
    READY = "ready"
    SHUTDOWN = "shutdown"
    ERROR = "error"


class Heater(NamedTuple):
    name: str
    temperature: Optional[float]  # °C
    target: Optional[float]  # °C; 0 is off
    power: Optional[float]  # 0 to 1
    min_temp: float = 0.0
    max_temp: float = 0.0  # of printer.cfg; 0 while unknown


class Job(NamedTuple):
    """Klipper's print_stats, with the progress that fits the file best."""

    state: str = ""  # standby | printing | paused | complete | cancelled | error; "" while unknown
    filename: str = ""
    message: str = ""
    progress: float = 0.0  # 0 to 1
    print_duration: float = 0.0  # seconds since the first extrusion, pauses left out
    total_duration: float = 0.0  # seconds since the start, heating included
    filament_used: float = 0.0  # mm
    layer: Optional[int] = None
    layers: Optional[int] = None
    time_share: Optional[float] = None  # 0 to 1 of the printing time, where the slicer told it


class Snapshot(NamedTuple):
    klippy: KlippyState = KlippyState.DISCONNECTED
    message: str = ""  # Klippy's own words about its state
    job: Job = Job()
    heaters: Mapping[str, Heater] = {}
    active_extruder: str = "extruder"
    fan_speed: Optional[float] = None  # what M106 sets, 0 to 1; None where there is nothing
    fans: Mapping[str, float] = {}
    pins: Mapping[str, float] = {}  # outputs that G-code can set, 0 to 1
    sensors: Mapping[str, float] = {}
    filament_sensors: Mapping[str, bool] = {}
    speed_factor: float = 1.0
    extrude_factor: float = 1.0
    homed_axes: str = ""
    position: Tuple[float, ...] = ()  # mm: x, y, z, e as G-code sees them
    macros: FrozenSet[str] = frozenset()  # upper case, hidden ones included
    display_message: str = ""
    objects: Mapping[str, Mapping[str, Any]] = {}
    file: FileFacts = FileFacts()
    machine: Machine = Machine()
    doubt: str = ""  # why all this is old, or "": Klippy has fallen silent

    @property
    def ready(self) -> bool:
        return self.klippy is KlippyState.READY

    @property
    def printing(self) -> bool:
        return self.ready and self.job.state == "printing"

    @property
    def paused(self) -> bool:
        return self.ready and self.job.state == "paused"

    @property
    def busy(self) -> bool:
        """A job owns the printer: nothing else may be started on it."""
        return self.printing or self.paused

    @property
    def paused_by_file(self) -> bool:
        """Paused by M25 or by a line that Klipper could not read: RESUME and CANCEL_PRINT do
        nothing for such a job (klippy/extras/pause_resume.py).
        """
        return self.paused and not self.flag("pause_resume", "is_paused")

    @property
    def adjusting(self) -> bool:
        """A person is about to set a height by hand; the head stands where they put it."""
        return self.flag("manual_probe", "is_active") or self.flag("bed_screws", "is_active")

    @property
    def raw_position(self) -> Tuple[float, ...]:
        """Where Klipper's own coordinates stand, in mm: x, y, z, e, whatever G92 says."""
        place = as_list(self.objects.get("gcode_move", {}).get("position"))
        return tuple(as_float(p, 0.0) for p in place) if len(place) > 3 else (0.0,) * 4

    def flag(self, name: str, field: str) -> bool:
        """A truth of Klipper's status; False where there is no such object."""
        return bool(self.objects.get(name, {}).get(field))

    @property
    def extruder(self) -> Optional[Heater]:
        return self.heaters.get(self.active_extruder) or self.heaters.get("extruder")

    @property
    def bed(self) -> Optional[Heater]:
        return self.heaters.get("heater_bed")

    @property
    def heating(self) -> bool:
        return any(
            h.target and h.temperature is not None and h.temperature < h.target - HEATING_BELOW
            for h in self.heaters.values()
        )


def subscription(available: List[str], machine: Machine) -> Dict[str, Optional[List[str]]]:
    """What to subscribe to, of the objects that Klipper lists."""
    wanted: Dict[str, Optional[List[str]]] = {}
    for name in available:
        fields = SUBSCRIPTION.get(family(name))
        if fields is None and name in machine.limits:
            fields = HEATER
        elif fields is None and name in machine.sensors:
            fields = SENSOR
        if fields is not None:
            wanted[name] = list(fields) or None
    return wanted


def read_snapshot(
    klippy: KlippyState,
    message: str,
    objects: Objects,
    machine: Machine,
    facts: FileFacts,
    course: Course = NOWHERE,
    doubt: str = "",
) -> Snapshot:
    """Make a snapshot of merged status objects; whatever is absent, null or not a number is simply
    not there.
    """
    heaters: Dict[str, Heater] = {}
    fans: Dict[str, float] = {}
    pins: Dict[str, float] = {}
    sensors: Dict[str, float] = {}
    filament: Dict[str, bool] = {}
    for name, status in objects.items():
        kind = family(name)
        if name in machine.limits or kind in HEATER_FAMILIES:
            low, high = machine.limits.get(name, (0.0, 0.0))
            heaters[name] = Heater(
                name,
                as_float(status.get("temperature")),
                as_float(status.get("target")),
                as_float(status.get("power")),
                low,
                high,
            )
        elif kind in FANS:
            speed = as_float(status.get("speed"))
            if speed is not None:
                fans[name] = speed
        elif kind in PINS:
            value = as_float(status.get("value"))
            is_fan = is_fan_pin(name) or name in machine.part_fan.names
            if value is not None:
                (fans if is_fan else pins)[name] = value
        elif kind in FILAMENT_SENSORS and status.get("enabled", True):
            filament[name] = as_bool(status.get("filament_detected"))
        if name in machine.sensors or kind in ("temperature_sensor", "temperature_fan"):
            value = as_float(status.get("temperature"))
            if value is not None:
                sensors[name] = value
    move = objects.get("gcode_move", {})
    toolhead = objects.get("toolhead", {})
    position = move.get("gcode_position") or ()
    return Snapshot(
        klippy=klippy,
        message=message,
        job=read_job(objects, course),
        heaters=heaters,
        active_extruder=as_text(toolhead.get("extruder")) or "extruder",
        fan_speed=part_speed(machine.part_fan, objects),
        fans=fans,
        pins=pins,
        sensors=sensors,
        filament_sensors=filament,
        speed_factor=as_float(move.get("speed_factor"), 1.0) or 0.0,
        extrude_factor=as_float(move.get("extrude_factor"), 1.0) or 0.0,
        homed_axes=as_text(toolhead.get("homed_axes")),
        position=tuple(as_float(p, 0.0) for p in position),
        macros=machine.macros,
        display_message=as_text(objects.get("display_status", {}).get("message")),
        objects=objects,
        file=facts,
        machine=machine,
        doubt=doubt,
    )


def is_fan_pin(name: str) -> bool:
    """Whether a pin is a fan by its name, as on Creality's printers: "output_pin fan0"."""
    return name.partition(" ")[2].lower().startswith("fan")


def read_job(objects: Objects, course: Course) -> Job:
    stats = objects.get("print_stats", {})
    return Job(
        state=as_text(stats.get("state")),
        filename=as_text(stats.get("filename")),
        message=plain_words(as_text(stats.get("message"))),
        progress=course.progress,
        print_duration=as_float(stats.get("print_duration"), 0.0),
        total_duration=as_float(stats.get("total_duration"), 0.0),
        filament_used=as_float(stats.get("filament_used"), 0.0),
        layer=course.layer,
        layers=course.layers,
        time_share=course.time_share,
    )
