"""Connections that are kept: used again, given up in time, never at the price of a command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tornado.httpclient import HTTPResponse
from tornado.httputil import HTTPInputError
from tornado.simple_httpclient import HTTPStreamClosedError, HTTPTimeoutError

from components.hub.idle import EXPLORED, MARGIN, REMEMBERED, SAFE_SHARE, SLACK, UNPROVEN, IdleLimit
from components.hub.kept import KeptClient, Unheard
from components.hub.transport import HubRequest
from components.net.connect import Connector
from components.net.faults import ConnectFailed
from components.net.trust import Trust
from components.runtime.clock import Clock
from tests.rig.faults import FaultServer
from tests.unit.fakes import FakeClock


class Hands(Clock):
    """The real clock, which a test may put forward."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


class Bench:
    def __init__(self, server: FaultServer, authority: str = "") -> None:
        self.server = server
        self.clock = Hands()
        trust = Trust(self.clock, lambda: authority, {})
        self.connector = Connector(self.clock, trust, environment={})
        self.client = KeptClient(force_instance=True, connector=self.connector, clock=self.clock)

    async def ask(
        self,
        path: str = "/api.php",
        *,
        repeatable: bool = False,
        patient: bool = False,
        body: bytes | None = None,
        timeout: float = 5.0,
    ) -> HTTPResponse:
        request = HubRequest(
            self.server.url(path),
            "GET" if body is None else "POST",
            body=body,
            request_timeout=timeout,
            connect_timeout=timeout,
            follow_redirects=False,
        )
        request.repeatable, request.patient = repeatable, patient
        return await self.client.fetch(request, raise_error=False)

    def close(self) -> None:
        self.client.close()
        self.connector.close()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    with FaultServer() as server:
        bench = Bench(server)
        yield bench
        bench.close()


async def ended(server: FaultServer) -> None:
    """Until our side has seen that the server closed what lay idle."""
    server.drop_connections()
    await asyncio.sleep(0.05)


async def test_one_connection_serves_many_requests(bench: Bench) -> None:
    for number in range(20):
        response = await bench.ask(body=b"x" * number if number % 2 else None)
        assert (response.code, response.error) == (200, None)
    assert bench.server.counters.connections == 1
    assert (bench.client.opened, bench.client.reused) == (1, 19)
    assert all("connection" not in seen.headers for seen in bench.server.requests())


async def test_over_tls_there_is_one_handshake() -> None:
    with FaultServer(tls="good") as server:
        assert server.certificate is not None
        bench = Bench(server, str(server.certificate.authority))
        for _ in range(10):
            assert (await bench.ask()).code == 200
        assert server.counters.connections == 1
        bench.close()


async def test_requests_at_the_same_time_have_a_connection_each_and_two_are_kept(
    bench: Bench,
) -> None:
    bench.server.behave("answer", latency=0.1)
    await asyncio.gather(*(bench.ask() for _ in range(4)))
    assert bench.server.counters.connections == 4
    await asyncio.gather(*(bench.ask() for _ in range(2)))
    assert bench.server.counters.connections == 4
    await asyncio.gather(*(bench.ask() for _ in range(3)))
    assert bench.server.counters.connections == 5


@pytest.mark.parametrize("headers", [{"Connection": "close"}, {"Connection": "foo, Close"}])
async def test_a_server_that_closes_is_believed(bench: Bench, headers: dict[str, str]) -> None:
    bench.server.behave("answer", headers=headers)
    for _ in range(3):
        assert (await bench.ask()).code == 200
    assert bench.server.counters.connections == 3


async def test_what_closed_while_it_lay_idle_costs_nothing(bench: Bench) -> None:
    for _ in range(3):
        assert (await bench.ask()).code == 200
        await ended(bench.server)
    assert bench.server.counters.connections == 3


async def test_unheard_a_request_is_repeated_only_if_it_may_be(bench: Bench) -> None:
    await bench.ask()
    bench.server.behave("close", times=1)
    assert (await bench.ask(body=b"status", repeatable=True)).code == 200
    assert len([seen for seen in bench.server.requests() if seen.body == b"status"]) == 2
    bench.server.behave("close", times=1)
    with pytest.raises(Unheard):
        await bench.ask("/commands")
    assert len(bench.server.requests("/commands")) == 1


async def test_on_a_new_connection_nothing_is_repeated(bench: Bench) -> None:
    bench.server.behave("close")
    with pytest.raises(HTTPStreamClosedError) as caught:
        await bench.ask(repeatable=True)
    assert not isinstance(caught.value, Unheard)
    assert len(bench.server.requests()) == 1


@pytest.mark.parametrize(
    ("mode", "params"),
    [
        ("cut", {"keep": 0.5}),
        ("hang_body", {"keep": 0.5}),
        ("hang", {}),
        ("garbage", {"data": b"HTTP/9 nonsense\r\n\r\n"}),
        (
            "garbage",
            {"data": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12"},
        ),
        ("garbage", {"data": b"HTTP/1.1 2"}),
    ],
)
async def test_what_was_answered_in_part_is_not_repeated_and_the_connection_not_kept(
    bench: Bench, mode: str, params: dict[str, Any]
) -> None:
    await bench.ask()
    bench.server.behave(mode, times=1, **params)
    errors = (HTTPStreamClosedError, HTTPTimeoutError, HTTPInputError)
    with pytest.raises(errors) as caught:
        await bench.ask("/second", repeatable=True, timeout=0.3)
    assert not isinstance(caught.value, Unheard)
    assert len(bench.server.requests("/second")) == 1
    assert (await bench.ask()).code == 200
    assert bench.server.counters.connections == 2


async def test_what_nobody_asked_for_is_no_answer_to_the_next_request(bench: Bench) -> None:
    """As of a proxy that is confused about whose answer is whose."""
    two = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none"
    two += b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo"
    bench.server.behave("garbage", data=two, times=1)
    assert (await bench.ask()).body == b"one"
    assert b"success" in (await bench.ask()).body
    assert bench.server.counters.connections == 2


async def test_an_interim_answer_is_no_answer(bench: Bench) -> None:
    data = (
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    )
    bench.server.behave("garbage", data=data, times=1)
    response = await bench.ask()
    assert (response.code, response.body) == (200, b"{}")
    assert (await bench.ask()).code == 200


async def test_the_old_http_and_bodies_without_a_length(bench: Bench) -> None:
    for data in (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"HTTP/1.1 200 OK\r\n\r\n{}"):
        bench.server.behave("garbage", data=data, times=1)
        assert (await bench.ask()).body == b"{}"
    assert (await bench.ask()).code == 200
    assert bench.server.counters.connections == 3


async def test_a_refusal_before_all_was_sent_ends_the_connection(bench: Bench) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    bench.server.port, own = server.sockets[0].getsockname()[1], bench.server.port
    response = await bench.ask(body=b"x" * (20 << 20), timeout=20.0)
    assert response.code == 413
    bench.server.port = own
    server.close()


@pytest.mark.slow
async def test_a_hung_answer_says_where_it_hung(bench: Bench) -> None:
    for mode, words in (("hang", "request"), ("hang_body", "body")):
        bench.server.behave(mode, times=1)
        with pytest.raises(HTTPTimeoutError, match=words):
            await bench.ask(timeout=2.0)
    bench.server.behave("hang_accept")


async def test_a_server_that_is_gone_is_told_as_such(bench: Bench) -> None:
    await bench.ask()
    bench.server.refuse()
    await asyncio.sleep(0.05)
    with pytest.raises(ConnectFailed, match="refuses connections"):
        await bench.ask(repeatable=True)


@pytest.mark.parametrize(("code", "server"), [(407, "squid"), (401, "tinyproxy/1.11.1")])
async def test_a_proxy_that_answers_itself_is_told_as_such(code: int, server: str) -> None:
    with FaultServer() as proxy:
        proxy.behave("answer", code=code, headers={"Server": server})
        bench = Bench(proxy)
        bench.connector = Connector(
            bench.clock,
            Trust(bench.clock, environment={}),
            lambda: f"http://me:wrong@127.0.0.1:{proxy.port}",
        )
        bench.client = KeptClient(force_instance=True, connector=bench.connector, clock=bench.clock)
        with pytest.raises(ConnectFailed, match="rejects user or password"):
            await bench.ask()
        bench.close()


# The long wait


async def test_a_long_wait_has_a_connection_of_its_own_that_is_used_again(bench: Bench) -> None:
    for _ in range(3):
        await bench.ask("/wait", patient=True)
        await bench.ask("/short")
    waits = {seen.connection for seen in bench.server.requests("/wait")}
    shorts = {seen.connection for seen in bench.server.requests("/short")}
    assert len(waits) == len(shorts) == 1
    assert waits != shorts


@pytest.mark.parametrize("tls", [None, "good"])
async def test_hanging_up_is_seen_by_the_server_at_once(tls: str | None) -> None:
    with FaultServer(tls=tls) as server:
        bench = Bench(server, str(server.certificate.authority) if server.certificate else "")
        server.behave("hang", "/wait")
        waiting = asyncio.ensure_future(bench.ask("/wait", patient=True, timeout=60.0))
        await server.arrived("/wait")
        bench.client.hang_up()
        await asyncio.to_thread(server.wait_for, lambda: server.counters.abandoned == 1)
        with pytest.raises(HTTPStreamClosedError):
            await asyncio.wait_for(waiting, 10)
        bench.close()


async def test_what_was_just_handed_out_still_arrives_when_hanging_up(bench: Bench) -> None:
    arrived = asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        assert await reader.read() == b""  # our side is closed
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\ncommand")
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    bench.server.port, own = server.sockets[0].getsockname()[1], bench.server.port
    waiting = asyncio.ensure_future(bench.ask("/wait", patient=True, timeout=60.0))
    await arrived.wait()
    bench.client.hang_up()
    assert (await waiting).body == b"command"
    bench.server.port = own
    server.close()


async def test_a_caller_that_is_cancelled_closes_the_connection(bench: Bench) -> None:
    bench.server.behave("hang")
    task = asyncio.ensure_future(bench.ask(timeout=60.0))
    await bench.server.arrived("")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    server = bench.server
    await asyncio.to_thread(server.wait_for, lambda: server.counters.abandoned == 1)


async def test_closing_ends_whatever_is_under_way(bench: Bench) -> None:
    bench.server.behave("hang")
    tasks = [asyncio.ensure_future(bench.ask(timeout=60.0)) for _ in range(3)]
    await bench.server.arrived("", count=3)
    bench.client.close()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, HTTPStreamClosedError) for result in done)


# How long a connection may lie idle


async def test_a_connection_too_old_for_commands_still_serves_what_may_be_repeated(
    bench: Bench,
) -> None:
    await bench.ask()
    bench.clock.ahead += UNPROVEN + 1
    await bench.ask("/status", repeatable=True)
    assert bench.server.counters.connections == 1
    bench.clock.ahead += UNPROVEN + 1  # which has been survived meanwhile
    await bench.ask("/commands")
    assert bench.server.counters.connections == 1
    bench.clock.ahead += UNPROVEN + 5
    await bench.ask("/commands")
    assert bench.server.counters.connections == 2


async def test_two_connections_are_kept_young_by_turns(bench: Bench) -> None:
    await asyncio.gather(bench.ask(), bench.ask())
    for _ in range(6):
        bench.clock.ahead += 5.0
        await bench.ask(repeatable=True)
    await asyncio.gather(bench.ask(repeatable=True), bench.ask(repeatable=True))
    assert bench.client.opened == 2


async def test_what_the_server_announces_is_heeded(bench: Bench) -> None:
    bench.server.behave("answer", headers={"Keep-Alive": "timeout=3, max=100"})
    await bench.ask()
    bench.clock.ahead += 3 - MARGIN - 0.5
    await bench.ask("/commands")
    assert bench.server.counters.connections == 1
    bench.clock.ahead += 3 - MARGIN + 0.5
    await bench.ask("/status", repeatable=True)
    assert bench.server.counters.connections == 2


async def test_what_answered_no_more_takes_the_others_with_it(bench: Bench) -> None:
    bench.server.behave("answer", latency=0.1)
    await asyncio.gather(bench.ask(), bench.ask())
    bench.server.clear_behaviour()
    bench.server.behave("hang", times=1)
    bench.clock.ahead += 3
    with pytest.raises(HTTPTimeoutError):
        await bench.ask("/status", repeatable=True, timeout=0.2)
    assert (await bench.ask("/commands")).code == 200
    assert bench.server.counters.connections == 3


def test_the_limit_follows_what_was_seen() -> None:
    clock = FakeClock()
    limit = IdleLimit(clock)

    def longest(repeatable: bool) -> float:
        allowed = [t / 10 for t in range(2000) if limit.allows(t / 10, repeatable=repeatable)]
        return max(allowed, default=-1.0)

    assert (longest(False), longest(True)) == (UNPROVEN, EXPLORED)
    limit.survived(15.0)
    assert (longest(False), longest(True)) == (15.0 + SLACK, 22.5)
    limit.died(20.0)
    assert longest(False) == longest(True) == SAFE_SHARE * 20.0
    limit.died(0.01)  # a server that closes at once says nothing of ages
    assert longest(True) == SAFE_SHARE * 20.0
    limit.announced("max=5")
    limit.announced("timeout=5, max=100")
    assert longest(False) == longest(True) == 4.0
    limit.announced('max=3; Timeout="30"')
    clock.advance(REMEMBERED + 1)
    assert longest(False) == 15.0 + SLACK
    limit.announced("timeout=0")
    assert longest(True) == -1.0
