"""Turns what happens to the printer, the link and the commands into journal events, and samples
while cut off.

A job is told to begin once and to end once, also when Moonraker, Klippy or the power goes in its
midst: the job whose end is not told yet is remembered on disk.
"""

from __future__ import annotations

import asyncio
from typing import Any, Dict, Mapping, Optional

from ..printer.jobs import PastJob
from ..printer.snapshot import KlippyState, Snapshot
from ..runtime.clock import Clock
from ..runtime.loose import as_dict
from ..store.flags import Flags
from ..store.journal import SAMPLE, Journal

SAMPLE_EVERY = 60.0  # seconds, and only while the hub cannot be reached

_JOB_WORDS = {
    "complete": "job_finished",
    "cancelled": "job_cancelled",
    "error": "job_failed",
    "paused": "job_paused",
}
_JOB = "job"  # the flag: {"filename", "state"} of the job whose end is not told yet, or None


class Chronicle:
    def __init__(self, journal: Journal, clock: Clock, flags: Flags) -> None:
        self._journal = journal
        self._clock = clock
        self._flags = flags
        self._started = False
        self._cut_off = asyncio.Event()

    def start(self, snapshot: Snapshot) -> None:
        """The flags are loaded: what has become of the job that was told of last?"""
        self._started = True
        self._follow_job(Snapshot(), snapshot)

    def printer_changed(self, old: Snapshot, new: Snapshot) -> None:
        """A listener for `Printer.subscribe`."""
        if old.klippy is not new.klippy:
            self._klippy_changed(old, new)
        if self._started:
            self._follow_job(old, new)

    def job_ended(self, job: PastJob) -> None:
        """A listener for `Jobs.subscribe`: the figures of a job, once Moonraker's history has
        them.
        """
        self._journal.record("job_record", job.as_dict())

    def link_changed(self, connected: bool, seconds: float) -> None:
        """A listener for `Link.subscribe`."""
        if connected:
            self._cut_off.clear()
            if seconds > 0:
                self._journal.record("hub_reconnected", {"seconds": round(seconds, 1)})
        else:
            self._journal.record("hub_unreachable", {})
            self._cut_off.set()

    def command_ended(self, result: Mapping[str, Any]) -> None:
        """A result that could not be told at once; the ledger keeps the result itself."""
        if self._cut_off.is_set():
            self._journal.record("command_result", result)

    async def run(self, look: Any) -> None:
        """While cut off, keep one sample a minute of `look()`'s snapshot, for ever."""
        while True:
            await self._cut_off.wait()
            await self._clock.sleep(SAMPLE_EVERY)
            if self._cut_off.is_set():
                self._journal.record(SAMPLE, sample_of(look()))

    def _klippy_changed(self, old: Snapshot, new: Snapshot) -> None:
        if new.klippy in (KlippyState.SHUTDOWN, KlippyState.ERROR):
            self._journal.record(
                "klippy_error", {"state": new.klippy.value, "message": new.message[:500]}
            )
        elif new.klippy is KlippyState.DISCONNECTED:
            self._journal.record("klippy_disconnected", {})
        elif new.klippy is KlippyState.READY:
            self._journal.record("klippy_ready", {})

    def _follow_job(self, old: Snapshot, new: Snapshot) -> None:
        job, told = new.job, self._told
        if new.klippy in (KlippyState.SHUTDOWN, KlippyState.ERROR):
            self._end("error", new, new.message)
            return
        if not new.ready:  # what became of the job will be seen when Klippy is back
            return
        if told is not None and (told.get("filename") != job.filename or not new.busy):
            if told.get("filename") == job.filename and job.state in _JOB_WORDS:
                self._end(job.state, new, job.message)
            elif old.ready:  # put away before anybody saw how it ended
                self._end("cancelled", new, "")
            else:
                self._end("error", new, "Klippy was restarted during this job")
        ended_unseen = old.ready and not old.busy and old.job.state != job.state
        if new.busy and self._told is None:
            self._begin(new)
        elif not new.busy and told is None and ended_unseen and job.state in _JOB_WORDS:
            self._begin(new)  # over before anybody saw it run
            self._end(job.state, new, job.message)
        told = self._told
        if told is not None and told.get("state") != job.state:
            kind = _JOB_WORDS["paused"] if new.paused else "job_resumed"
            self._journal.record(kind, {"filename": job.filename})
            self._flags.put(_JOB, {**told, "state": job.state})

    @property
    def _told(self) -> Optional[Mapping[str, Any]]:
        """The job that was told to begin and not yet to end."""
        return as_dict(self._flags.get(_JOB)) or None

    def _begin(self, new: Snapshot) -> None:
        self._journal.record("job_started", {"filename": new.job.filename})
        self._flags.put(_JOB, {"filename": new.job.filename, "state": "printing"})

    def _end(self, state: str, new: Snapshot, message: str) -> None:
        """Tell how the job ended, if one was told to begin."""
        told = self._told
        if told is None:
            return
        data: Dict[str, Any] = {"filename": told.get("filename"), "message": message[:500]}
        if told.get("filename") == new.job.filename:
            data["print_duration"] = round(new.job.print_duration, 1)
        self._journal.record(_JOB_WORDS[state], data)
        self._flags.put(_JOB, None)


def sample_of(snapshot: Snapshot) -> Dict[str, Any]:
    """Temperatures and progress at one moment."""
    return {
        "state": snapshot.job.state if snapshot.ready else snapshot.klippy.value,
        "progress": round(snapshot.job.progress, 3),
        "temperatures": {
            name: round(heater.temperature, 1)
            for name, heater in snapshot.heaters.items()
            if heater.temperature is not None
        },
    }
