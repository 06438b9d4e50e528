"""What heaters were set to before the hub lowered them, within the job that runs.

A fall is measured from there: else a hub could take the heat from a job in small steps.
"""

from __future__ import annotations

from typing import Dict

from ..printer.snapshot import Snapshot
from .danger import target_of
from .gcode import Refused, read_line


class Targets:
    def __init__(self) -> None:
        self.before: Dict[str, float] = {}  # °C, by heater; of those that the hub has set
        self._asked: Dict[str, float] = {}

    def note_script(self, script: str, snapshot: Snapshot) -> None:
        """A script of the hub's is handed to Klippy."""
        for line in map(read_line, script.split("\n")):
            try:
                target = target_of(line, snapshot)
            except Refused:
                continue
            if target is not None and target.heater is not None and target.value is not None:
                self._asked[target.heater.name] = target.value
                self.before.setdefault(target.heater.name, target.heater.target or 0.0)

    def note_change(self, old: Snapshot, new: Snapshot) -> None:
        """A listener for `Printer.subscribe`: a target that the hub did not ask for is the job's,
        or a person's."""
        if not new.busy:
            self.before.clear()
            self._asked.clear()
            return
        for name, heater in new.heaters.items():
            known = old.heaters.get(name)
            changed = known is None or known.target != heater.target
            if changed and heater.target != self._asked.get(name):
                self.before.pop(name, None)
