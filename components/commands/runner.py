"""The lanes: each command waits for its turn, is judged at that moment, recorded as executing,
carried out, answered.

One worker a lane. Nothing a lane does delays another, except that a print begins, and `reboot` and
`shutdown` go, after the G-code sent before them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Awaitable, Callable, Deque, Dict, Optional, Tuple, Type

from ..printer.klippy import Printer, PrinterError
from ..printer.snapshot import KlippyState, Snapshot
from ..runtime.clock import Clock
from ..runtime.notices import Notices
from ..runtime.records import NamedTuple
from ..runtime.supervisor import Supervisor
from ..settings.model import LiveSettings
from ..store.ledger import Ledger, State
from ..store.sqlite_file import StoreUnavailable
from . import policy
from .actions import ACTIONS, Action, Lane
from .execution import Executor, Failed
from .gcode import Refused
from .halt import Epoch, Halts
from .wire import Command

QUEUE_LIMIT = 50  # commands waiting in a lane
KLIPPY_GRACE = 15.0  # seconds after our start, or Klippy's, that a command waits for Klippy
BARRIER = 30.0  # seconds a reboot waits for the G-code before it
CLOCK_POLL = 0.5  # seconds between looks whether the hub's clock is known
MAX_MESSAGE = 500  # characters of a result's message
ACTS_ON = 0.5  # seconds after a script in which what it set going may still reach us

UNWRITTEN = (
    "The printer's computer cannot store this command (see its warning about the disk), so it was"
    " not run. Send it again when that is mended."
)

Finished = Callable[[Command, State, str], Awaitable[None]]


class Job(NamedTuple):
    command: Command
    action: Action
    since: Epoch
    recovered: bool  # of a former run: how old it is can be told only by the hub's clock
    last_gcode: int  # the number of the newest G-code job at its arrival


class Queue:
    """A lane's waiting commands."""

    def __init__(self) -> None:
        self.waiting: Deque[Job] = deque()
        self.taken = 0  # jobs ever put in
        self.ended = 0
        self.last_start: Optional[float] = None  # monotonic
        self.changed = asyncio.Event()

    def put(self, job: Job) -> None:
        self.taken += 1
        self.waiting.append(job)
        self.changed.set()

    async def next(self) -> Job:
        while not self.waiting:
            self.changed.clear()
            await self.changed.wait()
        return self.waiting.popleft()


class Runner:
    """`situation()` is what the policy looks at now; `finish(command, state, message)` records and
    reports an end."""

    def __init__(
        self,
        *,
        printer: Printer,
        live: LiveSettings,
        ledger: Ledger,
        notices: Notices,
        supervisor: Supervisor,
        clock: Clock,
        halts: Halts,
        executor: Executor,
        hub_now: Callable[[], float],
        hub_time_known: Callable[[], bool],
        situation: Callable[[], policy.Situation],
        told_errors: Tuple[Type[Exception], ...],
        finish: Finished,
    ) -> None:
        self._printer = printer
        self._live = live
        self._ledger = ledger
        self._notices = notices
        self._supervisor = supervisor
        self._clock = clock
        self._halts = halts
        self._executor = executor
        self._hub_now = hub_now
        self._hub_time_known = hub_time_known
        self._situation = situation
        self._told_errors: Tuple[Type[Exception], ...] = (Failed, PrinterError, *told_errors)
        self._finish = finish
        self._queues: Dict[Lane, Queue] = {}
        self._boot = ""
        self._started = 0.0
        self._acting = 0  # commands of which Klippy may just run a script
        self._acted = float("-inf")  # monotonic; when the last of them ended

    def start(self, boot: str) -> None:
        """Begin the lanes' work; `boot` identifies this boot of the machine in the ledger."""
        self._boot = boot
        self._started = self._clock.monotonic()
        for lane in Lane:
            if lane is not Lane.STOP:
                self._queues[lane] = Queue()
                self._supervisor.keep(_name(lane), lambda lane=lane: self._work(lane))  # type: ignore[misc]

    async def stop(self) -> None:
        for lane in self._queues:
            await self._supervisor.finish(_name(lane), 0.0)

    def enqueue(self, command: Command, since: Epoch, recovered: bool = False) -> str:
        """Let it wait for its turn; the reason if its lane is full."""
        action = ACTIONS[command.action]
        queue = self._queues[action.lane]
        if len(queue.waiting) >= QUEUE_LIMIT and not recovered:
            return (
                f"{QUEUE_LIMIT} commands are waiting already: send it again when they are done, or"
                " send fewer at once."
            )
        queue.put(Job(command, action, since, recovered, self._queues[Lane.GCODE].taken))
        return ""

    @property
    def waiting(self) -> int:
        return sum(len(queue.waiting) for queue in self._queues.values())

    @property
    def acts(self) -> bool:
        """Whether what Klippy runs now may have been set going by the hub."""
        return self._acting > 0 or self._clock.monotonic() - self._acted < ACTS_ON

    # One lane

    async def _work(self, lane: Lane) -> None:
        queue = self._queues[lane]
        while True:
            job = await queue.next()
            try:
                await self._handle(job, queue)
            finally:
                queue.ended += 1
                queue.changed.set()

    async def _handle(self, job: Job, queue: Queue) -> None:
        try:
            state, message = await self._judge_and_run(job, queue)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            state, message = (
                State.FAILED,
                f"The plugin itself failed: {type(error).__name__}: {error}",
            )
            self._notices.log_once(
                f"command {job.action.name} {type(error).__name__} {error}",
                f"The command {job.action.name} failed inside the plugin: {type(error).__name__}:"
                f" {error}",
                exc_info=error,
            )
        await self._finish(job.command, state, message[:MAX_MESSAGE])

    async def _judge_and_run(self, job: Job, queue: Queue) -> Any:
        await self._wait_for_turn(job, queue)
        objection = self._objection(job)
        if objection is not None:
            return objection
        try:
            await self._ledger.begin(job.command.key, self._boot)
        except StoreUnavailable:
            return State.REFUSED, UNWRITTEN
        late = self._halts.objection(job.since, job.action)  # while the disk was busy
        if late:
            return State.REFUSED, late
        self._notices.console(f"Hub: {job.command.summary()}")
        queue.last_start = self._clock.monotonic()
        scripts = job.action.lane in (Lane.CONTROL, Lane.GCODE)
        self._acting += scripts
        try:
            return State.DONE, await self._executor.run(
                job.command, self._halts.now, lambda: self._turn_to_print(job)
            )
        except Refused as reason:
            return State.REFUSED, str(reason)
        except self._told_errors as reason:
            return State.FAILED, str(reason)
        finally:
            if scripts:
                self._acting -= 1
                self._acted = self._clock.monotonic()

    def _objection(self, job: Job) -> Any:
        late = self._halts.objection(job.since, job.action)
        if late:
            return State.REFUSED, late
        expired = policy.expiry(job.command, self._live.now.expiry, self._hub_now())
        if expired:
            return State.EXPIRED, expired
        refused = policy.refusal(job.command, self._situation())
        if refused:
            return State.REFUSED, refused
        return None

    async def _wait_for_turn(self, job: Job, queue: Queue) -> None:
        while job.recovered and not self._hub_time_known():
            await self._clock.sleep(CLOCK_POLL)
        if job.action.lane is Lane.GCODE and queue.last_start is not None:
            spacing = self._live.now.security.rate_limit_seconds
            left = queue.last_start + spacing - self._clock.monotonic()
            if left > 0 and self._objection(job) is None:
                await self._clock.sleep(left)
        if job.action.lane is Lane.MACHINE:
            await self._gcode_before(job.last_gcode)
        if job.action.needs_klippy:
            await self._wait_for_klippy()

    async def _gcode_before(self, number: int) -> None:
        queue = self._queues[Lane.GCODE]
        deadline = self._clock.monotonic() + BARRIER
        while queue.ended < number and self._clock.monotonic() < deadline:
            await self._clock.sleep(CLOCK_POLL)

    async def _turn_to_print(self, job: Job) -> None:
        """A job begins behind the G-code that was sent before it: a heater set for the bench, or
        its cool_down, must not act during the print.
        """
        queue = self._queues[Lane.GCODE]
        while queue.ended < job.last_gcode:
            late = self._halts.objection(job.since, job.action)
            if late:
                raise Refused(late)
            await self._clock.sleep(CLOCK_POLL)

    async def _wait_for_klippy(self) -> None:
        """Klippy is found a moment after our own start, and leaves for a moment at each restart."""
        snapshot = self._printer.snapshot
        if _known(snapshot):
            return
        left = KLIPPY_GRACE
        if snapshot.klippy is KlippyState.DISCONNECTED:
            left -= self._clock.monotonic() - self._started
        if left > 0 and snapshot.klippy not in (KlippyState.SHUTDOWN, KlippyState.ERROR):
            settled = (KlippyState.SHUTDOWN, KlippyState.ERROR)
            await self._printer.wait_for(lambda now: _known(now) or now.klippy in settled, left)


def _name(lane: Lane) -> str:
    return f"commands {lane.value}"


def _known(snapshot: Snapshot) -> bool:
    return snapshot.ready and bool(snapshot.objects)
