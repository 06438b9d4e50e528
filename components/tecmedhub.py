"""Wiring and life cycle: builds the rooms, joins them, starts and stops their tasks. No behaviour of its own.

Moonraker's order: `load_component` (constructor; only core components are sure to exist), `component_init` (before the
port opens: no waiting), `on_exit` (the last words, at most two seconds, may come twice), `close` (cancel only).
"""

from __future__ import annotations

import asyncio
import logging
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict

from .commands import Commands
from .hub.client import HubClient
from .hub.link import CommandPoller, Link
from .hub.protocol import Generation
from .hub.transport import Transport
from .printer.gcode_files import GcodeFiles
from .printer.host import Host
from .printer.jobs import Jobs
from .printer.klippy import Printer
from .runtime.clock import Clock
from .runtime.notices import Notices
from .runtime.supervisor import Supervisor
from .runtime.worker import Worker
from .settings.loader import merge, missing, read_conf
from .settings.model import LiveSettings
from .status.body import Report, build_body
from .status.cadence import Cadence
from .status.events import Chronicle
from .status.reporter import Reporter
from .status.statistics import Statistics
from .store import flags, journal, ledger
from .store.database import Database
from .store.flags import Flags
from .store.journal import Journal
from .store.ledger import Ledger

VERSION = "5.0.0"


class TecMedHub:
    def __init__(self, config: Any) -> None:
        server = config.get_server()
        self.server = server
        self.clock = Clock()
        self.folder = Path(server.get_app_args()["data_path"]) / "tecmedhub"
        self.notices = Notices(
            logging.getLogger("tecmedhub"),
            self.clock,
            lambda text, warn_id: server.add_warning(text, warn_id, log=False),
            server.remove_warning,
            lambda line: server.send_event("server:gcode_response", line),
        )
        self.supervisor = Supervisor(self.notices, self.clock)
        self.worker = Worker("files")
        self.conf = read_conf(config)
        self.loaded = merge(self.conf)
        self.live = LiveSettings(self.loaded.settings)
        self.database = Database(self.folder, self.notices, self.clock)
        self.journal = Journal(self.database, self.clock)
        self.statistics = Statistics(self.folder, self.worker, self.notices, self.clock, VERSION)

        gcodes = Path(server.lookup_component("file_manager").get_directory("gcodes"))
        self.printer = Printer(server, self.supervisor, self.notices, self.clock)
        self.host = Host(server, gcodes)
        self.files = GcodeFiles(server, gcodes, self.worker, self.supervisor)
        self.jobs = Jobs(server)

        rng = random.SystemRandom()
        self.transport = Transport(
            server.lookup_component("http_client").client, self.clock, f"TecMedHub/{VERSION}"
        )
        self.client = HubClient(self.live, self.transport, self.clock)
        self.link = Link(self.live, self.notices, self.clock, rng)
        self.poller = CommandPoller(self.live, self.client, self.link, self.clock)
        self.flags = Flags(self.database, self.clock)
        self.commands = Commands(
            live=self.live,
            printer=self.printer,
            ledger=Ledger(self.database),
            flags=self.flags,
            notices=self.notices,
            supervisor=self.supervisor,
            clock=self.clock,
            hub_now=self.client.now,
            hub_time_known=lambda: self.client.clock_skew is not None,
        )
        self.chronicle = Chronicle(self.journal, self.clock)
        self.cadence = Cadence(
            self.clock, lambda: self.live.now.intervals, lambda: not self.printer.snapshot.busy
        )
        self.reporter = Reporter(
            self.client, self.link, self.cadence, self.journal, self.clock, self.body, self.commands
        )
        self.client.deliver_to(self._take)
        self._leaving = False
        for room in (self.printer, self.host, self.files, self.jobs):
            room.register()
        self._join()

    def _join(self) -> None:
        """Who hears of whom."""
        self.printer.subscribe(lambda old, new: self.cadence.news("printer"))
        self.printer.subscribe(self.chronicle.printer_changed)
        self.files.subscribe(lambda: self.cadence.news("files"))
        self.jobs.subscribe(self.chronicle.job_ended)
        self.jobs.subscribe(lambda job: self.cadence.news("job"))
        self.link.subscribe(self.chronicle.link_changed)
        self.commands.on_result(lambda result: self.reporter.new_result())
        self.commands.on_result(self.chronicle.command_ended)
        self.commands.on_result(lambda result: self.statistics.count("commands_executed"))

    async def component_init(self) -> None:
        self.supervisor.spawn("start", self._start())

    async def _start(self) -> None:
        await self.database.open([flags.SCHEMA, ledger.SCHEMA, journal.SCHEMA])
        await self.journal.start()
        await self.statistics.load()
        await self.jobs.load()
        await self.commands.start()
        self.files.start()
        if not self.live.now.complete:
            self.notices.show("setup", missing(self.live.now))
        self.supervisor.keep("status", self.reporter.run)
        self.supervisor.keep("commands", self.poller.run)
        self.supervisor.keep("results", self.reporter.run_results)
        self.supervisor.keep("samples", lambda: self.chronicle.run(lambda: self.printer.snapshot))

    async def _take(self, raw: Any, generation: Generation) -> None:
        if await self.commands.take(raw, generation):
            self.poller.stir()

    def body(self) -> Dict[str, Any]:
        """The status body of this moment."""
        snapshot = self.printer.snapshot
        settings = self.live.now
        return build_body(
            Report(
                settings=settings,
                generation=self.client.generation,
                version=VERSION,
                now=self.clock.time(),
                snapshot=snapshot,
                host=self.host.read(self.clock.monotonic()),
                files=self.files.newest(),
                jobs=self.jobs.recent,
                last_completed=self.jobs.last_completed,
                bed_status=self.commands.bed_status,
                job_id=self.jobs.current_id if snapshot.busy else "",
            )
        )

    async def on_exit(self) -> None:
        if self._leaving:
            return
        self._leaving = True
        try:
            await asyncio.wait_for(self._say_goodbye(), 2.0)
        except asyncio.TimeoutError:
            pass

    async def _say_goodbye(self) -> None:
        self.poller.stop()
        await self.supervisor.finish("status", 0.0)
        if self.live.now.complete and self.link.connected:
            await self.reporter.send(status="offline", state_message="Moonraker is stopping")
        await self.supervisor.finish("commands", 0.5)
        await self.commands.stop()
        await self.statistics.save()
        await self.database.close()

    async def close(self) -> None:
        await self.supervisor.stop()
        self.transport.close()
        self.worker.close()
        self.notices.close()


def load_component(config: Any) -> TecMedHub:
    return TecMedHub(config)
