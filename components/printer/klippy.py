"""The printer, live: one subscription at Klippy, re-made at each `klippy_ready`, merged into
snapshots on demand.

Other rooms see `Printer` only. Klippy's diffs arrive about four times a second; merging them is
all that is done per diff, a `Snapshot` is made when somebody looks or when something changed that
is news (`snapshot.NEWS`).
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
    Tuple,
    TypeVar,
)

from ..runtime.clock import Clock
from ..runtime.loose import as_dict, as_float, as_int, as_text
from ..runtime.notices import Notices
from ..runtime.supervisor import Supervisor
from ..settings.model import LiveSettings
from .snapshot import (
    FileFacts,
    KlippyState,
    Objects,
    Snapshot,
    heater_limits,
    macros_of,
    news_of,
    read_snapshot,
    subscription,
)

SUBSCRIBE_RETRY = 5.0  # seconds
LONGEST_MESSAGE = 1000  # characters of Klippy's message; printer.cfg errors run to some hundred

T = TypeVar("T")
Listener = Callable[[Snapshot, Snapshot], None]


class PrinterError(Exception):
    """What Klippy or Moonraker said when it refused, in its own words."""


class Printer:
    """Reads the printer through Moonraker's components and tells it what to do (`verbs`)."""

    def __init__(
        self,
        server: Any,
        supervisor: Supervisor,
        notices: Notices,
        clock: Clock,
        live: LiveSettings,
    ) -> None:
        self._server = server
        self._live = live
        self._supervisor = supervisor
        self._notices = notices
        self._clock = clock
        self._objects: Dict[str, Dict[str, Any]] = {}
        self._news: Dict[str, FrozenSet[str]] = {}  # of each of them, the fields that are news
        self._limits: Dict[str, Tuple[float, float]] = {}
        self._macros: FrozenSet[str] = frozenset()
        self._facts = FileFacts()
        self._klippy = KlippyState.DISCONNECTED
        self._message = "Klippy is not connected"
        self._cached: Optional[Snapshot] = None
        self._announced = Snapshot()
        self._listeners: List[Listener] = []
        self._waiters: List[Tuple[Callable[[Snapshot], bool], "asyncio.Future[bool]"]] = []
        self._generation = 0  # of the subscription that is being made or in place
        self._subscriber = _Subscriber(self._on_diff)
        # Diffs that came before we had the answer which they follow; None while nothing was asked.
        self._early: Optional[List[Objects]] = None

    # Life cycle: Moonraker's events

    def register(self) -> None:
        """Attach to Moonraker's events (from the component's constructor)."""
        on = self._server.register_event_handler
        on("server:klippy_identified", self._on_klippy_state)
        on("server:klippy_started", self._on_klippy_started)
        on("server:klippy_ready", self._on_klippy_ready)
        on("server:klippy_shutdown", self._on_klippy_state)
        on("server:klippy_disconnect", self._on_klippy_disconnect)
        on("file_manager:metadata_processed", self._on_metadata)

    def _on_klippy_started(self, state: Any) -> None:
        # During this event the connection itself still says "startup", and in an error no other
        # event follows.
        connection = self._server.lookup_component("klippy_connection")
        self._set_klippy(str(state), connection.state_message)
        if self._klippy is KlippyState.SHUTDOWN:
            self._subscribe_soon()  # no klippy_ready will come, and temperatures are worth seeing

    def _on_klippy_state(self) -> None:
        connection = self._server.lookup_component("klippy_connection")
        self._set_klippy(str(connection.state), connection.state_message)

    def _on_klippy_ready(self) -> None:
        self._on_klippy_state()
        self._subscribe_soon()

    def _on_klippy_disconnect(self) -> None:
        self._generation += 1
        self._objects, self._news = {}, {}
        self._limits = {}
        self._macros = frozenset()
        self._set_klippy(KlippyState.DISCONNECTED.value, "Klippy is not connected")

    def _set_klippy(self, state: str, message: Any) -> None:
        try:
            self._klippy = KlippyState(state.lower())
        except ValueError:
            self._klippy = KlippyState.STARTUP
        if self._klippy is KlippyState.READY and not self._objects:
            # A job started before everyone has subscribed would be one that Moonraker never heard
            # of: ready is what we have seen, not what we were told.
            self._klippy = KlippyState.STARTUP
        self._message = " ".join(as_text(message).split())[:LONGEST_MESSAGE]
        self._changed(news=True)

    # The subscription

    def _subscribe_soon(self) -> None:
        self._generation += 1
        self._supervisor.spawn("subscription", self._subscribe(self._generation))

    async def _subscribe(self, generation: int) -> None:
        apis = self._server.lookup_component("klippy_apis")
        while generation == self._generation:
            early = self._early = []
            try:
                available = await self._answer(apis.get_object_list())
                if generation != self._generation:
                    return
                asked = await self._answer(apis.query_objects({"configfile": ["settings"]}))
                status = await self._answer(
                    apis.subscribe_from_transport(subscription(available), self._subscriber)
                )
            except (asyncio.TimeoutError, self._server.error) as error:
                said = str(error) or f"no answer within {self._live.now.timeouts.moonraker:g} s"
                self._notices.log_once(
                    f"subscription: {said}",
                    f"Klippy refused the status subscription, asking again: {said}",
                )
                await self._clock.sleep(SUBSCRIBE_RETRY)
                continue
            if generation != self._generation:
                return
            self._limits = heater_limits(as_dict(as_dict(asked.get("configfile")).get("settings")))
            self._macros = macros_of(available)
            self._objects = {name: dict(as_dict(fields)) for name, fields in status.items()}
            self._news = news_of(self._objects)
            self._early = None
            for diff in early:
                self._merge(diff)
            self._read_facts()
            self._on_klippy_state()
            return

    def _on_diff(self, diff: Objects, _eventtime: float) -> None:
        """Take one of Klippy's diffs. Called in the middle of Moonraker's own work with it, which
        an exception would end; and four times a second, so what is no news ends here.
        """
        if not diff:
            return  # it was of what others subscribed to
        try:
            if self._early is not None:
                self._early.append(diff)
            news = self._merge(diff)
            self._cached = None
            if news or self._waiters:
                self._heard(diff, news)
        except Exception as error:
            self._notices.log_fault("diff", "A status of Klippy's could not be read", error)

    def _merge(self, diff: Objects) -> bool:
        """Whether it holds something that the hub should hear at once."""
        news = False
        for name, fields in diff.items():
            known = self._objects.get(name)
            if known is not None:
                known.update(fields)
                news = news or not self._news[name].isdisjoint(fields)
        return news

    def _heard(self, diff: Objects, news: bool) -> None:
        if "filename" in diff.get("print_stats", {}):
            self._read_facts()
        if news and "webhooks" in diff:
            self._on_klippy_state()
        else:
            self._changed(news)

    async def _answer(self, question: Awaitable[T]) -> T:
        """Klippy's answer, within `timeouts.moonraker` seconds."""
        return await asyncio.wait_for(question, self._live.now.timeouts.moonraker)

    def _on_metadata(self, *_args: Any) -> None:
        self._read_facts()  # the scan of a fresh upload may end after its print began
        self._cached = None

    def _read_facts(self) -> None:
        filename = as_text(self._objects.get("print_stats", {}).get("filename"))
        if not filename:
            self._facts = FileFacts()
            return
        manager = self._server.lookup_component("file_manager")
        self._facts = read_facts(filename, as_dict(manager.get_file_metadata(filename)))

    # Looking and waiting

    @property
    def snapshot(self) -> Snapshot:
        if self._cached is None:
            self._cached = read_snapshot(
                self._klippy,
                self._message,
                {name: dict(fields) for name, fields in self._objects.items()},
                self._limits,
                self._macros,
                self._facts,
            )
        return self._cached

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

    # Verbs: each raises PrinterError

    async def gcode(self, script: str) -> None:
        """Run a script; returns when Klippy has finished it, however long that takes."""
        await self._ask("run_gcode", script)

    async def emergency_stop(self) -> None:
        """Stop at once, past every queue, through Klippy's own endpoint (never M112, which would
        wait its turn).
        """
        await self._ask("emergency_stop")

    async def pause(self) -> None:
        await self._ask("pause_print")

    async def resume(self) -> None:
        await self._ask("resume_print")

    async def cancel(self) -> None:
        await self._ask("cancel_print")

    async def firmware_restart(self) -> None:
        await self._ask("do_restart", "FIRMWARE_RESTART")

    async def start_print(self, filename: str) -> None:
        """Start a file of the gcodes root; its name has been checked, since Klippy's call escapes
        only quotes.
        """
        if any(ord(c) < 32 or c == '"' for c in filename):
            raise PrinterError(f"The name {filename!r} cannot be printed: rename the file.")
        await self._ask("start_print", filename)

    async def queue_print(self, filename: str) -> None:
        """Put a file into Moonraker's job queue."""
        queue = self._server.lookup_component("job_queue")
        try:
            await queue.queue_job(filename)
        except self._server.error as error:
            raise PrinterError(str(error)) from None

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
            raise PrinterError(" ".join(str(error).split())[:LONGEST_MESSAGE]) from None


class _Subscriber:
    """What Moonraker's `klippy_connection` needs of an `APITransport` (moonraker/common.py), as its
    `mqtt` and `simplyprint` are.

    The callback of `klippy_apis.subscribe_objects` would be run in a task of its own for each diff,
    with whatever any component subscribed to.
    """

    def __init__(self, send_status: Callable[[Objects, float], None]) -> None:
        self.send_status = send_status


def read_facts(filename: str, metadata: Mapping[str, Any]) -> FileFacts:
    return FileFacts(
        filename=filename,
        estimated_time=max(as_float(metadata.get("estimated_time"), 0.0) or 0.0, 0.0),
        gcode_start_byte=as_int(metadata.get("gcode_start_byte"), 0) or 0,
        gcode_end_byte=as_int(metadata.get("gcode_end_byte"), 0) or 0,
        layer_count=as_int(metadata.get("layer_count"), 0) or 0,
        filament_total=as_float(metadata.get("filament_total"), 0.0) or 0.0,
        filament_weight=as_float(metadata.get("filament_weight_total"), 0.0) or 0.0,
        thumbnail=bool(metadata.get("thumbnails")),
    )
