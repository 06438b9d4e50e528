"""The status body of this moment, gathered from the rooms that know its parts."""

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Mapping, NamedTuple

from ..hub.client import HubClient
from ..printer.gcode_files import GcodeFiles
from ..printer.history import History
from ..printer.host import Host
from ..printer.jobs import Jobs
from ..printer.klippy import Printer
from ..printer.pauses import Pauses
from ..printer.spools import Spools
from ..runtime.clock import Clock
from ..runtime.messages import in_language
from ..settings.model import LiveSettings
from .body import FileRows, Report, bed_word, build_body
from .hub_name import HubName


class Seen(NamedTuple):
    """What is seen of the printer and its computer."""

    printer: Printer
    host: Host
    files: GcodeFiles
    jobs: Jobs
    history: History
    pauses: Pauses
    spools: Spools


@dataclass(eq=False)
class Present:
    version: str
    live: LiveSettings
    clock: Clock
    client: HubClient
    hub_name: HubName
    seen: Seen
    language: Callable[[], str]  # of our own words, as the hub is told them
    bed_needs_clearing: Callable[[], bool]
    hub_file: Callable[[str], str]
    extras: Callable[[], Mapping[str, Any]]  # what other rooms add under names of their own
    _rows: FileRows = field(default_factory=FileRows, init=False)

    def body(self) -> Dict[str, Any]:
        settings, client, seen = self.live.now, self.client, self.seen
        language, job = self.language(), seen.jobs.open
        return build_body(
            Report(
                settings=settings,
                generation=client.generation,
                name=self.hub_name.for_status(client.generation),
                version=self.version,
                now=self.clock.time(),
                snapshot=seen.printer.snapshot,
                host=seen.host.read(self.clock.monotonic()),
                files=self._rows.of(seen.files.newest()),
                jobs=seen.history.recent,
                last_completed=seen.history.last_completed,
                bed_status=in_language(self.bed_word(), language),
                job_id=seen.jobs.current_id,
                command_id=job.command_id if job else "",
                hub_file=self.hub_file,
                reason=seen.pauses.reason,
                filament=seen.spools.filament(settings.printer_data.filament),
                language=language,
                null_times=client.features.null_times,
                extras=self.extras(),
            )
        )

    def bed_word(self) -> str:
        return bed_word(self.live.now, self.bed_needs_clearing())
