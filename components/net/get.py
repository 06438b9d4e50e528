"""One GET over an open connection: the reply is judged as it comes, and no more of it is read than
whoever takes it can bear.

The HTTP is Tornado's `HTTP1Connection`, which reads on only when the taker is done with what it was
given: a disk slower than the network holds the server back, by the socket's own flow control.
Redirects are not followed, nothing is decoded, every connection serves one request.
"""

import asyncio
import re
from enum import Enum
from typing import Any, Mapping, NamedTuple, Optional

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.iostream import IOStream, StreamClosedError, UnsatisfiableReadError

CHUNK = 64 << 10  # bytes handed over at a time, at most
MAX_HEADER = 32 << 10  # bytes
MAX_BUFFER = MAX_HEADER + 2 * CHUNK  # bytes that the connection should hold for a slow taker
UNBOUNDED = 1 << 50  # bytes; the taker counts
SLOWEST = 1024  # bytes a second over ten silences' time: a drip must not hold anything for days


_NUMBER = re.compile(r"[0-9]{1,15}\Z")


class Break(str, Enum):
    """How an exchange can end before its time."""

    SILENT = "silent"  # no byte for as long as was allowed
    SLOW = "slow"  # bytes, but never to an end
    CUT = "cut"  # the connection ended first
    GARBLED = "garbled"  # what came is not HTTP


class GetFailed(Exception):
    """The exchange broke off, or never began."""

    def __init__(self, kind: Break, error: Optional[BaseException] = None) -> None:
        super().__init__(kind.value)
        self.kind = kind
        self.error = error  # what the connection says about it, if anything


class Enough(Exception):
    """Raised by a taker that wants no more: the exchange ends there, and well."""


class Head(NamedTuple):
    """Status and headers of a reply."""

    status: int
    headers: HTTPHeaders  # they know no case
    length: Optional[int]  # bytes of the body, where it was announced
    chunked: bool

    @property
    def framed(self) -> bool:
        """Whether a cut can be told from the end."""
        return self.chunked or self.length is not None


# What Tornado must not see of what a taker raises. Of a cancel it would make an exception of its
# own, and whoever waits would take a download that was cancelled for one that has failed.
_RAISED = (Exception, asyncio.CancelledError)


class Taker:
    """What becomes of a reply. Whatever these raise ends the exchange, and is raised by `get`."""

    async def head(self, head: Head) -> None:
        """Once, before the body."""

    async def body(self, chunk: bytes) -> None:
        """At most `CHUNK` bytes; the connection is read on when this returns."""


async def get(
    stream: IOStream,
    target: str,
    headers: Mapping[str, str],
    taker: Taker,
    *,
    idle: float,
    slowest: int = SLOWEST,
) -> Head:
    """Ask for `target`, and hand the reply to `taker` until its end; the head. Closes `stream`.

    `idle` is the longest silence (seconds); the time that the taker takes does not count. Raises
    `GetFailed`, and what the taker raises but for `Enough`.
    """
    exchange = _Exchange(stream, taker, idle, slowest)
    try:
        return await exchange.run(target, headers)
    finally:
        exchange.close()


class _Exchange(HTTPMessageDelegate):
    def __init__(self, stream: IOStream, taker: Taker, idle: float, slowest: int) -> None:
        self._stream = stream
        self._taker = taker
        self._idle = idle
        self._slowest = slowest
        limits = HTTP1ConnectionParameters(
            no_keep_alive=True,
            chunk_size=CHUNK,
            max_header_size=MAX_HEADER,
            max_body_size=UNBOUNDED,
        )
        self._connection = HTTP1Connection(stream, True, limits)
        self._loop = asyncio.get_event_loop()
        self._timer: Any = None
        self._waiting_since: Optional[float] = self._loop.time()
        self._received = 0
        self._measured = (self._loop.time(), 0)
        self._head: Optional[Head] = None
        self._unframed = False
        self._complete = False
        self._raised: Optional[BaseException] = None  # by the taker
        self._gave_up: Optional[Break] = None

    async def run(self, target: str, headers: Mapping[str, str]) -> Head:
        error: Optional[BaseException] = None
        closed_on_us = False
        self._watch()
        try:
            start = RequestStartLine("GET", target, "")
            await self._connection.write_headers(start, HTTPHeaders(dict(headers)))
            self._connection.finish()
            await self._connection.read_response(self)
            if self._unframed:
                await self._read_until_close()
        except StreamClosedError as closed:
            closed_on_us, error = True, closed.real_error
        if self._raised is not None:
            if isinstance(self._raised, Enough) and self._head is not None:
                return self._head
            raise self._raised
        if self._gave_up is not None:
            raise GetFailed(self._gave_up)
        if self._complete and self._head is not None:
            return self._head
        # Tornado says nothing of a reply that it cannot read, and closes.
        cut = closed_on_us and not isinstance(error, UnsatisfiableReadError)
        raise GetFailed(Break.CUT if cut else Break.GARBLED, error)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._stream.close()

    # What Tornado calls; an exception here would be logged as a fault of the program

    async def headers_received(self, start_line: Any, headers: HTTPHeaders) -> None:
        assert isinstance(start_line, ResponseStartLine)
        if 100 <= start_line.code < 200:
            return
        length = headers.get("Content-Length", "").partition(",")[0].strip()
        chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
        known = int(length) if _NUMBER.match(length) and not chunked else None
        self._head = Head(start_line.code, headers, known, chunked)
        self._waiting_since = None
        try:
            await self._taker.head(self._head)
        except _RAISED as error:
            self._end(error)
            return
        finally:
            self._waiting_since = self._loop.time()
        # A length that is none, or two of them, is for Tornado to refuse.
        if not (length or self._head.framed) and start_line.code not in (204, 304):
            # Tornado would hold all of it in memory: it is read here, piece by piece.
            self._unframed = True
            self._connection.detach()

    async def data_received(self, chunk: bytes) -> None:
        if self._raised is not None:
            return
        self._received += len(chunk)
        self._waiting_since = None
        try:
            await self._taker.body(chunk)
        except _RAISED as error:
            self._end(error)
        finally:
            self._waiting_since = self._loop.time()

    def finish(self) -> None:
        self._complete = True
        # Behind a 1xx Tornado would go on reading until the server closes.
        self._stream.close()

    def on_connection_close(self) -> None:
        pass  # `run` tells

    # Inside

    async def _read_until_close(self) -> None:
        try:
            while self._raised is None:
                await self.data_received(await self._stream.read_bytes(CHUNK, partial=True))
        except StreamClosedError as closed:
            if closed.real_error is not None:
                raise
            self._complete = self._gave_up is None

    def _end(self, error: BaseException) -> None:
        self._raised = error
        self._stream.close()

    def _watch(self) -> None:
        """Close the connection when nothing comes, or too little for ever."""
        now = self._loop.time()
        if self._waiting_since is not None and now - self._waiting_since >= self._idle:
            self._gave_up = Break.SILENT
        since, before = self._measured
        if self._slowest and now - since >= 10 * self._idle:
            if self._received - before < self._slowest * (now - since):
                self._gave_up = self._gave_up or Break.SLOW
            self._measured = (now, self._received)
        if self._gave_up is not None:
            self._stream.close()
            return
        self._timer = self._loop.call_later(self._idle / 4, self._watch)
