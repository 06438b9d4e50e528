"""The printer, live: Klippy's diffs (`subscription`), merged into snapshots on demand. What one can
tell it to do stands in `verbs`.

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
    Optional,
    Set,
    Tuple,
)

from ..runtime.clock import Clock
from ..runtime.loose import as_dict, as_float, as_text
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
from .verbs import LONGEST_MESSAGE, PrinterError, Verbs

# What Klippy is asked anew before something is handed to it that must not reach somebody's job or
# script: its own news may be a quarter of a second old.
LOOKED_AT = ("print_stats", "virtual_sdcard", "pause_resume", "manual_probe", "bed_screws")

# What tells how far a job is.
_COURSE = frozenset(("print_stats", "virtual_sdcard", "display_status", "gcode_move"))

Listener = Callable[[Snapshot, Snapshot], None]
Watcher = Callable[[KlippyState, str, Job, float], None]


class Printer(Verbs):
    """Reads the printer through Moonraker's components, and tells it what to do."""

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
        super().__init__(server, clock)
        self._live = live
        self._notices = notices
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
        self._leaving = False
        self._watchers: List[Watcher] = []
        self._listeners: List[Listener] = []
        self._waiters: List[Tuple[Callable[[Snapshot], bool], "asyncio.Future[bool]"]] = []
        self._measure = Measure(clock, lambda: self._changed(news=True))
        self.console = Console(clock)
        self._fan_asked = (0.0, float("-inf"))  # what M106 asked for last, and when
        told = Told(
            self._on_begun,
            self._on_diff,
            self._knows,
            self._at_rest,
            self._on_lost,
            self._on_doubt,
        )
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

    def leave(self) -> None:
        """We end, and Moonraker will let go of Klippy: that is no end of Klippy's."""
        self._leaving = True

    def _on_klippy_disconnect(self) -> None:
        if self._leaving:
            return
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

    def _at_rest(self) -> bool:
        state = as_text(self._objects.get("print_stats", {}).get("state"))
        targets = (as_float(fields.get("target")) for fields in self._objects.values())
        return state not in ("printing", "paused") and not any(targets)

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
                self._notices.log_fault("watcher", "A watcher of the printer failed", error)

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
                self._notices.log_fault("listener", "A listener for printer changes failed", error)
