"""From a reply's `commands` to the lanes: its emergency stops are sent before anything else is
looked at or written down; all else is committed to the ledger as one batch before the first of it
runs, since the hub has forgotten it by then.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Callable, List, Optional, Sequence, Tuple

from ..hub.identity import scope
from ..runtime.messages import say
from ..store.ledger import Entry
from ..store.life import State
from ..store.sqlite_file import StoreUnavailable
from . import policy
from .answers import Answers, entry_of
from .emergency import EmergencyStop
from .gcode import Refused
from .lanes import Job, Lanes
from .runner import UNWRITTEN
from .situation import Situation
from .tools import Tools
from .wire import MAX_ANSWERED, MAX_PER_REPLY, Command, Reader, entries, looks_like_stop

STARTS_WITHIN = 20.0  # seconds that commands wait for the disk at our start

_STOP_OF_BEFORE = say("This emergency stop came before Moonraker's last start and was not sent.")
_TOO_MANY = say(
    "More than {most} commands came in one reply, and this is behind those: send it"
    " again if it is still wanted.",
    most=MAX_PER_REPLY,
)


class Intake:
    """`situation()` is what the policy looks at."""

    def __init__(
        self,
        tools: Tools,
        lanes: Lanes,
        emergency: EmergencyStop,
        answers: Answers,
        situation: Callable[[], Situation],
    ) -> None:
        self._tools = tools
        self._ledger = tools.ledger
        self._notices = tools.notices
        self._lanes = lanes
        self._emergency = emergency
        self._answers = answers
        self._situation = situation
        self._started = asyncio.Event()
        self._in_order = asyncio.Lock()  # replies go to the disk as they came
        self._made_ids = 0
        self._boot = ""

    def start(self, boot: str) -> None:
        """The ledger is read, so that it can tell what is a repetition. `boot` identifies this boot
        of the machine in it."""
        self._boot = boot
        self._started.set()

    async def take(self, raw: Any, generation: int) -> Optional[int]:
        """The `commands` of one reply, in whatever shape; how many of them were new. Never raises
        for what they hold.

        When it returns, each is on disk, refused, or (an emergency stop) sent to Klippy; or we are
        closing, and nothing was stored: then it is None.
        """
        jobs, stops = self._read(raw, int(generation))
        try:
            try:
                keys = await self._write_down(jobs, stops)
            except StoreUnavailable:
                return await self._tell_unwritten(jobs, stops)
            return await self._let_wait(jobs, stops, keys)
        finally:
            for job in jobs:
                if not job.queued:
                    self._lanes.leave(job)

    async def go_on(self, jobs: Sequence[Job]) -> None:
        """Commands of a batch, or of a former run, are on the disk: let them have their turns. All
        of them wait before anything is awaited, or the next batch would overtake these."""
        ends = [self._enqueue(job) for job in jobs]
        for job, end in zip(jobs, ends):
            if end is not None:
                await self._answers.finish(job.command, *end)

    # Inside

    def _enqueue(self, job: Job) -> Optional[Tuple[State, str]]:
        """How it has ended, where it gets no turn."""
        command = job.command
        try:
            policy.check_arrival(command, self._situation())
            full = "" if command.is_stop else self._lanes.enqueue(job)
            if full:
                raise Refused(full)
        except Refused as reason:
            self._lanes.leave(job)
            return State.REFUSED, str(reason)
        if not command.is_stop:
            return None
        self._lanes.leave(job)  # it was too old, or is one of a former run that was never sent
        return State.EXPIRED, self._too_old(command) or _STOP_OF_BEFORE

    def _read(self, raw: Any, generation: int) -> Tuple[List[Job], List[Job]]:
        """All of a reply, in one go: its stops are sent, unless they were before, and what is
        behind them knows of those before it."""
        now, settings = self._tools.hub_now(), self._tools.live.now
        reader = Reader(scope(settings), settings.printer_token, self._make_id)
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
                "The hub sent {count} commands in one reply: {most} of them were taken.",
                count=count,
                most=MAX_PER_REPLY,
            )
        return jobs, stops

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
        if not self._tools.hub_time_known():
            return ""
        return policy.expiry(stop, self._tools.live.now.expiry, self._tools.hub_now())

    async def _write_down(self, jobs: Sequence[Job], stops: Sequence[Job]) -> List[Optional[str]]:
        """Commit a batch; as `Ledger.receive`. What the disk does not take is not run."""
        came = self._tools.clock.monotonic()
        async with self._in_order:
            await self._until_started(came)
            written = [_entry(job, self._boot, sent=job in stops) for job in jobs]
            writing = asyncio.ensure_future(self._ledger.receive(written))
        return await writing

    async def _let_wait(
        self, jobs: Sequence[Job], stops: Sequence[Job], keys: Sequence[Optional[str]]
    ) -> int:
        """What is new of a batch that is on the disk waits for its turn; how many those are."""
        new = []
        for job, key in zip(jobs, keys):
            if key is None:
                self._lanes.leave(job)
                continue
            job.command = job.command._replace(key=key)
            new.append(job)
        sent = [job.command for job in new if job in stops]
        if sent:
            self._tools.supervisor.spawn("emergency stop", self._report_stop(sent))
        await self.go_on([job for job in new if job not in stops])
        for id_ in await self._known_ids(new):
            self._notices.note(
                "The hub sent another command under the known id {id}: it is taken for a new one.",
                id=json.dumps(id_),
            )
        return len(new)

    async def _until_started(self, came: float) -> None:
        """A reply can be quicker than the disk at the start. What a slow one holds is worth waiting
        for: it tells what is a repetition; what one that refuses holds, nobody will know soon.
        `came`: when the reply did, monotonic.
        """
        while not self._started.is_set():
            late = self._tools.clock.monotonic() - came >= STARTS_WITHIN
            if late and self._ledger.disk_refuses:
                raise StoreUnavailable("it was not opened in time")
            try:
                await asyncio.wait_for(self._started.wait(), 1.0 if late else STARTS_WITHIN)
            except asyncio.TimeoutError:
                pass

    async def _known_ids(self, new: Sequence[Job]) -> List[Any]:
        try:
            return await self._ledger.namesakes([job.command.key for job in new]) if new else []
        except StoreUnavailable:
            return []

    async def _tell_unwritten(self, jobs: Sequence[Job], stops: Sequence[Job]) -> Optional[int]:
        """Told from memory; a stop was sent all the same, and is told when it has ended."""
        if self._answers.closing:
            return None  # the next start is asked again, or never knew of it
        if stops:
            sent = [job.command for job in stops]
            self._tools.supervisor.spawn("emergency stop", self._report_stop(sent))
        for job in jobs:
            repeated = self._ledger.repeats(_entry(job, self._boot, sent=False))
            if job not in stops and not repeated:  # what was told of the first is still so
                await self._answers.finish(job.command, State.REFUSED, UNWRITTEN)
        return len(jobs)

    async def _report_stop(self, stops: Sequence[Command]) -> None:
        state, message = await self._emergency.first_outcome()
        if self._answers.closing:
            return  # found in the ledger by the next start
        if state is State.RUNNING:
            for command in stops:
                await self._answers.still_running(command, message)
            state, message = await self._emergency.last_outcome()
        for command in stops:
            await self._answers.finish(command, state, message)

    def _make_id(self) -> str:
        self._made_ids += 1
        return f"no-id-{self._tools.hub_now():.0f}-{self._made_ids}"


def _entry(job: Job, boot: str, sent: bool) -> Entry:
    """`sent`: a stop, at once. Later than just now it is another one, unless it says itself that it
    is the same.
    """
    command = job.command
    anew = not job.again and (sent or (command.is_stop and command.timestamp is None))
    status = State.SENT if sent else State.RECEIVED
    return entry_of(command, boot)._replace(status=status, anew=anew)
