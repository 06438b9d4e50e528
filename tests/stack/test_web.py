"""The endpoints, notifications and macros of a running plugin, as people and web interfaces reach
them.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from tests.rig.cameras import CameraServer
from tests.rig.stack import Stack

pytestmark = pytest.mark.stack

STRANGER = {"X-Real-Ip": "203.0.113.9"}  # how a web server passes on an address nobody trusts
MACROS = """
[gcode_macro TECMEDHUB_DOCTOR]
gcode:
    {action_call_remote_method("tecmedhub_doctor", lang=params.LANG|default("en"))}

[gcode_macro BED_CLEAR]
gcode:
    {action_call_remote_method("tecmedhub_bed_clear")}

[gcode_macro REMOTE_OFF]
gcode:
    {action_call_remote_method("tecmedhub_remote_off")}

[gcode_macro REMOTE_ON]
gcode:
    {action_call_remote_method("tecmedhub_remote_on")}

[gcode_macro TAKE_PICTURE]
gcode:
    {action_call_remote_method("tecmedhub_snapshot")}
"""


def ask(stack: Stack, name: str, **query: Any) -> Any:
    return stack.moonraker.get(f"/server/tecmedhub/{name}", **query)


def do(stack: Stack, name: str, **body: Any) -> Any:
    return stack.moonraker.post(f"/server/tecmedhub/{name}", body)


@pytest.fixture(scope="module")
def cameras() -> Iterator[CameraServer]:
    with CameraServer(1) as server:
        yield server


@pytest.mark.versions
def test_the_same_answers_over_http_and_json_rpc(
    moonraker_python: str, make_stack: Callable[..., Stack]
) -> None:
    stack = make_stack(python=moonraker_python)
    # The hub has the first status before the plugin has the hub's answer.
    stack.moonraker.wait(
        lambda: ask(stack, "status")["hub"]["state"] == "connected", 60, "the hub's first answer"
    )
    status = ask(stack, "status")
    stages = status["hub"]["stages"]
    assert stages.pop("tls") is None, "a plain http:// hub has no TLS"
    assert all(stages.values())
    assert status["printer"]["klippy"] == "ready"
    assert status["last_body"]["token"] == "********"
    with stack.moonraker.websocket() as ws:
        over_rpc = ws.call("server.tecmedhub.status")
        assert set(over_rpc) == set(status)
        assert ws.call("server.tecmedhub.get_cleanup") == {"dry_run": True, "files": []}
        refused = ws.call("server.tecmedhub.post_cleanup")
        assert refused["ok"] is False
        assert ws.call("server.tecmedhub.post_cleanup", {"confirm": True})["ok"] is True
        assert ws.call("server.tecmedhub.test_connection")["ok"] is True
        report = ws.call("server.tecmedhub.doctor", {"lang": "es"})
        titles = [check["title"] for check in report["checks"]]
        assert "Cámara" in titles
        wrong = [check for check in report["checks"] if check["state"] == "failed"]
        assert wrong == []


@pytest.mark.versions
def test_the_page_is_served_to_anyone_and_the_data_to_nobody_unknown(
    moonraker_python: str, make_stack: Callable[..., Stack]
) -> None:
    stack = make_stack(python=moonraker_python)
    status, page, headers = stack.moonraker.request(
        "GET", "/server/tecmedhub/panel", headers=STRANGER
    )
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=UTF-8"
    assert page.startswith(b"<!DOCTYPE html>")
    assert stack.server_url.encode() not in page
    for name in ("status", "config", "history", "doctor", "commands", "events", "image"):
        refused, _, _ = stack.moonraker.request(
            "GET", f"/server/tecmedhub/{name}", headers=STRANGER
        )
        assert refused == 401, name
    for name in ("bed_clear", "remote_off", "snapshot", "cleanup", "test_connection"):
        refused, _, _ = stack.moonraker.request(
            "POST", f"/server/tecmedhub/{name}", b"{}", headers=STRANGER
        )
        assert refused == 401, name


def test_a_command_and_what_became_of_it(stack: Stack) -> None:
    with stack.moonraker.websocket() as ws:
        assert stack.do("heat", hotend_temp=60).status == "done"
        assert stack.do("set_speed", speed=900).status == "refused"
        ws.wait("notify_tecmedhub_changed", lambda p: p[0]["revisions"]["commands"] >= 2, 10)
    newest, before = ask(stack, "commands", limit=2)["commands"]
    assert (newest["action"], newest["status"]) == ("set_speed", "refused")
    assert "200" in newest["message"]
    assert (before["action"], before["status"]) == ("heat", "done")


def test_an_outage_is_told_by_words_events_and_notification(stack: Stack) -> None:
    with stack.moonraker.websocket() as ws:
        stack.hub.kill()
        ws.wait("notify_tecmedhub_changed", lambda p: p[0]["hub"]["state"] == "disconnected", 15)
        hub = ask(stack, "status")["hub"]
        assert hub["failure"] == "unreachable"
        assert "refuses connections" in hub["sentence"]
        assert hub["stages"]["tcp"] is False
        tested = do(stack, "test_connection")
        assert (tested["ok"], tested["failure"]) == (False, "unreachable")
        report = ask(stack, "doctor", lang="es")
        assert report["state"] == "failed"
        tcp = next(check for check in report["checks"] if check["check"] == "tcp")
        assert "rechaza conexiones" in tcp["text"]
        assert tcp["remedy"]
        stack.hub.restart()
        ws.wait("notify_tecmedhub_changed", lambda p: p[0]["hub"].get("reconnections"), 30)
        assert ask(stack, "status")["hub"]["state"] == "connected"
    kinds = [event["kind"] for event in ask(stack, "events")["events"]]
    assert kinds.index("hub_reconnected") < kinds.index("hub_unreachable")


def test_the_support_bundle_is_whole_and_without_the_token(
    make_stack: Callable[..., Stack],
) -> None:
    token = "printer_0a1b2c3d4e5f_token"
    stack = make_stack(token=token, options={"logging_verbose": True})
    stack.do("heat", hotend_temp=60)
    status, data, headers = stack.moonraker.request("GET", "/server/tecmedhub/support")
    assert (status, headers["Content-Type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(data)) as bundle:
        texts = {name: bundle.read(name).decode("utf-8") for name in bundle.namelist()}
    assert "TecMedHub" in texts["tecmedhub.log"]
    assert json.loads(texts["status.json"])["hub"]["state"] == "connected"
    assert [name for name, text in texts.items() if token in text] == []


def test_the_kill_switch_holds_the_hub_off(stack: Stack) -> None:
    assert do(stack, "remote_off")["ok"] is True
    result = stack.do("heat", hotend_temp=60)
    assert result.status == "refused"
    assert ask(stack, "status")["remote"]["on"] is False
    assert do(stack, "remote_on")["ok"] is True
    assert stack.do("heat", hotend_temp=60).status == "done"


def test_the_last_hour_is_drawn_from_real_figures(stack: Stack) -> None:
    stack.moonraker.wait(lambda: len(ask(stack, "history")["times"]) >= 2, 30, "two points")
    history = ask(stack, "history")
    assert all(0 < value < 5000 for value in history["latency"] if value is not None)
    assert {"extruder", "heater_bed"} <= set(history["temperatures"])
    newer = ask(stack, "history", since=history["times"][-1])
    assert len(newer["times"]) <= 1


def test_pictures_and_macros(cameras: CameraServer, make_stack: Callable[..., Stack]) -> None:
    stack = make_stack(options={"camera_urls": cameras[0].snapshot_url}, extra_config=MACROS)
    taken = do(stack, "snapshot")
    assert taken["ok"] is True
    (camera,) = taken["cameras"]
    assert camera["state"] == "ok"
    status, jpeg, headers = stack.moonraker.request(
        "GET", f"/server/tecmedhub/image?camera={quote(camera['name'])}"
    )
    assert status == 200
    assert headers["Content-Type"] == "image/jpeg"
    assert Image.open(io.BytesIO(jpeg)).format == "JPEG"
    _, answer, headers = stack.moonraker.request("GET", "/server/tecmedhub/image?camera=nobody")
    assert json.loads(answer)["ok"] is False

    with stack.moonraker.websocket() as ws:

        def console(text: str, timeout: float = 20) -> None:
            ws.wait("notify_gcode_response", lambda params: text in params[0], timeout)

        before = len(cameras[0].requests())
        stack.moonraker.gcode("TAKE_PICTURE")
        console("// TecMedHub: Pictures taken")
        assert len(cameras[0].requests()) > before
        stack.moonraker.gcode("REMOTE_OFF")
        console("Remote control is off")
        assert stack.do("home").status == "refused"
        stack.moonraker.gcode("REMOTE_ON")
        console("Remote control is on")
        stack.moonraker.gcode("BED_CLEAR")
        console("The bed is clear")
        stack.moonraker.gcode("TECMEDHUB_DOCTOR LANG=es")
        console("// TecMedHub: [ok] Klipper: Klipper está listo.", 40)
        stack.moonraker.gcode("TECMEDHUB_DOCTOR")
        console("// TecMedHub: [ok] Klipper: Klipper is ready.", 40)


def test_what_is_asked_wrongly_is_answered_in_words(stack: Stack) -> None:
    """Every endpoint, with arguments that make no sense: an answer, never a 500."""
    odd = {"limit": "∞", "since": [1], "camera": {"a": 1}, "file": None, "confirm": "no", "lang": 5}
    for name in ("commands", "events", "history", "snapshot", "cleanup", "status", "config"):
        status, answer, _ = stack.moonraker.request(
            "GET",
            f"/server/tecmedhub/{name}",
            json.dumps(odd).encode(),
            {"Content-Type": "application/json"},
        )
        assert status == 200, (name, answer)
    for name in ("cancel_download", "cleanup"):
        assert do(stack, name, **odd)["ok"] is False
    assert stack.moonraker.warnings() == []
