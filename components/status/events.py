"""Turns what happens to the printer, the link and the commands into journal events, and samples
while cut off.
"""

from __future__ import annotations

import asyncio
from typing import Any, Dict, Mapping

from ..printer.jobs import PastJob
from ..printer.snapshot import KlippyState, Snapshot
from ..runtime.clock import Clock
from ..store.journal import SAMPLE, Journal

SAMPLE_EVERY = 60.0  # seconds, and only while the hub cannot be reached

_JOB_WORDS = {
    "complete": "job_finished",
    "cancelled": "job_cancelled",
    "error": "job_failed",
    "paused": "job_paused",
}


class Chronicle:
    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._cut_off = asyncio.Event()

    def printer_changed(self, old: Snapshot, new: Snapshot) -> None:
        """A listener for `Printer.subscribe`."""
        if old.klippy is not new.klippy:
            self._klippy_changed(old, new)
        if old.job.state != new.job.state and new.ready:
            self._job_changed(old, new)

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

    def _job_changed(self, old: Snapshot, new: Snapshot) -> None:
        state = new.job.state
        if state == "printing":
            kind = "job_resumed" if old.job.state == "paused" else "job_started"
        else:
            kind = _JOB_WORDS.get(state, "")
        if not kind:
            return
        data: Dict[str, Any] = {"filename": new.job.filename}
        if state in ("complete", "cancelled", "error"):
            data["print_duration"] = round(new.job.print_duration, 1)
            data["message"] = new.job.message[:500]
        self._journal.record(kind, data)


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
