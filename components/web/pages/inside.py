"""The plugin itself: its troubles, tasks and totals, and how it is installed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Sequence

from ..doctor.doctor import Check
from .base import Args, Pages

if TYPE_CHECKING:
    from ...runtime.notices import Notices
    from ...runtime.supervisor import Supervisor
    from ...status.statistics import Statistics
    from ...store.database import Database
    from ..notifications import Notifier


@dataclass(eq=False)
class InsidePages(Pages):
    """`folders` are those it writes into."""

    server: Any
    version: str
    folders: Sequence[Path]
    notices: Notices
    supervisor: Supervisor
    database: Database
    statistics: Statistics

    def checks(self) -> Sequence[Check]:
        from ..doctor import host  # noqa: PLC0415  (read late: `Doctor`)

        return (
            Check("permissions", lambda: host.permissions(self.folders, self.database), 10.0),
            Check("link", host.link, 10.0),
            Check("moonraker", lambda: host.moonraker(self.server, self.version), 5.0),
            Check("tasks", lambda: host.tasks(self.supervisor), 5.0),
        )

    def overview(self) -> Args:
        return {"notices": [asdict(notice) for notice in self.notices.standing]}

    def status(self) -> Args:
        return {
            "statistics": self.statistics.as_dict(),
            "tasks": self.supervisor.running,
            "task_failures": dict(self.supervisor.failures),
        }

    def follow(self, changes: Notifier) -> None:
        self.notices.subscribe(changes.on())
