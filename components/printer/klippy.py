"""The printer, live: Klippy's diffs (`subscription`), merged into snapshots on demand, and what one
can tell it to do.

Other rooms see `Printer` only. Diffs arrive up to four times a second; merging them is all that is
done per diff, a `Snapshot` is made when somebody looks or when something changed that is news
(`news`).
"""

from __future__ import annotations

import asyncio
from typing import (
    Any,
    Awaitable,
    Callable,
    Dict,
    FrozenSet,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Set,
    Tuple,
)

from ..runtime.clock import Clock
from ..runtime.loose import as_dict, as_text
from ..runtime.messages import Message, say
from ..runtime.notices import Notices
from ..runtime.supervisor import Supervisor
from ..settings.model import LiveSettings, Settings
from . import part_fan
from .console import Console, plain_words
from .jobs import Session, job_of
from .machine import Machine
from .news import Measure, news_of
from .progress import FileFacts, JobMemory, read_facts
from .slicer_words import SlicerWords
from .snapshot import Job, KlippyState, Objects, Snapshot, read_snapshot
from .subscription import Subscription, Told

# What Klippy is asked anew before something is handed to it that must not reach somebody's job or
# script: its own news may be a quarter of a second old.
LOOKED_AT = ("print_stats", "virtual_sdcard", "pause_resume", "manual_probe", "bed_screws")
ENDED = "Klippy Disconnected"  # Moonraker's answer to whatever was asked when Klippy ended
FENCE = ""  # an empty script: Klippy answers it when those before it are over
LONGEST_MESSAGE = 1000  # characters of Klippy's message; printer.cfg errors run to some hundred

# What tells how far a job is.
_COURSE = frozenset(("print_stats", "virtual_sdcard", "display_status", "gcode_move"))

Listener = Callable[[Snapshot, Snapshot], None]
Watcher = Callable[[KlippyState, str, Job, float], None]


class PrinterError(Exception):
    """What Klippy or Moonraker said when it refused, in its own words."""


class KlippyEnded(PrinterError):
    """Klippy went away before it answered: whether it did what it was asked, nobody knows."""


class JobQueue(NamedTuple):
    """Moonraker's job queue."""

    state: str = "paused"  # Moonraker's word: ready | loading | starting | paused
    waiting: int = 0
    automatic: bool = False  # [job_queue] automatic_transition: it goes on by itself


class Printer:
    """Reads the printer through Moonraker's components and tells it what to do (`verbs`)."""

    def __init__(
        self,
        server: Any,
        supervisor: Supervisor,
        notices: Notices,
        clock: Clock,
        live: LiveSettings,
        words: Optional[Callable[[str], Awaitable[SlicerWords]]] = None,
    ) -> None:
        """`words(filename)` reads the slicer's own words in a file of the gcodes root."""
        self._read_words = words
        self._supervisor = supervisor
        self._server = server
        self._live = live
        self._notices = notices
        self._clock = clock
        self._objects: Dict[str, Dict[str, Any]] = {}
        self._news: Dict[str, FrozenSet[str]] = {}  # of each of them, the fields that are news
        self._machine = Machine()
        self.scripts_heard = 0  # of any client of Moonraker's, ours included
        self._facts = FileFacts()
        self._words = ("", SlicerWords())  # the slicer's, of the file named first
        self._memory = JobMemory()
        self._klippy = KlippyState.DISCONNECTED
        self._message = say("Klippy is not connected")
        self._doubt = ""
        self.session: Optional[Session] = None  # Klippy's, while it is subscribed to
        self._cached: Optional[Snapshot] = None
        self._announced = Snapshot()
        self._watchers: List[Watcher] = []
        self._listeners: List[Listener] = []
        self._waiters: List[Tuple[Callable[[Snapshot], bool], "asyncio.Future[bool]"]] = []
        self._measure = Measure(clock, lambda: self._changed(news=True))
        self.console = Console(clock)
        self.pause_asked = float("-inf")  # monotonic, of the hub's last pause
        self._fan_asked = (0.0, float("-inf"))  # what M106 asked for last, and when
        told = Told(self._on_begun, self._on_diff, self._knows, self._on_lost, self._on_doubt)
        self._subscription = Subscription(server, supervisor, notices, clock, live, told)
        live.subscribe(self._on_settings)

    # Life cycle: Moonraker's events

    def register(self) -> None:
        """Attach to Moonraker's events (from the component's constructor)."""
        on = self._server.register_event_handler
        on("server:klippy_identified", self._on_klippy_state)
        on("server:klippy_started", self._on_klippy_started)
        on("server:klippy_ready", self._on_klippy_ready)
        on("server:klippy_shutdown", self._on_klippy_state)
        on("server:klippy_disconnect", self._on_klippy_disconnect)
        on("klippy_connection:gcode_received", self._on_script)
        on("server:gcode_response", self.console.hear)
        on("file_manager:metadata_processed", self._on_metadata)

    def _on_klippy_started(self, state: Any) -> None:
        # During this event the connection itself still says "startup", and in an error no other
        # event follows.
        connection = self._server.lookup_component("klippy_connection")
        self._set_klippy(str(state), connection.state_message)
        if self._klippy is KlippyState.SHUTDOWN:
            self._subscription.begin()  # no klippy_ready will come; temperatures are worth seeing

    def _on_klippy_state(self) -> None:
        connection = self._server.lookup_component("klippy_connection")
        self._set_klippy(str(connection.state), connection.state_message)

    def _on_klippy_ready(self) -> None:
        self._on_klippy_state()
        self._subscription.begin()

    def _on_klippy_disconnect(self) -> None:
        self._subscription.end()
        self._measure.forget()
        self._objects, self._news = {}, {}
        self._machine = Machine()
        self._doubt = ""
        self.session = None
        self._set_klippy(KlippyState.DISCONNECTED.value, say("Klippy is not connected"))

    def _set_klippy(self, state: str, message: Any) -> None:
        try:
            self._klippy = KlippyState(state.lower())
        except ValueError:
            self._klippy = KlippyState.STARTUP
        if self._klippy is KlippyState.READY and not self._objects:
            # A job started before everyone has subscribed would be one that Moonraker never heard
            # of: ready is what we have seen, not what we were told.
            self._klippy = KlippyState.STARTUP
        if not isinstance(message, Message):  # Klippy's own words
            message = plain_words(" ".join(as_text(message).split()))[:LONGEST_MESSAGE]
        self._message = message
        self._changed(news=True)

    def _on_settings(self, old: Settings, new: Settings) -> None:
        same = (old.printer, old.actions) == (new.printer, new.actions)
        if self._objects and not same:
            self._subscription.begin()  # what its fan is, and what confirms actions, is read there

    # What the subscription tells

    def _on_begun(self, status: Objects, machine: Machine) -> None:
        self._machine = machine
        self._objects = {name: dict(as_dict(fields)) for name, fields in status.items()}
        self._news = news_of(self._objects)
        self._doubt = ""
        self.session = self._read_session()
        self._read_facts()
        self._memory.follow(self._objects, self._facts)
        self._on_klippy_state()

    def _read_session(self) -> Optional[Session]:
        if self._machine.clock is None:
            return None
        connection = self._server.lookup_component("klippy_connection")
        process = as_text(as_dict(getattr(connection, "klippy_info", None)).get("process_id"))
        read = self._subscription.asked
        return Session(self._clock.boot(), process, read - self._machine.clock, read)

    def _on_diff(self, diff: Objects) -> None:
        """Four times a second, so what is no news ends here."""
        news = self._merge(diff)
        self._cached = None
        if "filename" in diff.get("print_stats", {}):
            self._read_facts()
        if not _COURSE.isdisjoint(diff):
            self._memory.follow(self._objects, self._facts)
        if news or self._waiters:
            self._heard(diff, news)
        elif "print_stats" in diff:
            self._show_watchers()

    def _knows(self, status: Objects) -> bool:
        """Whether all of this is what was told last."""
        return all(
            field in known and known[field] == value
            for name, fields in status.items()
            for known in (self._objects.get(name, {}),)
            for field, value in fields.items()
        )

    def _merge(self, diff: Objects) -> bool:
        """Whether it holds something that the hub should hear at once."""
        news = False
        for name, fields in diff.items():
            known = self._objects.get(name)
            if known is None:
                continue
            if not self._news[name].isdisjoint(fields) and any(
                known.get(field) != value for field, value in fields.items()
            ):
                news = self._measure.at_once(name, known, fields) or news
                self._follow_fan(name, fields)
            known.update(fields)
        return news

    def _heard(self, diff: Objects, news: bool) -> None:
        if news and "webhooks" in diff:
            hooks = self._objects["webhooks"]
            self._set_klippy(as_text(hooks.get("state")), hooks.get("state_message"))
        else:
            self._changed(news)

    def _on_lost(self, names: Set[str]) -> None:
        """Nothing is known of these objects any more."""
        for name in names:
            if name in self._objects:
                self._objects[name] = {}
        self._changed(news=True)

    def _on_doubt(self, reason: str) -> None:
        if reason != self._doubt:
            self._doubt = reason
            self._changed(news=True)

    # The part fan, where its macro leaves open which one it is

    def _on_script(self, script: str) -> None:
        self.scripts_heard += 1
        asked = part_fan.asked_speed(script) if self._machine.part_fan.candidates else None
        if asked is not None:
            self._fan_asked = (asked, self._clock.monotonic())

    def _follow_fan(self, name: str, fields: Mapping[str, Any]) -> None:
        fan = self._machine.part_fan
        asked, when = self._fan_asked
        if name not in fan.candidates or self._clock.monotonic() - when > part_fan.LEARN_WITHIN:
            return
        speed = part_fan.speed_of({name: fields}, name)
        if speed is not None:
            self._machine = self._machine._replace(
                part_fan=part_fan.learn(fan, asked, {name: speed})
            )

    def _on_metadata(self, *_args: Any) -> None:
        self._read_facts()  # the scan of a fresh upload may end after its print began
        self._cached = None

    def _read_facts(self) -> None:
        filename = as_text(self._objects.get("print_stats", {}).get("filename"))
        if not filename:
            self._facts = FileFacts()
            return
        if self._words[0] != filename:
            self._words = (filename, SlicerWords())
            if self._read_words is not None:
                self._supervisor.spawn("slicer's words", self._look_into(filename))
        manager = self._server.lookup_component("file_manager")
        metadata = as_dict(manager.get_file_metadata(filename))
        self._facts = read_facts(filename, metadata, self._words[1])

    async def _look_into(self, filename: str) -> None:
        """The slicer's own words, for what Moonraker's metadata lacks."""
        if self._read_words is None:
            return
        words = await self._read_words(filename)
        if self._words[0] == filename:
            self._words = (filename, words)
            self._on_metadata()

    # Watching, looking and waiting

    def watch(self, watcher: Watcher) -> None:
        """Call `watcher(klippy, message, job, since)` with each word of Klipper's on the job, and
        each change of Klippy's state: before anybody can see it in a snapshot. Since the moment
        `since` (monotonic seconds) nothing that Klipper said has gone unheard.
        """
        self._watchers.append(watcher)

    def _show_watchers(self) -> None:
        job = job_of(self._objects.get("print_stats", {}))
        for watcher in self._watchers:
            try:
                watcher(self._klippy, self._message, job, self._subscription.asked)
            except Exception as error:
                self._notices.log_fault("watcher", say("A watcher of the printer failed"), error)

    @property
    def snapshot(self) -> Snapshot:
        if self._cached is None:
            self._cached = self._read({})
        return self._cached

    def _read(self, newer: Objects) -> Snapshot:
        return read_snapshot(
            self._klippy,
            self._message,
            {name: {**fields, **newer.get(name, {})} for name, fields in self._objects.items()},
            self._machine,
            self._facts,
            self._memory.course(self._objects, self._facts),
            self._doubt,
        )

    async def look(self) -> Snapshot:
        """What Klippy itself says at this moment of its job and of what it works on; raises
        `PrinterError` where it does not answer. It is kept nowhere: a diff may have come since.
        """
        apis = self._server.lookup_component("klippy_apis")
        wanted = {name: None for name in LOOKED_AT if name in self._objects}
        patience = self._live.now.timeouts.moonraker
        try:
            answer = await asyncio.wait_for(apis.query_objects(wanted), patience)
        except (asyncio.TimeoutError, self._server.error) as error:
            raise PrinterError(str(error) or say("Klippy does not answer")) from None
        return self._read({name: as_dict(fields) for name, fields in as_dict(answer).items()})

    async def fence(self) -> None:
        """Return when Klippy has done all that it was given before: scripts wait for each other
        there, and an empty one for those before it.
        """
        await self._ask("run_gcode", FENCE)

    @property
    def script_asked(self) -> bool:
        """Whether a script that any client of Moonraker's has sent is not answered yet."""
        connection = self._server.lookup_component("klippy_connection")
        return any(
            as_text(getattr(request, "rpc_method", "")).startswith(("gcode/", "pause_resume/"))
            and as_dict(getattr(request, "params", None)).get("script") != FENCE
            for request in list(getattr(connection, "pending_requests", {}).values())
        )

    @property
    def job_queue(self) -> JobQueue:
        queue = self._server.lookup_component("job_queue")
        return JobQueue(
            as_text(getattr(queue, "queue_state", "")),
            len(getattr(queue, "queued_jobs", ())),
            bool(getattr(queue, "automatic", False)),
        )

    def subscribe(self, listener: Listener) -> None:
        """Call `listener(old, new)` after each change that is news: Klippy's state, the job, a
        target, a factor, a fan.
        """
        self._listeners.append(listener)

    async def wait_for(self, predicate: Callable[[Snapshot], bool], timeout: float) -> bool:
        """Wait until `predicate` holds of a snapshot; False when it did not within `timeout`
        seconds.
        """
        if predicate(self.snapshot):
            return True
        future: "asyncio.Future[bool]" = asyncio.get_event_loop().create_future()
        entry = (predicate, future)
        self._waiters.append(entry)
        try:
            return await asyncio.wait_for(future, timeout)
        except asyncio.TimeoutError:
            return False
        finally:
            self._waiters.remove(entry)

    def _changed(self, news: bool) -> None:
        self._cached = None
        self._show_watchers()
        for predicate, future in list(self._waiters):
            if not future.done() and predicate(self.snapshot):
                future.set_result(True)
        if not news:
            return
        old, self._announced = self._announced, self.snapshot
        for listener in self._listeners:
            try:
                listener(old, self._announced)
            except Exception as error:
                self._notices.log_fault(
                    "listener", say("A listener for printer changes failed"), error
                )

    # Verbs: each raises PrinterError

    async def gcode(self, script: str) -> None:
        """Run a script; returns when Klippy has finished it, however long that takes."""
        await self._ask("run_gcode", script)

    async def save_config(self, script: str) -> None:
        """Run a script, then keep what it changed in printer.cfg, for which Klippy restarts: as
        one, so that nobody's print comes between.
        """
        try:
            await self.gcode(f"{script}\nSAVE_CONFIG")
        except KlippyEnded:
            pass  # it restarts: that is how it answers

    async def emergency_stop(self) -> None:
        """Stop at once, past every queue, through Klippy's own endpoint (never M112, which would
        wait its turn).
        """
        await self._ask("emergency_stop")

    async def pause(self) -> None:
        self.pause_asked = self._clock.monotonic()
        await self._ask("pause_print")

    async def resume(self) -> None:
        await self._ask("resume_print")

    async def cancel(self) -> None:
        await self._ask("cancel_print")

    async def firmware_restart(self) -> None:
        await self._ask("do_restart", "FIRMWARE_RESTART")

    async def restart(self) -> None:
        """Klippy's host part anew, without the board."""
        await self._ask("do_restart", "RESTART")

    async def start_print(self, filename: str) -> None:
        """Start a file of the gcodes root; its name has been checked, since Klippy's call escapes
        only quotes.
        """
        if any(ord(c) < 32 or c == '"' for c in filename):
            raise PrinterError(
                say("The name {name!r} cannot be printed: rename the file.", name=filename)
            )
        await self._ask("start_print", filename)

    async def queue_print(self, filename: str, start: bool) -> JobQueue:
        """Put a file into Moonraker's job queue, and start that if asked to; what it is then."""
        queue = self._server.lookup_component("job_queue")
        try:
            await queue.queue_job(filename)
            if start:
                await queue.start_queue()
        except self._server.error as error:
            raise PrinterError(str(error)) from None
        return self.job_queue

    @property
    def power_devices(self) -> List[str]:
        """The names of Moonraker's [power] devices."""
        power = self._server.lookup_component("power", None)
        return sorted(getattr(power, "devices", {}))

    @property
    def power_feeds(self) -> Dict[str, bool]:
        """Of each of Moonraker's [power] devices, whether it is the printer's own."""
        power = self._server.lookup_component("power", None)
        devices = dict(getattr(power, "devices", {}))
        return {str(name): _feeds_printer(name, device) for name, device in devices.items()}

    @property
    def switched_off(self) -> str:
        """The device of Moonraker's [power] that feeds this printer and is off; "" if none is."""
        power = self._server.lookup_component("power", None)
        for name, device in dict(getattr(power, "devices", {})).items():
            if _feeds_printer(name, device) and getattr(device, "state", "") == "off":
                return str(name)
        return ""

    async def power_off(self, name: str) -> None:
        """Switch a device of Moonraker's [power] off, also while it is locked by a print."""
        power = self._server.lookup_component("power", None)
        device = getattr(power, "devices", {}).get(name)
        if device is None:
            raise PrinterError(say("Moonraker has no [power {name}]", name=name))
        try:
            state = await device.process_request("off", force=True)
        except self._server.error as error:
            raise PrinterError(str(error)) from None
        if state != "off":
            raise PrinterError(say("[power {name}] is {state}", name=name, state=state))

    async def power(self, name: str, on: bool) -> str:
        """Switch a device of Moonraker's [power]; never off, in a job, what feeds this printer."""
        power = self._server.lookup_component("power", None)
        device = getattr(power, "devices", {}).get(name)
        if device is None:
            known = ", ".join(self.power_devices) or say("none")
            raise PrinterError(
                say("Moonraker has no [power {name}]: it has {known}.", name=name, known=known)
            )
        if not on and _feeds_printer(name, device) and self.snapshot.busy:
            raise PrinterError(
                say("[power {name}] feeds the printer, and a job is not over.", name=name)
            )
        wanted = "on" if on else "off"
        try:
            state = await device.process_request(wanted)
        except self._server.error as error:
            raise PrinterError(str(error)) from None
        if state != wanted:
            raise PrinterError(say("[power {name}] is {state}", name=name, state=state))
        return say("{device} is {state}", device=name, state=state)

    async def queue(self, verb: str, job: str = "") -> str:
        """`start`, `pause`, `clear` Moonraker's job queue, or `remove` a job of it (its id or its
        file); what it is then."""
        queue = self._server.lookup_component("job_queue")
        waiting = dict(getattr(queue, "queued_jobs", {}))
        try:
            if verb == "start":
                await queue.start_queue()
                if self.job_queue.state == "paused":
                    raise PrinterError(say("Moonraker has not started the job queue"))
            elif verb == "pause":
                await queue.pause_queue()
            elif verb == "clear":
                await queue.delete_job([], all=True)
            else:
                ids = [id_ for id_, one in waiting.items() if job in (id_, str(one))]
                if not ids:
                    raise PrinterError(say("{job} is not in the job queue", job=job))
                await queue.delete_job(ids[:1])
        except self._server.error as error:
            raise PrinterError(str(error)) from None
        now = self.job_queue
        return say(
            "the job queue is {state}, {count} jobs wait", state=now.state, count=now.waiting
        )

    async def machine(self, action: str) -> None:
        """`reboot` or `shutdown` of the computer, which refuses where it cannot (containers)."""
        transport = self._server.lookup_component("internal_transport")
        try:
            await transport.call_method(f"machine.{action}")
        except self._server.error as error:
            raise PrinterError(str(error)) from None

    async def _ask(self, method: str, *args: Any) -> None:
        apis = self._server.lookup_component("klippy_apis")
        try:
            await getattr(apis, method)(*args)
        except self._server.error as error:
            said = plain_words(" ".join(str(error).split()))[:LONGEST_MESSAGE]
            raise (KlippyEnded if said == ENDED else PrinterError)(said) from None


def _feeds_printer(name: str, device: Any) -> bool:
    """Whether a device of Moonraker's [power] is the printer's own."""
    services = [str(one).lower() for one in getattr(device, "bound_services", ())]
    return name.lower() == "printer" or any(one.startswith("klipper") for one in services)
