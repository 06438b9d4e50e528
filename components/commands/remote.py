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
import logging
import urllib.parse
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    List,
    Mapping,
    Optional,
    Sequence,
    Set,
    Tuple,
    Type,
)

from ..printer.klippy import Printer
from ..runtime.clock import Clock
from ..runtime.notices import Notices
from ..runtime.steps import Steps
from ..runtime.supervisor import Supervisor
from ..settings.model import LiveSettings, Settings
from ..store.flags import Flags
from ..store.ledger import Entry, Ledger, Row, State
from ..store.sqlite_file import StoreUnavailable
from . import policy
from .actions import EMERGENCY_STOP
from .bed import Bed
from .emergency import EmergencyStop, Outcome
from .execution import Executor, Fetch, FindLocal, Hook
from .halt import Epoch, Halts
from .runner import MAX_MESSAGE, UNWRITTEN, Runner
from .wire import MAX_PER_REPLY, Command, Reader, entries, from_json, looks_like_stop

REMOTE_OFF = "remote_off_by"
STARTS_WITHIN = (
    20.0  # seconds that commands wait for the disk at the start, before they are refused
)

Listener = Callable[[Dict[str, Any]], None]


class Commands:
    """`hub_now()` is unix seconds by the hub's clock, `hub_time_known()` whether that is more than
    our own guess.

    `fetch(request)` brings the file of a `print` onto the printer and returns its `path` there,
    with a `note` for people; `find_local(path)` says why a file there cannot be printed, "" if it
    can; `hooks` carry out
    `cancel_download`, `snapshot` and `timelapse_now`. What these raise is told in the result if it
    is one of `told_errors`, and else taken for a fault of the plugin.
    """

    def __init__(
        self,
        *,
        live: LiveSettings,
        printer: Printer,
        ledger: Ledger,
        flags: Flags,
        bed: Bed,
        notices: Notices,
        supervisor: Supervisor,
        clock: Clock,
        hub_now: Callable[[], float],
        fetch: Optional[Fetch] = None,
        find_local: Optional[FindLocal] = None,
        hooks: Optional[Mapping[str, Hook]] = None,
        hub_time_known: Callable[[], bool] = lambda: True,
        told_errors: Tuple[Type[Exception], ...] = (),
        boot_id: Optional[Callable[[], str]] = None,
    ) -> None:
        self._live = live
        self._printer = printer
        self._ledger = ledger
        self._flags = flags
        self._notices = notices
        self._supervisor = supervisor
        self._clock = clock
        self._hub_now = hub_now
        self._hub_time_known = hub_time_known
        self._boot_id = boot_id or clock.boot
        self._halts = Halts()
        self._emergency = EmergencyStop(printer, self._halts, notices)
        self._bed = bed
        self._listeners: List[Listener] = []
        self._started = asyncio.Event()
        self._made_ids = 0
        self._unwritten: Dict[str, Entry] = {}  # emergency stops that the disk did not take
        self.last_activity = float("-inf")  # monotonic seconds
        self._executor = Executor(
            printer=printer,
            live=live,
            clock=clock,
            halts=self._halts,
            fetch=fetch,
            find_local=find_local or _find_none,
            hooks=hooks or {},
            recheck=lambda command: policy.refusal(command, self._situation()),
        )
        self._runner = Runner(
            printer=printer,
            live=live,
            ledger=ledger,
            notices=notices,
            supervisor=supervisor,
            clock=clock,
            halts=self._halts,
            executor=self._executor,
            hub_now=hub_now,
            hub_time_known=hub_time_known,
            situation=self._situation,
            told_errors=told_errors,
            finish=self._finish,
        )
        bed.hub_acts = lambda: self._runner.acts

    # Life cycle

    async def start(self) -> None:
        """Read the ledger: what was still waiting waits again, what was running is reported and
        never run again."""
        await self._flags.load()
        boot = self._boot_id()
        unfinished = await self._ledger.load()
        self._emergency.recall(await self._ledger.received_by_action(EMERGENCY_STOP))
        self._show_switch()
        self._printer.subscribe(self._halts.note_change)
        self._runner.start(boot)
        for row in unfinished:
            try:
                if row.status is State.RECEIVED:
                    await self._recover(row)
                else:
                    await self._report_interrupted(row, boot)
            except StoreUnavailable:
                raise
            except Exception as error:  # no row may end the start
                self._notices.log_fault("row", "A command of a former run cannot be read", error)
                await self._set_aside(row)
        self._started.set()

    async def stop(self) -> None:
        """End the lanes. What was running is found in the ledger by the next start, and reported as
        interrupted."""
        await self._runner.stop()
        self._executor.close()

    async def _set_aside(self, row: Row) -> None:
        await self._ledger.finish(row.key, State.INTERRUPTED, _UNREADABLE, self._hub_now())

    async def _recover(self, row: Row) -> None:
        command = _command_of(row)
        if command.is_stop:
            await self._finish(command, State.EXPIRED, _STOP_OF_BEFORE)
            return
        refused = policy.refusal_on_arrival(command, self._situation())
        if refused:
            await self._finish(command, State.REFUSED, refused)
        else:
            self._runner.enqueue(command, self._halts.now, recovered=True)

    async def _report_interrupted(self, row: Row, boot: str) -> None:
        command = _command_of(row)
        if row.action in ("reboot", "shutdown") and row.boot and boot and row.boot != boot:
            told = (
                "the computer was restarted"
                if row.action == "reboot"
                else "the computer has been started again"
            )
            await self._finish(command, State.DONE, told)
            return
        await self._finish(
            command,
            State.INTERRUPTED,
            "Moonraker was stopped while this ran: whether the printer finished it is unknown, and"
            " it was not run again. Look at the printer, then send it again if it is still wanted.",
        )

    # The hub

    async def take(self, raw: Any, generation: int) -> int:
        """The `commands` of one reply, in whatever shape; how many of them were new. Never raises
        for what they hold.

        When it returns, each is on disk, refused, or (an emergency stop) sent to Klippy.
        """
        steps = Steps(self._clock)
        now = self._hub_now()
        reader = Reader(_scope(self._live.now), self._live.now.printer_token, self._make_id)
        found: List[Any] = []  # the first of them
        read: Dict[int, Command] = {}
        stops: List[Command] = []
        count = 0
        for index, item in enumerate(entries(raw)):
            await steps.pause()
            count += 1
            if looks_like_stop(item):
                stop = self._emergency.renewed(reader.read(item, int(generation), now), now)
                read[index] = stop
                if self._may_stop(stop):
                    stops.append(stop)
            if index < MAX_PER_REPLY:
                found.append(item)
        sent = self._emergency.send(stops, now) if stops else None
        since = (
            self._halts.now
        )  # a stop in another reply may overtake this batch on its way to disk
        try:
            for index, item in enumerate(found):
                await steps.pause()
                if index not in read:
                    read[index] = reader.read(item, int(generation), now)
            if count > len(read):
                self._notices.log_once(
                    "commands left out",
                    f"The hub sent {count} commands in one reply: {MAX_PER_REPLY} of them"
                    " were taken.",
                )
            commands = [read[index] for index in sorted(read)]
            return await self._write_down(commands, stops, since)
        finally:
            if sent is not None:
                self._supervisor.spawn("emergency stop", self._report_stop(sent, stops))

    async def _write_down(
        self, commands: Sequence[Command], stops: Sequence[Command], since: Epoch
    ) -> int:
        """Commit a batch, then let it wait for its turn; refusals come last, so that they delay
        nothing. What the disk does not take is not run."""
        steps = Steps(self._clock)
        stopped = {command.key for command in stops}
        written = []
        for command in commands:
            await steps.pause()
            state = State.EXECUTING if command.key in stopped else State.RECEIVED
            written.append(_entry(command, state))
        try:
            # A reply can be quicker than the disk at the start.
            await asyncio.wait_for(self._started.wait(), STARTS_WITHIN)
            new = await self._ledger.receive(written)
        except (StoreUnavailable, asyncio.TimeoutError):
            self._tell_unwritten(written, stopped)
            return len(written)
        if not new:
            return 0
        self.last_activity = self._clock.monotonic()
        last_stop = max((i for i, c in enumerate(commands) if c.key in stopped), default=-1)
        ended: List[Tuple[Command, State, str]] = []
        waiting = set(new) - stopped
        for index, command in enumerate(commands):
            await steps.pause()
            if command.key not in waiting:
                continue
            waiting.discard(command.key)  # once, also when the reply holds it twice
            expired = self._too_old(command) if command.is_stop else ""
            reason = policy.refusal_on_arrival(command, self._situation())
            if expired:
                ended.append((command, State.EXPIRED, expired))
            elif reason:
                ended.append((command, State.REFUSED, reason))
            elif index < last_stop:
                ended.append((command, State.REFUSED, _STOPPED))
            else:
                full = self._runner.enqueue(command, since)
                if full:
                    ended.append((command, State.REFUSED, full))
        for command, state, message in ended:
            await self._finish(command, state, message)
        return len(new)

    def _tell_unwritten(self, entries: Sequence[Entry], stopped: Set[str]) -> None:
        for entry in entries:
            if entry.key in stopped:  # it was sent all the same, and is told when it has ended
                self._unwritten[entry.key] = entry
            else:
                self._announce(self._ledger.tell(entry, State.REFUSED, UNWRITTEN, self._hub_now()))

    def results_due(self, limit: int = 50) -> List[Dict[str, Any]]:
        """`{id, action, status, message, received_at, finished_at}`, oldest first, until
        `results_delivered`."""
        return self._ledger.due(limit)

    async def results_delivered(self, results: Iterable[Any]) -> None:
        """The hub has acknowledged these: results as `results_due` gave them, or their ids."""
        await self._ledger.acknowledge(list(results))

    def recent(self, limit: int = 50) -> List[Dict[str, Any]]:
        """The newest commands and what became of them, newest first."""
        return self._ledger.recent(limit)

    def on_result(self, listener: Listener) -> None:
        """Call `listener(result)` for each command that has ended."""
        self._listeners.append(listener)

    @property
    def waiting(self) -> int:
        """Commands whose turn has not come."""
        return self._runner.waiting

    def _may_stop(self, command: Command) -> bool:
        if not command.is_stop or self._emergency.known(command) or self._too_old(command):
            return False
        return not policy.refusal_on_arrival(command, self._situation())

    def _too_old(self, stop: Command) -> str:
        """Why a stop is too old; never by our own guess at the time, which may be years off."""
        if not self._hub_time_known():
            return ""
        return policy.expiry(stop, self._live.now.expiry, self._hub_now())

    async def _report_stop(self, sent: "asyncio.Task[Outcome]", stops: Sequence[Command]) -> None:
        state, message = await sent
        for command in stops:
            await self._finish(command, state, message)

    # The operator

    @property
    def remote_on(self) -> bool:
        return not self._switched_off_by

    async def set_remote(self, on: bool, by: str) -> None:
        """The kill switch, thrown by `by` (for people); it stays so across restarts."""
        name = "" if on else (_printable(by) or "somebody at the printer")
        if name == self._switched_off_by:
            return
        self._notices.console(f"Remote control is {'on' if on else 'off'} ({_printable(by)}).")
        self._flags.put(REMOTE_OFF, name)
        self._show_switch()

    def bed_clear(self, by: str, by_macro: bool = False) -> str:
        """`by` says that the bed is clear: the hub may print again. Why that is not taken for
        true, else ""."""
        refused = self._bed.clear(by_macro)
        if not refused:
            self._notices.console(f"The bed is clear ({_printable(by)}).")
        return refused

    @property
    def bed_needs_clearing(self) -> bool:
        """For people: whether a job is over and its bed not yet cleared."""
        return self._bed.left_uncleared

    # Inside

    @property
    def _switched_off_by(self) -> str:
        return str(self._flags.get(REMOTE_OFF, "") or "")

    def _show_switch(self) -> None:
        if self.remote_on:
            self._notices.clear("remote_off", "Remote control is on again.")
            return
        self._notices.show(
            "remote_off",
            f"Remote control was switched off at the printer ({self._switched_off_by}): commands"
            " of the hub are"
            " refused until tecmedhub_remote_on is called.",
            warning=False,
            level=logging.INFO,
        )

    def _situation(self) -> policy.Situation:
        return policy.Situation(
            security=self._live.now.security,
            snapshot=self._printer.snapshot,
            switched_off_by=self._switched_off_by,
            bed_needs_clearing=self._bed.needs_clearing,
        )

    async def _finish(self, command: Command, state: State, message: str) -> None:
        message, now = message[:MAX_MESSAGE], self._hub_now()
        entry = self._unwritten.pop(command.key, None)
        if entry is not None:
            self._announce(self._ledger.tell(entry, state, message, now))
            return
        result = await self._ledger.finish(command.key, state, message, now)
        if result is not None:
            self._announce(result)

    def _announce(self, result: Dict[str, Any]) -> None:
        self.last_activity = self._clock.monotonic()
        line = f"{result['action'] or 'a command'} {result['status']}"
        if result["message"]:
            line += f": {result['message']}"
        self._notices.console(f"Hub: {line}")
        self._notices.logger.info("Command %s of the hub: %s", json.dumps(result["id"]), line)
        for listener in self._listeners:
            try:
                listener(dict(result))
            except Exception as error:
                self._notices.log_fault("result listener", "A listener for results failed", error)

    def _make_id(self) -> str:
        self._made_ids += 1
        return f"no-id-{self._hub_now():.0f}-{self._made_ids}"


async def _find_none(name: str) -> str:
    return f"{name} is not among the printer's files."


_UNREADABLE = (
    "What was recorded of this command cannot be read: it was not run. Send it again if it is still"
    " wanted."
)
_STOP_OF_BEFORE = (
    "Moonraker was stopped before this emergency stop was sent: it is too old now. Send it again if"
    " it is still wanted."
)
_STOPPED = "An emergency stop came with it: send it again if it is still wanted."


def _entry(command: Command, state: State) -> Entry:
    return Entry(
        key=command.key,
        id=command.id,
        action=command.action,
        summary=command.summary(),
        command=command.to_json(),
        received_at=command.received_at,
        status=state,
    )


def _command_of(row: Row) -> Command:
    return from_json(row.key, row.id, row.action, row.received_at, row.command)


def _scope(settings: Settings) -> str:
    """Tells hubs apart: ids are unique within one hub only, and small integers on generation 2."""
    host = urllib.parse.urlsplit(settings.server_url).hostname or ""
    text = f"{host}\n{settings.printer_token}"
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]


def _printable(text: str) -> str:
    return "".join(c for c in text if c.isprintable())[:60]
