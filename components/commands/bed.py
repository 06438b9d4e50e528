"""Whether the bed may still hold the last job: set when one ends, however it ends, cleared by a
person only."""

from __future__ import annotations

from ..printer.snapshot import Snapshot
from ..runtime.notices import Notices
from ..runtime.supervisor import Supervisor
from ..settings.model import LiveSettings
from ..store.flags import Flags

NEEDS_CLEARING = "bed_needs_clearing"
JOB_OPEN = "bed_job_open"  # a job was seen running and its end was not: it ends while we are away
ENDED = ("complete", "cancelled", "error")


class Bed:
    """Kept up to date whether `security.require_clear_bed` is on or not, so that switching it on is
    safe at once."""

    def __init__(
        self, live: LiveSettings, flags: Flags, notices: Notices, supervisor: Supervisor
    ) -> None:
        self._live = live
        self._flags = flags
        self._notices = notices
        self._supervisor = supervisor
        self._needs_clearing = False
        self._job_open = False

    @property
    def needs_clearing(self) -> bool:
        return self._needs_clearing

    @property
    def status(self) -> str:
        """For the hub: the operator's own word, or "needs clearing" where that is watched."""
        security, data = self._live.now.security, self._live.now.printer_data
        if security.require_clear_bed and self._needs_clearing:
            return "needs clearing"
        return data.bed_status or ("clear" if security.require_clear_bed else "")

    def start(self, now: Snapshot) -> None:
        """Recall what the flags say, and compare it with the printer."""
        self._needs_clearing = bool(self._flags.get(NEEDS_CLEARING, False))
        self._job_open = bool(self._flags.get(JOB_OPEN, False))
        self.note_change(now, now)

    def note_change(self, old: Snapshot, new: Snapshot) -> None:
        """A listener for `Printer.subscribe`."""
        if not new.ready or not new.job.state:
            return
        if new.busy:
            if not self._job_open:
                self._set(job_open=True)
        elif self._job_open or (
            old.job.state and old.job.state != new.job.state and new.job.state in ENDED
        ):
            self._set(job_open=False, needs_clearing=True)
            if self._live.now.security.require_clear_bed:
                self._notices.console(
                    "The hub may print again once the bed has been declared clear."
                )

    async def clear(self) -> None:
        """A person says that the bed is clear."""
        self._needs_clearing = False
        await self._flags.set(NEEDS_CLEARING, False)

    def _set(self, **values: bool) -> None:
        if "job_open" in values:
            self._job_open = values["job_open"]
            self._supervisor.spawn("bed", self._flags.set(JOB_OPEN, self._job_open))
        if "needs_clearing" in values:
            self._needs_clearing = values["needs_clearing"]
            self._supervisor.spawn("bed", self._flags.set(NEEDS_CLEARING, self._needs_clearing))
