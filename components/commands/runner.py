"""The gate, and the way through it: each command waits for its turn, is written down as about to be
sent, judged, handed to Klippy, followed until the printer shows it, answered.

The last verdict and the hand-over are one step of the event loop (`_hand_over`): nothing is awaited
between them, so that nothing can come between them. What is judged is what is sent. An answer from
Klippy means that a script is over: until then it may still happen, and is told as running; when the
printer does not show it some time after, it has failed.
"""

from __future__ import annotations

import asyncio
import functools
from typing import Any, Awaitable, Callable, List, Tuple, Type

from ..hub.identity import scopes
from ..printer.snapshot import KlippyState, Snapshot
from ..printer.verbs import KlippyEnded, PrinterError
from ..runtime.loose import as_text
from ..runtime.messages import say
from ..store.due import hub_of
from ..store.life import State
from ..store.sqlite_file import StoreUnavailable
from . import policy
from .actions import MAY_END_A_JOB, MINDS_A_JOB, PRINTS, Lane, find_action
from .answers import Answers
from .gcode import Refused
from .halt import Halts
from .lanes import NO_ACTION, PRINTS_WAIT_FOR, Job, Lanes
from .order import RESTARTS, Failed, Order, TooOld
from .outcome import Ended, Outcome, interrupted, with_note
from .policy import NotYet
from .situation import Situation
from .targets import Targets
from .tools import Deeds, Tools
from .wire import Command, print_request

TOLD_AFTER = 30.0  # seconds after the hand-over until a command that is not over is told as running
KLIPPY_GRACE = 15.0  # seconds after our start, or Klippy's, that a command waits for Klippy
BARRIER = 30.0  # seconds a reboot waits for the G-code before it
FENCE_LASTS = 0.5  # seconds that Klippy's word counts that it has nothing to do
LOOK_EVERY = 0.5  # seconds between looks whether a command that waits may go
UNWRITTEN = say(
    "The printer's computer cannot store this command (see its warning about the"
    " disk), so it was not run. Send it again when that is mended."
)
_OF_ANOTHER_HUB = say(
    "It was asked before the hub's address or the token was changed, so it was not run: send it"
    " again from the hub of now if it is still wanted."
)


class Runner:
    """`situation()` is what the policy looks at, but for what the lanes know."""

    def __init__(
        self,
        tools: Tools,
        deeds: Deeds,
        lanes: Lanes,
        halts: Halts,
        targets: Targets,
        situation: Callable[[], Situation],
        answers: Answers,
    ) -> None:
        self._tools = tools
        self._deeds = deeds
        self._printer = tools.printer
        self._clock = tools.clock
        self._lanes = lanes
        self._halts = halts
        self._targets = targets
        self._situation = situation
        self._answers = answers
        self._outcome = Outcome(tools.printer, tools.clock, halts)
        self._told: Tuple[Type[Exception], ...] = (Failed, PrinterError, *deeds.told_errors)
        self._boot = ""
        self._started = 0.0

    def start(self, boot: str) -> None:
        """Begin the lanes' work; `boot` identifies this boot of the machine in the ledger."""
        self._boot = boot
        self._started = self._clock.monotonic()
        for lane in Lane:
            if lane is not Lane.STOP:
                self._tools.supervisor.keep(_name(lane), lambda lane=lane: self._work(lane))  # type: ignore[misc]

    async def stop(self) -> None:
        for lane in Lane:
            if lane is not Lane.STOP:
                await self._tools.supervisor.finish(_name(lane), 0.0)

    def weigh(self, command: Command) -> Order:
        """What it would come to if it came now; raises as the verdict does. Nothing is begun."""
        action = find_action(command.action, self._tools.live.now.actions) or NO_ACTION
        job = Job(self._lanes.newest + 1, command, action, self._clock.monotonic())
        try:
            return self._judge(job, [self._printer.snapshot])
        except Ended as end:
            raise TooOld(str(end)) from None

    # One lane

    async def _work(self, lane: Lane) -> None:
        while True:
            job = await self._lanes.next(lane)
            try:
                end = await self._live(job)
                if self._answers.closing and job.handed is None:
                    return  # it waits for the next start
                await self._answers.finish(job.command, *end)
            finally:
                if job.fence is not None:
                    job.fence.cancel()
                self._lanes.leave(job)

    async def _live(self, job: Job) -> Tuple[State, str]:
        """From its turn to its end: how that was."""
        try:
            return State.DONE, await self._carry_out(job)
        except asyncio.CancelledError:
            raise
        except Refused as reason:
            return State.REFUSED, str(reason)
        except Ended as end:
            return end.state, str(end)
        except KlippyEnded:
            return State.INTERRUPTED, interrupted("Klippy")
        except self._told as reason:
            return State.FAILED, str(reason)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            self._tools.notices.log_once(
                f"command {job.action.name} {said}",
                "The command {action} failed inside the plugin: {said}",
                action=job.action.name,
                said=said,
                exc_info=error,
            )
            state = State.FAILED if job.handed is None else State.INTERRUPTED
            return state, say("The plugin itself failed: {said}", said=said)

    async def _carry_out(self, job: Job) -> str:
        await self._wait_for_turn(job)
        if job.action.name in PRINTS:
            await self._bring(job)
        await self._until_allowed(job)
        look = self._deeds.looks.get(job.action.name)
        reason = "" if look is None else await look(job.command)
        if reason:
            raise Refused(reason)
        try:
            known = await self._tools.ledger.begin(job.command.key, self._boot)
        except StoreUnavailable:
            raise Refused(UNWRITTEN) from None
        if not known:  # a damaged database was set aside, and its record with it
            job.command = job.command._replace(key="")
            raise Refused(UNWRITTEN)
        while True:
            try:
                return await self._send_and_see(job)
            except NotYet:  # only just: somebody was quicker
                await self._until_allowed(job)

    # Before it is sent

    async def _wait_for_turn(self, job: Job) -> None:
        """What it waits for in any case, so that nothing is judged too early."""
        while job.recovered and not self._tools.hub_time_known():
            await self._lanes.pause(LOOK_EVERY)
        if job.action.lane is Lane.GCODE:
            spacing = self._tools.live.now.security.rate_limit_seconds
            left = self._lanes.last_script + spacing - self._clock.monotonic()
            if left > 0 and self._may_come(job):
                await self._clock.sleep(left)
        if job.action.needs_klippy or job.action.name in MINDS_A_JOB:
            await self._wait_for_klippy()

    async def _wait_for_klippy(self) -> None:
        """Klippy is found a moment after our own start, and leaves for a moment at each restart."""
        snapshot = self._printer.snapshot
        if _known(snapshot):
            return
        left = KLIPPY_GRACE
        if snapshot.klippy is KlippyState.DISCONNECTED:
            left -= self._clock.monotonic() - self._started
        settled = (KlippyState.SHUTDOWN, KlippyState.ERROR)
        if left > 0 and snapshot.klippy not in settled:
            await self._printer.wait_for(lambda now: _known(now) or now.klippy in settled, left)

    async def _bring(self, job: Job) -> None:
        """See that the file of a print is on the printer. Judged before only where nothing that was
        asked earlier can change the verdict: else its file would be fetched in vain."""
        request = print_request(job.command)
        if not self._lanes.ahead(job, PRINTS_WAIT_FOR):
            self._may_come(job, raises=True)
        if request.local or self._deeds.fetch is None:
            reason = await self._deeds.find_local(request.file)
            if reason:
                raise Refused(reason)
            job.path = request.file
            return
        self._check_hub(job)
        self._check_age(job)
        began = self._clock.monotonic()
        job.fetching = asyncio.ensure_future(_as_coroutine(self._deeds.fetch(request)))
        try:
            arrived = await job.fetching
        except asyncio.CancelledError:
            if not job.struck:
                raise
            raise Refused(job.struck) from None
        except self._told:
            if job.struck:
                raise Refused(job.struck) from None
            raise
        finally:
            job.fetching.cancel()
            job.fetching = None
        job.fetched, job.fetched_for = True, self._clock.monotonic() - began
        job.path, job.note = arrived.path, arrived.note

    def _may_come(self, job: Job, raises: bool = False) -> bool:
        """Whether nothing speaks against it but that it has to wait."""
        try:
            self._verdict(job, [self._printer.snapshot])
        except NotYet:
            pass
        except (Refused, Ended):
            if raises:
                raise
            return False
        return True

    async def _until_allowed(self, job: Job) -> None:
        while True:
            try:
                order = self._verdict(job, [self._printer.snapshot])
                if not order.alone:
                    return
                self._check_alone(job)
                return
            except NotYet as reason:
                job.waited = str(reason)
                await self._lanes.pause(LOOK_EVERY)

    def _check_alone(self, job: Job) -> None:
        """Raise `NotYet` unless Klippy has done all that anybody gave it: a person's print may wait
        in its queue, and what is handed over now would come behind that.
        """
        over = job.fence is not None and job.fence.done()
        if over and (self._printer.script_asked or self._printer.scripts_heard != job.heard):
            job.fence = None  # something has come behind it
        elif over and job.fence is not None and job.fence.exception() is not None:
            job.fence = None
        elif over and self._clock.monotonic() - job.fence_over < FENCE_LASTS:
            return
        elif over:
            job.fence = None  # the printer's own buttons are not heard of
        if job.fence is None:
            job.heard = self._printer.scripts_heard
            job.fence = asyncio.ensure_future(self._printer.fence())
            job.fence.add_done_callback(functools.partial(self._fence_over, job))
        raise NotYet(say("Klippy worked on something else"))

    def _fence_over(self, job: Job, fence: "asyncio.Future[None]") -> None:
        job.fence_over = self._clock.monotonic()
        if not fence.cancelled():
            fence.exception()  # looked at, or asyncio complains of one that nobody awaits
        self._lanes.stir()

    def _verdict(self, job: Job, sights: List[Snapshot]) -> Order:
        """What it comes to by every one of these sights of the printer, the newest last."""
        try:
            return self._judge(job, sights)
        except Refused as reason:
            if job.fetched:
                raise Refused(
                    say(
                        "{file} is on the printer, but was not started. {reason}",
                        file=job.path,
                        reason=str(reason),
                    )
                ) from None
            raise

    def _judge(self, job: Job, sights: List[Snapshot]) -> Order:
        struck = job.struck or self._halts.objection(job)
        if struck:
            raise Refused(struck)
        self._check_hub(job)
        self._check_age(job)
        self._wait_for_others(job)
        age = job.command.age(self._tools.hub_now())
        situation = self._situation()._replace(coming=self._lanes.coming(job), age=age)
        path = job.path or print_request(job.command).file
        for snapshot in sights:
            order = policy.judge(job.command, situation._replace(snapshot=snapshot), path)
        return order

    def _wait_for_others(self, job: Job) -> None:
        if job.action.lane is Lane.PRINT and self._lanes.ahead(job, PRINTS_WAIT_FOR):
            raise NotYet(say("something that was asked before it was not over"))
        patient = self._clock.monotonic() - job.came < BARRIER
        if job.action.lane is Lane.MACHINE and patient and self._lanes.ahead(job, (Lane.GCODE,)):
            raise NotYet(say("G-code that was asked before it was not over"))

    def _check_hub(self, job: Job) -> None:
        """The next hub knows nothing of it, and has files of its own under the same names."""
        if hub_of(job.command.key) not in ("", *scopes(self._tools.live.now)):
            raise Refused(_OF_ANOTHER_HUB)

    def _check_age(self, job: Job) -> None:
        now = self._tools.hub_now() - job.fetched_for
        settings = self._tools.live.now
        expired = policy.expiry(job.command, settings.expiry, now, job.recovered, settings.actions)
        if expired:
            if job.waited:
                expired = say(
                    "{expired} It waited because {reason}.", expired=expired, reason=job.waited
                )
            raise Ended(State.EXPIRED, expired)

    # The hand-over, and after it

    async def _hand_over(self, job: Job) -> Any:
        """Look, judge, send; the answer."""
        sights = await self._look(job)
        order = self._verdict(job, sights)
        if order.alone:
            self._check_alone(job)
        if self._answers.closing:  # Python 3.11 and older lose a cancel now and then
            raise asyncio.CancelledError
        # From here to Klippy nothing is awaited: what was judged is what is sent.
        job.order, job.handed = order, self._clock.monotonic()
        job.falls = self._halts.falls
        if order.strikes:
            self._lanes.strike_prints(
                job,
                say("It was not started: {action} came before it began.", action=job.action.name),
            )
        if order.verb in RESTARTS:
            self._halts.expect_restart(job)
        if job.action.lane is Lane.GCODE:
            self._lanes.last_script = job.handed
        self._targets.note_script(order.script, self._printer.snapshot)
        self._tools.notices.console(f"Hub: {job.command.summary()}")
        if order.verb == "start_print":
            self._deeds.starting(order.arguments[0], as_text(job.command.id))
        if not order.verb:
            return None
        if order.verb == "hook":
            return await self._hook(job)
        return await getattr(self._printer, order.verb)(*order.arguments)

    async def _look(self, job: Job) -> List[Snapshot]:
        news = self._printer.snapshot
        needed = job.action.needs_klippy
        if not needed and not (job.action.name in MAY_END_A_JOB and news.ready):
            return [news]
        try:
            sights = [await self._printer.look()]
        except PrinterError as error:
            if not needed:
                return [self._printer.snapshot]  # it may be what mends this
            raise NotYet(say("Klippy did not answer ({error})", error=str(error))) from None
        if self._printer.snapshot is not news:  # which of the two is older, nobody can tell
            sights.insert(0, self._printer.snapshot)
        return sights

    async def _hook(self, job: Job) -> str:
        hook = self._deeds.hooks.get(job.action.name)
        if hook is None:
            raise Refused(
                say(
                    "This printer cannot do {action}: nothing is set up for it.",
                    action=job.action.name,
                )
            )
        return await hook(job.command)

    async def _send_and_see(self, job: Job) -> str:
        sending = asyncio.ensure_future(self._hand_over(job))
        telling = asyncio.ensure_future(self._tell_if_long(job))
        try:
            answer = await self._outcome.answer(job, sending)
            assert job.order is not None
            said = await self._outcome.said(job, job.order)
            message = await self._outcome.confirmed(job, job.order, answer)
            return with_note(message, f"Klippy: {said}") if said else message
        finally:
            self._halts.restart_over(job)
            for task in (sending, telling):
                task.cancel()

    async def _tell_if_long(self, job: Job) -> None:
        left = TOLD_AFTER
        while left > 0:
            await self._clock.sleep(left)
            since = self._clock.monotonic() if job.handed is None else job.handed
            left = since + TOLD_AFTER - self._clock.monotonic()
        await self._answers.still_running(
            job.command,
            say(
                "It was handed over and is not over after {seconds:.0f} s: its result will"
                " follow. Use emergency_stop if it cannot wait.",
                seconds=TOLD_AFTER,
            ),
        )


async def _as_coroutine(work: Awaitable[Any]) -> Any:
    return await work


def _name(lane: Lane) -> str:
    return f"commands {lane.value}"


def _known(snapshot: Snapshot) -> bool:
    return snapshot.ready and bool(snapshot.objects)
