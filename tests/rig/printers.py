"""Printers as labs have them, each as a printer.cfg for the software board (`KlippyRig.template`).

Stack(folder, template=PRINTERS["like SV08"].config())
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .klippy import TEMPLATE


@dataclass(frozen=True)
class Model:
    """How a printer differs from the template: sections left out, sections added, and what is to
    be seen of it.
    """

    without: tuple[str, ...] = ()  # sections, by the beginning of their names
    parts: str = ""
    kinematics: str = "cartesian"
    bed: bool = True
    fan: str = "fan"  # the object that M106 sets; "" where there is none
    heaters: tuple[str, ...] = ("extruder", "heater_bed")
    file: str = "print.gcode"
    prepare: str = ""  # at the beginning of what is printed

    def config(self) -> str:
        text = TEMPLATE.read_text(encoding="utf-8")
        for name in self.without:
            text = re.sub(rf"(?ms)^\[{re.escape(name)}[^\]]*\]\n.*?(?=^\[|^#|^\$|\Z)", "", text)
        text = text.replace("kinematics: cartesian", f"kinematics: {self.kinematics}")
        return text.replace("$extra", self.parts + "\n$extra")


def macro(name: str, *lines: str, rename: str = "") -> str:
    renamed = f"rename_existing: {rename}\n" if rename else ""
    return f"[gcode_macro {name}]\n{renamed}gcode:\n" + "".join(f"    {line}\n" for line in lines)


_S = "{params.S|default(255)|float / 255}"
_PID = "control: pid\npid_Kp: $hotend_kp\npid_Ki: $hotend_ki\npid_Kd: $hotend_kd\n"
_SENSOR = "sensor_type: EPCOS 100K B57560G104F\n"
_LIMITS = "min_temp: 0\nmax_temp: 280\n"
_E1 = (
    "[extruder1]\nstep_pin: e1_step\ndir_pin: e1_dir\nenable_pin: !e1_enable\nmicrosteps: 16\n"
    "rotation_distance: 33.5\nnozzle_diameter: 0.4\nfilament_diameter: 1.75\n"
)


def _stepper(name: str, axis: str, more: str) -> str:
    return (
        f"[{name}]\nstep_pin: {axis}_step\ndir_pin: {axis}_dir\nenable_pin: !{axis}_enable\n"
        f"microsteps: 16\n{more}"
    )


_DELTA = "".join(
    _stepper(
        f"stepper_{name}",
        axis,
        f"endstop_pin: ^{axis}_stop\nrotation_distance: 40\nhoming_speed: 100\n"
        "homing_retract_dist: 0\n"
        + ("position_endstop: 250\narm_length: 250\n" if axis == "x" else ""),
    )
    for name, axis in (("a", "x"), ("b", "y"), ("c", "z"))
)
_POLAR = (
    _stepper("stepper_bed", "y", "gear_ratio: 80:16\n")
    + _stepper(
        "stepper_arm",
        "x",
        "endstop_pin: ^x_stop\nrotation_distance: 40\nposition_endstop: 119\nposition_max: 120\n"
        "homing_speed: 100\nhoming_retract_dist: 0\n",
    )
    + _stepper(
        "stepper_z",
        "z",
        "endstop_pin: ^z_stop\nrotation_distance: 8\nposition_endstop: 0\nposition_max: 200\n"
        "homing_speed: 40\nhoming_retract_dist: 0\n",
    )
)
# As the macros of the common web interfaces: park, retract where it is hot, and go on so.
_CLIENT = (
    macro(
        "PAUSE",
        "SET_GCODE_VARIABLE MACRO=RESUME VARIABLE=hot VALUE={printer.extruder.target}",
        "PAUSE_BASE",
        "{% if printer.extruder.can_extrude %}",
        "    M83",
        "    G1 E-1 F2100",
        "{% endif %}",
        "G91",
        "G1 Z2 F900",
        "G90",
        rename="PAUSE_BASE",
    )
    + "[gcode_macro RESUME]\nrename_existing: RESUME_BASE\nvariable_hot: 0\ngcode:\n"
    "    {% if hot|float > 0 %}\n        M109 S{hot}\n    {% endif %}\n    RESUME_BASE\n"
    + macro(
        "CANCEL_PRINT",
        "TURN_OFF_HEATERS",
        "M107",
        "CANCEL_PRINT_BASE",
        rename="CANCEL_PRINT_BASE",
    )
)
_SIMPLE = (
    macro("PAUSE", "RESPOND MSG='paused'", "PAUSE_BASE", rename="PAUSE_BASE")
    + macro("RESUME", "RESPOND MSG='resumed'", "RESUME_BASE", rename="RESUME_BASE")
    + macro("CANCEL_PRINT", "PAUSE_TIMER", "CANCEL_PRINT_BASE", rename="CANCEL_PRINT_BASE")
    + macro("PAUSE_TIMER", "G4 P500")
)
_TOOLS = (
    _E1
    + f"heater_pin: hotend1_heater\n{_SENSOR}sensor_pin: hotend1_sensor\n{_LIMITS}{_PID}"
    + "[fan_generic t0]\npin: part_fan\n[fan_generic t1]\npin: spare0\n"
    + macro("T0", "ACTIVATE_EXTRUDER EXTRUDER=extruder")
    + macro("T1", "ACTIVATE_EXTRUDER EXTRUDER=extruder1")
    + macro(
        "M106",
        "{% set tool = 1 if printer.toolhead.extruder == 'extruder1' else 0 %}",
        f"SET_FAN_SPEED FAN=t{{tool}} SPEED={_S}",
    )
    + macro("M107", "SET_FAN_SPEED FAN=t0 SPEED=0", "SET_FAN_SPEED FAN=t1 SPEED=0")
)
_CHAMBER = (
    f"[heater_generic Chamber]\nheater_pin: chamber_heater\n{_SENSOR}sensor_pin: spare_sensor\n"
    "min_temp: -20\nmax_temp: 70\ncontrol: watermark\n"
)

PRINTERS: dict[str, Model] = {
    "cartesian": Model(),
    "corexy": Model(kinematics="corexy"),
    "delta": Model(
        without=("printer", "stepper_"),
        parts="[printer]\nkinematics: delta\nmax_velocity: 300\nmax_accel: 3000\n"
        "max_z_velocity: 100\ndelta_radius: 120\n" + _DELTA,
    ),
    "polar": Model(
        without=("printer", "stepper_"),
        parts="[printer]\nkinematics: polar\nmax_velocity: 200\nmax_accel: 2000\n"
        "max_z_velocity: 50\nmax_z_accel: 500\n" + _POLAR,
    ),
    "two hot ends": Model(
        parts=_E1
        + f"heater_pin: hotend1_heater\n{_SENSOR}sensor_pin: hotend1_sensor\n{_LIMITS}{_PID}",
        heaters=("extruder", "extruder1", "heater_bed"),
    ),
    "one heater for two extruders": Model(
        parts="[extruder_stepper second]\nextruder: extruder\nstep_pin: e1_step\ndir_pin: e1_dir\n"
        "enable_pin: !e1_enable\nmicrosteps: 16\nrotation_distance: 33.5\n",
    ),
    "no bed": Model(without=("heater_bed",), bed=False, heaters=("extruder",)),
    "no part fan": Model(without=("fan]",), fan=""),
    "like K1": Model(
        without=("fan]",),
        parts="".join(
            f"[output_pin fan{n}]\npin: {pin}\npwm: True\nscale: 255\nvalue: 0\n"
            for n, pin in ((0, "part_fan"), (1, "spare0"), (2, "spare1"))
        )
        + macro(
            "M106",
            "{% set fan = params.P|default(0)|int %}",
            "SET_PIN PIN=fan{fan} VALUE={params.S|default(255)}",
        )
        + macro("M107", "SET_PIN PIN=fan0 VALUE=0"),
        fan="output_pin fan0",
    ),
    "like SV08": Model(
        without=("fan]",),
        parts="[fan_generic fan0]\npin: part_fan\n[fan_generic fan1]\npin: spare0\n"
        + macro("M106", f"SET_FAN_SPEED FAN=fan0 SPEED={_S}", f"SET_FAN_SPEED FAN=fan1 SPEED={_S}")
        + macro("M107", "SET_FAN_SPEED FAN=fan0 SPEED=0", "SET_FAN_SPEED FAN=fan1 SPEED=0"),
        fan="fan_generic fan0",
    ),
    "tools by macros": Model(
        without=("fan]",),
        parts=_TOOLS,
        fan="fan_generic t0",
        heaters=("extruder", "extruder1", "heater_bed"),
    ),
    "heated chamber": Model(
        without=("temperature_sensor",),
        parts=_CHAMBER.replace("spare_sensor", "chamber_sensor"),
        heaters=("extruder", "heater_bed", "heater_generic Chamber"),
    ),
    "client macros": Model(without=("gcode_macro CANCEL_PRINT",), parts=_CLIENT),
    "simple overrides": Model(without=("gcode_macro CANCEL_PRINT",), parts=_SIMPLE),
    "long start": Model(
        parts=macro("LONG_START", "G28", "M140 S40", "M104 S50", "G4 P3000", "M109 S50", "G92 E0"),
        prepare="LONG_START",
    ),
    "names with blanks": Model(
        parts="[fan_generic Ventilador lateral]\npin: spare0\n"
        f"[temperature_sensor Cámara ñ]\n{_SENSOR}sensor_pin: hotend1_sensor\n",
        file="pieza ñ con espacios (2).gcode",
    ),
}
