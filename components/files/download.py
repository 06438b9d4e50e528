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
from typing import Callable, NamedTuple, Optional, Tuple

from ..hub.outcomes import Failure, explain, host_of, http_date, read_retry_after, redact_query
from ..net.connect import Connector
from ..net.faults import ConnectFailed, Phase
from ..net.get import MAX_BUFFER, SLOWEST, Break, Enough, GetFailed, Head, Taker, get
from ..runtime.messages import Told, say
from ..runtime.worker import Worker
from .addresses import host_header, split_target
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


class DownloadFailed(Told):
    """`again`: another attempt may succeed; `keep`: what has come so far is
    worth keeping.
    """

    def __init__(
        self,
        template: str,
        *,
        again: bool = False,
        keep: bool = False,
        damaged: bool = False,
        retry_after: Optional[float] = None,
        **places: object,
    ) -> None:
        super().__init__(template, **places)
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
        connector: Connector,
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
        self._connector = connector
        self._space = space
        self._on_bytes = on_bytes
        self._file = StagingFile(path, bool(wanted.sha256), space, opener)
        self._total: Optional[int] = None  # bytes of the whole, as the server announced it

    async def attempt(self, resume: bool) -> Sealed:
        """Fetch the file, or the rest of it if `resume`; what it is once it is whole, verified and
        safely on disk.
        """
        try:
            have = await self._begin(resume)
            if (
                have and have == self.wanted.size
            ):  # whole already: we were stopped just before it was put in place
                return await self._verify(framed=True)
            return await self._take(have)
        except NotGcode as error:
            raise DownloadFailed(
                "{file} is {error}.", file=show(self.wanted.name), error=str(error)
            ) from None
        except DiskFull:
            raise DownloadFailed(_full(self.wanted.name)) from None
        except (GetFailed, ConnectFailed) as error:
            raise self._broken(*_told(error, host_of(self.wanted.url), self._limits.idle)) from None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DownloadFailed(_full(self.wanted.name)) from None
            reason = error.strerror or type(error).__name__
            raise DownloadFailed(
                "{file} cannot be written to {folder} ({reason}): check the disk.",
                file=show(self.wanted.name),
                folder=self.path.parent,
                reason=reason,
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

    async def _take(self, have: int) -> Sealed:
        """Ask for the file, or for the rest behind `have` bytes, and take it in."""
        origin, target = split_target(self.wanted.url)
        scheme, host, port = origin
        headers = {
            "Host": host_header(origin),
            "User-Agent": self._user_agent,
            "Accept": "*/*",
            "Accept-Encoding": "identity",  # size and checksum are those of the plain bytes
            "Connection": "close",
            **self.wanted.headers,
        }
        if have:
            headers["Range"] = f"bytes={have}-"
            if self.etag:
                headers["If-Range"] = self.etag
        opened = await self._connector.open(
            scheme, host, port, within=self._limits.connect, max_buffer=MAX_BUFFER
        )
        if opened.absolute:
            target = f"{scheme}://{host_header(origin)}{target}"
            if opened.proxy is not None and opened.proxy.authorization:
                headers["Proxy-Authorization"] = opened.proxy.authorization
        arrival = _Arrival(self, have)
        try:
            head = await get(opened.stream, target, headers, arrival, idle=self._limits.idle)
        finally:
            # What came before a cut goes to the disk as well.
            await asyncio.shield(arrival.flush())
        if arrival.refusal:
            raise self._refused(head, bytes(arrival.refusal[:HEAD]))
        await arrival.end()
        return await self._verify(head.framed)

    async def begin_reply(self, head: Head, have: int) -> int:
        """Judge the head of a reply that brings the file; how much of it is kept from before."""
        if head.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
            raise DownloadFailed(
                "{host} sends {file} compressed although plain was asked for: turn compression "
                "off for downloads (zlib.output_compression, mod_deflate).",
                host=host_of(self.wanted.url),
                file=show(self.wanted.name),
            )
        if head.status == 206:
            self._check_range(head.headers.get("Content-Range", ""), have, head.length)
        elif have:  # the server begins anew
            have = 0
            await self._worker.run(self._file.begin, False)
        etag = head.headers.get("ETag", "")
        self.etag = etag if _ETAG.match(etag) else ""
        if head.status == 200:
            self._total = head.length
        if head.length is not None:
            await self._check_space(head.length)
        return have

    def expected(self) -> Optional[int]:
        return self._total if self._total is not None else self.wanted.size

    def received(self, done: int) -> None:
        """So many bytes of the file have come."""
        if done > self._limits.max_size:
            raise self._too_large(None)
        if self.wanted.size is not None and done > self.wanted.size:
            raise self._wrong_size(say("more than {size}", size=done - 1))
        self._on_bytes(done, self.expected())

    async def write(self, block: bytearray) -> None:
        await self._worker.run(self._file.write, block)

    def check_start(self, block: bytes) -> None:
        """Is this the file at all? The hub sends its refusals with HTTP 200, in its place."""
        start = block[:HEAD]
        told = None if has_command(start) else hub_message(start)
        if told is not None:
            host = host_of(self.wanted.url)
            name = show(self.wanted.name)
            raise DownloadFailed(
                say('{host} does not give {file}: "{told}".', host=host, file=name, told=told)
                if told
                else say("{host} does not give {file} without a reason.", host=host, file=name)
            )
        check_head(start)
        size, total = self.wanted.size, self._total
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
                "{file} came with {size} of the {total} bytes announced.",
                file=name,
                size=self._file.size,
                total=self._total,
                again=True,
            )
        checked = wanted.has_checksum and self._limits.verify_checksums
        if not framed and wanted.size is None and not checked:
            raise DownloadFailed(
                "{host} does not say how long {file} is, so a cut could not be noticed: let it "
                "send Content-Length, a size or a checksum.",
                host=host_of(wanted.url),
                file=name,
            )
        sums = await self._worker.run(self._file.finish)
        if self._limits.verify_checksums:
            for kind, expected, found in (
                ("SHA-256", wanted.sha256, sums.sha256),
                ("MD5", wanted.md5, sums.md5),
            ):
                if expected and expected != found:
                    raise DownloadFailed(
                        "{file} came damaged: its {kind} is {found}, but should be {expected}.",
                        file=name,
                        kind=kind,
                        found=found,
                        expected=expected,
                        again=True,
                        damaged=True,
                    )
        return await self._worker.run(self._file.seal)

    def _refused(self, head: Head, body: bytes) -> DownloadFailed:
        host, name = host_of(self.wanted.url), show(self.wanted.name)
        if head.status == 416:
            return DownloadFailed(
                "{host} has a different {file} now.", host=host, file=name, again=True
            )
        if 300 <= head.status < 400:
            target = redact_query(head.headers.get("Location", ""))
            return DownloadFailed(
                "{host} redirects {file} to {target}: give the final address; redirects are "
                "not followed.",
                host=host,
                file=name,
                target=target,
            )
        told = hub_message(body)
        said = f' ("{told}")' if told else ""
        if head.status in (404, 410):
            return DownloadFailed(
                "{host} has no file {file}: HTTP {status}{said}.",
                host=host,
                file=name,
                status=head.status,
                said=said,
            )
        if head.status in AGAIN_STATUSES:
            date = http_date(head.headers.get("Date", ""))
            wait = read_retry_after(head.headers.get("Retry-After", ""), 0.0, date)
            return DownloadFailed(
                "{host} answered HTTP {status}{said} for {file}: look into the server's PHP "
                "error log.",
                host=host,
                status=head.status,
                said=said,
                file=name,
                again=True,
                keep=True,
                retry_after=wait,
            )
        return DownloadFailed(
            "{host} answered HTTP {status}{said} for {file}.",
            host=host,
            status=head.status,
            said=said,
            file=name,
        )

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
                "{host} sent another part of {file} than was asked for.",
                host=host_of(self.wanted.url),
                file=show(self.wanted.name),
                again=True,
            )
        self._total = whole

    async def _check_space(self, more: int) -> None:
        if await self._worker.run(self._space, self.path.parent) < max(more, 0) + RESERVE:
            raise DiskFull()

    def _broken(self, failure: Failure, why: str) -> DownloadFailed:
        again = failure in (Failure.DNS, Failure.UNREACHABLE, Failure.TIMED_OUT, Failure.BUSY)
        told = say("{file} could not be fetched: {why}", file=show(self.wanted.name), why=why)
        return DownloadFailed(told, again=again, keep=again and self.resumable)

    def _too_large(self, size: Optional[int]) -> DownloadFailed:
        limit = self._limits.max_size / 2**20
        if size is None:
            return DownloadFailed(
                "{file} is larger than the {limit:.0f} MiB that file_management.max_size_mb "
                "allows.",
                file=show(self.wanted.name),
                limit=limit,
            )
        return DownloadFailed(
            "{file} has {size:.0f} MiB, more than the {limit:.0f} MiB that "
            "file_management.max_size_mb allows.",
            file=show(self.wanted.name),
            size=size / 2**20,
            limit=limit,
        )

    def _wrong_size(self, found: str, again: bool = False) -> DownloadFailed:
        return DownloadFailed(
            "{file} has {found} bytes, but should have {wanted}: upload it again.",
            file=show(self.wanted.name),
            found=found,
            wanted=self.wanted.size,
            again=again,
        )


class _Arrival(Taker):
    """Takes the reply in: one block is filled from the network while the thread writes the one
    before, and the network waits where that takes longer.
    """

    def __init__(self, download: Download, have: int) -> None:
        self._download = download
        self._done = have
        self._block = bytearray()
        self._first = True
        self._writing: "Optional[asyncio.Future[None]]" = None
        self._time = asyncio.get_event_loop().time
        self._flush_at = 0.0
        self.refusal = bytearray()  # the body of a reply that does not bring the file
        self._refused = False

    async def head(self, head: Head) -> None:
        if head.status not in (200, 206):
            self._refused = True
            self.refusal += b" "  # white space before whatever it says
            return
        self._done = await self._download.begin_reply(head, self._done)
        self._first = not self._done

    async def body(self, chunk: bytes) -> None:
        if self._refused:
            self.refusal += chunk
            if len(self.refusal) >= HEAD:
                raise Enough()
            return
        if not self._block:
            self._flush_at = self._time() + FILL_TIME
        self._block += chunk
        self._done += len(chunk)
        self._download.received(self._done)
        full = len(self._block) >= BLOCK
        if full or (len(self._block) >= MIN_BLOCK and self._time() >= self._flush_at):
            await self._next()

    async def end(self) -> None:
        """The reply is complete."""
        if self._first and not self._block:
            return  # nothing came: what is missing is told by whoever verifies
        await self._next()
        await self.flush()

    async def flush(self) -> None:
        """Put what has come on the disk, whatever became of the rest. Raises what the disk says."""
        if self._block and not self._first:
            await self._next()
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing

    async def _next(self) -> None:
        block, self._block = self._block, bytearray()
        if self._first and block:
            self._first = False
            self._download.check_start(bytes(block))
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing
        if block:
            self._writing = asyncio.ensure_future(self._download.write(block))


def _told(error: Exception, host: str, idle: float) -> Tuple[Failure, str]:
    """What an exchange that broke off means, and a sentence on it."""
    if isinstance(error, ConnectFailed):
        phases = {Phase.RESOLVE: Failure.DNS, Phase.TLS: Failure.TLS}
        return phases.get(error.phase, Failure.UNREACHABLE), error.sentence
    assert isinstance(error, GetFailed)
    if error.kind is Break.SILENT:
        return Failure.TIMED_OUT, say(
            "{host} sent nothing for {seconds:g} s.", host=host, seconds=idle
        )
    if error.kind is Break.SLOW:
        return (
            Failure.TIMED_OUT,
            say(
                "{host} sends less than {slowest} bytes a second, which would never end.",
                host=host,
                slowest=SLOWEST,
            ),
        )
    if error.kind is Break.GARBLED:
        return (
            Failure.STATUS,
            say("{host} answered with something that is not HTTP: check the address.", host=host),
        )
    if isinstance(error.error, ssl.SSLError):
        exchange = explain(error.error, host, idle)
        return exchange.failure or Failure.TLS, exchange.sentence
    return Failure.UNREACHABLE, say(
        "{host} closed the connection before everything had come.", host=host
    )


def _full(name: str) -> str:
    return say(
        "There is no room for {file}: it would leave less than {reserve} MiB free. "
        "Delete old files on the printer.",
        file=show(name),
        reserve=RESERVE // 2**20,
    )
