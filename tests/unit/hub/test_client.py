"""What a conversation with a hub comes to, whatever the other side does."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from components.hub.any_client import client_of
from components.hub.client import FILES_AT_ONCE, HubClient, Reply
from components.hub.outcomes import Failure
from components.hub.protocol import Generation
from components.hub.transport import Transport
from components.net.connect import Connector
from components.net.trust import Trust
from components.runtime.clock import Clock
from components.settings.model import LiveSettings, Settings, Timeouts
from tests.rig.faults import UNKNOWN_HOST, FaultServer
from tests.unit.fakes import Board


class Other(SimpleAsyncHTTPClient):
    """Another class than Moonraker's: its connections are not kept."""


class Bench:
    kept = True

    def __init__(self, server: FaultServer | None, path: str = "/api.php", **options: Any) -> None:
        url = options.pop("server_url", None) or (server.url(path) if server else "")
        self.live = LiveSettings(
            Settings(
                server_url=url,
                printer_token="TOKEN_1",
                timeouts=Timeouts(server=options.pop("timeout", 5.0)),
            )
        )
        clock = Clock()
        self.http = AsyncHTTPClient(force_instance=True)
        self.connector = Connector(clock, Trust(clock, environment={}), environment={})
        given = self.http if Bench.kept else Other(force_instance=True)
        http = client_of(given, self.connector, clock, Board().notices)
        self.begun = 0  # requests
        fetch = http.fetch

        def counted(*asked: Any, **how: Any) -> Any:
            self.begun += 1
            return fetch(*asked, **how)

        http.fetch = counted
        self.transport = Transport(http, clock, "TecMedHub/test")
        self.client = HubClient(self.live, self.transport, clock)

    async def status(self) -> Reply:
        return await self.client.send_status({"action": "update_printer", "token": "TOKEN_1"})

    def close(self) -> None:
        self.transport.close()
        self.connector.close()
        self.http.close()


@pytest.fixture(params=[True, False], ids=["kept", "other"], autouse=True)
def _client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test with each client."""
    monkeypatch.setattr(Bench, "kept", request.param)


@pytest.fixture
async def faults() -> AsyncIterator[FaultServer]:
    with FaultServer() as server:
        yield server


async def reply_to(faults: FaultServer, mode: str, **params: Any) -> Reply:
    bench = Bench(faults, timeout=params.pop("timeout", 5.0))
    faults.behave(mode, **params)
    try:
        return await bench.status()
    finally:
        bench.close()


@pytest.mark.parametrize(
    ("mode", "params", "failure"),
    [
        ("html", {}, Failure.NOT_JSON),
        ("empty", {}, Failure.NOT_JSON),
        ("truncated", {"keep": 0.5}, Failure.NOT_JSON),
        ("status", {"code": 500}, Failure.STATUS),
        ("status", {"code": 404}, Failure.STATUS),
        ("redirect", {"code": 301, "to": "http://127.0.0.1:9/x?token=SECRET"}, Failure.REDIRECT),
        ("redirect", {"code": 307, "to": "/elsewhere"}, Failure.REDIRECT),
        ("busy", {"retry_after": "7"}, Failure.BUSY),
        ("cut", {"keep": 0.5}, Failure.UNREACHABLE),
        ("close", {}, Failure.UNREACHABLE),
        ("garbage", {"data": b"SSH-2.0-OpenSSH\r\n\r\n", "timeout": 0.5}, None),
        ("huge", {"size": 3 << 20}, Failure.TOO_LARGE),
        ("endless_chunks", {}, Failure.TOO_LARGE),
        ("gzip_bomb", {"size": 50 << 20}, Failure.NOT_JSON),  # it was not asked for
        ("hang", {"timeout": 0.3}, Failure.TIMED_OUT),
        ("hang_body", {"keep": 0.5, "timeout": 0.3}, Failure.TIMED_OUT),
        ("drip", {"size": 1, "interval": 0.05, "timeout": 0.3}, Failure.TIMED_OUT),
    ],
)
async def test_each_fault_has_its_outcome_and_a_sentence(
    faults: FaultServer, mode: str, params: dict[str, Any], failure: Failure | None
) -> None:
    if failure is None:  # Tornado's own client waits on where no HTTP comes
        failure = Failure.STATUS if Bench.kept else Failure.TIMED_OUT
    reply = await reply_to(faults, mode, **params)
    assert (reply.ok, reply.failure) == (False, failure)
    assert reply.sentence.endswith(".")
    assert "SECRET" not in reply.sentence
    assert "TOKEN_1" not in reply.sentence


async def test_a_refused_connection_and_an_unknown_name() -> None:
    with FaultServer() as server:
        bench = Bench(server)
        server.refuse()
        assert (await bench.status()).failure is Failure.UNREACHABLE
        bench.close()
    bench = Bench(None, server_url=f"http://{UNKNOWN_HOST}/api.php")
    reply = await bench.status()
    assert reply.failure is Failure.DNS
    assert UNKNOWN_HOST in reply.sentence
    bench.close()


async def test_a_wrong_certificate_is_told_as_such() -> None:
    with FaultServer(tls="expired") as server:
        bench = Bench(server)
        assert (await bench.status()).failure is Failure.TLS
        bench.close()


async def test_a_redirect_is_never_followed(faults: FaultServer) -> None:
    with FaultServer() as elsewhere:
        reply = await reply_to(faults, "redirect", code=301, to=elsewhere.url("/api.php"))
        assert reply.failure is Failure.REDIRECT
        assert elsewhere.counters.requests == 0


async def test_a_too_large_body_is_cut_off_and_leaves_no_trace_in_the_log(
    faults: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    reply = await reply_to(faults, "endless_chunks")
    assert reply.failure is Failure.TOO_LARGE
    assert "Traceback" not in caplog.text


async def test_the_hubs_own_words_are_in_the_sentence(faults: FaultServer) -> None:
    said = {"success": False, "message": "Token   inválido\n"}
    reply = await reply_to(faults, "answer", reply=said)
    assert reply.failure is Failure.REFUSED
    assert "Token inválido" in reply.sentence


@pytest.mark.parametrize(
    "body",
    [
        b'{"success": 1, "printer_id": "printer_7"}',
        b'\xef\xbb\xbf {"success": "true", "printer_id": "printer_7"}\n',
        b'<br />\n<b>Warning</b>: {x} in api.php\n{"success": true, "printer_id": "printer_7"}',
        b'{"success": true, "printer_id": "printer_7"}\n<br />Warning: late',
    ],
)
async def test_phps_habits_are_understood(faults: FaultServer, body: bytes) -> None:
    reply = await reply_to(faults, "answer", body=body)
    assert reply.ok, reply.sentence
    assert reply.data["printer_id"] == "printer_7"


async def test_a_reply_cut_inside_is_not_taken_for_an_object_within(faults: FaultServer) -> None:
    body = b'{"success": true, "commands": [{"id": "cmd_1", "action": "home", "success": 1}'
    reply = await reply_to(faults, "answer", body=body)
    assert reply.failure is Failure.NOT_JSON


@pytest.mark.parametrize("shape", [[], {"a": 1}, "x", 3, [None], [{"id": 1}], {"0": {"id": 1}}])
async def test_commands_of_any_reply_are_delivered_before_it_returns(
    faults: FaultServer, shape: object
) -> None:
    bench = Bench(faults)
    got: list[tuple[object, Generation]] = []

    async def inbox(raw: object, generation: Generation) -> None:
        await asyncio.sleep(0)
        got.append((raw, generation))

    bench.client.deliver_to(inbox)
    faults.behave("answer", reply={"success": True, "commands": shape})
    await bench.status()
    await bench.client.fetch_commands()
    await bench.client.list_files()
    expected = [(shape, Generation.ONE)] * 3 if shape else []
    assert got == expected
    bench.close()


async def test_what_is_sent_is_json_that_php_reads(faults: FaultServer) -> None:
    bench = Bench(faults)
    await bench.client.send_status(
        {"name": "🦄", "temp": float("nan"), "file": "bad\udce9.gcode", "deep": [float("inf")]}
    )
    (request,) = faults.requests("/api.php")
    sent = json.loads(request.body)
    assert sent["name"] == "🦄"
    assert sent["temp"] is None
    assert sent["deep"] == [None]
    sent["file"].encode("utf-8")
    bench.close()


async def test_retry_after_in_both_forms(faults: FaultServer) -> None:
    reply = await reply_to(faults, "busy", retry_after="7")
    assert reply.retry_after == 7.0
    reply = await reply_to(faults, "busy", retry_after="Sun, 06 Nov 2094 08:49:37 GMT")
    assert reply.retry_after == 900.0


async def test_the_hubs_clock_comes_from_its_date_header(faults: FaultServer) -> None:
    bench = Bench(faults)
    date = "Sun, 06 Nov 2044 08:49:37 GMT"
    faults.behave("answer", reply={"success": True}, headers={"Date": date})
    await bench.status()
    assert abs(bench.client.now() - 2362034977) < 2
    assert bench.client.clock_skew is not None
    bench.close()


@pytest.mark.parametrize(
    ("mode", "params"),
    [
        ("answer", {"body": b"<html>Log in to the school's network</html>"}),
        ("answer", {"reply": {"login": "required"}}),
        ("answer", {"reply": {"success": True}, "code": 302}),
        ("answer", {"reply": {"success": True}, "code": 503}),
    ],
)
async def test_the_date_of_a_reply_that_is_not_the_hubs_tells_nothing(
    faults: FaultServer, mode: str, params: dict[str, Any]
) -> None:
    bench = Bench(faults)
    faults.behave(mode, headers={"Date": "Thu, 01 Jan 1970 00:00:07 GMT"}, **params)
    await bench.status()
    assert bench.client.clock_skew is None
    bench.close()


async def test_an_answer_that_comes_after_its_hub_was_replaced_is_neither_learned_nor_obeyed(
    faults: FaultServer,
) -> None:
    bench = Bench(faults)
    got: list[object] = []

    async def inbox(raw: object, generation: Generation) -> None:
        got.append(raw)

    bench.client.deliver_to(inbox)
    said = {"success": True, "commands": [{"id": 1}], "features": {"long_poll": 20}}
    date = {"Date": "Sun, 06 Nov 2044 08:49:37 GMT"}
    faults.behave("answer", reply=said, headers=date, latency=0.2)
    asked = asyncio.ensure_future(bench.client.fetch_commands())
    await faults.arrived("get_commands")
    bench.live.replace(bench.live.now._replace(printer_token="TOKEN_2"))
    reply = await asked
    assert (reply.ok, reply.stale, got) == (False, True, [])
    assert (bench.client.features.long_poll, bench.client.clock_skew) == (0, None)
    bench.close()


async def test_features_are_kept_by_endpoint_and_forgotten_when_the_hub_moves(
    faults: FaultServer,
) -> None:
    bench = Bench(faults)
    announced = {"success": True, "features": {"long_poll": 20}}
    faults.behave("answer", "get_commands", reply=announced)
    await bench.client.fetch_commands()
    await bench.status()  # says nothing of features, and takes nothing back
    assert bench.client.features.long_poll == 20
    bench.live.replace(bench.live.now._replace(server_url=faults.url("/b/api.php")))
    assert bench.client.features.long_poll == 0
    bench.close()


async def test_a_picture_is_a_form_with_the_token(faults: FaultServer) -> None:
    bench = Bench(faults)
    reply = await bench.client.upload_image(b"\xff\xd8JPEG\xff\xd9")
    assert reply.ok
    (request,) = faults.requests("upload_image.php")
    assert b'name="image"; filename="snapshot.jpg"' in request.body
    assert b"\xff\xd8JPEG\xff\xd9" in request.body
    assert b"TOKEN_1" in request.body
    bench.close()


async def test_one_request_of_a_kind_at_a_time_and_no_kind_waits_for_another(
    faults: FaultServer,
) -> None:
    bench = Bench(faults, timeout=30.0)
    faults.behave("hang")
    tasks = [asyncio.ensure_future(bench.status()) for _ in range(3)]
    tasks += [asyncio.ensure_future(bench.client.upload_image(b"JPEG")) for _ in range(3)]
    tasks.append(asyncio.ensure_future(bench.client.list_files()))
    tasks.append(asyncio.ensure_future(bench.client.fetch_commands(30)))
    await faults.arrived("", count=4)
    for target in ("/api.php", "upload_image", "list_files", "get_commands"):
        assert faults.requests(target)
    assert bench.begun == 4
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    bench.close()


async def test_a_name_server_that_hangs_takes_one_thread_and_none_of_the_executor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    let_go = threading.Event()
    asked: list[str] = []

    def hang(host: str, *_more: Any) -> Any:
        if _more[-1:] == (socket.AI_NUMERICHOST,):
            raise socket.gaierror
        asked.append(host)
        let_go.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    bench = Bench(None, server_url="http://hub.test/api.php", timeout=0.1)
    replies = [await bench.status() for _ in range(4)]
    assert {reply.failure for reply in replies} == {Failure.DNS}
    assert "was not resolved within 0.1 s" in replies[0].sentence
    assert asked == ["hub.test"]
    let_go.set()
    bench.close()


async def test_a_long_list_lets_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(None, server_url="http://127.0.0.1/api.php")
    files = [{"name": f"part {number}.gcode"} for number in range(1000)]

    async def get(*_args: Any, **_options: Any) -> Reply:
        return Reply(True, "", {"files": files})

    monkeypatch.setattr(bench.client, "_get", get)
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        if not done:
            asyncio.get_running_loop().call_soon(turn)

    done = False
    asyncio.get_running_loop().call_soon(turn)
    _, found = await bench.client.list_files()
    done = True
    assert len(found) == 1000
    assert turns >= 1000 // FILES_AT_ONCE
    bench.transport.close()
