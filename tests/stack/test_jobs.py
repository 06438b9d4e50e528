"""Jobs on the real stack: each begins once and ends once, for the events, the history and the bed,
whatever goes down in its midst or nobody watched."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.rig.klippy import wait_until
from tests.rig.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

PATIENCE = 60.0  # seconds; the machine may be busy
LONG = "G4 P500\n" * 240
SHORT = "G4 P700\n"

BED = """
[gcode_macro BED_CLEAR]
gcode:
    {action_call_remote_method("tecmedhub_bed_clear")}
[gcode_macro CANCEL_PRINT]
rename_existing: BASE_CANCEL_PRINT
gcode:
    BASE_CANCEL_PRINT
    BED_CLEAR
"""


@pytest.fixture
def house(make_stack: Callable[..., Stack]) -> Stack:
    return make_stack(
        features={"events": True},
        options={
            "language": "en",
            "security_require_clear_bed": True,
            "security_allowed_macros": "*",
        },
        extra_config=BED,
    )


def told(stack: Stack, *kinds: str, timeout: float = PATIENCE) -> list[dict[str, Any]]:
    """The events of jobs (figures left out), once there are as many; exactly these."""

    def there() -> list[dict[str, Any]]:
        events = sorted((e.body for e in stack.hub.events(stack.token)), key=lambda e: e["seq"])
        return [e for e in events if e["kind"].startswith("job_") and e["kind"] != "job_record"]

    try:
        wait_until(lambda: len(there()) >= len(kinds), timeout, f"the events {kinds}")
    finally:
        assert [event["kind"] for event in there()] == list(kinds)
    return there()


def listed(stack: Stack) -> list[tuple[str, str]]:
    body = stack.hub.status(stack.token) or {}
    return [(job["filename"], job["status"]) for job in body.get("history", [])]


def wait_listed(stack: Stack, *jobs: tuple[str, str]) -> None:
    try:
        wait_until(lambda: listed(stack) == list(jobs), PATIENCE, f"{jobs}")
    except Exception as error:
        raise AssertionError(f"{listed(stack)}, not {jobs}") from error


def moonrakers(stack: Stack) -> list[tuple[str, str]]:
    jobs = stack.moonraker.get("/server/history/list", limit=10)["jobs"]
    return [(job["filename"], job["status"]) for job in jobs]


def bed(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = stack.moonraker.get("/server/tecmedhub/status")["bed"]
    return found


def clear_bed(stack: Stack) -> None:
    stack.moonraker.post("/server/tecmedhub/bed_clear")
    assert not bed(stack)["needs_clearing"]


def starts(stack: Stack, name: str, text: str = LONG) -> None:
    stack.put(name, text)
    wait_until(lambda: known_ready(stack), PATIENCE, "the plugin to see the printer")
    stack.print(name)


def known_ready(stack: Stack) -> bool:
    return bool(stack.moonraker.get("/server/tecmedhub/status")["printer"]["klippy"] == "ready")


def begin(stack: Stack, name: str = "long.gcode") -> None:
    starts(stack, name)
    told(stack, "job_started")


def comes_back(stack: Stack) -> None:
    stack.moonraker.start()
    stack.klippy.wait_ready()
    stack.moonraker.wait_klippy()


def refused_for_the_bed(stack: Stack) -> bool:
    result = stack.do("print_local", file="long.gcode")
    assert result.status == "done" or "tecmedhub_bed_clear" in result.message, result.message
    return bool(result.status == "refused")


def test_the_power_goes_in_a_job(house: Stack) -> None:
    clear_bed(house)
    begin(house)
    house.moonraker.kill()
    house.klippy.stop()
    house.klippy.launch()
    comes_back(house)
    (_, end) = told(house, "job_started", "job_failed")
    assert end["data"]["message"] == "Klippy was restarted during this job"
    wait_listed(house, ("long.gcode", "interrupted"))
    assert moonrakers(house) == listed(house)
    assert refused_for_the_bed(house)
    house.moonraker.kill()  # nothing of it is told a second time
    comes_back(house)
    house.wait_connected()
    told(house, "job_started", "job_failed")
    wait_listed(house, ("long.gcode", "interrupted"))


def test_moonraker_loses_the_row_of_a_job_in_the_power_cut(house: Stack) -> None:
    begin(house)
    house.moonraker.kill()
    for path in (house.moonraker.data_path / "database").iterdir():
        path.unlink()
    house.klippy.stop()
    house.klippy.launch()
    comes_back(house)
    told(house, "job_started", "job_failed")
    assert moonrakers(house) == []
    wait_listed(house, ("long.gcode", "interrupted"))


def test_moonraker_is_killed_in_a_job_and_comes_back(house: Stack) -> None:
    begin(house)
    number = wait_job_id(house)
    for restart in (house.moonraker.kill, house.moonraker.sigterm):
        restart()
        comes_back(house)
        assert wait_job_id(house) == number
    house.klippy.gcode("CANCEL_PRINT")
    told(house, "job_started", "job_cancelled")
    wait_listed(house, ("long.gcode", "cancelled"))


def wait_job_id(stack: Stack) -> str:
    def found() -> str:
        body = stack.hub.status(stack.token) or {}
        return str(body["job"]["id"]) if body.get("print_state") == "printing" else ""

    wait_until(lambda: bool(found()), PATIENCE, "the id of the job")
    return found()


def test_a_job_that_ran_while_moonraker_was_away(house: Stack) -> None:
    clear_bed(house)
    house.put("short.gcode", SHORT)
    house.moonraker.sigterm()
    house.klippy.gcode("SDCARD_PRINT_FILE FILENAME=short.gcode")
    house.klippy.wait_print("complete", PATIENCE)
    comes_back(house)
    told(house, "job_started", "job_finished")
    wait_listed(house, ("short.gcode", "completed"))
    assert bed(house)["needs_clearing"]


def test_one_job_ends_and_another_of_the_file_begins_while_moonraker_is_away(
    house: Stack,
) -> None:
    begin(house)
    house.moonraker.sigterm()
    house.klippy.gcode("CANCEL_PRINT")
    time.sleep(2)  # what tells them apart is when they began
    house.klippy.gcode("SDCARD_PRINT_FILE FILENAME=long.gcode")
    comes_back(house)
    told(house, "job_started", "job_failed", "job_started")
    house.klippy.gcode("CANCEL_PRINT")
    told(house, "job_started", "job_failed", "job_started", "job_cancelled")


def test_a_job_that_was_over_before_the_plugin_came(make_stack: Callable[..., Stack]) -> None:
    house = make_stack(options={"security_require_clear_bed": True})
    assert not bed(house)["needs_clearing"]
    house.put("short.gcode", SHORT)
    house.put("long.gcode", LONG)
    house.moonraker.stop()
    for path in house.moonraker.state_folder.iterdir():
        if path.is_file():
            path.unlink()
    house.klippy.gcode("SDCARD_PRINT_FILE FILENAME=short.gcode")
    house.klippy.wait_print("complete", PATIENCE)
    comes_back(house)
    assert refused_for_the_bed(house)
    clear_bed(house)
    assert not refused_for_the_bed(house)


def test_a_job_of_moonrakers_history_before_the_plugin_came(house: Stack) -> None:
    clear_bed(house)
    starts(house, "short.gcode", SHORT)
    told(house, "job_started", "job_finished")
    house.klippy.gcode("SDCARD_RESET_FILE")
    house.moonraker.stop()
    for path in house.moonraker.state_folder.iterdir():
        if path.is_file():
            path.unlink()
    comes_back(house)
    house.put("long.gcode", LONG)
    assert refused_for_the_bed(house)


@pytest.mark.parametrize("how", ["crash", "firmware_restart", "nothing"])
def test_klippy_is_started_anew_while_moonraker_is_away(house: Stack, how: str) -> None:
    clear_bed(house)
    house.put("long.gcode", LONG)
    wait_until(lambda: known_ready(house), PATIENCE, "the plugin to see the printer")
    house.moonraker.kill()
    if how != "nothing":
        house.klippy.gcode("SDCARD_PRINT_FILE FILENAME=long.gcode")
        house.klippy.wait_print("printing", PATIENCE)
    if how == "crash":
        house.klippy.kill()
        house.klippy.launch()
    elif how == "firmware_restart":
        house.klippy.firmware_restart()
    comes_back(house)
    wait_until(lambda: known_ready(house), PATIENCE, "the plugin to see the printer")
    assert refused_for_the_bed(house) == (how != "nothing")


def test_jobs_of_one_file_one_after_the_other(house: Stack) -> None:
    for _ in range(2):
        starts(house, "tiny.gcode", "M117 hello\n")
        house.klippy.wait_print("complete", PATIENCE)
        time.sleep(0.6)  # Klipper reports four times a second; the job is over within one report
    told(house, *2 * ["job_started", "job_finished"])
    wait_listed(house, *2 * [("tiny.gcode", "completed")])


def test_the_queue_prints_one_file_twice(make_stack: Callable[..., Stack]) -> None:
    house = make_stack(
        features={"events": True}, sections="[job_queue]\nautomatic_transition: True\n"
    )
    starts(house, "short.gcode", 4 * SHORT)
    told(house, "job_started")
    house.moonraker.post("/server/job_queue/job", {"filenames": ["short.gcode"] * 2})
    told(house, *3 * ["job_started", "job_finished"])
    wait_listed(house, *3 * [("short.gcode", "completed")])


def test_the_hub_sees_the_queue(house: Stack) -> None:
    begin(house)
    house.put("short.gcode", SHORT)

    def queue() -> dict[str, Any]:
        found: dict[str, Any] = (house.hub.status(house.token) or {})["job_queue"]
        return found

    assert queue() == {"state": "paused", "jobs": []}
    house.moonraker.post("/server/job_queue/job", {"filenames": ["short.gcode"]})
    wait_until(lambda: queue()["jobs"], PATIENCE, "the queue at the hub")
    (theirs,) = house.moonraker.get("/server/job_queue/status")["queued_jobs"]
    assert queue() == {
        "state": "paused",
        "jobs": [{"id": theirs["job_id"], "filename": "short.gcode"}],
    }


def test_klippy_shuts_down_in_a_job_and_is_restarted(house: Stack) -> None:
    clear_bed(house)
    begin(house)
    house.klippy.mcu.sensor("hotend", "open")
    (_, end) = told(house, "job_started", "job_failed")
    assert "ADC" in end["data"]["message"]
    house.klippy.mcu.sensor("hotend", "")
    house.klippy.firmware_restart()
    wait_until(lambda: known_ready(house), PATIENCE, "the printer")
    told(house, "job_started", "job_failed")
    wait_listed(house, ("long.gcode", "klippy_shutdown"))
    assert moonrakers(house) == listed(house)
    assert refused_for_the_bed(house)


def test_the_hub_opens_the_latch_by_no_macro(house: Stack) -> None:
    clear_bed(house)
    begin(house)
    assert house.do("macro", macro_name="BED_CLEAR", confirm=True).status in ("done", "refused")
    assert house.do("cancel").status == "done"  # whose macro says BED_CLEAR after the job
    told(house, "job_started", "job_cancelled")
    assert bed(house)["needs_clearing"]
    assert house.do("macro", macro_name="BED_CLEAR").status in ("done", "refused")
    assert bed(house)["needs_clearing"]
    assert refused_for_the_bed(house)
    house.klippy.gcode("BED_CLEAR")  # a person's button
    wait_until(lambda: not bed(house)["needs_clearing"], PATIENCE, "the bed to be clear")
    assert not refused_for_the_bed(house)


def test_a_person_cannot_clear_it_under_a_job(house: Stack) -> None:
    clear_bed(house)
    begin(house)
    answer = house.moonraker.post("/server/tecmedhub/bed_clear")
    assert answer["ok"] is False
    assert "when the job has ended" in answer["message"]
    house.klippy.gcode("BASE_CANCEL_PRINT")
    told(house, "job_started", "job_cancelled")
    assert bed(house)["needs_clearing"]
