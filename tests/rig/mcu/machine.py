"""The physical printer behind the micro-controller: carriages, switches, heaters, thermistors.

It outlives the firmware: after a FIRMWARE_RESTART the bed is still warm and the carriage stands
where it stood. Temperatures in °C, times in seconds, positions in motor steps.
"""

from __future__ import annotations

import math
from typing import Any, Dict, Optional

KELVIN = 273.15
AXES = ("x", "y", "z", "e", "e1")
# Steps the carriage travels in its first homing before it meets the switch: far enough for
# Klippy to believe it (its minimum is a few mm), near enough to be quick.
FIRST_TRAVEL = 1600


class Thermistor:
    """An NTC with a pull-up resistor, as Klipper's sensor type ``EPCOS 100K B57560G104F``.

    Steinhart-Hart through the three points of that type's data sheet, see Klipper's
    ``extras/thermistor.py`` and ``temperature_sensors.cfg``.
    """

    PULLUP = 4700.0
    POINTS = ((25.0, 100000.0), (150.0, 1641.9), (250.0, 226.15))

    def __init__(self) -> None:
        inverse = [1.0 / (celsius + KELVIN) for celsius, _ in self.POINTS]
        logs = [math.log(ohm) for _, ohm in self.POINTS]
        cubes = [value**3 for value in logs]
        i12, i13 = inverse[0] - inverse[1], inverse[0] - inverse[2]
        l12, l13 = logs[0] - logs[1], logs[0] - logs[2]
        c12, c13 = cubes[0] - cubes[1], cubes[0] - cubes[2]
        self._c3 = (i12 - i13 * l12 / l13) / (c12 - c13 * l12 / l13)
        self._c2 = (i12 - self._c3 * c12) / l12
        self._c1 = inverse[0] - self._c2 * logs[0] - self._c3 * cubes[0]

    def ratio(self, celsius: float) -> float:
        """What the converter reads at that temperature: 0.0 (short circuit) to 1.0 (open)."""
        y = (self._c1 - 1.0 / (celsius + KELVIN)) / (2.0 * self._c3)
        x = math.sqrt((self._c2 / (3.0 * self._c3)) ** 3 + y * y)
        ohm = math.exp((x - y) ** (1.0 / 3.0) - (x + y) ** (1.0 / 3.0))
        return ohm / (self.PULLUP + ohm)


class Zone:
    """Something with a thermistor, and perhaps a heater: first order, solved exactly.

    `rate`: °C/s at full power with no loss. `tau`: seconds in which the distance to the ambient
    temperature falls to 1/e. Full power ends at ``ambient + rate * tau``.
    """

    def __init__(self, rate: float, tau: float, speed: float, now: float) -> None:
        self.rate = rate * speed
        self.tau = tau / speed
        self.ambient = 25.0
        self.strength = 1.0  # 0.0: the heater's wire is broken
        self.fault = ""  # "", "open" or "short": what is wrong with the sensor
        self.duty = 0.0
        self._temperature = self.ambient
        self._at = now

    def temperature(self, now: float) -> float:
        end = self.ambient + self.rate * self.tau * self.duty * self.strength
        self._temperature = end + (self._temperature - end) * math.exp((self._at - now) / self.tau)
        self._at = now
        return self._temperature

    def set_duty(self, duty: float, now: float) -> None:
        self.temperature(now)
        self.duty = duty

    def set_ambient(self, celsius: float, now: float) -> None:
        self.temperature(now)
        self.ambient = celsius

    def set_strength(self, strength: float, now: float) -> None:
        self.temperature(now)
        self.strength = strength

    def set_temperature(self, celsius: float, now: float) -> None:
        self._temperature = celsius
        self._at = now


class Axis:
    """A carriage and the switch at the end of its rail.

    Nobody tells this side how long the rail is. So the switch stands where the first homing
    move finds it, `FIRST_TRAVEL` steps from where that move began, and stays there.
    """

    def __init__(self) -> None:
        self.position = 0
        self.steps = 0  # all steps ever made, in both directions
        self.switch: Optional[int] = None
        self._side = 0
        self._homing_from: Optional[int] = None

    def start_homing(self) -> None:
        self._homing_from = self.position

    def stop_homing(self) -> None:
        self._homing_from = None

    def pressed(self) -> bool:
        if self.switch is None:
            if self._homing_from is None:
                return False
            travel = self.position - self._homing_from
            if abs(travel) < FIRST_TRAVEL:
                return False
            self.switch, self._side = self.position, (1 if travel > 0 else -1)
        return (self.position - self.switch) * self._side >= 0


# Zones of the board: (°C/s at full power, seconds to cool to 1/e). The pins are NAME_heater and
# NAME_sensor. About thirty times faster than a real printer, so that M109 takes some 6 s: most of
# that is Klippy waiting for the temperature to stand still.
ZONES = {
    "hotend": (330.0, 1.5),
    "hotend1": (330.0, 1.5),
    "bed": (160.0, 1.5),
    "chamber": (60.0, 2.0),
}
OUTPUTS = ("part_fan", "hotend_fan", "aux_fan", "light", "case_red", "case_green", "case_blue")
SPARE_PINS = 24


def pin_names() -> Dict[str, int]:
    """The board's pins: name to number."""
    names = []
    for axis in AXES:
        names += [axis + "_step", axis + "_dir", axis + "_enable", axis + "_stop"]
    for zone in ZONES:
        names += [zone + "_heater", zone + "_sensor"]
    names += OUTPUTS
    names += ["spare%d" % (number,) for number in range(SPARE_PINS)]
    return {name: number for number, name in enumerate(names)}


class Machine:
    """Everything with a mass. `speed` multiplies how fast the zones heat and cool."""

    def __init__(self, now: float, speed: float = 1.0) -> None:
        self.axes = {name: Axis() for name in AXES}
        self.zones = {name: Zone(rate, tau, speed, now) for name, (rate, tau) in ZONES.items()}
        self.outputs: Dict[str, float] = {}
        self.inputs: Dict[str, bool] = {}  # pins that something switches; all others are low
        self._thermistor = Thermistor()

    def set_output(self, pin: str, value: float, now: float) -> None:
        """A pin's level, 0.0 to 1.0 (the mean of a PWM signal)."""
        self.outputs[pin] = value
        zone, _, kind = pin.rpartition("_")
        if kind == "heater" and zone in self.zones:
            self.zones[zone].set_duty(value, now)

    def read_adc(self, pin: str, now: float) -> float:
        """The converter's reading, 0.0 to 1.0. A pin with nothing on it reads open."""
        zone = self.zones.get(pin.rpartition("_")[0])
        if zone is None or zone.fault == "open":
            return 1.0
        if zone.fault == "short":
            return 0.0
        return self._thermistor.ratio(zone.temperature(now))

    def describe(self, now: float) -> Dict[str, Any]:
        return {
            "pins": dict(self.outputs),
            "axes": {
                name: {"position": axis.position, "steps": axis.steps, "switch": axis.switch}
                for name, axis in self.axes.items()
            },
            "zones": {
                name: {
                    "temperature": round(zone.temperature(now), 3),
                    "duty": zone.duty,
                    "ambient": zone.ambient,
                    "strength": zone.strength,
                    "fault": zone.fault,
                }
                for name, zone in self.zones.items()
            },
        }
