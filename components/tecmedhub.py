"""The component and its life: starts the rooms, stops them.

Moonraker's order: `load_component` (the constructor; only core components are sure to exist),
`component_init` (before the port opens: no waiting), `on_exit` (the last words, at most two
seconds, may come twice), `close` (what is left is cancelled; the shared HTTP client is gone).
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
from typing import Any, Awaitable, List, Optional

from .building import Building
from .films.timelapse_page import TimelapsePage
from .printer import moonraker_compat
from .runtime.ground import Ground
from .runtime.heap import give_back
from .runtime.logs import IMPORTANT
from .runtime.messages import in_language, load_catalogue, say, spoken
from .runtime.outward import for_pages
from .store import downloads, flags, journal, ledger

VERSION = "5.2.0"
SCHEMAS = (flags.SCHEMA, ledger.SCHEMA, journal.SCHEMA, downloads.SCHEMA)

# What many printers never need, and what nobody misses until it is. That it is there, is looked at
# when Moonraker starts.
READ_LATE = (
    "commands.trial",
    *("cameras.camera", "cameras.digest", "cameras.fetch", "cameras.finale", "cameras.pictures"),
    *("cameras.publish", "cameras.reply", "cameras.sources", "cameras.watch"),
    *("files.download", "files.failures", "net.get"),
    *("films.filming", "films.frames", "films.gallery", "films.recorder", "films.render"),
    *("films.studio", "films.uploads"),
    *("web.doctor.examination", "web.doctor.host", "web.doctor.hub"),
    *("web.doctor.report", "web.doctor.texts"),
    "web.bundle",
)

# How the two seconds are spent that Moonraker's exit may be delayed by.
GOODBYE_WITHIN = 1.0
STOP_WITHIN = 0.4
FLUSH_WITHIN = 0.6


class TecMedHub(Building):
    """The component."""

    def __init__(self, config: Any, ground: Optional[Ground] = None) -> None:
        super().__init__(config, ground, VERSION)
        self._leaving = False
        self._starting: "Optional[asyncio.Task[None]]" = None

    async def component_init(self) -> None:
        if self._leaving:
            return
        page = TimelapsePage(self.server, self.timelapse, self.live, lambda: self.language)
        self._another_films = not page.attach()
        self._starting = self.supervisor.spawn("start", self._start())

    async def _start(self) -> None:
        """Everything that touches a disk or waits, behind Moonraker's own start: each room by
        itself, so that one that cannot start keeps no other away.
        """
        start = self.supervisor.start
        # Nothing is asked of the hub, told to it or run before it is known what the operator
        # allows: a card that stalls at boot must not widen that. The price: no stop either.
        await start(say("the settings"), self._start_settings, needed=True)
        await self.database.open(SCHEMAS)
        await start(say("the job history"), self._start_history)
        await asyncio.gather(
            start(say("the events"), self.journal.start),
            start(say("the statistics"), self.statistics.load),
            start(say("the commands"), self._start_commands),
            start(say("the downloads"), self._start_files),
            start(say("the cameras"), self.cameras.start),
            start(say("the timelapses"), self._start_timelapse),
            start(say("the pages"), self._start_pages),
        )
        self.supervisor.keep("status", self.reporter.run)
        self.supervisor.keep("results", self.reporter.run_results)
        self.supervisor.keep("commands", self.poller.run)
        self.supervisor.keep("samples", lambda: self.chronicle.run(lambda: self.printer.snapshot))
        self.supervisor.keep("health", self._watch_health)
        if self.spools.there:
            self.supervisor.keep("spool", self.spools.run)
        self.notices.note("TecMedHub {version} is at work.", version=VERSION, extra=IMPORTANT)

    def _tell_missing(self, files: List[str]) -> None:
        if files:
            self.notices.show(
                "files missing",
                "Files of the plugin are missing ({files}): let the update manager recover it, or"
                " run 'git checkout .' in its folder; then restart Moonraker.",
                files=", ".join(files),
            )

    async def _start_settings(self) -> None:
        await self.worker.run(load_catalogue, self.language)
        self._tell_missing(await self.worker.run(_missing))
        await self.override.start()
        await self.worker.run(load_catalogue, self.language)  # the JSON file may choose another
        self._on_settings()

    async def _start_history(self) -> None:
        await self._start_jobs()
        await self.history.load()
        self.bed.look_back(self.history)

    async def _start_commands(self) -> None:
        await self._start_jobs()  # no command may run before it is known what lies on the bed
        await self.commands.start()

    async def _start_jobs(self) -> None:
        await self.flags.load()
        self.history.start()
        self.pauses.start()
        self.jobs.start()
        self.bed.look_back(self.history)

    async def _start_files(self) -> None:
        await self.transfers.start()
        self.supervisor.keep("files: clean up", self.cleanup.watch)

    async def _start_timelapse(self) -> None:
        self.timelapse.attach(self.server.lookup_component("file_manager"))
        await self.timelapse.start()

    async def _start_pages(self) -> None:
        self.files.start()
        self.endpoints.start()

    async def on_exit(self) -> None:
        if self._leaving:
            return
        self._leaving = True
        if self._starting is not None:
            self._starting.cancel()
        self.supervisor.stop_starting()
        await self._within(GOODBYE_WITHIN, self._say_goodbye())
        for name in ("status", "results", "commands"):
            await self.supervisor.finish(name, 0.0)  # whatever became of the last words
        await self._within(STOP_WITHIN, self._stop_rooms())
        self.printer.leave()
        await self._within(FLUSH_WITHIN, self._flush())

    async def _say_goodbye(self) -> None:
        self.poller.stop()
        await self.supervisor.finish("status", 0.0)
        if self.live.now.complete and self.link.connected:
            await self.reporter.send(
                status="offline",
                state_message=in_language(say("Moonraker is stopping"), self.language),
            )
        await self.supervisor.finish("results", 0.0)  # the next start tells what is left
        await self.supervisor.finish("commands", GOODBYE_WITHIN)

    async def _stop_rooms(self) -> None:
        await asyncio.wait(
            [
                asyncio.ensure_future(stop())
                for stop in (
                    self.commands.stop,
                    self.transfers.stop,
                    self.cameras.stop,
                    self.override.stop,
                    self.endpoints.stop,
                )
            ]
        )

    async def _flush(self) -> None:
        """The database takes nothing more from here on: Moonraker, which lets go of Klippy next,
        is not to be taken for an end of Klippy's.
        """
        saved = asyncio.ensure_future(self.statistics.save())
        try:
            self.jobs.save()
        finally:
            await self.database.close()
        await saved

    async def _within(self, seconds: float, work: Awaitable[None]) -> None:
        """Whatever becomes of `work`, the rest of the exit follows."""
        try:
            await asyncio.wait_for(work, seconds)
        except asyncio.TimeoutError:
            pass
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self.notices.log_fault("exit", "A part of the exit failed", error)

    async def close(self) -> None:
        await self.supervisor.stop()
        self.transport.close()
        self.connector.close()
        for worker in self.workers:
            worker.close()
        self.notices.close()
        self.logs.close()

    async def _watch_health(self) -> None:
        """Every `intervals.health_check`: totals to disk, free memory back, a look at the log."""
        while True:
            await self.statistics.save()
            await self.worker.run(give_back)
            self.logs.report(self.notices)
            await self.clock.sleep(self.live.now.intervals.health_check)


def _missing() -> List[str]:
    return [name for name in READ_LATE if importlib.util.find_spec(f".{name}", __package__) is None]


def load_component(config: Any) -> TecMedHub:
    """Build the component; what keeps it from loading is said in a Moonraker warning.

    Moonraker itself would only say "failed component". A ModuleNotFoundError must not get out: it
    would have Moonraker run pip on its own environment.
    """
    server = config.get_server()
    lacking = moonraker_compat.lacking(server)
    if lacking:
        text = _in_words(
            say(
                "TecMedHub needs Moonraker {floor} or later; this one ({version}) lacks {names}:"
                " update Moonraker.",
                floor=moonraker_compat.OLDEST,
                version=server.get_app_args().get("software_version", "?"),
                names=", ".join(lacking),
            )
        )
        moonraker_compat.add_warning(server, for_pages(text), "tecmedhub_load")
        raise config.error(text)
    try:
        return TecMedHub(config)
    except Exception as error:
        text = _in_words(
            say(
                "TecMedHub cannot start ({error}): run its install.sh again, or report this with"
                " moonraker.log.",
                error=f"{type(error).__name__}: {error}",
            )
        )
        moonraker_compat.add_warning(server, for_pages(text), "tecmedhub_load", error=error)
        raise config.error(text) from error


def _in_words(text: str) -> str:
    """In the language of the computer: the option cannot be read yet."""
    return in_language(text, spoken("auto", os.environ))
