"""From the reply to the result: each command once, in time, confirmed, never past a stop."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from components.commands import intake
from components.printer.snapshot import Heater, Job, KlippyState
from components.settings.model import OperatorAction, RemoteControl
from components.store import flags, ledger
from components.store.database import Database
from components.store.ledger import Ledger
from components.store.sqlite_file import StoreUnavailable
from tests.unit.commands.support import (
    FakePrinter,
    Lab,
    TransferError,
    one,
    printing,
    ready,
    two,
    until,
)
from tests.unit.fakes import settle

# What each action sends


@pytest.mark.parametrize(
    ("command", "sent"),
    [
        (one("home"), "G28"),
        (one("home_x"), "G28 X"),
        (one("home_y"), "G28 Y"),
        (one("home_z"), "G28 Z"),
        (one("heat", hotend_temp=210), "SET_HEATER_TEMPERATURE HEATER=extruder TARGET=210"),
        (one("heat", bed_temp="60.5"), "SET_HEATER_TEMPERATURE HEATER=heater_bed TARGET=60.5"),
        (one("cool_down"), "TURN_OFF_HEATERS"),
        (one("set_speed", speed=150), "M220 S150"),
        (one("set_flow", flow="95"), "M221 S95"),
        (one("set_fan", speed=128), "M106 S128"),
        (one("set_fan", speed=0), "M107"),
        (one("fan_off"), "M107"),
        (one("toggle_fan"), "M106 S255"),
        (one("gcode", gcode="g28 x\nM117 hi"), "g28 x\nM117 hi"),
        (one("macro", macro_name="PARK", params={"X": 5}), "PARK X=5"),
        (one("firmware_restart"), "firmware_restart"),
    ],
)
async def test_actions_of_generation_1(lab: Lab, command: dict[str, Any], sent: str) -> None:
    (result,) = await lab.run(command)
    assert lab.printer.sent == [sent]
    assert (result["id"], result["action"], result["status"]) == (
        "cmd_1",
        command["action"],
        "done",
    )


@pytest.mark.parametrize(
    ("type_", "text", "sent"),
    [
        ("basic", "HOME", "G28"),
        ("basic", "COOL_DOWN", "TURN_OFF_HEATERS"),
        ("basic", "SET_SPEED:120", "M220 S120"),
        ("basic", "TOGGLE_FAN", "M106 S255"),
        ("gcode", "M104 S0\nM140 S0", "M104 S0\nM140 S0"),
        ("macro", "LOAD_FILAMENT TEMP=210", "LOAD_FILAMENT TEMP=210"),
    ],
)
async def test_actions_of_generation_2(lab: Lab, type_: str, text: str, sent: str) -> None:
    (result,) = await lab.run(two(type_, text), generation=2)
    assert lab.printer.sent == [sent]
    assert (result["id"], result["status"]) == (1, "done")


async def test_toggle_fan_really_toggles(lab: Lab) -> None:
    await lab.run(*(one("toggle_fan", n) for n in range(3)))
    assert lab.printer.sent == ["M106 S255", "M107", "M106 S255"]


async def test_the_job(lab: Lab) -> None:
    lab.printer.put(printing())
    results = await lab.run(one("pause", 1), one("pause", 2), one("resume", 3), one("cancel", 4))
    assert [r["status"] for r in results] == ["done"] * 4
    assert lab.printer.sent == ["pause", "resume", "cancel"]
    assert "already" in results[1]["message"]


async def test_a_result_has_what_the_hub_wants(lab: Lab) -> None:
    asked = lab.clock.time()
    (result,) = await lab.run(one("home", "cmd_9"))
    assert set(result) == {"id", "action", "status", "message", "received_at", "finished_at"}
    assert result["received_at"] == asked
    assert json.dumps(result)


# Confirmation


async def test_what_klippy_takes_and_does_not_do_has_failed(lab: Lab) -> None:
    lab.printer.deaf = {"M220"}
    await lab.take(one("set_speed", speed=150))
    await until(lambda: lab.printer.sent)
    await lab.elapse(lambda: lab.results)
    assert lab.results[0]["status"] == "failed"
    assert "100 %" in lab.results[0]["message"]


async def test_a_complaint_is_no_end_of_what_happens_a_moment_later(lab: Lab) -> None:
    """Mainsail's PAUSE complains of a cold nozzle, and Klippy tells of the pause 0.25 s later."""
    lab.printer.put(printing())
    lab.printer.deaf = {"pause"}
    end = lab.printer.hold("pause")
    await lab.begin(one("pause", 1))
    lab.printer.console.hear("!! Extruder not hot enough")
    end.set()
    await settle(50)
    assert lab.results == []
    lab.printer.put(printing("paused"))
    await lab.elapse(lambda: lab.results)
    assert lab.results[0]["status"] == "done"


async def test_klippys_own_words_come_back(lab: Lab) -> None:
    lab.printer.errors = {"G28": "Endstop x still triggered after retract"}
    (result,) = await lab.run(one("home"))
    assert (result["status"], result["message"]) == (
        "failed",
        "Endstop x still triggered after retract",
    )


@pytest.mark.slow
async def test_a_pause_behind_a_long_command_is_told_as_running_and_then_done(lab: Lab) -> None:
    lab.printer.put(printing())
    end = lab.printer.hold("M190")
    await lab.begin(one("gcode", 1, gcode="M190 S60", confirm=True))
    await lab.take(one("pause", 2), one("pause", 3))
    began = lab.clock.monotonic()
    await lab.elapse(lambda: len(lab.told) == 2)
    assert 30 <= lab.clock.monotonic() - began < 32
    assert [(r["id"], r["status"], r["finished_at"]) for r in lab.told] == [
        (1, "running", None),
        (2, "running", None),
    ]
    assert lab.results == []
    assert [r["status"] for r in lab.commands.results_due()] == ["running", "running"]
    await lab.commands.results_delivered(lab.commands.results_due())
    assert lab.commands.results_due() == []
    await lab.elapse(lambda: lab.clock.monotonic() - began > 100)
    assert len(lab.told) == 2  # told once
    end.set()
    await lab.elapse(lambda: len(lab.results) == 3)
    assert lab.result(2)["status"] == "done"
    assert lab.result(3)["status"] == "expired"
    assert lab.printer.snapshot.paused
    assert {r["id"] for r in lab.commands.results_due()} == {1, 2, 3}


async def test_what_was_acknowledged_as_running_is_told_again_when_it_is_over(lab: Lab) -> None:
    end = lab.printer.hold("G28")
    await lab.begin(one("home", 1))
    await lab.elapse(lambda: lab.told)
    delivered = asyncio.ensure_future(
        lab.commands.results_delivered(lab.commands.results_due())
    )  # the hub's word and the end cross each other
    end.set()
    await delivered
    await lab.elapse(lambda: lab.results)
    assert [r["status"] for r in lab.commands.results_due()] == ["done"]
    await lab.restart()
    assert [r["status"] for r in lab.commands.results_due()] == ["done"]


async def test_a_script_ended_by_a_shutdown_has_failed_though_klippy_reports_no_error(
    lab: Lab,
) -> None:
    end = lab.printer.hold("M109")
    await lab.take(one("gcode", gcode="M109 S200"))
    await until(lambda: lab.printer.sent)
    lab.printer.change(klippy=KlippyState.SHUTDOWN, message="Heater extruder not heating")
    end.set()
    await until(lambda: lab.results)
    assert lab.results[0]["status"] == "failed"
    assert "Heater extruder not heating" in lab.results[0]["message"]


async def test_a_plugin_fault_is_a_failed_result_and_the_lane_goes_on(lab: Lab) -> None:
    async def broken(request: Any) -> str:
        raise KeyError("oops")

    lab.fetch = broken
    await lab.restart()
    results = await lab.run(one("print", 1, file="x.gcode"))
    assert results[0]["status"] == "failed"
    assert "KeyError" in results[0]["message"]
    lab.local.add("y.gcode")
    (result,) = await lab.run(one("print_local", 2, file="y.gcode"))
    assert result["status"] == "done"


# Lanes


@pytest.mark.slow
async def test_a_burst_runs_in_order_spaced_by_the_rate_limit(lab: Lab) -> None:
    lab.secure(rate_limit_seconds=2.0)
    began = lab.clock.monotonic()
    await lab.take(*(one("set_speed", n, speed=100 + n) for n in range(10)))
    await lab.elapse(lambda: len(lab.results) == 10, step=0.02)
    assert lab.printer.sent == [f"M220 S{100 + n}" for n in range(10)]
    gaps = [b - a for a, b in zip(lab.printer.at, lab.printer.at[1:], strict=False)]
    assert min(gaps) > 2.0 - 0.1  # a few turns of the event loop lie between start and sending
    assert lab.printer.at[0] - began < 1.0


async def test_a_refused_command_costs_no_time(lab: Lab) -> None:
    lab.secure(rate_limit_seconds=60.0)
    results = await lab.run(
        one("macro", 1, macro_name="NO"), one("macro", 2, macro_name="NO"), one("home", 3)
    )
    assert [r["status"] for r in results] == ["refused", "refused", "done"]


async def test_no_lane_waits_for_a_long_command_of_another(lab: Lab) -> None:
    async def fetch(request: Any) -> Any:
        await forever.wait()
        return SimpleNamespace(path=request.file, note="")

    async def snapshot(command: Any) -> str:
        return "taken"

    lab.fetch, lab.hooks = fetch, {"snapshot": snapshot}
    await lab.restart()
    forever = asyncio.Event()
    lab.printer.hold("G28")
    await lab.take(one("home", 1), one("print", 2, file="x.gcode"))
    await until(lambda: lab.printer.sent == ["G28"])
    await lab.take(one("snapshot", 3))
    await until(lambda: lab.results)
    assert (lab.results[0]["id"], lab.results[0]["status"]) == (3, "done")
    lab.printer.put(printing())
    lab.printer.hold("cancel")
    await lab.take(one("cancel", 4))
    await until(lambda: lab.commands.waiting == 0 and len(lab.results) == 2)
    assert lab.results[1]["id"] == 2  # the print; Klippy lets G28 end before the cancel


async def test_a_full_queue_refuses_with_a_reason(lab: Lab) -> None:
    end = lab.printer.hold("G28")
    await lab.take(one("home", "first"))
    await until(lambda: lab.printer.sent)
    await lab.take(*(one("set_speed", n, speed=100) for n in range(53)))
    await until(lambda: len(lab.results) == 3)
    assert {r["status"] for r in lab.results} == {"refused"}
    assert [r["id"] for r in lab.results] == [50, 51, 52]
    assert "50 commands" in lab.results[0]["message"]
    end.set()
    await until(lambda: len(lab.results) == 54)
    assert lab.printer.sent[1:] == ["M220 S100"] * 50


async def test_a_reboot_lets_the_gcode_before_it_end(lab: Lab) -> None:
    end = lab.printer.hold("TURN_OFF")
    await lab.take(one("cool_down", 1), one("shutdown", 2))
    await until(lambda: lab.printer.sent)
    lab.clock.advance(5)
    await asyncio.sleep(0.01)
    assert lab.printer.sent == ["TURN_OFF_HEATERS"]
    end.set()
    await lab.elapse(lambda: lab.printer.sent == ["TURN_OFF_HEATERS", "shutdown"])
    assert lab.result(1)["status"] == "done"


async def test_a_reply_that_comes_before_the_ledger_is_read_waits_for_it(tmp_path: Path) -> None:
    lab = await Lab(tmp_path).start()
    await lab.kill()
    lab.database = Database(tmp_path, lab.board.notices, lab.clock)
    await lab.database.open([ledger.SCHEMA, flags.SCHEMA])
    commands = lab.make()
    taking = asyncio.ensure_future(commands.take([one("home", 1), one("emergency_stop", 2)], 1))
    await until(lambda: lab.printer.sent == ["emergency_stop"])
    assert not taking.done()
    await commands.start()
    assert await taking == 2
    await until(lambda: len(lab.results) == 2)
    await lab.kill()


async def test_replies_that_wait_for_the_ledger_go_to_the_disk_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "STARTS_WITHIN", 0.01)  # looks again and again
    lab = await Lab(tmp_path).start()
    await lab.kill()
    lab.database = Database(tmp_path, lab.board.notices, lab.clock)
    await lab.database.open([ledger.SCHEMA, flags.SCHEMA])
    commands = lab.make()
    first = asyncio.ensure_future(commands.take([one("home", 1)], 1))
    await asyncio.wait([first], timeout=0.05)
    second = asyncio.ensure_future(
        commands.take([one("emergency_stop", 2), one("home", 1)], 1)  # handed out once more
    )
    await until(lambda: lab.printer.sent == ["emergency_stop"])
    lab.printer.put(ready())
    await commands.start()
    assert (await first, await second) == (1, 1)
    await until(lambda: len(lab.results) == 2)
    assert lab.result(1)["status"] == "refused"
    assert lab.printer.sent == ["emergency_stop"]
    await lab.kill()


# Age


async def test_an_old_command_is_reported_and_not_run(lab: Lab) -> None:
    (result,) = await lab.run(one("home", timestamp=lab.clock.time() - 121))
    assert result["status"] == "expired"
    assert lab.printer.sent == []


async def test_age_counts_at_the_turn_not_at_the_arrival(lab: Lab) -> None:
    end = lab.printer.hold("G28")
    await lab.take(one("home", 1), one("set_speed", 2, speed=90, timestamp=lab.clock.time()))
    await until(lambda: lab.printer.sent)
    lab.clock.advance(130)
    end.set()
    await lab.elapse(lambda: len(lab.results) == 2)
    assert lab.result(2)["status"] == "expired"
    assert lab.printer.sent == ["G28"]


async def test_an_old_emergency_stop_is_reported_and_not_run(lab: Lab) -> None:
    (result,) = await lab.run(one("emergency_stop", timestamp=lab.clock.time() - 61))
    assert result["status"] == "expired"
    assert lab.printer.sent == []


# Once


@pytest.mark.parametrize("again", ["7", 7, 7.0])
async def test_the_same_id_runs_once(lab: Lab, again: Any) -> None:
    assert await lab.take(one("home", 7), one("home", again)) == 1
    assert await lab.take(one("home", again)) == 0
    await until(lambda: lab.results)
    assert lab.printer.sent == ["G28"]
    await lab.commands.results_delivered(lab.commands.results_due())
    assert lab.commands.results_due() == []
    assert await lab.take(one("home", again)) == 0
    assert [r["id"] for r in lab.commands.results_due()] == [
        7
    ]  # it is told again what became of it


async def test_the_same_id_runs_once_across_restarts(lab: Lab) -> None:
    await lab.run(one("home", 7))
    await lab.restart()
    assert await lab.take(one("home", "7")) == 0
    assert lab.printer.sent == []


async def test_commands_without_ids_all_run(lab: Lab) -> None:
    results = await lab.run({"action": "home"}, {"action": "home"}, {"action": "home", "id": None})
    assert lab.printer.sent == ["G28"] * 3
    assert len({r["id"] for r in results}) == 3


async def test_ids_of_another_hub_are_others(lab: Lab) -> None:
    await lab.run(one("home", 1))
    lab.live.replace(lab.live.now._replace(server_url="http://other.test/api.php"))
    await lab.run(one("home", 1))
    assert lab.printer.sent == ["G28", "G28"]


# Crashes


async def test_what_waited_runs_after_a_crash_and_what_ran_does_not(lab: Lab) -> None:
    lab.printer.hold("G28")
    await lab.take(one("home", 1), one("set_speed", 2, speed=90), one("set_flow", 3, flow=90))
    await until(lambda: lab.printer.sent == ["G28"])
    await lab.restart()
    await until(lambda: len(lab.results) == 3)
    assert lab.printer.sent == ["M220 S90", "M221 S90"]
    assert lab.result(1)["status"] == "interrupted"
    assert {lab.result(2)["status"], lab.result(3)["status"]} == {"done"}
    await lab.restart()
    await asyncio.sleep(0.02)
    assert lab.printer.sent == []
    assert [r["id"] for r in lab.commands.results_due()] == [1, 2, 3]


async def test_after_a_crash_age_counts_from_the_first_delivery(lab: Lab) -> None:
    lab.printer.hold("G28")
    await lab.take(two("basic", "HOME", 1), two("gcode", "M105", 2), generation=2)
    await until(lambda: lab.printer.sent == ["G28"])
    await lab.kill()
    lab.clock.advance(121)
    await lab.restart()
    await until(lambda: len(lab.results) == 2)
    assert lab.result(2)["status"] == "expired"


async def test_after_a_crash_nothing_runs_before_the_hubs_clock_is_known(lab: Lab) -> None:
    lab.printer.hold("G28")
    await lab.take(one("home", 1), one("set_speed", 2, speed=90))
    await until(lambda: lab.printer.sent)
    lab.hub_time_known = False
    await lab.restart()
    await asyncio.sleep(0.02)
    assert lab.printer.sent == []
    lab.hub_time_known = True
    await lab.elapse(lambda: lab.printer.sent == ["M220 S90"])


async def test_results_wait_for_the_hub_across_restarts(lab: Lab) -> None:
    await lab.run(one("home", "a"), one("home", "b"))
    await lab.commands.results_delivered(["a"])
    await lab.restart()
    assert [r["id"] for r in lab.commands.results_due()] == ["b"]


async def test_a_reboot_is_done_when_the_machine_comes_back(lab: Lab) -> None:
    await lab.take(one("reboot", 1))
    await until(lambda: lab.printer.sent == ["reboot"])
    assert lab.results == []
    lab.boot = "boot-2"
    await lab.restart()
    assert (lab.result(1)["status"], lab.printer.sent) == ("done", [])


async def test_a_reboot_that_only_stopped_moonraker_is_interrupted(lab: Lab) -> None:
    await lab.take(one("reboot", 1))
    await until(lambda: lab.printer.sent == ["reboot"])
    await lab.restart()
    assert lab.result(1)["status"] == "interrupted"


async def test_commands_wait_a_moment_for_klippy_after_the_start(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.printer.change(klippy=KlippyState.DISCONNECTED, objects={})
    await lab.start()
    await lab.take(one("home", 1))
    await asyncio.sleep(0.02)
    assert lab.results == []
    lab.printer.put(ready())
    await until(lambda: lab.results)
    assert lab.results[0]["status"] == "done"
    lab.printer.change(klippy=KlippyState.DISCONNECTED, message="Klippy is not connected")
    lab.clock.advance(60)
    (result,) = await lab.run(one("home", 2))
    assert result["status"] == "refused"
    assert "not connected" in result["message"]
    await lab.kill()


# Emergency stop


@pytest.mark.parametrize("blocked", ["M109 S200", "G4 P10000"])
async def test_an_emergency_stop_goes_past_whatever_runs(lab: Lab, blocked: str) -> None:
    lab.printer.hold(blocked[:3])
    await lab.take(one("gcode", 1, gcode=blocked), one("set_speed", 2, speed=90))
    await until(lambda: lab.printer.sent == [blocked])
    await lab.run(one("emergency_stop", 3))
    await until(lambda: len(lab.results) == 3)
    assert lab.printer.sent == [blocked, "emergency_stop"]
    assert lab.result(3)["status"] == "done"
    assert lab.result(1)["status"] == "failed"
    assert "emergency stop" in lab.result(1)["message"]
    assert lab.result(2)["status"] == "refused"


async def test_it_is_found_among_rubbish_and_comes_first(lab: Lab) -> None:
    rubbish: list[Any] = [one("home", 1), None, "x", {"id": [1]}, 3.5, [{"id": 9, "action": {}}]]
    await lab.run(*rubbish, one("emergency_stop", 2), one("home", 3))
    assert lab.printer.sent[0] == "emergency_stop"
    assert lab.result(1)["status"] == "refused"
    assert "emergency stop" in lab.result(1)["message"].lower()


async def test_it_does_not_wait_for_the_disk(lab: Lab) -> None:
    blocked = asyncio.Event()
    loop = asyncio.get_running_loop()
    lab.database.post(lambda db: asyncio.run_coroutine_threadsafe(blocked.wait(), loop).result())
    taken = asyncio.ensure_future(lab.take(one("emergency_stop", 1)))
    await until(lambda: lab.printer.sent == ["emergency_stop"])
    assert not taken.done()
    blocked.set()
    assert await taken == 1
    await until(lambda: lab.results)
    assert lab.results[0]["status"] == "done"


async def test_a_stop_overtakes_a_batch_on_its_way_to_the_disk(lab: Lab) -> None:
    blocked = asyncio.Event()
    loop = asyncio.get_running_loop()
    lab.database.post(lambda db: asyncio.run_coroutine_threadsafe(blocked.wait(), loop).result())
    first = asyncio.ensure_future(lab.take(one("home", 1)))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(lab.take(one("emergency_stop", 2)))
    await until(lambda: lab.printer.sent == ["emergency_stop"])
    lab.printer.put(ready())  # somebody restarts the firmware at once
    blocked.set()
    await asyncio.gather(first, second)
    await until(lambda: len(lab.results) == 2)
    assert lab.result(1)["status"] == "refused"
    assert lab.printer.sent == ["emergency_stop"]


async def test_without_a_known_hub_clock_a_stop_is_never_too_old(lab: Lab) -> None:
    lab.hub_time_known = False
    await lab.run(one("emergency_stop", timestamp=lab.clock.time() - 1e6))
    assert lab.printer.sent == ["emergency_stop"]


async def test_a_script_that_restarts_is_done_when_klippy_is_back(lab: Lab) -> None:
    seen: list[KlippyState] = []
    lab.printer.subscribe(lambda old, new: seen.append(new.klippy))
    (result,) = await lab.run(one("gcode", 1, gcode="restart ; please"))
    assert (result["action"], result["status"]) == ("firmware_restart", "done")
    assert lab.printer.sent == ["restart"]
    assert seen[0] is KlippyState.DISCONNECTED and seen[-1] is KlippyState.READY


async def test_a_firmware_restart_revives_nothing_that_was_asked_before_the_stop(lab: Lab) -> None:
    end = lab.printer.hold("G28")
    await lab.take(one("home", 1), one("heat", 2, hotend_temp=200), one("firmware_restart", 3))
    await until(lambda: lab.printer.sent)
    await lab.take(
        one("emergency_stop", 4), one("firmware_restart", 5), one("heat", 6, bed_temp=50)
    )
    end.set()
    await until(lambda: len(lab.results) == 6)
    assert lab.result(2)["status"] == lab.result(3)["status"] == "refused"
    assert lab.result(5)["status"] == "done"
    assert lab.printer.sent == ["G28", "emergency_stop", "firmware_restart"] + (
        ["SET_HEATER_TEMPERATURE HEATER=heater_bed TARGET=50"]
        if lab.result(6)["status"] == "done"
        else []
    )


async def test_the_same_stop_is_sent_once_within_ten_seconds_and_then_again(lab: Lab) -> None:
    await lab.run(one("emergency_stop", 1), one("emergency_stop", 1))
    assert await lab.take(one("emergency_stop", 1)) == 0
    assert lab.printer.sent == ["emergency_stop"]
    lab.printer.put(ready())
    lab.clock.advance(11)
    assert len(await lab.run(one("emergency_stop", 1))) == 1
    assert lab.printer.sent == ["emergency_stop"] * 2
    await lab.run(one("emergency_stop", 2))
    assert lab.printer.sent == ["emergency_stop"] * 3


async def test_a_stop_handed_out_again_since_its_end_is_unheard_of_stops_once(lab: Lab) -> None:
    lab.hub_redelivers = True
    await lab.run(one("emergency_stop", 1))
    lab.printer.put(ready())  # somebody has restarted the firmware
    for _ in range(3):
        lab.clock.advance(15)
        assert await lab.take(one("emergency_stop", 1)) == 0
    assert lab.printer.sent == ["emergency_stop"]
    await lab.commands.results_delivered(lab.commands.results_due())
    await lab.run(one("emergency_stop", 1))  # of a database that counts anew
    assert lab.printer.sent == ["emergency_stop"] * 2


async def test_a_stop_is_not_taken_for_another_command_of_the_same_id(lab: Lab) -> None:
    await lab.run(one("home", 1))
    await lab.take(one("emergency_stop", 1))
    await until(lambda: len(lab.results) == 2)
    assert lab.printer.sent == ["G28", "emergency_stop"]


async def test_a_stop_whose_id_is_of_last_week_stops_again(lab: Lab) -> None:
    await lab.run(one("emergency_stop", 1))
    lab.clock.advance(7 * 86400)
    await lab.restart()
    await lab.run(one("emergency_stop", 1))
    assert lab.printer.sent == ["emergency_stop"]


async def test_small_steps_do_not_take_the_heat_from_a_job(lab: Lab) -> None:
    hot = Heater("extruder", 210.0, 210.0, 0.5, 0.0, 250.0)
    lab.printer.put(printing()._replace(heaters={"extruder": hot}))
    told = [
        (await lab.run(one("heat", number, hotend_temp=target)))[0]["status"]
        for number, target in enumerate((195, 190, 180, 176))
    ]
    assert told == ["done", "done", "refused", "refused"]
    lab.printer.change(heaters={"extruder": hot._replace(target=195.0)})  # the file itself does
    (result,) = await lab.run(one("heat", 9, hotend_temp=176))
    assert result["status"] == "done"


async def test_nor_do_those_of_macros_or_of_the_operators_own_actions(lab: Lab) -> None:
    heat = "SET_HEATER_TEMPERATURE HEATER=extruder TARGET="
    lab.live.replace(
        lab.live.now._replace(
            actions={
                "low": OperatorAction("low", gcode=f"{heat}192", danger=False, lane="control"),
                "cold": OperatorAction("cold", gcode=f"{heat}173", danger=False, lane="control"),
            }
        )
    )
    hot = Heater("extruder", 210.0, 210.0, 0.5, 0.0, 250.0)
    job = printing()._replace(heaters={"extruder": hot})
    templates = job.machine.templates._replace(macros={"EASE": f"{heat}191"})
    lab.printer.put(
        job._replace(macros=frozenset({"EASE"}), machine=job.machine._replace(templates=templates))
    )
    told = [(await lab.run(one(n, n)))[0]["status"] for n in ("low", "cold")]
    assert told == ["done", "refused"]
    lab.printer.change(heaters={"extruder": hot})  # as before, by a person
    (first,) = await lab.run(one("macro", 3, macro_name="EASE"))
    lab.printer.change(heaters={"extruder": hot._replace(target=191.0)})  # what it comes to
    (second,) = await lab.run(one("cold", 4))
    assert (first["status"], second["status"]) == ("done", "refused")


async def test_a_klippy_that_only_starts_has_not_taken_a_stop(lab: Lab) -> None:
    lab.printer.change(klippy=KlippyState.STARTUP)
    lab.printer.hung = True
    await lab.take(one("emergency_stop", 1))
    lab.printer.put(ready())
    await lab.elapse(lambda: lab.told)
    assert (lab.told[0]["status"], lab.results) == ("running", [])


async def test_a_stop_that_is_refused_is_told_so_though_its_id_has_stopped_before(lab: Lab) -> None:
    await lab.run(one("emergency_stop", 1))
    lab.printer.put(ready())
    lab.secure(remote_control=RemoteControl.OFF)
    lab.clock.advance(60)
    (result,) = await lab.run(one("emergency_stop", 1))
    assert (result["status"], lab.printer.sent) == ("refused", ["emergency_stop"])


async def refused(*_args: Any, **_named: Any) -> Any:
    """In place of `Database.run`."""
    raise StoreUnavailable("database or disk is full")


async def test_a_stop_that_is_repeated_before_the_first_is_told_has_one_end(lab: Lab) -> None:
    lab.printer.hung = True
    with pytest.MonkeyPatch.context() as disk:
        disk.setattr(lab.database, "run", refused)
        await lab.take(one("emergency_stop", 1))
    await lab.take(one("emergency_stop", 1))
    lab.printer.change(klippy=KlippyState.SHUTDOWN)
    await lab.elapse(lambda: len(lab.results) == 2)
    assert {r["status"] for r in lab.results} == {"done"}


async def test_a_stop_that_klippy_does_not_take_is_told_though_the_disk_takes_nothing(
    lab: Lab,
) -> None:
    lab.printer.hung = True
    with pytest.MonkeyPatch.context() as disk:
        disk.setattr(lab.database, "run", refused)
        await lab.take(one("emergency_stop", 1))
        await lab.elapse(lambda: lab.told)
        (told,) = lab.commands.results_due()
        assert told["status"] == "running" and "the switch on the wall" in told["message"]
    lab.printer.change(klippy=KlippyState.SHUTDOWN)
    await lab.elapse(lambda: lab.results)
    assert [r["status"] for r in lab.commands.results_due()] == ["done"]


@pytest.mark.parametrize("by", ["cancel", "emergency_stop"])
async def test_what_a_cancel_or_a_stop_struck_stays_struck_after_a_crash(lab: Lab, by: str) -> None:
    lab.local.add("x.gcode")
    lab.printer.hold("G4")
    lab.printer.script("G4 P60000")
    await lab.take(one("print_local", 1, file="x.gcode"))
    await lab.kill()  # so soon that only the cancel's own end was written down
    with sqlite3.connect(lab.database.path) as db:
        db.execute(
            "INSERT INTO commands (key, id, action, summary, command, status, received_at)"
            " VALUES ('1:hub:2', '2', ?, ?, '', 'done', ?)",
            (by, by, lab.clock.time()),
        )
    db.close()
    await lab.restart()
    await lab.elapse(lambda: lab.results)
    assert (lab.result(1)["status"], lab.printer.sent) == ("refused", [])


async def test_a_restart_of_klippy_waits_until_its_job_is_known(lab: Lab) -> None:
    await lab.kill()
    lab.printer = FakePrinter(lab.clock)
    lab.printer.change(klippy=KlippyState.DISCONNECTED, objects={})
    await lab.start()
    await lab.take(one("firmware_restart", 1))
    await asyncio.sleep(0.02)
    lab.printer.put(printing())
    await lab.elapse(lambda: lab.results)
    assert (lab.result(1)["status"], lab.printer.sent) == ("refused", [])


async def test_a_print_is_not_handed_over_on_an_old_answer(lab: Lab) -> None:
    lab.local.add("x.gcode")
    begin, fences = Ledger.begin, []
    fence = lab.printer.fence

    async def slow(self: Ledger, key: str, boot: str = "") -> bool:
        known = await begin(self, key, boot)
        lab.clock.advance(1.0)  # a slow card
        return known

    async def counted() -> None:
        fences.append(1)
        await fence()

    lab.printer.fence = counted  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "begin", slow)
        await lab.run(one("print_local", 1, file="x.gcode"))
    assert lab.printer.sent == ["start x.gcode"]
    assert len(fences) > 1


async def test_monitor_allows_the_stop_and_off_does_not(lab: Lab) -> None:
    lab.secure(remote_control=RemoteControl.OFF)
    (result,) = await lab.run(one("emergency_stop", 1))
    assert (result["status"], lab.printer.sent) == ("refused", [])
    lab.secure(remote_control=RemoteControl.MONITOR)
    await lab.run(one("emergency_stop", 2))
    assert lab.printer.sent == ["emergency_stop"]


async def test_a_shutdown_of_klippys_own_drops_what_waited(lab: Lab) -> None:
    end = lab.printer.hold("M109")
    await lab.take(one("gcode", 1, gcode="M109 S200"), one("home", 2))
    await until(lambda: lab.printer.sent)
    lab.printer.change(klippy=KlippyState.SHUTDOWN, message="ADC out of range")
    end.set()
    await until(lambda: lab.results)
    lab.printer.put(ready())
    await until(lambda: len(lab.results) == 2)
    assert lab.result(2)["status"] == "refused"
    assert "ADC out of range" in lab.result(2)["message"]


# Printing


async def test_print_fetches_and_starts(lab: Lab) -> None:
    async def fetch(request: Any) -> Any:
        seen.append(request)
        return SimpleNamespace(path="tecmedhub/part.gcode", note="")

    seen: list[Any] = []
    lab.fetch = fetch
    await lab.restart()
    (result,) = await lab.run(
        one("print", file="part.gcode", download_url="http://hub.test/f", size="9")
    )
    assert result["status"] == "done"
    assert lab.printer.sent == ["start tecmedhub/part.gcode"]
    assert (seen[0].file, seen[0].download_url, seen[0].size) == (
        "part.gcode",
        "http://hub.test/f",
        9,
    )


async def test_a_print_begins_behind_the_gcode_sent_before_it_its_download_does_not(
    lab: Lab,
) -> None:
    fetched: list[Any] = []

    async def fetch(request: Any) -> Any:
        fetched.append(request)
        return SimpleNamespace(path=request.file, note="")

    lab.fetch = fetch
    await lab.restart()
    end = lab.printer.hold("G28")
    await lab.take(one("home", 1), one("print", 2, file="part.gcode"))
    await until(lambda: fetched and lab.printer.sent == ["G28"])
    lab.clock.advance(5)
    end.set()
    await lab.elapse(lambda: len(lab.results) == 2)
    assert lab.printer.sent == ["G28", "start part.gcode"]


async def test_a_stop_strikes_a_print_that_waits_for_its_turn(lab: Lab) -> None:
    lab.local.add("part.gcode")
    lab.printer.hold("G28")
    await lab.take(one("home", 1), one("print_local", 2, file="part.gcode"))
    await until(lambda: lab.printer.sent == ["G28"])
    await lab.take(one("emergency_stop", 3))
    await lab.elapse(lambda: len(lab.results) == 3)
    assert not any(sent.startswith("start") for sent in lab.printer.sent)


async def test_generation_2_prints_by_name(lab: Lab) -> None:
    lab.local.add("part one.gcode")
    (result,) = await lab.run(two("basic", "PRINT_FILE:part one.gcode"), generation=2)
    assert result["status"] == "done"
    assert lab.printer.sent == ["start part one.gcode"]


async def test_print_local(lab: Lab) -> None:
    lab.local.add("labs/part.gcode")
    results = await lab.run(one("print_local", 1, file="labs/part.gcode"))
    assert lab.printer.sent == ["start labs/part.gcode"]
    results = await lab.run(one("print_local", 2, file="labs/part.gcode"))
    assert "busy" in results[0]["message"]
    results = await lab.run(one("print_local", 3, file="labs/part.gcode", queue=True))
    assert lab.printer.sent[1:] == ["queue labs/part.gcode"]
    assert results[0]["status"] == "done"
    lab.printer.put(ready())
    results = await lab.run(one("print_local", 4, file="gone.gcode"))
    assert (results[0]["status"], lab.printer.sent[2:]) == ("refused", [])


async def test_a_failed_transfer_says_why(lab: Lab) -> None:
    async def fetch(request: Any) -> Any:
        raise TransferError("The checksum of part.gcode is wrong.")

    lab.fetch = fetch
    await lab.restart()
    (result,) = await lab.run(one("print", file="part.gcode"))
    assert (result["status"], result["message"]) == (
        "failed",
        "The checksum of part.gcode is wrong.",
    )


@pytest.mark.parametrize("meanwhile", ["busy", "switched off", "stopped"])
async def test_after_a_long_download_it_is_judged_anew(lab: Lab, meanwhile: str) -> None:
    async def fetch(request: Any) -> Any:
        started.set()
        await arrived.wait()
        return SimpleNamespace(path=request.file, note="")

    lab.fetch = fetch
    await lab.restart()
    started, arrived = asyncio.Event(), asyncio.Event()
    await lab.take(one("print", 1, file="x.gcode"))
    await started.wait()
    if meanwhile == "busy":
        lab.printer.put(printing(filename="other.gcode"))
    elif meanwhile == "switched off":
        await lab.commands.set_remote(False, "Ana")
    else:
        await lab.run(one("emergency_stop", 2))
        lab.printer.put(ready())
    arrived.set()
    await lab.elapse(lambda: [r for r in lab.results if r["id"] == 1])
    assert lab.result(1)["status"] == "refused"
    assert "x.gcode is on the printer" in lab.result(1)["message"]
    assert not [s for s in lab.printer.sent if s.startswith("start")]


async def test_a_print_that_does_not_begin_has_failed(lab: Lab) -> None:
    lab.local.add("x.gcode")
    lab.printer.deaf = {"start"}
    lab.printer.change(job=Job(state="complete", filename="x.gcode", total_duration=5.0))
    await lab.take(one("print_local", file="x.gcode"))
    await until(lambda: lab.printer.sent)
    await lab.elapse(lambda: lab.results)
    assert lab.results[0]["status"] == "failed"
    assert "did not begin" in lab.results[0]["message"]


async def test_a_print_that_ends_at_once_has_begun(lab: Lab) -> None:
    lab.local.add("x.gcode")
    lab.printer.deaf = {"start"}
    lab.printer.change(job=Job(state="complete", filename="x.gcode", total_duration=5.0))
    await lab.take(one("print_local", file="x.gcode"))
    await until(lambda: lab.printer.sent)
    lab.printer.change(job=Job(state="complete", filename="x.gcode", total_duration=0.2))
    await until(lambda: lab.results)
    assert lab.results[0]["status"] == "done"


async def test_a_print_that_fails_at_its_first_line_has_failed(lab: Lab) -> None:
    lab.local.add("x.gcode")
    lab.printer.deaf = {"start"}
    await lab.take(one("print_local", file="x.gcode"))
    await until(lambda: lab.printer.sent)
    lab.printer.change(job=Job(state="error", filename="x.gcode", message="Must home axis first"))
    await until(lambda: lab.results)
    assert (lab.results[0]["status"], "Must home" in lab.results[0]["message"]) == ("failed", True)


# The operator


async def test_the_kill_switch_holds_across_restarts(lab: Lab) -> None:
    await lab.commands.set_remote(False, "a macro")
    assert not lab.commands.remote_on
    await lab.restart()
    assert not lab.commands.remote_on
    (result,) = await lab.run(one("home", 1))
    assert (result["status"], lab.printer.sent) == ("refused", [])
    await lab.commands.set_remote(True, "a macro")
    (result,) = await lab.run(one("home", 2))
    assert result["status"] == "done"


async def test_whoever_stands_at_the_printer_sees_it(lab: Lab) -> None:
    await lab.run(one("set_speed", 1, speed=150), one("set_speed", 2, speed=999))
    console = "\n".join(lab.board.console)
    assert "set_speed speed=150" in console
    assert "set_speed done: speed 150 %" in console
    assert "set_speed refused" in console
    assert all(line.startswith("// TecMedHub: ") for line in lab.board.console)


async def test_recent_tells_the_story(lab: Lab) -> None:
    await lab.run(one("home", 1), one("set_speed", 2, speed=999))
    newest, oldest = lab.commands.recent()
    assert (newest["id"], newest["status"], newest["summary"]) == (
        2,
        "refused",
        "set_speed speed=999",
    )
    assert (oldest["id"], oldest["status"]) == (1, "done")
    await lab.restart()
    assert [row["id"] for row in lab.commands.recent()] == [2, 1]


# Any reply at all

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
wild = st.fixed_dictionaries(
    {},
    optional={
        "id": values,
        "action": values
        | st.sampled_from(["home", "gcode", "macro", "print", "emergency_stop", "heat"]),
        "type": values | st.sampled_from(["basic", "gcode", "macro"]),
        "command": values | st.sampled_from(["PAUSE", "G28", "EMERGENCY_STOP"]),
        "params": values,
        "gcode": values | st.sampled_from(["G28", "M112", "RESTART"]),
        "timestamp": values,
        "confirm": values,
    },
)


# What a bare `heat`, the button of generation 1's page, comes to.
PRESET = (
    "SET_HEATER_TEMPERATURE HEATER=extruder TARGET=200\n"
    "SET_HEATER_TEMPERATURE HEATER=heater_bed TARGET=60"
)


@pytest.mark.slow
@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(raw=values | st.lists(wild | values, max_size=5), generation=st.sampled_from([1, 2]))
def test_any_reply_is_taken_and_each_new_command_answered(
    tmp_path_factory: pytest.TempPathFactory, raw: Any, generation: int
) -> None:
    async def scenario() -> None:
        lab = await Lab(tmp_path_factory.mktemp("any")).start()
        new = await lab.commands.take(raw, generation) or 0
        await until(lambda: len(lab.results) >= new)
        assert len(lab.results) == new
        for result in lab.results:
            assert json.dumps(result)
        for sent in lab.printer.sent:
            assert sent in ("G28", "emergency_stop", "restart", PRESET)
        await lab.kill()

    asyncio.run(scenario())


async def test_a_result_is_for_the_hub_whose_command_it_was(lab: Lab) -> None:
    """The next hub counts its ids from 1 as well."""
    await lab.begin(one("set_speed", 1, speed=120))
    await lab.elapse(lambda: lab.results)
    assert [r["id"] for r in lab.commands.results_due()] == [1]
    before = lab.live.now
    lab.live.replace(before._replace(server_url="https://other.example/printer-api/update.php"))
    assert lab.commands.results_due() == []
    lab.live.replace(before)
    assert [r["id"] for r in lab.commands.results_due()] == [1]
