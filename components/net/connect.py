"""Opens connections: name, proxy, the address that answers first, TLS; all within one limit.

Whatever fails, or is given up, is closed before anybody hears of it: no socket outlives its
attempt. Tornado's own TCPClient cannot promise that: it loses sight of a connection whose TLS
handshake does not end.

    opened = await connector.open("https", "hub.example", 443, within=10.0)
    try:
        ...  # opened.stream is Tornado's IOStream
    finally:
        opened.stream.close()
"""

import asyncio
import os
import socket
import ssl
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

from tornado.iostream import IOStream, SSLIOStream, UnsatisfiableReadError

from ..runtime.clock import Clock
from .certificate import issuer_of
from .faults import (
    AUTHORITY_MATTERS,
    ConnectFailed,
    Phase,
    not_connected,
    not_resolved,
    proxy_failed,
    proxy_refused,
    real_error,
    tls_failed,
    tls_timed_out,
)
from .names import Names, numeric
from .proxy import Proxy, ProxyUnusable, proxy_for
from .trust import Server, Trust, TrustBroken

# Seconds for which a name that was found is not looked up again: a name server that hangs later
# is met by few requests.
NAME_FRESH = 300.0
NAMES_KEPT = 20
STAGGER = 0.3  # seconds between attempts at several addresses (RFC 8305 advises 0.15 to 0.25)
MAX_BUFFER = 1 << 20  # bytes that a stream holds for a slow reader
MAX_PROXY_HEAD = 16 << 10  # bytes
ISSUER_WITHIN = 3.0  # seconds to find out who signed a certificate that is not trusted
ISSUER_FRESH = 3600.0  # seconds
# Seconds of silence after which the kernel asks whether the other end is there, between two such
# questions, and how many may go unanswered. They also keep a middlebox from forgetting the flow.
PROBES = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))

Address = Tuple[int, Any]  # family and socket address


class Opened(NamedTuple):
    """An open connection. Its `stream` is the caller's to close."""

    stream: IOStream
    server: Server  # whom it was opened for
    proxy: Optional[Proxy] = None
    # Through a proxy without a tunnel: the request names the whole address.
    absolute: bool = False

    @property
    def resumed(self) -> bool:
        """Whether TLS went on where an earlier connection was."""
        return bool(getattr(self.stream.socket, "session_reused", False))


class Connector:
    """`proxy()` is the option `network.proxy`; the environment is Moonraker's."""

    def __init__(
        self,
        clock: Clock,
        trust: Trust,
        proxy: Callable[[], str] = lambda: "",
        environment: Optional[Mapping[str, str]] = None,
        names: Optional[Names] = None,
    ) -> None:
        self._clock = clock
        self.trust = trust
        self._proxy = proxy
        self._environment = os.environ if environment is None else environment
        self._names = names or Names()
        self._found: Dict[str, Tuple[float, List[Address]]] = {}  # host → until when, and where
        self._first: Dict[Server, Address] = {}  # the address that answered first last time
        self._issuers: Dict[Server, Tuple[float, str]] = {}

    def close(self) -> None:
        """Wait for no name any more. Connections are their openers' to close."""
        self._names.close()

    def proxy_for(self, scheme: str, host: str, port: int) -> Optional[Proxy]:
        """Raises `ConnectFailed` where what is set for it cannot be used."""
        try:
            return proxy_for(scheme, host, port, self._proxy(), self._environment)
        except ProxyUnusable as error:
            raise ConnectFailed(Phase.PROXY, str(error)) from None

    async def open(
        self,
        scheme: str,
        host: str,
        port: int,
        *,
        within: float,
        max_buffer: int = MAX_BUFFER,
        proxied: bool = True,
    ) -> Opened:
        """A connection to `host`, within so many seconds. Raises `ConnectFailed` and nothing else.

        `proxied=False` is for what stands in the same network, as cameras do.
        """
        end = self._clock.monotonic() + within
        proxy = self.proxy_for(scheme, host, port) if proxied else None
        server = (host, port)
        stream = await self._reach(proxy, server, end, within, max_buffer)
        if scheme != "https":
            return Opened(stream, server, proxy, proxy is not None)
        try:
            stream = await self._secure(stream, proxy, server, end, within, max_buffer)
        except ConnectFailed as failed:
            issuer = await self._issuer(failed, proxy, server)
            if issuer and failed.error is not None:
                raise tls_failed(host, port, failed.error, issuer) from None
            raise
        return Opened(stream, server, proxy)

    # Phases

    async def _reach(
        self, proxy: Optional[Proxy], server: Server, end: float, within: float, max_buffer: int
    ) -> IOStream:
        """A plain connection to the server, or to the proxy: names are its to resolve then."""
        host, port = server if proxy is None else (proxy.host, proxy.port)
        try:
            addresses = await self._resolve(host, port, end)
        except asyncio.TimeoutError:
            raise self._unresolved(proxy, host, None, within) from None
        except (OSError, UnicodeError) as error:
            raise self._unresolved(proxy, host, error, within) from None
        try:
            return await self._race((host, port), addresses, end, max_buffer)
        except (OSError, asyncio.TimeoutError) as error:
            self._found.pop(host, None)
            if proxy is not None:
                raise proxy_failed(proxy.shown, error, within) from None
            raise not_connected(host, port, error, within) from None

    @staticmethod
    def _unresolved(
        proxy: Optional[Proxy], host: str, error: Optional[BaseException], within: float
    ) -> ConnectFailed:
        if proxy is None:
            return not_resolved(host, error, within)
        return proxy_failed(proxy.shown, error or asyncio.TimeoutError(), within)

    async def _resolve(self, host: str, port: int, end: float) -> List[Address]:
        until, addresses = self._found.get(host, (0.0, []))
        if until <= self._clock.monotonic():
            looking = self._names.look_up(host)
            addresses = await asyncio.wait_for(looking, max(self._left(end), 0.001))
            if numeric(host) is None:
                if len(self._found) >= NAMES_KEPT:
                    self._found.clear()
                self._found[host] = (self._clock.monotonic() + NAME_FRESH, addresses)
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        return [(family, (where[0], port, *where[2:])) for family, where in addresses]

    async def _race(
        self, server: Server, addresses: List[Address], end: float, max_buffer: int
    ) -> IOStream:
        """To each address in turn, a little after the one before or when that has failed; the first
        that answers wins, and is tried first next time (RFC 8305).
        """
        waiting = _in_turn(addresses, self._first.get(server))
        running: "Dict[asyncio.Task[IOStream], Address]" = {}
        failure: Optional[BaseException] = None
        try:
            while waiting or running:
                left = self._left(end)
                if left <= 0:
                    raise asyncio.TimeoutError
                if waiting:
                    address = waiting.pop(0)
                    attempt = asyncio.ensure_future(_connect(address, max_buffer))
                    running[attempt] = address
                done, _ = await asyncio.wait(
                    list(running),
                    timeout=min(left, STAGGER) if waiting else left,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for attempt in done:
                    address = running.pop(attempt)
                    error = attempt.exception()
                    if error is None:
                        self._first[server] = address
                        return attempt.result()
                    failure = error
            assert failure is not None
            raise failure
        finally:
            for attempt in running:
                attempt.cancel()
                attempt.add_done_callback(_close_late)

    async def _tunnel(
        self, stream: IOStream, proxy: Proxy, server: Server, end: float, within: float
    ) -> None:
        """CONNECT (RFC 9110, 9.3.6)."""
        host, port = server
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        if proxy.authorization:
            lines.append(f"Proxy-Authorization: {proxy.authorization}")
        try:
            stream.write(("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
            reading = stream.read_until(b"\r\n\r\n", max_bytes=MAX_PROXY_HEAD)
            head = await asyncio.wait_for(reading, max(self._left(end), 0.001))
            status = int(head.split(b" ", 2)[1][:3])
        except (ValueError, IndexError, UnicodeError, UnsatisfiableReadError):
            raise proxy_failed(proxy.shown, ValueError("no HTTP"), within) from None
        except (OSError, asyncio.TimeoutError) as error:
            raise proxy_failed(proxy.shown, error, within) from None
        if not 200 <= status < 300:
            raise proxy_refused(proxy.shown, host, status, bool(proxy.user))

    async def _secure(
        self,
        plain: IOStream,
        proxy: Optional[Proxy],
        server: Server,
        end: float,
        within: float,
        max_buffer: int,
    ) -> SSLIOStream:
        """TLS over `plain`, through the proxy's tunnel where there is one; closes it on failure."""
        host, port = server
        try:
            if proxy is not None:
                await self._tunnel(plain, proxy, server, end, within)
            context = await self.trust.context()
        except TrustBroken as error:
            plain.close()
            raise ConnectFailed(Phase.TLS, str(error)) from None
        except BaseException:
            plain.close()
            raise
        try:
            stream = _wrap(plain, context, host, self.trust.session(server), max_buffer)
        except (OSError, ValueError) as error:
            raise tls_failed(host, port, error) from None
        try:
            await self._handshake(stream, end)
        except asyncio.TimeoutError:
            stream.close()
            raise tls_timed_out(host, within) from None
        except OSError as error:
            stream.close()
            if isinstance(real_error(error), ssl.SSLCertVerificationError):
                self.trust.doubted()
            raise tls_failed(host, port, error) from None
        except BaseException:
            stream.close()
            raise
        return stream

    async def _issuer(self, failed: ConnectFailed, proxy: Optional[Proxy], server: Server) -> str:
        """Who signed the certificate that was not trusted; looked up by a connection of its own,
        over which nothing is sent.
        """
        if getattr(failed.error, "verify_code", 0) not in AUTHORITY_MATTERS:
            return ""
        now = self._clock.monotonic()
        until, issuer = self._issuers.get(server, (0.0, ""))
        if until > now:
            return issuer
        try:
            issuer = await self._look_at_issuer(proxy, server)
        except (OSError, ValueError, asyncio.TimeoutError, ConnectFailed):
            issuer = ""
        self._issuers.clear()
        self._issuers[server] = (now + ISSUER_FRESH, issuer)
        return issuer

    async def _look_at_issuer(self, proxy: Optional[Proxy], server: Server) -> str:
        end = self._clock.monotonic() + ISSUER_WITHIN
        blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        blind.check_hostname = False
        blind.verify_mode = ssl.CERT_NONE
        plain = await self._reach(proxy, server, end, ISSUER_WITHIN, MAX_BUFFER)
        try:
            if proxy is not None:
                await self._tunnel(plain, proxy, server, end, ISSUER_WITHIN)
        except BaseException:
            plain.close()
            raise
        stream = _wrap(plain, blind, server[0], None, MAX_BUFFER)
        try:
            await self._handshake(stream, end)
            return issuer_of(stream.socket.getpeercert(True) or b"")
        finally:
            stream.close()

    async def _handshake(self, stream: SSLIOStream, end: float) -> None:
        """Not by `wait_for`: Tornado cannot close a stream whose handshake has been cancelled."""
        ending = stream.wait_for_handshake()
        done, _ = await asyncio.wait([ending], timeout=max(self._left(end), 0.001))
        if not done:
            ending.add_done_callback(lambda given_up: given_up.exception())
            raise asyncio.TimeoutError
        ending.result()

    def _left(self, end: float) -> float:
        return end - self._clock.monotonic()


async def _connect(address: Address, max_buffer: int) -> IOStream:
    family, where = address
    stream = IOStream(socket.socket(family, socket.SOCK_STREAM), max_buffer_size=max_buffer)
    try:
        await stream.connect(where)
        _probe(stream.socket)
    except BaseException:
        stream.close()
        raise
    return stream


def _close_late(attempt: "asyncio.Task[IOStream]") -> None:
    """One that had connected while it was being given up."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


def _probe(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in PROBES:
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _in_turn(addresses: List[Address], first: Optional[Address]) -> List[Address]:
    """The one that answered last time, then the families in turn, as the resolver ranks them."""
    families: Dict[int, List[Address]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    ordered: List[Address] = [first] if first is not None and first in addresses else []
    while any(families.values()):
        for members in families.values():
            if members:
                address = members.pop(0)
                ordered += [address] if address not in ordered else []
    return ordered


def _wrap(
    plain: IOStream,
    context: ssl.SSLContext,
    host: str,
    session: Optional[ssl.SSLSession],
    max_buffer: int,
) -> SSLIOStream:
    """TLS over a connection that `plain` has made, and which it has no part in any more. As
    `IOStream.start_tls`, whose result would be out of reach until the handshake has ended.
    """
    sock = plain.socket
    plain.io_loop.remove_handler(sock)
    plain.socket = None  # type: ignore[assignment]
    try:
        secured = context.wrap_socket(
            sock, server_hostname=host, session=session, do_handshake_on_connect=False
        )
    except BaseException:
        sock.close()
        raise
    return SSLIOStream(secured, ssl_options=context, max_buffer_size=max_buffer)
