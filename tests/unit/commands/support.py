"""A printer made of a snapshot, the commands room around it, and a clock that the test turns."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any, Awaitable, Callable

from components.commands import Commands, Deeds, Tools
from components.commands.bed import Bed
from components.printer.console import Console
from components.printer.history import History
from components.printer.jobs import Jobs
from components.printer.machine import Machine, Templates
from components.printer.snapshot import Heater, Job, KlippyState, Snapshot
from components.printer.verbs import JobQueue, KlippyEnded, PrinterError
from components.runtime.supervisor import Supervisor
from components.runtime.worker import Worker
from components.settings.model import Expiry, LiveSettings, PrinterData, Security, Settings
from components.store import flags, ledger
from components.store.database import Database
from components.store.flags import Flags
from components.store.ledger import Ledger
from tests.unit.fakes import WITHIN, Board, FakeClock, until

TOKEN = "TECMED_TEST"


def ready(**changes: Any) -> Snapshot:
    """A cartesian printer at rest."""
    base = Snapshot(
        klippy=KlippyState.READY,
        message="Printer is ready",
        job=Job(state="standby"),
        heaters={
            "extruder": Heater("extruder", 21.0, 0.0, 0.0, 0.0, 250.0),
            "heater_bed": Heater("heater_bed", 21.0, 0.0, 0.0, 0.0, 130.0),
        },
        fan_speed=0.0,
        macros=frozenset(("LOAD_FILAMENT", "_HIDDEN", *MACROS)),
        machine=Machine(
            templates=Templates({"LOAD_FILAMENT": "M117 hi", **MACROS}, DELAYED, RENAMED)
        ),
        objects={"webhooks": {"state": "ready"}, "pause_resume": {"is_paused": False}},
    )
    return base._replace(**changes)


MACROS = {
    "PARK": "M118 parked",
    "AWAY": "{% if 1 %}\nG1 X{params.X|default(0)} F6000\n{% endif %}",
    "OUTER": "  AWAY X=5",
    "GO": "SDCARD_PRINT_FILE FILENAME={params.FILE}",
    "LATER": "UPDATE_DELAYED_GCODE ID=start_it DURATION=1",
    "ANY": "{params.CMD}",
    "BED_CLEAR": '{action_call_remote_method("tecmedhub_bed_clear")}',
    "SAY": '{action_respond_info("G28")}\nM117 {params.TEXT}',
    "SDCARD_PRINT_FILE": "M118 wrapped\nBASE_PRINT FILENAME={params.FILENAME}",
    "AGAIN": "BASE_PRINT FILENAME=x.gcode",
    "OFF": "M104 S0",
    "WARM": "M104 S{params.T}",
    "HEAT": "M104 S200",
}
DELAYED = {"START_IT": "GO FILE=x.gcode"}
RENAMED = {"BASE_PRINT": "SDCARD_PRINT_FILE"}


def objects(**changes: Any) -> dict[str, Any]:
    """Klipper's status objects, some of them changed."""
    return {**ready().objects, **changes}


def printing(
    state: str = "printing", filename: str = "part.gcode", by_file: bool = False
) -> Snapshot:
    """A job; `by_file`: paused by M25."""
    is_paused = {"is_paused": state == "paused" and not by_file}
    return ready(job=Job(state=state, filename=filename), objects=objects(pause_resume=is_paused))


class FakePrinter:
    """Answers like Klippy: one script at a time, states that follow what was sent."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._snapshot = ready()
        self._listeners: list[Callable[[Snapshot, Snapshot], None]] = []
        self._watchers: list[Callable[[KlippyState, str, Job, float], None]] = []
        self._waiters: list[tuple[Callable[[Snapshot], bool], asyncio.Future[bool]]] = []
        self._mutex = asyncio.Lock()
        self._held: dict[str, asyncio.Event] = {}
        self.sent: list[str] = []  # scripts and verbs, in the order in which Klippy began them
        self.at: list[float] = []  # and when, monotonic
        self.errors: dict[str, str] = {}  # what a script or verb that begins so is answered
        self.deaf: set[str] = set()  # scripts that Klippy takes and that change nothing
        self.hung = False  # Klippy answers nothing
        self.meanwhile: Callable[[], Any] = lambda: None  # called while Klippy is looked at
        self.scripts_heard = 0
        self.console = Console(clock)
        self.switched_off = ""
        self.script_asked = False
        self.job_queue = JobQueue()
        self.off: list[str] = []  # power devices
        self.power_error = ""
        self.power_devices: list[str] = ["printer"]
        self.power_feeds: dict[str, bool] = {"printer": True}

    # As Printer

    @property
    def snapshot(self) -> Snapshot:
        return self._snapshot

    def subscribe(self, listener: Callable[[Snapshot, Snapshot], None]) -> None:
        self._listeners.append(listener)

    def watch(self, watcher: Callable[[KlippyState, str, Job, float], None]) -> None:
        self._watchers.append(watcher)
        self._show_watchers()

    def _show_watchers(self) -> None:
        now = self._snapshot
        for watcher in self._watchers:
            watcher(now.klippy, now.message, now.job, self._clock.monotonic())

    async def wait_for(self, predicate: Callable[[Snapshot], bool], timeout: float) -> bool:
        if predicate(self._snapshot):
            return True
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiters.append((predicate, future))
        alarm = asyncio.ensure_future(self._clock.sleep(timeout))
        try:
            await asyncio.wait({future, alarm}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            alarm.cancel()
        return future.done()

    async def look(self) -> Snapshot:
        await self._answered()
        seen = self._snapshot
        self.meanwhile()
        return seen

    async def fence(self) -> None:
        await self._answered()
        async with self._mutex:
            pass

    def script(self, script: str) -> asyncio.Future[None]:
        """As somebody else at Mainsail sends it."""
        self.scripts_heard += 1
        self.script_asked = True
        task = asyncio.ensure_future(self.gcode(script))
        task.add_done_callback(lambda _: setattr(self, "script_asked", False))
        return task

    async def _answered(self) -> None:
        if self.hung:
            await self._clock.sleep(5)
            raise PrinterError("Klippy does not answer")
        await asyncio.sleep(0)

    async def gcode(self, script: str) -> None:
        async with self._mutex:
            self._note(script)
            await self._wait_if_held(script)
            if script.startswith("FALLS"):
                raise KlippyEnded("Klippy Disconnected")
            if self._snapshot.ready:
                for line in script.split("\n"):
                    if not any(line.startswith(word) for word in self.deaf):
                        self._apply(line)

    async def emergency_stop(self) -> None:
        self._note("emergency_stop")
        if self.hung:
            await asyncio.get_running_loop().create_future()
        self.change(klippy=KlippyState.SHUTDOWN, message="Shutdown due to webhooks request")
        for event in self._held.values():
            event.set()  # M109 and dwells give up without an error when Klippy shuts down

    async def pause(self) -> None:
        await self._job_verb("pause", Job(state="paused", filename=self._snapshot.job.filename))

    async def resume(self) -> None:
        await self._job_verb("resume", Job(state="printing", filename=self._snapshot.job.filename))

    async def cancel(self) -> None:
        await self._job_verb("cancel", Job(state="cancelled", filename=self._snapshot.job.filename))

    async def firmware_restart(self) -> None:
        await self._leave("firmware_restart")

    async def restart(self) -> None:
        await self._leave("restart")

    async def _leave(self, how: str) -> None:
        async with self._mutex:
            self._note(how)
            await self._wait_if_held(how)
        self.change(klippy=KlippyState.DISCONNECTED, objects={})
        asyncio.get_running_loop().call_later(0.01, self._come_back)

    def _come_back(self) -> None:
        self.change(klippy=KlippyState.STARTUP)
        self.put(ready())

    async def start_print(self, filename: str) -> None:
        self._note(f"start {filename}")
        await self._wait_if_held("start")
        if "start" not in self.deaf:
            self.change(job=Job(state="standby", filename=filename))
            self.change(job=Job(state="printing", filename=filename))

    async def queue_print(self, filename: str, start: bool) -> JobQueue:
        self._note(f"queue {filename}" + (" and start" if start else ""))
        self.job_queue = self.job_queue._replace(waiting=self.job_queue.waiting + 1)
        return self.job_queue

    async def power_off(self, name: str) -> None:
        if self.power_error:
            raise PrinterError(self.power_error)
        self.off.append(name)

    async def power(self, name: str, on: bool) -> str:
        self._note(f"power {name} {'on' if on else 'off'}")
        return f"{name} is {'on' if on else 'off'}"

    async def machine(self, action: str) -> None:
        self._note(action)

    # For tests

    def change(self, **changes: Any) -> None:
        old, self._snapshot = self._snapshot, self._snapshot._replace(**changes)
        self._show_watchers()
        for predicate, future in list(self._waiters):
            if not future.done() and predicate(self._snapshot):
                future.set_result(True)
        for listener in self._listeners:
            listener(old, self._snapshot)

    def put(self, snapshot: Snapshot) -> None:
        self.change(**{name: getattr(snapshot, name) for name in Snapshot._fields})

    def hold(self, word: str) -> asyncio.Event:
        """Scripts and verbs that begin with `word` take until this event."""
        self._held[word] = asyncio.Event()
        return self._held[word]

    def _note(self, what: str) -> None:
        self.sent.append(what)
        self.at.append(self._clock.monotonic())
        for word, message in self.errors.items():
            if what.startswith(word):
                raise PrinterError(message)

    async def _wait_if_held(self, what: str) -> None:
        for word, event in self._held.items():
            if what.startswith(word):
                await event.wait()

    async def _job_verb(self, name: str, after: Job) -> None:
        async with self._mutex:
            self._note(name)
            await self._wait_if_held(name)
            if name not in self.deaf:
                paused = {"is_paused": after.state == "paused"}
                self.change(job=after, objects={**self._snapshot.objects, "pause_resume": paused})

    def _apply(self, line: str) -> None:
        word, number = line.partition(" ")[0], re.search(r"S([\d.]+)", line)
        value = float(number.group(1)) if number else 0.0
        if word == "M220":
            self.change(speed_factor=value / 100)
        elif word == "M221":
            self.change(extrude_factor=value / 100)
        elif word in ("M106", "M107"):
            self.change(fan_speed=round(value / 255, 2))
        elif word == "G28":
            self.change(homed_axes="".join(sorted(set(line[4:].lower() or "xyz"))))
        elif word == "TURN_OFF_HEATERS":
            heaters = {n: h._replace(target=0.0) for n, h in self._snapshot.heaters.items()}
            self.change(heaters=heaters)
        elif word == "SET_HEATER_TEMPERATURE":
            name, target = re.findall(r"=(\S+)", line)
            heaters = dict(self._snapshot.heaters)
            heaters[name] = heaters[name]._replace(target=float(target))
            self.change(heaters=heaters)


class BusyWorker(Worker):
    """Knows how much of what was handed in is not done."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.under_way = 0

    def submit(self, *args: Any, **kwargs: Any) -> asyncio.Future[Any]:
        future = super().submit(*args, **kwargs)
        self.under_way += 1
        future.add_done_callback(self._done)
        return future

    def _done(self, future: asyncio.Future[Any]) -> None:
        self.under_way -= 1


class Lab:
    """The room on a folder of its own; `restart` is what a crash and a new start leave."""

    def __init__(self, folder: Path, **security: Any) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.board = Board(self.clock)
        security.setdefault("rate_limit_seconds", 0.0)
        self.live = LiveSettings(
            Settings(
                server_url="http://hub.test/api.php",
                printer_token=TOKEN,
                security=Security(**security),
                expiry=Expiry(),
                printer_data=PrinterData(bed_status="limpia"),
            )
        )
        self.printer = FakePrinter(self.clock)
        self.results: list[dict[str, Any]] = []
        self.told: list[dict[str, Any]] = []  # those that are running as well
        self.fetch: Callable[[Any], Awaitable[Any]] | None = None
        self.local: set[str] = set()
        self.hooks: dict[str, Any] = {}
        self.looks: dict[str, Any] = {}
        self.hub_time_known = True
        self.hub_redelivers = False
        self.boot = "boot-1"

    async def start(self) -> Lab:
        self.disk = BusyWorker("store")
        self.database = Database(self.folder, self.board.notices, self.clock, self.disk)
        await self.database.open([ledger.SCHEMA, flags.SCHEMA])
        await self.make().start()
        self.jobs.start()
        self.bed.look_back(self.history)
        return self

    async def find_local(self, name: str) -> str:
        return "" if name in self.local else f"{name} is not among the printer's files: …"

    def make(self) -> Commands:
        """The room, not started."""
        self.supervisor = Supervisor(self.board.notices, self.clock)
        self.flags = Flags(self.database, self.clock)
        self.jobs = Jobs(None, self.clock, *self.flags.kept("job"))
        self.history = History(None, self.jobs, *self.flags.kept("history"))
        self.bed = Bed(self.live, self.flags, self.board.notices, self.clock, self.jobs)
        self.printer.watch(self.jobs.look)
        self.commands = Commands(
            Tools(
                live=self.live,
                printer=self.printer,
                ledger=Ledger(self.database),
                flags=self.flags,
                bed=self.bed,
                notices=self.board.notices,
                supervisor=self.supervisor,
                clock=self.clock,
                hub_now=self.clock.time,
                hub_time_known=lambda: self.hub_time_known,
                hub_redelivers=lambda: self.hub_redelivers,
            ),
            Deeds(
                fetch=self.fetch,
                find_local=self.find_local,
                starting=self.jobs.announce,
                hooks=self.hooks,
                looks=self.looks,
                told_errors=(TransferError,),
            ),
            boot_id=lambda: self.boot,
        )
        self.commands.on_result(self.told.append, running=True)
        self.commands.on_result(self.results.append)
        return self.commands

    async def begin(self, *commands: Any) -> None:
        """Hand them over and wait until Klippy has begun the last thing they came to."""
        before = len(self.printer.sent)
        await self.take(*commands)
        await until(lambda: len(self.printer.sent) > before)

    async def kill(self) -> None:
        """Everything stops where it is, as after SIGKILL (what was committed is on disk)."""
        await self.commands.stop()
        await self.supervisor.stop()
        await self.database.close()

    async def restart(self) -> Lab:
        await self.kill()
        self.printer = FakePrinter(self.clock)
        return await self.start()

    async def take(self, *commands: Any, generation: int = 1) -> int | None:
        return await self.commands.take(list(commands), generation)

    async def run(self, *commands: Any, generation: int = 1) -> list[dict[str, Any]]:
        """Hand them over and wait until each has its result."""
        before = len(self.results)
        new = await self.take(*commands, generation=generation) or 0
        await self.elapse(lambda: len(self.results) >= before + new)
        return self.results[before:]

    async def elapse(self, condition: Callable[[], Any], step: float = 0.25) -> None:
        """Let time go by, `step` seconds at a time, until something has come about; not while
        the store's thread has something to do.
        """
        end = time.monotonic() + WITHIN
        turns = 0
        while not condition():
            assert time.monotonic() < end, f"it never came about: {condition}"
            turns = 0 if self.disk.under_way else turns + 1
            if turns >= 5:
                turns = 0
                self.clock.advance(step)
            await asyncio.sleep(0.001)

    def secure(self, **changes: Any) -> None:
        now = self.live.now
        self.live.replace(now._replace(security=now.security._replace(**changes)))

    def result(self, id_: Any) -> dict[str, Any]:
        (found,) = [r for r in self.results if r["id"] == id_]
        return found


class TransferError(Exception):
    """As the files room raises it."""


def one(action: str, id_: Any = "cmd_1", **params: Any) -> dict[str, Any]:
    """A command of generation 1."""
    return {"id": id_, "token": TOKEN, "action": action, **params}


def two(type_: str, command: str, id_: Any = 1, **extra: Any) -> dict[str, Any]:
    """A command of generation 2."""
    return {"id": id_, "type": type_, "command": command, "priority": 5, **extra}
