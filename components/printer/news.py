"""Which changes the hub should hear of at once, and how often: news with measure.

States, targets and the job are told at once, always. Everything else that is news (fans, factors,
filament sensors, pins) is told at once when it was quiet for a while, and else later: a slicer that
sets the fan at each layer, or a macro that toggles a light, must not cause a status for each.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, FrozenSet, Iterable, Mapping

from ..runtime.clock import Clock
from ..runtime.loose import as_float
from .machine import family

MEASURE = 2.0  # seconds between two statuses for one object, and that a fan's speed must rest

AT_ONCE: Mapping[str, FrozenSet[str]] = {
    "webhooks": frozenset(("state", "state_message")),
    "print_stats": frozenset(("state", "filename", "message")),
    "extruder": frozenset(("target",)),
    "heater_bed": frozenset(("target",)),
    "heater_generic": frozenset(("target",)),
    "toolhead": frozenset(("extruder",)),
    "pause_resume": frozenset(("is_paused",)),
}
WITH_MEASURE: Mapping[str, FrozenSet[str]] = {
    "gcode_move": frozenset(("speed_factor", "extrude_factor")),
    "fan": frozenset(("speed",)),
    "fan_generic": frozenset(("speed",)),
    "multi_fan": frozenset(("speed",)),
    "output_pin": frozenset(("value",)),
    "pwm_tool": frozenset(("value",)),
    "filament_switch_sensor": frozenset(("filament_detected",)),
    "filament_motion_sensor": frozenset(("filament_detected",)),
}
NOTHING: FrozenSet[str] = frozenset()


def news_of(objects: Iterable[str]) -> Dict[str, FrozenSet[str]]:
    """Of each object, by its full name, the fields whose change is news."""
    return {
        name: AT_ONCE.get(family(name)) or WITH_MEASURE.get(family(name), NOTHING)
        for name in objects
    }


class Measure:
    """Decides when what is news is told; `tell()` is called for what was held back."""

    def __init__(self, clock: Clock, tell: Callable[[], None]) -> None:
        self._clock = clock
        self._tell = tell
        self._told: Dict[str, float] = {}  # object → when a change of it was told last
        self._due: Dict[str, float] = {}  # object → when a change held back is told
        self._alarm: Any = None

    def forget(self) -> None:
        """Klippy has gone, and all that was held back with it."""
        self._told, self._due = {}, {}
        self._set_alarm()

    def at_once(self, name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
        """Whether a change of these fields of an object is told now; else it is told later."""
        kind = family(name)
        if kind not in WITH_MEASURE:
            return True
        now = self._clock.monotonic()
        free_at = self._told.get(name, float("-inf")) + MEASURE
        if (
            "filament_detected" not in after
            and kind != "gcode_move"
            and not _switched(before, after)
        ):
            free_at = now + MEASURE  # a speed: once it rests
        if now >= free_at:
            self._told[name] = now
            self._due.pop(name, None)
            return True
        self._due[name] = free_at
        self._set_alarm()
        return False

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._due:
            left = min(self._due.values()) - self._clock.monotonic()
            self._alarm = self._clock.call_later(max(left, 0.0), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        now = self._clock.monotonic()
        over = [name for name, due in self._due.items() if due <= now]
        for name in over:
            del self._due[name]
            self._told[name] = now
        self._set_alarm()
        if over:
            self._tell()


def _switched(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a fan or pin went on or off."""
    for field in ("speed", "value"):
        if field in after:
            old, new = as_float(before.get(field), 0.0), as_float(after[field], 0.0)
            return bool(old) != bool(new)
    return False
