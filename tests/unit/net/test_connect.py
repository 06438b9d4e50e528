"""Connections: each fault told as itself, and no socket left behind."""

from __future__ import annotations

import asyncio
import gc
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tornado.iostream import IOStream

from components.net.certificate import issuer_of
from components.net.connect import Connector, Opened, _in_turn
from components.net.faults import ConnectFailed, Phase, tls_failed
from components.net.names import Names
from components.net.trust import SESSION_FRESH, Trust
from components.runtime.clock import Clock
from tests.rig.faults import FaultServer
from tests.rig.proxy import Proxy
from tests.unit.fakes import until


def make(ca_file: str = "", proxy: str = "", **environment: str) -> Connector:
    trust = Trust(Clock(), lambda: ca_file, environment)
    return Connector(Clock(), trust, lambda: proxy, environment)


@pytest.fixture(autouse=True)
async def _no_connection_is_left() -> AsyncIterator[None]:
    """Of Tornado's, that is ours: the servers of the tests do not use it."""
    before = set(map(id, _open()))
    yield
    # What was cancelled is closed at the loop's next turns.
    await until(
        lambda: not [stream for stream in _open() if id(stream) not in before], "all closed"
    )


def _open() -> list[object]:
    found = gc.get_objects()
    streams = [s for s in found if isinstance(s, IOStream) and s.socket and not s.closed()]
    return [*streams, *(s for s in found if isinstance(s, ssl.SSLSocket) and s.fileno() != -1)]


async def ask(
    connector: Connector, scheme: str, host: str, port: int, within: float = 5.0
) -> bytes:
    """The first line of an answer, over a new connection."""
    opened = await connector.open(scheme, host, port, within=within)
    try:
        target = f"{scheme}://{host}/x" if opened.absolute else "/x"
        request = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
        if opened.absolute and opened.proxy:
            request += f"Proxy-Authorization: {opened.proxy.authorization}\r\n"
        await opened.stream.write(f"{request}\r\n".encode())
        return await opened.stream.read_until(b"\r\n")
    finally:
        opened.stream.close()
        connector.close()


@pytest.mark.parametrize("tls", [None, "good"])
async def test_a_server_is_reached(tls: str | None) -> None:
    with FaultServer(tls=tls) as server:
        authority = str(server.certificate.authority) if server.certificate else ""
        scheme = "https" if tls else "http"
        line = await ask(make(authority), scheme, "127.0.0.1", server.port)
    assert line.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("good", "signed by Test authority"),
        ("self_signed", "self-signed certificate"),
        ("wrong_name", "is for another one"),
        ("expired", "certificate has expired"),
    ],
)
async def test_each_wrong_certificate_is_told_as_such(kind: str, words: str) -> None:
    with FaultServer(tls=kind) as server:
        assert server.certificate is not None
        trusted = kind in ("wrong_name", "expired")
        connector = make(str(server.certificate.authority) if trusted else "")
        with pytest.raises(ConnectFailed, match=words) as caught:
            await ask(connector, "https", "127.0.0.1", server.port)
        connector.close()
    assert caught.value.phase is Phase.TLS
    if kind == "good":
        assert "network.ca_file" in caught.value.sentence


def test_a_clock_that_was_never_set_is_told_as_such() -> None:
    error = ssl.SSLCertVerificationError("x")
    error.verify_code = 9
    assert "says 1970" in tls_failed("h", 443, error, year=1970).sentence
    assert "valid yet" in tls_failed("h", 443, error, year=2031).sentence


async def test_plain_http_at_an_https_port() -> None:
    with FaultServer() as server:
        server.behave("answer")
        connector = make()
        with pytest.raises(ConnectFailed, match="TLS") as caught:
            await ask(connector, "https", "127.0.0.1", server.port, within=0.5)
        assert caught.value.phase is Phase.TLS


async def _answer(data: bytes) -> asyncio.Server:
    """A server that says this as soon as somebody has spoken."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(data)
        writer.close()

    return await asyncio.start_server(connected, "127.0.0.1", 0)


async def test_a_server_without_tls_is_told_as_such() -> None:
    server = await _answer(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ConnectFailed, match=f"does not speak TLS at port {port}"):
        await ask(make(), "https", "127.0.0.1", port)
    server.close()


@pytest.mark.parametrize(
    ("alert", "words"), [(70, "too old"), (116, "the plugin has none"), (40, "the plugin has none")]
)
async def test_what_the_server_turns_down(alert: int, words: str) -> None:
    server = await _answer(b"\x15\x03\x01\x00\x02\x02" + bytes([alert]))  # RFC 8446, 6
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ConnectFailed, match=words):
        await ask(make(), "https", "127.0.0.1", port)
    server.close()


@pytest.mark.slow
@pytest.mark.parametrize("phase", [Phase.CONNECT, Phase.TLS])
async def test_what_never_ends_is_given_up_and_closed(phase: Phase) -> None:
    with FaultServer() as server:
        server.behave("hang_accept")
        if phase is Phase.CONNECT:
            server.blackhole()
        for _ in range(5):
            connector = make()
            with pytest.raises(ConnectFailed) as caught:
                await ask(connector, "https", "127.0.0.1", server.port, within=0.5)
            assert caught.value.phase is phase
            assert "within 0.5 s" in caught.value.sentence
            connector.close()


async def test_a_caller_that_is_cancelled_leaves_no_connection() -> None:
    with FaultServer() as server:
        server.behave("hang_accept")
        task = asyncio.ensure_future(ask(make(), "https", "127.0.0.1", server.port))
        while not server.counters.connections:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Told(Names):
    """A resolver that says what the test wants."""

    def __init__(self, *found: tuple[int, Any]) -> None:
        super().__init__()
        self.found = list(found)
        self.asked = 0

    async def look_up(self, host: str) -> list[tuple[int, Any]]:
        self.asked += 1
        return self.found


async def test_an_address_that_is_a_black_hole_delays_the_first_time_only() -> None:
    loop = asyncio.get_running_loop()
    with FaultServer() as server, FaultServer() as hole:
        hole.blackhole()
        names = Told((socket.AF_INET6, ("::ffff:127.0.0.2", 0, 0, 0)), (socket.AF_INET, ("", 0)))
        connector = Connector(Clock(), Trust(Clock(), environment={}), environment={}, names=names)
        # Both "addresses" of the name, as the race sees them: the hole first.
        addresses = [
            (socket.AF_INET, ("127.0.0.1", hole.port)),
            (socket.AF_INET, ("127.0.0.1", server.port)),
        ]
        took = []
        for _ in range(6):
            started = loop.time()
            end = Clock().monotonic() + 5
            stream = await connector._race(("hub", 1), addresses, end, 65536)
            stream.close()
            took.append(loop.time() - started)
        connector.close()
    assert took[0] >= 0.25 > min(took[1:])  # one alone may be slow on a busy machine


def test_families_take_turns_behind_the_address_that_answered_last() -> None:
    six = [(socket.AF_INET6, (f"::{n}", 1, 0, 0)) for n in range(3)]
    four = [(socket.AF_INET, (f"10.0.0.{n}", 1)) for n in range(2)]
    assert _in_turn([*six, *four], None) == [six[0], four[0], six[1], four[1], six[2]]
    assert _in_turn([*six, *four], four[1])[:2] == [four[1], six[0]]
    assert _in_turn(six, four[0]) == six


async def test_a_name_is_looked_up_once_in_five_minutes_and_anew_when_nobody_is_there() -> None:
    with FaultServer() as server:
        names = Told((socket.AF_INET, ("127.0.0.1", 0)))
        connector = Connector(Clock(), Trust(Clock(), environment={}), environment={}, names=names)
        for _ in range(3):
            opened = await connector.open("http", "hub.test", server.port, within=5)
            opened.stream.close()
        assert names.asked == 1
        server.refuse()
        for _ in range(2):
            with pytest.raises(ConnectFailed, match="refuses connections at port"):
                await connector.open("http", "hub.test", server.port, within=5)
        assert names.asked == 2
        connector.close()


# Proxies


@pytest.mark.parametrize("tls", [None, "good"])
@pytest.mark.parametrize("login", ["", "me:p%40ss"])
async def test_through_a_proxy_names_are_its_business(tls: str | None, login: str) -> None:
    host = "localhost" if tls else "hub.invalid"
    with FaultServer(tls=tls) as server:
        where = {host: ("127.0.0.1", server.port)}
        with Proxy(where, login=login.replace("%40", "@")) as proxy:
            authority = str(server.certificate.authority) if server.certificate else ""
            url = f"http://{login}@127.0.0.1:{proxy.port}" if login else proxy.bare_url
            scheme = "https" if tls else "http"
            names = Told()
            trust = Trust(Clock(), lambda: authority, {})
            connector = Connector(Clock(), trust, lambda: url, {}, None)
            line = await ask(connector, scheme, host, 4443)
            assert line.startswith(b"HTTP/1.1 200")
            expected = f"CONNECT {host}:4443" if tls else f"GET http://{host}/x"
            assert (proxy.asked, names.asked) == ([expected], 0)


@pytest.mark.parametrize(
    ("url", "login", "code", "words"),
    [
        ("http://127.0.0.1:{port}", "me:secret", 0, "asks for user and password"),
        ("http://me:wrong@127.0.0.1:{port}", "me:secret", 0, "rejects user or password"),
        ("http://127.0.0.1:{port}", "", 403, "does not allow hub.invalid"),
        ("http://127.0.0.1:{port}", "", 502, "cannot reach hub.invalid"),
        ("http://127.0.0.1:1", "", 0, "refuses connections"),
        ("http://proxy.invalid:1", "", 0, "not known by name"),
        ("socks5://127.0.0.1:1", "", 0, "must be http://host:port"),
    ],
)
async def test_each_fault_of_a_proxy_is_told_as_such(
    url: str, login: str, code: int, words: str
) -> None:
    with Proxy(login=login, code=code) as proxy:
        connector = make(HTTPS_PROXY=url.format(port=proxy.port))
        with pytest.raises(ConnectFailed, match=words) as caught:
            await ask(connector, "https", "hub.invalid", 443)
        assert caught.value.phase is Phase.PROXY
        assert "wrong" not in caught.value.sentence
        connector.close()


async def test_what_stands_in_the_same_network_goes_through_no_proxy() -> None:
    with FaultServer() as server:
        connector = make(HTTP_PROXY="http://127.0.0.1:1")
        opened = await connector.open("http", "127.0.0.1", server.port, within=5, proxied=False)
        opened.stream.close()
        connector.close()


# What TLS remembers


class Hands(Clock):
    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


class Taken:
    """As `ssl.SSLSocket`: counts how often its session is read."""

    reads = 0
    session_reused = False
    context = None  # as that of a `Trust` that was not asked yet

    @property
    def session(self) -> object:
        Taken.reads += 1
        return object()


def test_a_session_is_taken_only_where_connections_do_not_last_and_seldom() -> None:
    clock = Hands()
    trust = Trust(clock, environment={})
    server = ("hub", 443)
    used: Any = Taken()
    trust.connected(server, used)
    clock.seconds += 1000
    trust.connected(server, used)  # a connection lasted: nothing to win
    assert (Taken.reads, trust.session(server)) == (0, None)
    for _ in range(1000):
        clock.seconds += 2
        trust.connected(server, used)
    assert Taken.reads == 1
    assert trust.session(server) is not None
    clock.seconds += SESSION_FRESH + 1
    assert trust.session(server) is None


async def test_a_session_is_resumed() -> None:
    with FaultServer(tls="good") as server:
        assert server.certificate is not None
        trust = Trust(Clock(), lambda: str(server.certificate.authority), {})  # type: ignore[union-attr]
        connector = Connector(Clock(), trust, environment={})
        resumed = []
        for _ in range(4):
            opened = await connector.open("https", "127.0.0.1", server.port, within=5)
            await opened.stream.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await opened.stream.read_until(b"\r\n\r\n")
            resumed.append(opened.resumed)
            trust.connected(opened.server, opened.stream.socket)
            opened.stream.close()
        connector.close()
    assert resumed == [False, False, True, True]


async def test_a_session_is_never_used_with_another_context_than_its_own() -> None:
    """Python refuses that (ValueError), and would for as long as the session is remembered."""
    with FaultServer(tls="good") as server:
        assert server.certificate is not None
        authority = [str(server.certificate.authority)]
        trust = Trust(Clock(), lambda: authority[0], {})
        made = await asyncio.gather(*(trust.context() for _ in range(3)))
        assert made[0] is made[1] is made[2]
        connector = Connector(Clock(), trust, environment={})

        async def used() -> Opened:
            opened = await connector.open("https", "127.0.0.1", server.port, within=5)
            await opened.stream.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await opened.stream.read_until(b"\r\n\r\n")
            return opened

        early = [await used() for _ in range(2)]
        authority[0] = str(shutil.copy(authority[0], f"{authority[0]}.moved"))
        for late in early:  # answered while the settings changed
            await trust.context()
            trust.connected(late.server, late.stream.socket)
            late.stream.close()
        for _ in range(3):
            (await used()).stream.close()
        connector.close()


async def test_a_file_of_authorities_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pem", tmp_path / "nonsense.pem"):
        if path.stem == "nonsense":
            path.write_text("nonsense")
        with FaultServer(tls="good") as server:
            connector = make(str(path))
            with pytest.raises(ConnectFailed, match=f"{path.name} cannot be read"):
                await connector.open("https", "127.0.0.1", server.port, within=5)
            connector.close()


def test_the_issuer_of_a_certificate(tmp_path: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-keyout", "k", "-outform", "DER", "-out", "c", "-utf8"]
    command += ["-subj", "/O=Filtro/CN=Autoridad del Liceo Ñ"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    der = (tmp_path / "c").read_bytes()
    assert issuer_of(der) == "Autoridad del Liceo Ñ"
    for end in range(len(der)):
        assert isinstance(issuer_of(der[:end]), str)
    assert issuer_of(b"") == issuer_of(b"\x30\x84\xff\xff\xff\xff") == ""
