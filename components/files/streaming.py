"""One HTTP/1.1 GET whose body is taken at the reader's pace.

Tornado's `AsyncHTTPClient` has no back-pressure: its streaming callback cannot be awaited, so a
disk slower than the network fills the memory. Here nothing is read from the socket while the reader
is busy, and the socket's own flow control slows the server down. Redirects are not followed,
nothing is decoded, every connection serves one request.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import Any, Dict, Mapping, Optional

from tornado.iostream import IOStream, StreamClosedError, UnsatisfiableReadError
from tornado.tcpclient import TCPClient
from tornado.util import TimeoutError as TornadoTimeout

from ..hub.outcomes import Failure, explain
from ..runtime.names import NameResolver, Names
from ..runtime.records import NamedTuple
from .addresses import host_header, split_target
from .staging_file import BLOCK

MAX_HEADER = 32 * 1024  # bytes
MAX_STREAM_BUFFER = 2 * BLOCK  # bytes; Tornado counts the reader's own buffer too
MAX_CHUNK_LINE = 4 * 1024  # bytes of a chunk's size line, extensions included
MAX_INTERIM = 5  # 1xx answers before the real one
SLOWEST = 1024  # bytes a second over ten time limits: a drip must not hold the queue for days

_STATUS = re.compile(r"HTTP/1\.[01] (\d{3})(?: .*)?\Z")
_NUMBER = re.compile(r"\d{1,15}\Z")
_HEX = re.compile(rb"([0-9a-fA-F]{1,14})[ \t]*(?:;[^\r\n]*)?\r?\n\Z")


class StreamFailed(Exception):
    """The exchange broke off, or never began; `failure` says in which way, the text is a sentence
    for people.
    """

    def __init__(self, failure: Failure, sentence: str) -> None:
        super().__init__(sentence)
        self.failure = failure


class Head(NamedTuple):
    """Status and headers of a reply; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    length: Optional[int]  # bytes of the body, if it was announced
    chunked: bool


class Stream:
    """An open reply: `head`, then `read_into` until it returns 0, then `close` (always)."""

    def __init__(self, stream: IOStream, host: str, idle: float) -> None:
        self._stream = stream
        self._host = host
        self._idle = idle  # seconds without a byte after which the reply is given up
        self._loop = asyncio.get_event_loop()
        self._reading_since: Optional[float] = None
        self._gave_up = ""
        self._received = 0
        self._timer: Any = None
        self._measured = (self._loop.time(), 0)
        # Bytes to the end of the body or of the chunk; None: until the connection ends.
        self._left: Optional[int] = None
        self._in_chunks = False
        self._ended = False
        self.head = Head(0, {}, None, False)
        self._watch()

    async def ask(self, target: str, headers: Mapping[str, str]) -> None:
        """Send the request and read the head of the reply."""
        lines = [f"GET {target} HTTP/1.1"] + [f"{name}: {value}" for name, value in headers.items()]
        request = ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
        await self._guard(self._stream.write(request))
        for _ in range(MAX_INTERIM):
            raw = await self._guard(
                self._stream.read_until_regex(rb"\r?\n\r?\n", max_bytes=MAX_HEADER)
            )
            self.head = self._parse(raw.decode("latin-1"))
            if self.head.status >= 200:
                break
        else:
            raise self._garbled()
        self._left = 0 if self.head.chunked else self.head.length
        self._ended = self.head.status in (204, 304)

    async def read_into(self, view: memoryview) -> int:
        """Fill the beginning of `view` with whatever has come; bytes read, 0 at the end of the
        body.

        Raises `StreamFailed` when the body was cut or nothing came for too long.
        """
        if self.head.chunked and self._left == 0 and not self._ended:
            await self._next_chunk()
        if self._ended or self._left == 0:
            return 0
        if self._left is not None and self._left < len(view):
            view = view[: self._left]
        try:
            count: int = await self._guard(self._stream.read_into(view, partial=True))  # type: ignore[arg-type]
        except StreamFailed:
            if self._left is None and not self._gave_up and self._stream.error is None:
                return 0  # a body without an announced length ends with the connection
            raise
        self._received += count
        if self._left is not None:
            self._left -= count
        return count

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._stream.close()

    async def _next_chunk(self) -> None:
        if self._in_chunks and await self._read_line() not in (b"\r\n", b"\n"):
            raise self._garbled()
        match = _HEX.match(await self._read_line())
        if match is None:
            raise self._garbled()
        self._in_chunks = True
        self._left = int(match.group(1), 16)
        self._ended = self._left == 0  # trailers, if any, are nobody's business

    async def _read_line(self) -> bytes:
        return await self._guard(self._stream.read_until(b"\n", max_bytes=MAX_CHUNK_LINE))

    async def _guard(self, reading: Any) -> Any:
        """Await one operation of the stream, under the watch for silence."""
        self._reading_since = self._loop.time()
        try:
            return await reading
        except StreamClosedError as error:
            if self._gave_up:
                raise StreamFailed(Failure.TIMED_OUT, self._gave_up) from None
            if isinstance(error.real_error, UnsatisfiableReadError):
                raise self._garbled() from None
            if isinstance(error.real_error, ssl.SSLError):
                raise StreamFailed(*_told(error, self._host, self._idle)) from None
            raise StreamFailed(
                Failure.UNREACHABLE,
                f"{self._host} closed the connection before everything had come.",
            ) from None
        finally:
            self._reading_since = None

    def _watch(self) -> None:
        """Close the stream when nothing comes; the time our own disk takes does not count."""
        now = self._loop.time()
        if self._reading_since is not None and now - self._reading_since >= self._idle:
            self._gave_up = f"{self._host} sent nothing for {self._idle:g} s."
        since, before = self._measured
        if now - since >= 10 * self._idle:
            if self._received - before < SLOWEST * (now - since):
                self._gave_up = (
                    f"{self._host} sends less than {SLOWEST} bytes a second, which would never end."
                )
            self._measured = (now, self._received)
        if self._gave_up:
            self._stream.close()
            return
        self._timer = self._loop.call_later(self._idle / 4, self._watch)

    def _parse(self, text: str) -> Head:
        lines = text.split("\n")
        match = _STATUS.match(lines[0].rstrip("\r"))
        if match is None:
            raise self._garbled()
        headers: Dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.rstrip("\r").partition(":")
            if not colon:
                continue
            key, value = name.strip().lower(), value.strip()
            if key == "content-length" and headers.get(key, value) != value:
                raise self._garbled()
            headers[key] = value
        coding = headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length")
        if coding not in ("", "chunked") or (length is not None and _NUMBER.match(length) is None):
            raise self._garbled()
        chunked = coding == "chunked"
        return Head(
            int(match.group(1)),
            headers,
            None if chunked or length is None else int(length),
            chunked,
        )

    def _garbled(self) -> StreamFailed:
        return StreamFailed(
            Failure.STATUS,
            f"{self._host} answered with something that is not HTTP: check the address.",
        )


async def open_stream(
    url: str,
    headers: Mapping[str, str],
    *,
    connect_timeout: float,
    idle: float,
    tls: Optional[ssl.SSLContext],
    user_agent: str,
) -> Stream:
    """Connect, ask for `url` and return the reply with its head read. Raises `StreamFailed`.

    `connect_timeout` covers name, connection and TLS; `idle` is the longest silence after that
    (seconds).
    """
    origin, target = split_target(url)
    scheme, host, port = origin
    names = Names()
    tcp = TCPClient(resolver=NameResolver(names=names))
    try:
        stream = await tcp.connect(
            host,
            port,
            ssl_options=tls if scheme == "https" else None,
            max_buffer_size=MAX_STREAM_BUFFER,
            timeout=connect_timeout,
        )
    except asyncio.CancelledError:
        raise
    except (TornadoTimeout, asyncio.TimeoutError):
        raise StreamFailed(
            Failure.UNREACHABLE,
            f"No connection to {host} within {connect_timeout:g} s: check the network and the "
            "server.",
        ) from None
    except Exception as error:
        raise StreamFailed(*_told(error, host, connect_timeout)) from None
    finally:
        names.close()
        tcp.close()
    reply = Stream(stream, host, idle)
    try:
        await reply.ask(
            target,
            {
                "Host": host_header(origin),
                "User-Agent": user_agent,
                "Accept": "*/*",
                "Accept-Encoding": "identity",  # size and checksum are those of the plain bytes
                "Connection": "close",
                **headers,
            },
        )
    except BaseException:
        reply.close()
        raise
    return reply


def _told(error: Exception, host: str, timeout: float) -> "tuple[Failure, str]":
    exchange = explain(error, host, timeout)
    return exchange.failure or Failure.UNREACHABLE, exchange.sentence
