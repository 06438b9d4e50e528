"""Which files on the printer are the hub's, and whether they still are what was fetched.

Joins the records of `store.downloads` with what lies on disk. A record that cannot be written costs
no print: it is reported once, and the file counts as the user's own, which nothing here replaces or
deletes.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Awaitable, Callable, Dict, List, Optional, TypeVar

from ..runtime.clock import Clock
from ..runtime.messages import say
from ..runtime.notices import Notices
from ..runtime.worker import Worker
from ..store.downloads import KEPT_ROWS, DownloadRow, Downloads, DownloadState
from .gcode_root import GcodeStore, OnDisk, look_up, walk
from .local_look import why_unfit
from .names import Refused, composed, show
from .staging_file import Sums, holds_what_was_sent, sums_of
from .staging_folder import StagingFolder
from .wanted import Arrived, Wanted

T = TypeVar("T")

IN_HAND_FOR = 3600.0  # seconds
RESUMABLE_FOR = 86400.0  # seconds that the beginning of an interrupted file is kept


class Inventory:
    """`ident` is the record of a download; None where it could not be written."""

    def __init__(
        self,
        *,
        downloads: Downloads,
        store: GcodeStore,
        worker: Worker,
        notices: Notices,
        clock: Clock,
    ) -> None:
        self._downloads = downloads
        self._store = store
        self._worker = worker
        self._notices = notices
        self._clock = clock
        self._in_hand: Dict[str, float] = {}  # path → monotonic seconds
        self._begun: Dict[int, str] = {}  # downloads under way → what the hub calls the file
        self._hub_files: Dict[str, str] = {}  # path → what the hub calls the file

    # Records

    async def begin(self, wanted: Wanted, hub_name: str, source: str, hub: str) -> Optional[int]:
        """Record that a download starts, of which `hub` (as `hub.identity.scope`)."""
        ident = await self._try(
            self._downloads.begin(
                wanted.name, hub_name, source, wanted.size, wanted.md5, wanted.sha256, hub
            )
        )
        if ident is not None:
            self._begun[ident] = hub_name
        return ident

    async def failed(self, ident: Optional[int], reason: str) -> None:
        if ident is not None:
            self._begun.pop(ident, None)
        await self._note(ident, self._downloads.ended, DownloadState.FAILED, reason)

    async def marked(self, ident: Optional[int]) -> None:
        await self._note(ident, self._downloads.marked)

    async def placing(self, ident: Optional[int], path: str, sums: Sums) -> None:
        await self._note(ident, self._downloads.placing, path, *sums)

    async def placed(self, ident: Optional[int], disk: OnDisk, to_mark: bool) -> None:
        """The file is in place, and is `disk`."""
        if ident is not None and ident in self._begun:
            self._hub_files[disk.path] = self._begun.pop(ident)
        await self._note(ident, self._downloads.done, disk.path, disk.size, disk.mtime_ns, to_mark)

    async def rewritten(self, ident: Optional[int], before: OnDisk) -> None:
        """Moonraker may have put more into the file that was `before`: it is still ours then."""
        now = await self._worker.run(look_up, self._store.root, before.path)
        if now is not None and now.size > before.size:
            await self._note(ident, self._downloads.touched, now.size, now.mtime_ns)

    async def not_needed(self, ident: Optional[int]) -> None:
        reason = say("the same bytes were there already")
        await self._note(ident, self._downloads.ended, DownloadState.GONE, reason)

    async def owned(self) -> List[DownloadRow]:
        return await self._try(self._downloads.owned()) or []

    async def gone(self, row: DownloadRow, reason: str) -> None:
        await self._try(self._downloads.ended(row.id, DownloadState.GONE, reason))

    async def to_mark(self) -> List[DownloadRow]:
        """The files of which the hub has yet to hear that they are here."""
        return await self._try(self._downloads.to_mark()) or []

    # What is needed

    def take_in_hand(self, path: str) -> None:
        """Somebody was just told to print this file: it is not cleaned up for an hour."""
        now = self._clock.monotonic()
        self._in_hand = {
            p: since for p, since in self._in_hand.items() if now - since < IN_HAND_FOR
        }
        self._in_hand[path] = now

    def in_hand(self, path: str) -> bool:
        since = self._in_hand.get(path)
        return since is not None and self._clock.monotonic() - since < IN_HAND_FOR

    # What is here

    def hub_file(self, path: str) -> str:
        """What the hub calls the file at `path`; "" for one that never came from the hub. Of files
        deleted lately, too.
        """
        return self._hub_files.get(path, "")

    async def already_here(self, wanted: Wanted, source: str, path: str) -> Optional[str]:
        """Where the wanted bytes lie already: a file of ours fetched from the same source, or the
        one at `path`.

        None as well when nothing tells the bytes apart.
        """
        if not wanted.has_checksum:
            return None
        for row in await self._try(self._downloads.named(wanted.name, source)) or []:
            if (
                _same_bytes(row.size, row.md5, row.sha256, wanted)
                and await self.unchanged(row) is not None
            ):
                return row.path
        disk = await self._worker.run(look_up, self._store.root, path)
        if disk is None or (wanted.size is not None and disk.size != wanted.size):
            return None
        sums = await self.sums(path, bool(wanted.sha256))
        if sums is None or not _same_bytes(*sums, wanted):
            return None
        # The same bytes may be what Klipper would not run to the end: ours is put right.
        fault = await why_unfit(self._store.root / path, self._worker)
        return None if fault else path

    async def kept(self, wanted: Wanted, source: str) -> Optional[Arrived]:
        """What the printer has of a file that `source` certainly has not: the copy fetched before,
        if it is still what it was, or the only file here of that name. Raises `Refused`.
        """
        fetched = await self._try(self._downloads.named(wanted.name, source)) or []
        for row in fetched:
            fits = wanted.size in (None, row.size) and (
                not wanted.has_checksum or _same_bytes(row.size, row.md5, row.sha256, wanted)
            )
            if fits and await self.unchanged(row) is not None:
                when = time.localtime(row.finished or row.started)
                day = time.strftime("%Y-%m-%d %H:%M", when)
                return Arrived(
                    row.path,
                    say("the hub no longer offers it: the copy fetched on {day} is used", day=day),
                )
        if fetched or wanted.tells_apart:
            return None  # which bytes are meant is known, and those are not here
        name = composed(wanted.name)
        files = await self._worker.run(walk, self._store.root)
        own = [file.path for file in files if composed(os.path.basename(file.path)) == name]
        if len(own) > 1:
            raise Refused(
                "The hub does not have {file}, and the printer has several files of that name: "
                "send print_local with the folder.",
                file=show(wanted.name),
            )
        if not own:
            return None
        fault = await why_unfit(self._store.root / own[0], self._worker)
        if fault:
            raise Refused("{file} is {fault}.", file=show(own[0]), fault=fault)
        note = say("the hub does not have it: the printer's own {file} is used", file=show(own[0]))
        return Arrived(own[0], note)

    async def owner_of(self, path: str) -> Optional[DownloadRow]:
        return await self._try(self._downloads.owner_of(path))

    async def unchanged(self, row: DownloadRow) -> Optional[OnDisk]:
        """The file of a record if nobody has changed it since; another time with the same bytes is
        no change.
        """
        disk = await self._worker.run(look_up, self._store.root, row.path)
        if disk is None or disk.size != row.disk_size:
            return None
        if disk.mtime_ns == row.disk_mtime_ns:
            return disk
        if not row.size or not row.md5:
            return None
        return disk if await self._holds_what_was_sent(row) else None

    async def sums(self, path: str, want_sha256: bool) -> Optional[Sums]:
        try:
            return await self._worker.run(sums_of, self._store.root / path, want_sha256)
        except OSError:
            return None

    # After a restart

    async def recover(self, staging: StagingFolder) -> Dict[str, DownloadRow]:
        """Settle what the last run left half done, and empty the staging folder of what cannot be
        resumed.

        Returns what can be: by the name the hub uses.
        """
        for row in reversed(await self._try(self._downloads.recent(KEPT_ROWS)) or []):
            if row.path and row.state in (DownloadState.DONE, DownloadState.GONE):
                self._hub_files[row.path] = row.hub_name
        resumable: Dict[str, DownloadRow] = {}
        keep = set()
        for row in await self._try(self._downloads.unfinished()) or []:
            disk = await self._in_place(row) if row.state is DownloadState.PLACING else None
            if disk is not None:
                self._begun[row.id] = row.hub_name
                await self.placed(row.id, disk, to_mark=row.hub_name != "")
                self._notices.note(
                    "{path} was put in place just before the restart.", path=row.path
                )
                continue
            part = await staging.left_of(row.name)
            young = 0 <= self._clock.time() - row.started < RESUMABLE_FOR
            if part is not None and young and row.size is not None and (row.md5 or row.sha256):
                resumable[row.name] = row
                keep.add(part)
                reason = say("a restart interrupted it; sent again, it goes on from where it was")
            else:
                reason = say("a restart interrupted it")
            await self._try(self._downloads.ended(row.id, DownloadState.INTERRUPTED, reason))
            self._notices.console(
                "The download of {file} is not complete: {reason}.", file=row.name, reason=reason
            )
        await staging.empty(keep)
        return resumable

    async def _in_place(self, row: DownloadRow) -> Optional[OnDisk]:
        disk = await self._worker.run(look_up, self._store.root, row.path)
        return disk if disk is not None and await self._holds_what_was_sent(row) else None

    async def _holds_what_was_sent(self, row: DownloadRow) -> bool:
        path = self._store.root / row.path
        try:
            return await self._worker.run(holds_what_was_sent, path, row.size or 0, row.md5)
        except OSError:
            return False

    async def _note(
        self, ident: Optional[int], change: Callable[..., Awaitable[None]], *values: object
    ) -> None:
        if ident is not None:
            await self._try(change(ident, *values))

    async def _try(self, work: Awaitable[T]) -> Optional[T]:
        try:
            return await work
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._notices.log_once(
                f"downloads table {type(error).__name__} {error}",
                "The records of downloaded files cannot be used ({kind}: {error}): files of "
                "the hub will count as the user's own.",
                kind=type(error).__name__,
                error=str(error),
                exc_info=error,
            )
            return None


def _same_bytes(size: Optional[int], md5: str, sha256: str, wanted: Wanted) -> bool:
    """Whether sums are the wanted ones: every checksum wanted that is known here agrees, and at
    least one is.
    """
    if wanted.size is not None and size is not None and size != wanted.size:
        return False
    agreed = False
    for found, expected in ((md5, wanted.md5), (sha256, wanted.sha256)):
        if found and expected:
            if found != expected:
                return False
            agreed = True
    return agreed
