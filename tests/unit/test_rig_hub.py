"""The reference hub speaks both generations as the protocol notes have it, and its extensions."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from tests.rig.hub import PhpHub
from tests.rig.php_server import php_available

pytestmark = pytest.mark.skipif(not php_available(), reason="needs php-cli and php-sqlite3")

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) + b"\xff\xd9"


@dataclass(frozen=True)
class Answer:
    code: int
    headers: dict[str, str]  # lower-case names
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)


@pytest.fixture(scope="module")
def running() -> Iterator[PhpHub]:
    with PhpHub() as hub:
        yield hub


@pytest.fixture
def hub(running: PhpHub) -> PhpHub:
    running.reset()
    return running


def call(
    url: str,
    body: bytes | dict[str, Any] | None = None,
    *,
    method: str | None = None,
    headers: dict[str, str] | None = None,
    **query: Any,
) -> Answer:
    parts = urlsplit(url)
    target = parts.path + (f"?{urlencode(query)}" if query else "")
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    try:
        connection.request(
            method or ("GET" if data is None else "POST"), target, data, headers or {}
        )
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, response.read())
    finally:
        connection.close()


def update(hub: PhpHub, generation: int = 1, token: str = "T1", **fields: Any) -> Answer:
    url = hub.gen1_url if generation == 1 else hub.gen2_url
    return call(url, {"action": "update_printer", "token": token, "status": "idle", **fields})


def poll(hub: PhpHub, generation: int = 1, token: str = "T1", **query: Any) -> Answer:
    if generation == 1:
        return call(hub.gen1_url, action="get_commands", token=token, **query)
    return call(f"{hub.base_url}/printer-api/commands.php", token=token, **query)


def files(hub: PhpHub, generation: int, action: str, **query: Any) -> Answer:
    return call(files_url(hub, generation), action=action, printer_token="T1", **query)


def files_url(hub: PhpHub, generation: int) -> str:
    return hub.base_url + ("/api_files.php" if generation == 1 else "/printer-api/files.php")


def multipart(parts: dict[str, tuple[str, bytes] | str]) -> tuple[bytes, dict[str, str]]:
    lines = b""
    for name, value in parts.items():
        lines += b'--limit\r\nContent-Disposition: form-data; name="%s"' % name.encode()
        if isinstance(value, str):
            lines += b"\r\n\r\n" + value.encode()
        else:
            lines += b'; filename="%s"\r\nContent-Type: image/jpeg\r\n\r\n' % value[0].encode()
            lines += value[1]
        lines += b"\r\n"
    return lines + b"--limit--\r\n", {"Content-Type": "multipart/form-data; boundary=limit"}


def in_background(work: Callable[[], Answer]) -> Callable[[], Answer]:
    """Start `work` in a thread; the callable returned waits for its answer."""
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(work()), daemon=True)
    thread.start()

    def answer() -> Answer:
        thread.join(20)
        return answers[0]

    return answer


# -- generation 1 ----------------------------------------------------------------------------------


def test_an_update_registers_a_new_printer_and_keeps_its_id(hub: PhpHub) -> None:
    first = update(hub, name="🦄 Mi Impresora")
    assert first.code == 200
    assert first.json["success"] is True
    assert first.json["printer_id"].startswith("printer_")
    assert update(hub).json["printer_id"] == first.json["printer_id"]
    assert update(hub, token="T2").json["printer_id"] != first.json["printer_id"]
    assert [status.body.get("name") for status in hub.history("T1")] == ["🦄 Mi Impresora", None]


def test_an_update_replaces_every_field_but_image_and_tags(hub: PhpHub) -> None:
    update(
        hub,
        name="A",
        progress=45,
        files=[{"name": "x"}],
        image="printer_images/T1.jpg",
        tags=["PLA"],
    )
    update(hub, image="", tags=[])
    kept = hub.printer("T1")
    assert kept is not None
    assert (kept["name"], kept["progress"], kept["files"]) == ("", 0, [])
    assert (kept["image"], kept["tags"]) == ("printer_images/T1.jpg", ["PLA"])


def test_commands_are_deleted_as_they_are_delivered(hub: PhpHub) -> None:
    ids = [
        hub.queue("T1", "set_speed", speed=120),
        hub.queue("T1", "macro", macro_name="M", params={}),
    ]
    hub.queue("T2", "home")
    commands = poll(hub).json["commands"]
    assert [command["id"] for command in commands] == ids
    assert commands[0] == {
        "id": ids[0],
        "token": "T1",
        "action": "set_speed",
        "speed": 120,
        "timestamp": commands[0]["timestamp"],
    }
    assert commands[1]["params"] == []  # PHP's empty array is a list
    assert poll(hub).json["commands"] == []
    assert [delivery.command["id"] for delivery in hub.delivered("T1")] == ids
    assert [command["action"] for command in hub.waiting("T2")] == ["home"]


def test_health_lists_a_silent_printer_as_offline(hub: PhpHub) -> None:
    update(hub, status="printing")
    assert call(hub.gen1_url, action="get_printers").json["printers"][0]["status"] == "printing"
    hub.set(offline_after=-1)
    assert call(hub.gen1_url, action="get_printers").json["printers"][0]["status"] == "offline"


def test_a_picture_is_uploaded_and_served_under_its_url(hub: PhpHub) -> None:
    body, headers = multipart({"token": "T1", "image": ("cámara.jpg", JPEG)})
    reply = call(f"{hub.base_url}/upload_image.php", body, headers=headers).json
    assert reply["success"] is True
    assert reply["image_url"].startswith("printer_images/T1.jpg?t=")
    assert call(f"{hub.base_url}/{reply['image_url']}").data == JPEG
    assert [image.data for image in hub.images("T1")] == [JPEG]


def test_a_picture_that_is_no_jpeg_or_too_large_is_refused(hub: PhpHub) -> None:
    body, headers = multipart({"token": "T1", "image": ("x.png", b"\x89PNG")})
    assert call(f"{hub.base_url}/upload_image.php", body, headers=headers).json["success"] is False
    hub.set(image_max_bytes=100)
    body, headers = multipart({"token": "T1", "image": ("x.jpg", JPEG)})
    assert call(f"{hub.base_url}/upload_image.php", body, headers=headers).json["success"] is False
    assert hub.images("T1") == []


# -- generation 2 ----------------------------------------------------------------------------------


def test_generation_2_numbers_its_printers_and_keeps_the_raw_body(hub: PhpHub) -> None:
    reply = update(hub, 2, name="A", layer=7).json
    assert reply["printer_id"] == 1
    assert isinstance(reply["timestamp"], int)
    assert update(hub, 2, token="T2").json["printer_id"] == 2
    kept = hub.printer("T1", 2)
    assert kept is not None
    assert json.loads(kept["raw_data"])["layer"] == 7


def test_generation_2_forgets_a_picture_that_does_not_come_along(hub: PhpHub) -> None:
    uri = "data:image/jpeg;base64," + base64.b64encode(JPEG).decode()
    update(hub, 2, image=uri)
    update(hub, 2, image=uri)
    assert [image.data for image in hub.images("T1")] == [JPEG]
    update(hub, 2)
    kept = hub.printer("T1", 2)
    assert kept is not None
    assert kept["image"] == ""


def test_generation_2_refuses_commands_to_an_unknown_token(hub: PhpHub) -> None:
    number = hub.queue2("T1", "basic", "PAUSE")
    refused = poll(hub, 2)
    assert refused.code == 200
    assert refused.json["success"] is False
    update(hub, 2)
    assert poll(hub, 2).json["commands"] == [
        {"id": number, "type": "basic", "command": "PAUSE", "priority": 0}
    ]


def test_generation_2_hands_out_ten_by_priority_then_age_once(hub: PhpHub) -> None:
    update(hub, 2)
    plain = [hub.queue2("T1", "gcode", f"M117 {n}") for n in range(11)]
    urgent = hub.queue2("T1", "basic", "EMERGENCY_STOP", priority=-1)
    assert [command["id"] for command in poll(hub, 2).json["commands"]] == [urgent, *plain[:9]]
    assert [command["id"] for command in poll(hub, 2).json["commands"]] == plain[9:]
    assert poll(hub, 2).json["commands"] == []


@pytest.mark.parametrize("generation", [1, 2])
def test_redeliver_hands_out_again_until_somebody_names_it(hub: PhpHub, generation: int) -> None:
    hub.set(features={"command_results": True, "redeliver": 0.2})
    update(hub, generation)
    if generation == 1:
        once, kept = (hub.queue("T1", "home", timestamp=77) for _ in range(2))
    else:
        once, kept = (hub.queue2("T1", "gcode", "G28") for _ in range(2))
    asked: dict[str, Any] = {"token": "T1"}
    url = hub.gen1_url if generation == 1 else hub.gen2_url.replace("update", "commands")
    if generation == 1:
        asked["action"] = "get_commands"
    first = call(url, redeliver=1, **asked).json["commands"]
    assert [command["id"] for command in first] == [once, kept]
    results = [{"id": once, "action": "home", "status": "received"}]
    body = {"action": "command_results", "token": "T1", "results": results}
    where = hub.gen1_url if generation == 1 else hub.gen2_url
    assert call(where, body).json["success"] is True
    assert call(url, **asked).json["commands"] == []  # who runs whatever it gets is given none
    again = hub.wait_for(lambda: call(url, redeliver=1, **asked).json["commands"], 10)
    assert again == first[1:] and "timestamp" in again[0]


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", [1, 2])
def test_the_file_list_describes_a_file(hub: PhpHub, generation: int) -> None:
    data = b"G28\n" * 700_000
    hub.add_file("pieza_1.gcode", data, "T1", original_name="Pieza ñ 🦄.gcode")
    hub.add_file("sin_md5.gcode", b"G28\n", "T1", md5=False, size_bytes="4")
    without, listed = files(hub, generation, "list_files").json["files"]
    assert listed.pop("uploaded")
    assert listed == {
        "name": "pieza_1.gcode",
        "original_name": "Pieza ñ 🦄.gcode",
        "size": "2.7 MB",
        "size_bytes": len(data),
        "md5": hashlib.md5(data).hexdigest(),
        "downloaded": False,
        "exists": True,
    }
    assert (without["md5"], without["size_bytes"]) == (None, "4")


@pytest.mark.parametrize("generation", [1, 2])
def test_the_bytes_come_exactly_with_their_length(hub: PhpHub, generation: int) -> None:
    data = bytes(range(256)) * 5000
    hub.add_file("a b.gcode", data, "T1")
    whole = files(hub, generation, "download_file", file="a b.gcode")
    assert (whole.code, whole.headers["content-length"]) == (200, str(len(data)))
    assert whole.data == data
    assert "accept-ranges" not in whole.headers
    ignored = call(
        files_url(hub, generation),
        headers={"Range": "bytes=100-"},
        action="download_file",
        file="a b.gcode",
        printer_token="T1",
    )
    assert (ignored.code, ignored.data) == (200, data)


def test_a_range_is_served_where_it_is_switched_on(hub: PhpHub) -> None:
    data = bytes(range(256)) * 5000
    hub.add_file("a.gcode", data, "T1")
    hub.set(range=True)
    query: dict[str, Any] = {"action": "download_file", "file": "a.gcode", "printer_token": "T1"}
    url = files_url(hub, 1)
    rest = call(url, headers={"Range": "bytes=1000-"}, **query)
    assert (rest.code, rest.data) == (206, data[1000:])
    assert rest.headers["content-range"] == f"bytes 1000-{len(data) - 1}/{len(data)}"
    assert call(url, headers={"Range": "bytes=5-9"}, **query).data == data[5:10]
    assert call(url, headers={"Range": f"bytes={len(data)}-"}, **query).code == 416
    changed = call(url, headers={"Range": "bytes=5-9", "If-Range": '"old"'}, **query)
    assert (changed.code, changed.data) == (200, data)


@pytest.mark.parametrize("generation", [1, 2])
def test_an_unknown_file_is_a_json_error_with_http_200(hub: PhpHub, generation: int) -> None:
    for name in ("nada.gcode", "../hub.sqlite"):
        answer = files(hub, generation, "download_file", file=name)
        assert (answer.code, answer.json["success"]) == (200, False)


@pytest.mark.parametrize(("generation", "kept"), [(1, False), (2, True)])
def test_only_generation_1_deletes_a_file_that_was_taken(
    hub: PhpHub, generation: int, kept: bool
) -> None:
    hub.add_file("a.gcode", b"G28\n", "T1")
    body = {"file": "a.gcode", "printer_token": "T1"}
    if generation == 1:
        reply = call(files_url(hub, 1), body, action="mark_downloaded")
    else:
        reply = call(files_url(hub, 2), {"action": "mark_downloaded", **body})
    assert reply.json["success"] is True
    assert hub.file_entry("a.gcode", "T1") == {"downloaded": True, "exists": kept}
    assert files(hub, generation, "list_files").json["files"][0]["exists"] is kept
    again = files(hub, generation, "download_file", file="a.gcode")
    assert (again.data == b"G28\n") is kept


# -- errors ----------------------------------------------------------------------------------------


def test_errors_are_spanish_and_http_200(hub: PhpHub) -> None:
    hub.set(tokens=["T1"])
    answers = [
        update(hub, token="T9"),
        update(hub, 2, token="T9"),
        poll(hub, token="T9"),
        call(hub.gen1_url, {"action": "fly", "token": "T1"}),
        call(hub.gen1_url, b"{not json", action="update_printer", token="T1"),
        call(hub.gen2_url, b"{not json"),
        call(hub.gen2_url, token="T1"),
    ]
    assert [(answer.code, answer.json["success"]) for answer in answers] == [(200, False)] * 7
    assert [answer.json["message"] for answer in answers] == [
        "Token no válido",
        "Token no válido",
        "Token no válido",
        "Acción no válida",
        "Datos JSON no válidos",
        "Token requerido",
        "Método no permitido",
    ]
    assert hub.count("T1") == hub.count("T9") == 0


def test_an_unknown_path_is_a_404_in_the_journal(hub: PhpHub) -> None:
    assert call(f"{hub.base_url}/lib/schema.sql").code == 404
    assert [(request.path, request.code) for request in hub.requests("other")] == [
        ("/lib/schema.sql", 404)
    ]


# -- PHP's habits and accidents --------------------------------------------------------------------


@pytest.mark.parametrize("generation", [1, 2])
def test_a_warning_or_a_byte_order_mark_stands_before_the_json(
    hub: PhpHub, generation: int
) -> None:
    hub.fault("status", "warning", times=1)
    said = update(hub, generation).data
    assert said.startswith(b"<br />\n<b>Warning</b>:")
    assert json.loads(said[said.index(b"{") :])["success"] is True
    hub.fault("status", "bom", times=1)
    assert update(hub, generation).data.startswith(b"\xef\xbb\xbf{")
    assert update(hub, generation).json["success"] is True
    assert hub.count("T1") == 3


def test_numbers_come_as_strings_and_booleans_as_numbers(hub: PhpHub) -> None:
    hub.queue("T1", "heat", hotend_temp=210, queue=True)
    hub.set(features={"long_poll": 5, "events": True})
    hub.fault("commands", "strings")
    reply = poll(hub).json
    assert reply["success"] == 1
    assert reply["features"] == {"long_poll": "5", "events": 1}
    assert (reply["commands"][0]["hotend_temp"], reply["commands"][0]["queue"]) == ("210", 1)
    assert isinstance(reply["commands"][0]["timestamp"], str)


def test_fields_of_a_reply_are_replaced(hub: PhpHub) -> None:
    hub.fault("commands", "null_commands", times=1)
    assert poll(hub).json["commands"] is None
    hub.fault("commands", "replace", times=1, fields={"commands": {"7": "x"}, "success": "no"})
    reply = poll(hub).json
    assert (reply["commands"], reply["success"]) == ({"7": "x"}, "no")


def test_damaged_replies(hub: PhpHub) -> None:
    hub.fault("status", "truncated", times=1)
    with pytest.raises(ValueError):
        _ = update(hub).json
    hub.fault("status", "short", times=1)
    with pytest.raises(http.client.IncompleteRead):
        update(hub)
    hub.fault("status", "huge", times=1)
    assert len(update(hub).data) > 2 << 20
    assert hub.count("T1") == 3  # the hub has done its work each time


@pytest.mark.parametrize(
    ("preset", "code", "kind"),
    [
        ("html_500", 500, b"<!DOCTYPE html>"),
        ("html_200", 200, b"<!DOCTYPE html>"),
        ("not_found", 404, b"<!DOCTYPE html>"),
        ("empty_500", 500, b""),
        ("empty_200", 200, b""),
    ],
)
def test_another_answer_comes_before_or_after_the_work(
    hub: PhpHub, preset: str, code: int, kind: bytes
) -> None:
    command = hub.queue("T1", "home")
    hub.fault("commands", preset, times=1)
    answer = poll(hub)
    assert (answer.code, answer.data[: len(kind) or 1]) == (code, kind)
    assert [waiting["id"] for waiting in hub.waiting("T1")] == [command]
    hub.fault("commands", preset, times=1, after=True)
    assert poll(hub).code == code
    assert hub.waiting("T1") == []
    assert hub.requests("commands")[-1].success is None


def test_busy_and_redirect(hub: PhpHub) -> None:
    hub.fault("status", "busy_503", times=1, headers={"Retry-After": "7"})
    answer = update(hub)
    assert (answer.code, answer.headers["retry-after"]) == (503, "7")
    hub.fault("*", "answer", times=1, code=301, headers={"Location": "https://example.org/"})
    answer = update(hub)
    assert (answer.code, answer.headers["location"]) == (301, "https://example.org/")
    assert hub.count("T1") == 0


def test_a_fault_holds_for_its_endpoint_until_it_is_cleared(hub: PhpHub) -> None:
    hub.fault("status", "wrong_token")
    assert update(hub).json["message"] == update(hub, 2).json["message"] == "Token no válido"
    assert poll(hub).json["success"] is True
    hub.clear_faults("commands")
    assert update(hub).json["success"] is False
    hub.clear_faults()
    assert update(hub).json["success"] is True


def test_a_delayed_endpoint_delays_no_other(hub: PhpHub) -> None:
    hub.fault("commands", "hang")
    threading.Thread(target=_quietly(lambda: poll(hub)), daemon=True).start()
    hub.wait_for(lambda: hub.requests("commands", pending=True), 5)
    for _ in range(20):
        update(hub)
    assert hub.count("T1") == 20
    assert len(hub.requests("commands", pending=True)) == 1
    hub.restart()  # the hanging request holds one of its workers for ten minutes


def test_what_download_faults_do_to_the_bytes(hub: PhpHub) -> None:
    data = bytes(range(256)) * 1000
    hub.add_file("a.gcode", data, "T1")

    def fetch(**params: Any) -> Answer:
        hub.fault("download_file", "download", times=1, **params)
        return files(hub, 1, "download_file", file="a.gcode")

    with pytest.raises(http.client.IncompleteRead) as cut:
        fetch(cut_at=1000)
    assert cut.value.partial == data[:1000]
    flipped = fetch(flip_at=70_000).data
    assert [n for n in range(len(data)) if data[n] != flipped[n]] == [70_000]
    assert "content-length" not in fetch(no_length=True).headers
    assert fetch(length=5).data == data[:5]
    assert fetch(stall_at=100, stall=0.01).data == data
    assert fetch(rate=10_000_000).data == data


# -- extensions ------------------------------------------------------------------------------------


def test_nothing_is_announced_by_a_plain_hub(hub: PhpHub) -> None:
    assert "features" not in update(hub).json
    hub.set(features={"command_results": True})
    assert update(hub).json["features"] == {"command_results": True}
    assert update(hub, 2).json["features"] == {"command_results": True}
    hub.set(features=None)
    assert "features" not in update(hub).json


def test_results_are_kept_from_status_bodies_and_posts(hub: PhpHub) -> None:
    done = {"id": "cmd_1", "action": "home", "status": "done", "message": ""}
    update(hub, command_results=[done])
    update(hub, 2, command_results=[done, {"id": 5, "action": "heat", "status": "failed"}])
    posted = {
        "action": "command_results",
        "token": "T1",
        "results": [{"id": 6, "status": "expired"}],
    }
    assert call(hub.gen1_url, posted).json["success"] is False  # not announced
    hub.set(features={"command_results": True})
    assert call(hub.gen1_url, posted).json["success"] is True
    assert call(hub.gen2_url, posted).json["success"] is True
    assert [(result.id, result.status, result.via) for result in hub.results("T1")] == [
        ("cmd_1", "done", "status"),
        (5, "failed", "status"),
        (6, "expired", "post"),
    ]
    assert len(hub.results("T1", every=True)) == 5
    found = hub.result("T1", "5")
    assert found is not None
    assert found.status == "failed"
    assert hub.count("T1") == 2  # a post of results is no status update


@pytest.mark.parametrize("generation", [1, 2])
def test_a_long_poll_is_answered_as_soon_as_there_is_a_command(
    hub: PhpHub, generation: int
) -> None:
    hub.set(features={"long_poll": 20})
    update(hub, generation)
    answer = in_background(lambda: poll(hub, generation, wait=20))
    hub.wait_for(lambda: hub.requests("commands", pending=True), 5)
    assert update(hub, generation).json["success"] is True  # others are served meanwhile
    hub.queue("T1", "home") if generation == 1 else hub.queue2("T1", "basic", "HOME")
    assert len(answer().json["commands"]) == 1


def test_a_long_poll_ends_empty_and_needs_the_announcement(hub: PhpHub) -> None:
    asked = time.time()
    assert poll(hub, wait=600).json["commands"] == []  # not announced: at once
    hub.set(features={"long_poll": 0.2})
    assert poll(hub, wait=600).json["commands"] == []  # no longer than announced
    long = hub.requests("commands", since=asked)[-1]
    assert long.finished is not None
    assert long.finished - long.time >= 0.2


def test_a_client_that_left_a_long_poll_takes_no_command_with_it(hub: PhpHub) -> None:
    if not Path("/proc/net/tcp").exists():
        pytest.skip("PHP sees a closed connection only where the kernel's table can be read")
    hub.set(features={"long_poll": 20})
    connection = http.client.HTTPConnection("127.0.0.1", hub.port)
    connection.request("GET", "/api.php?action=get_commands&token=T1&wait=20")
    hub.wait_for(lambda: hub.requests("commands", pending=True), 5)
    connection.close()
    command = hub.queue("T1", "home")
    hub.wait_for(lambda: not hub.requests("commands", pending=True), 5)
    assert [received["id"] for received in poll(hub).json["commands"]] == [command]


def test_commands_come_with_the_reply_to_an_update(hub: PhpHub) -> None:
    hub.set(commands_in_status=True)
    assert "commands" not in update(hub).json
    command = hub.queue("T1", "home")
    assert [received["id"] for received in update(hub).json["commands"]] == [command]
    assert [(one.via, one.command["id"]) for one in hub.delivered("T1")] == [("status", command)]
    assert poll(hub).json["commands"] == []


def test_events_are_stored_once_and_only_where_announced(hub: PhpHub) -> None:
    events = [{"seq": 1, "type": "job_started"}, {"seq": 2, "type": "job_finished"}]
    update(hub, events=events)
    assert hub.events("T1") == []
    hub.set(features={"events": True})
    update(hub, events=events)
    update(hub, 2, events=[events[1], {"seq": 3, "type": "klippy_shutdown"}])
    assert [(event.body["seq"], event.deliveries) for event in hub.events("T1")] == [
        (1, 1),
        (2, 2),
        (3, 1),
    ]


@pytest.mark.parametrize("folder", ["", "/printer-api"])
def test_a_timelapse_is_stored_where_announced(hub: PhpHub, folder: str) -> None:
    video = b"\x00\x00\x00\x18ftypmp42" + bytes(3_000_000)
    body, headers = multipart({"token": "T1", "name": "pieza.mp4", "video": ("v.mp4", video)})
    url = f"{hub.base_url}{folder}/upload_timelapse.php"
    assert call(url, body, headers=headers).json["success"] is False
    hub.set(features={"timelapse_upload": True})
    reply = call(url, body, headers=headers).json
    assert call(f"{hub.base_url}/{reply['video_url']}").data == video
    (stored,) = hub.timelapses("T1")
    assert (stored.name, stored.path.read_bytes() == video) == ("pieza.mp4", True)


def test_the_hub_clock_can_be_wrong(hub: PhpHub) -> None:
    hub.set(clock_offset=-86400)
    answer = update(hub, 2)
    told = parsedate_to_datetime(answer.headers["date"]).timestamp()
    assert abs(told - (time.time() - 86400)) < 60
    assert abs(answer.json["timestamp"] - told) < 60
    hub.queue("T1", "home")
    assert abs(hub.waiting("T1")[0]["timestamp"] - told) < 60
    assert abs(hub.requests()[0].time - time.time()) < 60


# -- the driver ------------------------------------------------------------------------------------


def test_the_journal_has_every_request_as_it_came(hub: PhpHub) -> None:
    update(hub, name="Ñ")
    call(hub.gen1_url, headers={"X-Probe": "1"}, action="get_commands", token="T1", wait=0)
    first, second = hub.requests(token="T1")
    assert (first.endpoint, first.method, first.action) == ("status", "POST", "update_printer")
    assert first.body["name"] == "Ñ"
    assert first.size == len(first.text.encode())
    assert first.success is True
    assert first.finished is not None
    assert first.time <= first.finished <= second.time
    assert second.query == {"action": "get_commands", "token": "T1", "wait": "0"}
    assert second.headers["X-Probe"] == "1"
    assert json.loads(second.reply)["commands"] == []
    assert hub.requests("commands") == [second]


def test_states_are_seen_in_order(hub: PhpHub) -> None:
    for status in ("idle", "idle", "printing", "printing", "idle"):
        update(hub, status=status)
    assert hub.states("T1") == ["idle", "printing", "idle"]
    assert hub.count("T1") == 5


def test_the_journal_is_bounded(hub: PhpHub) -> None:
    hub.set(keep=5)
    for _ in range(12):
        update(hub)
    assert len(hub.requests()) == 5


def test_the_hub_restarts_on_its_port_with_its_memory(hub: PhpHub) -> None:
    update(hub)
    url = hub.gen1_url
    hub.kill()
    with pytest.raises(OSError):
        update(hub)
    assert hub.count("T1") == 1
    hub.restart()
    assert hub.gen1_url == url
    assert update(hub).json["success"] is True
    assert hub.count("T1") == 2


def test_a_frozen_hub_accepts_and_answers_once_thawed(hub: PhpHub) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=0.2)
    hub.freeze()
    try:
        connection.request("GET", "/api.php?action=get_printers")
        with pytest.raises(TimeoutError):
            connection.getresponse()
    finally:
        hub.thaw()
        connection.close()
    assert update(hub).json["success"] is True


def test_a_transaction_makes_a_burst_of_one_reply(hub: PhpHub) -> None:
    hub.set(features={"long_poll": 20})
    answer = in_background(lambda: poll(hub, wait=20))
    hub.wait_for(lambda: hub.requests("commands", pending=True), 5)
    with hub.transaction():
        ids = [hub.queue("T1", "home") for _ in range(10)]
    assert [command["id"] for command in answer().json["commands"]] == ids


def test_any_json_can_stand_for_a_command(hub: PhpHub) -> None:
    odd: list[Any] = [None, 7, "home", [], {"id": {"x": 1}}, {"action": "home", "id": ""}]
    for command in odd:
        hub.queue_raw("T1", command)
    assert poll(hub).json["commands"] == odd


def test_waiting_says_what_came_instead(hub: PhpHub) -> None:
    update(hub, name="Ñ")
    with pytest.raises(TimeoutError, match=r"a second update[^\n]*\n.* POST status T1 -> 200"):
        hub.wait_for(lambda: hub.count("T1") > 1, 0.1, "a second update")


async def test_waiting_leaves_the_event_loop_free(hub: PhpHub) -> None:
    answer = in_background(lambda: update(hub))
    assert await hub.until(lambda: hub.status("T1"), 5)
    assert answer().code == 200


def test_a_misspelt_switch_or_endpoint_is_an_error(hub: PhpHub) -> None:
    with pytest.raises(TypeError):
        hub.set(feature={})
    with pytest.raises(ValueError, match="no such endpoint"):
        hub.fault("comands", "hang")


def test_a_port_in_use_is_reported_in_php_words(
    hub: PhpHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.rig.php_server._PORT_SECONDS", 0.1)
    other = PhpHub()
    try:
        with pytest.raises(RuntimeError, match="Address already in use"):
            other.start(hub.port)
    finally:
        other.stop()


def test_no_process_outlives_a_killed_test_run() -> None:
    script = (
        "from tests.rig.hub import PhpHub\n"
        "hub = PhpHub().start(); print(hub.port, hub.data, flush=True); input()"
    )
    root = Path(__file__).resolve().parents[2]
    child = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    port, folder = child.stdout.readline().split()
    assert call(f"http://127.0.0.1:{port}/api.php", action="get_printers").json["success"] is True
    child.send_signal(signal.SIGKILL)
    child.communicate()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            call(f"http://127.0.0.1:{port}/api.php", action="get_printers")
        except OSError:
            break
    else:
        pytest.fail("the hub still answers")
    for path in sorted(Path(folder).rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    Path(folder).rmdir()


def _quietly(work: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        try:
            work()
        except (OSError, http.client.HTTPException):
            pass

    return run
