"""The fault server does to a client what it says, and nothing to the rest."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate

import pytest

from tests.rig.faults import UNKNOWN_HOST, FaultServer
from tests.rig.hub import PhpHub
from tests.rig.php_server import php_available

needs_php = pytest.mark.skipif(not php_available(), reason="needs php-cli and php-sqlite3")


@pytest.fixture
def faults() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture
def upstream() -> Iterator[FaultServer]:
    """Stands for the hub behind a proxy: its reply tells it apart."""
    with FaultServer() as server:
        server.behave("answer", reply={"success": True, "from": "upstream"})
        yield server


@pytest.fixture
def proxy(upstream: FaultServer) -> Iterator[FaultServer]:
    with FaultServer(upstream.port) as server:
        yield server


def connect(server: FaultServer, timeout: float = 10) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)


def get(
    server: FaultServer, target: str = "/api.php", body: bytes | None = None, timeout: float = 10
) -> tuple[int, dict[str, str], bytes]:
    connection = connect(server, timeout)
    try:
        connection.request("GET" if body is None else "POST", target, body)
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return response.status, names, response.read()
    finally:
        connection.close()


def raw(server: FaultServer, limit: int, target: str = "/") -> bytes:
    """The first bytes of the answer, then leave."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as sock:
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        data = b""
        while len(data) < limit:
            block = sock.recv(65536)
            if not block:
                break
            data += block
        return data


# -- the well-behaved side -------------------------------------------------------------------------


def test_it_passes_both_ways_and_counts(proxy: FaultServer, upstream: FaultServer) -> None:
    body = json.dumps({"name": "🦄"}).encode()
    code, headers, data = get(proxy, "/api.php?x=1", body)
    assert (code, json.loads(data)["from"]) == (200, "upstream")
    assert headers["content-type"].startswith("application/json")
    (seen,) = upstream.requests()
    assert (seen.method, seen.target, seen.body) == ("POST", "/api.php?x=1", body)
    assert (seen.path, seen.query) == ("/api.php", {"x": "1"})
    counters = proxy.counters
    proxy.wait_for(lambda: counters.answered == 1)
    assert (counters.connections, counters.requests, counters.abandoned) == (1, 1, 0)
    assert counters.bytes_in > len(body)
    assert counters.bytes_out > len(data)
    proxy.clear()
    assert (proxy.requests(), counters.requests) == ([], 0)


def test_a_chunked_body_is_passed_on_whole(proxy: FaultServer, upstream: FaultServer) -> None:
    connection = connect(proxy)
    connection.request("POST", "/", iter([b"abc", b"defg"]), encode_chunked=True)
    assert connection.getresponse().status == 200
    assert upstream.requests()[0].body == b"abcdefg"
    connection.close()


def test_connections_are_kept_alive_where_the_answer_is_framed(faults: FaultServer) -> None:
    connection = connect(faults)
    for _ in range(50):
        connection.request("GET", "/")
        assert json.loads(connection.getresponse().read())["success"] is True
    connection.close()
    assert (faults.counters.connections, faults.counters.requests) == (1, 50)


@needs_php
def test_it_stands_in_front_of_the_reference_hub() -> None:
    update = json.dumps({"action": "update_printer", "token": "T1", "status": "idle"}).encode()
    with PhpHub() as hub, FaultServer(hub.port) as proxy:
        assert json.loads(get(proxy, "/api.php", update)[2])["success"] is True
        data = bytes(range(256)) * 4000
        hub.add_file("a.gcode", data, "T1")
        download = "/api_files.php?action=download_file&file=a.gcode&printer_token=T1"
        assert get(proxy, download)[2] == data
        with pytest.raises(http.client.IncompleteRead) as cut:
            proxy.behave("cut", "download_file", keep=0.25)
            get(proxy, download)
        assert cut.value.partial == data[: len(data) // 4]
        hub.kill()
        assert get(proxy)[0] == 502


@needs_php
def test_leaving_the_proxy_leaves_the_long_poll_behind_it() -> None:
    with PhpHub() as hub, FaultServer(hub.port) as proxy:
        hub.set(features={"long_poll": 20})
        connection = connect(proxy)
        connection.request("GET", "/api.php?action=get_commands&token=T1&wait=20")
        hub.wait_for(lambda: hub.requests("commands", pending=True), 5)
        connection.close()
        proxy.wait_for(lambda: proxy.counters.abandoned == 1)
        command = hub.queue("T1", "home")
        hub.wait_for(lambda: not hub.requests("commands", pending=True), 5)
        assert [waiting["id"] for waiting in hub.waiting("T1")] == [command]


# -- rules -----------------------------------------------------------------------------------------


def test_one_endpoint_is_stuck_and_the_others_go_on(
    proxy: FaultServer, upstream: FaultServer
) -> None:
    proxy.behave("hang", "get_commands")
    stuck = connect(proxy)
    stuck.request("GET", "/api.php?action=get_commands")
    proxy.wait_for_request("get_commands")
    for _ in range(5):
        assert get(proxy, "/api.php")[0] == 200
    assert upstream.requests("get_commands") == []
    stuck.close()
    proxy.wait_for(lambda: proxy.counters.abandoned == 1)
    proxy.clear_behaviour()
    assert get(proxy, "/api.php?action=get_commands")[0] == 200


def test_the_newest_rule_wins_until_it_is_used_up(faults: FaultServer) -> None:
    faults.behave("status", code=500)
    faults.behave("status", "files", code=404, times=2)
    codes = [get(faults, f"/{target}")[0] for target in ("files", "x", "files", "files")]
    assert codes == [404, 500, 404, 500]


def test_after_lets_the_hub_do_its_work_once(proxy: FaultServer, upstream: FaultServer) -> None:
    proxy.behave("status", code=500, times=1)
    assert get(proxy)[0] == 500
    assert upstream.requests() == []
    for mode in ("status", "cut"):
        upstream.clear()
        proxy.behave(mode, after=True, times=1)
        try:
            get(proxy)
        except http.client.IncompleteRead:
            assert mode == "cut"
        assert len(upstream.requests()) == 1


def test_latency_comes_before_anything_else(proxy: FaultServer, upstream: FaultServer) -> None:
    proxy.behave("pass", latency=30)
    with pytest.raises(TimeoutError):
        get(proxy, timeout=0.2)
    assert upstream.requests() == []
    proxy.behave("pass", latency=0.05)
    started = time.monotonic()
    assert get(proxy)[0] == 200
    assert time.monotonic() - started >= 0.05


# -- another answer --------------------------------------------------------------------------------


def test_complete_answers(faults: FaultServer) -> None:
    faults.behave("html", times=1)
    code, headers, data = get(faults)
    assert (code, headers["content-type"][:9], data[:15]) == (200, "text/html", b"<!DOCTYPE html>")
    faults.behave("empty", times=1)
    assert (get(faults)[0], get(faults)[2] != b"") == (200, True)
    faults.behave("answer", times=1, code=403, body=b"[1,", headers={"X-A": "b"})
    code, headers, data = get(faults)
    assert (code, headers["x-a"], data) == (403, "b", b"[1,")


@pytest.mark.parametrize("when", ["17", formatdate(2_000_000_000, usegmt=True)])
def test_retry_after_in_both_forms(faults: FaultServer, when: str) -> None:
    for code in (429, 503):
        faults.behave("busy", code=code, retry_after=when)
        answered, headers, _ = get(faults)
        assert (answered, headers["retry-after"]) == (code, when)


@pytest.mark.parametrize("code", [301, 302, 307])
def test_redirects(faults: FaultServer, upstream: FaultServer, code: int) -> None:
    faults.behave("redirect", to=upstream.url("/elsewhere"), code=code)
    answered, headers, _ = get(faults)
    assert (answered, headers["location"]) == (code, upstream.url("/elsewhere"))


# -- no answer -------------------------------------------------------------------------------------


def test_hanging(faults: FaultServer) -> None:
    faults.behave("hang")
    with pytest.raises(TimeoutError):
        get(faults, timeout=0.2)
    faults.wait_for(lambda: len(faults.requests()) == 1)
    faults.behave("hang_accept")
    with pytest.raises(TimeoutError):
        get(faults, timeout=0.2)
    faults.wait_for(lambda: faults.counters.connections == 2)
    assert len(faults.requests()) == 1


def test_closing_and_resetting(faults: FaultServer) -> None:
    faults.behave("close", times=1)
    with pytest.raises(http.client.RemoteDisconnected):
        get(faults)
    faults.behave("reset", times=1)
    with pytest.raises(ConnectionResetError):
        raw(faults, 1)
    assert get(faults)[0] == 200


def test_connections_are_dropped_on_command(faults: FaultServer) -> None:
    faults.behave("hang", times=1)
    connection = connect(faults)
    connection.request("GET", "/")
    faults.wait_for_request()
    faults.drop_connections()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        connection.getresponse()
    assert get(faults)[0] == 200


def test_the_end_of_a_fault_cuts_nothing_that_passes_on(
    proxy: FaultServer, upstream: FaultServer
) -> None:
    upstream.behave("answer", "slow", reply={"from": "upstream"}, latency=0.3)
    proxy.behave("hang", "stuck")
    passed, stuck = connect(proxy), connect(proxy)
    passed.request("GET", "/slow")
    stuck.request("GET", "/stuck")
    upstream.wait_for_request("slow")
    proxy.wait_for_request("stuck")
    proxy.end_fault()
    proxy.listen()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        stuck.getresponse()
    assert json.loads(passed.getresponse().read()) == {"from": "upstream"}


def test_refusing_and_listening_again_on_the_same_port(faults: FaultServer) -> None:
    port = faults.port
    for _ in range(3):
        faults.refuse()
        with pytest.raises(ConnectionRefusedError):
            get(faults)
        faults.listen()
        assert get(faults)[0] == 200
    assert faults.port == port


def test_a_blackhole_swallows_connections(faults: FaultServer) -> None:
    faults.blackhole()
    with pytest.raises(TimeoutError):
        socket.create_connection(("127.0.0.1", faults.port), 0.3)
    faults.listen()
    assert get(faults)[0] == 200


def test_a_host_that_does_not_resolve() -> None:
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo(UNKNOWN_HOST, 80)


# -- a damaged reply -------------------------------------------------------------------------------


@pytest.mark.slow
def test_damaged_replies(proxy: FaultServer, upstream: FaultServer) -> None:
    whole = get(proxy)[2]
    half = whole[: len(whole) // 2]
    proxy.behave("truncated")
    code, headers, data = get(proxy)
    assert (code, headers["content-length"], data) == (200, str(len(half)), half)
    proxy.behave("cut")
    with pytest.raises(http.client.IncompleteRead) as cut:
        get(proxy)
    assert cut.value.partial == half
    proxy.behave("hang_body")
    connection = connect(proxy, timeout=2)
    connection.request("GET", "/")
    response = connection.getresponse()
    assert response.read(len(half)) == half
    with pytest.raises(TimeoutError):
        response.read(1)
    connection.close()
    proxy.behave("drip", size=1, interval=0.001)
    assert get(proxy)[2] == whole
    assert len(upstream.requests()) == 5


# -- too much --------------------------------------------------------------------------------------


def test_an_honest_huge_body(faults: FaultServer) -> None:
    faults.behave("huge", size=3 << 20)
    assert len(get(faults)[2]) == 3 << 20


@pytest.mark.parametrize("mode", ["endless_chunks", "lying_length", "endless_headers"])
def test_endless_answers_stop_when_the_client_leaves(faults: FaultServer, mode: str) -> None:
    faults.behave(mode)
    assert len(raw(faults, 1 << 20)) >= 1 << 20
    faults.wait_for(lambda: faults.counters.abandoned == 1)


def test_a_small_body_that_unpacks_to_a_large_one(faults: FaultServer) -> None:
    faults.behave("gzip_bomb", size=10 << 20)
    _, headers, data = get(faults)
    assert headers["content-encoding"] == "gzip"
    assert len(data) < 100_000
    assert len(gzip.decompress(data)) == 10 << 20


def test_garbage_is_no_http(faults: FaultServer) -> None:
    faults.behave("garbage")
    with pytest.raises(http.client.BadStatusLine):
        get(faults)


# -- TLS -------------------------------------------------------------------------------------------


def over_tls(server: FaultServer, *, trusted: bool) -> int:
    assert server.certificate is not None
    context = ssl.create_default_context()
    if trusted:
        context.load_verify_locations(server.certificate.authority)
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("kind", "trusted", "reason"),
    [
        ("good", False, "self.signed certificate in certificate chain|unable to get local issuer"),
        ("self_signed", False, "self.signed certificate"),
        ("wrong_name", True, "IP address mismatch"),
        ("expired", True, "certificate has expired"),
    ],
)
def test_wrong_certificates_are_noticed(kind: str, trusted: bool, reason: str) -> None:
    with FaultServer(tls=kind) as server:
        assert server.url().startswith("https://127.0.0.1:")
        with pytest.raises(ssl.SSLCertVerificationError, match=reason):
            over_tls(server, trusted=trusted)
        assert server.requests() == []


def test_a_good_certificate_is_good_where_its_authority_is_trusted() -> None:
    with FaultServer(tls="good") as server:
        assert over_tls(server, trusted=True) == 200
        server.behave("hang")
        with pytest.raises(TimeoutError):
            server.wait_for_request(count=2, timeout=0.05)


# -- knowing what arrived --------------------------------------------------------------------------


async def test_a_test_in_a_loop_learns_of_a_request(faults: FaultServer) -> None:
    threading.Thread(target=get, args=(faults, "/a?b=%C3%B1"), daemon=True).start()
    (seen,) = await faults.arrived("b=ñ")
    assert seen.query == {"b": "ñ"}


def test_waiting_says_what_came_instead(faults: FaultServer) -> None:
    get(faults, "/other")
    with pytest.raises(TimeoutError, match=r"api\.php; came: .*GET /other"):
        faults.wait_for_request("/api.php", timeout=0.05)


def test_an_unknown_mode_is_an_error(faults: FaultServer) -> None:
    with pytest.raises(ValueError, match="no such mode"):
        faults.behave("hag")


def test_stopping_leaves_no_thread_and_no_port() -> None:
    before = threading.active_count()
    with FaultServer() as server:
        server.behave("hang")
        connection = connect(server)
        connection.request("GET", "/")
        server.wait_for_request()
    assert threading.active_count() <= before  # one of another test may have ended meanwhile
    with pytest.raises(ConnectionRefusedError):
        get(server)
    connection.close()
