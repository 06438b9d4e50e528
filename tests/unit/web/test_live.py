"""What is pushed to the web interfaces, and what macros can call."""

from __future__ import annotations

from typing import Any

from components.web.notifications import CHANGED, DOWNLOAD
from tests.unit.fakes import settle
from tests.unit.web.support import TOKEN, House


def changes(house: House) -> list[Any]:
    return [content for event, content in house.server.sent if event == CHANGED]


def test_notifications_bear_the_documented_names(house: House) -> None:
    assert house.server.notifications == {
        CHANGED: "tecmedhub_changed",
        DOWNLOAD: "tecmedhub_download",
    }


async def test_many_changes_make_one_overview_a_second(house: House) -> None:
    await settle()
    house.clock.advance(1.0)
    await settle()
    house.server.sent.clear()
    for _ in range(50):
        house.notices.show("disk", "The disk is full.")
        house.notices.clear("disk")
    await settle()
    assert len(changes(house)) == 1
    house.notices.show("disk", f"The disk is full of {TOKEN}.")
    await settle()
    assert len(changes(house)) == 1
    house.clock.advance(1.0)
    await settle()
    assert len(changes(house)) == 2
    assert changes(house)[-1]["notices"][0]["text"] == "The disk is full of ********."


async def test_nobody_is_told_when_nobody_listens(house: House) -> None:
    await settle()
    house.server.sent.clear()
    house.server.clients = 0
    house.notices.show("disk", "The disk is full.")
    await settle()
    house.clock.advance(20.0)
    await settle()
    assert house.server.sent == []


async def test_what_changed_shows_in_the_revisions(house: House) -> None:
    before = (await house.server.call("GET", "status"))["revisions"]
    for listener in house.commands.listeners:
        listener({"id": 1})
    for listener in house.cameras.listeners:
        listener(object())
    after = (await house.server.call("GET", "status"))["revisions"]
    assert after["commands"] == before["commands"] + 1
    assert after["pictures"] == before["pictures"] + 1
    assert after["settings"] == before["settings"]


async def test_a_command_that_begins_counts_as_news(house: House) -> None:
    async def revision() -> int:
        return int((await house.server.call("GET", "status"))["revisions"]["commands"])

    before = await revision()
    house.commands.rows = [{"id": 1, "status": "received"}]
    received = await revision()
    assert received == before + 1
    assert await revision() == received
    house.commands.rows = [{"id": 1, "status": "executing"}]
    assert await revision() == received + 1


async def test_a_download_is_told_as_it_comes_and_when_it_ends(house: House) -> None:
    (listener,) = house.transfers.listeners
    house.server.sent.clear()
    listener({"file": "a.gcode", "percent": 40.0})
    listener(None)
    told = [content["download"] for event, content in house.server.sent if event == DOWNLOAD]
    assert told == [{"file": "a.gcode", "percent": 40.0}, None]


# Macros


async def test_macros_reach_the_same_verbs(house: House) -> None:
    methods = house.server.remote_methods
    assert set(methods) == {
        "tecmedhub_bed_clear",
        "tecmedhub_remote_off",
        "tecmedhub_remote_on",
        "tecmedhub_doctor",
        "tecmedhub_snapshot",
        "tecmedhub_timelapse_now",
    }
    house.idle()
    await methods["tecmedhub_bed_clear"]()
    await methods["tecmedhub_remote_off"](unexpected="parameter")
    assert house.commands.told == [("bed", "a macro"), ("remote", False, "a macro")]
    await methods["tecmedhub_snapshot"]()
    await methods["tecmedhub_timelapse_now"]()
    assert house.board.console == [
        "// TecMedHub: Pictures taken: frontal.",
        "// TecMedHub: There are no frames to make a video of.",
    ]


async def test_a_macro_that_fails_says_so_in_the_console(house: House) -> None:
    async def broken() -> str:
        raise OSError("no such device")

    house.cameras.snapshot = broken  # type: ignore[method-assign]
    await house.server.remote_methods["tecmedhub_snapshot"]()
    assert len(house.board.console) == 1
    assert "tecmedhub_snapshot failed" in house.board.console[0]
