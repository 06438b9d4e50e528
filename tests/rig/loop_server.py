"""A small HTTP server in a thread of its own, for the parts of the rig that can misbehave.

It reads requests properly (Content-Length, chunked, keep-alive, Expect) and leaves the answer,
down to the last byte or to none at all, to a subclass's `answer()`. A test in any thread sees what
arrived (`requests()`), waits for it (`wait_for_request()`, `await arrived()`), and can take the
port away (`refuse()`, `blackhole()`) and give it back (`listen()`).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Set
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from .certificates import Certificate, make_certificate
from .ports import reserve_port

T = TypeVar("T")
Self = TypeVar("Self", bound="LoopServer")

_HEAD_LIMIT = 256 << 10
_BLOCK = 64 << 10


@dataclass(frozen=True)
class Seen:
    """One request, read to its end."""

    time: float  # unix seconds, when its head had arrived
    connection: int  # number of its connection, from 1
    method: str
    target: str  # as sent: path and query
    headers: dict[str, str]  # lower-case names
    body: bytes

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))


@dataclass
class Counters:
    """What happened since the start or the last clear(); bytes are those of the client's side."""

    connections: int = 0
    requests: int = 0
    answered: int = 0
    abandoned: int = 0  # the client left before the answer was complete
    bytes_in: int = 0
    bytes_out: int = 0


class ClientGone(Exception):
    """The client closed its connection, or sent what is no HTTP."""


class Exchange:
    """One request and the way back to its client."""

    def __init__(
        self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, book: Counters
    ) -> None:
        self.seen = seen
        self.keep_alive = False  # set by an answer that is complete and framed
        self._reader = reader
        self._writer = writer
        self._book = book

    async def send(self, data: bytes) -> None:
        """Raises ClientGone as soon as nobody reads it any more."""
        try:
            self._writer.write(data)
            self._book.bytes_out += len(data)
            await self._writer.drain()
        except (OSError, ssl.SSLError) as error:
            raise ClientGone from error

    async def reply(
        self,
        code: int,
        body: bytes = b"",
        *,
        content_type: str = "application/json; charset=utf-8",
        headers: dict[str, str] | None = None,
    ) -> None:
        """A proper, complete answer."""
        length = {"Content-Type": content_type, "Content-Length": str(len(body))}
        await self.send(head(code, {**length, **(headers or {})}) + body)
        self.keep_alive = self.seen.headers.get("connection", "").lower() != "close"

    async def until_gone(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work, unless the client leaves first (ClientGone)."""
        task = asyncio.ensure_future(work)
        leaving = asyncio.ensure_future(self.gone())
        try:
            await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise ClientGone
        finally:
            leaving.cancel()
            if not task.done():
                task.cancel()
            await asyncio.gather(task, leaving, return_exceptions=True)

    async def gone(self) -> None:
        """Return when the client has closed its side (what it sends meanwhile is dropped)."""
        try:
            while await self._reader.read(_BLOCK):
                pass
        except (OSError, ssl.SSLError):
            pass

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        sock = self._writer.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


def head(code: int, headers: dict[str, str]) -> bytes:
    """Status line and headers with the empty line after them."""
    lines = [f"HTTP/1.1 {code} {_REASONS.get(code, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class LoopServer:
    """See the module. `tls` is one of certificates.KINDS."""

    def __init__(self, *, tls: str | None = None) -> None:
        self.port = 0
        self.counters = Counters()
        self.certificate: Certificate | None = None
        self._tls_folder: tempfile.TemporaryDirectory[str] | None = None
        self._tls: ssl.SSLContext | None = None
        if tls is not None:
            self._tls_folder = tempfile.TemporaryDirectory(prefix="tecmedhub-tls-")
            self.certificate = make_certificate(Path(self._tls_folder.name), tls)
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(self.certificate.chain, self.certificate.key)
        self._seen: list[Seen] = []
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None
        self._server: asyncio.Server | None = None
        self._sockets: list[socket.socket] = []  # what holds the port while nothing listens
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(self, exchange: Exchange) -> None:
        """Called for each request; ends the connection unless it sets `exchange.keep_alive`."""
        raise NotImplementedError

    async def accepted(self) -> None:
        """Called for each connection before anything is read from it."""

    # -- life ----------------------------------------------------------------------------------

    def start(self: Self, port: int = 0) -> Self:
        self._thread = threading.Thread(target=self._loop.run_forever, name="rig", daemon=True)
        self._thread.start()
        self.port = port
        self._call(self._listen())
        return self

    def stop(self) -> None:
        if self._thread is None:
            return
        self._call(self._quiet())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self._thread = None
        if self._tls_folder is not None:
            self._tls_folder.cleanup()

    def __enter__(self: Self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def url(self, target: str = "/") -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}{target}"

    # -- the port ------------------------------------------------------------------------------

    def refuse(self) -> None:
        """Drop every connection and refuse new ones; the port stays ours."""
        self._call(self._quiet(keep_port=True))

    def blackhole(self) -> None:
        """Drop every connection and let new ones hang while connecting, as behind a firewall.

        A queue of no length, already full: the kernel (Linux) drops what comes after.
        """
        self._call(self._quiet(keep_port=True, full_queue=True))

    def listen(self) -> None:
        """Accept connections again, where none were; those that there are stay."""
        self._call(self._listen())

    def drop_connections(self) -> None:
        """Close every open connection, whatever it waits for; new ones are accepted."""
        self._call(self._drop())

    # -- what arrived --------------------------------------------------------------------------

    def requests(self, target: str = "") -> list[Seen]:
        """The requests whose target (path and query) contains this, oldest first."""
        with self._changed:
            return [seen for seen in self._seen if target in unquote(seen.target)]

    def wait_for_request(self, target: str = "", count: int = 1, timeout: float = 60) -> list[Seen]:
        """Block until there are that many; TimeoutError names what came instead."""
        self.wait_for(lambda: len(self.requests(target)) >= count, timeout, target or "a request")
        return self.requests(target)

    def wait_for(self, predicate: Callable[[], bool], timeout: float = 60, what: str = "") -> None:
        """Block until it is true; it is asked anew at each connection, request and answer."""
        with self._changed:
            if not self._changed.wait_for(predicate, timeout):
                came = [f"{seen.method} {seen.target}" for seen in self._seen[-10:]]
                raise TimeoutError(f"not within {timeout:g} s: {what}; came: {came}")

    async def arrived(self, target: str = "", count: int = 1, timeout: float = 60) -> list[Seen]:
        """wait_for_request for a test in an event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, self.wait_for_request, target, count, timeout)

    def clear(self) -> None:
        """Forget the requests and set the counters to nought."""
        with self._changed:
            self._seen.clear()
            for name in vars(self.counters):
                setattr(self.counters, name, 0)

    # -- in the thread -------------------------------------------------------------------------

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(60)

    def _bind(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.port = self.port or reserve_port()
        sock.bind(("127.0.0.1", self.port))
        return sock

    async def _listen(self) -> None:
        if self._server is not None:
            return
        await self._quiet()
        self._server = await asyncio.start_server(
            self._connected, sock=self._bind(), limit=_HEAD_LIMIT, ssl=self._tls
        )

    async def _quiet(self, *, keep_port: bool = False, full_queue: bool = False) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        await self._drop()
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()
        if keep_port:
            holder = self._bind()
            self._sockets.append(holder)
            if full_queue:
                holder.listen(0)
                self._fill(holder)

    def _fill(self, holder: socket.socket) -> None:
        for _ in range(3):
            filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            filler.setblocking(False)
            filler.connect_ex(holder.getsockname())
            self._sockets.append(filler)

    async def _drop(self, but: Set[asyncio.Task[None]] = frozenset()) -> None:
        tasks = self._tasks - but
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5)

    def _note(self, **counts: int) -> None:
        with self._changed:
            for name, count in counts.items():
                setattr(self.counters, name, getattr(self.counters, name) + count)
            self._changed.notify_all()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._note(connections=1)
        number = self.counters.connections
        try:
            await self.accepted()
            while await self._exchange(number, reader, writer):
                pass
        except asyncio.CancelledError:
            writer.transport.abort()
        except (ClientGone, OSError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _exchange(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """One request and its answer; whether another may follow."""
        seen = await self._read(number, reader, writer)
        if seen is None:
            return False
        with self._changed:
            self._seen.append(seen)
        self._note(requests=1)
        exchange = Exchange(seen, reader, writer, self.counters)
        try:
            await self.answer(exchange)
        except ClientGone:
            self._note(abandoned=1)
            return False
        self._note(answered=1)
        return exchange.keep_alive

    async def _read(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Seen | None:
        try:
            block = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            return None
        at = time.time()
        first, *rest = block.decode("latin-1").split("\r\n")
        method, _, target = first.partition(" ")
        headers = {}
        for line in rest:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        if headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            body = await _read_body(reader, headers)
        except (asyncio.IncompleteReadError, ValueError) as error:
            raise ClientGone from error
        self._note(bytes_in=len(block) + len(body))
        return Seen(at, number, method, target.rpartition(" ")[0], headers, body)


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length") or 0))
    body = bytearray()
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        body += await reader.readexactly(size)
        await reader.readexactly(2)
        if size == 0:
            return bytes(body)


_REASONS = {
    200: "OK",
    301: "Moved Permanently",
    302: "Found",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
}
