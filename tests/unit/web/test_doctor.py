"""What the doctor finds, on real sockets wherever a socket is what it looks at."""

from __future__ import annotations

import asyncio
import email.utils
import os
import socket
import string
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from components.hub.client import HubClient, Reply
from components.hub.kept import KeptClient
from components.hub.transport import Transport
from components.net.connect import Connector
from components.net.trust import Trust
from components.printer.snapshot import KlippyState, Snapshot
from components.runtime.clock import Clock
from components.settings.model import LiveSettings, Settings
from components.web.doctor import host, hub
from components.web.doctor.doctor import Check, Doctor
from components.web.doctor.host import link_finding, version_of
from components.web.doctor.hub import HubChecks, resolve
from components.web.doctor.report import Finding, Report, State
from components.web.doctor.texts import TEXTS, TITLES
from tests.rig.faults import FaultServer
from tests.rig.proxy import Proxy
from tests.unit.web.support import TOKEN, VERSION, House, merge_settings


class RealHub:
    """The hub's rooms for real, at a server that the test commands."""

    def __init__(self, house: House, url: str, authority: str = "", proxy: str = "") -> None:
        clock = Clock()
        trust = Trust(clock, lambda: authority, {})
        self.connector = Connector(clock, trust, lambda: proxy, {})
        self.http = KeptClient(force_instance=True, connector=self.connector, clock=clock)
        self.live = LiveSettings(Settings(server_url=url, printer_token=TOKEN))
        self.transport = Transport(self.http, Clock(), "TecMedHub/test")
        self.client = HubClient(self.live, self.transport, Clock())
        self.house = house
        self.clock = clock

    async def send(self) -> Reply:
        return await self.client.send_status({"action": "update_printer", "token": TOKEN})

    async def findings(self, **arguments: Any) -> dict[str, Finding]:
        try:
            found = await hub_checks(self, self.house, **arguments).run()
        finally:
            self.transport.close()
            self.connector.close()
        return {finding.check: finding for finding in found}


def hub_checks(rooms: Any, house: House, **arguments: Any) -> HubChecks:
    """The checks of a hub that `rooms` has, at the link of the house."""
    reporter = rooms if isinstance(rooms, RealHub) else house.reporter
    client, connector = rooms.client, rooms.connector
    return HubChecks(rooms.live, client, house.link, reporter, connector, rooms.clock, **arguments)


@pytest.fixture
async def faults() -> AsyncIterator[FaultServer]:
    with FaultServer() as server:
        yield server


# The way to the hub


async def test_a_hub_that_is_well(house: House, faults: FaultServer) -> None:
    faults.behave("answer", headers={"Date": email.utils.formatdate(usegmt=True)})
    found = await RealHub(house, faults.url("/api.php")).findings()
    assert {finding.state for finding in found.values()} == {State.OK}
    assert set(found) == {
        *("proxy", "dns", "tcp", "tls", "http", "redirect", "json", "token"),
        *("clock", "commands", "files"),
    }
    assert found["tls"].code == "tls_not_used_near"


async def test_a_port_where_nobody_listens(house: House) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}/api.php"
        found = await RealHub(house, url).findings()
    assert found["dns"].state is State.OK
    assert (found["tcp"].state, found["tcp"].code) == (State.FAILED, "tcp_refused")
    assert found["token"].state is State.SKIPPED
    sentence, remedy = found["tcp"].words("es")
    assert "rechaza" in sentence
    assert "servidor web" in remedy


async def test_a_name_that_does_not_exist(house: House) -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    found = await RealHub(house, "https://hub.invalid/api.php").findings(resolver=unknown)
    assert (found["dns"].state, found["dns"].code) == (State.FAILED, "dns_failed")
    assert "Name or service not known" in found["dns"].words("en")[0]
    assert found["tcp"].state is State.SKIPPED


async def test_a_resolver_that_hangs_holds_nobody_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "CONNECT_WITHIN", 0.2)
    released = threading.Event()

    def hanging(host: str, port: int) -> list[str]:
        released.wait(30)
        return []

    try:
        found = await RealHub(house, "https://hub.invalid/api.php").findings(resolver=hanging)
    finally:
        released.set()
    assert found["dns"].code == "dns_timeout"


async def test_the_system_resolves_names() -> None:
    assert "127.0.0.1" in resolve("localhost", 80) or "::1" in resolve("localhost", 80)


@pytest.mark.parametrize(
    ("mode", "params", "check", "code"),
    [
        ("redirect", {"to": "https://elsewhere.example/api.php"}, "redirect", "reply_redirect"),
        ("html", {}, "json", "reply_not_json"),
        ("empty", {}, "json", "reply_not_json"),
        ("status", {"code": 404}, "http", "reply_status"),
        ("busy", {"code": 503, "retry_after": "7"}, "http", "reply_busy"),
        (
            "answer",
            {"reply": {"success": False, "message": "Token inválido"}},
            "token",
            "reply_refused",
        ),
    ],
)
async def test_replies_that_are_none(
    house: House, faults: FaultServer, mode: str, params: dict[str, Any], check: str, code: str
) -> None:
    faults.behave(mode, **params)
    found = await RealHub(house, faults.url("/api.php")).findings()
    assert (found[check].state, found[check].code) == (State.FAILED, code)
    assert found["tcp"].state is State.OK
    failed = [name for name, finding in found.items() if finding.state is State.FAILED]
    assert failed == [check]
    for language in ("en", "es"):
        sentence, remedy = found[check].words(language)
        assert sentence
        assert remedy


async def test_a_file_list_that_fails_is_told_apart(house: House, faults: FaultServer) -> None:
    faults.behave("status", "api_files.php", code=404)
    found = await RealHub(house, faults.url("/api.php")).findings()
    assert found["token"].state is State.OK
    assert found["files"].state is State.FAILED
    assert "404" in found["files"].words("es")[0]


async def test_a_clock_that_is_wrong(house: House, faults: FaultServer) -> None:
    faults.behave("answer", headers={"Date": "Wed, 21 Oct 2015 07:28:00 GMT"})
    found = await RealHub(house, faults.url("/api.php")).findings()
    assert (found["clock"].state, found["clock"].code) == (State.WARNING, "clock_ahead")


class Later(Clock):
    def time(self) -> float:
        return super().time() + 20 * 86400


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("good", "tls_ok"),
        ("expired", "reply_tls"),
        ("wrong_name", "reply_tls"),
    ],
)
async def test_certificates_of_a_known_authority(house: House, kind: str, code: str) -> None:
    with FaultServer(tls=kind) as server:
        authority = str(server.certificate.authority)
        found = await RealHub(house, server.url("/api.php"), authority).findings()
    assert found["tls"].code == code
    if code == "reply_tls":
        assert found["tls"].state is State.FAILED
        assert found["http"].state is State.SKIPPED


async def test_a_certificate_of_nobody_known(house: House) -> None:
    with FaultServer(tls="self_signed") as server:
        found = await RealHub(house, server.url("/api.php")).findings()
    assert (found["tls"].state, found["tls"].code) == (State.FAILED, "reply_tls")
    assert "self" in found["tls"].words("en")[0]


async def test_a_certificate_that_ends_soon(house: House) -> None:
    """The bench's certificates hold for 30 days; twenty days from now they end soon."""
    with FaultServer(tls="good") as server:
        authority = str(server.certificate.authority)
        real = RealHub(house, server.url("/api.php"), authority)
        real.clock = Later()
        found = await real.findings()
    assert (found["tls"].state, found["tls"].code) == (State.WARNING, "tls_ends_soon")


@pytest.mark.parametrize("tls", [None, "good"])
async def test_through_a_proxy(house: House, tls: str | None) -> None:
    with FaultServer(tls=tls) as server, Proxy() as proxy:
        date = email.utils.formatdate(usegmt=True)
        server.behave("answer", headers={"Date": date})
        authority = str(server.certificate.authority) if server.certificate else ""
        found = await RealHub(house, server.url("/api.php"), authority, proxy.url).findings()
    assert (found["proxy"].state, found["proxy"].code) == (State.OK, "proxy_ok")
    assert found["dns"].state is found["tcp"].state is State.SKIPPED
    assert found["tls"].state is (State.OK if tls else State.WARNING)
    assert found["token"].state is State.OK


async def test_a_proxy_that_rejects_the_password(house: House) -> None:
    with FaultServer(tls="good") as server, Proxy(login="me:right") as proxy:
        url = proxy.url.replace("right", "wrong")
        found = await RealHub(house, server.url("/api.php"), proxy=url).findings()
    assert (found["proxy"].state, found["proxy"].code) == (State.FAILED, "reply_proxy")
    assert "rejects user or password" in found["proxy"].words("en")[0]
    assert found["token"].state is State.SKIPPED


async def test_without_settings_it_says_what_is_missing(house: House) -> None:
    house.live.replace(merge_settings({"server_url": "http://127.0.0.1/api.php"}))
    found = await hub_checks(house, house).run()
    assert found[0].code == "settings_missing"
    assert "printer_token" in found[0].words("en")[0]
    assert "server_url" not in found[0].words("en")[0]
    assert {finding.state for finding in found[1:]} == {State.SKIPPED}


# Beside the hub


async def one(work: Any) -> Finding:
    (finding,) = await work
    assert isinstance(finding, Finding)
    return finding


async def test_each_camera_is_named(house: House) -> None:
    house.cameras.views = [
        {"name": "frontal", "state": "ok", "message": ""},
        {"name": "cenital", "state": "failing", "message": "it does not answer."},
        {"name": "lateral", "state": "frozen", "message": ""},
    ]
    found = await host.cameras(house.cameras, house.live)
    assert [f.state for f in found] == [State.OK, State.FAILED, State.WARNING]
    assert "cenital" in found[1].words("es")[0]
    assert "it does not answer." in found[1].words("en")[0]
    assert house.cameras.taken == 1


async def test_no_camera_is_no_fault(house: House) -> None:
    house.cameras.views = []
    assert (await one(host.cameras(house.cameras, house.live))).state is State.SKIPPED


async def test_ffmpeg(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    missing = await one(host.ffmpeg(house.live))
    assert (missing.state, missing.code) == (State.WARNING, "ffmpeg_missing")
    program = programs / "ffmpeg"
    for script, code in (
        ("exit 1", "ffmpeg_broken"),
        ("echo ' V..... mpeg4 '", "ffmpeg_no_h264"),
        ("echo ' V..... libx264 '", "ffmpeg_ok"),
    ):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        assert (await one(host.ffmpeg(house.live))).code == code


async def test_the_disk(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, state in (
        (600, State.OK),
        (499, State.WARNING),
        (199, State.FAILED),
    ):
        monkeypatch.setattr(
            "components.web.doctor.host.read_disk", lambda path, free=free: (10**12, free << 20)
        )
        assert (await one(host.disk(house.folder))).state is state


async def test_a_folder_that_cannot_be_written(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await one(host.permissions(house.folders, house.database))).state is State.OK
    # Root may write everywhere, so the system's answer is given here.
    really = os.access
    monkeypatch.setattr(os, "access", lambda p, m: "config" not in str(p) and really(p, m))
    finding = await one(host.permissions(house.folders, house.database))
    assert finding.code == "folder_unwritable"
    assert str(house.folder / "config") in finding.words("en")[1]


def test_the_link_and_the_exclude_line(tmp_path: Path) -> None:
    plugin = tmp_path / "tecmedhub-moonraker" / "components"
    plugin.mkdir(parents=True)
    moonraker = tmp_path / "moonraker"
    components = moonraker / "moonraker" / "components"
    components.mkdir(parents=True)
    link = components / "tecmedhub"
    link.symlink_to(plugin)
    assert link_finding(link).code == "link_ok_no_git"
    (moonraker / ".git" / "info").mkdir(parents=True)
    assert link_finding(link).code == "link_not_excluded"
    exclude = moonraker / ".git" / "info" / "exclude"
    exclude.write_text("# moonraker/components/tecmedhub\n")
    assert link_finding(link).code == "link_not_excluded"
    exclude.write_text("moonraker/components/tecmedhub\n")
    assert link_finding(link).code == "link_ok"
    copied = components / "copy"
    copied.mkdir()
    assert link_finding(copied).code == "link_copied"


async def test_moonrakers_version(house: House) -> None:
    assert (await one(host.moonraker(house.server, VERSION))).state is State.OK
    for version, code in (("v0.7.1-44-g1", "moonraker_old"), ("?", "moonraker_unknown")):
        house.server.get_app_args = lambda v=version: {"software_version": v}  # type: ignore[method-assign]
        assert (await one(host.moonraker(house.server, VERSION))).code == code
    assert version_of("v0.10.0") == (0, 10, 0)


async def test_klipper_in_trouble(house: House) -> None:
    house.printer.snapshot = Snapshot(klippy=KlippyState.SHUTDOWN, message="MCU 'mcu' shutdown.")
    finding = await one(host.klipper(house.printer))
    assert finding.state is State.WARNING
    assert "MCU 'mcu' shutdown" in finding.words("en")[0]


# The examination


def doctor_of(house: House, *more: Check) -> Doctor:
    def checks() -> list[Check]:
        return [*(check for room in house.pages for check in room.checks()), *more]

    return Doctor(house.clock, house.notices, checks)


async def test_a_check_that_breaks_spoils_no_other(house: House) -> None:
    async def broken() -> list[Finding]:
        raise RuntimeError("broken")

    report = await doctor_of(house, Check("files", broken, 5.0)).examine()
    codes = [finding.code for finding in report.findings if finding.check == "files"]
    assert "check_broken" in codes
    assert any(finding.check == "dns" for finding in report.findings)
    assert any(finding.check == "cameras" for finding in report.findings)
    assert report.as_dict("es")["checks"][0]["title"]


async def test_two_who_ask_share_one_examination(house: House) -> None:
    doctor = doctor_of(house)
    first, second = await asyncio.gather(doctor.examine(), doctor.examine())
    assert first is second
    assert house.cameras.taken == 1


async def test_a_thread_that_hangs_at_a_dead_disk_is_no_obstacle(house: House) -> None:
    mended = threading.Event()
    hanging = house.worker.submit(mended.wait)
    try:
        report = await asyncio.wait_for(house.server.call("GET", "doctor"), 5.0)
    finally:
        mended.set()
    assert any(check["check"] == "klipper" for check in report["checks"])
    await hanging


async def test_the_macro_answers_in_the_console(house: House) -> None:
    await house.server.remote_methods["tecmedhub_doctor"](lang="es")
    lines = "\n".join(house.board.console)
    assert "// TecMedHub: [-] Token: Sin examinar" in lines or "[ok] Token" in lines
    assert "Klipper está listo" in lines
    assert TOKEN not in lines


async def test_the_endpoint_speaks_the_language_asked_for(house: House) -> None:
    english = await house.server.call("GET", "doctor")
    spanish = await house.server.call("GET", "doctor", lang="es")

    def text(report: dict[str, Any]) -> str:
        return next(c["text"] for c in report["checks"] if c["check"] == "klipper")

    assert text(english) == "Klipper is ready."
    assert text(spanish) == "Klipper está listo."


def test_the_worst_finding_decides() -> None:
    well = Finding("dns", State.OK, "no_hub")
    warned = Finding("tls", State.WARNING, "no_hub")
    wrong = Finding("tcp", State.FAILED, "no_hub")
    assert Report([well, Finding("tcp", State.SKIPPED, "no_hub")], 1.0).worst is State.OK
    assert Report([well, warned], 1.0).worst is State.WARNING
    assert Report([warned, wrong, well], 1.0).as_dict()["ok"] is False


# The words


@pytest.mark.parametrize("code", sorted(TEXTS))
def test_everything_is_said_in_both_languages(code: str) -> None:
    """`scripts/catalogue --check` holds the places of both against each other."""
    places = {name for text in TEXTS[code] for _, name, _, _ in string.Formatter().parse(text)}
    finding = Finding("dns", State.FAILED, code, {name: 7.0 for name in places if name})
    (said, remedy), (dicho, remedio) = finding.words("en"), finding.words("es")
    assert said
    assert dicho
    assert bool(remedy) == bool(remedio)
    assert not remedy or remedio != remedy


@pytest.mark.parametrize("check", sorted(TITLES))
def test_every_check_has_a_title(check: str) -> None:
    assert all(Finding(check, State.OK, "no_hub").title(language) for language in ("en", "es"))
