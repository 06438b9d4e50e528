"""Carrying out one command and seeing it happen: the verb, then the state that confirms it.

Every way it can end is a message for people: returned when it is done, or raised as `Failed`
(Klippy's own words where it has any) or `Refused`. What may run, and when, is decided before
(`policy`, `runner`).
"""

from __future__ import annotations

import asyncio
from typing import Any, Awaitable, Callable, Dict, Mapping, Optional, Set, Tuple

from ..printer.klippy import Printer, PrinterError
from ..printer.snapshot import KlippyState, Snapshot
from ..runtime.clock import Clock
from ..settings.model import LiveSettings
from .actions import PRINTS
from .gcode import Refused
from .halt import Epoch, Halts
from .orders import order_for
from .wire import Command, PrintRequest, print_request

CONFIRM_WITHIN = 30.0  # seconds until the state must show it
EXACT_WITHIN = 5.0  # seconds until a nearly right state counts
LAST_WORDS = 2.0  # seconds Klippy has after a halt to say itself why it gave up
LONG = 1.0  # seconds: a script that ran longer may have been ended by a shutdown without an error
SETTLE = 0.5  # seconds until such a shutdown has shown in the state
GONE_WITHIN = 5.0  # seconds until a restarting Klippy has left
MACHINE_WITHIN = 60.0  # seconds until a computer that accepted a reboot must have gone

Fetch = Callable[[PrintRequest], Awaitable[Any]]
FindLocal = Callable[[str], Awaitable[str]]
Hook = Callable[[Command], Awaitable[str]]
Turn = Callable[[], Awaitable[None]]
Verb = Callable[["Executor", Command, Epoch], Awaitable[str]]
Predicate = Callable[[Snapshot], bool]


class Failed(Exception):
    """It was tried, and did not work: a sentence for people."""


class Executor:
    """`fetch(request)` brings a file onto the printer and returns its `path` below the gcodes root
    and a `note` for people on which copy it is; `find_local(path)` is the sentence on why a file
    that should be there cannot be printed, "" if it can; `hooks` carry out the actions that other
    rooms own; `recheck(command)` is the policy's refusal at this moment, "" if none."""

    def __init__(
        self,
        *,
        printer: Printer,
        live: LiveSettings,
        clock: Clock,
        halts: Halts,
        fetch: Optional[Fetch],
        find_local: FindLocal,
        hooks: Mapping[str, Hook],
        recheck: Callable[[Command], str],
    ) -> None:
        self._printer = printer
        self._live = live
        self._clock = clock
        self._halts = halts
        self._fetch = fetch
        self._find_local = find_local
        self._hooks = hooks
        self._recheck = recheck
        self._strays: Set["asyncio.Task[None]"] = set()  # Klippy still works on them, nobody waits

    async def run(self, command: Command, since: Epoch, turn: Turn) -> str:
        """Carry it out; the message of its success. Raises `Failed`, `Refused` or
        `PrinterError`. A print is started after `turn()`, its file fetched before."""
        if command.action in PRINTS:
            return await self._print(command, since, turn)
        verb = _VERBS.get(command.action)
        if verb is not None:
            return await verb(self, command, since)
        hook = self._hooks.get(command.action)
        if hook is None:
            raise Refused(f"This printer cannot do {command.action}: nothing is set up for it.")
        return await hook(command)

    def close(self) -> None:
        for task in list(self._strays):
            task.cancel()

    # G-code

    async def _order(self, command: Command, since: Epoch) -> str:
        order = order_for(command, self._printer.snapshot, self._live.now.security)
        began = self._clock.monotonic()
        await self._send(self._printer.gcode(order.script), since)
        if self._clock.monotonic() - began > LONG:
            await self._printer.wait_for(lambda now: not now.ready, SETTLE)
        self._check_alive(since)
        if await self._confirm(order.reached, EXACT_WITHIN, since):
            return order.done
        if await self._confirm(
            lambda now: order.reached(now) or order.good_enough(now),
            CONFIRM_WITHIN - EXACT_WITHIN,
            since,
        ):
            return f"{order.done} ({order.missed(self._printer.snapshot)})"
        raise Failed(
            f"Klippy took it, but {order.missed(self._printer.snapshot)} after"
            f" {CONFIRM_WITHIN:.0f} s."
        )

    async def _firmware_restart(self, command: Command, since: Epoch) -> str:
        away = (KlippyState.DISCONNECTED, KlippyState.STARTUP)
        await self._send(self._printer.firmware_restart(), None, CONFIRM_WITHIN)
        await self._printer.wait_for(lambda now: now.klippy in away, GONE_WITHIN)
        await self._printer.wait_for(lambda now: now.klippy not in away, CONFIRM_WITHIN)
        now = self._printer.snapshot
        if not now.ready:
            raise Failed(
                f'Klippy is not ready after the restart ({now.klippy.value}): "{now.message}"'
            )
        return "Klippy is ready again"

    # The job

    async def _pause(self, command: Command, since: Epoch) -> str:
        if self._printer.snapshot.paused:
            return "it was paused already"
        await self._job_verb(self._printer.pause(), lambda now: now.paused or not now.busy, since)
        now = self._printer.snapshot
        if not now.paused:
            raise Failed(f"The job ended before it could be paused: it is {now.job.state}.")
        return f"paused {now.job.filename}".strip()

    async def _resume(self, command: Command, since: Epoch) -> str:
        if self._printer.snapshot.printing:
            return "it was printing already"
        await self._job_verb(self._printer.resume(), lambda now: not now.paused, since)
        job = self._printer.snapshot.job
        if job.state not in ("printing", "complete"):
            raise Failed(f"The job did not go on: it is {job.state}. {job.message}".strip())
        return f"printing {job.filename}".strip()

    async def _cancel(self, command: Command, since: Epoch) -> str:
        name = self._printer.snapshot.job.filename
        await self._job_verb(self._printer.cancel(), lambda now: not now.busy, since)
        return f"cancelled {name}".strip()

    async def _job_verb(self, verb: Awaitable[None], reached: Predicate, since: Epoch) -> None:
        """Send it, and see the job's state follow, within 30 s of sending."""
        began = self._clock.monotonic()
        answered = await self._send(verb, since, CONFIRM_WITHIN)
        left = CONFIRM_WITHIN - (self._clock.monotonic() - began)
        if await self._confirm(reached, max(left, 0.1), since):
            return
        state = self._printer.snapshot.job.state
        if answered:
            raise Failed(
                f"Klippy took it, but the job is still {state} after {CONFIRM_WITHIN:.0f} s."
            )
        raise Failed(
            f"Klippy is still busy with an earlier command after {CONFIRM_WITHIN:.0f} s and the"
            f" job is {state}: it will follow when that is over. Use emergency_stop if it cannot"
            " wait."
        )

    async def _print(self, command: Command, since: Epoch, turn: Turn) -> str:
        request = print_request(command)
        name, note = await self._get_file(request)
        await turn()
        struck = self._halts.struck(since)
        if struck:
            raise Failed(f"{name} is on the printer, but {struck}: it was not started.")
        refused = self._recheck(command)  # the printer may have changed during the download
        if refused:
            raise Failed(f"{name} is on the printer, but was not started. {refused}")
        if request.queue and self._printer.snapshot.busy:
            await self._printer.queue_print(name)
            return f"{name} is in the job queue{note}"
        before = self._printer.snapshot.job

        def over(now: Snapshot) -> bool:
            return now.job.state not in ("printing", "paused") and now.job != before

        def begun(now: Snapshot) -> bool:
            job = now.job
            if job.state == "error":
                return over(now)
            return job.filename == name and (
                now.busy or (job.state in ("complete", "cancelled") and over(now))
            )

        await self._send(self._printer.start_print(name), since, CONFIRM_WITHIN)
        if not await self._confirm(begun, CONFIRM_WITHIN, since):
            raise Failed(f"Klippy took it, but {name} did not begin within {CONFIRM_WITHIN:.0f} s.")
        job = self._printer.snapshot.job
        if job.state == "error":
            raise Failed(f'{name} began and failed: "{job.message}"')
        return f"printing {name}{note}"

    async def _get_file(self, request: PrintRequest) -> "Tuple[str, str]":
        """Its path below the gcodes root, and what the result adds about it."""
        if not request.local and self._fetch is not None:
            arrived = await self._fetch(request)
            return arrived.path, f" ({arrived.note})" if arrived.note else ""
        why_not = await self._find_local(request.file)
        if why_not:
            raise Refused(why_not)
        return request.file, ""

    # The machine

    async def _machine(self, command: Command, since: Epoch) -> str:
        """Reboot or shut down. A success is told by the next start, which sees that the machine was
        booted anew."""
        await self._printer.machine(command.action)
        await self._clock.sleep(MACHINE_WITHIN)
        raise Failed(f"The computer accepted it, but still runs after {MACHINE_WITHIN:.0f} s.")

    # Waiting

    async def _send(
        self, verb: Awaitable[None], since: Optional[Epoch], limit: Optional[float] = None
    ) -> bool:
        """Await Klippy's answer; False if none came within `limit` seconds (Klippy goes on with it
        all the same)."""
        task = asyncio.ensure_future(_as_coroutine(verb))
        self._strays.add(task)
        task.add_done_callback(self._forget)
        halted = None if since is None else self._halts.waiter(since)
        try:
            await self._first_of(task, halted, limit)
            if since is not None and self._halts.struck(since) and not task.done():
                await self._first_of(task, None, LAST_WORDS)
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            if halted is not None and not halted.done():
                halted.cancel()
        if task.done():
            try:
                await task
            except PrinterError:
                if since is not None:
                    self._check_halt(since)  # says more than Klippy's words about its own shutdown
                raise
            return True
        if since is not None:
            self._check_halt(since)
        return False

    async def _first_of(
        self,
        task: "asyncio.Task[None]",
        other: "Optional[asyncio.Future[None]]",
        limit: Optional[float],
    ) -> None:
        alarm = None if limit is None else asyncio.ensure_future(self._clock.sleep(limit))
        waiting: Set["asyncio.Future[Any]"] = {f for f in (task, other, alarm) if f is not None}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if alarm is not None:
                alarm.cancel()

    async def _confirm(self, reached: Predicate, seconds: float, since: Epoch) -> bool:
        """Whether the state shows it in time; raises `Failed` as soon as Klippy is not ready any
        more."""
        await self._printer.wait_for(lambda now: reached(now) or not now.ready, seconds)
        self._check_alive(since)
        return reached(self._printer.snapshot)

    def _check_alive(self, since: Epoch) -> None:
        self._check_halt(since)
        now = self._printer.snapshot
        if not now.ready:
            raise Failed(f'Klippy stopped ({now.klippy.value}): "{now.message}"')

    def _check_halt(self, since: Epoch) -> None:
        struck = self._halts.struck(since)
        if struck:
            raise Failed(f"It was cut short: {struck}.")

    def _forget(self, task: "asyncio.Task[None]") -> None:
        self._strays.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, or asyncio complains of one that nobody awaits


async def _as_coroutine(verb: Awaitable[None]) -> None:
    await verb


_VERBS: Dict[str, Verb] = {
    "home": Executor._order,
    "home_x": Executor._order,
    "home_y": Executor._order,
    "home_z": Executor._order,
    "heat": Executor._order,
    "cool_down": Executor._order,
    "set_speed": Executor._order,
    "set_flow": Executor._order,
    "toggle_fan": Executor._order,
    "set_fan": Executor._order,
    "fan_off": Executor._order,
    "gcode": Executor._order,
    "macro": Executor._order,
    "firmware_restart": Executor._firmware_restart,
    "pause": Executor._pause,
    "resume": Executor._resume,
    "cancel": Executor._cancel,
    "reboot": Executor._machine,
    "shutdown": Executor._machine,
}

__all__ = ["Executor", "Failed", "Fetch", "FindLocal", "Hook", "PrinterError"]
