"""The status body of this moment, gathered from the rooms that know its parts."""

from __future__ import annotations

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


class Present:
    def __init__(
        self,
        version: str,
        live: LiveSettings,
        clock: Clock,
        client: HubClient,
        hub_name: HubName,
        seen: Seen,
        *,
        language: Callable[[], str],
        bed_needs_clearing: Callable[[], bool],
        hub_file: Callable[[str], str],
        extras: Callable[[], Mapping[str, Any]],
    ) -> None:
        """`language()` is what the hub is told our own words in; `extras()`, what other rooms add
        under names of their own.
        """
        self._version = version
        self._live = live
        self._clock = clock
        self._client = client
        self._hub_name = hub_name
        self._seen = seen
        self._language = language
        self._bed_needs_clearing = bed_needs_clearing
        self._hub_file = hub_file
        self._extras = extras
        self._rows = FileRows()

    def body(self) -> Dict[str, Any]:
        settings, client, seen, language = (
            self._live.now,
            self._client,
            self._seen,
            self._language(),
        )
        job = seen.jobs.open
        return build_body(
            Report(
                settings=settings,
                generation=client.generation,
                name=self._hub_name.for_status(client.generation),
                version=self._version,
                now=self._clock.time(),
                snapshot=seen.printer.snapshot,
                host=seen.host.read(self._clock.monotonic()),
                files=self._rows.of(seen.files.newest()),
                jobs=seen.history.recent,
                last_completed=seen.history.last_completed,
                bed_status=in_language(self.bed_word(), language),
                job_id=seen.jobs.current_id,
                command_id=job.command_id if job else "",
                hub_file=self._hub_file,
                reason=seen.pauses.reason,
                filament=seen.spools.filament(settings.printer_data.filament),
                language=language,
                null_times=client.features.null_times,
                extras=self._extras(),
            )
        )

    def bed_word(self) -> str:
        return bed_word(self._live.now, self._bed_needs_clearing())
