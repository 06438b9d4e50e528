"""Files from the hub: `fetch` returns only when the right bytes lie complete and safe among the
printer's own files.

One download at a time, a few waiting. A damaged, refused or interrupted file never leaves the
staging folder. The hub hears that a file has arrived only afterwards, since its first generation
deletes its copy then.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import random
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Awaitable, Callable, Deque, Dict, List, NamedTuple, Optional, Set, Tuple

from ..hub.backoff import Backoff
from ..hub.outcomes import redact_query
from ..hub.protocol import HubFile
from ..net.connect import Connector
from ..net.trust import Trust
from ..runtime.clock import Clock
from ..runtime.messages import Told, say
from ..runtime.notices import Notices
from ..runtime.supervisor import Supervisor
from ..runtime.worker import Worker
from ..settings.model import LiveSettings
from ..store.downloads import DownloadRow
from .addresses import check_url
from .gcode_look import Mends
from .gcode_root import GcodeStore
from .hub_files import HubFiles, Listing
from .inventory import Inventory
from .local_look import why_unfit
from .names import Refused, plain_folder, plain_gcode_name, show
from .placing import Placing
from .progress import Listener, Progress
from .staging_file import FreeSpace, OpenFile, discard, free_space, open_file
from .staging_folder import StagingFolder
from .wanted import Wanted

MAX_WAITING = 5  # downloads behind the one that runs
STEP = 1024 * 1024  # bytes further than ever before: then a bad line is not given up yet
LONGEST_RETRY_AFTER = 120.0  # seconds
HUB = "hub"  # the source of files that the hub's own list and download serve


class TransferError(Told):
    """The file cannot be had."""


class FetchRequest(NamedTuple):
    """What to fetch; empty or None: not given. Any object with these attributes serves."""

    file: str
    download_url: str = ""
    md5: str = ""
    sha256: str = ""
    size: Optional[int] = None  # bytes
    command_id: str = ""


class Arrived(NamedTuple):
    """A file that may be printed."""

    path: str  # below the gcodes root
    note: str = ""  # for people: which copy this is, or what was put right, where that is news


@dataclass
class _Job:
    file: str  # as the hub calls it
    name: str  # as it is stored, unless the hub knows a better one
    folder: str
    url: str
    md5: str
    sha256: str
    size: Optional[int]
    command_id: str
    progress: Optional[Listener]
    hub_name: str = ""  # as the hub's list calls it; "" when there is an address
    cancelled: bool = False
    placing: bool = False
    task: "Optional[asyncio.Future[Arrived]]" = None

    @property
    def source(self) -> str:
        return redact_query(self.url) if self.url else HUB


class Transfers:
    """`hub` is a `HubClient` (`list_files`, `file_request`, `mark_downloaded`).

    `make_room(bytes)` is asked to delete what may go when the disk is too full, and says how many
    bytes it freed.
    """

    def __init__(
        self,
        *,
        live: LiveSettings,
        hub: Any,
        store: GcodeStore,
        inventory: Inventory,
        staging: StagingFolder,
        placing: Placing,
        worker: Worker,
        supervisor: Supervisor,
        notices: Notices,
        clock: Clock,
        rng: random.Random,
        user_agent: str = "TecMedHub",
        make_room: Optional[Callable[[int], Awaitable[int]]] = None,
        space: FreeSpace = free_space,
        opener: OpenFile = open_file,
        connector: Optional[Connector] = None,
    ) -> None:
        self._live = live
        self._hub_files = HubFiles(live=live, hub=hub, inventory=inventory, clock=clock, rng=rng)
        self._worker = worker
        self._supervisor = supervisor
        self._notices = notices
        self._clock = clock
        self._rng = rng
        self._user_agent = user_agent
        self._make_room = make_room
        self._space = space
        self._opener = opener
        self._connector = connector or Connector(clock, Trust(clock))
        self._store = store
        self._staging = staging
        self._inventory = inventory
        self._placing = placing
        self._progress = Progress(clock.monotonic, notices.console)
        self._jobs: Deque[_Job] = deque()  # the first one runs
        self._turn: Optional[asyncio.Lock] = None
        self._stopped = False
        self.fetched = 0  # files brought here since the start
        self._partial: Dict[str, DownloadRow] = {}  # by name: what a restart broke off

    # For the other rooms

    @property
    def progress(self) -> Optional[Dict[str, Any]]:
        """`{file, percent, bytes, size, speed, eta}` of the running download, or None."""
        return self._progress.now

    @property
    def waiting(self) -> List[str]:
        """The files that wait for their turn."""
        return [job.file for job in list(self._jobs)[1:]]

    def subscribe(self, listener: Listener) -> None:
        """Call `listener(progress)` about once a second while a file is fetched, and
        `listener(None)` after it.
        """
        self._progress.subscribe(listener)

    async def start(self) -> None:
        """Tidy up what the last run left: finish what was in place, keep what can be resumed,
        remove the rest.
        """
        self._partial = await self._inventory.recover(self._staging)
        self._supervisor.keep(
            "files: tell the hub", lambda: self._hub_files.tell_late(lambda: bool(self._jobs))
        )

    async def stop(self) -> None:
        """Break off; what has come so far stays for the next start."""
        self._stopped = True
        tasks = [job.task for job in self._jobs if job.task is not None and not job.task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=2.0)

    def cancel(self, file: str = "") -> bool:
        """Cancel a download, running or waiting, by the hub's name for it; without a name, the
        running one.

        False if there is none, or if it is complete already and just being put in place.
        """
        jobs = (
            [job for job in self._jobs if file in (job.file, job.name)]
            if file
            else list(self._jobs)[:1]
        )
        for job in jobs:
            if not job.cancelled and not job.placing and job.task is not None:
                job.cancelled = True
                job.task.cancel()
                return True
        return False

    async def offered(self) -> Set[Tuple[str, str]]:
        """Name and MD5 of what the hub can give again now."""
        return await self._hub_files.offered()

    async def fetch(self, request: Any, progress: Optional[Listener] = None) -> Arrived:
        """See that `request` (a `FetchRequest` or alike) is among the printer's files; where it is.

        The path differs from the name asked for when other bytes had that name, or when the hub
        stores the file under another one than it was uploaded with. Raises `TransferError`.
        """
        try:
            job = self._accept(request, progress)
        except Refused as error:
            raise TransferError(str(error)) from None
        if self._stopped:
            raise TransferError(
                "{file} is not fetched: Moonraker is stopping.", file=show(job.file)
            )
        if len(self._jobs) > MAX_WAITING:
            raise TransferError(
                "{file} is not fetched: {max} downloads are waiting already. Send it again later.",
                file=show(job.file),
                max=MAX_WAITING,
            )
        self._jobs.append(job)
        job.task = asyncio.ensure_future(self._in_turn(job))
        try:
            arrived = await job.task
            self._inventory.take_in_hand(arrived.path)
            return arrived
        except asyncio.CancelledError:
            if job.cancelled:
                raise TransferError(
                    "The download of {file} was cancelled.", file=show(job.file)
                ) from None
            job.task.cancel()
            raise
        finally:
            self._jobs.remove(job)

    # One job

    def _accept(self, request: Any, progress: Optional[Listener]) -> _Job:
        settings = self._live.now
        file: str = request.file
        url: str = getattr(request, "download_url", "") or ""
        if url:
            check_url(url, settings.server_url, settings.file_management.allowed_hosts)
        size: Optional[int] = getattr(request, "size", None)
        return _Job(
            file=file,
            name=plain_gcode_name(file),
            folder=plain_folder(settings.file_management.folder),
            url=url,
            md5=_checksum(getattr(request, "md5", ""), 32, "md5"),
            sha256=_checksum(getattr(request, "sha256", ""), 64, "sha256"),
            size=size,
            command_id=str(getattr(request, "command_id", "")),
            progress=progress,
        )

    async def _in_turn(self, job: _Job) -> Arrived:
        if self._turn is None:
            self._turn = asyncio.Lock()
        async with self._turn:
            try:
                return await self._run(job)
            except Refused as error:
                raise TransferError(str(error)) from None
            finally:
                self._progress.end()

    async def _run(self, job: _Job) -> Arrived:
        wanted = Wanted(job.file, job.url, {}, job.size, job.md5, job.sha256)
        listed = None
        name = job.name
        if not job.url:
            listing, listed = await self._hub_files.find(wanted)
            if listing is Listing.AMBIGUOUS:
                raise Refused(
                    "Several files of the hub are called {file}: send the name that the hub "
                    "stores the wanted one under, or its checksum.",
                    file=show(job.file),
                )
            if listing is Listing.GONE:
                kept = await self._kept(wanted)
                if kept is not None:
                    return kept
            wanted = self._hub_files.wanted(wanted, listed)
            job.hub_name = job.file if listed is None else listed.name
            name = name if listed is None else self._own_name(listed, name)
        path = os.path.join(job.folder, name)
        here = await self._inventory.already_here(wanted, job.source, path)
        if here is not None:
            self._notices.logger.info(
                "%s is on the printer already as %s: nothing to fetch.", job.file, here
            )
            if listed is not None and _is(listed, wanted):
                await self._hub_files.tell(job.hub_name, None)
            return Arrived(here)
        ident = await self._inventory.begin(wanted, job.hub_name, job.source, job.command_id)
        try:
            return await self._fetch(job, name, wanted, ident)
        except (TransferError, Refused) as error:
            await self._inventory.failed(ident, str(error))
            self._notices.log_once(f"download {error}", str(error))
            raise TransferError(str(error)) from None
        except asyncio.CancelledError:
            if job.cancelled:
                part = await self._staging.file_for(job.folder, job.name)
                await self._worker.run(discard, part)
                await self._inventory.failed(ident, "cancelled")
            raise

    async def _kept(self, wanted: Wanted) -> Optional[Arrived]:
        """What the printer has of a file that the hub certainly has not: the copy fetched before,
        or the only file here of that name.
        """
        old = await self._inventory.newest_of(wanted, HUB)
        if old is not None:
            day = time.strftime("%Y-%m-%d %H:%M", time.localtime(old.finished or old.started))
            return self._told(
                Arrived(
                    old.path,
                    say("the hub no longer offers it: the copy fetched on {day} is used", day=day),
                )
            )
        if wanted.tells_apart or await self._inventory.had(wanted, HUB):
            return None  # which bytes are meant is known, and those are not here
        own = await self._inventory.own_named(wanted.name)
        if len(own) > 1:
            raise Refused(
                "The hub does not have {file}, and the printer has several files of that "
                "name: send print_local with the folder.",
                file=show(wanted.name),
            )
        if not own:
            return None
        fault = await why_unfit(self._store.root / own[0], self._worker)
        if fault:
            raise Refused("{file} is {fault}.", file=show(own[0]), fault=fault)
        return self._told(
            Arrived(
                own[0],
                say(
                    "the hub does not have it: the printer's own {file} is used",
                    file=show(own[0]),
                ),
            )
        )

    def _told(self, arrived: Arrived) -> Arrived:
        self._notices.console(say("{file}: {note}.", file=arrived.path, note=arrived.note))
        return arrived

    def _own_name(self, listed: HubFile, name: str) -> str:
        """The name it was uploaded with, where that can be one here; else the hub's."""
        if not listed.original_name or listed.original_name == listed.name:
            return name
        try:
            return plain_gcode_name(listed.original_name)
        except Refused as error:
            self._notices.log_once(
                f"original name {error}",
                say(
                    "{file} keeps the hub's name on the printer: {error}",
                    file=listed.name,
                    error=str(error),
                ),
                level=logging.INFO,
            )
            return name

    async def _fetch(self, job: _Job, name: str, wanted: Wanted, ident: Optional[int]) -> Arrived:
        started = self._clock.monotonic()
        part = await self._staging.file_for(job.folder, job.name)
        self._progress.begin(job.file, wanted.size, job.progress)
        try:
            sealed = await self._attempts(wanted, part, self._resumes(job, wanted))
        except TransferError:
            await self._worker.run(discard, part)
            raise
        job.placing = True
        settling = asyncio.ensure_future(
            self._placing.put(
                part,
                job.folder,
                name,
                sent=sealed.sent,
                stored=sealed.stored,
                verified=sealed.identity,
                ident=ident,
                to_mark=not job.url,
            )
        )
        settling.add_done_callback(lambda future: future.cancelled() or future.exception())
        path = await asyncio.shield(settling)  # nothing interrupts it half-way
        seconds = self._clock.monotonic() - started
        self._notices.logger.info(
            "%s: %.1f MiB in %.1f s, verified, stored as %s.",
            job.file,
            sealed.sent.size / 2**20,
            seconds,
            path,
        )
        self.fetched += 1
        if os.path.basename(path) != name:
            self._notices.console(
                say(
                    "{file} is another file on this printer: the hub's is stored as {path}.",
                    file=name,
                    path=path,
                )
            )
        if job.hub_name:
            await self._hub_files.tell(job.hub_name, ident)
        arrived = Arrived(path, mended(sealed.mends))
        return self._told(arrived) if arrived.note else arrived

    async def _attempts(self, wanted: Wanted, part: Path, resume: bool) -> Any:
        """Try until the file is there, by `retries`; what is worth keeping between attempts is
        kept.
        """
        settings = self._live.now
        if self._make_room is not None:
            await self._make_room(wanted.size or 0)
        # Most printers never fetch a file; an import holds up the event loop, hence the thread.
        await self._worker.run(importlib.import_module, ".download", __package__)
        from .download import Download, DownloadFailed, Limits  # noqa: PLC0415

        download = Download(
            wanted,
            part,
            worker=self._worker,
            limits=Limits(
                max_size=settings.file_management.max_size_mb * 2**20,
                idle=settings.timeouts.file_download,
                connect=settings.timeouts.server,
                verify_checksums=settings.file_management.verify_checksums,
            ),
            user_agent=self._user_agent,
            connector=self._connector,
            space=self._space,
            opener=self._opener,
            on_bytes=self._progress.update,
        )
        backoff = Backoff(lambda: self._live.now, self._rng)
        failures = damaged = furthest = 0
        while True:
            try:
                return await download.attempt(resume)
            except DownloadFailed as error:
                resume = error.keep and download.resumable
                grown = resume and download.size >= furthest + STEP
                furthest = max(furthest, download.size)
                failures = 1 if grown else failures + 1
                damaged += error.damaged
                attempts = self._live.now.retries.max_attempts
                if not error.again or damaged > 1 or failures >= attempts:
                    told = str(error)
                    if failures > 1:
                        told = say(
                            "{trouble} Given up after {count} attempts.",
                            trouble=told,
                            count=failures,
                        )
                    raise TransferError(told) from None
                if failures == 1:
                    backoff.succeeded()
                delay = max(backoff.failed(), min(error.retry_after or 0.0, LONGEST_RETRY_AFTER))
                self._notices.logger.info("%s Next attempt in %.0f s.", error, delay)
                await self._clock.sleep(delay)

    def _resumes(self, job: _Job, wanted: Wanted) -> bool:
        """Whether what a former run left of this file belongs to the bytes wanted now: only a
        checksum can tell.
        """
        left = self._partial.pop(job.file, None)
        if left is None or left.source != job.source or left.size != wanted.size:
            return False
        return bool(
            (left.md5 and left.md5 == wanted.md5) or (left.sha256 and left.sha256 == wanted.sha256)
        )


def mended(mends: Mends) -> str:
    """What was put right in a file, for people; "" if nothing was."""
    newline = say("its last line had no line end, without which Klipper would not run it: added")
    bom = say("a byte order mark before its first command was blanked, for Klipper's sake")
    if mends.newline and mends.bom:
        return say("{first}; {second}", first=newline, second=bom)
    if mends.newline:
        return newline
    return bom if mends.bom else ""


def _is(listed: HubFile, wanted: Wanted) -> bool:
    """Whether a checksum says that the hub's file is the wanted one."""
    return bool(
        (listed.md5 and listed.md5 == wanted.md5)
        or (listed.sha256 and listed.sha256 == wanted.sha256)
    )


def _checksum(text: Any, length: int, kind: str) -> str:
    value = str(text or "").strip().lower()
    if value and (len(value) != length or any(c not in "0123456789abcdef" for c in value)):
        raise Refused(
            "The {kind} given is not {digits} hexadecimal digits: leave it out or correct it.",
            kind=kind,
            digits=length,
        )
    return value
