"""The one watcher of jobs: tells that each begins, pauses, goes on and ends, each once.

Klipper gives a job no name. What tells one from the next is the signature of its print_stats: the
file, the moment at which their clock (total_duration) began to run, and how far it has come. It is
remembered on disk, so that a job that began, ended or went on while Moonraker or Klippy was away is
told as what it was, and as one.

The plugin's own subscription is followed: `job_state:state_changed` comes a turn of the event loop
after the snapshot by which commands are judged, and not at all for a job that takes the place of
another within one of Klipper's reports. That event speaks for the time before the subscription.
"""

from typing import Any, Callable, List, Mapping, NamedTuple, Optional

from ..runtime.clock import Clock
from ..runtime.loose import as_dict, as_float, as_text
from ..runtime.messages import say
from .console import plain_words
from .snapshot import Job, KlippyState

BUSY = ("printing", "paused")
ENDINGS = {"complete": "completed", "cancelled": "cancelled", "error": "error"}
LOST = "lost"  # the state of a job that Klippy's shutdown ended, whatever print_stats says later

STILL = 1e-6  # seconds; less is the same figure (some jobs take a millisecond)
SETTLES = 5.0  # seconds that print_stats may run on after a shutdown
PROMPT = 5.0  # seconds within which Moonraker hands on what Klipper said
DRIFT = 0.001  # Klipper's clock is not slewed as the system's is (at most 500 ppm)
BOARDS_DRIFT = 0.01  # of a board's clock: some have no crystal, but a resonator of 0.5 %
LOOKS = 5.0  # seconds that reading the board's clock may have taken

RESTARTED = say("Klippy was restarted during this job")
UNSEEN = say("It ended while Moonraker or Klippy was away: how is unknown")


class Watched(NamedTuple):
    """A job as it was seen last."""

    filename: str
    state: str  # printing | paused | complete | cancelled | error | lost
    boot: str  # of the computer, within which `start` means something
    start: float  # monotonic seconds: when total_duration began to run
    began: float  # unix seconds: the same moment
    total_duration: float = 0.0  # seconds
    print_duration: float = 0.0  # seconds
    filament_used: float = 0.0  # mm
    job_id: str = ""  # Moonraker's, once its history has one
    command_id: str = ""  # of the hub's command that began it

    @property
    def open(self) -> bool:
        return self.state in BUSY


class Session(NamedTuple):
    """One run of Klippy, from its start (or FIRMWARE_RESTART) to its end."""

    boot: str  # of the computer
    process: str  # Klippy's number, "" where it does not tell it
    start: float  # monotonic seconds: when the clock of its board began to run
    seen: float  # monotonic seconds: when that was read

    def lasts(self, now: "Session") -> bool:
        """Whether it is the one that is seen now. After another boot nobody can tell, nor need:
        whoever switches a printer on has not printed with it meanwhile.
        """
        if not self.boot or self.boot != now.boot:
            return True
        wrong_by = LOOKS + BOARDS_DRIFT * max(now.seen - self.seen, 0.0)
        return self.process == now.process and abs(now.start - self.start) <= wrong_by


class News(NamedTuple):
    """`kind`: begun | paused | resumed | ended; found: one that was over before anybody watched;
    unseen: Klippy was started anew while nobody watched, and of what it printed nothing is left to
    see. `message` says why, where that is known.
    """

    kind: str
    job: Watched
    message: str = ""
    # Of an end: Moonraker's word (completed | cancelled | error | klippy_shutdown |
    # klippy_disconnect | interrupted) and when, unix seconds.
    status: str = ""
    ended: float = 0.0


class Jobs:
    """`recall()` gives what `remember(value)` (a JSON value) was told last, by a former run."""

    def __init__(
        self,
        server: Any,
        clock: Clock,
        recall: Callable[[], Any],
        remember: Callable[[Any], None],
        explain: Callable[[str, Job], str] = lambda kind, job: "",
        session: Callable[[], Optional[Session]] = lambda: None,
    ) -> None:
        """`explain(kind, job)` may know why a job was paused or ended, where Klipper does not say
        it; `session()` is the run of Klippy that is seen, None while none is.
        """
        self._server = server
        self._clock = clock
        self._recall = recall
        self._remember = remember
        self._explain = explain
        self._session_now = session
        self._session: Optional[Session] = None  # as it was seen last
        self._compared = False  # since our start, with the one that was remembered
        self._boot = clock.boot()
        self._known: Optional[Watched] = None
        self._announced = ("", "")
        self._unbroken = False  # nothing can have gone unseen since the last look
        self._since: Optional[float] = None  # as at the last look
        self.met = False  # Klippy, since our start
        self._klippy = KlippyState.DISCONNECTED
        self._told_since: Optional[float] = None  # from when Moonraker speaks in our place
        self._started = False
        self._first = False  # no run before this one has left anything
        self._last_look: Optional[Callable[[], None]] = None
        self._listeners: List[Callable[[News], None]] = []

    def register(self) -> None:
        self._server.register_event_handler("job_state:state_changed", self._on_job_state)

    def subscribe(self, listener: Callable[[News], None]) -> None:
        self._listeners.append(listener)

    def start(self) -> None:
        """What was remembered can be read: what has become of the job that was seen last?"""
        if self._started:
            return
        memory = self._recall()
        self._known = _read(memory)
        self._session = _read_session(as_dict(memory).get("klippy"))
        self._first = memory is None
        self._started = True
        if self._last_look is not None:
            self._last_look()

    def save(self) -> None:
        """Remember how far the job has come: who sees it next can tell it from another."""
        if self._started and self._known is not None and self._known.open:
            self._keep(self._known)

    @property
    def open(self) -> Optional[Watched]:
        """The job that was told to begin and not yet to end."""
        return self._known if self._known is not None and self._known.open else None

    @property
    def current_id(self) -> str:
        """Moonraker's id of the job that runs now; "" when there is none, or it has none."""
        return self.open.job_id if self.open is not None else ""

    def name(self, filename: str, job_id: str) -> None:
        """Moonraker's history has given the job that runs an id."""
        job = self.open
        if job is not None and job.filename == filename and job.job_id != job_id:
            self._keep(job._replace(job_id=job_id))

    def announce(self, filename: str, command_id: str) -> None:
        """A command of the hub is about to have this file printed: the next begin of it is its
        doing.
        """
        self._announced = (filename, command_id)

    def look(self, klippy: KlippyState, message: str, job: Job, since: float) -> None:
        """Klipper's print_stats, in the order in which it told them, and Klippy's state.

        Nothing that it said since the moment `since` (monotonic seconds) has gone unheard.
        """
        self._klippy = klippy
        if since != self._since:
            self._unbroken, self._since = False, since
        if not self._started:
            self._last_look = lambda: self.look(klippy, message, job, since)
        elif klippy in (KlippyState.STARTUP, KlippyState.DISCONNECTED):
            self._told_since = None
            self._unbroken = False  # what becomes of the job is seen when Klippy is back
        else:
            self._compare()
            if klippy is KlippyState.READY:
                self._look(job, since)
                self.met = self._unbroken = True
            else:
                self._look_when_down(message, job, since)

    def _on_job_state(self, _event: Any, _old: Any, new: Mapping[str, Any]) -> None:
        if self._klippy in (KlippyState.STARTUP, KlippyState.DISCONNECTED):
            if self._told_since is None:
                self._told_since = self._clock.monotonic() - PROMPT
            self.look(KlippyState.READY, "", job_of(as_dict(new)), self._told_since)
            self._klippy = KlippyState.STARTUP  # until our own subscription says more

    # Inside

    def _compare(self) -> None:
        """Klippy's session with the one before our start: print_stats tell of their own only."""
        before, now = self._session, self._session_now()
        if now is None or now is before:
            return
        self._session = now
        missed = not self._compared and before is not None and not before.lasts(now)
        self._compared = True
        self._keep(self._known)
        if missed:
            self._tell(News("unseen", Watched("", LOST, self._boot, 0.0, 0.0)))

    def _look(self, job: Job, since: float) -> None:
        if job.state in BUSY or job.state in ENDINGS:
            known = self._known
            if known is None and self._first and job.state in ENDINGS:
                self._find(job)
            elif known is None or not self._is(known, job, since):
                self._end_unseen(UNSEEN)
                self._begin(job)
            self._follow(job)
        elif job.state:  # nothing is loaded any more
            self._end_unseen(RESTARTED)
            if self._known is not None or self._first:
                self._keep(None)
        self._first = False

    def _look_when_down(self, message: str, job: Job, since: float) -> None:
        """A shutdown ends a job; one that ran unseen is told now, for the restart erases it."""
        known = self._known
        told = known is not None and (not job.filename or self._is(known, job, since))
        if not told and (job.state in BUSY or job.state in ENDINGS):
            self._end_unseen(UNSEEN)
            self._begin(job)
            if job.state in ENDINGS:
                self._follow(job)
        if self.open is not None:
            lost = self.open._replace(state=LOST)
            self._tell_end(lost, "klippy_shutdown", message, self._clock.time())

    def _is(self, known: Watched, job: Job, since: float) -> bool:
        return same_job(known, job, self._boot, self._clock.monotonic(), since, self._unbroken)

    def _find(self, job: Job) -> None:
        """It may lie on the bed still; whether the hub knows of it, nobody knows."""
        found = _seen(Watched(job.filename, job.state, self._boot, 0.0, 0.0), job)
        self._keep(found)
        self._tell(News("found", found))

    def _begin(self, job: Job) -> None:
        now = self._clock.monotonic()
        began = self._clock.time() - job.total_duration
        start = now - job.total_duration
        begun = _seen(Watched(job.filename, "printing", self._boot, start, began), job)
        filename, command_id = self._announced
        if filename == job.filename:
            begun = begun._replace(command_id=command_id)
        self._announced = ("", "")
        self._keep(begun)
        self._tell(News("begun", begun))

    def _follow(self, job: Job) -> None:
        """The job that is known, as it is now."""
        known = self._known
        if known is None or not known.open:
            return
        start = min(known.start, self._clock.monotonic() - job.total_duration)
        before = known.state
        known = self._known = _seen(known._replace(state=job.state, start=start), job)
        if job.state in ENDINGS:
            now = self._clock.time()
            ended = now if self._unbroken else min(now, known.began + known.total_duration)
            message = job.message or self._explain("ended", job)
            self._tell_end(known, ENDINGS[job.state], message, ended)
        elif job.state != before:
            kind = "paused" if job.state == "paused" else "resumed"
            self._keep(known)
            self._tell(News(kind, known, job.message or self._explain(kind, job)))

    def _end_unseen(self, message: str) -> None:
        """The job that was open is not there any more."""
        if self.open is None:
            return
        lost = self.open._replace(state=LOST)
        if self._unbroken:  # put away, or begun anew, before anybody saw how it ended
            self._tell_end(lost, "cancelled", "", self._clock.time())
        else:
            word = "klippy_disconnect" if self.met else "interrupted"
            self._tell_end(lost, word, message, self._clock.time())

    def _tell_end(self, job: Watched, status: str, message: str, ended: float) -> None:
        self._keep(job)
        self._tell(News("ended", job, message, status, ended))

    def _keep(self, job: Optional[Watched]) -> None:
        self._known = job
        told = {} if job is None else dict(job._asdict())
        if self._session is not None:
            told["klippy"] = dict(self._session._asdict())
        self._remember(told)

    def _tell(self, news: News) -> None:
        for listener in self._listeners:
            listener(news)


def same_job(known: Watched, job: Job, boot: str, now: float, since: float, unbroken: bool) -> bool:
    """Whether print_stats still speak of the job that is known.

    Within unbroken sight the clock of a job only grows. After a break it must also have begun when
    that of the known job did (it is read between `since` and `now`); a clock that stands still must
    not have run for longer than there was time.
    """
    if (known.filename, known.boot) != (job.filename, boot):
        return False
    total = job.total_duration
    if not known.open and known.state != LOST:
        return job.state not in BUSY and abs(total - known.total_duration) < STILL
    if total < known.total_duration - STILL:
        return False
    if unbroken:
        return True
    slack = 1.0 + DRIFT * max(now - known.start, 0.0)
    if job.state in BUSY:
        return since - total <= known.start + slack and known.start <= now - total + slack
    most = known.total_duration + SETTLES if known.state == LOST else now - known.start + slack
    return total <= most


def job_of(stats: Mapping[str, Any]) -> Job:
    """What a job is told by, of Klipper's print_stats."""
    return Job(
        state=as_text(stats.get("state")),
        filename=as_text(stats.get("filename")),
        message=plain_words(as_text(stats.get("message"))),
        print_duration=as_float(stats.get("print_duration"), 0.0),
        total_duration=as_float(stats.get("total_duration"), 0.0),
        filament_used=as_float(stats.get("filament_used"), 0.0),
    )


def _seen(known: Watched, job: Job) -> Watched:
    return known._replace(
        total_duration=job.total_duration,
        print_duration=job.print_duration,
        filament_used=job.filament_used,
    )


def _read(value: Any) -> Optional[Watched]:
    """As it was remembered; None for anything else."""
    found = as_dict(value)
    if not found.get("state"):
        return None
    return Watched(
        filename=as_text(found.get("filename")),
        state=as_text(found.get("state")),
        boot=as_text(found.get("boot")),
        start=as_float(found.get("start"), 0.0),
        began=as_float(found.get("began"), 0.0),
        total_duration=as_float(found.get("total_duration"), 0.0),
        print_duration=as_float(found.get("print_duration"), 0.0),
        filament_used=as_float(found.get("filament_used"), 0.0),
        job_id=as_text(found.get("job_id")),
        command_id=as_text(found.get("command_id")),
    )


def _read_session(value: Any) -> Optional[Session]:
    found = as_dict(value)
    start, seen = as_float(found.get("start")), as_float(found.get("seen"))
    if start is None or seen is None:
        return None
    return Session(as_text(found.get("boot")), as_text(found.get("process")), start, seen)
