"""Who waits, who is at work: all commands that are not over, in the order in which they came.

One worker a lane. Nothing a lane does delays another, except where the order matters: a print
begins, and the computer goes, after what was asked before.
"""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

from ..runtime.clock import Clock
from ..runtime.messages import say
from .actions import ACTIONS, PRINTS, Action, Lane
from .order import Order
from .situation import Coming
from .wire import Command, print_request

QUEUE_LIMIT = 50  # commands waiting in a lane
PRINTS_WAIT_FOR = (Lane.CONTROL, Lane.GCODE, Lane.MACHINE)


class Job:
    """One command from its arrival to its end. What becomes of it on the disk, `store.life` tells;
    this is what the others must know of it meanwhile."""

    def __init__(self, number: int, command: Command, action: Action, came: float) -> None:
        self.number = number  # grows with each command; below 0: of a former run
        self.command = command
        self.action = action
        self.came = came  # monotonic
        self.again = False  # a stop that was sent only just
        self.queued = False  # on the disk: it may have its turn
        self.path = ""  # of a print: where its file lies
        self.note = ""  # and what there is to say of that file
        self.fetching: "Optional[asyncio.Future[Any]]" = None
        self.fetched = False
        self.fetched_for = 0.0  # seconds that the file took, which do not make the print older
        self.struck = ""  # why it must not begin any more
        self.waited = ""  # why it had to, the last time
        self.fence: "Optional[asyncio.Future[None]]" = None  # what Klippy was given before it
        self.fence_over = 0.0  # monotonic, when Klippy had done that
        self.heard = 0  # scripts of anybody's, when that was asked for
        self.order: Optional[Order] = None
        self.handed: Optional[float] = None  # monotonic, when it was handed over
        self.falls = 0  # of Klippy, before it was handed over

    @property
    def recovered(self) -> bool:
        """Of a former run: how old it is can be told only by the hub's clock."""
        return self.number < 0

    def strike(self, reason: str) -> None:
        """It must not begin: nothing that was not handed over will be."""
        self.struck = reason
        if self.fetching is not None:
            self.fetching.cancel()


class Lanes:
    def __init__(self, clock: Clock, find: Callable[[str], Optional[Action]] = ACTIONS.get) -> None:
        """`find(name)` is the action of that name, the operator's own included."""
        self._find = find
        self._clock = clock
        self._jobs: Dict[int, Job] = {}  # by number, which is the order of arrival
        self._working: Dict[Lane, Job] = {}
        self._waiting: Set["asyncio.Future[None]"] = set()
        self.newest = 0  # number
        self.last_recovered = ""  # key of the newest that a former run left
        self.last_script = float("-inf")  # monotonic, when G-code of ours was last handed over
        self.last_end = float("-inf")  # monotonic, when what Klippy did for us was last over

    def admit(self, command: Command) -> Job:
        """A command has come: from now on those behind it know of it."""
        self.newest += 1
        return self._admit(self.newest, command)

    def admit_again(self, commands: Sequence[Command]) -> List[Job]:
        """Those that a former run left, oldest first; all of them are before any new one."""
        self.last_recovered = commands[-1].key if commands else ""
        return [self._admit(n - len(commands), command) for n, command in enumerate(commands)]

    def _admit(self, number: int, command: Command) -> Job:
        action = self._find(command.action) or NO_ACTION
        job = self._jobs[number] = Job(number, command, action, self._clock.monotonic())
        return job

    def enqueue(self, job: Job) -> str:
        """It is on the disk and waits for its turn; the reason if its lane is full."""
        waiting = sum(
            other.queued and other.action.lane is job.action.lane and not self._at_work(other)
            for other in self._jobs.values()
        )
        if waiting >= QUEUE_LIMIT and not job.recovered:
            return say(
                "{most} commands are waiting already: send it again when they are"
                " done, or send fewer at once.",
                most=QUEUE_LIMIT,
            )
        job.queued = True
        self.stir()
        return ""

    def leave(self, job: Job) -> None:
        """It is over."""
        self._jobs.pop(job.number, None)
        if self._working.get(job.action.lane) is job:
            del self._working[job.action.lane]
        if job.handed is not None and job.action.lane is not Lane.CAMERA:
            self.last_end = self._clock.monotonic()
        self.stir()

    async def next(self, lane: Lane) -> Job:
        """The oldest that waits in this lane."""
        while True:
            for number in sorted(self._jobs):
                job = self._jobs[number]
                if job.queued and job.action.lane is lane:
                    self._working[lane] = job
                    return job
            await self._stirred()

    @property
    def waiting(self) -> int:
        """Commands whose turn has not come."""
        return sum(job.queued and not self._at_work(job) for job in self._jobs.values())

    # What a command may ask of the others

    def ahead(self, job: Job, lanes: Sequence[Lane]) -> List[Job]:
        """What came before it in these lanes and is not over."""
        return [
            self._jobs[number]
            for number in sorted(self._jobs)
            if number < job.number and self._jobs[number].action.lane in lanes
        ]

    def coming(self, job: Job) -> Tuple[Coming, ...]:
        """The prints that were accepted before it and have not begun."""
        return tuple(
            Coming(
                print_request(other.command).file,
                other.fetching is not None,
                other.handed is not None,
            )
            for other in self._prints_ahead(job)
            if not other.struck
        )

    def strike_prints(self, job: Job, reason: str) -> None:
        for other in self._prints_ahead(job):
            if other.handed is None:
                other.strike(reason)
        self.stir()

    def _prints_ahead(self, job: Job) -> List[Job]:
        return [one for one in self.ahead(job, (Lane.PRINT,)) if one.action.name in PRINTS]

    def hub_is_at_work(self, lately: float) -> str:
        """What Klippy does for the hub, or did in the last seconds; "" if nothing."""
        for other in self._jobs.values():
            if other.handed is not None and other.action.lane is not Lane.CAMERA:
                return say("{action} of the hub is not over", action=other.action.name)
        if self._clock.monotonic() - self.last_end < lately:
            return say("a command of the hub is only just over")
        return ""

    # Waiting

    def stir(self) -> None:
        """Something has changed that a waiting command may be concerned by."""
        for future in list(self._waiting):
            if not future.done():
                future.set_result(None)

    async def pause(self, seconds: float) -> None:
        """Until something changes, at most so long."""
        alarm = asyncio.ensure_future(self._clock.sleep(seconds))
        stirred = asyncio.ensure_future(self._stirred())
        try:
            await asyncio.wait({alarm, stirred}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            alarm.cancel()
            stirred.cancel()

    async def _stirred(self) -> None:
        future: "asyncio.Future[None]" = asyncio.get_event_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)

    def _at_work(self, job: Job) -> bool:
        return self._working.get(job.action.lane) is job


NO_ACTION = Action("", Lane.STOP, "control")  # of what cannot be read, and so gets no turn
