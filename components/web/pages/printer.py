"""The printer and its last jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Sequence

from ...status.body import minutes_left
from ..doctor.doctor import Check
from .base import Args, Pages

if TYPE_CHECKING:
    from ...printer.history import History
    from ...printer.klippy import Printer
    from ...settings.model import LiveSettings
    from ..notifications import Notifier


@dataclass(eq=False)
class PrinterPages(Pages):
    """`name()` is what people call it, `pause_reason()` why the pause that lasts now was made."""

    printer: Printer
    history: History
    live: LiveSettings
    name: Callable[[], str]
    pause_reason: Callable[[], str]

    def checks(self) -> Sequence[Check]:
        from ..doctor import host  # noqa: PLC0415  (read late: `Doctor`)

        return (
            Check("klipper", lambda: host.klipper(self.printer), 5.0),
            Check("power", lambda: host.power(self.printer, self.live), 5.0),
        )

    def overview(self) -> Args:
        snapshot = self.printer.snapshot
        job = snapshot.job
        return {
            "printer_name": self.name(),
            "printer": {
                "klippy": snapshot.klippy.value,
                "message": snapshot.message,
                "state": job.state,
                "pause_reason": self.pause_reason(),
                "filename": job.filename,
                "progress": round(job.progress, 4),
                "layer": job.layer,
                "layers": job.layers,
                "print_duration": round(job.print_duration, 1),
                "minutes_left": minutes_left(snapshot),
                "heaters": {
                    name: {"temperature": heater.temperature, "target": heater.target}
                    for name, heater in snapshot.heaters.items()
                },
                "sensors": dict(snapshot.sensors),
                "fan_speed": snapshot.fan_speed,
                "speed_factor": snapshot.speed_factor,
                "extrude_factor": snapshot.extrude_factor,
            },
        }

    def status(self) -> Args:
        return {"jobs": [job.as_dict() for job in self.history.recent]}

    def follow(self, changes: Notifier) -> None:
        self.printer.subscribe(changes.on("events"))
