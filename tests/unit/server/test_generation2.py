"""The drop-in of generation 2: commands that end, a history, jobs that close, pictures."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from components.hub.protocol import multipart
from tests.rig.deployed import DeployedServer
from tests.unit.server.support import Serve, poll, tell, update

JPEG = b"\xff\xd8\xff\xe0 a picture \xff\xd9"


def state(server: DeployedServer, number: int) -> str:
    row = server.row("SELECT status FROM commands WHERE id = ?", number)
    assert row is not None
    return str(row["status"])


def result(number: int, status: str, **fields: Any) -> dict[str, Any]:
    now = time.time()
    given = {"id": number, "action": "gcode", "status": status, "message": "", **fields}
    return {"received_at": now - 2.5, "finished_at": now, **given}


def test_every_reply_announces_what_it_can(serve: Serve) -> None:
    server = serve(2)
    features = update(server)["features"]
    assert features == {"command_results": True, "events": True, "long_poll": 20, "redeliver": 20}
    assert server.get("commands.php", token="T1")["features"] == features
    assert "features" not in server.get("commands.php", token="stranger")
    assert tell(server, token="stranger")["success"] is False


def test_without_it_the_server_is_as_it_was(serve: Serve) -> None:
    server = serve(2, drop_in=False)
    assert update(server).keys() == {"success", "message", "printer_id", "timestamp"}
    number = server.send("T1", "gcode", "G28 X")
    assert poll(server, redeliver=1) == [
        {"id": number, "type": "gcode", "command": "G28 X", "priority": 5}
    ]
    update(server, command_results=[result(number, "done")])
    assert state(server, number) == "sent"


@pytest.mark.parametrize("way", ["posted", "in a status"])
@pytest.mark.parametrize(
    ("word", "end", "entry"),
    [("done", "completed", "success"), ("refused", "failed", "failed")],
)
def test_a_result_ends_the_command_and_stands_in_the_history(
    serve: Serve, way: str, word: str, end: str, entry: str
) -> None:
    server = serve(2)
    update(server)
    number = server.send("T1", "gcode", "M104 S210")
    poll(server)
    told = result(number, word, message="porque sí" if word == "refused" else "")
    for _ in range(2):  # the same again: its reply was lost
        if way == "posted":
            assert tell(server, told)["success"]
        else:
            update(server, command_results=[told])
    command = server.row("SELECT * FROM commands WHERE id = ?", number)
    assert command is not None and command["status"] == end
    (history,) = server.rows("SELECT * FROM command_history")
    assert (history["command_id"], history["printer_id"], history["result"]) == (number, 1, entry)
    assert history["error_message"] == ("refused: porque sí" if word == "refused" else None)
    assert history["execution_time"] == pytest.approx(2500, abs=1)
    # The server writes its own clock's time, in whatever zone: so do we.
    sql = "SELECT strftime('%s', completed_at) - strftime('%s', sent_at) AS after FROM commands"
    row = server.row(sql)
    assert row is not None and 0 <= row["after"] <= 2
    assert history["executed_at"] == command["completed_at"]


def test_another_printers_commands_are_its_own(serve: Serve) -> None:
    server = serve(2)
    update(server)
    update(server, "T2")
    number = server.send("T2", "gcode", "G28 X")
    poll(server, "T2")
    tell(server, result(number, "done"), token="T1")
    assert state(server, number) == "sent"


@pytest.mark.slow
def test_what_nobody_confirms_is_handed_out_again_until_somebody_does(serve: Serve) -> None:
    server = serve(2, REDELIVER=3)
    update(server)
    number = server.send("T1", "gcode", "G28 X")
    (first,) = poll(server, redeliver=1)  # the reply is lost
    assert poll(server, redeliver=1) == []
    (again,) = server.wait_for(lambda: poll(server, redeliver=1), 20, "the command again")
    assert again == first and again["id"] == number
    assert abs(again["timestamp"] - time.time()) < 30  # its age counts from the first time
    tell(server, {"id": number, "action": "gcode", "status": "received", "message": ""})
    assert state(server, number) == "sent"
    time.sleep(3.2)
    assert poll(server, redeliver=1) == []
    tell(server, result(number, "done"))
    assert state(server, number) == "completed"


def test_who_cannot_take_a_command_twice_is_given_it_once(serve: Serve) -> None:
    server = serve(2, REDELIVER=0.2)
    update(server)
    number = server.send("T1", "basic", "PAUSE")
    assert [c["id"] for c in poll(server)] == [number]
    time.sleep(0.4)
    assert poll(server) == [] and poll(server, redeliver=1) == []


@pytest.mark.slow
def test_a_database_that_was_made_anew_gives_old_ids_to_new_commands(serve: Serve) -> None:
    server = serve(2, REDELIVER=0.2)
    update(server)
    old = server.send("T1", "gcode", "G28 X")
    poll(server, redeliver=1)
    tell(server, {"id": old, "action": "gcode", "status": "received", "message": ""})
    time.sleep(1.1)  # created_at has whole seconds
    server.get("install.php", force=1)
    update(server)
    new = server.send("T1", "gcode", "G28 Y")
    assert new == old
    (first,) = poll(server, redeliver=1)
    assert first["command"] == "G28 Y"
    tell(server, result(old, "done", finished_at=time.time() - 3600))  # the old one's, late
    assert state(server, new) == "sent"
    again = server.wait_for(lambda: poll(server, redeliver=1), 5, "the new one again")
    assert again[0]["command"] == "G28 Y" and again[0]["timestamp"] == first["timestamp"]


def test_a_request_that_waits_is_answered_by_the_command(serve: Serve) -> None:
    server = serve(2, LONG_POLL=10)
    update(server)
    found: list[Any] = []
    waiter = threading.Thread(target=lambda: found.extend(poll(server, wait=10, redeliver=1)))
    waiter.start()
    server.wait_for(lambda: server.somebody_waits, 10, "the request")
    number = server.send("T1", "gcode", "G28")
    waiter.join(8)
    assert [c["id"] for c in found] == [number]


def job(server: DeployedServer, name: str, hub_file: str, status: str, **fields: Any) -> Any:
    start = time.time() - 600
    return {
        "job_id": name,
        "filename": f"{name}.gcode",
        "hub_file": hub_file,
        "status": status,
        "start_time": start,
        "end_time": start + 100,
        "print_duration": 80.0,
        "total_duration": 100.4,
        "filament_used": 900.0,
        "filament_used_g": 2.7,
        **fields,
    }


def test_jobs_are_closed_and_the_statistics_filled(serve: Serve) -> None:
    server = serve(2)
    update(server)
    stored = {}
    for name in ("a", "b", "c"):
        number = server.add_file(f"{name}.gcode", b"G28\n")
        row = server.row("SELECT filename FROM files WHERE id = ?", number)
        assert row is not None
        stored[name] = row["filename"]
        server.post("dashboard.php?action=print", {"printer_id": 1, "file_id": number})
    history = [
        job(server, "3", "", "completed", filament_used_g=None),  # begun at the printer
        job(server, "2", stored["b"], "klippy_shutdown"),
        job(server, "1", stored["a"], "completed"),
    ]
    for _ in range(2):
        update(server, history=history)
    poll(server)
    (number,) = [
        row["id"]
        for row in server.rows("SELECT id FROM commands WHERE command LIKE ?", f"%{stored['c']}")
    ]
    tell(server, result(number, "refused", message="The printer is busy."))
    jobs = server.rows("SELECT * FROM jobs ORDER BY id")
    assert [row["status"] for row in jobs] == ["completed", "failed", "failed", "completed"]
    assert [row["duration"] for row in jobs] == [100, 100, 0, 100]
    assert [row["filament_used"] for row in jobs] == [2.7, 2.7, 0.0, 0.0]
    assert [row["error_message"] for row in jobs] == [
        None,
        "klippy_shutdown",
        "refused: The printer is busy.",
        None,
    ]
    assert [row["file_id"] for row in jobs] == [1, 2, 3, None]
    statistics = server.get("dashboard.php", action="statistics")
    assert (statistics["jobs"], statistics["completed"], statistics["failed"]) == (4, 2, 2)
    assert statistics["grams"] == pytest.approx(5.4)


def test_a_job_told_before_moonraker_had_named_it_is_no_second_one(serve: Serve) -> None:
    server = serve(2)
    update(server)
    first = job(server, "", "", "cancelled")
    later = {**first, "job_id": "00002A", "start_time": first["start_time"] + 1.5}
    another = {**later, "job_id": "00002B"}
    update(server, history=[first])
    update(server, history=[later])
    assert len(server.rows("SELECT * FROM jobs")) == 1
    update(server, history=[{**later, "start_time": later["start_time"] + 60}])  # counted anew
    update(server, history=[{**another, "start_time": later["start_time"] + 120}, later])
    assert len(server.rows("SELECT * FROM jobs")) == 3


def test_events_are_kept_once(serve: Serve) -> None:
    server = serve(2)
    update(server)
    event = {"seq": 7, "kind": "job_started", "at": time.time(), "data": {"file": "ñ.gcode"}}
    for _ in range(2):
        update(server, events=[event])
    (row,) = server.rows("SELECT * FROM tecmedhub_events")
    assert (row["seq"], row["kind"], json.loads(row["data"])) == (
        "7",
        "job_started",
        {"file": "ñ.gcode"},
    )


def test_what_cannot_be_stored_is_not_acknowledged(serve: Serve) -> None:
    server = serve(2)
    update(server)
    number = server.send("T1", "gcode", "G28")
    poll(server)
    server.rows("ALTER TABLE command_history RENAME TO gone")
    reply = update(server, command_results=[result(number, "done")])
    assert reply["success"] is False and "command_history" in reply["message"]
    assert state(server, number) == "sent"
    server.rows("ALTER TABLE gone RENAME TO command_history")
    assert update(server, command_results=[result(number, "done")])["success"] is True
    assert state(server, number) == "completed"


def test_a_wrong_path_of_the_database_leaves_the_server_as_it_was(serve: Serve) -> None:
    server = serve(2)
    script = server.folder / "tecmedhub.php"
    script.write_text(script.read_text().replace("/data/printers.db", "/nowhere.db"))
    assert update(server)["success"] is True
    assert poll(server) == []


def upload(server: DeployedServer, token: str, picture: bytes, camera: str = "") -> Any:
    fields = {"token": token, **({"camera": camera} if camera else {})}
    head, tail = multipart("xyz", fields, "image", "s.jpg", "image/jpeg")
    request = urllib.request.Request(server.upload_url, head + picture + tail)
    request.add_header("Content-Type", "multipart/form-data; boundary=xyz")
    with urllib.request.urlopen(request, timeout=20) as reply:
        return json.loads(reply.read())


def test_pictures_have_an_address_that_does_not_tell_the_token(serve: Serve) -> None:
    server = serve(2)
    update(server)
    first, second = upload(server, "T1", JPEG), upload(server, "T1", JPEG + b"2", "lateral")
    for reply, picture in ((first, JPEG), (second, JPEG + b"2")):
        assert reply["success"] and "T1" not in reply["image_url"]
        with urllib.request.urlopen(server.url(reply["image_url"])) as found:
            assert found.read() == picture
    assert upload(server, "stranger", JPEG)["success"] is False
    assert upload(server, "T1", b"<?php evil();")["success"] is False
    for number in range(20):
        upload(server, "T1", JPEG, f"camera {number}")
    assert len(list((server.folder / "printer_images").glob("*.jpg"))) == 8
