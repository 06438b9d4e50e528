"""The last jobs and how they ended: Moonraker's history, and what the watcher of jobs saw that the
history missed.

Moonraker loses sight of a job that goes on across its own restart (it is left as server_exit or
interrupted), never hears of one that ends while it is away, and may lose the row of one that was
running when the power went.
"""

import datetime
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..runtime.loose import as_dict, as_float, as_list, as_text
from ..runtime.messages import joined, parts, restored
from .filament import grams
from .jobs import ENDINGS, Jobs, News, Watched
from .pauses import BY_HUB, Pause, read_pause

KEPT = 10
MOST_SHOWN = 3  # reasons of pauses beside the last completed job
SAME_START = 10.0  # seconds between Moonraker's begin of a job and ours
# Moonraker's words for a job of whose end it knows nothing itself.
UNKNOWN = ("in_progress", "server_exit", "interrupted", "klippy_shutdown", "klippy_disconnect")


class PastJob(NamedTuple):
    """A job that is over. Times are unix seconds (0 where unknown), durations seconds, filament
    mm.
    """

    job_id: str  # Moonraker's; "" where its history has none
    filename: str
    # Moonraker's word: completed | cancelled | error | klippy_shutdown | klippy_disconnect |
    # server_exit | interrupted
    status: str
    start_time: float
    end_time: float
    print_duration: float
    total_duration: float
    filament_used: float
    filament_used_g: Optional[float] = None  # where the slicer told what the whole file weighs
    command_id: str = ""  # of the hub's command that began it
    reason: str = ""  # why it ended, where that is known
    pauses: Tuple[Pause, ...] = ()  # the last ten

    def as_dict(self) -> Dict[str, Any]:
        return {**self._asdict(), "pauses": [dict(pause._asdict()) for pause in self.pauses]}

    def to_keep(self) -> Dict[str, Any]:
        """As JSON that `read_job` makes whole again, sentences included."""
        pauses = [pause.to_keep() for pause in self.pauses]
        return {**self.as_dict(), "reason_parts": parts(self.reason), "pauses": pauses}


class History:
    """`recall()` gives what `remember(value)` (a JSON value) was told last, by a former run."""

    def __init__(
        self,
        server: Any,
        jobs: Jobs,
        recall: Callable[[], Any],
        remember: Callable[[Any], None],
        pauses: Callable[[], Sequence[Pause]] = tuple,
    ) -> None:
        """`pauses()`: those of the job that is over now."""
        self._pauses = pauses
        self._server = server
        self._jobs = jobs
        self._recall = recall
        self._remember = remember
        self._ours: List[PastJob] = []  # newest first
        self._theirs: List[PastJob] = []  # newest first
        self._started = False
        self._current = ""  # the id of the job that Moonraker's history records now
        self._began = 0.0  # when that began by its word, which its row will say, too (unix seconds)
        self._completed: Tuple[str, float] = ("", 0.0)
        self._merged: Optional[List[PastJob]] = None
        self._listeners: List[Callable[[], None]] = []
        self._end_listeners: List[Callable[[PastJob], None]] = []

    def register(self) -> None:
        self._server.register_event_handler("history:history_changed", self._on_history)
        self._jobs.subscribe(self._on_job)

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener()` when the list has changed."""
        self._listeners.append(listener)

    def on_end(self, listener: Callable[[PastJob], None]) -> None:
        """Call `listener(job)` when a job is over."""
        self._end_listeners.append(listener)

    def start(self) -> None:
        """What was remembered can be read."""
        if self._started:
            return
        self._started = True
        known = as_dict(self._recall())
        jobs = [read_job(as_dict(entry)) for entry in as_list(known.get("jobs"))]
        self._ours = (self._ours + jobs)[:KEPT]
        last = as_dict(known.get("completed"))
        self._complete(as_text(last.get("filename")), as_float(last.get("end_time"), 0.0))
        self._changed()

    async def load(self) -> None:
        """Read the last jobs from Moonraker's history, where it has one."""
        transport = self._server.lookup_component("internal_transport")
        try:
            reply = await transport.call_method(
                "server.history.list", {"limit": KEPT, "order": "desc"}
            )
        except self._server.error:
            return
        self._theirs = []
        for entry in as_list(as_dict(reply).get("jobs")):
            job = read_job(as_dict(entry))
            if job.status != "in_progress":
                self._theirs.append(job)
            elif job.job_id != self._current:  # Moonraker itself has yet to find that out
                self._theirs.append(job._replace(status="interrupted"))
        for job in self._theirs:
            if job.status == "completed":
                self._complete(job.filename, job.end_time)
        # What it has no row of is listed all the same, unless it had seen the end itself: somebody
        # deleted that.
        ids = {job.job_id for job in self._theirs}
        self._ours = [
            job
            for job in self._ours
            if not job.job_id or job.job_id in ids or job.status not in ENDINGS.values()
        ]
        self._changed()

    @property
    def recent(self) -> List[PastJob]:
        """The last ten, newest first."""
        if self._merged is None:
            self._merged = merged(self._ours, self._theirs, self._jobs.open)
        return self._merged

    @property
    def last_end(self) -> float:
        """When the last job ended, as far as is known (unix seconds; 0 where there was none)."""
        return max((_moment(job) for job in self.recent), default=0.0)

    @property
    def last_completed(self) -> str:
        """As client v4 wrote it: "part.gcode (14:30)", in local time, and why it was paused, where
        it was; "" when none.
        """
        filename, ended = self._completed
        if not filename:
            return ""
        moment = datetime.datetime.fromtimestamp(ended)  # noqa: DTZ006  local time is meant
        told = f"{filename} ({moment:%H:%M})"
        reasons = self._reasons_of(filename, ended)
        return joined(" – ", [told, joined("; ", reasons)]) if reasons else told

    def _reasons_of(self, filename: str, ended: float) -> List[str]:
        """Why the job that is shown as completed was paused, but for the hub's own doing."""
        for job in self.recent:
            if job.filename == filename and abs(job.end_time - ended) < SAME_START:
                reasons = dict.fromkeys(pause.reason for pause in job.pauses)
                return [one for one in reasons if one not in ("", BY_HUB)][:MOST_SHOWN]
        return []

    def _on_history(self, event: Mapping[str, Any]) -> None:
        job = read_job(as_dict(event.get("job")))
        if event.get("action") != "finished":
            self._current, self._began = job.job_id, job.start_time
            self._jobs.name(job.filename, job.job_id)
            if self._ours and self._ours[0].filename == job.filename and not self._ours[0].job_id:
                self._ours[0] = self._ours[0]._replace(
                    job_id=job.job_id, start_time=job.start_time
                )  # it was that short
            return
        self._current = ""
        self._theirs = [job, *(known for known in self._theirs if known.job_id != job.job_id)]
        self._theirs = self._theirs[:KEPT]
        self._changed()

    def _on_job(self, news: News) -> None:
        if news.kind == "ended":
            manager = self._server.lookup_component("file_manager")
            job = past_job(news, as_dict(manager.get_file_metadata(news.job.filename)))
            job = job._replace(pauses=tuple(self._pauses()))
            if job.job_id and job.job_id == self._current:
                job = job._replace(start_time=self._began)
            self._ours = [job, *self._ours][:KEPT]
            if news.status == "completed":
                self._complete(news.job.filename, news.ended)
            self._remember(
                {
                    "jobs": [job.to_keep() for job in self._ours],
                    "completed": {
                        "filename": self._completed[0],
                        "end_time": self._completed[1],
                    },
                }
            )
            for listener in self._end_listeners:
                listener(job)
        self._changed()

    def _complete(self, filename: str, ended: float) -> None:
        if filename and ended >= self._completed[1]:
            self._completed = (filename, ended)

    def _changed(self) -> None:
        self._merged = None
        for listener in self._listeners:
            listener()


def merged(
    ours: Sequence[PastJob], theirs: Sequence[PastJob], running: Optional[Watched]
) -> List[PastJob]:
    """The last ten jobs that are over, newest first, each once.

    Moonraker's word counts, but where it does not know the end and we saw it.
    """
    left = list(ours)
    jobs = []
    for job in theirs:
        own = next(
            (one for one in left if _is(job, one.filename, one.job_id, one.start_time)), None
        )
        if own is not None:
            left.remove(own)
            ours_counts = job.status in UNKNOWN and own.status in ENDINGS.values()
            jobs.append(
                own._replace(job_id=job.job_id, start_time=job.start_time)
                if ours_counts
                else job._replace(reason=own.reason, command_id=own.command_id, pauses=own.pauses)
            )
        elif running is None or not _is(job, running.filename, running.job_id, running.began):
            jobs.append(job)
    return sorted(jobs + left, key=_moment, reverse=True)[:KEPT]


def past_job(news: News, file: Mapping[str, Any]) -> PastJob:
    """Of the news of its end, and Moonraker's metadata of its file."""
    job = news.job
    return PastJob(
        job_id=job.job_id,
        filename=job.filename,
        status=news.status,
        start_time=job.began,
        end_time=news.ended,
        print_duration=job.print_duration,
        total_duration=job.total_duration,
        filament_used=job.filament_used,
        filament_used_g=_grams(job.filament_used, file),
        command_id=job.command_id,
        reason=news.message,
    )


def read_job(entry: Mapping[str, Any]) -> PastJob:
    """An entry of Moonraker's history, or of `PastJob.to_keep`."""
    used = as_float(entry.get("filament_used"), 0.0)
    weight = as_float(entry.get("filament_used_g"))
    if weight is None:
        weight = _grams(used, as_dict(entry.get("metadata")))
    return PastJob(
        job_id=as_text(entry.get("job_id")),
        filename=as_text(entry.get("filename")),
        status=as_text(entry.get("status")),
        start_time=as_float(entry.get("start_time"), 0.0),
        end_time=as_float(entry.get("end_time"), 0.0),
        print_duration=as_float(entry.get("print_duration"), 0.0),
        total_duration=as_float(entry.get("total_duration"), 0.0),
        filament_used=used,
        filament_used_g=weight,
        command_id=as_text(entry.get("command_id")),
        reason=restored(as_text(entry.get("reason")), entry.get("reason_parts")),
        pauses=tuple(read_pause(one) for one in as_list(entry.get("pauses"))),
    )


def _grams(used: float, file: Mapping[str, Any]) -> Optional[float]:
    total = as_float(file.get("filament_total"), 0.0)
    return grams(used, total, as_float(file.get("filament_weight_total"), 0.0))


def _is(job: PastJob, filename: str, job_id: str, began: float) -> bool:
    """Whether the history's job is the one known by these; `job_id` may be unknown ("")."""
    if filename != job.filename:
        return False
    return job_id == job.job_id if job_id else abs(began - job.start_time) < SAME_START


def _moment(job: PastJob) -> float:
    return job.end_time or job.start_time + job.total_duration
