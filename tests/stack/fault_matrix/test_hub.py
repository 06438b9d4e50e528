"""Rows of the fault matrix: the hub, and the way to it.

In each the printer prints a job and the hub is given a command while it cannot be talked to. What
the hub must know afterwards is the same in all (`Outage.check`): every event with its own time and
number, the newest status, the command carried out once; the warning has named the fault, stood for
as long as it did, and was logged once.
"""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from components.commands.emergency import REPEATED
from tests.rig.faults import UNKNOWN_HOST, FaultServer
from tests.rig.hazards import FOUND_HOST, HANGING_HOST
from tests.rig.klippy import wait_until
from tests.stack.fault_matrix.bench import JOB, PATIENCE, TIMEOUT, FaultyStack, Outage

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

Begin = Callable[[FaultyStack], None]
SILENT = f"did not answer within {TIMEOUT:g} s"
# What a damaged reply is made of: the hub itself is not asked, and keeps its commands.
LONG_REPLY = {"success": True, "message": "x" * 600, "commands": []}


def behaves(mode: str, **params: Any) -> Begin:
    return lambda stack: stack.faults.behave(mode, **params)


OUTAGES: dict[str, tuple[Begin, str]] = {
    "refuses": (lambda stack: stack.faults.refuse(), "127.0.0.1 refuses connections at port"),
    "drops packets": (lambda stack: stack.faults.blackhole(), "No connection to 127.0.0.1 within"),
    "hangs at accept": (behaves("hang_accept"), SILENT),
    "hangs": (behaves("hang"), SILENT),
    "hangs in the body": (behaves("hang_body", reply=LONG_REPLY), "began to answer and did not"),
    "closes without a word": (behaves("close"), "closed the connection before its answer"),
    "resets": (behaves("reset"), "127.0.0.1"),
    "answers 500": (behaves("status", code=500), "answered HTTP 500: look into the server's PHP"),
    "answers 404": (behaves("status", code=404), "answered HTTP 404: check the path in server_url"),
    "answers nothing": (behaves("empty"), "sent an empty answer"),
    "answers HTML": (behaves("html"), "a web page instead of JSON"),
    "cuts its JSON short": (behaves("truncated", reply=LONG_REPLY), "JSON that is cut short"),
    "breaks off": (behaves("cut", reply=LONG_REPLY), "closed the connection before its answer"),
    "sends too much": (behaves("huge", size=3 << 20), "sent more than 256 KiB"),
    "sends without end": (behaves("endless_chunks"), "sent more than 256 KiB"),
    "sends headers without end": (behaves("endless_headers"), "127.0.0.1"),
    # It is not unpacked: nobody asked for it.
    "sends a gzip bomb": (behaves("gzip_bomb", size=8 << 20), "is not the hub's JSON"),
    "drips": (behaves("drip", reply=LONG_REPLY, interval=0.05), "began to answer and did"),
    "speaks no HTTP": (behaves("garbage"), "127.0.0.1"),
    "knows no such token": (
        lambda stack: stack.hub.set(tokens=["another"]),
        'refuses: "',
    ),
    "is a proxy without its hub": (lambda stack: stack.hub.kill(), "answered HTTP 502"),
}


@pytest.mark.parametrize("row", OUTAGES)
def test_the_hub(stack: FaultyStack, row: str) -> None:
    live_through(stack, row)


def live_through(stack: FaultyStack, row: str) -> None:
    """One of `OUTAGES`, from its begin to the hub's return."""
    begin, words = OUTAGES[row]
    outage = Outage(stack, words)
    begin(stack)
    outage.live_through()
    end(stack)
    outage.check()


def end(stack: FaultyStack) -> None:
    """The fault, whatever it was, is over."""
    stack.faults.end_fault()
    stack.faults.listen()
    stack.hub.thaw()
    if not stack.hub.running:
        stack.hub.restart()
    stack.hub.set(tokens=None)


def test_the_hub_redirects_and_the_token_goes_nowhere_else(stack: FaultyStack) -> None:
    outage = Outage(stack, "redirects to http://127.0.0.1:")
    with FaultServer() as elsewhere:
        stack.faults.behave("redirect", to=elsewhere.url("/api.php?secret=1"), code=301)
        outage.live_through()
        assert elsewhere.requests() == []
        assert "secret" not in outage.warning
    end(stack)
    outage.check()


def test_the_hub_is_frozen(stack: FaultyStack) -> None:
    """Its machine stands still with requests in hand, and answers them to nobody later on.

    What it hands out in such an answer is lost, since it forgets as it hands out; so the command
    here comes after those answers.
    """
    outage = Outage(stack, SILENT)
    stack.hub.freeze()
    outage.live_through(order=False)
    end(stack)
    stack.wait_quiet()
    outage.order()
    outage.check()


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_the_hub_is_busy_and_is_left_alone_for_as_long_as_it_asks(
    stack: FaultyStack, form: str
) -> None:
    code, wait = (429, 6) if form == "seconds" else (503, 7)
    outage = Outage(stack, f"is busy (HTTP {code})")
    said = time.time()
    until = email.utils.formatdate(said + wait, usegmt=True)
    stack.faults.clear()
    stack.faults.behave("busy", code=code, retry_after=wait if form == "seconds" else until)
    (first, *_) = stack.faults.wait_for_request("/api.php", timeout=PATIENCE)

    def later() -> list[float]:
        asked = [seen.time - first.time for seen in stack.faults.requests("/api.php")]
        return [seconds for seconds in asked if seconds > 3]  # not those under way at that moment

    stack.faults.wait_for(lambda: bool(later()), PATIENCE, "the next request")
    # A date was said before it was heard, and has whole seconds; other attempts are 0.3 s apart.
    assert later()[0] > wait - (first.time - said if form == "date" else 0.0) - 1.1
    outage.live_through()
    end(stack)
    outage.check()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("self_signed", "(self-signed certificate)"),
        ("expired", "(certificate has expired)"),
        ("wrong_name", "(IP address mismatch, certificate is not valid for '127.0.0.1')"),
    ],
)
def test_the_hub_has_a_wrong_certificate(stack: FaultyStack, kind: str, words: str) -> None:
    outage = Outage(stack, f"No secure connection to 127.0.0.1 {words}")
    with FaultServer(stack.hub.port, tls=kind) as secure:
        if kind != "self_signed" and secure.certificate is not None:
            stack.trust(secure.certificate.authority)
        stack.configure_live(json.dumps({"server_url": secure.url("/api.php")}))
        outage.live_through()
        assert secure.requests() == []  # no token to whom nobody vouches for
        stack.configure_live("")
        outage.check()


def test_the_name_of_the_hub_is_unknown(stack: FaultyStack) -> None:
    outage = Outage(stack, f"The name {UNKNOWN_HOST} cannot be resolved")
    stack.configure_live(json.dumps({"server_url": f"http://{UNKNOWN_HOST}/api.php"}))
    outage.live_through()
    stack.configure_live("")
    outage.check()


def test_the_name_server_hangs(stack: FaultyStack) -> None:
    outage = Outage(stack, f"The name {HANGING_HOST} was not resolved within {TIMEOUT:g} s")
    stack.hazards.hang_names()
    stack.configure_live(json.dumps({"server_url": f"http://{HANGING_HOST}/api.php"}))
    outage.live_through()
    stack.configure_live("")
    outage.check()
    stack.hazards.clear()


def test_the_name_server_begins_to_hang_once_the_name_is_known(stack: FaultyStack) -> None:
    """The name is remembered for a while: nothing is amiss."""
    port = stack.faults.port
    stack.configure_live(json.dumps({"server_url": f"http://{FOUND_HOST}:{port}/api.php"}))
    wait_until(lambda: stack.status()["hub"]["host"] == FOUND_HOST, PATIENCE, "the new address")
    stack.wait_flow()
    assert stack.hazards.hits > 0
    stack.hazards.hang_names()
    stack.faults.drop_connections()
    stack.wait_flow()
    assert stack.do("home").status == "done"
    stack.hazards.clear()


# One endpoint of many: everything else goes on


def test_only_the_commands_are_stuck(stack: FaultyStack) -> None:
    stack.faults.behave("hang", "action=get_commands")
    warning = stack.wait_warning(SILENT)
    command = stack.count_once("stuck_commands")
    stack.print_job()
    stack.hub.wait_for(lambda: "job_finished" in kinds(stack), PATIENCE, "the job's end, meanwhile")
    stack.wait_flow()
    assert stack.klippy.count("stuck_commands") == 0
    assert warning in stack.moonraker.warnings()  # a status that arrives does not hide it
    end(stack)
    assert stack.wait_result(command).status == "done"
    assert stack.klippy.count("stuck_commands") == 1


def test_only_the_status_is_stuck(stack: FaultyStack) -> None:
    stack.faults.behave("hang", "/api.php")
    stack.faults.behave("pass", "action=get_commands")
    stack.wait_warning(SILENT)
    for number in range(3):  # what was carried out while its result could not be told
        stack.count_once(f"stuck_status{number}")
        stack.wait_counted(f"stuck_status{number}")
    told = len(stack.hub.results(stack.token))
    end(stack)
    stack.wait_quiet()
    done = [result.status for result in stack.hub.results(stack.token)[told:]]
    assert done == ["done"] * 3
    assert [stack.klippy.count(f"stuck_status{number}") for number in range(3)] == [1, 1, 1]


def test_only_the_results_are_refused_and_travel_with_the_status(stack: FaultyStack) -> None:
    stack.hub.fault("command_results", "html_500")
    command = stack.count_once("refused_results")
    result = stack.wait_result(command)
    assert (result.status, result.via) == ("done", "status")


def test_pictures_files_and_a_long_poll_are_stuck_together(stack: FaultyStack) -> None:
    stack.hub.set(features={**(stack.features or {}), "long_poll": 50})
    stack.configure_live(json.dumps({"timeouts": {"server": 120}}))
    for target in ("upload_image", "api_files"):
        stack.faults.behave("hang", target)
    stack.faults.clear()
    stack.hub.queue(stack.token, "print", file="stuck.gcode")
    for target in ("upload_image", "api_files", "wait=50"):
        stack.faults.wait_for_request(target, timeout=PATIENCE)
    stack.wait_flow()
    stack.count_once("beside_the_stuck")
    stack.wait_counted("beside_the_stuck")
    stack.wait_flow()
    stack.hub.queue(stack.token, "cancel_download", file="stuck.gcode")
    stack.hub.wait_for(
        lambda: "cancelled" in [r.message[-10:-1] for r in stack.hub.results(stack.token)],
        PATIENCE,
        "the end of the download",
    )


def test_a_download_crawls_and_delays_nothing(stack: FaultyStack) -> None:
    text = JOB.encode() + b";" + b"x" * 180_000 + b"\n"
    stack.hub.add_file("crawl.gcode", text, stack.token)
    stack.hub.fault("download_file", "download", rate=5_000)
    command = stack.hub.queue(stack.token, "print", file="crawl.gcode")
    stack.hub.wait_for(
        lambda: (newest(stack).get("download") or {}).get("file") == "crawl.gcode", PATIENCE
    )
    stack.count_once("during_the_crawl")
    stack.wait_counted("during_the_crawl")
    stack.wait_flow(2)
    assert stack.hub.result(stack.token, command) is None, "the download was to be slower"
    result = stack.wait_result(command)
    assert result.status == "done"
    assert result.message in ("printing crawl.gcode", "printed crawl.gcode")
    assert (stack.gcodes / "crawl.gcode").read_bytes() == text


def test_the_hub_goes_while_it_is_polled_for_long(stack: FaultyStack) -> None:
    stack.hub.set(features={**(stack.features or {}), "long_poll": 10})
    stack.faults.clear()
    stack.faults.wait_for_request("wait=", timeout=PATIENCE)  # less where one got lost before
    outage = Outage(stack, "HTTP 502")
    stack.hub.kill()
    outage.live_through()
    end(stack)
    outage.check()


def test_php_warns_before_its_json_and_nothing_is_amiss(stack: FaultyStack) -> None:
    stack.hub.fault("*", "warning")
    assert stack.do("set_speed", speed=120).status == "done"
    stack.wait_flow()
    stack.wait_quiet()
    assert stack.do("set_speed", speed=100).status == "done"


def test_a_command_of_a_lost_reply_comes_again_and_runs_once(stack: FaultyStack) -> None:
    stack.hub.set(features={**(stack.features or {}), "redeliver": 1})
    with stack.hub.transaction():
        stack.hub.fault("commands", "short", times=1)
        command = stack.count_once("redelivered")
    stack.hub.wait_for(
        lambda: getattr(stack.hub.result(stack.token, command), "status", "") == "done",
        PATIENCE,
        "the command to be done",
    )
    assert stack.klippy.count("redelivered") == 1
    came = [d for d in stack.hub.delivered(stack.token) if d.command["id"] == command]
    assert len(came) >= 2
    words = [r.status for r in stack.hub.results(stack.token) if str(r.id) == str(command)]
    assert words[-1] == "done" and set(words) <= {"received", "done"}


def test_a_stop_that_comes_again_until_its_result_is_heard_stops_once(stack: FaultyStack) -> None:
    """Somebody has restarted the firmware since: each repetition would stop what goes on now."""
    stack.hub.set(features={**(stack.features or {}), "redeliver": 1})
    stack.wait_flow()  # the printer has read that
    stack.hub.fault("status", "html_500")
    stack.hub.fault("command_results", "html_500")
    stop = stack.hub.queue(stack.token, "emergency_stop")
    stack.klippy.wait_state("shutdown", PATIENCE)
    stack.klippy.firmware_restart()
    stack.moonraker.wait_klippy()

    def came() -> list[float]:
        return [d.time for d in stack.hub.delivered(stack.token) if d.command["id"] == stop]

    # Beyond what counts as a repetition at any hub, and the one before the last was looked at.
    sent = came()[0]
    stack.hub.wait_for(
        lambda: sum(at > sent + REPEATED for at in came()) > 2, PATIENCE, "it to come again"
    )
    assert stack.hub.result(stack.token, stop) is None
    assert stack.klippy.state() == "ready"
    stack.hub.clear_faults()
    assert stack.wait_result(stop).status == "done"
    assert stack.klippy.state() == "ready"
    assert stack.wait_result(stack.count_once("after_the_stop")).status == "done"


def test_a_command_cut_off_on_its_way_is_not_run_in_part(stack: FaultyStack) -> None:
    """The hub has forgotten it, so nobody can run it; it must not be run by half."""
    stack.faults.behave("truncated", "action=get_commands", keep=0.9)
    with stack.hub.transaction():
        lost = stack.count_once("cut_off_first")
        stack.hub.queue(stack.token, "heat", hotend_temp=200)
    stack.hub.wait_for(lambda: not stack.hub.waiting(stack.token), PATIENCE, "the delivery")
    stack.wait_warning("JSON that is cut short")
    end(stack)
    after = stack.count_once("cut_off_after")
    assert stack.wait_result(after).status == "done"
    assert stack.hub.result(stack.token, lost) is None
    assert stack.klippy.count("cut_off_first") == 0
    assert stack.klippy.query("extruder")["target"] == 0


def test_the_hub_hands_a_command_out_twice(stack: FaultyStack) -> None:
    command = stack.count_once("twice")
    stack.wait_result(command)
    (first,) = [d for d in stack.hub.delivered(stack.token) if d.command["id"] == command]
    stack.hub.queue_raw(stack.token, first.command)
    stack.hub.wait_for(
        lambda: len([r for r in stack.hub.results(stack.token, every=True) if r.id == command]) > 1,
        PATIENCE,
    )
    assert stack.klippy.count("twice") == 1


def test_a_command_grows_too_old_while_the_hub_is_away(stack: FaultyStack) -> None:
    stack.faults.refuse()
    stack.wait_warning("refuses connections")
    long_ago = time.time() - 130
    old = stack.hub.queue(
        stack.token, "macro", macro_name="COUNT", params={"NAME": "old"}, timestamp=long_ago
    )
    young = stack.count_once("young")
    stack.faults.listen()
    assert stack.wait_result(old).status == "expired"
    assert stack.wait_result(young).status == "done"
    assert (stack.klippy.count("old"), stack.klippy.count("young")) == (0, 1)


def test_the_clock_of_the_hub_is_two_hours_ahead(stack: FaultyStack) -> None:
    stack.hub.set(clock_offset=7200)
    stack.wait_flow(2)
    fresh = stack.count_once("by_its_clock")
    assert stack.wait_result(fresh).status == "done"
    stale = stack.hub.queue(stack.token, "set_speed", speed=90, timestamp=stack.hub.now() - 130)
    assert stack.wait_result(stale).status == "expired"


def newest(stack: FaultyStack) -> dict[str, Any]:
    return stack.hub.status(stack.token) or {}


def kinds(stack: FaultyStack) -> list[str]:
    return [event.body["kind"] for event in stack.hub.events(stack.token)][-6:]
