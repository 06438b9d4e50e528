"""Tornado's HTTP client with one thing added: connections are kept and used again.

It is the class that Moonraker's `http_client` component owns, with its limits and defaults, and
the same `fetch`. Two connections at the most lie idle. What may be sent again takes the one that
lay idle longest, so that neither grows too old to be trusted; all else the other. A request that
waits long (`patient`) has one of its own, which `hang_up` closes, so that the hub sees that
nobody listens.

A kept connection that ended meanwhile costs nothing: what had no byte of an answer is sent again,
once, on a new one, if it may be carried out twice (`repeatable`). A request for commands may not:
the hub forgets what it hands out. It goes only over a connection that is sure to live (`idle`).
"""

import io
import select
import socket
import ssl
import urllib.parse
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple, Union

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httpclient import HTTPRequest, HTTPResponse
from tornado.httputil import (
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream, StreamClosedError
from tornado.simple_httpclient import (
    HTTPStreamClosedError,
    HTTPTimeoutError,
    SimpleAsyncHTTPClient,
)

from ..net.connect import Connector, Opened
from ..net.faults import proxy_refused
from ..runtime.clock import Clock
from .idle import IdleLimit

MOST_IDLE = 2  # connections; one for the status, one for commands beside it
MAX_BUFFER = (1 << 20) + (128 << 10)  # bytes of an answer that Tornado holds at a time
MAX_HEADER = 32 << 10  # bytes
PIECE = 64 << 10  # bytes, of a body without an announced length
SHORTEST = 0.5  # seconds for a second attempt, however late the first one failed
HANG_UP_WITHIN = 0.4  # seconds for what the hub has just handed out to arrive
SERVERS_KEPT = 8
ADDRESSES_KEPT = 20

Origin = Tuple[str, str, int]


class Unheard(HTTPStreamClosedError):
    """A kept connection ended before a byte of an answer came, and the request may not be
    repeated.
    """


class _Where(NamedTuple):
    """What a URL says, as a request needs it."""

    origin: Origin
    target: str  # path and query
    host: str  # as the Host header has it

    @staticmethod
    def of(url: str) -> "_Where":
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("no http address")
        usual = 443 if parts.scheme == "https" else 80
        port = parts.port or usual
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        if not host.isascii():
            host = host.encode("idna").decode("ascii")
        target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        shown = host if port == usual else f"{host}:{port}"
        return _Where((parts.scheme, parts.hostname, port), target, shown)


class _Line:
    """One open connection."""

    def __init__(self, opened: Opened, origin: Origin, patient: bool) -> None:
        self.opened = opened
        self.stream = opened.stream
        self.origin = origin
        self.patient = patient
        self.uses = 0
        self.idle_since = 0.0  # monotonic
        self.last = False  # our side of it is closed

    @property
    def clean(self) -> bool:
        """Nothing has come that nobody asked for, an end least of all."""
        if self.stream.closed() or _buffered(self.stream):
            return False
        poll = select.poll()
        poll.register(self.stream.socket, select.POLLIN)
        return not poll.poll(0)


class KeptClient(SimpleAsyncHTTPClient):
    """Made with `force_instance=True`. `fetch` also heeds two attributes of a request:
    `repeatable` and `patient` (see the module); its errors are Tornado's and `ConnectFailed`.
    """

    def initialize(  # type: ignore[override]
        self, connector: Connector, clock: Clock, **limits: Any
    ) -> None:
        super().initialize(**limits)
        self._connector = connector
        self._clock = clock
        self._lines: Set[_Line] = set()  # all that are open
        self._idle: List[_Line] = []  # the one used last at the end
        self._limits: Dict[Origin, IdleLimit] = {}
        self._places: Dict[str, _Where] = {}  # of the few addresses that are asked again and again
        self._over = False
        self.opened = 0  # connections
        self.resumed = 0  # of these, with the TLS of an earlier one
        self.reused = 0  # requests that needed no new connection

    async def fetch(  # type: ignore[override]
        self, request: Union[str, HTTPRequest], raise_error: bool = True, **more: Any
    ) -> HTTPResponse:
        """As Tornado's, but that a caller who is cancelled closes the connection."""
        if self._over:
            raise RuntimeError("The client is closed.")
        asked = HTTPRequest(request, **more) if isinstance(request, str) else request
        response = await self._exchange(asked, self._clock.monotonic())
        if raise_error:
            response.rethrow()
        return response

    def hang_up(self) -> None:
        """End the long wait, if there is one: we say nothing more, which the hub sees at once. What
        it had just handed out may still arrive for a moment.
        """
        for line in [line for line in self._lines if line.patient]:
            if line in self._idle:
                self._drop(line)
                continue
            line.last = True
            try:
                # Of the plain socket: that of TLS would forget how to read.
                socket.socket.shutdown(line.stream.socket, socket.SHUT_WR)
            except OSError:
                pass
            self._clock.call_later(HANG_UP_WITHIN, line.stream.close)

    def forget(self) -> None:
        """Keep no connection that lies idle: another hub, proxy or authority is set."""
        for line in list(self._idle):
            self._drop(line)
        self._limits.clear()
        self._places.clear()

    def close(self) -> None:
        self._over = True
        for line in list(self._lines):
            self._drop(line)
        super().close()

    # One exchange

    async def _exchange(self, request: HTTPRequest, started: float) -> HTTPResponse:
        where = self._where(request.url)
        end = started + (request.request_timeout or 20.0)
        repeatable = bool(getattr(request, "repeatable", False))
        patient = bool(getattr(request, "patient", False))
        line = self._take(where.origin, repeatable, patient)
        if line is not None:
            self.reused += 1
            try:
                return await self._converse(line, where, request, end)
            except Unheard:
                if not repeatable:
                    raise
        within = max(end - self._clock.monotonic(), SHORTEST)
        line = await self._open(where.origin, patient, min(within, request.connect_timeout or 20.0))
        end = max(end, self._clock.monotonic() + SHORTEST)
        return await self._converse(line, where, request, end)

    async def _open(self, origin: Origin, patient: bool, within: float) -> _Line:
        opened = await self._connector.open(*origin, within=within, max_buffer=MAX_BUFFER)
        if self._over:
            opened.stream.close()
            raise HTTPStreamClosedError("The client was closed")
        self.opened += 1
        self.resumed += opened.resumed
        line = _Line(opened, origin, patient)
        self._lines.add(line)
        return line

    async def _converse(
        self,
        line: _Line,
        where: _Where,
        request: HTTPRequest,
        end: float,
    ) -> HTTPResponse:
        """One request and its answer over `line`, which is kept if both sides want it."""
        started = self._clock.monotonic()
        idle = started - line.idle_since if line.uses else 0.0
        limit = self._limit(line.origin)
        reader = _Reader(line.stream, request.streaming_callback)
        timer = self._clock.call_later(end - started, reader.give_up)
        line.uses += 1
        broken: Optional[BaseException] = None
        try:
            # Its parameters are few and the object is for one exchange: so is Tornado's design.
            connection = HTTP1Connection(line.stream, True, self._parameters())
            start = RequestStartLine(request.method, self._target(line, where, request.url), "")
            connection.write_headers(start, self._headers(line, where, request), request.body)
            connection.finish()
            reader.connection = connection
            await connection.read_response(reader)
            await reader.read_until_close()
        except (OSError, HTTPInputError, ValueError, AssertionError) as error:
            broken = error
        finally:
            timer.cancel()
            if not reader.keepable:
                self._drop(line)
        if reader.complete and reader.failure is None:
            if line.uses > 1:
                limit.survived(idle)
            self._keep(line, limit, reader)
            _check_proxy(line.opened, reader)
            return self._response(reader, request, started)
        self._lost(line, limit, reader, idle)
        raise _failure(reader, broken, line.uses > 1)

    def _lost(self, line: _Line, limit: IdleLimit, reader: "_Reader", idle: float) -> None:
        """What the end of a kept connection tells of the others."""
        if line.uses < 2 or reader.heard or reader.failure is not None:
            return
        limit.died(idle)
        for other in [other for other in self._idle if other.origin == line.origin]:
            self._drop(other)

    def _keep(self, line: _Line, limit: IdleLimit, reader: "_Reader") -> None:
        limit.announced(reader.headers.get("Keep-Alive", ""))
        if line.uses == 1 and isinstance(line.stream.socket, ssl.SSLSocket):
            self._connector.trust.connected(line.opened.server, line.stream.socket)
        if line.stream.closed() or line.last or self._over:
            self._drop(line)
            return
        line.idle_since = self._clock.monotonic()
        self._idle.append(line)
        line.stream.set_close_callback(lambda: self._ended(line))
        shared = [other for other in self._idle if not other.patient]
        for oldest in shared[:-MOST_IDLE]:
            self._drop(oldest)

    def _take(self, origin: Origin, repeatable: bool, patient: bool) -> Optional[_Line]:
        """A kept connection that the request may be trusted to."""
        now = self._clock.monotonic()
        limit = self._limit(origin)
        for line in list(self._idle) if repeatable else reversed(list(self._idle)):
            if line.origin != origin or line.patient is not patient:
                continue
            idle = now - line.idle_since
            if not line.clean or not limit.allows(idle, repeatable=True):
                self._drop(line)
            elif limit.allows(idle, repeatable=repeatable):
                self._idle.remove(line)
                line.stream.set_close_callback(None)
                return line
        return None

    def _ended(self, line: _Line) -> None:
        """The server closed it while it lay idle, and thus tells how long it waits."""
        self._limit(line.origin).died(self._clock.monotonic() - line.idle_since)
        self._drop(line)

    def _drop(self, line: _Line) -> None:
        self._lines.discard(line)
        if line in self._idle:
            self._idle.remove(line)
        if not line.stream.closed():
            line.stream.set_close_callback(None)
            line.stream.close()

    def _where(self, url: str) -> _Where:
        where = self._places.get(url)
        if where is None:
            if len(self._places) >= ADDRESSES_KEPT:
                self._places.clear()
            where = self._places[url] = _Where.of(url)
        return where

    def _limit(self, origin: Origin) -> IdleLimit:
        if origin not in self._limits:
            if len(self._limits) >= SERVERS_KEPT:
                self._limits.clear()
            self._limits[origin] = IdleLimit(self._clock)
        return self._limits[origin]

    # The request and the answer as HTTP has them

    def _parameters(self) -> HTTP1ConnectionParameters:
        header = min(self.max_header_size or MAX_HEADER, MAX_HEADER)
        # How long a body may be, whoever takes it decides.
        return HTTP1ConnectionParameters(max_header_size=header, max_body_size=1 << 40)

    @staticmethod
    def _target(line: _Line, where: _Where, url: str) -> str:
        if not line.opened.absolute:
            return where.target
        return f"{where.origin[0]}://{where.host}{where.target}"

    def _headers(self, line: _Line, where: _Where, request: HTTPRequest) -> HTTPHeaders:
        headers = HTTPHeaders({"Host": where.host})
        agent = str(request.user_agent or self.defaults.get("user_agent") or "")
        if agent:
            headers["User-Agent"] = agent
        headers.update(request.headers)
        if request.body is not None:
            headers["Content-Length"] = str(len(request.body))
        proxy = line.opened.proxy
        if line.opened.absolute and proxy is not None and proxy.authorization:
            headers["Proxy-Authorization"] = proxy.authorization
        return headers

    def _response(self, reader: "_Reader", request: HTTPRequest, started: float) -> HTTPResponse:
        return HTTPResponse(
            request,
            reader.code,
            headers=reader.headers,
            buffer=io.BytesIO(b"".join(reader.chunks)),
            effective_url=request.url,
            request_time=self._clock.monotonic() - started,
            reason=reader.reason,
        )


class _Reader(HTTPMessageDelegate):
    """Takes one answer in. It raises nothing into Tornado, which would log each with a trace."""

    def __init__(self, stream: IOStream, take: Optional[Callable[[bytes], None]]) -> None:
        self._stream = stream
        self.chunks: List[bytes] = []
        self._take = take or self.chunks.append
        self._interim = False
        self._framed = False
        self._version = ""
        self.code = 0
        self.reason = ""
        self.headers = HTTPHeaders()
        self.heard = False
        self.complete = False
        self.connection: Optional[HTTP1Connection] = None
        self._detached = False
        self.timed_out = False
        self.failure: Optional[Exception] = None  # of whoever takes the body

    def give_up(self) -> None:
        """The time is over."""
        self.timed_out = True
        self._stream.close()

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> None:
        assert isinstance(start_line, ResponseStartLine)
        self.heard = True
        if 100 <= start_line.code < 200:
            self._interim = True
            return
        self.code, self.reason = start_line.code, start_line.reason
        self._version = start_line.version
        self.headers = headers
        self._framed = (
            "Content-Length" in headers or "Transfer-Encoding" in headers or self.code in (204, 304)
        )
        if not self._framed and self.connection is not None and not self._stream.writing():
            self.connection.detach()  # Tornado would keep all of it, and log what is too much
            self._detached = True

    async def read_until_close(self) -> None:
        """The body that ends with the connection, piece by piece, if this answer has one."""
        while self._detached and self.failure is None:
            try:
                self.data_received(await self._stream.read_bytes(PIECE, partial=True))
            except StreamClosedError as error:
                if error.real_error is not None or self.timed_out or self.failure is not None:
                    raise
                self.complete = True
                return

    def data_received(self, chunk: bytes) -> None:
        if self.complete or self.failure is not None:
            return
        try:
            self._take(chunk)
        except Exception as error:
            self.failure = error
            self._stream.close()

    def finish(self) -> None:
        self.complete = self.code >= 200
        # After an interim answer Tornado would read on until the server closes; and it would wait
        # until all of the request is written, also where the server does not want the rest.
        if self._interim or self._stream.writing():
            self._stream.close()

    def on_connection_close(self) -> None:
        return

    @property
    def silent(self) -> bool:
        """Not a byte of an answer came."""
        return not self.heard and not _buffered(self._stream)

    @property
    def keepable(self) -> bool:
        """Whether another request may follow (RFC 9112, 9.3)."""
        if not self.complete or not self._framed or self._stream.closed():
            return False
        wishes = {wish.strip() for wish in self.headers.get("Connection", "").lower().split(",")}
        if "close" in wishes or (self._version != "HTTP/1.1" and "keep-alive" not in wishes):
            return False
        return not _buffered(self._stream)


def _check_proxy(opened: Opened, reader: _Reader) -> None:
    """Raise `ConnectFailed` where it is the proxy that answers: with 407, or, as tinyproxy does to
    a wrong password, with 401 in its own name.
    """
    if not opened.absolute or opened.proxy is None or reader.code not in (401, 407):
        return
    if reader.code == 407 or "proxy" in reader.headers.get("Server", "").lower():
        proxy = opened.proxy
        raise proxy_refused(proxy.shown, opened.server[0], 407, bool(proxy.user))


def _buffered(stream: IOStream) -> int:
    """Bytes that have come and were not read; more than none where that cannot be told."""
    return int(getattr(stream, "_read_buffer_size", 1))


def _failure(reader: _Reader, broken: Optional[BaseException], kept: bool) -> Exception:
    if reader.failure is not None:
        return reader.failure
    if reader.timed_out:
        return HTTPTimeoutError("Timeout in the body" if reader.heard else "Timeout during request")
    if not isinstance(broken, StreamClosedError):
        return HTTPInputError("What came was no HTTP")
    cause = broken.real_error
    gone = cause is None or isinstance(cause, (ConnectionError, ssl.SSLEOFError))
    if kept and gone and reader.silent:
        return Unheard("The kept connection had ended")
    return cause if isinstance(cause, Exception) else HTTPStreamClosedError("Stream closed")
