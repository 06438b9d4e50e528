"""A Moonraker process: Moonraker's own klippy_connection, klippy_apis, job_state and job_queue, and
as little as possible in place of the rest.

Its life: `start`, then `restart` (/server/restart: in the same process) or `kill` (SIGKILL).
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from moonraker import common
from moonraker.common import RequestType, WebRequest
from moonraker.components import job_queue as real_queue
from moonraker.components import klippy_connection as real_connection
from moonraker.components.job_queue import JobQueue
from moonraker.components.job_state import JobState
from moonraker.components.klippy_apis import KlippyAPI
from moonraker.components.klippy_connection import KlippyConnection
from moonraker.eventloop import EventLoop
from moonraker.utils.exceptions import ServerError

from components.runtime.ground import Ground
from components.tecmedhub import TecMedHub

from .klippy import Klippy
from .loop import Process, VirtualLoop
from .machine import Machine, MachineClock, Outlet, VirtualWorker
from .witness import Witness

BY: contextvars.ContextVar[str] = contextvars.ContextVar("by", default="plugin")
DELETES: contextvars.ContextVar[bool] = contextvars.ContextVar("deletes", default=False)
SPOOLS = range(1, 20)  # what Spoolman knows
LOGGERS = ("tecmedhub", "tornado.application")


class Config:
    """A section of moonraker.conf."""

    def __init__(self, server: Any, options: dict[str, Any]) -> None:
        self._server = server
        self._options = options

    def get_server(self) -> Any:
        return self._server

    def get_options(self) -> list[str]:
        return [*self._options]

    def get_name(self) -> str:
        return "tecmedhub"

    def get(self, name: str, default: Any = None, **_: Any) -> Any:
        return self._options.get(name, default)

    getboolean = getfloat = getint = getpath = get

    def gettemplate(self, name: str, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(render=lambda: self._options[name])


class Server:
    """Moonraker's server as its components see it."""

    error = ServerError

    def __init__(self, process: Process, folder: Path, witness: Witness) -> None:
        self.process = process
        self._folder = folder
        self._witness = witness
        self._loop = EventLoop()
        self.components: dict[str, Any] = {}
        self.endpoints: dict[str, tuple[RequestType, Callable[..., Any]]] = {}
        self.warnings: dict[str, str] = {}
        self._events: dict[str, list[Callable[..., Any]]] = {}
        self.running = False

    def get_event_loop(self) -> EventLoop:
        return self._loop

    def get_app_args(self) -> dict[str, Any]:
        return {
            "data_path": str(self._folder),
            "log_file": str(self._folder / "logs" / "moonraker.log"),
            "software_version": "v0.11.0-1-g0000000",
            "config_file": str(self._folder / "config" / "moonraker.conf"),
            "instance_uuid": "0",
        }

    def get_app_arg(self, name: str, default: Any = None) -> Any:
        return self.get_app_args().get(name, default)

    def get_host_info(self) -> dict[str, Any]:
        return {"hostname": "printer", "address": "0.0.0.0", "port": 7125, "ssl_port": 7130}

    def is_running(self) -> bool:
        return self.running

    def lookup_component(self, name: str, *default: Any) -> Any:
        if name in self.components:
            return self.components[name]
        if default:
            return default[0]
        raise ServerError(f"Component ({name}) not found")

    load_component = None

    def register_component(self, name: str, component: Any) -> None:
        self.components[name] = component

    def register_endpoint(
        self, path: str, methods: Any, handler: Callable[..., Any], *_: Any, **__: Any
    ) -> None:
        kinds = RequestType(0)
        for kind in methods if isinstance(methods, list) else [methods]:
            kinds |= RequestType[kind] if isinstance(kind, str) else kind
        self.endpoints[path] = (kinds, handler)

    def register_notification(self, *_: Any, **__: Any) -> None:
        pass

    def register_remote_method(self, name: str, call: Callable[..., Any]) -> None:
        self.components["klippy_connection"].register_remote_method(name, call)

    def register_event_handler(self, event: str, call: Callable[..., Any]) -> None:
        self._events.setdefault(event, []).append(call)

    def send_event(self, event: str, *args: Any) -> asyncio.Future[None]:
        done = self._loop.create_future()
        if event in self._events:
            self._loop.register_callback(self._run_event, done, event, *args)
        else:
            done.set_result(None)
        return done

    async def _run_event(self, done: asyncio.Future[None], event: str, *args: Any) -> None:
        waiting = []
        for call in self._events[event]:
            try:
                result = call(*args)
            except Exception as error:
                self._witness.note("moonraker", "handler failed", event=event, error=repr(error))
            else:
                if result is not None:
                    waiting.append(result)
        if waiting:
            await asyncio.gather(*waiting, return_exceptions=True)
        if not done.done():
            done.set_result(None)

    def add_warning(self, text: str, warn_id: str | None = None, **_: Any) -> str:
        self.warnings[warn_id or text] = text
        return warn_id or text

    def remove_warning(self, warn_id: str) -> None:
        self.warnings.pop(warn_id, None)

    def add_log_rollover_item(self, *_: Any, **__: Any) -> None:
        pass

    # A client's view

    async def request(self, path: str, kind: str = "POST", by: str = "person", **args: Any) -> Any:
        """As a web interface asks; `by` is who has begun it."""
        BY.set(by)
        kinds, handler = self.endpoints[path]
        assert RequestType[kind] & kinds
        user = SimpleNamespace(username=by)
        return await handler(WebRequest(path, args, RequestType[kind], user=user))

    async def call_method(self, name: str, arguments: Any = None, **more: Any) -> Any:
        """As Moonraker's internal transport: `server.history.list`, `machine.reboot`."""
        for path, (kinds, handler) in self.endpoints.items():
            plain = path.strip("/").replace("/", ".")
            for kind in RequestType:
                head, _, tail = plain.rpartition(".")
                names = (plain, f"{head}.{(kind.name or '').lower()}_{tail}")
                if kind & kinds and name in names:
                    return await handler(WebRequest(path, {**(arguments or {}), **more}, kind))
        raise ServerError(f"No method {name} available")


class Connection(KlippyConnection):
    """Moonraker's own, without a socket: messages go over as they are."""

    def __init__(self, config: Any, klippy: Klippy, witness: Witness) -> None:
        super().__init__(config)
        self._klippy = klippy
        self._witness = witness
        self.process = config.get_server().process

    async def _do_connect(self) -> bool:
        async with self.connection_mutex:
            while self.writer is None:
                await asyncio.sleep(real_connection.INIT_TIME)
                if self.closing or not self.server.is_running():
                    return False
                if self._klippy.accept(self):
                    self.writer = _Writer()  # type: ignore[assignment]
            return await self._init_klippy_connection()

    async def _get_service_info(self, process_id: int) -> None:
        pass

    def _save_path_info(self) -> None:
        pass

    async def _write_request(self, request: Any) -> None:
        if self.writer is None or self.closing:
            request.set_exception(ServerError("Klippy Host not connected", 503))
        else:
            self._klippy.receive(self, request.to_dict(), BY.get())

    def heard(self, message: dict[str, Any]) -> None:
        if self.writer is not None and not self.closing:
            self._process_command(message)

    def lost(self) -> None:
        if not self.closing:
            self.event_loop.create_task(self.close())


class _Request(real_connection.KlippyRequest):  # type: ignore[misc]
    """Moonraker takes the object's address for its id, which depends on what was freed before."""

    ids = itertools.count(1)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.id = next(self.ids)


class _Writer:
    def close(self) -> None:
        pass

    async def wait_closed(self) -> None:
        pass


class Apis(KlippyAPI):
    async def start_print(
        self, filename: str, wait_klippy_started: bool = False, user: Any = None
    ) -> str:
        if wait_klippy_started:  # which only the job queue asks for
            BY.set("queue")
        return await super().start_print(filename, wait_klippy_started, user)


class History:
    """Moonraker's history.py with a list for its database."""

    def __init__(self, server: Server, kept: list[dict[str, Any]], clock: MachineClock) -> None:
        self._server = server
        self._kept = kept
        self._clock = clock
        self._current: dict[str, Any] | None = None
        on = server.register_event_handler
        on("job_state:state_changed", self._changed)
        on("server:klippy_shutdown", lambda: self._finish("klippy_shutdown"))
        on("server:klippy_disconnect", lambda: self._finish("klippy_disconnect"))
        server.register_endpoint("/server/history/list", ["GET"], self._list)

    def component_init(self) -> None:
        for job in self._kept:
            if job["status"] == "in_progress":
                job["status"] = "interrupted"

    def on_exit(self) -> None:
        self._finish("server_exit")

    async def _list(self, request: Any) -> dict[str, Any]:
        limit = request.get_int("limit", 50)
        jobs = [dict(job) for job in self._kept]
        if request.get_str("order", "desc") == "desc":
            jobs.reverse()
        return {"count": len(jobs), "jobs": jobs[:limit]}

    def _changed(self, event: Any, old: dict[str, Any], new: dict[str, Any]) -> None:
        if event.name == "STARTED":
            self._finish("cancelled", old)
            now = self._clock.time()
            self._current = {
                "job_id": f"{len(self._kept) + 1:06X}",
                "filename": new.get("filename", ""),
                "status": "in_progress",
                "start_time": now,
                "end_time": None,
                "print_duration": 0.0,
                "total_duration": 0.0,
                "filament_used": 0.0,
                "metadata": {},
            }
            self._kept.append(self._current)
            self._tell("added")
        elif event.name == "COMPLETE":
            self._finish("completed", new)
        elif event.name == "ERROR":
            self._finish("error", new)
        elif event.name in ("CANCELLED", "STANDBY"):
            self._finish("cancelled", old)

    def _finish(self, status: str, stats: dict[str, Any] | None = None) -> None:
        job, self._current = self._current, None
        if job is None:
            return
        job["status"], job["end_time"] = status, self._clock.time()
        for name in ("print_duration", "total_duration", "filament_used"):
            job[name] = (stats or {}).get(name, 0.0)
        self._tell("finished", job)

    def _tell(self, action: str, job: dict[str, Any] | None = None) -> None:
        told = dict(job or self._current or {})
        self._server.send_event("history:history_changed", {"action": action, "job": told})


class Files:
    """Moonraker's file_manager over three folders."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._server = server
        self._roots = {name: str(folder / name) for name in ("gcodes", "config", "logs")}

    def get_directory(self, root: str = "gcodes") -> str:
        return self._roots.get(root, "")

    def register_directory(self, root: str, path: str | None, **_: Any) -> bool:
        self._roots[root] = path or ""
        return True

    def get_file_metadata(self, name: str) -> dict[str, Any]:
        return {"estimated_time": 60.0, "filename": name}

    def check_file_exists(self, root: str, name: str) -> bool:
        return (Path(self._roots[root]) / name).is_file()

    def validate_gcode_path(self, path: str) -> None:
        pass

    async def finalize_upload(self, form: dict[str, Any]) -> dict[str, Any]:
        target = Path(self._roots["gcodes"]) / form["path"] / form["filename"]
        shutil.move(form["tmp_file_path"], target)
        return {}

    async def delete_file(self, path: str) -> None:
        root, _, name = path.partition("/")
        (Path(self._roots[root]) / name).unlink()

    def saved(self, root: str, name: str) -> None:
        """Somebody saved a file in the web interface."""
        stat = (Path(self._roots[root]) / name).stat()
        item = {"root": root, "path": name, "size": stat.st_size, "modified": stat.st_mtime}
        event = {"action": "create_file", "item": item}
        self._server.send_event("file_manager:filelist_changed", event)


class QueuedJobs(dict[str, Any]):
    """The entries of Moonraker's job queue; who takes one out is noted."""

    def __init__(self, witness: Witness) -> None:
        super().__init__()
        self._witness = witness

    def pop(self, ident: str, default: Any = None) -> Any:  # type: ignore[override]
        if ident in self:
            what = "unqueued" if DELETES.get() else "begun from the queue"
            self._note(what, ident)
        return super().pop(ident, default)

    def clear(self) -> None:
        for ident in self:
            self._note("unqueued", ident, all=True)
        super().clear()

    def _note(self, what: str, ident: str, **more: Any) -> None:
        self._witness.note("moonraker", what, file=str(self[ident]), id=ident, by=BY.get(), **more)


class Spoolman:
    """Moonraker's spoolman.py: which spool is active, and a way to Spoolman itself, which takes its
    time."""

    def __init__(
        self, server: Server, kept: dict[str, Any], witness: Witness, takes: float
    ) -> None:
        self._server = server
        self._kept = kept
        self._witness = witness
        self._takes = takes
        both = ["GET", "POST"]
        server.register_endpoint("/server/spoolman/spool_id", both, self._spool_id)
        server.register_endpoint("/server/spoolman/proxy", ["POST"], self._proxy)

    @property
    def spool_id(self) -> int | None:
        found: int | None = self._kept.get("spool")
        return found

    async def _spool_id(self, request: WebRequest) -> dict[str, Any]:
        if request.get_request_type() == RequestType.POST:
            ident = request.get_int("spool_id", None)
            if ident != self.spool_id:
                self._kept["spool"] = ident
                self._witness.note("moonraker", "spool", id=ident or 0, by=BY.get())
                self._server.send_event("spoolman:active_spool_set", {"spool_id": ident})
        return {"spool_id": self.spool_id}

    async def _proxy(self, request: WebRequest) -> dict[str, Any]:
        ident = int(request.get_str("path").rpartition("/")[2])
        await asyncio.sleep(self._takes)
        if ident not in SPOOLS:
            raise ServerError("Not Found", 404)
        return {"filament": {"material": f"Kind{ident}", "weight": 1000}, "remaining_weight": 250}


class PowerDevice:
    """One of Moonraker's [power]; it is not locked while printing."""

    bound_services = ("klipper",)

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet

    @property
    def state(self) -> str:
        return self._outlet.state

    async def process_request(self, request: str, force: bool = False) -> str:
        if not self._outlet.works:
            await asyncio.sleep(1.0)
            raise ServerError("Error requesting device state")
        return await self._outlet.switch(request)


class _FaultHandler(logging.Handler):
    """An exception that nobody expected is a fault, wherever it is caught."""

    def __init__(self, witness: Witness) -> None:
        super().__init__(logging.WARNING)
        self._witness = witness

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and record.levelno >= logging.ERROR:
            text = f"{record.getMessage()}"
            self._witness.note("moonraker", "fault", text=text, error=repr(error))


class Moonraker:
    """The service: `options` are those of [tecmedhub], `http` is what the hub is reached by."""

    def __init__(
        self,
        loop: VirtualLoop,
        machine: Machine,
        klippy: Klippy,
        witness: Witness,
        folder: Path,
        options: dict[str, Any],
        rng: Any,
        http: Any,
    ) -> None:
        self._loop = loop
        self._machine = machine
        self._klippy = klippy
        self._witness = witness
        self._folder = folder
        self._rng = rng
        self._http = http
        self.options = options
        self.queue_options: dict[str, Any] = {}
        self.jobs: list[dict[str, Any]] = []
        self.spoolman = 0.0  # seconds until it answers; 0: there is none
        self._kept: dict[str, Any] = {}  # in its own database
        self._ids = itertools.count(1)
        self.process: Process | None = None
        self.server: Server | None = None
        self.plugin: TecMedHub | None = None
        self._leaving = False

    def start(self) -> None:
        if self.process is not None:
            return
        self.process = Process("moonraker")
        self._leaving = False
        self._witness.note("moonraker", "starts")
        self.process.context.run(self._build)

    def kill(self) -> None:
        """SIGKILL: the connections are closed by the system."""
        process, server = self.process, self.server
        if process is None or server is None:
            return
        self._witness.note("moonraker", "is killed")
        self._klippy.leave(server.components["klippy_connection"])
        self._http.died(process)
        self._bury(process, server)
        self._machine.disk.let_go()

    async def restart(self) -> None:
        """/server/restart: the last words, then a new server in the same process."""
        process, server = self.process, self.server
        if process is None or server is None or self._leaving:
            return
        self._leaving = True
        self._witness.note("moonraker", "restarts")
        work = self._loop.create_task(self._stop(server), context=process.context.copy())
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(work), 20.0)
        if self.process is not process:
            return  # killed meanwhile
        self._klippy.leave(server.components["klippy_connection"])
        self._bury(process, server)
        self.start()

    def _bury(self, process: Process, server: Server) -> None:
        self._loop.kill(process, server, self.plugin)
        self.process = self.server = self.plugin = None
        for name in LOGGERS:
            logger = logging.getLogger(name)
            logger.handlers.clear()
            logger.filters.clear()

    async def _stop(self, server: Server) -> None:
        server.running = False
        for component in list(server.components.values()):
            with contextlib.suppress(Exception):
                result = component.on_exit() if hasattr(component, "on_exit") else None
                if result is not None:
                    await result
        await asyncio.sleep(0.1)
        with contextlib.suppress(Exception):
            await asyncio.wait_for(server.components["klippy_connection"].close(True), 2.0)
        if self.plugin is not None:
            with contextlib.suppress(Exception):
                await self.plugin.close()
        await asyncio.sleep(0.001)

    def _build(self) -> None:
        assert self.process is not None
        server = Server(self.process, self._folder, self._witness)
        self.server = server
        clock = MachineClock(self._machine)
        shim = SimpleNamespace(time=clock.time)
        real_queue.time = real_connection.time = shim
        real_connection.KlippyRequest = _Request  # type: ignore[misc]
        for state in common.KlippyState:
            state.set_message("")
        add = server.components.__setitem__
        add("klippy_connection", Connection(Config(server, {}), self._klippy, self._witness))
        add("file_manager", Files(server, self._folder))
        add("websockets", SimpleNamespace(get_count=lambda: 0))
        add("webcam", SimpleNamespace(get_webcams=dict))
        add("http_client", SimpleNamespace(client=self._http))
        add("internal_transport", SimpleNamespace(call_method=server.call_method))
        add("klippy_apis", Apis(Config(server, {})))
        add("job_state", JobState(Config(server, {})))
        add("job_queue", self._make_queue(server))
        add("history", History(server, self.jobs, clock))
        if self.spoolman:
            add("spoolman", Spoolman(server, self._kept, self._witness, self.spoolman))
        devices = {"printer": PowerDevice(self._machine.outlet)}
        add("power", SimpleNamespace(devices=devices))
        for action in ("reboot", "shutdown"):
            server.register_endpoint(f"/machine/{action}", ["POST"], self._machine_action(action))
        ground = Ground(
            clock,
            self._rng,
            lambda name: VirtualWorker(name, self._machine),
            self._machine.disk.connect,
            lambda _server: self._http,
        )
        self.plugin = TecMedHub(Config(server, self.options), ground)
        add("tecmedhub", self.plugin)
        logging.getLogger("tecmedhub").addHandler(_FaultHandler(self._witness))
        assert self.process is not None
        self._loop.create_task(self._init(server), context=self.process.context.copy())

    async def _init(self, server: Server) -> None:
        await asyncio.sleep(0.3)
        server.components["history"].component_init()
        try:
            assert self.plugin is not None
            await self.plugin.component_init()
        except Exception as error:
            self._witness.note("moonraker", "fault", text="component_init", error=repr(error))
        server.running = True
        server.components["klippy_connection"].connect()

    def _make_queue(self, server: Server) -> JobQueue:
        queue = JobQueue(Config(server, self.queue_options))
        real_queue.QueuedJob.__init__ = lambda job, name, user=None: self._queued_job(  # type: ignore[method-assign]
            job, name, user
        )
        queue.queued_jobs = QueuedJobs(self._witness)
        start, add, delete = queue.start_queue, queue.queue_job, queue.delete_job

        async def start_queue() -> None:
            self._witness.note("moonraker", "queue started", by=BY.get())
            await start()

        async def queue_job(filenames: Any, *args: Any, **options: Any) -> None:
            before = set(queue.queued_jobs)
            await add(filenames, *args, **options)
            for ident, job in queue.queued_jobs.items():
                if ident not in before:
                    self._witness.note("moonraker", "queued", file=str(job), id=ident, by=BY.get())

        async def delete_job(*args: Any, **options: Any) -> None:
            token = DELETES.set(True)
            try:
                await delete(*args, **options)
            finally:
                DELETES.reset(token)

        queue.start_queue = start_queue  # type: ignore[method-assign]
        queue.queue_job = queue_job  # type: ignore[method-assign]
        queue.delete_job = delete_job  # type: ignore[method-assign]
        return queue

    def _queued_job(self, job: Any, filename: str, user: Any = None) -> None:
        job.filename, job._user = filename, user
        job.job_id = f"{next(self._ids):016X}"
        job.time_added = self._machine.wall()

    def _machine_action(self, action: str) -> Callable[..., Any]:
        async def act(_request: Any) -> str:
            self._witness.note("machine", action)
            return "ok"

        return act


def write_file(path: Path, text: str, when: float) -> None:
    """A file whose times are the story's."""
    path.write_text(text, encoding="utf-8")
    os.utime(path, (when, when))
