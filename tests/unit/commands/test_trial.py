"""What would become of a command: the same verdict as the hub's own would get, and nothing done."""

from __future__ import annotations

from typing import Any

from components.commands.actions import ACTIONS
from components.commands.trial import MOST
from components.commands.wire import Command
from components.printer.verbs import PrinterError
from components.settings.operator import OperatorAction
from tests.unit.commands.support import TOKEN, Lab, one, printing, ready


async def tried(lab: Lab, *commands: Any, generation: int = 1) -> list[dict[str, Any]]:
    before = await rows(lab)
    found = await lab.commands.what_if(list(commands), generation)
    assert lab.printer.sent == []
    assert await rows(lab) == before == 0
    assert lab.told == []
    assert lab.board.console == []
    return found


async def rows(lab: Lab) -> int:
    (count,) = await lab.database.run(
        lambda db: db.execute("SELECT COUNT(*) FROM commands").fetchone()
    )
    return int(count)


async def test_what_would_run_is_shown_line_by_line(lab: Lab) -> None:
    (heat,) = await tried(lab, one("heat", hotend_temp=200))
    assert (heat["outcome"], heat["lane"], heat["to"]) == ("runs", "gcode", "klippy")
    assert heat["sends"] == ["M104 S200"] or "200" in heat["sends"][0]
    assert heat["message"] == "It would run now."
    assert heat["expires_after"] == lab.live.now.expiry.gcode
    (stop,) = await tried(lab, one("emergency_stop"))
    assert (stop["outcome"], stop["lane"], stop["sends"]) == ("runs", "stop", ["emergency_stop"])


async def test_what_would_be_refused_is_told_with_its_reason(lab: Lab) -> None:
    found = await tried(
        lab,
        one("set_speed", speed=900),
        one("no_such_thing"),
        one("home", token="another"),
        one("pause"),
        "no object",
        one("print_local", file="gone.gcode"),
    )
    assert [row["outcome"] for row in found] == ["refused"] * 6
    told = [row["message"] for row in found]
    assert "900 is out of range" in told[0]
    assert "unknown" in told[1]
    assert "another printer's token" in told[2]
    assert "Nothing is being printed" in told[3]
    assert "not an object" in told[4]
    assert "gone.gcode is not among" in told[5]
    assert not any(row["sends"] or row["confirm"]["needed"] for row in found)


async def test_what_needs_to_be_confirmed_in_a_job_says_so(lab: Lab) -> None:
    lab.printer.put(printing(filename="part.gcode"))
    lab.printer.sent.clear()
    (asked, confirmed) = await tried(lab, one("home"), one("home", confirm=True))
    assert (asked["outcome"], asked["confirm"]) == ("refused", {"given": False, "needed": True})
    assert "part.gcode" in asked["message"]
    assert asked["sends"] == confirmed["sends"] == ["G28"]
    assert confirmed["outcome"] == "runs"
    assert asked["dangers"]


async def test_age_switch_and_the_printers_files_count_as_they_do_for_the_hub(lab: Lab) -> None:
    lab.local.add("part.gcode")
    old = one("home", timestamp=lab.clock.time() - 3600)
    found = await tried(lab, old, one("print_local", file="part.gcode"))
    assert [row["outcome"] for row in found] == ["expired", "runs"]
    assert found[1]["sends"] == ['SDCARD_PRINT_FILE FILENAME="part.gcode"']
    await lab.commands.set_remote(False, "Ana")
    lab.board.console.clear()
    found = await tried(lab, one("home"), one("emergency_stop"))
    assert [row["outcome"] for row in found] == ["refused", "runs"]


async def test_both_generations_and_whole_replies_are_read(lab: Lab) -> None:
    whole = {"success": True, "commands": {"0": one("home", token=TOKEN), "2": one("cool_down")}}
    found = await lab.commands.what_if(whole, 1)
    assert [row["action"] for row in found] == ["home", "cool_down"]
    basic = {"id": 1, "type": "basic", "command": "SET_SPEED:120"}
    (speed,) = await tried(lab, basic, generation=2)
    assert speed["sends"] == ["M220 S120"]
    assert len(await lab.commands.what_if([one("home", n) for n in range(99)], 1)) == MOST


async def test_no_action_does_anything_when_it_is_tried(lab: Lab) -> None:
    done: list[str] = []

    async def hook(command: Any) -> str:
        done.append(command.action)
        return ""

    lab.hooks.update(dict.fromkeys(ACTIONS, hook))
    lab.local.add("part.gcode")
    given = {"file": "part.gcode", "state": "on", "device": "plug", "job": "1", "spool": 3}
    for busy in (False, True):
        lab.printer.put(printing(filename="part.gcode") if busy else ready())
        lab.printer.sent.clear()
        for name in ACTIONS:
            (found,) = await tried(lab, one(name, confirm=True, **given))
            assert found["action"] == name
            assert found["outcome"] in ("runs", "waits", "refused"), found
            assert found["message"]
    assert done == []


async def test_an_action_of_the_operators_own(lab: Lab) -> None:
    mine = OperatorAction("blow", gcode="M106 S255", danger=False)
    lab.live.replace(lab.live.now._replace(actions={"blow": mine}))
    (found,) = await tried(lab, one("blow"))
    assert (found["outcome"], found["sends"]) == ("runs", ["M106 S255"])


async def test_what_the_hubs_file_or_spool_could_not_be_is_looked_at(lab: Lab) -> None:
    async def not_ours(command: Command) -> str:
        return "" if command.params["file"] == "ours.gcode" else "it is not the hub's"

    async def gone(command: Command) -> str:
        raise PrinterError("Spoolman does not answer")

    lab.looks.update(delete_file=not_ours, spool=gone)
    found = await tried(
        lab,
        one("delete_file", file="ours.gcode"),
        one("delete_file", file="mine.gcode"),
        one("spool", spool=3),
    )
    assert [row["outcome"] for row in found] == ["runs", "refused", "refused"]
    assert [row["message"] for row in found[1:]] == [
        "it is not the hub's",
        "Spoolman does not answer",
    ]
