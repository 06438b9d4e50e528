"""A house for the web to look into: real rooms where they need no printer and no hub, stand-ins for
the rest.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from components.commands.offers import offers
from components.files.cleanup import Removal
from components.files.gcode_root import OnDisk
from components.hub.client import Reply
from components.hub.line import LineQuality
from components.hub.link import Link
from components.hub.outcomes import Failure
from components.hub.protocol import Features, Generation
from components.net.connect import Connector
from components.net.trust import Trust
from components.printer.snapshot import Heater, Job, KlippyState, Snapshot
from components.runtime.identity import Identity
from components.runtime.redaction import Redactor
from components.runtime.supervisor import Supervisor
from components.runtime.worker import Worker
from components.settings.conf import ConfValues
from components.settings.model import LiveSettings
from components.settings.override import Override
from components.store import journal
from components.store.database import Database
from components.store.journal import Journal
from components.web.endpoints import Endpoints
from components.web.pages.base import Pages
from components.web.pages.cameras import CameraPages
from components.web.pages.charts import Charts
from components.web.pages.commands import CommandPages
from components.web.pages.files import FilePages
from components.web.pages.hub import HubPages
from components.web.pages.inside import InsidePages
from components.web.pages.printer import PrinterPages
from components.web.pages.settings import SettingsPages
from components.web.pages.trial import TrialPages
from tests.unit.fakes import Board, FakeClock

VERSION = "5.0.0"
TOKEN = "printer_5f3759df_secret"
JPEG = b"\xff\xd8 a picture \xff\xd9"
PREFIX = "/server/tecmedhub/"


class FakeServer:
    """Moonraker as a component sees it: what was registered, and what was sent."""

    def __init__(self, data_path: Path) -> None:
        self.data_path = data_path
        self.endpoints: dict[str, tuple[list[str], Callable[..., Any], dict[str, Any]]] = {}
        self.notifications: dict[str, str] = {}
        self.remote_methods: dict[str, Callable[..., Any]] = {}
        self.sent: list[tuple[str, Any]] = []
        self.clients = 1

    def register_endpoint(
        self, path: str, methods: list[str], handler: Callable[..., Any], **options: Any
    ) -> None:
        self.endpoints[path] = (methods, handler, options)

    def register_notification(self, event: str, name: str) -> None:
        self.notifications[event] = name

    def register_remote_method(self, name: str, method: Callable[..., Any]) -> None:
        self.remote_methods[name] = method

    def send_event(self, event: str, *args: Any) -> None:
        self.sent.append((event, args[0]))

    def lookup_component(self, name: str) -> Any:
        assert name == "websockets"
        return SimpleNamespace(get_count=lambda: self.clients)

    def get_app_args(self) -> dict[str, Any]:
        return {"data_path": str(self.data_path), "software_version": "v0.11.0-3-gabcdef"}

    async def call(self, method: str, name: str, user: str = "ana", **args: Any) -> Any:
        """As Moonraker would: only a registered method reaches the handler."""
        methods, handler, _ = self.endpoints[PREFIX + name]
        assert method in methods, f"{method} {name} is not registered"
        request = SimpleNamespace(
            get_action=lambda: method,
            get_args=lambda: args,
            get_current_user=lambda: SimpleNamespace(username=user) if user else None,
            ip_addr="10.0.0.7",
        )
        return await handler(request)


class FakePrinter:
    def __init__(self) -> None:
        self.snapshot = Snapshot(
            klippy=KlippyState.READY,
            job=Job("printing", "pieza.gcode", "", 0.42, 1200.0, 1300.0, 812.0, 12, 60),
            heaters={
                "extruder": Heater("extruder", 209.96, 210.0, 0.4, 0.0, 280.0),
                "heater_bed": Heater("heater_bed", 60.1, 60.0, 0.2, 0.0, 120.0),
            },
            sensors={"temperature_sensor raspberry_pi": 51.2},
        )
        self.power_devices: list[str] = []
        self.listeners: list[Callable[..., None]] = []

    def subscribe(self, listener: Callable[..., None]) -> None:
        self.listeners.append(listener)


class FakeReporter:
    def __init__(self, house: House) -> None:
        self._house = house
        self.listeners: list[Callable[..., None]] = []
        self.last_reasons: set[str] = {"printer"}
        self.last_body: dict[str, Any] | None = None
        self.reply = Reply(True, "", {"success": True}, None, 200, None, 0.08, 1800)

    def subscribe(self, listener: Callable[..., None]) -> None:
        self.listeners.append(listener)

    async def send(self) -> Reply:
        self.last_body = {
            "action": "update_printer",
            "token": self._house.live.now.printer_token,
            "name": "Aula 3",
            "image": "data:image/jpeg;base64," + "A" * 4000,
        }
        for listener in self.listeners:
            listener(self.last_body, self.reply)
        return self.reply


class FakeClient:
    def __init__(self) -> None:
        self.features = Features(command_results=True)
        self.line = LineQuality()
        self.generation = Generation.ONE
        self.clock_skew: float | None = 0.4
        self.origin = ("http", "127.0.0.1", 80)
        self.polls = Reply(True, "", {"commands": []})
        self.listing = Reply(True, "", {"files": []})

    async def fetch_commands(self) -> Reply:
        return self.polls

    async def list_files(self) -> tuple[Reply, tuple[Any, ...]]:
        return self.listing, ()


class FakeCommands:
    def __init__(self) -> None:
        self.remote_on = True
        self.bed_needs_clearing = True
        self.job_on_bed = False
        self.hub_at_work = ""
        self.listeners: list[Callable[..., None]] = []
        self.rows: list[dict[str, Any]] = []
        self.told: list[tuple[Any, ...]] = []

    def recent(self, limit: int = 50) -> list[dict[str, Any]]:
        return self.rows[:limit]

    def results_due(self) -> list[dict[str, Any]]:
        return []

    def on_result(self, listener: Callable[..., None]) -> None:
        self.listeners.append(listener)

    async def what_if(self, raw: Any, generation: int) -> list[dict[str, Any]]:
        return [{"raw": raw, "generation": generation}]

    async def set_remote(self, on: bool, by: str) -> str:
        self.remote_on = on
        self.told.append(("remote", on, by))
        return ""

    def bed_clear(self, by: str, by_macro: bool = False) -> str:
        if self.job_on_bed:
            return "A job is on the bed."
        self.bed_needs_clearing = False
        self.told.append(("bed", by))
        return ""


class FakeTransfers:
    def __init__(self) -> None:
        self.progress: dict[str, Any] | None = None
        self.waiting: list[str] = []
        self.listeners: list[Callable[..., None]] = []
        self.cancelled: list[str] = []

    def subscribe(self, listener: Callable[..., None]) -> None:
        self.listeners.append(listener)

    def cancel(self, file: str = "") -> bool:
        if self.progress is None:
            return False
        self.cancelled.append(file)
        return True


class FakeCleanup:
    def __init__(self) -> None:
        disk = OnDisk("old.gcode", Identity(1, 2, 5000, 3))
        self.old = [Removal(disk.path, "not printed or touched for 40 days", 40 * 86400.0, disk)]
        self.deleted = False

    async def plan(self) -> list[Removal]:
        return self.old

    async def run(self, asked: bool = False, only: Collection[str] | None = None) -> list[Removal]:
        assert asked
        self.deleted = True
        return [old for old in self.old if only is None or old.path in only]


class FakeCameras:
    def __init__(self) -> None:
        self.views = [
            {"name": "frontal", "state": "ok", "message": "", "age": 4.0, "attempts": 9, "bytes": 1}
        ]
        self.listeners: list[Callable[..., None]] = []
        self.taken = 0
        self.viewed: list[tuple[str, float]] = []
        self.shot: Any = SimpleNamespace(jpeg=JPEG, taken_at=1e9)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(view["name"] for view in self.views)

    def overview(self) -> list[dict[str, Any]]:
        return self.views

    def on_new(self, listener: Callable[..., None]) -> None:
        self.listeners.append(listener)

    def picture(self, name: str = "") -> Any:
        return self.shot if name in ("", *self.names) and self.views else None

    async def view(self, name: str, max_age: float) -> Any:
        self.viewed.append((name, max_age))
        return self.picture(name)

    async def snapshot(self) -> str:
        self.taken += 1
        return "Pictures taken: frontal."


class FakeTimelapse:
    def __init__(self) -> None:
        self.listeners: list[Callable[..., None]] = []
        self.asked = 0

    def overview(self) -> dict[str, Any]:
        return {"recording": None, "rendering": "", "waiting": [], "videos": []}

    def on_change(self, listener: Callable[..., None]) -> None:
        self.listeners.append(listener)

    async def render_now(self) -> str:
        self.asked += 1
        return "There are no frames to make a video of."


class House:
    """All rooms, and the endpoints over them. `conf` is what moonraker.conf says, by path."""

    def __init__(self, folder: Path, conf: dict[str, Any] | None = None) -> None:
        self.folder = folder
        (folder / "gcodes").mkdir(exist_ok=True)
        (folder / "config").mkdir(exist_ok=True)
        (folder / "tecmedhub").mkdir(exist_ok=True)
        self.clock = FakeClock()
        self.board = Board(self.clock)
        self.notices = self.board.notices
        self.supervisor = Supervisor(self.notices, self.clock)
        self.worker = Worker("test")
        self.redactor = Redactor()
        self.redactor.add(TOKEN)
        values = {
            "server_url": "http://127.0.0.1/api.php",
            "printer_token": TOKEN,
            "printer_name": "Aula 3",
            **(conf or {}),
        }
        self.live = LiveSettings(merge_settings(values))
        self.override = Override(
            live=self.live,
            conf=ConfValues(values),
            folder=None,
            memory=folder / "memory.json",
            notices=self.notices,
            worker=self.worker,
            supervisor=self.supervisor,
            clock=self.clock,
        )
        self.server = FakeServer(folder)
        self.printer = FakePrinter()
        self.link = Link(self.live, self.notices, self.clock, random.Random(1))
        self.client = FakeClient()
        self.reporter = FakeReporter(self)
        self.commands = FakeCommands()
        self.transfers = FakeTransfers()
        self.cleanup = FakeCleanup()
        self.cameras = FakeCameras()
        self.timelapse = FakeTimelapse()
        self.database = Database(folder / "tecmedhub", self.notices, self.clock)
        self.journal = Journal(self.database, self.clock)
        trust = Trust(self.clock, environment={})
        self.connector = Connector(self.clock, trust, environment={})
        root = folder / "gcodes"
        self.folders = (folder / "tecmedhub", root, folder / "logs", folder / "config")
        self.charts = Charts(
            self.printer,  # type: ignore[arg-type]
            self.link,
            self.reporter,  # type: ignore[arg-type]
            self.supervisor,
            self.clock,
        )
        self.pages: tuple[Pages, ...] = (
            HubPages(
                self.live,
                self.override,
                self.client,  # type: ignore[arg-type]
                self.link,
                self.reporter,  # type: ignore[arg-type]
                self.connector,
                self.clock,
            ),
            CameraPages(self.cameras, self.timelapse, self.live, self.clock),  # type: ignore[arg-type]
            FilePages(self.transfers, self.cleanup, root),  # type: ignore[arg-type]
            PrinterPages(
                self.printer,  # type: ignore[arg-type]
                SimpleNamespace(recent=[]),  # type: ignore[arg-type]
                self.live,
                lambda: self.live.now.printer_name,
                lambda: "",
            ),
            self.charts,
            CommandPages(
                self.commands,  # type: ignore[arg-type]
                self.journal,
                self.live,
                lambda: "ocupada" if self.commands.bed_needs_clearing else "libre",
            ),
            TrialPages(
                self.commands,  # type: ignore[arg-type]
                self.client,  # type: ignore[arg-type]
                lambda: offers(self.printer.snapshot, self.live.now),
            ),
            SettingsPages(self.override, self.live, self.notices),
            InsidePages(
                self.server,
                VERSION,
                self.folders,
                self.notices,
                self.supervisor,
                self.database,
                SimpleNamespace(as_dict=lambda: {"updates_sent": 3}),  # type: ignore[arg-type]
            ),
        )
        self.endpoints = Endpoints(
            self.server,
            VERSION,
            self.pages,
            self.clock,
            self.worker,
            self.supervisor,
            self.notices,
            self.redactor,
        )

    async def open(self) -> House:
        await self.database.open([journal.SCHEMA])
        await self.journal.start()
        self.endpoints.register()
        self.endpoints.start()
        return self

    async def close(self) -> None:
        await self.endpoints.stop()
        await self.supervisor.stop()
        await self.database.close()
        self.worker.close()

    def idle(self) -> None:
        """The job is over."""
        job = self.printer.snapshot.job._replace(state="complete")
        self.printer.snapshot = self.printer.snapshot._replace(job=job)

    async def hub_says(self, reply: Reply) -> None:
        """The next status ends like this."""
        self.reporter.reply = reply
        self.link.ended("status", await self.reporter.send())


def merge_settings(values: dict[str, Any]) -> Any:
    from components.settings.loader import merge

    return merge(ConfValues(values)).settings


def failed(failure: Failure, sentence: str, status: int = 0) -> Reply:
    return Reply(False, sentence, {}, failure, status)
