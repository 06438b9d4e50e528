"""One attempt at one file: from an address into the staging file, judged on the way and verified at
the end.

Whatever is wrong ends in `DownloadFailed` with a sentence for people and with what may be done
about it; the staging file is left as it is, for the caller to resume or to remove. Nothing here
knows where the file goes afterwards.
"""

from __future__ import annotations

import asyncio
import errno
import re
import ssl
from pathlib import Path
from typing import Any, Callable, Optional

from ..hub.outcomes import Failure, host_of, http_date, read_retry_after, redact_query
from ..runtime.records import NamedTuple
from ..runtime.worker import Worker
from .gcode_look import HEAD, NotGcode, check_head, has_command, hub_message
from .names import show
from .staging_file import (
    BLOCK,
    RESERVE,
    DiskFull,
    FreeSpace,
    OpenFile,
    Sealed,
    StagingFile,
    free_space,
    open_file,
)
from .streaming import Stream, StreamFailed, open_stream
from .wanted import Wanted

MIN_BLOCK = 64 * 1024  # bytes
FILL_TIME = 1.0  # seconds until a block of MIN_BLOCK goes to disk: slow lines show progress too
AGAIN_STATUSES = frozenset(
    (408, 425, 429, 500, 502, 503, 504)
)  # the server's own trouble, which may pass
_CONTENT_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})\Z")
_ETAG = re.compile(
    r'"[\x21\x23-\x7e]{1,120}"\Z'
)  # strong ones only: a weak one does not promise the same bytes


class Limits(NamedTuple):
    max_size: int  # bytes
    idle: float  # seconds without a byte
    connect: float  # seconds to a connection
    verify_checksums: bool = True


class DownloadFailed(Exception):
    """The text is a sentence. `again`: another attempt may succeed; `keep`: what has come so far is
    worth keeping.
    """

    def __init__(
        self,
        sentence: str,
        *,
        again: bool = False,
        keep: bool = False,
        damaged: bool = False,
        retry_after: Optional[float] = None,
    ) -> None:
        super().__init__(sentence)
        self.again = again
        self.keep = keep
        self.damaged = damaged  # it came whole, but wrong
        self.retry_after = retry_after  # seconds, as the server asked


class Download:
    """Attempts at one file; `etag` and the staging file carry over from one attempt to the next."""

    def __init__(
        self,
        wanted: Wanted,
        path: Path,
        *,
        worker: Worker,
        limits: Limits,
        user_agent: str,
        tls: Optional[ssl.SSLContext] = None,
        space: FreeSpace = free_space,
        opener: OpenFile = open_file,
        on_bytes: Callable[[int, Optional[int]], None] = lambda done, size: None,
    ) -> None:
        self.wanted = wanted
        self.path = path
        self.etag = ""
        self._worker = worker
        self._limits = limits
        self._user_agent = user_agent
        self._tls = tls
        self._space = space
        self._on_bytes = on_bytes
        self._file = StagingFile(path, bool(wanted.sha256), space, opener)
        self._cut: Optional[StreamFailed] = None
        self._total: Optional[int] = None  # bytes of the whole, as the server announced it
        self._loop_time = asyncio.get_event_loop().time

    async def attempt(self, resume: bool) -> Sealed:
        """Fetch the file, or the rest of it if `resume`; what it is once it is whole, verified and
        safely on disk.
        """
        self._cut = None
        try:
            have = await self._begin(resume)
            if (
                have and have == self.wanted.size
            ):  # whole already: we were stopped just before it was put in place
                return await self._verify(framed=True)
            stream = await self._open(have)
            try:
                return await self._take(stream, have)
            finally:
                stream.close()
        except NotGcode as error:
            raise DownloadFailed(f"{show(self.wanted.name)} is {error}.") from None
        except DiskFull:
            raise DownloadFailed(_full(self.wanted.name)) from None
        except StreamFailed as error:
            raise self._broken(error) from None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DownloadFailed(_full(self.wanted.name)) from None
            reason = error.strerror or type(error).__name__
            raise DownloadFailed(
                f"{show(self.wanted.name)} cannot be written to {self.path.parent} ({reason}): "
                "check the disk."
            ) from None
        finally:
            await asyncio.shield(self._worker.run(self._file.close))

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self._file.size

    @property
    def resumable(self) -> bool:
        """Whether the rest alone may be asked for: the whole can be told to be right in the end."""
        return bool(self.etag) or (self.wanted.has_checksum and self.wanted.size is not None)

    async def _begin(self, resume: bool) -> int:
        wanted = self.wanted
        if wanted.size is not None and wanted.size > self._limits.max_size:
            raise self._too_large(wanted.size)
        have = 0
        if resume and self.resumable:
            try:
                have = await self._worker.run(self._file.begin, True)
            except NotGcode:
                have = 0
            if wanted.size is not None and have > wanted.size:
                have = 0
        if not have:
            await self._worker.run(self._file.begin, False)
        await self._check_space((wanted.size or 0) - have)
        return have

    async def _open(self, have: int) -> Stream:
        headers = dict(self.wanted.headers)
        if have:
            headers["Range"] = f"bytes={have}-"
            if self.etag:
                headers["If-Range"] = self.etag
        return await open_stream(
            self.wanted.url,
            headers,
            connect_timeout=self._limits.connect,
            idle=self._limits.idle,
            tls=self._tls,
            user_agent=self._user_agent,
        )

    async def _take(self, stream: Stream, have: int) -> Sealed:
        head = stream.head
        if head.status == 416 and have:
            raise DownloadFailed(
                f"{host_of(self.wanted.url)} has a different {show(self.wanted.name)} now.",
                again=True,
            )
        if head.status not in (200, 206):
            raise await self._refused(stream)
        if head.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise DownloadFailed(
                f"{host_of(self.wanted.url)} sends {show(self.wanted.name)} compressed although "
                "plain was asked for: "
                "turn compression off for downloads (zlib.output_compression, mod_deflate)."
            )
        if head.status == 206:
            self._check_range(head.headers.get("content-range", ""), have, head.length)
        elif have:  # the server begins anew
            have = 0
            await self._worker.run(self._file.begin, False)
        etag = head.headers.get("etag", "")
        self.etag = etag if _ETAG.match(etag) else ""
        total = None if head.length is None else have + head.length
        if head.status == 200:
            self._total = total
        await self._receive(stream, have, total)
        return await self._verify(total is not None or head.chunked)

    async def _receive(self, stream: Stream, have: int, total: Optional[int]) -> None:
        """Move the body to disk: one block is filled from the network while the thread writes the
        one before.
        """
        expected = total if total is not None else self.wanted.size
        done = have
        writing: "Optional[asyncio.Future[Any]]" = None
        first = not have
        try:
            while True:
                block = await self._fill(stream, done, expected)
                if first and block:
                    first = False
                    await self._check_start(stream, block, total)
                if total is not None and done == have:
                    await self._check_space(total - have)
                done += len(block)
                if done > self._limits.max_size:
                    raise self._too_large(None)
                if self.wanted.size is not None and done > self.wanted.size:
                    raise self._wrong_size(f"more than {done - 1}")
                if writing is not None:
                    await writing
                    writing = None
                if not block:
                    return
                writing = asyncio.ensure_future(self._worker.run(self._file.write, block))
                await asyncio.sleep(0)  # or a fast network would never let the event loop turn
        finally:
            if writing is not None:
                await asyncio.wait([writing])
                if not writing.cancelled():
                    writing.exception()

    async def _fill(
        self, stream: Stream, done: int = 0, expected: Optional[int] = None
    ) -> bytearray:
        """The next block, empty at the end. What came before a cut is given out first, and the cut
        told afterwards.
        """
        if self._cut is not None:
            raise self._cut
        block = bytearray(BLOCK)
        view = memoryview(block)
        filled = 0
        enough_at = self._loop_time() + FILL_TIME
        while filled < BLOCK and (filled < MIN_BLOCK or self._loop_time() < enough_at):
            try:
                count = await stream.read_into(view[filled:])
            except StreamFailed as error:
                if not filled:
                    raise
                self._cut = error
                break
            if not count:
                break
            filled += count
            self._on_bytes(done + filled, expected)
        return block if filled == BLOCK else block[:filled]

    async def _check_start(self, stream: Stream, block: bytearray, total: Optional[int]) -> None:
        """Is this the file at all? The hub sends its refusals with HTTP 200, in its place."""
        start = bytes(block[:HEAD])
        told = None if has_command(start) else hub_message(start)
        if told is not None:
            host = host_of(self.wanted.url)
            said = f': "{told}"' if told else " without a reason"
            raise DownloadFailed(f"{host} does not give {show(self.wanted.name)}{said}.")
        check_head(start)
        size = self.wanted.size
        if total is not None and total > self._limits.max_size:
            raise self._too_large(total)
        if total is not None and size is not None and total != size:
            raise self._wrong_size(str(total))

    async def _verify(self, framed: bool) -> Sealed:
        wanted, name = self.wanted, show(self.wanted.name)
        if wanted.size is not None and self._file.size != wanted.size:
            raise self._wrong_size(str(self._file.size), again=not framed)
        if self._total is not None and self._file.size != self._total:
            raise DownloadFailed(
                f"{name} came with {self._file.size} of the {self._total} bytes announced.",
                again=True,
            )
        checked = wanted.has_checksum and self._limits.verify_checksums
        if not framed and wanted.size is None and not checked:
            raise DownloadFailed(
                f"{host_of(wanted.url)} does not say how long {name} is, so a cut could not be "
                "noticed: "
                "let it send Content-Length, a size or a checksum."
            )
        sums = await self._worker.run(self._file.finish)
        if self._limits.verify_checksums:
            for kind, expected, found in (
                ("SHA-256", wanted.sha256, sums.sha256),
                ("MD5", wanted.md5, sums.md5),
            ):
                if expected and expected != found:
                    raise DownloadFailed(
                        f"{name} came damaged: its {kind} is {found}, but should be {expected}.",
                        again=True,
                        damaged=True,
                    )
        return await self._worker.run(self._file.seal)

    async def _refused(self, stream: Stream) -> DownloadFailed:
        head, host, name = stream.head, host_of(self.wanted.url), show(self.wanted.name)
        if 300 <= head.status < 400:
            target = redact_query(head.headers.get("location", "nowhere"))
            return DownloadFailed(
                f"{host} redirects {name} to {target}: give the final address; redirects are not "
                "followed."
            )
        try:
            told = hub_message(bytes((await self._fill(stream))[:HEAD]))
        except StreamFailed:
            told = None
        said = f' ("{told}")' if told else ""
        if head.status in (404, 410):
            return DownloadFailed(f"{host} has no file {name}: HTTP {head.status}{said}.")
        if head.status in AGAIN_STATUSES:
            date = http_date(head.headers.get("date", ""))
            wait = read_retry_after(head.headers.get("retry-after", ""), 0.0, date)
            return DownloadFailed(
                f"{host} answered HTTP {head.status}{said} for {name}: look into the server's "
                "PHP error log.",
                again=True,
                keep=True,
                retry_after=wait,
            )
        return DownloadFailed(f"{host} answered HTTP {head.status}{said} for {name}.")

    def _check_range(self, content_range: str, have: int, length: Optional[int]) -> None:
        """The rest is the rest only if it begins where we stopped and ends where the whole ends,
        and if the whole is the one that was begun.
        """
        match = _CONTENT_RANGE.match(content_range)
        first, last, whole = (int(part) for part in match.groups()) if match else (-1, -1, -1)
        known = [size for size in (self.wanted.size, self._total) if size is not None]
        if (
            not have
            or first != have
            or last != whole - 1
            or any(size != whole for size in known)
            or (length is not None and length != whole - have)
        ):
            raise DownloadFailed(
                f"{host_of(self.wanted.url)} sent another part of {show(self.wanted.name)} than "
                "was asked for.",
                again=True,
            )
        self._total = whole

    async def _check_space(self, more: int) -> None:
        if await self._worker.run(self._space, self.path.parent) < max(more, 0) + RESERVE:
            raise DiskFull()

    def _broken(self, error: StreamFailed) -> DownloadFailed:
        again = error.failure in (Failure.DNS, Failure.UNREACHABLE, Failure.TIMED_OUT, Failure.BUSY)
        sentence = f"{show(self.wanted.name)} could not be fetched: {error}"
        return DownloadFailed(sentence, again=again, keep=again and self.resumable)

    def _too_large(self, size: Optional[int]) -> DownloadFailed:
        limit = self._limits.max_size / 2**20
        told = "is larger than" if size is None else f"has {size / 2**20:.0f} MiB, more than"
        return DownloadFailed(
            f"{show(self.wanted.name)} {told} the {limit:.0f} MiB that "
            "file_management.max_size_mb allows."
        )

    def _wrong_size(self, found: str, again: bool = False) -> DownloadFailed:
        return DownloadFailed(
            f"{show(self.wanted.name)} has {found} bytes, but should have {self.wanted.size}: "
            "upload it again.",
            again=again,
        )


def _full(name: str) -> str:
    return (
        f"There is no room for {show(name)}: it would leave less than {RESERVE // 2**20} MiB free. "
        "Delete old files on the printer."
    )
