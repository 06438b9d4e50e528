"""Turns what happens to the printer, the link and the commands into journal events, and samples
while cut off.
"""

from __future__ import annotations

import asyncio
from typing import Any, Dict, Mapping

from ..printer.history import PastJob
from ..printer.jobs import News
from ..printer.snapshot import Job, KlippyState, Snapshot
from ..runtime.clock import Clock
from ..runtime.messages import Message
from ..store.journal import SAMPLE, Journal

LONGEST = 500  # characters of what Klipper says
SAMPLE_EVERY = 60.0  # seconds, and only while the hub cannot be reached

# By the kind of news, or the word for an end.
JOB_EVENTS = {
    "begun": "job_started",
    "paused": "job_paused",
    "resumed": "job_resumed",
    "completed": "job_finished",
    "cancelled": "job_cancelled",
}
FAILED = "job_failed"  # every other end
RECORD = "job_record"


class Chronicle:
    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._klippy = KlippyState.DISCONNECTED
        self._cut_off = asyncio.Event()

    def klippy_looked(self, klippy: KlippyState, message: str, job: Job, since: float) -> None:
        """A watcher for `Printer.watch`."""
        if klippy is self._klippy:
            return
        self._klippy = klippy
        if klippy in (KlippyState.SHUTDOWN, KlippyState.ERROR):
            data = {"state": klippy.value, "message": _bounded(message)}
            self._journal.record("klippy_error", data)
        elif klippy is KlippyState.DISCONNECTED:
            self._journal.record("klippy_disconnected", {})
        elif klippy is KlippyState.READY:
            self._journal.record("klippy_ready", {})

    def job_told(self, news: News) -> None:
        """A listener for `Jobs.subscribe`."""
        if news.kind in ("found", "unseen"):
            return
        data: Dict[str, Any] = {"filename": news.job.filename}
        if news.message or news.kind == "ended":
            data["message"] = _bounded(news.message)
        if news.kind != "ended":
            self._journal.record(JOB_EVENTS[news.kind], data)
            return
        data["print_duration"] = round(news.job.print_duration, 1)
        self._journal.record(JOB_EVENTS.get(news.status, FAILED), data)

    def job_listed(self, job: PastJob) -> None:
        """A listener for `History.on_end`: the figures of a job."""
        self._journal.record(RECORD, job.as_dict())

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


def _bounded(message: str) -> str:
    """A sentence of ours is bounded by what may stand in its places."""
    return message if isinstance(message, Message) else message[:LONGEST]


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
