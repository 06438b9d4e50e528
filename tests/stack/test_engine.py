"""Nothing comes between a verdict and its hand-over, and nothing reaches a job unasked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.rig.gcode import make_gcode
from tests.rig.stack import Stack

pytestmark = pytest.mark.stack

FINAL = {"done", "failed", "refused", "expired", "interrupted"}


def result(stack: Stack, command: Any, timeout: float = 60) -> Any:
    """Its final result."""

    def final() -> Any:
        found = stack.hub.result(stack.token, command)
        return found if found is not None and found.status in FINAL else None

    return stack.moonraker.wait(final, timeout, f"the result of {command}")


def told(stack: Stack, command: Any) -> list[str]:
    """Every status that the hub was told of, in order."""
    return [r.status for r in stack.hub.results(stack.token) if str(r.id) == str(command)]


def one_reply(stack: Stack, *commands: tuple[str, dict[str, Any]]) -> list[Any]:
    with stack.hub.transaction():
        return [stack.hub.queue(stack.token, action, **given) for action, given in commands]


def state(stack: Stack) -> str:
    return str(stack.klippy.query("print_stats")["state"])


def klippy_ran(stack: Stack) -> list[str]:
    """The scripts that Klippy was given through Moonraker, oldest first."""
    store = stack.moonraker.get("/server/gcode_store", count=300)["gcode_store"]
    return [row["message"] for row in store if row["type"] == "command"]


def put(stack: Stack, name: str = "cube.gcode", **given: Any) -> None:
    stack.put(name, make_gcode(**{"seconds": 60, "hotend": 0, "bed": 0, **given}))


def in_background(stack: Stack, script: str) -> threading.Thread:
    """A person's script, as from Mainsail's console; returns when Klippy has it."""
    before = len(klippy_ran(stack))
    thread = threading.Thread(target=stack.moonraker.gcode, args=(script,), daemon=True)
    thread.start()
    stack.moonraker.wait(lambda: len(klippy_ran(stack)) > before, 10, "the person's script")
    return thread


@pytest.mark.parametrize("second", ["home", "cool_down", "macro"])
def test_what_follows_a_print_in_one_reply_never_reaches_the_job(stack: Stack, second: str) -> None:
    put(stack)
    for _ in range(3):
        given = {"macro_name": "SLOW_MACRO"} if second == "macro" else {}
        first, other = one_reply(stack, ("print_local", {"file": "cube.gcode"}), (second, given))
        refused = result(stack, other)
        assert (refused.status, "about to begin" in refused.message) == ("refused", True)
        assert result(stack, first).status == "done"
        assert state(stack) == "printing"
        assert not [s for s in klippy_ran(stack) if s.startswith(("G28", "TURN_OFF", "SLOW"))]
        assert stack.do("cancel").status == "done"


def test_a_persons_print_queued_behind_their_script_meets_no_homing(stack: Stack) -> None:
    """Klippy's own queue is a seam: home is not handed over while somebody's script runs."""
    put(stack)
    script = in_background(stack, "SLOW_MACRO SECONDS=4")
    person = threading.Thread(target=stack.print, args=("cube.gcode",), daemon=True)
    person.start()
    home = stack.hub.queue(stack.token, "home")
    script.join(30)
    person.join(30)
    refused = result(stack, home)
    assert (refused.status, "would disturb the job" in refused.message) == ("refused", True)
    assert "G28" not in klippy_ran(stack)
    assert state(stack) == "printing"


def test_a_print_waits_for_a_busy_klippy_and_begins_then(stack: Stack) -> None:
    put(stack)
    in_background(stack, "SLOW_MACRO SECONDS=35")
    asked = stack.hub.queue(stack.token, "print_local", file="cube.gcode")
    found = result(stack, asked, 70)
    assert (found.status, told(stack, asked)) == ("done", ["done"])
    assert state(stack) == "printing"


def test_a_print_that_a_busy_klippy_kept_too_long_expires_and_never_begins(
    make_stack: Callable[..., Stack],
) -> None:
    stack = make_stack(options={"expiry_print": 5})
    put(stack)
    script = in_background(stack, "SLOW_MACRO SECONDS=12")
    found = result(stack, stack.hub.queue(stack.token, "print_local", file="cube.gcode"))
    assert (found.status, "Klippy worked on something else" in found.message) == ("expired", True)
    script.join(30)
    time.sleep(2)  # what would begin now, would begin at once
    assert state(stack) == "standby"


def test_print_then_cancel_and_cancel_then_print(stack: Stack) -> None:
    put(stack)
    print_, cancel = one_reply(stack, ("print_local", {"file": "cube.gcode"}), ("cancel", {}))
    cancelled = result(stack, cancel)
    assert cancelled.status == "done"
    begun = result(stack, print_)
    assert (begun.status, state(stack)) in (("refused", "standby"), ("done", "cancelled"))
    assert stack.do("print_local", file="cube.gcode").status == "done"
    cancel, print_ = one_reply(stack, ("cancel", {}), ("print_local", {"file": "cube.gcode"}))
    assert result(stack, cancel).status == "done"
    begun = result(stack, print_)
    assert begun.status == "done", begun.body
    assert state(stack) == "printing"


def test_a_cancel_ends_the_download_of_a_print_that_has_not_begun(stack: Stack) -> None:
    data = make_gcode(seconds=30).encode() + b"; padding\n" * 200_000
    stack.hub.add_file("big.gcode", data, stack.token)
    stack.hub.fault("download_file", "download", times=1, rate=100_000)
    print_ = stack.hub.queue(stack.token, "print", file="big.gcode")
    stack.moonraker.wait(
        lambda: (stack.hub.status(stack.token) or {}).get("download"), 20, "the download to begin"
    )
    cancelled = stack.do("cancel")
    assert (cancelled.status, "big.gcode" in cancelled.message) == ("done", True)
    assert result(stack, print_).status == "refused"
    assert state(stack) == "standby"
    assert not (stack.gcodes / "big.gcode").exists()


def test_in_a_job_nothing_cools_moves_or_holds_without_a_confirmation(stack: Stack) -> None:
    put(stack, seconds=180, hotend=60, bed=45)
    assert stack.do("print_local", file="cube.gcode").status == "done"
    stack.moonraker.wait(  # the job's own M109 would undo a target that is set before it
        lambda: stack.klippy.query("print_stats")["info"]["current_layer"], 60, "the first layer"
    )
    assert stack.klippy.query("extruder")["target"] == 60
    asked: list[tuple[str, dict[str, Any]]] = [
        ("heat", {"hotend_temp": 0, "bed_temp": 0}),
        ("heat", {"bed_temp": 0}),
        ("cool_down", {}),
        *(
            ("gcode", {"gcode": script})
            for script in ("M104 S0", "M140 S0", "G4 P15000", "M109 S45", "M190 S20", "G1 X5")
        ),
        ("macro", {"macro_name": "END_PRINT"}),
        ("macro", {"macro_name": "SLOW_MACRO"}),
    ]
    for command in one_reply(stack, *asked):
        found = result(stack, command)
        assert (found.status, "confirm: true" in found.message) == ("refused", True), found.body
    for script, bound in (
        ("M220 S1", "50 to 200"),
        ("M221 S5", "75 to 125"),
        ("M104 S999", "0 to"),
    ):
        found = stack.do("gcode", gcode=script)
        assert (found.status, bound in found.message) == ("refused", True), found.body
    assert stack.do("gcode", gcode="M104 S65").status == "done"
    assert stack.do("set_speed", speed=90).status == "done"
    assert stack.klippy.query("extruder")["target"] == 65
    assert stack.klippy.query("heater_bed")["target"] == 45


def test_nothing_moves_a_head_that_a_person_adjusts_by_hand(stack: Stack) -> None:
    put(stack)
    stack.klippy.gcode("G28\nMANUAL_PROBE")
    refused = stack.do("home")
    assert (refused.status, "adjusts the printer by hand" in refused.message) == ("refused", True)
    assert stack.do("print_local", file="cube.gcode").status == "refused"
    assert stack.klippy.query("manual_probe")["is_active"]
    stack.klippy.gcode("ABORT")
    assert stack.do("home").status == "done"


def test_what_was_meant_for_one_job_does_not_reach_the_next(stack: Stack) -> None:
    put(stack)
    before = stack.hub.now() - 20  # somebody at the page, who saw another job
    stack.print("cube.gcode")
    stack.moonraker.wait(lambda: state(stack) == "printing", 20, "a person's job")
    for action, more in (("cancel", {}), ("home", {"confirm": True})):
        refused = stack.do(action, timestamp=before, **more)
        found = (refused.status, "meant for this job" in refused.message)
        assert found == ("refused", True), refused.body
    assert state(stack) == "printing"
    assert stack.do("macro", macro_name="CANCEL_PRINT").status == "done"
    assert state(stack) == "cancelled"
    for macro, params, why in (
        ("CANCEL_PRINT", {}, "means a job that is"),
        ("LOAD_FILAMENT", {"TEMP": "nan"}, "send a number"),
    ):
        refused = stack.do("macro", macro_name=macro, params=params)
        assert (refused.status, why in refused.message) == ("refused", True), refused.body
