"""What is known at the moment in which a command is judged, besides the command. Pure."""

from typing import Mapping, NamedTuple, Tuple

from ..printer.snapshot import Snapshot
from ..printer.verbs import JobQueue
from ..runtime.messages import say
from ..settings.model import OperatorAction, Security

JOBS_APART = 5.0  # seconds by which clocks may differ where one job is told from the next


class Coming(NamedTuple):
    """A print that was accepted before the command which is judged, and has not begun."""

    file: str
    fetching: bool = False  # its file is on the way
    handed: bool = False  # to Klippy, which has not shown it yet


class Situation(NamedTuple):
    """Everything a rule may look at besides the command."""

    security: Security
    snapshot: Snapshot
    switched_off_by: str = ""  # who used the kill switch at the printer; "" while it is on
    bed_needs_clearing: bool = False
    coming: Tuple[Coming, ...] = ()
    queue: JobQueue = JobQueue()
    heat_preset: str = ""  # °C: "200/60"
    switched_off: str = ""  # the [power] device that feeds the printer, where that is off
    power: Mapping[str, bool] = {}  # Moonraker's [power] devices: whether it feeds the printer
    own: Mapping[str, OperatorAction] = {}  # the operator's own actions
    before: Mapping[str, float] = {}  # °C of heaters before the hub set them in this job
    age: float = 0.0  # seconds since the command was asked for
    job_of_hub: bool = False  # the job that runs was begun by a command

    def disturbed_by(self, what: str) -> str:
        """What a dangerous command would do harm to, as the beginning of a sentence; "" while the
        printer is nobody's."""
        job = self.snapshot.job
        if self.snapshot.busy:
            name = job.filename or say("of this printer")
            return say(
                "{what} would disturb the job {name}, which is {state}",
                what=what,
                name=name,
                state=say(job.state),
            )
        if self.coming:
            return say(
                "{what} would disturb the job {file}, which is about to begin",
                what=what,
                file=self.coming[0].file,
            )
        if self.snapshot.adjusting:
            return say("{what} would disturb the person who adjusts the printer by hand", what=what)
        return ""

    @property
    def asked_before_its_job(self) -> bool:
        """Whether a person has begun a job since; one of the hub's may have been asked for
        first.
        """
        total = self.snapshot.job.total_duration
        return self.snapshot.busy and not self.job_of_hub and self.age > total + JOBS_APART
