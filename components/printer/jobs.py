"""The last jobs, as Moonraker's history has them: read once, then kept by its events.

The history misses the end of a job that began before Moonraker's own start (seen on 0.9.3 to
0.11.0): such a job is taken from Klipper's figures.
"""

from __future__ import annotations

import datetime
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional

from ..runtime.clock import Clock
from ..runtime.loose import as_dict, as_float, as_list, as_text
from ..runtime.records import NamedTuple
from .filament import grams
from .snapshot import Snapshot

KEPT = 10
_ENDINGS = {"complete": "completed", "cancelled": "cancelled", "error": "error"}


class PastJob(NamedTuple):
    """A job that is over. Times are unix seconds, durations seconds, filament mm."""

    job_id: str
    filename: str
    # Moonraker's word: completed | cancelled | error | klippy_shutdown | klippy_disconnect |
    # server_exit
    status: str
    start_time: float
    end_time: float
    print_duration: float
    total_duration: float
    filament_used: float
    filament_used_g: Optional[float] = None  # where the slicer told what the whole file weighs

    def as_dict(self) -> Dict[str, Any]:
        return dict(self._asdict())


class Jobs:
    def __init__(self, server: Any, clock: Clock) -> None:
        self._server = server
        self._clock = clock
        self._jobs: Deque[PastJob] = deque(maxlen=KEPT)  # newest first
        self._listeners: List[Callable[[PastJob], None]] = []
        self.current_id = ""  # Moonraker's id of the job that runs now
        self._unheard_of = False  # a job runs that began before we could hear of it

    def register(self) -> None:
        self._server.register_event_handler("history:history_changed", self._on_history)

    def printer_changed(self, old: Snapshot, new: Snapshot) -> None:
        """A listener for `Printer.subscribe`."""
        if new.busy and not old.ready:
            self._unheard_of = not self.current_id
        elif not new.busy and self._unheard_of:
            self._unheard_of = False
            if new.job.state in _ENDINGS:
                self._add(_job_of(new, self._clock.time()))

    def subscribe(self, listener: Callable[[PastJob], None]) -> None:
        """Call `listener(job)` when a job has ended."""
        self._listeners.append(listener)

    async def load(self) -> None:
        """Read the last jobs from Moonraker's history, where it has one."""
        transport = self._server.lookup_component("internal_transport")
        try:
            reply = await transport.call_method(
                "server.history.list", {"limit": KEPT, "order": "desc"}
            )
        except self._server.error:
            return
        self._jobs.clear()
        for entry in as_list(as_dict(reply).get("jobs")):
            job = read_job(as_dict(entry))
            if job.end_time:
                self._jobs.append(job)

    @property
    def recent(self) -> List[PastJob]:
        """Newest first."""
        return list(self._jobs)

    @property
    def last_completed(self) -> str:
        """As client v4 wrote it: "part.gcode (14:30)", in local time; "" when none."""
        for job in self._jobs:
            if job.status == "completed":
                moment = datetime.datetime.fromtimestamp(job.end_time)  # noqa: DTZ006  local time is meant
                return f"{job.filename} ({moment:%H:%M})"
        return ""

    def _on_history(self, event: Mapping[str, Any]) -> None:
        job = read_job(as_dict(event.get("job")))
        if event.get("action") != "finished":
            self.current_id = job.job_id
            self._unheard_of = False
            return
        self.current_id = ""
        self._add(job)

    def _add(self, job: PastJob) -> None:
        self._jobs.appendleft(job)
        for listener in self._listeners:
            listener(job)


def _job_of(snapshot: Snapshot, now: float) -> PastJob:
    job = snapshot.job
    return PastJob(
        job_id="",
        filename=job.filename,
        status=_ENDINGS[job.state],
        start_time=now - job.total_duration,
        end_time=now,
        print_duration=job.print_duration,
        total_duration=job.total_duration,
        filament_used=job.filament_used,
        filament_used_g=job_grams(snapshot),
    )


def job_grams(snapshot: Snapshot) -> Optional[float]:
    """What the running job has used, in g."""
    job, file = snapshot.job, snapshot.file
    if file.filename != job.filename:
        return None
    return grams(job.filament_used, file.filament_total, file.filament_weight)


def read_job(entry: Mapping[str, Any]) -> PastJob:
    used = as_float(entry.get("filament_used"), 0.0) or 0.0
    file = as_dict(entry.get("metadata"))
    return PastJob(
        job_id=as_text(entry.get("job_id")),
        filename=as_text(entry.get("filename")),
        status=as_text(entry.get("status")),
        start_time=as_float(entry.get("start_time"), 0.0) or 0.0,
        end_time=as_float(entry.get("end_time"), 0.0) or 0.0,
        print_duration=as_float(entry.get("print_duration"), 0.0) or 0.0,
        total_duration=as_float(entry.get("total_duration"), 0.0) or 0.0,
        filament_used=used,
        filament_used_g=grams(
            used,
            as_float(file.get("filament_total"), 0.0) or 0.0,
            as_float(file.get("filament_weight_total"), 0.0) or 0.0,
        ),
    )
