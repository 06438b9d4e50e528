"""The way to the hub as labs have it: https behind nginx, a proxy, a line that forgets and cuts."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.rig.cameras import CameraServer
from tests.rig.faults import FaultServer
from tests.rig.front import Front
from tests.rig.gcode import make_gcode
from tests.rig.line import Line
from tests.rig.ports import reserve_port
from tests.rig.proxy import Proxy
from tests.rig.stack import Stack
from tests.rig.waiting import wait_until

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(not shutil.which("nginx", path="/usr/sbin:/usr/bin"), reason="no nginx"),
]

Made = Callable[..., Stack]
LONG_POLL = {"long_poll": 25, "command_results": True}


def behind(stack: Stack, port: int, front: Front, **options: object) -> None:
    """Let the plugin reach the hub at `port` of this machine, with the front's certificate."""
    path = "/api.php" if stack.generation == 1 else "/printer-api/update.php"
    url = f"{front.scheme}://127.0.0.1:{port}{path}"
    stack.configure(server_url=url, network_ca_file=front.authority or None, **options)


def connections(stack: Stack, port: int) -> int:
    """Open ones of Moonraker to this port, as the kernel knows them."""
    table = Path(f"/proc/{stack.moonraker.pid}/net/tcp").read_text().splitlines()[1:]
    ours = set()
    for entry in Path(f"/proc/{stack.moonraker.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found = re.match(r"socket:\[(\d+)\]", os.readlink(entry))
            if found:
                ours.add(found.group(1))
    rows = [line.split() for line in table]
    wanted = f"0100007F:{port:04X}"
    return sum(row[2] == wanted and row[9] in ours for row in rows)


def wait_asked(stack: Stack) -> float:
    """Seconds that the hub may let the last request for commands wait; 0 if none was said."""
    asked = stack.hub.requests("commands")
    return float(asked[-1].query.get("wait", 0)) if asked else 0.0


def speed(stack: Stack) -> float:
    return float(stack.klippy.query("gcode_move")["speed_factor"])


def until_done(stack: Stack, percent: int, within: float) -> float:
    """Queue a command and wait for its effect at Klippy; the seconds that took."""
    started = time.monotonic()
    stack.hub.queue(stack.token, "set_speed", speed=percent)
    wait_until(lambda: abs(speed(stack) - percent / 100) < 1e-6, within, f"{percent} %")
    return time.monotonic() - started


@pytest.mark.parametrize("generation", [1, 2])
def test_connections_are_kept_over_tls(generation: int, make_stack: Made) -> None:
    stack = make_stack(generation=generation)
    with Front(stack.hub.port) as front, Line(front.port) as line:
        behind(stack, line.port, front)
        wait_until(lambda: len(front.accesses) > 5, 30, "the first requests")
        opened, asked = line.counters.connections, len(front.accesses)
        wait_until(lambda: len(front.accesses) >= asked + 30, 60, "thirty requests")
        # Requests that meet open one more; kept are two at the most.
        assert line.counters.connections - opened <= 5
        wait_until(lambda: connections(stack, line.port) <= 2, 60, "two connections")
        line.cut()  # and what was kept is gone: nobody notices
        wait_until(lambda: len(front.accesses) >= asked + 40, 60, "ten more")
        assert stack.moonraker.get("/server/tecmedhub/status")["notices"] == []


def test_no_command_goes_to_a_moonraker_that_is_leaving(stack: Stack) -> None:
    """Each is queued within a restart, while the long poll of before it would still be waiting.

    What the hub hands out in the moment in which the way to it is closed may reach nobody, which no
    client can help: hence a hub that hands out again what nobody named.
    """
    stack.hub.set(features={**LONG_POLL, "redeliver": 5})
    with Front(stack.hub.port) as front:
        behind(stack, front.port, front)
        stack.wait_connected()
        for number in range(5):
            wait_until(lambda: connections(stack, front.port) >= 2, 20, "the long poll")
            stack.moonraker.post("/server/restart")
            time.sleep((0.0, 0.02, 0.1, 0.3, 1.0)[number])  # it is the moment that is tested
            command = stack.hub.queue(stack.token, "set_speed", speed=101 + number)
            result = stack.hub.wait_for(lambda c=command: stack.final_result(c), 30)
            assert result.status == "done", result.message
            stack.moonraker.wait_started()


@pytest.mark.parametrize("polled", [True, False], ids=["polled", "long-polled"])
@pytest.mark.timeout(300)
def test_a_middlebox_that_forgets_takes_no_command_with_it(stack: Stack, polled: bool) -> None:
    """It forgets after 17 seconds here; long-polled, the plugin learns that by one lost answer. (An
    evening of sixty commands, in virtual time: tests/unit/hub/test_bad_lines.py.)
    """
    stack.hub.set(features={} if polled else LONG_POLL)
    with Front(stack.hub.port) as front, Line(front.port) as line:
        line.set(forget=17.0)
        behind(stack, line.port, front, intervals_command_check=20, intervals_status_update=5)
        stack.wait_connected()
        if not polled:
            # By whatever it learned it: also a busy machine can let a long poll end too soon.
            wait_until(lambda: 0 < wait_asked(stack) < 17, 100, "a wait that the line survives")
        for number in range(5):
            time.sleep((0.0, 4.0, 18.0, 7.0, 2.0)[number])  # it is the silence that is tested
            until_done(stack, 101 + number, 45)
        assert stack.moonraker.get("/server/tecmedhub/status")["notices"] == []


@pytest.mark.parametrize("mode", ["hang_accept", "hang", "hang_body", "close", "reset", "cut"])
def test_whatever_a_server_does_no_socket_stays_open(stack: Stack, mode: str) -> None:
    with FaultServer(stack.hub.port, tls=None if mode == "hang_accept" else "good") as faults:
        # Over TLS, "hang_accept" is a handshake that never ends: the server here speaks none.
        scheme = "https" if mode == "hang_accept" else faults.url("").partition(":")[0]
        authority = str(faults.certificate.authority) if faults.certificate else None
        faults.behave(mode)
        stack.configure(
            server_url=f"{scheme}://127.0.0.1:{faults.port}/api.php",
            network_ca_file=authority,
            timeouts_server=0.5,
            retries_base_delay=0.1,
            retries_max_attempts=100,
            retries_exponential_backoff="false",
        )
        most = []
        for _ in range(4):
            before = faults.counters.connections
            wait_until(lambda b=before: faults.counters.connections >= b + 8, 60, "attempts")
            most.append(connections(stack, faults.port))
            assert stack.moonraker.get("/server/info")["klippy_state"] == "ready"
        assert max(most) <= 4


# Proxies


class Tinyproxy:
    def __init__(self, login: str = "") -> None:
        self.port = reserve_port()
        self.login = login
        self._folder = Path(tempfile.mkdtemp(prefix="tecmedhub-tinyproxy-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.login + '@' if self.login else ''}127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def __enter__(self) -> Tinyproxy:
        lines = [f"Port {self.port}", "Listen 127.0.0.1", "Timeout 600", "MaxClients 50"]
        lines += [f'LogFile "{self._folder}/log"', "LogLevel Connect", "Allow 127.0.0.1"]
        if self.login:
            lines.append("BasicAuth " + self.login.replace(":", " "))
        (self._folder / "conf").write_text("\n".join(lines) + "\n")
        command = ["tinyproxy", "-d", "-c", str(self._folder / "conf")]
        with open(self._folder / "out", "wb") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out)
        wait_until((self._folder / "log").exists, 10, "tinyproxy")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self._folder, ignore_errors=True)


def prints_and_shows(stack: Stack) -> None:
    """A file comes from the hub and is printed, and a picture goes there."""
    data = make_gcode(seconds=1, layers=2)
    content = data if isinstance(data, bytes) else data.encode()
    stack.hub.add_file("lab.gcode", content, stack.token)
    assert stack.do("print", timeout=60, file="lab.gcode").status == "done"
    assert (stack.gcodes / "lab.gcode").read_bytes() == content
    stack.hub.wait_for(lambda: stack.hub.images(stack.token), 30, "a picture")


@pytest.fixture
def camera() -> Iterator[CameraServer]:
    with CameraServer() as server:
        yield server


@pytest.mark.skipif(not shutil.which("tinyproxy"), reason="no tinyproxy")
@pytest.mark.parametrize("login", ["", "lab:s3cret"], ids=["open", "password"])
@pytest.mark.parametrize("tls", [None, "good"], ids=["http", "https"])
def test_status_commands_pictures_and_files_go_through_a_proxy(
    stack: Stack, camera: CameraServer, tls: str | None, login: str
) -> None:
    with Tinyproxy(login) as proxy, Front(stack.hub.port, tls=tls) as front:
        options = {"network_proxy": proxy.url, "camera_urls": camera[0].snapshot_url}
        behind(stack, front.port, front, **options)
        stack.wait_connected()
        prints_and_shows(stack)
        assert "CONNECT" in proxy.log if tls else "POST" in proxy.log
        assert "s3cret" not in (stack.moonraker.logs / "tecmedhub.log").read_text()
        lines = [line for line in stack.moonraker.log.read_text().splitlines() if "s3cret" in line]
        assert all(line.startswith("network_proxy = ") for line in lines)  # Moonraker's own copy
        doctor = stack.moonraker.get("/server/tecmedhub/doctor")
        assert {c["check"]: c["state"] for c in doctor["checks"]}["proxy"] == "ok"


@pytest.mark.parametrize("tls", [None, "wrong_name"], ids=["http", "https"])
def test_what_only_the_proxy_can_resolve_is_reached(
    stack: Stack, camera: CameraServer, tls: str | None
) -> None:
    """The certificate is for example.org, which is our own server here: for the proxy alone."""
    with contextlib.ExitStack() as running:
        front = running.enter_context(Front(stack.hub.port, tls=tls))
        names = {"example.org": ("127.0.0.1", front.port)}
        proxy = running.enter_context(Proxy(names, login="lab:s3cret"))
        stack.configure(
            server_url=f"{front.scheme}://example.org:{front.port}/api.php",
            network_ca_file=front.authority or None,
            network_proxy=proxy.url,
            camera_urls=camera[0].snapshot_url,
        )
        stack.wait_connected()
        prints_and_shows(stack)
        assert proxy.asked
        assert all("example.org" in asked for asked in proxy.asked)


@pytest.mark.skipif(not shutil.which("tinyproxy"), reason="no tinyproxy")
@pytest.mark.parametrize("tls", [None, "good"], ids=["http", "https"])
def test_a_proxys_wrong_password_is_told_as_such(stack: Stack, tls: str | None) -> None:
    with Tinyproxy("lab:s3cret") as proxy, Front(stack.hub.port, tls=tls) as front:
        behind(stack, front.port, front, network_proxy=proxy.url.replace("s3cret", "wr0ng"))

        def warned() -> str:
            found = stack.moonraker.get("/server/tecmedhub/status")["notices"]
            return " ".join(str(notice["text"]) for notice in found)

        wait_until(lambda: re.search("user (or|and) password", warned()), 30, "the words")
        assert "wr0ng" not in warned()
        assert base64.b64encode(b"lab:wr0ng").decode() not in stack.moonraker.log.read_text()
