"""The room's façade: takes replies from the hub, hands results back, goes on with what a former run
left, and owns what the operator can switch.
"""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Dict, Iterable, List, Optional, Tuple

from ..hub.identity import scope, scopes
from ..printer.jobs import News
from ..runtime.messages import say
from ..runtime.worker import aside
from ..store.ledger import Row
from ..store.life import State
from ..store.sqlite_file import StoreUnavailable
from . import policy
from .actions import ACTIONS, EMERGENCY_STOP, MAY_PRINT, PRINTS, find_action
from .answers import Answers, Listener
from .emergency import EmergencyStop
from .gcode import Refused
from .halt import Halts
from .intake import Intake
from .lanes import Job, Lanes
from .order import TooOld
from .outcome import interrupted
from .runner import Runner
from .situation import Situation
from .switch import Switch, person
from .targets import Targets
from .tools import Deeds, Tools
from .wire import Command, Reader, from_json

# Seconds after the end of what the hub set going in which Klippy may still call for it: what a
# script called arrives with its answer. Longer would keep a person's button from working at a hub
# that is never silent, and is still too short for a delayed_gcode, which only printer.cfg can have.
LATELY = 0.2


class Commands:
    """`boot_id()` identifies this boot of the machine."""

    def __init__(
        self, tools: Tools, deeds: Deeds, boot_id: Optional[Callable[[], str]] = None
    ) -> None:
        self._tools = tools
        self._deeds = deeds
        self._live = tools.live
        self._printer = tools.printer
        self._ledger = tools.ledger
        self._flags = tools.flags
        self._notices = tools.notices
        self._boot_id = boot_id or tools.clock.boot
        self._lanes = Lanes(tools.clock, lambda name: find_action(name, tools.live.now.actions))
        self._halts = Halts(self._lanes, tools.ledger.note_fall)
        self._targets = Targets()
        self._switch = Switch(tools.flags, tools.notices)
        self._emergency = EmergencyStop(tools, self._halts)
        self._answers = Answers(tools)
        self._intake = Intake(tools, self._lanes, self._emergency, self._answers, self._situation)
        self._bed = tools.bed
        self._runner = Runner(
            tools,
            deeds,
            self._lanes,
            self._halts,
            self._targets,
            self._situation,
            self._answers,
        )
        tools.bed.hub_acts = lambda: bool(self.hub_at_work)
        tools.printer.subscribe(self._halts.note_change)
        tools.printer.subscribe(self._targets.note_change)
        tools.live.subscribe(lambda old, new: self._check_power())

    # Life cycle

    async def start(self) -> None:
        """Read the ledger: what was still waiting waits again, what was running is reported and
        never run again. May be called again after it raised."""
        await self._flags.load()
        if self._flags.forgotten:  # the worst is taken for true until a person says better
            self._switch.doubt()
            self._bed.doubt()
        boot = self._boot_id()
        unfinished = await self._ledger.load()
        self._switch.show()
        self._check_power()
        self._runner.start(boot)
        waiting = [row for row in unfinished if row.status is State.RECEIVED]
        jobs = self._lanes.admit_again([_command_of(row) for row in waiting])
        stopped = await self._ledger.last_begun(EMERGENCY_STOP)
        cancelled = max(stopped, await self._ledger.last_begun("cancel"))
        for job, row in zip(jobs, waiting):
            struck = row.seq < (cancelled if job.action.name in PRINTS else stopped)
            refused = _STRUCK if struck else ""
            if job.action.needs_klippy and row.boot != boot:
                refused = _BOOTED
            elif job.action.needs_klippy and row.fallen:
                refused = _FALLEN
            await self._guarded(self._recover(job, refused), row)
        for row in unfinished:
            if row.status is not State.RECEIVED:
                if row.action in MAY_PRINT or row.action not in ACTIONS:
                    self._bed.doubt()
                end = _end_of(row, boot)
                await self._guarded(self._answers.finish(_command_of(row), *end), row)
        self._intake.start(boot)

    async def _guarded(self, work: Awaitable[None], row: Row) -> None:
        """No row of a former run keeps the others, and us, from beginning."""
        try:
            await work
        except StoreUnavailable:
            raise
        except Exception as error:
            self._notices.log_fault(
                "recovery", "The command {key} cannot go on", error, key=row.key
            )
            await self._answers.finish(_command_of(row), State.REFUSED, _DAMAGED)

    async def _recover(self, job: Job, refused: str) -> None:
        if refused:
            self._lanes.leave(job)
            await self._answers.finish(job.command, State.REFUSED, refused)
        else:
            await self._intake.go_on([job])

    async def stop(self) -> None:
        """End the lanes. What was running is found in the ledger by the next start, and reported as
        interrupted."""
        self._answers.closing = True
        self._emergency.close()
        await self._runner.stop()

    # The hub

    async def take(self, raw: Any, generation: int) -> Optional[int]:
        """The `commands` of one reply, as `Intake.take`."""
        return await self._intake.take(raw, generation)

    async def what_if(self, raw: Any, generation: int) -> List[Dict[str, Any]]:
        """What would become of these `commands` if they came now; none of them is run."""
        await aside(_read_trial)  # hardly anybody asks
        from .trial import Trials  # noqa: PLC0415  (read already, in the thread)

        settings = self._live.now
        reader = Reader(scope(settings), settings.printer_token, lambda: "trial")
        trials = Trials(
            lambda: self._live.now,
            self._situation,
            self._runner.weigh,
            self._deeds.find_local,
            self._deeds.looks,
            self._tools.hub_now,
        )
        return await trials.of(raw, reader, generation)

    def check(self, command: Command) -> None:
        """Raises the reason, if it must not be done any more: for what takes its time on the way to
        a deed of which nothing is taken back."""
        try:
            self._runner.weigh(command)
        except policy.NotYet:
            pass
        except TooOld as reason:
            raise Refused(str(reason)) from None

    def results_due(self, limit: int = 50) -> List[Dict[str, Any]]:
        """`{id, action, status, message, received_at, finished_at}`, oldest first, until
        `results_delivered`; of this hub's commands only: an id means another one elsewhere."""
        return self._ledger.due(limit, scopes(self._live.now))

    async def results_delivered(self, results: Iterable[Any]) -> None:
        """The hub has acknowledged these: results as `results_due` gave them, or their ids."""
        self._emergency.acknowledged(await self._ledger.acknowledge(list(results)))

    def recent(self, limit: int = 50) -> List[Dict[str, Any]]:
        """The newest commands and what became of them, newest first."""
        return self._ledger.recent(limit)

    def on_result(self, listener: Listener, running: bool = False) -> None:
        """As `Answers.subscribe`."""
        self._answers.subscribe(listener, running)

    @property
    def waiting(self) -> int:
        """Commands whose turn has not come."""
        return self._lanes.waiting

    def job_told(self, news: News) -> None:
        """A listener for `Jobs.subscribe`."""
        if news.kind == "unseen":
            self._halts.note_unseen()

    # The operator

    @property
    def remote_on(self) -> bool:
        return not self._switch.off_by

    async def set_remote(self, on: bool, by: str) -> str:
        """The kill switch, as `Switch.throw`."""
        return await self._switch.throw(on, by)

    @property
    def hub_at_work(self) -> str:
        """Why what Klippy calls at this moment may be the hub's doing and not a person's; "" if it
        cannot be."""
        return self._lanes.hub_is_at_work(LATELY)

    def bed_clear(self, by: str, by_macro: bool = False) -> str:
        """`by` says that the bed is clear: the hub may print again. Why that is not taken for
        true, else ""."""
        refused = self._bed.clear(by_macro)
        if not refused:
            self._notices.console("The bed is clear ({who}).", who=person(by))
        return refused

    @property
    def bed_needs_clearing(self) -> bool:
        """For people: whether a job is over and its bed not yet cleared."""
        return self._bed.left_uncleared

    # Inside

    def _check_power(self) -> None:
        """An operator who counts on a device that is not there should know before it is needed."""
        device = self._live.now.security.emergency_power_device
        known = self._printer.power_devices
        if not device or device in known:
            self._notices.clear("power_device")
            return
        self._notices.show(
            "power_device",
            "security.emergency_power_device names {device}, but Moonraker has no [power"
            " {device}] (there are: {known}): an emergency stop could not switch it off.",
            device=device,
            known=", ".join(known) or say("none"),
        )

    def _situation(self) -> Situation:
        return Situation(
            security=self._live.now.security,
            snapshot=self._printer.snapshot,
            switched_off_by=self._switch.off_by,
            bed_needs_clearing=self._bed.needs_clearing,
            queue=self._printer.job_queue,
            heat_preset=self._live.now.commands.heat_preset,
            switched_off=self._printer.switched_off,
            power=self._printer.power_feeds,
            own=self._live.now.actions,
            before=self._targets.before,
            job_of_hub=self._bed.job_of_hub,
        )


_BOOTED = say(
    "The computer was started anew before its turn, and Klippy with it: send it again"
    " if it is still wanted."
)
_FALLEN = say(
    "Klippy left before its turn, and Moonraker was started anew: send it again if it is still"
    " wanted."
)
_STRUCK = say(
    "A stop or a cancel came behind it, before its turn, and Moonraker was started anew: send it"
    " again if it is still wanted."
)
_DAMAGED = say("The record of this command is damaged, so it was not run. Send it again.")


def _end_of(row: Row, boot: str) -> Tuple[State, str]:
    """What became of a command that was sent before Moonraker ended."""
    if row.action in ("reboot", "shutdown") and row.boot and boot and row.boot != boot:
        if row.action == "reboot":
            return State.DONE, say("the computer has been restarted")
        return State.DONE, say("the computer has been started again")
    return State.INTERRUPTED, interrupted("Moonraker")


def _command_of(row: Row) -> Command:
    return from_json(row.key, row.id, row.action, row.received_at, row.command)


def _read_trial() -> None:
    from . import trial  # noqa: F401, PLC0415
