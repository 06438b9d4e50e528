"""What is told of a command is what happened, and a repetition is a repetition only."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator

import pytest

from tests.rig.gcode import make_gcode
from tests.rig.klippy import short_folder
from tests.rig.stack import Stack
from tests.stack.test_engine import in_background, klippy_ran, one_reply, put, result, state, told

pytestmark = pytest.mark.stack


def test_a_cancel_of_forty_seconds_is_told_as_running_and_then_done(
    make_stack: Callable[..., Stack],
) -> None:
    stack = make_stack(features={"command_results": True})
    put(stack)
    assert stack.do("print_local", file="cube.gcode").status == "done"
    in_background(stack, "SLOW_MACRO SECONDS=40")
    cancel = stack.hub.queue(stack.token, "cancel")
    done = result(stack, cancel, 80)
    assert (done.status, told(stack, cancel)) == ("done", ["running", "done"])
    assert state(stack) == "cancelled"


def test_a_firmware_restart_is_done_when_klippy_has_come_back(stack: Stack) -> None:
    script = in_background(stack, "SLOW_MACRO SECONDS=8")
    asked = stack.hub.queue(stack.token, "firmware_restart")
    script.join(30)
    assert stack.hub.result(stack.token, asked) is None
    assert result(stack, asked, 60).status == "done"
    assert stack.klippy.state() == "ready"


def test_a_job_that_cancels_itself_at_once_is_told_so(stack: Stack) -> None:
    stack.put("no.gcode", "CANCEL_PRINT\n")
    found = stack.do("print_local", file="no.gcode")
    assert (found.status, "cancelled at once" in found.message) == ("failed", True)


def test_what_ran_as_klippy_ended_is_interrupted_and_what_waited_is_refused(stack: Stack) -> None:
    ran, waited = one_reply(
        stack,
        ("macro", {"macro_name": "SLOW_MACRO", "params": {"SECONDS": 30}}),
        ("heat", {"bed_temp": 45}),
    )
    stack.moonraker.wait(
        lambda: any(s.startswith("SLOW_MACRO") for s in klippy_ran(stack)), 20, "the macro"
    )
    stack.klippy.kill()
    assert result(stack, ran).status == "interrupted"
    refused = result(stack, waited)
    assert (refused.status, "before its turn" in refused.message) == ("refused", True)
    stack.klippy.start()
    stack.moonraker.wait_klippy()
    assert stack.do("set_speed", speed=110, timeout=40).status == "done"
    assert stack.klippy.query("heater_bed")["target"] == 0


def test_known_ids_of_a_hub_made_anew_are_other_commands(
    make_stack: Callable[..., Stack],
) -> None:
    stack = make_stack(generation=2)

    def ask(text: str) -> str:
        stack.hub._db.execute("DELETE FROM commands")
        stack.hub._db.execute("DELETE FROM sqlite_sequence WHERE name = 'commands'")
        number = stack.hub.queue2(stack.token, "gcode", text)
        before = len(stack.hub.results(stack.token))
        stack.moonraker.wait(
            lambda: len(stack.hub.results(stack.token)) > before, 20, f"a result of {text}"
        )
        return f"{number} {stack.hub.results(stack.token)[-1].status}"

    first, second = ask("M220 S110"), ask("M220 S120")
    assert first == second == f"{first.split()[0]} done"
    assert stack.klippy.query("gcode_move")["speed_factor"] == 1.2
    assert "another command under the known id" in stack.moonraker.log_text() + plugin_log(stack)


def plugin_log(stack: Stack) -> str:
    path = stack.moonraker.logs / "tecmedhub.log"
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def test_the_same_id_after_a_move_to_another_port_is_another_command(stack: Stack) -> None:
    assert stack.do("set_speed", id="same", timestamp=0, speed=110).status == "done"
    stack.klippy.gcode("M220 S100")
    moved = stack.server_url.replace("127.0.0.1", "localhost")
    stack.configure(server_url=moved)
    stack.hub.queue(stack.token, "set_speed", id="same", timestamp=0, speed=110)
    stack.moonraker.wait(
        lambda: stack.klippy.query("gcode_move")["speed_factor"] == 1.1, 20, "it to be run"
    )


@pytest.mark.parametrize("how", ["resume", "cancel", "print"])
def test_a_job_paused_by_m25_can_go_on_end_and_be_replaced(stack: Stack, how: str) -> None:
    lines = make_gcode(seconds=8, layers=2, m73=False, hotend=0, bed=0).split("\n")
    at = lines.index(";LAYER_CHANGE", lines.index(";LAYER_CHANGE") + 1)
    lines[at:at] = ["M25"]
    stack.put("p.gcode", "\n".join(lines))
    assert stack.do("print_local", file="p.gcode").status == "done"
    stack.klippy.wait_print("paused", 60)
    if how == "resume":
        assert stack.do("resume", timeout=50).status == "done"
        stack.klippy.wait_print("complete", 60)
        return
    done = stack.do("cancel", timeout=50)
    assert (done.status, state(stack) in ("cancelled", "standby")) == ("done", True), done.body
    if how == "print":
        put(stack, "q.gcode", seconds=3)
        assert stack.do("print_local", file="q.gcode", timeout=40).status == "done"


def test_a_pause_pressed_while_idle_does_not_keep_the_next_job_from_being_paused(
    stack: Stack,
) -> None:
    stack.klippy.gcode("PAUSE")
    put(stack)
    assert stack.do("print_local", file="cube.gcode").status == "done"
    assert stack.do("pause").status == "done"
    assert state(stack) == "paused"
    assert stack.do("resume").status == "done"


def test_a_queued_print_says_whether_it_will_begin(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack()
    put(stack, "one.gcode", seconds=5)
    put(stack, "two.gcode", seconds=5)
    assert stack.do("print_local", file="one.gcode").status == "done"
    found = stack.do("print_local", file="two.gcode", queue=True)
    assert (found.status, "automatic_transition" in found.message) == ("done", True)
    stack.klippy.wait_print("complete", 60)
    alone = stack.do("print_local", file="one.gcode", queue=True)
    assert "does not start by itself" in alone.message  # behind what waits there: no overtaking
    stack.moonraker.delete("/server/job_queue/job?all=true")
    assert stack.do("print_local", file="two.gcode", queue=True).message == "printing two.gcode"


def test_a_queue_that_goes_on_by_itself_prints_what_was_queued(
    make_stack: Callable[..., Stack],
) -> None:
    stack = make_stack(sections="[job_queue]\nautomatic_transition: True\n")
    put(stack, "one.gcode", seconds=5)
    put(stack, "two.gcode", seconds=5)
    assert stack.do("print_local", file="one.gcode").status == "done"
    found = stack.do("print_local", file="two.gcode", queue=True)
    assert (found.status, "it begins when" in found.message) == ("done", True)
    stack.moonraker.wait(
        lambda: stack.klippy.query("print_stats")["filename"] == "two.gcode", 60, "the second job"
    )


BEDS = """
[gcode_macro BED_CLEAR]
gcode:
    {action_call_remote_method("tecmedhub_bed_clear")}
[gcode_macro HIDDEN_CLEAR]
gcode:
    {% set call = "BED_CLEAR" %}
    {call}
[gcode_macro MY_PRINT]
gcode:
    SDCARD_PRINT_FILE FILENAME={params.FILE}
[gcode_macro SDCARD_PRINT_FILE]
rename_existing: SDCARD_PRINT_FILE_BASE
variable_held: False
gcode:
    {% if held %}
    RESPOND MSG="handed over"
    TEMPERATURE_WAIT SENSOR="temperature_sensor chamber" MINIMUM=40
    {% endif %}
    SDCARD_PRINT_FILE_BASE {rawparams}
"""


@pytest.fixture(scope="module")
def _beds() -> Iterator[Stack]:
    options = {"security_require_clear_bed": True}
    with short_folder("s") as folder, Stack(folder, options=options, extra_config=BEDS) as stack:
        yield stack


@pytest.fixture
def beds(_beds: Stack) -> Stack:
    """`security.require_clear_bed` and BEDS, as new."""
    _beds.reset()
    return _beds


def test_the_hub_cannot_open_the_latch_nor_print_past_it(beds: Stack) -> None:
    stack = beds
    put(stack, seconds=3)
    assert stack.do("print_local", file="cube.gcode").status == "done"
    stack.klippy.wait_print("complete", 60)
    console = stack.klippy.console()
    for macro, params in (
        ("BED_CLEAR", {}),
        ("MY_PRINT", {"FILE": "cube.gcode"}),
        ("HIDDEN_CLEAR", {}),
    ):
        refused = stack.do("macro", macro_name=macro, params=params)
        assert refused.status == "refused", refused.body
    assert stack.do("print_local", file="cube.gcode").status == "refused"
    slow = stack.hub.queue(stack.token, "macro", macro_name="SLOW_MACRO", params={"SECONDS": 3})
    console.wait_for("SLOW_MACRO started", 20)
    stack.klippy.gcode("BED_CLEAR")  # who let it run, nobody can tell while the hub is at work
    assert result(stack, slow).status == "done"
    assert stack.do("print_local", file="cube.gcode").status == "refused"
    time.sleep(11)
    stack.klippy.gcode("BED_CLEAR")
    assert stack.do("print_local", file="cube.gcode").status == "done"


def test_a_print_that_was_handed_over_to_be_seen_by_nobody_closes_the_latch(beds: Stack) -> None:
    """Moonraker is killed before the job begins; before it is back the job is over, and a person
    has taken it off the virtual SD card."""
    put(beds, seconds=1)
    beds.klippy.gcode("SET_GCODE_VARIABLE MACRO=SDCARD_PRINT_FILE VARIABLE=held VALUE=True")
    console = beds.klippy.console()
    printed = beds.hub.queue(beds.token, "print_local", file="cube.gcode")
    console.wait_for("handed over", 20)
    beds.moonraker.kill()
    assert state(beds) == "standby"
    beds.klippy.mcu.ambient(60, "chamber")
    beds.klippy.wait_print("complete", 60)
    beds.klippy.mcu.ambient(25, "chamber")
    beds.klippy.gcode(
        "SDCARD_RESET_FILE\nSET_GCODE_VARIABLE MACRO=SDCARD_PRINT_FILE VARIABLE=held VALUE=False"
    )
    beds.moonraker.start()
    beds.moonraker.wait_klippy()
    assert result(beds, printed).status == "interrupted"
    refused = beds.do("print_local", file="cube.gcode")
    assert (refused.status, "bed" in refused.message) == ("refused", True), refused.body
    assert beds.moonraker.get("/server/history/totals")["job_totals"]["total_jobs"] == 0


def test_an_expired_stop_left_over_by_a_crash_ends_no_start(stack: Stack) -> None:
    stack.moonraker.kill()
    with sqlite3.connect(stack.moonraker.state_folder / "tecmedhub.db") as db:
        for number, action in enumerate(("emergency_stop", "fly", "print")):
            db.execute(
                "INSERT INTO commands (key, id, action, summary, command, status, received_at)"
                " VALUES (?, ?, ?, '', '{broken', 'received', ?)",
                (f"1:x:{number}|0", f'"left{number}"', action, time.time() - 3600),
            )
    db.close()
    stack.moonraker.start()
    stack.moonraker.wait_klippy()
    assert stack.do("set_speed", speed=120).status == "done"
    for number in range(3):
        assert result(stack, f"left{number}").status in ("expired", "refused")


def test_more_than_fifty_commands_in_one_reply_are_answered(
    make_stack: Callable[..., Stack],
) -> None:
    stack = make_stack(options={"security_rate_limit_seconds": 0})
    ids = one_reply(stack, *[("set_speed", {"speed": 100 + n % 50}) for n in range(60)])
    found = [result(stack, command, 60) for command in ids]
    assert {r.status for r in found[:50]} == {"done"}
    assert {(r.status, "More than 50" in r.message) for r in found[50:]} == {("refused", True)}
