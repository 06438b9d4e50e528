"""Whether the bed may hold a job: so from the moment one begins until a person declares it clear.

That is noted as the job begins, and not as it ends: nothing that goes down in its midst can then
lose it.
"""

from __future__ import annotations

from typing import Callable

from ..printer.history import History
from ..printer.jobs import Jobs, News
from ..runtime.clock import Clock
from ..runtime.loose import as_float
from ..runtime.messages import say
from ..runtime.notices import Notices
from ..settings.model import LiveSettings
from ..store.flags import Flags

NEEDS_CLEARING = "bed_needs_clearing"
CLEARED_AT = "bed_cleared_at"  # unix seconds
_UNSEEN = say(
    "Klippy was started anew while Moonraker was away, so a job may have run unseen: the hub may"
    " print again once the bed has been declared clear."
)


class Bed:
    """Kept up to date whether `security.require_clear_bed` is on or not, so that switching it on is
    safe at once.
    """

    def __init__(
        self,
        live: LiveSettings,
        flags: Flags,
        notices: Notices,
        clock: Clock,
        jobs: Jobs,
    ) -> None:
        self._live = live
        self._flags = flags
        self._notices = notices
        self._clock = clock
        self._jobs = jobs
        # Whether what Klippy runs now may have been set going by the hub.
        self.hub_acts: Callable[[], bool] = lambda: False
        jobs.subscribe(self._on_job)

    @property
    def needs_clearing(self) -> bool:
        """Also while a job runs, and while it is not known yet."""
        return not self._flags.loaded or bool(self._flags.get(NEEDS_CLEARING, False))

    @property
    def left_uncleared(self) -> bool:
        """For people: whether a job is over and its bed not yet cleared."""
        return self._jobs.open is None and bool(self._flags.get(NEEDS_CLEARING, False))

    @property
    def job_of_hub(self) -> bool:
        """Whether the job that is not over was begun by a command of the hub's."""
        return self._jobs.open is not None and bool(self._jobs.open.command_id)

    def look_back(self, history: History) -> None:
        """A job may have run before anybody watched, or while nobody did."""
        cleared = as_float(self._flags.get(CLEARED_AT), 0.0)
        if self._jobs.open is not None or history.last_end > cleared:
            self._flags.put(NEEDS_CLEARING, True)

    def doubt(self) -> None:
        """A job may have begun that nobody saw, or what was known of the bed is lost."""
        self._flags.put(NEEDS_CLEARING, True)

    def clear(self, by_macro: bool) -> str:
        """Somebody says that the bed is clear; why that cannot be taken for true, else "".

        What a macro says may be the hub's own doing.
        """
        if self._jobs.open is not None:
            return say(
                "{file} is on the bed at this moment: declare it clear when the job has ended.",
                file=self._jobs.open.filename or say("A job"),
            )
        if by_macro and self.hub_acts():
            return say(
                "A script of the hub runs or has just run, and only a person may declare the bed"
                " clear: do it again in a moment, or in the panel."
            )
        self._flags.put(CLEARED_AT, self._clock.time())
        self._flags.put(NEEDS_CLEARING, False)
        return ""

    def _on_job(self, news: News) -> None:
        required = self._live.now.security.require_clear_bed
        if news.kind in ("begun", "found", "unseen"):
            if news.kind == "unseen" and required and not self.needs_clearing:
                self._notices.console(_UNSEEN)
            self._flags.put(NEEDS_CLEARING, True)
        elif news.kind == "ended" and required:
            self._notices.console("The hub may print again once the bed has been declared clear.")
