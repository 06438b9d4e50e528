"""Each job is told to begin once and to end once, whatever goes down in its midst."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from components.printer.jobs import RESTARTED, UNSEEN, Jobs, News, Session
from components.printer.snapshot import Job, KlippyState
from tests.unit.fakes import FakeClock

READY, AWAY = KlippyState.READY, KlippyState.DISCONNECTED


class Server:
    error = RuntimeError

    def __init__(self) -> None:
        self.handlers: dict[str, Callable[..., Any]] = {}

    def register_event_handler(self, name: str, handler: Callable[..., Any]) -> None:
        self.handlers[name] = handler


class Clock(FakeClock):
    boot_id = "boot-1"

    def boot(self) -> str:
        return self.boot_id


class House:
    """Klipper's print_stats, as print_stats.py keeps them, and a watcher across Moonraker's lives.

    Time runs only where a method says so; `away` is what happens while Moonraker is not there.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.told: list[News] = []
        self.memory: Any = None
        self.session: Session | None = Session("boot-1", "77", self.clock.mono, self.clock.mono)
        self.klippy, self.message = READY, ""
        self.state, self.filename, self.stopped, self.began = "standby", "", 0.0, 0.0
        self.awake = False
        self.wake()

    # Moonraker

    def wake(self) -> None:
        self.server = Server()
        self.jobs = Jobs(
            self.server,
            self.clock,
            lambda: self.memory,
            self._remember,
            session=lambda: self.session,
        )
        self.jobs.register()
        self.jobs.subscribe(self.told.append)
        self.jobs.start()
        self.awake = True
        self.jobs.look(AWAY, "", Job(), 0.0)
        self.since = self.clock.mono - 0.2
        self.look()

    def sleep(self, *, killed: bool = True) -> None:
        if not killed:
            self.jobs.save()
        self.awake = False

    def _remember(self, value: Any) -> None:
        self.memory = value

    # Klipper

    def job(self) -> Job:
        running = self.state in ("printing", "paused")
        total = self.clock.mono - self.began if running else self.stopped
        return Job(self.state, self.filename, "", 0.0, total / 2, total, total * 3)

    def look(self) -> None:
        if self.awake:
            self.jobs.look(self.klippy, self.message, self.job(), self.since)

    def passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.look()

    def prints(self, filename: str = "a.gcode", look: bool = True) -> None:
        self.state, self.filename, self.began = "printing", filename, self.clock.mono
        if look:
            self.passes(0.1)

    def becomes(self, state: str) -> None:
        if state in ("complete", "cancelled", "error"):
            self.stopped = self.clock.mono - self.began
        if state == "standby":
            self.filename, self.stopped = "", 0.0
        self.state = state
        self.look()

    def is_seen_as(self, klippy: KlippyState, message: str = "") -> None:
        if klippy is READY:
            self.since = self.clock.mono - 0.2  # subscribed anew
        self.klippy, self.message = klippy, message
        self.look()

    def restarts(self) -> None:
        """Klippy's process, or the machine's power with it."""
        self.is_seen_as(AWAY)
        self.state, self.filename, self.stopped = "standby", "", 0.0
        self.clock.advance(5)
        self.is_seen_as(KlippyState.STARTUP)
        self.is_seen_as(READY)

    def loses_power(self) -> None:
        self.sleep()
        self.clock.boot_id += "+"
        self.clock.mono = 30.0
        self.state, self.filename, self.stopped = "standby", "", 0.0
        self.wake()

    # What was told

    @property
    def kinds(self) -> list[str]:
        return [news.status or news.kind for news in self.told]

    @property
    def files(self) -> list[tuple[str, str]]:
        return [(news.kind, news.job.filename) for news in self.told]


ENDS = pytest.mark.parametrize(
    ("state", "status"),
    [("complete", "completed"), ("cancelled", "cancelled"), ("error", "error")],
)


@pytest.fixture
def house() -> House:
    return House()


@ENDS
def test_from_its_start_to_its_end(house: House, state: str, status: str) -> None:
    began = house.clock.wall
    house.prints()
    house.passes(10)
    house.becomes("paused")
    house.passes(5)
    house.becomes("printing")
    house.passes(5)
    house.becomes(state)
    assert house.kinds == ["begun", "paused", "resumed", status]
    (*_, end) = house.told
    assert end.job.began == pytest.approx(began)
    assert end.ended == house.clock.wall
    assert end.job.total_duration == pytest.approx(20.1)
    house.passes(100)
    house.becomes("standby")
    assert house.kinds[4:] == []


@ENDS
def test_what_is_over_is_not_told_again_after_a_restart(
    house: House, state: str, status: str
) -> None:
    house.prints()
    house.passes(10)
    house.becomes(state)
    for _ in range(3):
        house.sleep()
        house.clock.advance(60)
        house.wake()
    house.restarts()
    assert house.kinds == ["begun", status]


@pytest.mark.parametrize("killed", [True, False])
def test_a_job_that_goes_on_across_a_restart_of_moonraker(house: House, killed: bool) -> None:
    house.prints()
    house.jobs.name("a.gcode", "00000A")
    house.passes(3600)
    house.sleep(killed=killed)
    house.clock.advance(20)
    house.wake()
    assert house.jobs.current_id == "00000A"
    house.passes(10)
    house.becomes("complete")
    assert house.kinds == ["begun", "completed"]


def test_a_job_that_was_paused_while_moonraker_was_away(house: House) -> None:
    house.prints()
    house.sleep()
    house.clock.advance(20)
    house.becomes("paused")
    house.wake()
    house.becomes("printing")
    assert house.kinds == ["begun", "paused", "resumed"]


@ENDS
def test_a_job_that_ended_while_moonraker_was_away(house: House, state: str, status: str) -> None:
    house.prints()
    house.sleep()
    house.clock.advance(20)
    ended = house.clock.wall
    house.becomes(state)
    house.clock.advance(600)
    house.wake()
    assert house.kinds == ["begun", status]
    assert house.told[-1].ended == pytest.approx(ended)


def test_a_job_that_ran_while_moonraker_was_away(house: House) -> None:
    house.sleep()
    house.prints(look=False)
    house.clock.advance(20)
    house.becomes("complete")
    house.clock.advance(20)
    house.wake()
    assert house.kinds == ["begun", "completed"]


def test_a_job_over_before_the_first_start() -> None:
    house = House.__new__(House)
    house.state = "standby"
    house.__init__()  # type: ignore[misc]
    house.sleep()
    house.prints(look=False)
    house.clock.advance(20)
    house.becomes("complete")
    house.memory = None
    house.wake()
    assert house.kinds == ["found"]
    house.sleep()
    house.wake()
    house.prints()
    assert house.kinds == ["found", "begun"]


@pytest.mark.parametrize(
    ("process", "board_ran_for", "told"),
    [
        ("77", 3600.0 - 4.0, []),  # a board's clock is not to the second
        ("77", 3600.0 + 30.0, []),
        ("78", 3600.0, ["unseen"]),  # it crashed
        ("77", 600.0, ["unseen"]),  # FIRMWARE_RESTART
    ],
)
def test_klippy_was_started_anew_while_moonraker_was_away(
    house: House, process: str, board_ran_for: float, told: list[str]
) -> None:
    house.sleep()
    house.clock.advance(3600)
    now = house.clock.mono
    house.session = Session("boot-1", process, now - board_ran_for, now)
    house.wake()
    assert house.kinds == told
    house.sleep()
    house.wake()
    assert house.kinds == told


def test_the_computer_was_started_anew_while_moonraker_was_away(house: House) -> None:
    house.session = Session("boot-1+", "12", 10.0, 30.0)
    house.loses_power()
    assert house.kinds == []


@pytest.mark.parametrize("name", ["a.gcode", "b.gcode"])
def test_another_job_runs_when_moonraker_is_back(house: House, name: str) -> None:
    house.prints("a.gcode")
    house.passes(30)
    house.sleep()
    house.clock.advance(5)
    house.becomes("complete")
    house.prints(name, look=False)
    house.clock.advance(30)
    house.wake()
    house.passes(5)
    house.becomes("complete")
    assert house.files == [
        ("begun", "a.gcode"),
        ("ended", "a.gcode"),
        ("begun", name),
        ("ended", name),
    ]
    assert (house.told[1].status, house.told[1].message) == ("interrupted", UNSEEN)


def test_two_jobs_of_one_file_of_which_the_second_is_over_when_moonraker_is_back(
    house: House,
) -> None:
    house.prints()
    house.passes(30)
    house.sleep(killed=False)
    house.clock.advance(5)
    house.becomes("complete")
    house.prints(look=False)
    house.clock.advance(20)
    house.becomes("cancelled")
    house.wake()
    assert house.kinds == ["begun", "interrupted", "begun", "cancelled"]


def test_the_power_goes_in_mid_print(house: House) -> None:
    house.prints()
    house.passes(30)
    house.loses_power()
    assert house.kinds == ["begun", "interrupted"]
    assert house.told[-1].message == RESTARTED


def test_a_job_of_the_same_file_begins_at_once_after_the_power_cut(house: House) -> None:
    house.prints()
    house.passes(30)
    house.sleep()
    house.clock.boot_id += "+"
    house.prints(look=False)
    house.clock.advance(30)
    house.wake()
    assert house.kinds == ["begun", "interrupted", "begun"]


def test_klippy_shuts_down_in_mid_print(house: House) -> None:
    house.prints()
    house.passes(30)
    house.is_seen_as(KlippyState.SHUTDOWN, "ADC out of range")
    house.passes(0.25)
    house.becomes("paused")
    house.sleep()
    house.clock.advance(30)
    house.wake()  # print_stats still speak of it
    house.restarts()
    assert house.kinds == ["begun", "klippy_shutdown"]
    assert house.told[-1].message == "ADC out of range"


def test_a_shutdown_ended_a_job_that_nobody_saw(house: House) -> None:
    house.sleep()
    house.prints(look=False)
    house.clock.advance(10)
    house.klippy, house.message = KlippyState.SHUTDOWN, "ADC out of range"
    house.wake()
    house.restarts()
    assert house.kinds == ["begun", "klippy_shutdown"]


def test_klippy_crashes_in_mid_print(house: House) -> None:
    house.prints()
    house.passes(30)
    house.restarts()
    assert house.kinds == ["begun", "klippy_disconnect"]
    assert house.told[-1].message == RESTARTED


def test_klippy_is_out_of_sight_and_prints_on(house: House) -> None:
    house.prints()
    house.passes(30)
    house.is_seen_as(AWAY)
    house.clock.advance(30)
    house.is_seen_as(READY)
    house.becomes("complete")
    assert house.kinds == ["begun", "completed"]


def test_what_was_said_is_heard_late(house: House) -> None:
    """Moonraker stands still for a minute, in mid-print and as it starts: no job is made of it."""
    house.prints()
    house.passes(30)
    said = house.job()
    house.clock.advance(60)
    house.jobs.look(READY, "", said, house.since)
    house.sleep()
    said, at = house.job(), house.clock.mono
    house.clock.advance(60)
    house.awake = True
    house.jobs.look(AWAY, "", Job(), 0.0)
    house.jobs.look(READY, "", said, at)
    assert house.kinds == ["begun"]


def test_a_job_that_is_put_away_as_it_is_cancelled(house: House) -> None:
    """CANCEL_PRINT and SDCARD_RESET_FILE in one macro: nobody sees "cancelled"."""
    house.prints()
    house.passes(5)
    house.becomes("standby")
    assert house.kinds == ["begun", "cancelled"]


def test_jobs_too_short_to_be_seen(house: House) -> None:
    for _ in range(3):
        house.prints(look=False)
        house.clock.advance(0.05 + len(house.told) / 10_000)
        house.becomes("complete")
        house.passes(10)
    assert house.kinds == ["begun", "completed"] * 3


def test_a_job_begun_anew_within_one_report(house: House) -> None:
    house.prints()
    house.passes(5)
    house.becomes("printing")
    house.began = house.clock.mono
    house.passes(0.2)
    house.becomes("complete")
    assert house.kinds == ["begun", "cancelled", "begun", "completed"]


def test_one_job_after_the_other_of_one_file(house: House) -> None:
    for _ in range(2):
        house.prints()
        house.passes(5)
        house.becomes("complete")
    assert house.kinds == ["begun", "completed"] * 2


def test_what_was_seen_before_the_memory_could_be_read() -> None:
    clock, told = Clock(), []  # type: ignore[var-annotated]
    jobs = Jobs(Server(), clock, lambda: None, lambda value: None)
    jobs.subscribe(told.append)
    jobs.look(READY, "", Job("printing", "a.gcode", total_duration=3.0), clock.mono)
    assert (told, jobs.open) == ([], None)
    jobs.start()
    jobs.start()
    assert [news.kind for news in told] == ["begun"]


@pytest.mark.parametrize("memory", [None, 7, "x", [], {}, {"state": []}, {"state": "printing"}])
def test_a_memory_of_anything(memory: Any) -> None:
    clock, told = Clock(), []  # type: ignore[var-annotated]
    jobs = Jobs(Server(), clock, lambda: memory, lambda value: None)
    jobs.subscribe(told.append)
    jobs.start()
    jobs.look(READY, "", Job("complete", "a.gcode", total_duration=3.0), clock.mono)
    kinds = [news.kind for news in told]
    assert kinds[-2:] == ["begun", "ended"] if memory is not None else kinds == ["found"]


def test_moonraker_speaks_until_there_is_a_subscription(house: House) -> None:
    """A job that began and was put away before the plugin had subscribed."""
    house.klippy = KlippyState.STARTUP
    house.look()
    tell = house.server.handlers["job_state:state_changed"]
    stats = {"state": "printing", "filename": "a.gcode", "total_duration": 0.2}
    tell("started", {}, stats)
    tell("standby", stats, {"state": "standby", "filename": ""})
    assert house.kinds == ["begun", "cancelled"]
    house.is_seen_as(READY)
    tell("started", {}, stats)  # a turn later than what was seen
    assert house.kinds == ["begun", "cancelled"]


def test_which_command_of_the_hub_began_it(house: House) -> None:
    house.jobs.announce("a.gcode", "cmd_1")
    house.prints()
    house.sleep()
    house.wake()
    house.becomes("complete")
    house.prints()
    house.becomes("complete")
    house.jobs.announce("b.gcode", "cmd_2")
    house.prints()
    told = [(news.kind, news.job.command_id) for news in house.told]
    assert told == [
        ("begun", "cmd_1"),
        ("ended", "cmd_1"),
        ("begun", ""),
        ("ended", ""),
        ("begun", ""),
    ]


def test_why_it_was_paused_is_asked_of_whoever_knows() -> None:
    told: list[News] = []
    jobs = Jobs(
        Server(), Clock(), lambda: None, lambda value: None, lambda kind, job: f"{kind}: filament"
    )
    jobs.subscribe(told.append)
    jobs.start()
    jobs.look(READY, "", Job("paused", "a.gcode", total_duration=3.0), 0.0)
    assert [news.message for news in told] == ["", "paused: filament"]
