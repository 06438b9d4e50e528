"""Whether the bed may still hold the last job: set when one ends, however it ends, cleared by a
person only."""

from __future__ import annotations

from ..printer.snapshot import Snapshot
from ..runtime.notices import Notices
from ..settings.model import LiveSettings
from ..store.flags import Flags

NEEDS_CLEARING = "bed_needs_clearing"
JOB_OPEN = "bed_job_open"  # a job was seen running, its end was not: it may end while we are away
ENDED = ("complete", "cancelled", "error")


class Bed:
    """Kept up to date whether `security.require_clear_bed` is on or not, so that switching it on is
    safe at once."""

    def __init__(self, live: LiveSettings, flags: Flags, notices: Notices) -> None:
        self._live = live
        self._flags = flags
        self._notices = notices

    @property
    def needs_clearing(self) -> bool:
        return bool(self._flags.get(NEEDS_CLEARING, False))

    def note_change(self, old: Snapshot, new: Snapshot) -> None:
        """A listener for `Printer.subscribe`."""
        if not new.ready or not new.job.state:
            return
        if new.busy:
            self._flags.put(JOB_OPEN, True)
        elif self._flags.get(JOB_OPEN) or _just_ended(old, new):
            self._flags.put(JOB_OPEN, False)
            self._flags.put(NEEDS_CLEARING, True)
            if self._live.now.security.require_clear_bed:
                self._notices.console(
                    "The hub may print again once the bed has been declared clear."
                )

    async def clear(self) -> None:
        """A person says that the bed is clear."""
        await self._flags.set(NEEDS_CLEARING, False)


def _just_ended(old: Snapshot, new: Snapshot) -> bool:
    """A job so short that nobody saw it running."""
    return bool(old.job.state) and old.job.state != new.job.state and new.job.state in ENDED
