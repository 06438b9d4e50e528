"""The operator names another hub, or another token, while a command of the hub of before waits."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.rig.gcode import make_gcode
from tests.rig.hub import PhpHub
from tests.rig.stack import Stack
from tests.stack.test_engine import one_reply, put, result

pytestmark = pytest.mark.stack


@pytest.fixture(params=["server_url", "printer_token"])
def other(request: pytest.FixtureRequest, stack: Stack) -> Iterator[tuple[PhpHub, str, str]]:
    """The hub of after, the token there, and what the JSON override says of it."""
    if request.param == "printer_token":
        yield stack.hub, "T2", json.dumps({"printer_token": "T2"})
        return
    with PhpHub() as hub:
        yield hub, stack.token, json.dumps({"server_url": hub.gen1_url})


def ends(stack: Stack) -> dict[str, str]:
    """Final states by id, whichever hub asked."""
    rows = stack.moonraker.get("/server/tecmedhub/commands")["commands"]
    return {row["id"]: row["status"] for row in rows if row["finished_at"]}


def test_what_the_hub_of_before_asked_for_is_not_done_nor_told_elsewhere(
    stack: Stack, other: tuple[PhpHub, str, str]
) -> None:
    hub, token, override = other
    put(stack)
    slow = {"macro_name": "SLOW_MACRO", "params": {"SECONDS": 12}}
    counted = {"macro_name": "COUNT", "params": {"NAME": "of_before"}}
    console = stack.klippy.console()
    runs, *wait = one_reply(
        stack, ("macro", slow), ("macro", counted), ("print_local", {"file": "cube.gcode"})
    )
    console.wait_for("SLOW_MACRO started", 20)
    stack.moonraker.upload(stack.override.name, override, root="config")
    hub.wait_for(lambda: hub.status(token), 20, "the hub of after to hear of the printer")

    assert runs not in ends(stack), "it was changed too late"
    expected = {runs: "done", **dict.fromkeys(wait, "refused")}
    stack.moonraker.wait(lambda: ends(stack) == expected, 60, f"their ends: {ends(stack)}")
    assert stack.klippy.count("of_before") == 0
    # Oldest first: whatever this hub were told of those, it would be told before its own.
    own = hub.queue(token, "set_speed", speed=110)
    hub.wait_for(lambda: hub.result(token, own), 20, "the result of the hub of after")
    assert [found.id for found in hub.results(token)] == [own]
    stack.moonraker.upload(stack.override.name, "{}", root="config")
    assert result(stack, runs).status == "done"
    for command in wait:
        refused = result(stack, command)
        assert "address or the token was changed" in refused.message, refused.body
    assert stack.klippy.query("print_stats")["state"] == "standby"


def test_no_file_is_fetched_from_the_hub_of_after_nor_told_to_it(
    stack: Stack, other: tuple[PhpHub, str, str]
) -> None:
    """One is on the way, and one waits that the hub of after has under the same name."""
    hub, token, override = other
    stack.hub.add_file("first.gcode", make_gcode(seconds=1, head=2**20).encode(), stack.token)
    for offers, printer in ((stack.hub, stack.token), (hub, token)):
        offers.add_file("second.gcode", make_gcode(seconds=1).encode(), printer)
    stack.hub.fault("download_file", "download", times=1, rate=2**16)
    prints = one_reply(
        stack, ("print", {"file": "first.gcode"}), ("print", {"file": "second.gcode"})
    )
    stack.moonraker.wait(
        lambda: (stack.hub.status(stack.token) or {}).get("download"), 20, "the download to begin"
    )
    stack.moonraker.upload(stack.override.name, override, root="config")
    hub.wait_for(lambda: hub.status(token), 20, "the hub of after to hear of the printer")
    assert not ends(stack), "it was changed too late"
    expected = dict.fromkeys(prints, "refused")
    stack.moonraker.wait(lambda: ends(stack) == expected, 60, f"their ends: {ends(stack)}")
    assert (stack.gcodes / "first.gcode").exists() and not (stack.gcodes / "second.gcode").exists()
    for endpoint in ("list_files", "download_file", "mark_downloaded"):
        assert hub.requests(endpoint, token) == [], endpoint
    assert stack.klippy.query("print_stats")["state"] == "standby"
