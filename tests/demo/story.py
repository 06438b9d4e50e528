"""What the hub orders in the demo, in both generations' words, and what must come of each order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.rig.gcode import make_gcode
from tests.rig.hub import PhpHub

FILE = "pieza_demo.gcode"
HOTEND, BED = 205, 60  # °C


@dataclass(frozen=True)
class Order:
    """One command: generation 1's action and parameters, generation 2's type and text."""

    label: str
    action: str
    params: Mapping[str, Any] = field(default_factory=dict)
    type: str = "basic"
    text: str = ""
    result: str = "done"  # what the hub must be told

    def queue(self, hub: PhpHub, token: str, generation: int) -> Any:
        """Put it into the hub's queue; its id there."""
        if generation == 2:
            return hub.queue2(token, self.type, self.text)
        return hub.queue(token, self.action, **self.params)


PRINT = Order(f"print {FILE}", "print", {"file": FILE}, text=f"PRINT_FILE:{FILE}")

# Queued at one stroke: the printer works through them one after the other.
BURST = (
    Order("set_speed 150 %", "set_speed", {"speed": 150}, text="SET_SPEED:150"),
    Order("set_flow 105 %", "set_flow", {"flow": "105"}, text="SET_FLOW:105"),
    Order("set_fan 204", "set_fan", {"speed": 204}, text="SET_FAN:204"),
    Order("home", "home", text="HOME", result="refused"),  # would spoil the print
)
PAUSE = Order("pause", "pause", text="PAUSE")
WHILE_PAUSED = (
    Order(
        f"heat {HOTEND + 10} °C",
        "heat",
        {"hotend_temp": HOTEND + 10},
        text=f"HEAT:{HOTEND + 10}",
    ),
    Order("heat 500 °C", "heat", {"hotend_temp": 500}, text="HEAT:500", result="refused"),
    Order(
        "gcode M117 Hola, Lab",
        "gcode",
        {"gcode": "M117 Hola, Lab"},
        type="gcode",
        text="M117 Hola, Lab",
    ),
)
RESUME = Order("resume", "resume", text="RESUME")
AT_THE_END = (
    Order(
        "macro LOAD_FILAMENT",
        "macro",
        {"macro_name": "LOAD_FILAMENT", "params": {"TEMP": 210, "LENGTH": 50}},
        type="macro",
        text="LOAD_FILAMENT TEMP=210 LENGTH=50",
    ),
    Order("toggle_fan", "toggle_fan", text="TOGGLE_FAN"),
    Order("reformat_disk", "reformat_disk", text="REFORMAT_DISK", result="refused"),
    Order("set_speed 100 %", "set_speed", {"speed": 100}, text="SET_SPEED:100"),
)
COOL_DOWN = Order("cool_down", "cool_down", text="COOL_DOWN")


def demo_file() -> bytes:
    """A print of some 26 seconds, with a picture, layers, M73 and the slicer's estimate."""
    text = make_gcode(seconds=26, layers=10, hotend=HOTEND, bed=BED, thumbnail=True)
    return text.encode("utf-8")
