"""Rows of the fault matrix: Klippy and its board, mostly in the middle of a print."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.rig.gcode import make_gcode
from tests.rig.klippy import wait_until
from tests.stack.fault_matrix.bench import PATIENCE, FaultyStack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

LONG_JOB = "G4 P500\n" * 200


def newest(stack: FaultyStack) -> dict[str, Any]:
    return stack.hub.status(stack.token) or {}


def wait_hub(stack: FaultyStack, timeout: float = PATIENCE, **fields: Any) -> dict[str, Any]:
    """Until the newest status at the hub has these fields."""

    def there() -> dict[str, Any]:
        body = newest(stack)
        return body if all(body.get(name) == value for name, value in fields.items()) else {}

    try:
        return stack.hub.wait_for(there, timeout, f"{fields}")
    except TimeoutError as error:
        seen = {name: newest(stack).get(name) for name in (*fields, "state_message")}
        raise AssertionError(f"not {fields} but {seen}") from error


def begin_long_job(stack: FaultyStack) -> None:
    stack.put("long.gcode", LONG_JOB)
    stack.print("long.gcode")
    wait_hub(stack, status="printing", current_file="long.gcode")


def told(stack: FaultyStack, seq: int, *kinds: str, killed: bool = False) -> list[dict[str, Any]]:
    """The events since `seq`, once these kinds have come, in this order.

    Their numbers have no gap, unless Moonraker was `killed`: then it may have been a power cut,
    which undoes the last seconds, and numbers go on above what the hub may know.
    """

    def there() -> bool:
        left = list(kinds)
        for event in stack.events_since(seq):
            if left and event.body["kind"] == left[0]:
                left.pop(0)
        return not left

    stack.hub.wait_for(there, PATIENCE, f"the events {kinds}")
    events = [event.body for event in stack.events_since(seq)]
    numbers = [event["seq"] for event in events]
    assert killed or numbers == list(range(seq + 1, seq + 1 + len(events)))
    assert len(numbers) == len(set(numbers))
    return events


def job_events(stack: FaultyStack, seq: int) -> list[str]:
    """What was told of jobs since `seq`, their figures left out."""
    kinds = [str(event.body["kind"]) for event in stack.events_since(seq)]
    return [kind for kind in kinds if kind.startswith("job_") and kind != "job_record"]


# How Klippy may fail in mid-print: (what happens, the hub's word, words of the message, the event)
def kill(stack: FaultyStack) -> None:
    stack.klippy.kill()


def shut_down(stack: FaultyStack) -> None:
    stack.klippy.mcu.sensor("hotend", "open")


def silence(stack: FaultyStack) -> None:
    stack.klippy.mcu.silent()


def power_off(stack: FaultyStack) -> None:
    stack.klippy.mcu.dead()


def m112(stack: FaultyStack) -> None:
    stack.moonraker.post("/printer/emergency_stop")


FALLS: dict[str, tuple[Callable[[FaultyStack], None], str, str, str]] = {
    "is killed": (kill, "error", "not connected", "klippy_disconnected"),
    "shuts down by itself": (shut_down, "error", "ADC", "klippy_error"),
    "is stopped by somebody": (m112, "error", "Shutdown due to", "klippy_error"),
    "loses its board": (silence, "error", "Lost communication", "klippy_error"),
    "loses its board's power": (power_off, "error", "ommunication", "klippy_error"),
}


@pytest.mark.parametrize("row", FALLS)
def test_klippy_in_mid_print(stack: FaultyStack, row: str) -> None:
    fall, word, message, kind = FALLS[row]
    seq = stack.last_seq()
    begin_long_job(stack)
    running = stack.hub.queue(stack.token, "macro", macro_name="COUNT", params={"NAME": "never"})
    stack.hub.wait_for(lambda: not stack.hub.waiting(stack.token), PATIENCE, "the delivery")
    fall(stack)
    body = wait_hub(stack, status=word)
    assert message in body["state_message"]
    assert body["temp_hotend_target"] == 0 or word == "error"
    # What Klippy had before it, and what comes now, fails with the reason; the rest goes on.
    for command in (running, stack.count_once("fallen")):
        result = stack.wait_result(command)
        assert result.status in ("failed", "refused", "done")
        assert result.status == "done" or result.message
    assert stack.hub.result(stack.token, command).status == "refused"
    assert stack.do("snapshot").status == "done"
    stack.wait_flow(2)
    stack.calm()
    wait_hub(stack, status="idle", klippy_state="ready")
    after = stack.count_once(f"after_{row.replace(' ', '_').replace(chr(39), '')}")
    assert stack.wait_result(after).status == "done"
    assert stack.klippy.count("fallen") == 0
    told(stack, seq, "job_started", "job_failed")
    told(stack, seq, "job_record")  # of Moonraker's history, which may be the last to come
    events = told(stack, seq, "job_started", kind, "klippy_ready")
    assert job_events(stack, seq) == ["job_started", "job_failed"]
    (job,) = [event["data"] for event in events if event["kind"] == "job_record"]
    assert job["filename"] == "long.gcode"
    assert job["status"] in ("klippy_shutdown", "klippy_disconnect", "error")


def test_klippy_restarts_in_mid_print(stack: FaultyStack) -> None:
    seq = stack.last_seq()
    begin_long_job(stack)
    stack.klippy.firmware_restart()
    wait_hub(stack, status="idle", klippy_state="ready")
    told(stack, seq, "job_started", "klippy_disconnected", "klippy_ready", "job_failed")
    events = told(stack, seq, "job_record")
    assert job_events(stack, seq) == ["job_started", "job_failed"]
    assert [e["data"]["filename"] for e in events if e["kind"] == "job_record"] == ["long.gcode"]
    assert stack.wait_result(stack.count_once("after_a_restart")).status == "done"


def test_the_power_goes_in_mid_print(stack: FaultyStack) -> None:
    """Moonraker, Klippy and the board at one moment: no last words of anybody."""
    seq = stack.last_seq()
    begin_long_job(stack)
    stack.moonraker.kill()
    stack.klippy.kill()
    stack.klippy.mcu.dead()
    waiting = stack.count_once("across_the_power_cut")
    stack.calm()
    stack.moonraker.start()
    wait_hub(stack, status="idle", klippy_state="ready")
    assert stack.wait_result(waiting).status == "done"
    assert stack.klippy.count("across_the_power_cut") == 1
    assert stack.klippy.query("extruder")["target"] == 0
    told(stack, seq, "job_started", "job_failed", killed=True)
    assert job_events(stack, seq) == ["job_started", "job_failed"]


def test_temperatures_that_are_no_numbers(stack: FaultyStack) -> None:
    """A sensor that reads NaN: Klippy passes it on, and its limits do not catch it."""
    wait_hub(stack, klippy_state="ready")
    assert newest(stack)["sensors"]["temperature_sensor board"] == 31.5
    try:
        stack.measure(float("nan"))
        stack.hub.wait_for(
            lambda: newest(stack)["sensors"].get("temperature_sensor board") != 31.5,
            PATIENCE,
            "the reading to be gone",
        )

        # The heater is read by a timer of its own.
        def in_klippy() -> bool:
            reading = stack.moonraker.objects("heater_generic enclosure")
            return math.isnan(reading["heater_generic enclosure"]["temperature"])

        def at_hub() -> dict[str, Any]:
            body = newest(stack)
            heater = body["heaters"]["heater_generic enclosure"]
            return body if heater["temperature"] == 0 else {}

        wait_until(in_klippy, PATIENCE, "the heater's reading to be no number")
        body = wait_until(at_hub, PATIENCE, "the heater's reading to be 0 at the hub")
        assert body["status"] == "idle"
        assert body["heaters"]["extruder"]["temperature"] > 0
        assert stack.wait_result(stack.count_once("no_number")).status == "done"
        stack.print_job()
        stack.wait_quiet()
        _, text, _ = stack.moonraker.request("GET", "/server/tecmedhub/status")
        assert b"NaN" not in text
    finally:
        stack.measure(31.5)
        stack.klippy.firmware_restart()  # Klippy's own mean of a heater stays NaN until then
    wait_hub(stack, status="idle", klippy_state="ready")


def test_klippy_finds_an_error_in_its_configuration(stack: FaultyStack) -> None:
    good = stack.klippy.config_file.read_text()
    try:
        stack.klippy.config_file.write_text(good + "\n[nonsense]\n")
        stack.moonraker.post("/printer/restart")
        body = wait_hub(stack, status="error", klippy_state="error")
        assert "nonsense" in body["state_message"]
        refused = stack.wait_result(stack.count_once("misconfigured"))
        assert refused.status == "refused"
        assert "nonsense" in refused.message
    finally:
        stack.klippy.config_file.write_text(good)
    # The hub itself can bring it back; as at a real printer, the button may have to be pressed
    # twice, since Klippy has not spoken with its board yet; it says so in one way or the other.
    for _ in range(2):
        restart = stack.wait_result(stack.hub.queue(stack.token, "firmware_restart"))
        if restart.status == "done":
            break
        said = ("Failed automated reset", "config as it is shutdown")
        assert any(words in restart.message for words in said), restart.message
    assert restart.status == "done", restart.message
    wait_hub(stack, status="idle", klippy_state="ready")
    assert stack.klippy.count("misconfigured") == 0


def test_klippy_stands_still_for_a_while(stack: FaultyStack) -> None:
    assert stack.klippy.klippy is not None
    os.kill(stack.klippy.klippy.pid, signal.SIGSTOP)
    try:
        command = stack.count_once("stood_still")
        stack.hub.wait_for(lambda: not stack.hub.waiting(stack.token), PATIENCE, "the delivery")
        stack.wait_flow()
        assert stack.do("snapshot").status == "done"
        assert stack.hub.result(stack.token, command) is None
    finally:
        os.kill(stack.klippy.klippy.pid, signal.SIGCONT)
    assert stack.wait_result(command).status in ("done", "failed", "refused")
    assert stack.klippy.count("stood_still") <= 1


def test_a_long_command_delays_nothing_else(stack: FaultyStack) -> None:
    """Homing that takes its time: pictures, status, downloads and the stop go past it."""
    slow = {"macro_name": "SLOW_MACRO", "params": {"SECONDS": 2 * PATIENCE}}
    command = stack.hub.queue(stack.token, "macro", **slow)
    behind = stack.count_once("behind_the_long_one")
    console = stack.klippy.console()
    console.wait_for("SLOW_MACRO started", PATIENCE)
    stack.wait_flow()
    assert stack.do("snapshot").status == "done"
    stack.hub.add_file("beside.gcode", JOB_TEXT, stack.token)
    fetched = stack.hub.queue(stack.token, "print", file="beside.gcode")
    wait_until((stack.gcodes / "beside.gcode").exists, PATIENCE, "the download")
    assert stack.hub.result(stack.token, command) is None
    stop = stack.hub.queue(stack.token, "emergency_stop")
    assert stack.wait_result(stop).status == "done"
    console.close()
    for number in (command, behind, fetched):
        result = stack.wait_result(number)
        assert result.status in ("failed", "refused"), (number, result.status, result.message)
    stack.calm()
    wait_hub(stack, status="idle", klippy_state="ready")
    assert stack.klippy.count("behind_the_long_one") == 0


JOB_TEXT = make_gcode(seconds=1, hotend=0, bed=0, home=False).encode()


def test_file_names_that_are_no_text(stack: FaultyStack) -> None:
    """What an old FAT stick leaves: bytes that are no UTF-8."""
    ugly = os.fsencode(stack.gcodes) + b"/\xff\xfe \xf0\x9f.gcode"
    stack.moonraker.stop()
    with open(ugly, "wb") as file:
        file.write(b"G4 P1\n")
    try:
        stack.moonraker.start()
        stack.moonraker.wait_klippy()
        (*_, last) = stack.wait_statuses(3, stack.time())
        names = [entry["name"] for entry in last.body["files"]]
        assert any(name.endswith(".gcode") and "?" in name for name in names), names
        assert json.dumps(last.body, ensure_ascii=False).encode("utf-8")
        assert stack.wait_result(stack.count_once("ugly_names")).status == "done"
    finally:
        os.unlink(ugly)
