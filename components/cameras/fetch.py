"""One bounded picture from one address: an outcome with a sentence, never an exception, never more
than asked for.

Tornado's AsyncHTTPClient cannot be stopped in mid-body, and buffers a reply without a length (mjpg-
streamer's, and every endless stream) up to 100 MB. So this stands one room lower, on Tornado's
`TCPClient` and `HTTP1Connection`: the first bytes are judged as they arrive, and the connection is
closed the moment they are not a picture's or are too many.
"""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
import urllib.parse
from dataclasses import dataclass
from enum import Enum
from typing import Any, Callable, List, Optional

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpclient import TCPClient
from tornado.util import TimeoutError as TornadoTimeout

from ..runtime.aside import aside
from ..runtime.names import NameResolver, Names
from .sources import shown

MAX_PICTURE = 10 << 20  # bytes; a JPEG of 64 megapixels has about that many
MAX_HEADER = 32 << 10  # bytes
CHUNK = 64 << 10  # bytes
SNIFFED = 512  # bytes that tell what a body is
MAX_REDIRECTS = 3


class Trouble(str, Enum):
    """Why there is no picture."""

    BAD_URL = "bad_url"
    DNS = "dns"
    UNREACHABLE = "unreachable"
    TLS = "tls"
    TIMED_OUT = "timed_out"
    STATUS = "status"
    STREAM = "stream"
    HTML = "html"
    NOT_A_PICTURE = "not_a_picture"
    TOO_LARGE = "too_large"
    CUT_SHORT = "cut_short"
    DAMAGED = "damaged"
    RESTING = "resting"  # it failed lately and is not asked at the moment

    @property
    def passing(self) -> bool:
        """It may well be gone at the next attempt: worth a second one before people are told."""
        return self in (Trouble.UNREACHABLE, Trouble.TIMED_OUT, Trouble.CUT_SHORT, Trouble.DAMAGED)


@dataclass(frozen=True)
class Fetched:
    """The bytes of one picture, or why there are none."""

    data: bytes = b""
    trouble: Optional[Trouble] = None
    sentence: str = ""  # for people; empty when there is a picture
    url: str = ""


class Kind(str, Enum):
    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    HTML = "html"
    MULTIPART = "multipart"
    OTHER = "other"


def sniff(head: bytes) -> Kind:
    """What a body is, by its first bytes; the Content-Type of camera servers is not to be relied
    on.

    >>> sniff(b"\\xff\\xd8\\xff\\xe0").value, sniff(b"  <!DOCTYPE html>").value
    ('jpeg', 'html')
    """
    if head.startswith(b"\xff\xd8\xff"):
        return Kind.JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Kind.PNG
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Kind.WEBP
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<body", b"<!--")):
        return Kind.HTML
    if text.startswith(b"--") and b"content-" in text:
        return Kind.MULTIPART
    return Kind.OTHER


class Fetcher:
    """Fetches pictures; each fetch has a connection of its own, so that a dead camera holds up no
    other.
    """

    def __init__(self, user_agent: str) -> None:
        self._user_agent = user_agent
        self._names = Names()
        self._tcp = TCPClient(resolver=NameResolver(names=self._names))
        self._tls: Optional[ssl.SSLContext] = None

    async def fetch(self, url: str, timeout: float) -> Fetched:
        """Get the picture at `url` within `timeout` seconds, redirects included."""
        try:
            return await asyncio.wait_for(self._follow(url, timeout), timeout)
        except (asyncio.TimeoutError, TornadoTimeout):
            where = shown(url)
            return Fetched(
                trouble=Trouble.TIMED_OUT,
                sentence=f"{where} sent no picture within {timeout:g} s; "
                "see whether the camera's service hangs.",
                url=url,
            )
        except asyncio.CancelledError:
            raise
        except Exception as error:
            return explain(error, url)

    def close(self) -> None:
        self._names.close()
        self._tcp.close()

    async def _follow(self, url: str, timeout: float) -> Fetched:
        for _ in range(MAX_REDIRECTS + 1):
            reader = await self._exchange(url, timeout)
            if not (300 <= reader.status < 400 and reader.location):
                return reader.outcome(url)
            url = urllib.parse.urljoin(url, reader.location)
            if not url.lower().startswith(("http://", "https://")):
                break
        return Fetched(
            trouble=Trouble.STATUS,
            sentence=f"{shown(url)} is redirected without end; enter the snapshot's own address.",
            url=url,
        )

    async def _exchange(self, url: str, timeout: float) -> "_Reader":
        parts = urllib.parse.urlsplit(url)
        secure = parts.scheme.lower() == "https"
        stream = await self._tcp.connect(
            parts.hostname or "",
            parts.port or (443 if secure else 80),
            ssl_options=await self._tls_context() if secure else None,
            max_buffer_size=MAX_HEADER + 2 * CHUNK,
            timeout=timeout,
        )
        try:
            limits = HTTP1ConnectionParameters(
                no_keep_alive=True,
                chunk_size=CHUNK,
                max_header_size=MAX_HEADER,
                max_body_size=2 * MAX_PICTURE,
            )
            connection = HTTP1Connection(stream, True, limits)
            reader = _Reader(connection, stream)
            target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
            await connection.write_headers(
                RequestStartLine("GET", target, ""), self._headers(parts)
            )
            connection.finish()
            try:
                await connection.read_response(reader)
                await reader.read_until_close()
            except StreamClosedError:
                if not reader.judged:
                    raise
            return reader
        finally:
            stream.close()

    def _headers(self, parts: urllib.parse.SplitResult) -> HTTPHeaders:
        headers = HTTPHeaders(
            {
                "Host": parts.netloc.rpartition("@")[2],
                "User-Agent": self._user_agent,
                "Accept": "image/jpeg, image/png;q=0.5, image/webp;q=0.5",
                "Connection": "close",
            }
        )
        if parts.username is not None:
            user = urllib.parse.unquote(parts.username)
            password = urllib.parse.unquote(parts.password or "")
            pair = base64.b64encode(f"{user}:{password}".encode())
            headers["Authorization"] = f"Basic {pair.decode('ascii')}"
        return headers

    async def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = await aside(ssl.create_default_context)  # it blocks, on a Pi for long
        return self._tls


class _Reader(HTTPMessageDelegate):
    """Takes a response in, and closes the stream as soon as it is clear that it will not be a
    picture.
    """

    def __init__(self, connection: HTTP1Connection, stream: IOStream) -> None:
        self._connection = connection
        self._stream = stream
        self._chunks: List[bytes] = []
        self._size = 0
        self._detached = False
        self._complete = False
        self._trouble: Optional[Callable[[str], Fetched]] = None
        self.status = 0
        self.location = ""

    @property
    def judged(self) -> bool:
        """Whether we closed the stream ourselves, knowing enough."""
        return self._trouble is not None or 300 <= self.status < 400

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> None:
        assert isinstance(start_line, ResponseStartLine)
        self.status = start_line.code
        self.location = headers.get("Location", "")
        content_type = headers.get("Content-Type", "").lower()
        length = headers.get("Content-Length", "")
        if 100 <= self.status < 200:
            return
        if 300 <= self.status < 400:
            self._stream.close()
        elif not 200 <= self.status < 300:
            self._refuse(Trouble.STATUS, _status_sentence(self.status))
        elif content_type.startswith("multipart/"):
            self._refuse(Trouble.STREAM, "{} is a stream; enter the address of its snapshot.")
        elif length.isdigit() and int(length[:12]) > MAX_PICTURE:
            self._refuse(Trouble.TOO_LARGE, _TOO_LARGE)
        elif not length and "chunked" not in headers.get("Transfer-Encoding", "").lower():
            self._connection.detach()  # it ends when the server closes: read by `read_until_close`
            self._detached = True

    def data_received(self, chunk: bytes) -> None:
        if self._trouble is not None:
            return
        before = self._size
        self._size += len(chunk)
        if self._size > MAX_PICTURE:
            self._refuse(Trouble.TOO_LARGE, _TOO_LARGE)
            return
        self._chunks.append(chunk)
        if before < SNIFFED and self._size >= SNIFFED:
            self._judge()

    def finish(self) -> None:
        self._complete = True

    async def read_until_close(self) -> None:
        """Read a body without a length, chunk by chunk, if the response has one."""
        if not self._detached:
            return
        try:
            while self._trouble is None:
                self.data_received(await self._stream.read_bytes(CHUNK, partial=True))
        except StreamClosedError as error:
            self._complete = error.real_error is None

    def outcome(self, url: str) -> Fetched:
        if self._trouble is None:
            self._judge()
        if self._trouble is None and not self._complete:
            self._refuse(Trouble.CUT_SHORT, "{} broke off in the middle of the picture.")
        if self._trouble is not None:
            return self._trouble(url)
        return Fetched(b"".join(self._chunks), url=url)

    def _judge(self) -> None:
        head = b""
        for chunk in self._chunks:
            if len(head) >= SNIFFED:
                break
            head += chunk[:SNIFFED]
        kind = sniff(head)
        if not head:
            self._refuse(
                Trouble.NOT_A_PICTURE, "{} sent nothing; see whether the camera is plugged in."
            )
        elif kind is Kind.HTML:
            self._refuse(
                Trouble.HTML, "{} is a web page, not a picture; enter the address of the snapshot."
            )
        elif kind is Kind.MULTIPART:
            self._refuse(Trouble.STREAM, "{} is a stream; enter the address of its snapshot.")
        elif kind is Kind.OTHER:
            self._refuse(
                Trouble.NOT_A_PICTURE,
                "{} sent no JPEG, PNG or WebP; enter the address of the snapshot.",
            )

    def _refuse(self, trouble: Trouble, sentence: str) -> None:
        self._trouble = lambda url: Fetched(
            trouble=trouble, sentence=sentence.format(shown(url)), url=url
        )
        self._chunks.clear()
        self._stream.close()


_TOO_LARGE = "{} sent more than " + f"{MAX_PICTURE >> 20} MiB; lower the camera's resolution."


def _status_sentence(status: int) -> str:
    hint = {
        401: "enter user and password into the address, as in http://user:password@camera/",
        403: "look into the camera's access rules",
        404: "check the path of the snapshot",
        502: "the web server is there, but the camera's service behind it does not run",
        503: "the camera's service has no picture: see whether the camera is plugged in",
    }.get(status, "look into the log of the camera's service")
    return "{} answered HTTP " + f"{status}: {hint}."


def explain(error: Exception, url: str) -> Fetched:
    """The outcome of an exception met on the way to a picture."""
    cause = getattr(error, "real_error", None) or error
    where = shown(url)
    if isinstance(cause, socket.gaierror):
        trouble, sentence = (
            Trouble.DNS,
            f"The host of {where} cannot be found; enter its number, as in 192.168.1.20.",
        )
    elif isinstance(cause, ssl.SSLError):
        trouble, sentence = (
            Trouble.TLS,
            f"{where} has no certificate that can be trusted; enter its http:// address.",
        )
    elif isinstance(cause, ConnectionRefusedError):
        trouble = Trouble.UNREACHABLE
        sentence = (
            f"{where} refuses connections; see whether the camera's service (crowsnest, say) runs."
        )
    elif isinstance(cause, OSError) and not isinstance(cause, StreamClosedError):
        reason = cause.strerror or type(cause).__name__
        trouble = Trouble.UNREACHABLE
        sentence = f"{where} cannot be reached ({reason}); check the camera's network."
    elif isinstance(error, StreamClosedError):
        trouble = Trouble.CUT_SHORT
        sentence = f"{where} closed the connection without a picture."
    else:
        trouble = Trouble.BAD_URL
        sentence = (
            f"{where} cannot be used as a camera's address ({type(error).__name__}); check it."
        )
    return Fetched(trouble=trouble, sentence=sentence, url=url)
