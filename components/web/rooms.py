"""The rooms below, as the web sees them; filled in by the wiring (`tecmedhub.py`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

if TYPE_CHECKING:
    from ..cameras.cameras import Cameras
    from ..commands.remote import Commands
    from ..files.cleanup import Cleanup
    from ..files.transfers import Transfers
    from ..films.timelapse import Timelapse
    from ..hub.client import HubClient
    from ..hub.link import Link
    from ..net.connect import Connector
    from ..printer.gcode_files import GcodeFiles
    from ..printer.history import History as JobHistory
    from ..printer.host import Host
    from ..printer.klippy import Printer
    from ..runtime.clock import Clock
    from ..runtime.notices import Notices
    from ..runtime.redaction import Redactor
    from ..runtime.supervisor import Supervisor
    from ..runtime.worker import Worker
    from ..settings.model import LiveSettings
    from ..settings.override import Override
    from ..status.reporter import Reporter
    from ..status.statistics import Statistics
    from ..store.database import Database
    from ..store.journal import Journal


class Rooms(NamedTuple):
    """Nothing here is copied or owned: whoever made a room also stops it."""

    server: Any  # Moonraker's
    version: str  # of the plugin
    folder: Path  # <data_path>/tecmedhub
    live: LiveSettings
    override: Override
    redactor: Redactor
    notices: Notices
    supervisor: Supervisor
    clock: Clock
    worker: Worker
    printer: Printer
    files: GcodeFiles
    job_history: JobHistory
    host: Host
    client: HubClient
    link: Link
    connector: Connector
    reporter: Reporter
    commands: Commands
    shown_name: Callable[[], str]
    bed_word: Callable[[], str]
    transfers: Transfers
    cleanup: Cleanup
    cameras: Cameras
    timelapse: Timelapse
    database: Database
    journal: Journal
    statistics: Statistics
