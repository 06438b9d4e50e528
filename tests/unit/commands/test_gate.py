"""Nothing comes between a verdict and its hand-over; what waits and what begins is known."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from components.commands.wire import Command
from components.printer.snapshot import Job, KlippyState, Snapshot
from components.printer.verbs import JobQueue
from tests.unit.commands.support import Lab, objects, one, printing, ready, until
from tests.unit.fakes import settle


def begins(lab: Lab) -> None:
    """A person's print begins while Klippy is looked at."""
    lab.printer.meanwhile = lambda: None
    lab.printer.put(printing(filename="theirs.gcode"))


async def test_what_begins_while_klippy_is_looked_at_is_seen(lab: Lab) -> None:
    lab.printer.meanwhile = lambda: begins(lab)
    (result,) = await lab.run(one("home"))
    assert (result["status"], "theirs.gcode" in result["message"]) == ("refused", True)
    assert lab.printer.sent == []


@pytest.mark.parametrize("theirs", [False, True])
async def test_the_power_is_judged_by_what_klippy_says_in_that_turn(lab: Lab, theirs: bool) -> None:
    lab.secure(allowed_power_devices=("*",))
    if theirs:
        lab.printer.meanwhile = lambda: begins(lab)
    (result,) = await lab.run(one("power", device="printer", state="off", confirm=True))
    assert result["status"] == ("refused" if theirs else "done")
    assert lab.printer.sent == ([] if theirs else ["power printer off"])


async def test_what_begins_while_the_disk_is_busy_is_seen(lab: Lab) -> None:
    blocked = asyncio.Event()
    loop = asyncio.get_running_loop()
    await lab.take(one("home"))
    lab.database.post(lambda db: asyncio.run_coroutine_threadsafe(blocked.wait(), loop).result())
    lab.printer.put(printing(filename="theirs.gcode"))
    blocked.set()
    await lab.elapse(lambda: lab.results)
    assert lab.results[0]["status"] == "refused"
    assert lab.printer.sent == []


async def test_a_script_that_somebody_sends_meanwhile_is_waited_for(lab: Lab) -> None:
    """It may hold a print: what is handed over now would come behind that."""

    def somebody() -> None:
        lab.printer.meanwhile = lambda: None
        tasks.append(lab.printer.script("THEIRS"))

    tasks: list[Any] = []
    lab.printer.meanwhile = somebody
    end = lab.printer.hold("THEIRS")
    await lab.take(one("home"))
    await until(lambda: lab.printer.sent == ["THEIRS"])
    await lab.elapse(lambda: lab.clock.monotonic() > 1010)
    assert lab.printer.sent == ["THEIRS"]
    lab.printer.put(printing(filename="theirs.gcode"))  # their script began one
    end.set()
    await lab.elapse(lambda: lab.results)
    assert lab.results[0]["status"] == "refused"
    assert lab.printer.sent == ["THEIRS"]


async def test_a_print_waits_for_a_busy_klippy_in_time_or_expires(lab: Lab) -> None:
    lab.local.add("x.gcode")
    end = lab.printer.hold("THEIRS")
    theirs = lab.printer.script("THEIRS")
    await until(lambda: lab.printer.sent)
    now = lab.clock.time()
    await lab.take(
        one("print_local", 1, file="x.gcode", timestamp=now - 590),
        one("set_speed", 2, speed=90),
    )
    await lab.elapse(lambda: [r for r in lab.results if r["id"] == 1], step=2)
    assert lab.result(1)["status"] == "expired"
    assert "Klippy worked on something else" in lab.result(1)["message"]
    end.set()
    await theirs
    await lab.elapse(lambda: len(lab.results) == 2)
    assert lab.printer.sent == ["THEIRS", "M220 S90"]


async def test_a_klippy_that_does_not_answer_gets_nothing(lab: Lab) -> None:
    lab.printer.hung = True
    await lab.take(one("set_speed", 1, speed=90), one("home", 2))
    await lab.elapse(lambda: len(lab.results) == 2, step=2)
    assert {r["status"] for r in lab.results} == {"expired"}
    assert lab.printer.sent == []


@pytest.mark.parametrize("held", [False, True])
async def test_what_follows_a_print_is_judged_as_if_the_job_ran(lab: Lab, held: bool) -> None:
    lab.local.add("x.gcode")
    if held:
        lab.printer.hold("start")
    await lab.take(
        one("print_local", 1, file="x.gcode"),
        one("home", 2),
        one("gcode", 3, gcode="M104 S0"),
        one("set_speed", 4, speed=90),
        one("reboot", 5),
    )
    await lab.elapse(lambda: {r["id"] for r in lab.results} >= {2, 3, 4, 5})
    for number in (2, 3, 5):
        assert lab.result(number)["status"] == "refused"
        assert "x.gcode" in lab.result(number)["message"]
    assert lab.result(4)["status"] == "done"
    assert {"G28", "M104 S0", "reboot"}.isdisjoint(lab.printer.sent)


async def test_a_pause_of_a_print_that_is_about_to_begin_waits_for_it(lab: Lab) -> None:
    lab.local.add("x.gcode")
    await lab.run(one("print_local", 1, file="x.gcode"), one("pause", 2))
    assert lab.printer.sent == ["start x.gcode", "pause"]
    assert lab.printer.snapshot.paused


class Slow:
    """A download that takes until the test lets it end."""

    def __init__(self, lab: Lab) -> None:
        self.begun, self.end, self.cancelled = asyncio.Event(), asyncio.Event(), False
        lab.fetch = self.fetch

    async def fetch(self, request: Any) -> Any:
        self.begun.set()
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return SimpleNamespace(path=request.file, note="the newest copy")


async def test_a_cancel_keeps_a_print_from_beginning_and_ends_its_download(lab: Lab) -> None:
    slow = Slow(lab)
    await lab.restart()
    await lab.take(one("print", 1, file="x.gcode"))
    await slow.begun.wait()
    refused = await lab.run(one("pause", 2))
    assert "its file is on the way" in refused[0]["message"]
    await lab.take(one("cancel", 3))
    await lab.elapse(lambda: len(lab.results) == 3)
    assert lab.result(3)["status"] == "done"
    assert "x.gcode before it began" in lab.result(3)["message"]
    assert (lab.result(1)["status"], slow.cancelled) == ("refused", True)
    assert "cancel came before it began" in lab.result(1)["message"]
    assert lab.printer.sent == []


async def test_a_cancel_waits_for_a_print_that_is_handed_over_and_ends_it(lab: Lab) -> None:
    lab.local.add("x.gcode")
    end = lab.printer.hold("start")
    await lab.begin(one("print_local", 1, file="x.gcode"))
    await lab.take(one("cancel", 2))
    await lab.elapse(lambda: lab.clock.monotonic() > 1005)
    assert lab.printer.sent == ["start x.gcode"]
    end.set()
    await lab.elapse(lambda: len(lab.results) == 2)
    assert lab.printer.sent == ["start x.gcode", "cancel"]
    assert lab.result(2)["status"] == "done"


async def test_a_print_waits_for_the_cancel_before_it(lab: Lab) -> None:
    lab.local.add("x.gcode")
    lab.printer.put(printing())
    end = lab.printer.hold("cancel")
    await lab.begin(one("cancel", 1), one("print_local", 2, file="x.gcode"))
    await lab.elapse(lambda: lab.told)
    assert (lab.told[0]["id"], lab.told[0]["status"], lab.printer.sent) == (
        1,
        "running",
        ["cancel"],
    )
    end.set()
    await lab.elapse(lambda: len(lab.results) == 2)
    assert lab.printer.sent == ["cancel", "start x.gcode"]


async def test_the_time_of_the_download_does_not_make_a_print_older(lab: Lab) -> None:
    slow = Slow(lab)
    await lab.restart()
    await lab.take(one("print", 1, file="x.gcode", timestamp=lab.clock.time() - 300))
    await slow.begun.wait()
    lab.clock.advance(1200)
    slow.end.set()
    await lab.elapse(lambda: lab.results)
    assert lab.results[0]["message"] == "printing x.gcode (the newest copy)"


async def test_klippys_end_interrupts_what_ran_and_drops_what_waited(lab: Lab) -> None:
    end = lab.printer.hold("FALLS")
    lab.secure(allowed_gcode_patterns=("FALLS", "M*"))
    await lab.begin(one("gcode", 1, gcode="FALLS"), one("set_speed", 2, speed=90))
    lab.printer.change(klippy=KlippyState.DISCONNECTED, objects={})
    end.set()
    await lab.elapse(lambda: len(lab.results) == 2)
    assert lab.result(1)["status"] == "interrupted"
    assert lab.result(2)["status"] == "refused"
    lab.printer.put(ready())
    await lab.run(one("set_speed", 3, speed=120))
    assert lab.printer.sent == ["FALLS", "M220 S120"]


async def test_what_klippys_end_dropped_does_not_wait_for_the_next_run(lab: Lab) -> None:
    lab.printer.hold("FALLS")
    lab.secure(allowed_gcode_patterns=("FALLS",))
    await lab.begin(one("gcode", 1, gcode="FALLS"), one("set_speed", 2, speed=90))
    lab.printer.change(klippy=KlippyState.DISCONNECTED, objects={})
    await lab.restart()  # before it was refused
    await lab.elapse(lambda: len(lab.results) == 2)
    assert (lab.result(2)["status"], lab.printer.sent) == ("refused", [])


async def test_what_was_asked_of_a_klippy_in_shutdown_is_not_for_the_one_started_anew(
    lab: Lab,
) -> None:
    lab.printer.change(klippy=KlippyState.SHUTDOWN)
    stored = asyncio.Event()
    loop = asyncio.get_running_loop()
    lab.database.post(lambda db: asyncio.run_coroutine_threadsafe(stored.wait(), loop).result())
    taking = asyncio.ensure_future(lab.take(one("home", 1)))
    await asyncio.sleep(0)
    lab.printer.change(klippy=KlippyState.DISCONNECTED, objects={})
    lab.printer.put(ready())
    stored.set()
    await taking
    await lab.elapse(lambda: lab.results)
    assert (lab.results[0]["status"], lab.printer.sent) == ("refused", [])


async def test_a_firmware_restart_is_not_done_before_klippy_has_gone(lab: Lab) -> None:
    end = lab.printer.hold("firmware_restart")
    await lab.begin(one("firmware_restart", 1), one("set_speed", 2, speed=120))
    await lab.elapse(lambda: lab.told)
    assert (lab.told[0]["status"], lab.results) == ("running", [])
    end.set()
    await lab.elapse(lambda: len(lab.results) == 2)
    assert [r["status"] for r in lab.results] == ["done", "done"]


async def test_a_crash_across_a_boot_lets_nothing_wait_for_the_new_klippy(lab: Lab) -> None:
    lab.printer.hold("G28")
    await lab.begin(one("home", 1), one("set_speed", 2, speed=90), one("firmware_restart", 3))
    lab.boot = "boot-2"
    await lab.restart()
    await lab.elapse(lambda: len(lab.results) == 3)
    assert lab.result(1)["status"] == "interrupted"
    assert lab.result(2)["status"] == "refused"
    assert lab.printer.sent == ["firmware_restart"]


async def test_a_command_of_a_former_run_from_the_future_has_expired(lab: Lab) -> None:
    lab.printer.hold("G28")
    await lab.begin(one("home", 1), one("set_speed", 2, speed=90))
    lab.clock.wall -= 3600  # a router's page with another date, and no clock of our own
    await lab.restart()
    await lab.elapse(lambda: len(lab.results) == 2)
    assert lab.result(2)["status"] == "expired"
    assert lab.printer.sent == []


@pytest.mark.parametrize(
    ("queue", "busy", "sent", "said"),
    [
        (JobQueue(), False, "start x.gcode", "printing"),
        (JobQueue(), True, "queue x.gcode", "automatic_transition is off"),
        (JobQueue("ready", 1, True), True, "queue x.gcode", "it begins when"),
        (JobQueue("paused", 1, True), True, "queue x.gcode", "it is paused"),
        (JobQueue("ready", 1, True), False, "queue x.gcode and start", "has been started"),
        (JobQueue("paused", 1, False), False, "queue x.gcode", "does not start by itself"),
    ],
)
async def test_the_queue(lab: Lab, queue: JobQueue, busy: bool, sent: str, said: str) -> None:
    lab.local.add("x.gcode")
    lab.printer.job_queue = queue
    if busy:
        lab.printer.put(printing())
    (result,) = await lab.run(one("print_local", file="x.gcode", queue=True))
    assert lab.printer.sent == [sent]
    assert (result["status"], said in result["message"]) == ("done", True), result


async def test_a_job_paused_by_the_file_is_resumed_and_cancelled_by_what_works(lab: Lab) -> None:
    lab.printer.put(printing("paused", by_file=True))
    await lab.begin(one("resume", 1))
    assert lab.printer.sent == ["M24"]
    lab.printer.put(printing())
    await lab.elapse(lambda: lab.results)
    lab.printer.put(printing("paused", by_file=True))
    await lab.begin(one("cancel", 2))
    assert lab.printer.sent[1:] == ["CANCEL_PRINT\nSDCARD_RESET_FILE"]
    lab.printer.put(ready())
    await lab.elapse(lambda: len(lab.results) == 2)
    assert [r["status"] for r in lab.results] == ["done", "done"]


async def test_a_stale_pause_is_cleared_first(lab: Lab) -> None:
    stale = {"is_paused": True}
    lab.printer.put(printing()._replace(objects=objects(pause_resume=stale)))
    await lab.begin(one("pause", 1))
    assert lab.printer.sent == ["CLEAR_PAUSE\nPAUSE"]


async def test_a_print_that_is_cancelled_at_once_is_told_so(lab: Lab) -> None:
    lab.local.add("x.gcode")
    await lab.begin(one("print_local", file="x.gcode"))
    lab.printer.change(job=Job(state="cancelled", filename="x.gcode", total_duration=0.2))
    await lab.elapse(lambda: lab.results)
    assert (lab.results[0]["status"], "cancelled at once" in lab.results[0]["message"]) == (
        "failed",
        True,
    )


# The stop


async def test_a_stop_that_is_not_taken_is_told_and_sent_until_it_is(lab: Lab) -> None:
    lab.printer.hung = True
    began = lab.clock.monotonic()
    await lab.take(one("emergency_stop", 1))
    await lab.elapse(lambda: lab.told)
    assert lab.clock.monotonic() - began < 10
    assert (lab.told[0]["status"], "switch on the wall" in lab.told[0]["message"]) == (
        "running",
        True,
    )
    assert "switch on the wall" in lab.board.warnings["tecmedhub_emergency_stop"]
    sent = len(lab.printer.sent)
    assert sent >= 5
    await lab.elapse(lambda: len(lab.printer.sent) > sent + 1)
    assert lab.printer.off == []
    lab.printer.hung = False
    await lab.elapse(lambda: lab.results)
    assert lab.results[0]["status"] == "done"
    assert "tecmedhub_emergency_stop" not in lab.board.warnings


@pytest.mark.parametrize("error", ["", "unreachable"])
async def test_the_power_is_cut_where_the_operator_wants_it(lab: Lab, error: str) -> None:
    lab.secure(emergency_power_device="printer")
    lab.printer.hung, lab.printer.power_error = True, error
    began = lab.clock.monotonic()
    await lab.take(one("emergency_stop", 1))
    if not error:
        await lab.elapse(lambda: lab.printer.off)
        assert lab.clock.monotonic() - began < 5
    await lab.elapse(lambda: lab.told)
    assert lab.clock.monotonic() - began < 10
    told = ("running", "unreachable") if error else ("done", "was switched off")
    assert (lab.told[0]["status"], told[1] in lab.told[0]["message"]) == (told[0], True)
    assert lab.printer.off == ([] if error else ["printer"])


async def test_the_power_stays_on_where_klippy_takes_it(lab: Lab) -> None:
    lab.secure(emergency_power_device="printer")
    await lab.run(one("emergency_stop", 1))
    await lab.elapse(lambda: lab.clock.monotonic() > 1030)
    assert lab.printer.off == []


@pytest.mark.slow
async def test_a_stop_without_a_klippy_has_failed_in_time_and_is_not_kept_for_the_next(
    lab: Lab,
) -> None:
    lab.printer.change(klippy=KlippyState.DISCONNECTED, objects={})
    lab.printer.errors = {"emergency_stop": "Klippy Host not connected"}
    began = lab.clock.monotonic()
    (result,) = await lab.run(one("emergency_stop", 1))
    assert lab.clock.monotonic() - began < 10
    assert (result["status"], "not connected" in result["message"]) == ("failed", True)
    sent = len(lab.printer.sent)
    lab.printer.errors = {}
    lab.printer.put(ready())
    await lab.elapse(lambda: lab.clock.monotonic() > began + 60)
    assert len(lab.printer.sent) == sent


async def test_a_power_device_that_is_not_there_is_told(lab: Lab) -> None:
    lab.secure(emergency_power_device="kettle")
    assert "kettle" in lab.board.warnings["tecmedhub_power_device"]
    lab.secure(emergency_power_device="printer")
    assert "tecmedhub_power_device" not in lab.board.warnings


@pytest.mark.parametrize("word", ["RESTART", "FIRMWARE_RESTART"])
async def test_a_restart_by_a_script_is_not_done_before_klippy_has_gone(
    lab: Lab, word: str
) -> None:
    lab.secure(allowed_gcode_patterns=("*",))
    verb = word.lower()
    end = lab.printer.hold(verb)
    await lab.begin(one("gcode", 1, gcode=word))
    await lab.elapse(lambda: lab.told)
    assert lab.results == []
    end.set()
    await lab.elapse(lambda: lab.results)
    assert (lab.results[0]["status"], lab.printer.sent) == ("done", [verb])


async def test_the_end_of_the_run_before_is_not_taken_for_that_of_this_one(lab: Lab) -> None:
    lab.local.add("x.gcode")
    before = Job(state="complete", filename="x.gcode", total_duration=5.0, progress=1.0)
    lab.printer.change(job=before)
    lab.printer.deaf = {"start"}
    await lab.begin(one("print_local", file="x.gcode"))
    lab.printer.change(job=before._replace(progress=0.0, layers=3))  # what is worked out may change
    await lab.elapse(lambda: lab.results)
    assert (lab.results[0]["status"], "did not begin" in lab.results[0]["message"]) == (
        "failed",
        True,
    )


async def test_a_print_during_whose_first_second_klippy_stops_is_told_so(lab: Lab) -> None:
    lab.local.add("x.gcode")
    await lab.begin(one("print_local", file="x.gcode"))
    await until(lambda: lab.printer.snapshot.busy)
    lab.printer.change(klippy=KlippyState.SHUTDOWN, message="ADC out of range")
    await lab.elapse(lambda: lab.results)
    assert (lab.results[0]["status"], "ADC out of range" in lab.results[0]["message"]) == (
        "failed",
        True,
    )


@pytest.mark.parametrize("action", ["reboot", "shutdown", "firmware_restart", "delete_file"])
async def test_what_works_without_klippy_still_waits_until_it_is_known_whether_a_job_runs(
    lab: Lab, action: str
) -> None:
    """Moonraker has just been started anew, in the middle of a print."""
    lab.hooks["delete_file"] = lambda command: _said("deleted")
    lab.printer.put(Snapshot())
    await lab.take(one(action, 1, file="a.gcode"))
    await until(lambda: lab.clock.sleeping, "it waits")
    assert (lab.printer.sent, lab.results) == ([], [])
    lab.printer.put(printing())
    await lab.elapse(lambda: lab.results)
    if action != "delete_file":  # the files room itself knows what is loaded
        assert lab.result(1)["status"] == "refused"
        assert "confirm: true" in lab.result(1)["message"]
        assert lab.printer.sent == []


async def _said(text: str) -> str:
    return text


async def test_without_a_klippy_it_waits_no_longer_than_a_start_takes(lab: Lab) -> None:
    lab.printer.put(Snapshot())
    await lab.take(one("reboot", 1))
    await lab.elapse(lambda: lab.printer.sent, step=1)
    assert lab.printer.sent == ["reboot"]


async def test_an_object_is_left_out_of_the_job_for_which_it_was_asked(lab: Lab) -> None:
    """A person's script is at work, behind it waits another job with objects of the same name."""
    parts = objects(exclude_object={"objects": [{"name": "PART_1"}], "excluded_objects": []})
    lab.printer.put(ready(job=Job("paused", "a.gcode", total_duration=100.0), objects=parts))
    end = lab.printer.hold("THEIRS")
    theirs = lab.printer.script("THEIRS")
    await lab.take(one("exclude_object", 1, object="part_1", confirm=True))
    await settle(200)
    lab.clock.advance(5.0)
    lab.printer.put(ready(job=Job("printing", "b.gcode", total_duration=0.5), objects=parts))
    end.set()
    await theirs
    await lab.elapse(lambda: lab.results, step=1)
    assert lab.result(1)["status"] == "refused"
    assert "asked before b.gcode began" in lab.result(1)["message"]
    assert not [script for script in lab.printer.sent if "EXCLUDE" in script]


async def test_what_a_look_objects_to_was_not_tried(lab: Lab) -> None:
    tried = []

    async def look(command: Command) -> str:
        return "it is loaded" if command.params["file"] == "a.gcode" else ""

    async def delete(command: Command) -> str:
        tried.append(command.params["file"])
        return "deleted"

    lab.looks["delete_file"], lab.hooks["delete_file"] = look, delete
    told = await lab.run(
        one("delete_file", 1, file="a.gcode"), one("delete_file", 2, file="b.gcode")
    )
    assert [(r["status"], r["message"]) for r in told] == [
        ("refused", "it is loaded"),
        ("done", "deleted"),
    ]
    assert tried == ["b.gcode"]


async def test_a_file_is_deleted_after_the_print_that_was_asked_before_it_has_begun(
    lab: Lab,
) -> None:
    lab.hooks["delete_file"] = lambda command: _said("deleted")
    lab.local.add("x.gcode")
    begins = lab.printer.hold("start")
    await lab.begin(one("print_local", 1, file="x.gcode"), one("delete_file", 2, file="x.gcode"))
    await settle(200)
    assert not [r for r in lab.results if r["id"] == 2]
    begins.set()
    await lab.elapse(lambda: len(lab.results) == 2)
    assert [r["id"] for r in lab.results] == [1, 2]


async def test_a_cancel_strikes_prints_and_no_deletion(lab: Lab) -> None:
    lab.hooks["delete_file"] = lambda command: _said("deleted")
    end = lab.printer.hold("THEIRS")
    theirs = lab.printer.script("THEIRS")
    lab.local.add("x.gcode")
    await lab.take(one("print_local", 1, file="x.gcode"), one("delete_file", 2, file="y.gcode"))
    await lab.take(one("cancel", 3))
    end.set()
    await theirs
    await lab.elapse(lambda: len(lab.results) == 3)
    assert lab.result(1)["status"] == "refused"
    assert (lab.result(2)["status"], lab.result(3)["status"]) == ("done", "done")


async def test_a_reply_is_not_overtaken_while_what_came_in_it_is_refused(lab: Lab) -> None:
    go_on = threading.Event()
    lab.database.post(lambda db: go_on.wait(10))
    await settle()
    first = asyncio.ensure_future(
        lab.take(one("set_speed", 1, speed=999), one("heat", 2, hotend_temp=210))
    )
    await settle()
    second = asyncio.ensure_future(lab.take(one("cool_down", 3)))
    await settle()
    go_on.set()
    await asyncio.gather(first, second)
    await lab.elapse(lambda: len(lab.results) == 3)
    assert [result["id"] for result in lab.results if result["status"] == "done"] == [2, 3]
    assert lab.printer.sent[-1] == "TURN_OFF_HEATERS"


async def test_what_is_stored_runs_though_old_records_cannot_be_deleted(lab: Lab) -> None:
    def stubborn(db: sqlite3.Connection) -> None:
        db.execute(
            "INSERT INTO commands (key, id, action, summary, command, status, received_at)"
            " VALUES ('old', '0', 'home', 'home', '', 'done', 1.0)"
        )
        db.execute(
            "CREATE TRIGGER stubborn BEFORE DELETE ON commands"
            " BEGIN SELECT RAISE(ABORT, 'database is locked'); END"
        )

    await lab.database.run(stubborn)
    (result,) = await lab.run(one("home", 1))
    assert (result["status"], lab.printer.sent) == ("done", ["G28"])


async def test_nothing_begins_while_moonraker_ends_though_a_cancel_is_lost(lab: Lab) -> None:
    """As `wait_for` of Python 3.11 and older loses one."""
    lab.local.add("b.gcode")
    begun = asyncio.Event()

    async def fetch(_request: Any) -> Any:
        begun.set()
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            raise RuntimeError("lost") from None

    lab.fetch = fetch
    await lab.restart()
    await lab.take(one("print", 1, file="a.gcode"), one("print_local", 2, file="b.gcode"))
    await begun.wait()
    await lab.commands.stop()
    await settle(100)
    assert (lab.printer.sent, lab.results) == ([], [])
    lab.fetch = None
    lab.local.add("a.gcode")
    await lab.restart()
    await lab.elapse(lambda: lab.printer.sent)
    assert lab.printer.sent == ["start a.gcode"], "it waited for the next start"


def damage(lab: Lab, what: str) -> None:
    """The next transaction of this kind finds a malformed file."""
    file = lab.database._file
    assert file is not None
    transact = file._transact

    def broken(work: Any, durable: bool) -> Any:
        if what in work.__qualname__:
            file._transact = transact  # type: ignore[method-assign]
            raise sqlite3.DatabaseError("database disk image is malformed")
        return transact(work, durable)

    file._transact = broken  # type: ignore[method-assign]


async def test_a_command_whose_record_was_lost_is_not_run_and_told_once(lab: Lab) -> None:
    lab.hub_redelivers = True
    damage(lab, "_way")
    (result,) = await lab.run(one("home", 1))
    assert (result["status"], lab.printer.sent) == ("refused", [])
    await lab.take(one("home", 1))
    await lab.run(one("set_speed", 2, speed=90))
    assert lab.printer.sent == ["M220 S90"]
    assert [r["id"] for r in lab.commands.results_due()] == [1, 2]


async def test_what_was_switched_off_stays_so_when_the_database_is_damaged(lab: Lab) -> None:
    await lab.commands.set_remote(False, "Ana")
    damage(lab, "<lambda>")
    await lab.database.run(lambda db: None)
    await settle()
    await lab.restart()
    assert not lab.commands.remote_on


async def test_where_nobody_knows_any_more_remote_control_is_off_and_the_bed_is_full(
    lab: Lab,
) -> None:
    await lab.kill()
    lab.database.path.write_bytes(b"no database " * 5000)
    await lab.start()
    assert (lab.commands.remote_on, lab.bed.needs_clearing) == (False, True)
    assert "damaged" in (await lab.run(one("home", 1)))[0]["message"]
    await lab.commands.set_remote(True, "Ana")
    assert (await lab.run(one("home", 2)))[0]["status"] == "done"
    await lab.restart()
    assert lab.commands.remote_on


async def test_a_power_device_that_failed_once_is_tried_again(lab: Lab) -> None:
    lab.secure(emergency_power_device="printer")
    lab.printer.hung, lab.printer.power_error = True, "unreachable"
    await lab.take(one("emergency_stop", 1))
    await lab.elapse(lambda: lab.told)
    lab.printer.power_error = ""
    await lab.elapse(lambda: lab.printer.off)
    assert lab.printer.off == ["printer"]


async def test_what_takes_its_time_on_the_way_is_judged_anew(lab: Lab) -> None:
    asked = asyncio.Event()
    go_on = asyncio.Event()

    async def delete(command: Command) -> str:
        asked.set()
        await go_on.wait()
        lab.commands.check(command)
        return "deleted"

    lab.hooks["delete_file"] = delete
    for n, on in enumerate((True, False)):
        asked.clear()
        go_on.clear()
        await lab.take(one("delete_file", n, file="a.gcode"))
        await asked.wait()
        await lab.commands.set_remote(on, "Ana")
        go_on.set()
        await lab.elapse(lambda n=n: len(lab.results) > n)  # type: ignore[misc]
    assert [result["status"] for result in lab.results] == ["done", "refused"]
