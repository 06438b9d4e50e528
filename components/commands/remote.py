"""The room's façade: takes replies from the hub, hands results back, and owns what the operator can
switch.

A reply's emergency stop is sent before anything else is looked at or written down. Everything else
in the reply is committed to the ledger as one batch before the first of it runs: the hub has
forgotten it by then.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import urllib.parse
from typing import (
    Any,
    Awaitable,
    Callable,
    Dict,
    Iterable,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
)

from ..printer.jobs import News
from ..runtime.messages import in_language, say, sentence
from ..settings.model import Settings
from ..store.ledger import Entry, Row
from ..store.life import FINAL, State
from ..store.sqlite_file import StoreUnavailable
from . import policy
from .actions import EMERGENCY_STOP, PRINTS, find_action
from .emergency import EmergencyStop
from .gcode import Refused
from .halt import Halts
from .lanes import Job, Lanes
from .runner import UNWRITTEN, Runner, interrupted
from .switch import Switch, person
from .targets import Targets
from .tools import Deeds, Tools
from .trial import Trials
from .wire import (
    MAX_ANSWERED,
    MAX_PER_REPLY,
    Command,
    Reader,
    entries,
    from_json,
    looks_like_stop,
)

MAX_MESSAGE = 500  # characters of a result's message
# Seconds after the end of what the hub set going in which Klippy may still call for it: what a
# script called arrives with its answer. Longer would keep a person's button from working at a hub
# that is never silent, and is still too short for a delayed_gcode, which only printer.cfg can have.
LATELY = 0.2

STARTS_WITHIN = 20.0  # seconds that commands wait for the disk at our start

Listener = Callable[[Dict[str, Any]], None]


class Commands:
    """`boot_id()` identifies this boot of the machine."""

    def __init__(
        self, tools: Tools, deeds: Deeds, boot_id: Optional[Callable[[], str]] = None
    ) -> None:
        self._live = tools.live
        self._printer = tools.printer
        self._ledger = tools.ledger
        self._flags = tools.flags
        self._notices = tools.notices
        self._supervisor = tools.supervisor
        self._clock = tools.clock
        self._hub_now = tools.hub_now
        self._hub_time_known = tools.hub_time_known
        self._boot_id = boot_id or tools.clock.boot
        self._lanes = Lanes(tools.clock, lambda name: find_action(name, tools.live.now.actions))
        self._halts = Halts(self._lanes)
        self._targets = Targets()
        self._switch = Switch(tools.flags, tools.notices)
        self._emergency = EmergencyStop(tools, self._halts)
        self._bed = tools.bed
        self._runner = Runner(
            tools,
            deeds,
            self._lanes,
            self._halts,
            self._targets,
            self._situation,
            self._finish,
            self._still_running,
        )
        self._trials = Trials(
            lambda: self._live.now,
            self._situation,
            self._runner.weigh,
            deeds.find_local,
            deeds.looks,
            self._hub_now,
        )
        self._listeners: List[Tuple[Listener, bool]] = []
        self._started = asyncio.Event()
        self._in_order = asyncio.Lock()  # replies go to the disk as they came
        self._made_ids = 0
        self._boot = ""
        self._closing = False
        self.last_activity = float("-inf")  # monotonic seconds
        tools.bed.hub_acts = lambda: bool(self.hub_at_work)
        tools.printer.subscribe(self._halts.note_change)
        tools.printer.subscribe(self._targets.note_change)
        tools.live.subscribe(lambda old, new: self._check_power())

    # Life cycle

    async def start(self) -> None:
        """Read the ledger: what was still waiting waits again, what was running is reported and
        never run again. May be called again after it raised."""
        await self._flags.load()
        self._boot = self._boot_id()
        unfinished = await self._ledger.load()
        self._switch.show()
        self._check_power()
        self._runner.start(self._boot)
        waiting = [row for row in unfinished if row.status is State.RECEIVED]
        jobs = self._lanes.admit_again([_command_of(row) for row in waiting])
        stopped = await self._ledger.last_begun(EMERGENCY_STOP)
        cancelled = max(stopped, await self._ledger.last_begun("cancel"))
        for job, row in zip(jobs, waiting):
            struck = row.seq < (cancelled if job.action.name in PRINTS else stopped)
            await self._guarded(self._recover(job, row, _STRUCK if struck else ""), row)
        for row in unfinished:
            if row.status is not State.RECEIVED:
                end = _end_of(row, self._boot)
                await self._guarded(self._finish(_command_of(row), *end), row)
        self._started.set()

    async def _guarded(self, work: Awaitable[None], row: Row) -> None:
        """No row of a former run keeps the others, and us, from beginning."""
        try:
            await work
        except StoreUnavailable:
            raise
        except Exception as error:
            self._notices.log_fault(
                "recovery", say("The command {key} cannot go on", key=row.key), error
            )
            await self._finish(_command_of(row), State.REFUSED, _DAMAGED)

    async def _recover(self, job: Job, row: Row, refused: str) -> None:
        if job.action.needs_klippy and row.boot != self._boot:
            refused = _BOOTED
        if refused:
            self._lanes.leave(job)
            await self._finish(job.command, State.REFUSED, refused)
        else:
            await self._go_on(job)

    async def stop(self) -> None:
        """End the lanes. What was running is found in the ledger by the next start, and reported as
        interrupted."""
        self._closing = True
        self._emergency.close()
        await self._runner.stop()

    async def _go_on(self, job: Job) -> None:
        """A command of the batch, or of a former run, is on the disk: let it have its turn."""
        command = job.command
        try:
            policy.check_arrival(command, self._situation())
            full = "" if command.is_stop else self._lanes.enqueue(job)
            if full:
                raise Refused(full)
        except Refused as reason:
            self._lanes.leave(job)
            await self._finish(command, State.REFUSED, str(reason))
            return
        if command.is_stop:  # it was too old, or is one of a former run that was never sent
            self._lanes.leave(job)
            await self._finish(command, State.EXPIRED, self._too_old(command) or _STOP_OF_BEFORE)

    # The hub

    async def take(self, raw: Any, generation: int) -> int:
        """The `commands` of one reply, in whatever shape; how many of them were new. Never raises
        for what they hold.

        When it returns, each is on disk, refused, or (an emergency stop) sent to Klippy.
        """
        jobs, stops = self._read(raw, int(generation))
        try:
            return await self._write_down(jobs, stops)
        except StoreUnavailable:
            return await self._tell_unwritten(jobs, stops)
        finally:
            for job in jobs:
                if not job.queued:
                    self._lanes.leave(job)

    def _read(self, raw: Any, generation: int) -> Tuple[List[Job], List[Job]]:
        """All of a reply, in one go: its stops are sent, unless they were before, and what is
        behind them knows of those before it."""
        now = self._hub_now()
        reader = Reader(_scope(self._live.now), self._live.now.printer_token, self._make_id)
        jobs: List[Job] = []
        stops: List[Job] = []
        count = 0
        for item in entries(raw):
            count += 1
            if looks_like_stop(item):
                command = reader.read(item, generation, now)
                job = self._lanes.admit(command)
                jobs.append(job)
                job.again = command.is_stop and self._emergency.repeated(command)
                if job.again or self._may_stop(command):
                    stops.append(job)
            elif count <= MAX_PER_REPLY:
                jobs.append(self._lanes.admit(reader.read(item, generation, now)))
            elif count <= MAX_ANSWERED:
                jobs.append(self._lanes.admit(reader.left_out(item, generation, now, _TOO_MANY)))
        fresh = [job for job in stops if not job.again]
        if fresh:
            self._emergency.send([job.command for job in fresh], fresh[-1].number)
        if count > MAX_PER_REPLY:
            self._notices.log_once(
                "commands left out",
                say(
                    "The hub sent {count} commands in one reply: {most} of them were taken.",
                    count=count,
                    most=MAX_PER_REPLY,
                ),
            )
        return jobs, stops

    async def _write_down(self, jobs: Sequence[Job], stops: Sequence[Job]) -> int:
        """Commit a batch, then let it wait for its turn. What the disk does not take is not run."""
        came = self._clock.monotonic()
        async with self._in_order:
            await self._until_started(came)
            written = [_entry(job, self._boot, sent=job in stops) for job in jobs]
            writing = asyncio.ensure_future(self._ledger.receive(written))
        keys = await writing
        new = []
        for job, key in zip(jobs, keys):
            if key is None:
                self._lanes.leave(job)
                continue
            job.command = job.command._replace(key=key)
            new.append(job)
        if not new:
            return 0
        self.last_activity = self._clock.monotonic()
        sent = [job.command for job in new if job in stops]
        if sent:
            self._supervisor.spawn("emergency stop", self._report_stop(sent))
        for job in new:
            if job not in stops:
                await self._go_on(job)
        for id_ in await self._known_ids(new):
            self._notices.note(
                say(
                    "The hub sent another command under the known id {id}: it is taken for a new"
                    " one.",
                    id=json.dumps(id_),
                )
            )
        return len(new)

    async def _until_started(self, came: float) -> None:
        """A reply can be quicker than the disk at the start. What a slow one holds is worth waiting
        for: it tells what is a repetition; what one that refuses holds, nobody will know soon.
        `came`: when the reply did, monotonic.
        """
        while not self._started.is_set():
            late = self._clock.monotonic() - came >= STARTS_WITHIN
            if late and self._ledger.disk_refuses:
                raise StoreUnavailable("it was not opened in time")
            try:
                await asyncio.wait_for(self._started.wait(), 1.0 if late else STARTS_WITHIN)
            except asyncio.TimeoutError:
                pass

    async def _known_ids(self, new: Sequence[Job]) -> List[Any]:
        try:
            return await self._ledger.namesakes([job.command.key for job in new])
        except StoreUnavailable:
            return []

    async def _tell_unwritten(self, jobs: Sequence[Job], stops: Sequence[Job]) -> int:
        """Told from memory; a stop was sent all the same, and is told when it has ended."""
        if self._closing:
            return 0  # the next start is asked again, or never knew of it
        if stops:
            sent = [job.command for job in stops]
            self._supervisor.spawn("emergency stop", self._report_stop(sent))
        for job in jobs:
            repeated = self._ledger.repeats(_entry(job, self._boot, sent=False))
            if job not in stops and not repeated:  # what was told of the first is still so
                await self._finish(job.command, State.REFUSED, UNWRITTEN)
        return len(jobs)

    async def what_if(self, raw: Any, generation: int) -> List[Dict[str, Any]]:
        """What would become of these `commands` if they came now; none of them is run."""
        settings = self._live.now
        reader = Reader(_scope(settings), settings.printer_token, lambda: "trial")
        return await self._trials.of(raw, reader, generation)

    def results_due(self, limit: int = 50) -> List[Dict[str, Any]]:
        """`{id, action, status, message, received_at, finished_at}`, oldest first, until
        `results_delivered`; of this hub's commands only: an id means another one elsewhere."""
        settings = self._live.now
        return self._ledger.due(limit, (_scope(settings), _scope_before_5_1(settings)))

    async def results_delivered(self, results: Iterable[Any]) -> None:
        """The hub has acknowledged these: results as `results_due` gave them, or their ids."""
        self._emergency.acknowledged(await self._ledger.acknowledge(list(results)))

    def recent(self, limit: int = 50) -> List[Dict[str, Any]]:
        """The newest commands and what became of them, newest first."""
        return self._ledger.recent(limit)

    def on_result(self, listener: Listener, running: bool = False) -> None:
        """Call `listener(result)` for each command that has ended; with `running` also for one that
        was told to take its time."""
        self._listeners.append((listener, running))

    @property
    def waiting(self) -> int:
        """Commands whose turn has not come."""
        return self._lanes.waiting

    def _may_stop(self, command: Command) -> bool:
        if not command.is_stop or self._too_old(command):
            return False
        try:
            policy.check_arrival(command, self._situation())
        except Refused:
            return False
        return True

    def _too_old(self, stop: Command) -> str:
        """Why a stop is too old; never by our own guess at the time, which may be years off."""
        if not self._hub_time_known():
            return ""
        return policy.expiry(stop, self._live.now.expiry, self._hub_now())

    async def _report_stop(self, stops: Sequence[Command]) -> None:
        state, message = await self._emergency.first_outcome()
        if self._closing:
            return  # found in the ledger by the next start
        if state is State.RUNNING:
            for command in stops:
                await self._still_running(command, message)
            state, message = await self._emergency.last_outcome()
        for command in stops:
            await self._finish(command, state, message)

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
            self._notices.console(say("The bed is clear ({who}).", who=person(by)))
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
            say(
                "security.emergency_power_device names {device}, but Moonraker has no [power"
                " {device}] (there are: {known}): an emergency stop could not switch it off.",
                device=device,
                known=", ".join(known) or say("none"),
            ),
        )

    def _situation(self) -> policy.Situation:
        return policy.Situation(
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
        )

    async def _finish(self, command: Command, state: State, message: str) -> None:
        message, now = self._bounded(message), self._hub_now()
        if command.key:
            try:
                result = await self._ledger.finish(command.key, state, message, now)
            except StoreUnavailable:
                if not self._closing:
                    raise
                return  # the next start finds it as it is in the ledger
            self._tell(command, result)
        else:  # the disk did not take it
            entry = _entry_of(command, self._boot)
            self._tell(command, self._ledger.tell(entry, state, message, now))

    def _bounded(self, message: str) -> str:
        """Short enough to be kept; what is too long is cut in the operator's language."""
        if len(message) <= MAX_MESSAGE:
            return message
        return in_language(message, self._notices.language)[:MAX_MESSAGE]

    async def _still_running(self, command: Command, message: str) -> None:
        try:
            result = await self._ledger.running(command.key, self._bounded(message))
        except StoreUnavailable:
            return  # its end will be told
        self._tell(command, result)

    def _tell(self, command: Command, result: Optional[Mapping[str, Any]]) -> None:
        if result is None:
            return
        self.last_activity = self._clock.monotonic()
        message = result["message"]
        line = say(
            "{action} {status}",
            action=command.action or say("a command"),
            status=say(result["status"]),
        )
        if message:
            line = say("{what}: {error}", what=line, error=message)
        self._notices.console(say("Hub: {what}", what=line))
        self._notices.note(
            say("Command {id} of the hub: {what}", id=json.dumps(command.id), what=line)
        )
        for listener, running in self._listeners:
            if not running and result["status"] not in _FINAL_WORDS:
                continue
            try:
                listener(dict(result))
            except Exception as error:
                self._notices.log_fault(
                    "result listener", say("A listener for results failed"), error
                )

    def _make_id(self) -> str:
        self._made_ids += 1
        return f"no-id-{self._hub_now():.0f}-{self._made_ids}"


# The states that a result may name, as `say(status)` shows them to people.
STATUS_WORDS = (
    sentence("running"),
    sentence("done"),
    sentence("failed"),
    sentence("refused"),
    sentence("expired"),
    sentence("interrupted"),
)
_FINAL_WORDS = frozenset(state.value for state in FINAL)
_BOOTED = say(
    "The computer was started anew before its turn, and Klippy with it: send it again"
    " if it is still wanted."
)
_STRUCK = say(
    "A stop or a cancel came behind it, before its turn, and Moonraker was started anew: send it"
    " again if it is still wanted."
)
_DAMAGED = say("The record of this command is damaged, so it was not run. Send it again.")
_STOP_OF_BEFORE = say("This emergency stop came before Moonraker's last start and was not sent.")
_TOO_MANY = say(
    "More than {most} commands came in one reply, and this is behind those: send it"
    " again if it is still wanted.",
    most=MAX_PER_REPLY,
)


def _entry(job: Job, boot: str, sent: bool) -> Entry:
    """`sent`: a stop, at once. Later than just now it is another one, unless it says itself that it
    is the same.
    """
    command = job.command
    anew = not job.again and (sent or (command.is_stop and command.timestamp is None))
    status = State.SENT if sent else State.RECEIVED
    return _entry_of(command, boot)._replace(status=status, anew=anew)


def _entry_of(command: Command, boot: str) -> Entry:
    return Entry(
        identity=command.identity,
        id=command.id,
        action=command.action,
        summary=command.summary(),
        command=command.to_json(),
        received_at=command.received_at,
        boot=boot,
        dated=command.timestamp is not None,
    )


def _end_of(row: Row, boot: str) -> Tuple[State, str]:
    """What became of a command that was sent before Moonraker ended."""
    if row.action in ("reboot", "shutdown") and row.boot and boot and row.boot != boot:
        if row.action == "reboot":
            return State.DONE, say("the computer has been restarted")
        return State.DONE, say("the computer has been started again")
    return State.INTERRUPTED, interrupted("Moonraker")


def _command_of(row: Row) -> Command:
    return from_json(row.key, row.id, row.action, row.received_at, row.command)


def _scope(settings: Settings) -> str:
    """Tells hubs apart: ids are unique within one hub only, and small integers on generation 2."""
    text = f"{settings.server_url}\n{settings.printer_token}"
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]


def _scope_before_5_1(settings: Settings) -> str:
    """What told hubs apart in the keys of an older version, whose results may still be due."""
    host = urllib.parse.urlsplit(settings.server_url).hostname or ""
    text = f"{host}\n{settings.printer_token}"
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]
