"""Rows of the fault matrix: Moonraker itself goes and comes back; a fault inside the plugin."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import pytest

from tests.rig.hazards import HANGING_HOST
from tests.rig.klippy import RigError, wait_until
from tests.stack.fault_matrix.bench import PATIENCE, FaultyStack
from tests.stack.fault_matrix.test_printer import begin_long_job, job_events, told, wait_hub

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

# The plugin has two seconds (design); a busy machine may need more, but what waited for the hub or
# for a name would never be done within it.
LEAVES_WITHIN = 30.0
NEVER = 4 * LEAVES_WITHIN


def totals(stack: FaultyStack) -> dict[str, int]:
    state = json.loads((stack.moonraker.state_folder / "printer_state.json").read_text("utf-8"))
    found: dict[str, int] = state["totals"]
    return found


def test_sigterm_in_mid_print(stack: FaultyStack) -> None:
    seq = stack.last_seq()
    begin_long_job(stack)
    assert stack.moonraker.sigterm(LEAVES_WITHIN) == 0
    last = wait_hub(stack, status="offline")
    assert last["state_message"] == "Moonraker is stopping"
    before = totals(stack)
    waiting = stack.count_once("across_sigterm")
    stack.moonraker.start()
    wait_hub(stack, status="printing", current_file="long.gcode")
    assert stack.klippy.query("print_stats")["state"] == "printing"
    assert stack.wait_result(stack.hub.queue(stack.token, "cancel")).status == "done"
    assert stack.wait_result(waiting).status == "done"
    assert stack.klippy.count("across_sigterm") == 1
    told(stack, seq, "job_started", "job_cancelled")
    assert job_events(stack, seq) == ["job_started", "job_cancelled"]
    after = stack.status()["statistics"]["totals"]
    assert all(after[name] >= count for name, count in before.items()), (before, after)
    assert after["commands_executed"] == before["commands_executed"] + 2


def test_sigkill_in_mid_print(stack: FaultyStack) -> None:
    """What ran is told as interrupted and not run again; what waited is run, once."""
    seq = stack.last_seq()
    begin_long_job(stack)
    # It must still run when the kill comes.
    slow = {"macro_name": "SLOW_MACRO", "params": {"SECONDS": 8}, "confirm": True}
    with stack.hub.transaction():
        running = stack.hub.queue(stack.token, "macro", **slow)
        waiting = stack.count_once("across_sigkill")
    wait_until(lambda: executing(stack) == [running], PATIENCE, "the command to begin")
    stack.moonraker.kill()
    stack.moonraker.start()
    wait_hub(stack, status="printing", current_file="long.gcode")
    result = stack.wait_result(running)
    assert result.status == "interrupted"
    assert stack.wait_result(waiting).status == "done"
    assert stack.klippy.count("across_sigkill") == 1
    assert stack.wait_result(stack.hub.queue(stack.token, "cancel")).status == "done"
    told(stack, seq, "job_started", "job_cancelled", killed=True)
    assert job_events(stack, seq) == ["job_started", "job_cancelled"]


def executing(stack: FaultyStack) -> list[Any]:
    rows = stack.moonraker.get("/server/tecmedhub/commands")["commands"]
    return [row["id"] for row in rows if row["status"] in ("sent", "running")]


def test_in_process_restarts_in_mid_print_leave_nothing_behind(stack: FaultyStack) -> None:
    seq = stack.last_seq()
    begin_long_job(stack)
    before = settled(stack)
    assert before["hubs"] == 1
    for _ in range(3):
        stack.restart()
        wait_hub(stack, status="printing", current_file="long.gcode")
    nothing_more_than(stack, before)
    assert stack.wait_result(stack.count_once("after_restarts")).status == "done"
    assert stack.wait_result(stack.hub.queue(stack.token, "cancel")).status == "done"
    told(stack, seq, "job_started", "job_cancelled")
    assert job_events(stack, seq) == ["job_started", "job_cancelled"]


def settled(stack: FaultyStack) -> dict[str, Any]:
    """What the plugin has in the process while it does nothing in particular: seen twice alike."""
    seen: list[dict[str, Any]] = [{}]

    def alike() -> bool:
        seen.append(stack.probe())
        return seen[-1] == seen[-2]

    wait_until(alike, PATIENCE, "a quiet moment", poll=0.3)
    return seen[-1]


def nothing_more_than(stack: FaultyStack, before: dict[str, Any]) -> None:
    """Until the plugin has no more in the process than it had: what is under way may end."""

    def surplus() -> dict[str, Any]:
        found = {}
        for name, now in stack.probe().items():
            if name == "tasks":  # one may rest where another was at work: their number counts
                found[name] = max(len(now) - len(before[name]), 0)
            elif isinstance(now, list):
                found[name] = list((Counter(now) - Counter(before[name])).elements())
            else:
                found[name] = max(now - before[name], 0)
        return found

    try:
        wait_until(lambda: not any(surplus().values()), PATIENCE, "all to be gone")
    except RigError as error:
        raise AssertionError(f"{error}: {surplus()}") from error


def test_leaving_while_the_hub_hangs(stack: FaultyStack) -> None:
    stack.configure_live(json.dumps({"timeouts": {"server": NEVER}}))
    stack.faults.behave("hang")
    stack.faults.clear()
    stack.faults.wait_for_request("/api.php", timeout=PATIENCE)
    assert stack.moonraker.sigterm(LEAVES_WITHIN) == 0
    stack.faults.clear_behaviour()
    stack.moonraker.start()
    stack.wait_quiet()


def test_leaving_while_the_name_server_hangs(stack: FaultyStack) -> None:
    stack.hazards.hang_names()
    urls = [f"http://{HANGING_HOST.replace('hub', 'camera')}/snapshot.jpg"]
    override = {"server_url": f"http://{HANGING_HOST}/api.php", "camera": {"urls": urls}}
    stack.configure_live(json.dumps(override))
    stack.wait_warning("was not resolved within")
    assert stack.moonraker.sigterm(LEAVES_WITHIN) == 0
    stack.hazards.clear()
    stack.override.write_text("{}")
    stack.moonraker.start()
    stack.wait_quiet()


def test_leaving_within_an_outage_loses_nothing(stack: FaultyStack) -> None:
    seq = stack.last_seq()
    stack.wait_result(stack.count_once("before_the_outage"))
    stack.faults.refuse()
    stack.wait_warning("refuses connections")
    began = time.time()
    stack.print_job()
    ended = time.time()
    stack.moonraker.sigterm()
    stack.moonraker.start()
    stack.wait_warning("refuses connections")
    waiting = stack.count_once("over_the_outage")
    stack.faults.listen()
    assert stack.wait_result(waiting).status == "done"
    events = told(stack, seq, "hub_unreachable", "job_started", "job_finished", "hub_unreachable")
    for event in events:
        if event["kind"].startswith("job_"):
            assert began <= event["at"] <= ended + 5
    assert stack.klippy.count("over_the_outage") == 1
    assert job_events(stack, seq) == ["job_started", "job_finished"]


def test_a_job_ends_while_moonraker_is_away(stack: FaultyStack) -> None:
    """Klippy prints on without it; what became of the job is told when it is back."""
    seq = stack.last_seq()
    stack.put("alone.gcode", "G4 P500\n" * 16)  # long enough to be seen on a busy machine
    stack.print("alone.gcode")
    wait_hub(stack, status="printing", current_file="alone.gcode")
    stack.moonraker.kill()
    stack.klippy.wait_print("complete", PATIENCE)
    stack.moonraker.start()
    wait_hub(stack, status="idle", print_state="complete")
    told(stack, seq, "job_started", "job_finished", killed=True)
    assert job_events(stack, seq) == ["job_started", "job_finished"]


def test_the_state_file_is_whole_whenever_one_looks(stack: FaultyStack) -> None:
    path = stack.moonraker.state_folder / "printer_state.json"
    stamps = set()

    def looked_at_often() -> bool:
        content = json.loads(path.read_text("utf-8"))
        assert content["client_version"] and content["totals"]["updates_sent"] > 0
        stamps.add(path.stat().st_ino)
        return len(stamps) >= 4  # a new file each time it is written

    wait_until(looked_at_often, PATIENCE, "four writings", poll=0.0005)


@pytest.mark.parametrize("what", ["status", "commands"])
def test_a_task_of_the_plugin_meets_a_fault(stack: FaultyStack, what: str) -> None:
    stack.traces_expected = True

    def failures() -> int:
        return int(stack.status()["task_failures"].get(what, 0))

    before = failures()
    for count in (1, 2):
        stack.moonraker.post("/server/probe/break", {"what": what})
        wait_until(
            lambda wanted=before + count: failures() == wanted, PATIENCE, "the fault to be met"
        )
        # It begins anew by itself, and all goes on.
        command = stack.count_once(f"after_a_fault_in_{what}{count}")
        assert stack.wait_result(command).status == "done"
        stack.wait_flow(2)
    sentence = f"The task '{what}' failed and starts again: ZeroDivisionError"
    assert stack.log_since_start().count(sentence) == 1
    assert stack.log_since_start().count("Traceback") >= 1


def test_requests_that_nobody_answers_are_not_left_open(stack: FaultyStack) -> None:
    """An outage of many attempts leaves neither connections nor tasks behind."""
    before = settled(stack)
    stack.faults.behave("hang")
    stack.faults.clear()
    stack.faults.wait_for_request("/api.php", count=8, timeout=PATIENCE)
    stack.faults.clear_behaviour()
    stack.wait_quiet()
    nothing_more_than(stack, before)
