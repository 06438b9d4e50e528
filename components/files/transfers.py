"""Files from the hub: `fetch` returns only when the right bytes lie complete and safe among the
printer's own files.

One download at a time, a few waiting. A damaged, refused or interrupted file never leaves the
staging folder. The hub hears that a file has arrived only afterwards, since its first generation
deletes its copy then.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from dataclasses import dataclass
from typing import Any, Deque, Dict, List, Optional

from ..hub.client import same_hub
from ..hub.identity import scope
from ..hub.outcomes import redact_query
from ..hub.protocol import HubFile
from ..runtime.clock import Clock
from ..runtime.messages import say
from ..runtime.notices import Notices
from ..runtime.supervisor import Supervisor
from ..settings.model import LiveSettings, Settings
from ..store.downloads import DownloadRow
from .addresses import check_url
from .fetching import Fetching
from .gcode_look import Mends
from .hub_files import HubFiles, Listing
from .inventory import Inventory
from .names import Refused, plain_folder, plain_gcode_name, show
from .placing import Placing
from .progress import Listener, Progress
from .staging_folder import StagingFolder
from .wanted import Arrived, TransferError, Wanted

MAX_WAITING = 5  # downloads behind the one that runs
HUB = "hub"  # the source of files that the hub's own list and download serve


@dataclass
class _Job:
    asked: Wanted  # by the name that the hub uses
    name: str  # as it is stored, unless the hub knows a better one
    folder: str
    settings: Settings  # when it was asked for: of which hub
    hub_name: str = ""  # as the hub's list calls it; "" when there is an address
    cancelled: bool = False
    placing: bool = False
    task: "Optional[asyncio.Future[Arrived]]" = None

    @property
    def file(self) -> str:
        return self.asked.name

    @property
    def source(self) -> str:
        return redact_query(self.asked.url) if self.asked.url else HUB


class Transfers:
    def __init__(
        self,
        *,
        live: LiveSettings,
        hub_files: HubFiles,
        fetching: Fetching,
        inventory: Inventory,
        staging: StagingFolder,
        placing: Placing,
        supervisor: Supervisor,
        notices: Notices,
        clock: Clock,
    ) -> None:
        self._live = live
        self._hub_files = hub_files
        self._fetching = fetching
        self._inventory = inventory
        self._staging = staging
        self._placing = placing
        self._supervisor = supervisor
        self._notices = notices
        self._clock = clock
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
        remove the rest. What is asked for meanwhile waits: its own would be taken for a rest.
        """
        async with self._one_at_a_time():
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

    async def fetch(self, asked: Wanted) -> Arrived:
        """See that what is asked for is among the printer's files; where it is.

        The path differs from the name asked for when other bytes had that name, or when the hub
        stores the file under another one than it was uploaded with. Raises `TransferError`.
        """
        try:
            job = self._accept(asked)
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

    def _accept(self, asked: Wanted) -> _Job:
        settings = self._live.now
        if asked.url:
            check_url(asked.url, settings.server_url, settings.file_management.allowed_hosts)
        asked = asked._replace(
            md5=_checksum(asked.md5, 32, "md5"), sha256=_checksum(asked.sha256, 64, "sha256")
        )
        folder = plain_folder(settings.file_management.folder)
        return _Job(asked, plain_gcode_name(asked.name), folder, settings)

    def _one_at_a_time(self) -> asyncio.Lock:
        if self._turn is None:
            self._turn = asyncio.Lock()
        return self._turn

    async def _in_turn(self, job: _Job) -> Arrived:
        async with self._one_at_a_time():
            try:
                return await self._run(job)
            except Refused as error:
                raise TransferError(str(error)) from None
            finally:
                self._progress.end()

    async def _run(self, job: _Job) -> Arrived:
        wanted, name = job.asked, job.name
        listed = None
        if not wanted.url:
            listing, listed = await self._hub_files.find(wanted)
            if not same_hub(job.settings, self._live.now):
                raise Refused(
                    "{file} is not fetched: the hub's address or the token was changed since it "
                    "was asked for.",
                    file=show(job.file),
                )
            if listing is Listing.GONE:
                kept = await self._inventory.kept(wanted, HUB)
                if kept is not None:
                    return self._told(kept)
            wanted = self._hub_files.wanted(wanted, listed)
            job.hub_name = job.file if listed is None else listed.name
            name = name if listed is None else self._own_name(listed, name)
        path = os.path.join(job.folder, name)
        here = await self._inventory.already_here(wanted, job.source, path)
        if here is not None:
            self._notices.note(
                "{file} is on the printer already as {path}: nothing to fetch.",
                file=job.file,
                path=here,
            )
            self._inventory.take_in_hand(here)  # the hub may delete its own as it hears of this
            if listed is not None and _is(listed, wanted):
                await self._hub_files.tell(job.hub_name, None, job.settings)
            return Arrived(here)
        hub = scope(job.settings)
        ident = await self._inventory.begin(wanted, job.hub_name, job.source, hub)
        try:
            return await self._fetch(job, name, wanted, ident)
        except (TransferError, Refused) as error:
            await self._inventory.failed(ident, str(error))
            self._notices.log_once(f"download {error}", str(error))
            raise TransferError(str(error)) from None
        except asyncio.CancelledError:
            if job.cancelled:
                await self._staging.discard(await self._staging.file_for(job.folder, job.name))
                await self._inventory.failed(ident, "cancelled")
            raise

    def _told(self, arrived: Arrived) -> Arrived:
        self._notices.console("{file}: {note}.", file=arrived.path, note=arrived.note)
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
                "{file} keeps the hub's name on the printer: {error}",
                file=listed.name,
                error=str(error),
                level=logging.INFO,
            )
            return name

    async def _fetch(self, job: _Job, name: str, wanted: Wanted, ident: Optional[int]) -> Arrived:
        started = self._clock.monotonic()
        part = await self._staging.file_for(job.folder, job.name)
        self._progress.begin(job.file, wanted.size)
        resume = self._resumes(job, wanted)

        def heard(done: int, size: Optional[int]) -> None:
            if job.cancelled or self._stopped:  # Python 3.11 and older lose a cancel that comes
                raise asyncio.CancelledError  # in the moment in which a `wait_for` has its answer
            self._progress.update(done, size)

        try:
            sealed = await self._fetching.fetch(wanted, part, resume, heard)
        except TransferError:
            await self._staging.discard(part)
            raise
        job.placing = True
        settling = asyncio.ensure_future(
            self._placing.put(
                part, job.folder, name, sealed, ident=ident, to_mark=not job.asked.url
            )
        )
        settling.add_done_callback(lambda future: future.cancelled() or future.exception())
        path = await asyncio.shield(settling)  # nothing interrupts it half-way
        self._inventory.take_in_hand(path)
        seconds = self._clock.monotonic() - started
        self._notices.note(
            "{file}: {size:.1f} MiB in {seconds:.1f} s, verified, stored as {path}.",
            file=job.file,
            size=sealed.sent.size / 2**20,
            seconds=seconds,
            path=path,
        )
        self.fetched += 1
        if os.path.basename(path) != name:
            self._notices.console(
                "{file} is another file on this printer: the hub's is stored as {path}.",
                file=name,
                path=path,
            )
        if job.hub_name:
            await self._hub_files.tell(job.hub_name, ident, job.settings)
        arrived = Arrived(path, mended(sealed.mends))
        return self._told(arrived) if arrived.note else arrived

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


def _checksum(text: str, length: int, kind: str) -> str:
    value = text.strip().lower()
    if value and (len(value) != length or any(c not in "0123456789abcdef" for c in value)):
        raise Refused(
            "The {kind} given is not {digits} hexadecimal digits: leave it out or correct it.",
            kind=kind,
            digits=length,
        )
    return value
