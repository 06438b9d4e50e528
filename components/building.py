"""The rooms, built and joined; nothing runs yet, and nothing behaves here but what joins rooms that
do not know each other.
"""

from __future__ import annotations

import os
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Sequence

from .cameras.cameras import Cameras
from .commands import Command, Commands, Deeds, Inbox, PrintRequest, Receipts, Tools
from .commands.bed import Bed
from .commands.offers import Offers, Parts
from .files.calendar import Calendar
from .files.cleanup import Cleanup
from .files.deleting import Deleting
from .files.fetching import Fetching
from .files.gcode_root import GcodeStore
from .files.hub_files import HubFiles
from .files.inventory import Inventory
from .files.local_look import why_unfit
from .files.names import Refused
from .files.placing import Placing
from .files.staging_folder import StagingFolder
from .files.transfers import Transfers
from .files.wanted import Arrived, TransferError, Wanted
from .films.timelapse import Tell, Timelapse
from .hub.any_client import client_of
from .hub.client import HubClient, Reply
from .hub.identity import scope
from .hub.link import Link
from .hub.poller import CommandPoller
from .hub.tongue import is_spanish
from .hub.transport import Transport
from .net.connect import Connector
from .net.trust import Trust
from .printer import moonraker_compat
from .printer.gcode_files import GcodeFiles
from .printer.history import History
from .printer.host import Host
from .printer.job_queue import JobQueue
from .printer.jobs import Jobs
from .printer.klippy import Printer
from .printer.open_file import OpenFile
from .printer.pauses import Pauses, read_piece
from .printer.slicer_words import read_words
from .printer.spools import Spools
from .runtime.ground import Ground, solid_ground
from .runtime.logs import Logs, colour_terminal, logs_folder
from .runtime.loose import as_text
from .runtime.messages import say, spoken
from .runtime.notices import Notices
from .runtime.supervisor import Supervisor
from .settings import memory
from .settings.conf import ConfValues, read_conf
from .settings.loader import merge, missing
from .settings.model import LiveSettings, Origin, Settings
from .settings.override import Override
from .status.cadence import Cadence
from .status.events import Chronicle
from .status.hub_name import HubName
from .status.present import Present, Seen
from .status.reporter import Reporter, ResultBox
from .status.statistics import Statistics
from .store import downloads, flags, journal, ledger
from .store.database import Database
from .web.endpoints import Endpoints
from .web.page import panel_address
from .web.pages.cameras import CameraPages
from .web.pages.charts import Charts
from .web.pages.commands import CommandPages
from .web.pages.files import FilePages
from .web.pages.hub import HubPages
from .web.pages.inside import InsidePages
from .web.pages.printer import PrinterPages
from .web.pages.settings import SettingsPages
from .web.pages.trial import TrialPages

if TYPE_CHECKING:
    from .cameras.fetch import Fetcher
    from .films.filming import Filming


class Building:
    """Its rooms are attributes, in the order in which each stands on the former; `ground` is what
    all of them stand on.
    """

    def __init__(self, config: Any, ground: Optional[Ground], version: str) -> None:
        self.ground = ground or solid_ground()
        self.version = version
        self.clock = self.ground.clock
        self.server = config.get_server()
        data_path = Path(self.server.get_app_args()["data_path"])
        self.folder = data_path / "tecmedhub"
        self._another_films = False  # moonraker-timelapse is installed
        self._hub_is_spanish = False
        conf = read_conf(config)
        self.live = LiveSettings(merge(conf).settings)
        self.logs = Logs(logs_folder(self.server.get_app_args()), colour_terminal())
        try:
            self._build_base(conf)
            self._build_printer()
            self._build_hub()
            self._build_hands(data_path)
            self._build_status()
            self._build_pages(data_path)
            self._join()
        except BaseException:
            self.logs.close()  # Moonraker restarts in the same interpreter
            raise

    def _build_base(self, conf: ConfValues) -> None:
        """Settings, notices, tasks, threads, the database."""
        server = self.server
        log_as_set(self.logs, self.live)
        self.notices = Notices(
            self.logs.logger,
            self.clock,
            lambda text, warn_id: moonraker_compat.add_warning(
                server, self.logs.redactor(text), warn_id, log=False
            ),
            server.remove_warning,
            lambda line: server.send_event("server:gcode_response", self.logs.redactor(line)),
            lambda: self.language,
            lambda: panel_address(server),
        )
        self.supervisor = Supervisor(self.notices, self.clock)
        self.worker = self.ground.worker("work")
        # Of their own: they must come into force while a large file is hashed, or its disk is dead.
        settings_worker = self.ground.worker("settings")
        config_root = server.lookup_component("file_manager").get_directory("config")
        self.override = Override(
            live=self.live,
            conf=conf,
            folder=Path(config_root) if config_root else None,
            memory=self.folder / memory.FILE,
            notices=self.notices,
            worker=settings_worker,
            supervisor=self.supervisor,
            clock=self.clock,
        )
        store_worker = self.ground.worker("store")
        self.workers = [self.worker, settings_worker, store_worker]  # to be closed
        self.database = Database(
            self.folder, self.notices, self.clock, store_worker, self.ground.connect
        )
        self.flags = flags.Flags(self.database, self.clock)
        self.journal = journal.Journal(
            self.database,
            self.clock,
            redactor=self.logs.redactor,
            now=lambda: self.client.now(),  # noqa: PLW0108 - the client is not there yet
            storing=lambda: self.client.features.events,
            language=lambda: self.language,
        )

    def _build_printer(self) -> None:
        gcodes = Path(self.server.lookup_component("file_manager").get_directory("gcodes"))
        self.printer = Printer(
            self.server,
            self.supervisor,
            self.notices,
            self.clock,
            self.live,
            words=lambda name: self.worker.run(read_words, gcodes / name),
        )
        self.host = Host(self.server, gcodes)
        self.files = GcodeFiles(self.server, gcodes, self.worker, self.supervisor)
        self.pauses = Pauses(
            self.server,
            self.printer,
            self.clock,
            self.supervisor,
            lambda name, start, length: self.worker.run(
                read_piece, str(gcodes / name), start, length
            ),
            lambda: self.cadence.news("reason of a pause"),
            *self.flags.kept("pauses"),
        )
        self.jobs = Jobs(
            self.server,
            self.clock,
            *self.flags.kept("job"),
            explain=self.pauses.explain,
            session=lambda: self.printer.session,
        )
        self.job_queue = JobQueue(self.server)
        self.spools = Spools(self.server, self.live, self.notices, self.clock)
        self.history = History(
            self.server,
            self.jobs,
            *self.flags.kept("history"),
            pauses=lambda: self.pauses.pauses,
        )

    def _build_hub(self) -> None:
        trust = Trust(self.clock, lambda: self.live.now.network.ca_file)
        self.connector = Connector(self.clock, trust, lambda: self.live.now.network.proxy)
        given = self.ground.http(self.server)
        self.transport = Transport(
            client_of(given, self.connector, self.clock, self.notices),
            self.clock,
            f"TecMedHub/{self.version}",
            self.logs.observe,
        )
        self.client = HubClient(self.live, self.transport, self.clock)
        self.link = Link(self.live, self.notices, self.clock, self.ground.rng)
        self.poller = CommandPoller(self.live, self.client, self.link, self.clock)

    def _build_hands(self, data_path: Path) -> None:
        """Files, cameras, timelapses, and the commands that make use of them."""
        server = self.server
        common: Dict[str, Any] = {
            "live": self.live,
            "notices": self.notices,
            "supervisor": self.supervisor,
            "clock": self.clock,
        }
        open_file = OpenFile(self.printer, self.jobs)
        store = GcodeStore(
            server.lookup_component("file_manager"),
            server.lookup_component("job_queue"),
            open_file.heard,
            open_file.asked,
            server.lookup_component("internal_transport").call_method,
            server.send_event,
        )
        fetched = downloads.Downloads(self.database, self.clock)
        self.inventory = inventory = Inventory(
            downloads=fetched,
            store=store,
            worker=self.worker,
            notices=self.notices,
            clock=self.clock,
        )
        staging = StagingFolder(self.folder, lambda: store.root, self.worker, self.notices)
        placing = Placing(
            store=store,
            inventory=inventory,
            staging=staging,
            worker=self.worker,
            notices=self.notices,
            clock=self.ground.clock,
        )
        hub_files = HubFiles(
            live=self.live,
            hub=self.client,
            inventory=inventory,
            clock=self.clock,
            rng=self.ground.rng,
        )
        self.calendar = Calendar(
            self.clock, self.live, self.client.told_time, *self.flags.kept("clock_was_wrong")
        )
        self.cleanup = Cleanup(
            live=self.live,
            store=store,
            inventory=inventory,
            placing=placing,
            worker=self.worker,
            notices=self.notices,
            clock=self.clock,
            calendar=self.calendar,
            offered=hub_files.offered,
        )
        fetching = Fetching(
            live=self.live,
            connector=self.connector,
            user_agent=f"TecMedHub/{self.version}",
            worker=self.worker,
            notices=self.notices,
            clock=self.clock,
            rng=self.ground.rng,
            make_room=self.cleanup.make_room,
        )
        self.deleting = Deleting(store=store, inventory=inventory, placing=placing)
        self.transfers = Transfers(
            hub_files=hub_files,
            fetching=fetching,
            inventory=inventory,
            staging=staging,
            placing=placing,
            **common,
        )
        pictures = self.ground.worker("pictures")
        self.cameras = Cameras(
            printer=self.printer,
            hub=self.client,
            webcams=self._webcams,
            worker=pictures,
            fetcher=self._fetcher,
            **common,
        )
        self.timelapse = Timelapse(
            data_path=data_path,
            cameras=self.cameras,
            notices=self.notices,
            supervisor=self.supervisor,
            worker=self.worker,
            make=partial(self._filming, worker=pictures, **common),
        )
        self.workers.append(pictures)
        self.bed = Bed(self.live, self.flags, self.notices, self.clock, self.jobs)
        self.commands = Commands(
            Tools(
                printer=self.printer,
                ledger=ledger.Ledger(self.database, self.logs.redactor, lambda: self.language),
                flags=self.flags,
                bed=self.bed,
                hub_now=self.client.now,
                hub_time_known=lambda: self.client.told_time() is not None,
                hub_redelivers=self._hub_redelivers,
                **common,
            ),
            Deeds(
                fetch=self._fetch,
                find_local=self._why_not_printable,
                starting=self.jobs.announce,
                hooks={
                    "cancel_download": self._cancel_download,
                    "snapshot": lambda command: self.cameras.snapshot(),
                    "timelapse_now": lambda command: self.timelapse.render_now(),
                    "delete_file": lambda command: self.deleting.delete(
                        _file(command), lambda: self.commands.check(command)
                    ),
                    "spool": lambda command: self.spools.select(command.params["spool"]),
                },
                looks={
                    "delete_file": lambda command: self.deleting.why_not(_file(command)),
                    "spool": lambda command: self.spools.why_not(command.params["spool"]),
                },
                told_errors=(TransferError, Refused),
            ),
        )
        self.receipts = Receipts(
            results_due=self.commands.results_due,
            results_delivered=self.commands.results_delivered,
            wanted=self._hub_redelivers,
            hub=self._hub,
            hub_now=self.client.now,
            on_new=lambda: self.reporter.new_result(),  # noqa: PLW0108 - it is not there yet
        )
        self.inbox = Inbox(
            self.commands.take,
            self.supervisor,
            self.poller.stir,
            arrived=self.receipts.arrived,
            hub=self._hub,
        )

    def _build_status(self) -> None:
        """What the hub is told, and what is counted."""
        self.offers = Offers()
        self.statistics = Statistics(
            self.folder, self.worker, self.notices, self.clock, self.version
        )
        self.chronicle = Chronicle(self.journal, self.clock)
        self.hub_name = HubName(self.live, self.flags, socket.gethostname())
        self.cadence = Cadence(
            self.clock, lambda: self.live.now.intervals, lambda: not self.printer.snapshot.busy
        )
        self.present = Present(
            self.version,
            self.live,
            self.clock,
            self.client,
            self.hub_name,
            Seen(
                self.printer,
                self.host,
                self.files,
                self.jobs,
                self.history,
                self.pauses,
                self.spools,
            ),
            language=lambda: self.language,
            bed_needs_clearing=lambda: self.commands.bed_needs_clearing,
            hub_file=self.inventory.hub_file,
            extras=self._extras,
        )
        self.reporter = Reporter(
            self.client,
            self.link,
            self.cadence,
            self.journal,
            self.present.body,
            ResultBox(self.receipts.due, self.receipts.delivered),
            self.clock,
            lambda: self.language,
        )

    def _build_pages(self, data_path: Path) -> None:
        """What people see and can do of each room, in a browser or by a macro."""
        logs = logs_folder(self.server.get_app_args())
        folders = (self.folder, self.files.root, logs, data_path / "config")
        self.endpoints = Endpoints(
            self.server,
            self.version,
            (
                HubPages(
                    self.live,
                    self.override,
                    self.client,
                    self.link,
                    self.reporter,
                    self.connector,
                    self.clock,
                ),
                CameraPages(self.cameras, self.timelapse, self.live, self.clock),
                FilePages(self.transfers, self.cleanup, self.files.root),
                PrinterPages(
                    self.printer,
                    self.history,
                    self.live,
                    self.hub_name.for_people,
                    lambda: self.pauses.reason,
                ),
                Charts(self.printer, self.link, self.reporter, self.supervisor, self.clock),
                CommandPages(self.commands, self.journal, self.live, self.present.bed_word),
                TrialPages(self.commands, self.client, self._offered),
                SettingsPages(self.override, self.live, self.notices),
                InsidePages(
                    self.server,
                    self.version,
                    folders,
                    self.notices,
                    self.supervisor,
                    self.database,
                    self.statistics,
                ),
            ),
            self.clock,
            self.worker,
            self.supervisor,
            self.notices,
            self.logs.redactor,
        )

    def _join(self) -> None:
        """Who hears of what."""
        news = self.cadence.news
        self.printer.subscribe(lambda old, new: news("printer"))
        self.printer.watch(self.chronicle.klippy_looked)
        self.printer.watch(self.jobs.look)
        self.files.subscribe(lambda: news("files"))
        self.jobs.subscribe(self.pauses.job_told)
        self.pauses.subscribe(self.chronicle.job_told)
        self.jobs.subscribe(self.commands.job_told)
        self.history.on_end(self.chronicle.job_listed)
        self.history.subscribe(lambda: news("history"))
        self.job_queue.subscribe(lambda: news("job queue"))
        self.spools.subscribe(lambda: news("spool"))
        self.reporter.subscribe(self.hub_name.status_sent)
        self.reporter.subscribe(lambda body, reply: self._hub_answered(reply))
        self.link.subscribe(self.chronicle.link_changed)
        self.link.subscribe(self.cameras.hub_changed)
        self.client.deliver_to(self.inbox.deliver)
        self.commands.on_result(lambda result: self.reporter.new_result(), running=True)
        self.commands.on_result(self.chronicle.command_ended)
        self.cameras.on_new(lambda shot: news("picture"))
        self.timelapse.on_change(lambda what: news("timelapse"))
        self.live.subscribe(lambda old, new: self._on_settings())
        self.statistics.follow(self.reporter, self.link, self.commands)
        on = self.server.register_event_handler
        on("file_manager:filelist_changed", self.override.on_file_changed)
        on("webcam:webcams_changed", self.cameras.webcams_changed)
        for room in (
            self.printer,
            self.pauses,
            self.host,
            self.files,
            self.jobs,
            self.history,
            self.job_queue,
            self.spools,
            self.endpoints,
        ):
            room.register()

    # What joins rooms that do not know each other

    @property
    def language(self) -> str:
        """What people read here: the option, else Spanish where the hub's replies are, else the
        language of the computer (many a Raspberry Pi is left in English).
        """
        chosen = self.live.now.language
        if chosen == "auto" and self._hub_is_spanish:
            return "es"
        return spoken(chosen, os.environ)

    def _extras(self) -> Dict[str, Any]:
        """What the status body carries of rooms that `status` does not know."""
        return {
            **self.cameras.image_fields(),
            **self.timelapse.status_fields(),
            "download": self.transfers.progress,
            "job_queue": self.job_queue.as_dict(),
            "client": {**self.statistics.as_dict(), "actions": self._offered()},
        }

    def _offered(self) -> Sequence[Mapping[str, Any]]:
        """What the hub may ask of this printer."""
        parts = Parts(tuple(self.printer.power_devices), self.spools.there)
        return self.offers.of(self.printer.snapshot, self.live.now, parts)

    def _hub_answered(self, reply: Reply) -> None:
        if is_spanish(as_text(reply.data.get("message"))):
            self._hub_is_spanish = True
        self.calendar.note()

    def _on_settings(self) -> None:
        self.cadence.news("settings")  # name, place, labels are part of the status
        text = missing(self.live.now, self.override.file_name)
        if text:
            panel = panel_address(self.server)
            self.notices.show("setup", "{what} The panel: {url}", what=text, url=panel)
        else:
            self.notices.clear("setup", "The hub's address and the token are set.")

    async def _fetch(self, request: PrintRequest) -> Arrived:
        before = self.transfers.fetched
        arrived = await self.transfers.fetch(
            Wanted(
                request.file,
                request.download_url,
                size=request.size,
                md5=request.md5,
                sha256=request.sha256,
            )
        )
        self.statistics.count("files_downloaded", self.transfers.fetched - before)
        return arrived

    async def _why_not_printable(self, name: str) -> str:
        """Why a file of the printer cannot be printed, as a sentence; "" if it can."""
        if await self.worker.run(self.files.find, name) is None:
            return say(
                "{file} is not among the printer's files: send it with print, which fetches it.",
                file=name,
            )
        self.inventory.take_in_hand(name)
        fault = await why_unfit(self.files.root / name, self.worker)
        return say("{file} is {fault}.", file=name, fault=fault) if fault else ""

    def _hub_redelivers(self) -> bool:
        return self.client.features.redeliver > 0

    def _hub(self) -> str:
        return scope(self.live.now)

    async def _cancel_download(self, command: Command) -> str:
        if not self.transfers.cancel(_file(command)):
            raise TransferError(say("There is no such download to cancel."))
        return say("the download is cancelled")

    def _yields_to_another_film(self) -> bool:
        """Whether moonraker-timelapse films, and nobody has asked for our films besides."""
        asked = self.override.loaded.origins["camera.timelapse_enabled"] is not Origin.DEFAULT
        return self._another_films and not asked

    def _fetcher(self) -> Fetcher:
        from .cameras.fetch import Fetcher  # noqa: PLC0415  (read late: `Cameras`)

        return Fetcher(
            f"TecMedHub/{self.version}", self.connector, lambda: self.live.now.camera.verify_tls
        )

    def _filming(self, frames: Path, videos: Path, tell: Tell, **common: Any) -> Filming:
        from .films.filming import Filming, Means  # noqa: PLC0415  (read late: `Timelapse`)

        return Filming(
            frames=frames,
            videos=videos,
            tell=tell,
            printer=self.printer,
            hub=self.client,
            cameras=self.cameras,
            yields=self._yields_to_another_film,
            means=Means(**common),
        )

    def _webcams(self) -> Any:
        webcams = self.server.lookup_component("webcam").get_webcams()
        return [webcam.as_dict() for webcam in webcams.values()]


def log_as_set(logs: Logs, live: LiveSettings) -> None:
    """Let the log follow the settings in force."""

    def apply(_old: Any, new: Settings) -> None:
        logs.apply(new.secrets, **new.logging._asdict())

    live.subscribe(apply)
    apply(None, live.now)


def _file(command: Command) -> str:
    return as_text(command.params.get("file"))
