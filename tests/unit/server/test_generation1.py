"""The drop-in of generation 1: nothing lost, nothing twice, and an answer for the log page."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest

from tests.unit.server.support import Serve, poll, tell, update


def test_every_reply_announces_what_it_can(serve: Serve) -> None:
    server = serve(1)
    features = update(server)["features"]
    assert features == {
        "command_results": True,
        "events": True,
        "long_poll": 20,
        "redeliver": 20,
    }
    reply = server.get("api.php", action="get_commands", token="T1")
    assert reply["features"] == features
    assert server.get("api.php", action="nonsense") == {
        "success": False,
        "message": "Acción no válida",
    }


def test_without_it_the_server_is_as_it_was(serve: Serve) -> None:
    server = serve(1, drop_in=False)
    assert update(server).keys() == {"success", "message", "printer_id"}
    number = server.send("T1", "home")
    assert [c["id"] for c in poll(server, redeliver=1)] == [number]
    assert poll(server, redeliver=1) == []


def test_what_became_of_a_command(serve: Serve) -> None:
    server = serve(1)
    update(server)
    number = server.send("T1", "set_speed", speed="120")
    assert server.log("T1", number)["status"] == "waiting"
    assert [c["speed"] for c in poll(server, redeliver=1)] == ["120"]
    assert server.log("T1", number)["status"] == "sent"
    tell(server, {"id": number, "action": "set_speed", "status": "received", "received_at": 1.5})
    assert server.log("T1", number)["status"] == "received"
    final = {"id": number, "action": "set_speed", "status": "failed", "message": "señal «ñ»"}
    tell(server, {**final, "received_at": 1.5, "finished_at": 2.5})
    tell(server, {"id": number, "action": "set_speed", "status": "running"})  # late, and no end
    log = server.log("T1", number)
    assert (log["status"], log["message"]) == ("failed", "señal «ñ»")
    assert (log["received_at"], log["finished_at"]) == (1.5, 2.5)


def test_results_and_events_that_travel_in_a_status(serve: Serve) -> None:
    server = serve(1)
    result = {"id": "cmd_1", "action": "home", "status": "done", "message": ""}
    events = [{"seq": n, "kind": "job_started", "at": 10.0 + n, "data": {}} for n in (1, 2)]
    for _ in range(2):  # the same again: its reply was lost
        update(server, command_results=[result], events=events)
    assert server.log("T1", "cmd_1")["status"] == "done"
    found = server.get("api.php", action="event_log", token="T1")["events"]
    assert [event["seq"] for event in found] == [2, 1]


def test_a_stranger_leaves_nothing_behind(serve: Serve) -> None:
    server = serve(1)
    update(server)
    reply = tell(server, {"id": "x", "action": "home", "status": "done"}, token="other")
    assert reply["success"] is False
    assert server.get("api.php", action="command_log", token="")["success"] is False
    assert not list((server.folder / "tecmedhub_data").glob("commands-*"))


@pytest.mark.slow
def test_what_nobody_confirms_is_handed_out_again_until_somebody_does(serve: Serve) -> None:
    server = serve(1, REDELIVER=3)
    update(server)
    number = server.send("T1", "macro", params={}, list=[], share=1.0)
    (first,) = poll(server, redeliver=1)  # the reply is lost
    assert poll(server, redeliver=1) == []
    (again,) = server.wait_for(lambda: poll(server, redeliver=1), 20, "the command again")
    assert again == first and again["id"] == number
    (third,) = server.wait_for(lambda: poll(server, redeliver=1), 20, "it again")
    assert third == first and server.log("T1", number)["times"] == 3
    tell(server, {"id": number, "action": "macro", "status": "received", "message": ""})
    time.sleep(3.2)
    assert poll(server, redeliver=1) == []


def test_who_cannot_take_a_command_twice_is_given_it_once(serve: Serve) -> None:
    """Client v4 runs whatever it gets."""
    server = serve(1, REDELIVER=0.2)
    update(server)
    number = server.send("T1", "print", file="a.gcode")
    assert [c["id"] for c in poll(server)] == [number]
    time.sleep(0.4)
    assert poll(server) == [] and poll(server, redeliver=1) == []


def test_a_request_that_waits_is_answered_by_the_command(serve: Serve) -> None:
    server = serve(1, LONG_POLL=10)
    update(server)
    found: list[Any] = []
    waiter = threading.Thread(target=lambda: found.extend(poll(server, wait=10, redeliver=1)))
    waiter.start()
    server.wait_for(lambda: server.somebody_waits, 10, "the request")
    number = server.send("T1", "home")
    waiter.join(8)
    assert [c["id"] for c in found] == [number]


def test_no_more_requests_wait_than_there_are_places(serve: Serve) -> None:
    server = serve(1, LONG_POLL=30, WAITERS=1)
    for token in ("T1", "T2"):
        update(server, token)
    waiter = threading.Thread(target=lambda: poll(server, "T1", wait=30), daemon=True)
    waiter.start()
    server.wait_for(lambda: server.somebody_waits, 10, "the request")
    assert poll(server, "T2", wait=30) == []  # at once: within the test's time
    server.send("T1", "home")
    waiter.join(10)
    assert not waiter.is_alive()


@pytest.mark.parametrize("shape", ["list", "by token"])
def test_commands_of_other_scripts_are_seen_in_any_shape(serve: Serve, shape: str) -> None:
    server = serve(1)
    update(server)
    command = {"id": "cmd_9", "token": "T1", "action": "home", "timestamp": 5}
    tree: Any = [command] if shape == "list" else {"T1": [{**command, "token": None}]}
    (server.folder / "commands.json").write_text(json.dumps(tree))
    assert server.log("T1", "cmd_9")["status"] == "waiting"


def test_what_cannot_be_stored_is_not_acknowledged(serve: Serve) -> None:
    server = serve(1)
    update(server)
    data = server.folder / "tecmedhub_data"
    path = data / "commands-blocked"
    result = {"id": "cmd_1", "action": "home", "status": "done", "message": ""}
    update(server, command_results=[result])
    (name,) = data.glob("commands-*.json")
    name.unlink()
    path = name.with_name(name.name + ".new")
    path.mkdir()  # the file can no longer be written
    reply = update(server, command_results=[result])
    assert reply["success"] is False and "tecmedhub_data" in reply["message"]
    path.rmdir()
    assert update(server, command_results=[result])["success"] is True
    assert server.log("T1", "cmd_1")["status"] == "done"
