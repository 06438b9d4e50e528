"""What heaters were set to before the hub lowered them, within the job that runs.

A fall is measured from there: else a hub could take the heat from a job in small steps.
"""

from __future__ import annotations

from collections import deque
from typing import Deque, Dict

from ..printer.snapshot import Snapshot
from .danger import targets_of

REMEMBERED = 20  # targets of each heater that were asked for and not seen yet


class Targets:
    def __init__(self) -> None:
        self.before: Dict[str, float] = {}  # °C, by heater; of those that the hub has set
        self._asked: Dict[str, Deque[float]] = {}  # °C that Klippy has not shown yet

    def note_script(self, script: str, snapshot: Snapshot) -> None:
        """A script of the hub's is handed to Klippy."""
        for heater, value in targets_of(script, snapshot):
            self._asked.setdefault(heater.name, deque(maxlen=REMEMBERED)).append(value)
            self.before.setdefault(heater.name, heater.target or 0.0)

    def note_change(self, old: Snapshot, new: Snapshot) -> None:
        """A listener for `Printer.subscribe`: a target that the hub did not ask for is the job's,
        or a person's."""
        if not new.busy:
            self.before.clear()
            self._asked.clear()
            return
        for name, heater in new.heaters.items():
            known = old.heaters.get(name)
            if known is not None and known.target == heater.target:
                continue
            asked, target = self._asked.get(name), heater.target
            if asked and target is not None and target in asked:
                asked.remove(target)
            else:
                self.before.pop(name, None)
