"""The control socket of a running board, from a test's side."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, Dict, Optional

from ..waiting import RigError


class McuControl:
    """The faults and questions of `tests.rig.mcu`: see the list in its ``__main__``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def ask(self, op: str, **values: Any) -> Dict[str, Any]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(60.0)
            connection.connect(str(self.path))
            connection.sendall(json.dumps(dict(values, op=op)).encode() + b"\n")
            line = connection.makefile("rb").readline()
        if not line:
            raise RigError("the micro-controller closed the connection")
        answer: Dict[str, Any] = json.loads(line)
        if not answer.pop("ok"):
            raise RigError("micro-controller: %s" % (answer["error"],))
        return answer

    def state(self) -> Dict[str, Any]:
        """``pins``, ``axes``, ``zones``, ``link``, ``shutdown``, ``configured``, ``boots``, …"""
        return self.ask("state")

    def temperature_of(self, zone: str) -> float:
        """What the thing really has, whatever its sensor says. °C."""
        return float(self.state()["zones"][zone]["temperature"])

    def duty(self, zone: str) -> float:
        """The power its heater gets now, 0.0 to 1.0."""
        return float(self.state()["zones"][zone]["duty"])

    def steps(self, axis: str) -> int:
        """Steps made since the board was built: a carriage that moves makes it grow."""
        return int(self.state()["axes"][axis]["steps"])

    def ambient(self, celsius: float, zone: Optional[str] = None) -> None:
        self.ask("ambient", celsius=celsius, zone=zone)

    def set_temperature(self, celsius: float, zone: Optional[str] = None) -> None:
        self.ask("temperature", celsius=celsius, zone=zone)

    def sensor(self, zone: str, fault: str = "open") -> None:
        """``"open"`` or ``"short"`` circuit; ``""`` mends it. Klippy shuts down within 1.5 s."""
        self.ask("sensor", zone=zone, fault=fault)

    def heater(self, zone: str, strength: float) -> None:
        """0.0 breaks the heater's wire, 1.0 mends it."""
        self.ask("heater", zone=zone, strength=strength)

    def switch(self, pin: str, closed: bool) -> None:
        """What is at an input: a filament sensor's switch, which filament closes."""
        self.ask("switch", pin=pin, closed=closed)

    def silent(self) -> None:
        """Cut the cable. Klippy notices after about 5 s: "Lost communication with MCU"."""
        self.ask("silent")

    def talk(self) -> None:
        """Mend the cable."""
        self.ask("talk")

    def dead(self) -> None:
        """Take the board's power away: its serial port is gone."""
        self.ask("dead")

    def revive(self) -> None:
        """Power again, after `dead`. Klippy then needs a FIRMWARE_RESTART."""
        self.ask("revive")

    def reboot(self) -> None:
        """The board restarts by itself. Klippy seldom sees it say so (its sequence numbers start
        anew, so the word is taken for a stray one) and reports lost communication after 5 s."""
        self.ask("reboot")

    def shutdown(self, reason: str = "Timer too close") -> None:
        self.ask("shutdown", reason=reason)
