"""The live printer, against a stand-in for the part of Moonraker that it talks to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from components.printer import subscription
from components.printer.klippy import Printer
from components.printer.snapshot import KlippyState, Snapshot
from components.printer.verbs import PrinterError
from components.runtime.supervisor import Supervisor
from components.settings.model import LiveSettings, Settings, Timeouts
from tests.unit.fakes import Board, FakeClock, settle

STATUS: dict[str, dict[str, Any]] = {
    "print_stats": {"state": "standby", "filename": ""},
    "extruder": {"temperature": 25.0, "target": 0.0},
    "webhooks": {"state": "ready", "state_message": "Printer is ready"},
    "virtual_sdcard": {"is_active": False},
    "display_status": {"message": None},
}


class ServerError(Exception):
    pass


class FakeMoonraker:
    """Klippy as Moonraker shows it: a connection with a state, and the klippy_apis component."""

    error = ServerError

    def __init__(self) -> None:
        self.handlers: dict[str, list[Callable[..., Any]]] = {}
        self.state = "disconnected"
        self.state_message = ""
        self.subscribed: Any = None  # the transport that diffs are sent to
        self.diff_before_answer: dict[str, Any] = {}
        self.diff_behind_answer: dict[str, Any] = {}  # heard before whoever asked reads that
        self.subscriptions = 0
        self.refusals = 0
        self.hangs = 0
        self.questions = 0
        self.silent = False  # Klippy answers nothing any more
        self.nan: set[str] = set()  # objects that hold a NaN
        self.locked = False  # another client waits for its subscription
        self.raises: Exception | None = None  # in the middle of subscribing
        self.given_up = asyncio.Event()
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.metadata: dict[str, Any] = {}
        self.error_of: dict[str, str] = {}
        self.status: dict[str, dict[str, Any]] = dict(STATUS)

    def lookup_component(self, name: str, default: Any = None) -> FakeMoonraker:
        return self

    def register_event_handler(self, event: str, handler: Callable[..., Any]) -> None:
        self.handlers.setdefault(event, []).append(handler)

    def fire(self, event: str, *args: Any) -> None:
        for handler in self.handlers.get(event, []):
            handler(*args)

    def get_file_metadata(self, filename: str) -> dict[str, Any]:
        return self.metadata

    async def get_object_list(self) -> list[str]:
        if self.hangs:
            self.hangs -= 1
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.given_up.set()
        if self.refusals:
            self.refusals -= 1
            raise ServerError("Klippy Host not connected")
        return [*self.status, "gcode_macro LOAD"]

    async def query_objects(self, objects: Any, default: Any = None) -> dict[str, Any]:
        """As Klippy answers; what holds a NaN never arrives, where Moonraker has its speed-ups."""
        self.questions += 1
        if self.silent or not self.nan.isdisjoint(objects):
            await asyncio.get_running_loop().create_future()
        if "configfile" in objects:
            return {"configfile": {"settings": {"extruder": {"max_temp": 250.0}}}}
        answer = self._asked(objects)
        if self.diff_behind_answer:
            self.tell(self.diff_behind_answer)
        return answer

    def _asked(self, objects: Any) -> dict[str, Any]:
        return {
            name: {field: fields[field] for field in objects[name] or fields if field in fields}
            for name, fields in self.status.items()
            if name in objects
        }

    async def subscribe_from_transport(self, objects: Any, transport: Any) -> dict[str, Any]:
        if self.raises is not None:
            raise self.raises
        if self.locked:
            await asyncio.get_running_loop().create_future()
        self.subscribed = transport  # from when Klippy is asked
        if not self.nan.isdisjoint(objects):
            await asyncio.get_running_loop().create_future()
        self.subscriptions += 1
        answer = self._asked(objects)
        if self.diff_before_answer:
            self.tell(self.diff_before_answer)
        return answer

    def tell(self, diff: dict[str, Any]) -> None:
        """As `klippy_connection` does with a diff of Klippy's."""
        self.subscribed.send_status(diff, 0.0)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*args: Any) -> str:
            self.calls.append((name, args))
            if name in self.error_of:
                raise ServerError(self.error_of[name])
            return "ok"

        return call


class Bench:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.moonraker = FakeMoonraker()
        self.board = Board(self.clock)
        self.supervisor = Supervisor(self.board.notices, self.clock)
        self.live = LiveSettings(Settings())
        self.printer = Printer(
            self.moonraker, self.supervisor, self.board.notices, self.clock, self.live
        )
        self.printer.register()
        self.heard: list[tuple[Snapshot, Snapshot]] = []
        self.printer.subscribe(lambda old, new: self.heard.append((old, new)))

    async def ready(self) -> None:
        self.moonraker.state = "ready"
        self.moonraker.fire("server:klippy_ready")
        await settle()


async def test_it_subscribes_at_each_ready_and_forgets_at_each_disconnect() -> None:
    bench = Bench()
    assert bench.printer.snapshot.klippy is KlippyState.DISCONNECTED
    for number in (1, 2):
        await bench.ready()
        assert bench.moonraker.subscriptions == number
        now = bench.printer.snapshot
        assert now.ready
        assert now.extruder is not None
        assert (now.extruder.temperature, now.extruder.max_temp) == (25.0, 250.0)
        assert now.macros == {"LOAD"}
        bench.moonraker.fire("server:klippy_disconnect")
        assert bench.printer.snapshot.heaters == {}
        assert bench.printer.snapshot.klippy is KlippyState.DISCONNECTED


async def test_a_refused_subscription_is_asked_for_again() -> None:
    bench = Bench()
    bench.moonraker.refusals = 2
    await bench.ready()
    for _ in range(2):
        bench.clock.advance(10)
        await settle()
    assert bench.moonraker.subscriptions == 1


async def test_a_klippy_that_does_not_answer_is_asked_again() -> None:
    bench = Bench()
    bench.live.replace(Settings(timeouts=Timeouts(moonraker=0.01)))
    bench.moonraker.hangs = 1
    await bench.ready()
    await asyncio.wait_for(bench.moonraker.given_up.wait(), 10)
    await settle()
    assert bench.moonraker.subscriptions == 0
    bench.clock.advance(10)
    await settle()
    assert bench.moonraker.subscriptions == 1


async def test_diffs_are_merged_and_news_is_told() -> None:
    bench = Bench()
    await bench.ready()
    bench.heard.clear()
    bench.moonraker.tell({"extruder": {"temperature": 60.0}, "other": {"x": 1}})
    bench.moonraker.tell({})
    assert bench.heard == []
    bench.moonraker.tell({"extruder": {"target": 210.0}})
    ((old, new),) = bench.heard
    assert old.extruder is not None
    assert new.extruder is not None
    assert (old.extruder.target, new.extruder.target) == (0.0, 210.0)
    assert new.extruder.temperature == 60.0


def far(share: float) -> dict[str, dict[str, Any]]:
    """What Klippy says of progress, without M73."""
    card = {"progress": share, "file_position": int(share * 1000), "file_size": 1000}
    return {"virtual_sdcard": card, "display_status": {"progress": share}}


async def test_a_job_that_runs_already_is_seen_with_its_progress() -> None:
    bench = Bench()
    bench.moonraker.status.update(far(0.4), print_stats={"state": "paused", "filename": "a.gcode"})
    await bench.ready()
    assert bench.printer.snapshot.job.progress == 0.4


async def test_progress_and_place_follow_klippy_without_being_news() -> None:
    bench = Bench()
    bench.moonraker.status.update(far(0.0), print_stats={"state": "printing", "filename": "a"})
    bench.moonraker.status["gcode_move"] = {"gcode_position": [0, 0, 0, 0]}
    await bench.ready()
    bench.heard.clear()
    bench.moonraker.tell({**far(0.25), "gcode_move": {"gcode_position": [1, 2, 3, 4]}})
    assert bench.printer.snapshot.job.progress == 0.25
    assert bench.printer.snapshot.position == (1.0, 2.0, 3.0, 4.0)
    assert bench.heard == []


async def test_nothing_is_read_after_klippy_has_gone() -> None:
    bench = Bench()
    await bench.ready()
    bench.moonraker.fire("server:klippy_disconnect")
    bench.heard.clear()
    bench.moonraker.tell({"extruder": {"temperature": 300.0, "target": 300.0}})
    assert bench.heard == []
    assert bench.printer.snapshot.heaters == {}


async def test_that_moonraker_lets_go_of_klippy_as_we_leave_is_no_end_of_klippys() -> None:
    bench = Bench()
    await bench.ready()
    seen = []
    bench.printer.watch(lambda klippy, message, job, since: seen.append(klippy))
    bench.printer.subscribe(lambda old, new: seen.append(new.klippy))
    bench.printer.leave()
    bench.moonraker.fire("server:klippy_disconnect")
    assert seen == []
    assert bench.printer.snapshot.ready


async def test_a_diff_that_overtakes_the_answer_is_not_lost() -> None:
    """Moonraker sends the first ones before the task that subscribed runs again."""
    bench = Bench()
    bench.moonraker.diff_before_answer = {"extruder": {"temperature": 31.0}}
    for _ in range(2):  # also where an older subscription is in place
        await bench.ready()
        assert bench.printer.snapshot.heaters["extruder"].temperature == 31.0


SENSOR = "temperature_sensor board"


async def quiet(bench: Bench, seconds: float) -> None:
    """Time goes by without a message of Klippy's; what is asked gets its answers."""
    for _ in range(int(seconds * 2)):
        bench.clock.advance(0.5)
        await settle(40)


def watched() -> Bench:
    """A printer with a sensor, whose questions are given up at once."""
    bench = Bench()
    bench.live.replace(Settings(timeouts=Timeouts(moonraker=0.01)))
    bench.moonraker.status.update({"toolhead": {"homed_axes": ""}, SENSOR: {}})
    return bench


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "ANSWER_WITHIN", 0.01)


async def soon(condition: Callable[[], Any], bench: Bench) -> None:
    """Until it holds, while time goes by."""
    for _ in range(200):
        if condition():
            return
        await quiet(bench, 0.5)
        await asyncio.sleep(0.005)
    raise AssertionError("it never came")


async def test_a_lost_subscription_is_made_again() -> None:
    bench = watched()
    await bench.ready()
    bench.moonraker.status["extruder"]["target"] = 0.0
    bench.moonraker.status = {**bench.moonraker.status, "extruder": {"target": 210.0}}
    await soon(lambda: bench.moonraker.subscriptions == 2, bench)
    now = bench.printer.snapshot
    assert now.heaters["extruder"].target == 210.0
    assert not now.doubt
    assert bench.board.warnings == {}


async def test_while_messages_come_nothing_is_asked() -> None:
    bench = watched()
    await bench.ready()
    asked = bench.moonraker.questions
    for number in range(60):
        bench.clock.advance(0.5)
        bench.moonraker.tell({"extruder": {"temperature": float(number)}})
        await settle()
    assert bench.moonraker.questions == asked


async def test_a_printer_at_rest_says_nothing_and_is_believed() -> None:
    """A clock that nobody reads would wake Moonraker four times a second."""
    bench = watched()
    bench.moonraker.status["toolhead"] = {"homed_axes": "", "estimated_print_time": 1.0}
    await bench.ready()
    asked = bench.moonraker.questions
    for number in range(120):
        bench.moonraker.status["toolhead"] = {"homed_axes": "", "estimated_print_time": number}
        await quiet(bench, 0.5)
    assert bench.moonraker.subscriptions == 1
    assert 1 <= bench.moonraker.questions - asked <= 12
    assert not bench.printer.snapshot.doubt
    assert bench.board.warnings == {}


@pytest.mark.parametrize("busy", ["standby", "printing", "hot"])
async def test_a_silent_klippy_is_asked_sooner_where_something_goes_on(busy: str) -> None:
    bench = watched()
    if busy == "hot":
        bench.moonraker.status["extruder"] = {"temperature": 60.0, "target": 210.0}
    else:
        bench.moonraker.status["print_stats"] = {"state": busy, "filename": "a.gcode"}
    await bench.ready()
    asked = bench.moonraker.questions
    await quiet(bench, 4.0)
    assert (bench.moonraker.questions > asked) is (busy != "standby")


async def test_what_changed_while_it_was_asked_is_no_lost_subscription() -> None:
    bench = watched()
    await bench.ready()
    asked = bench.moonraker.questions
    bench.moonraker.status["extruder"] = {"temperature": 30.0, "target": 60.0}
    while bench.moonraker.questions == asked:
        await quiet(bench, 0.5)
    assert bench.printer.snapshot.heaters["extruder"].target == 60.0
    bench.moonraker.tell({"extruder": {"temperature": 30.0, "target": 60.0}})
    await quiet(bench, 4.0)
    assert bench.moonraker.subscriptions == 1


async def test_an_answer_that_news_has_overtaken_is_not_believed() -> None:
    bench = watched()
    bench.moonraker.status["print_stats"] = {"state": "printing", "filename": "a.gcode"}
    await bench.ready()
    bench.moonraker.diff_behind_answer = {"print_stats": {"state": "complete"}}
    asked = bench.moonraker.questions
    while bench.moonraker.questions == asked:
        await quiet(bench, 0.5)
    assert bench.printer.snapshot.job.state == "complete"


async def test_of_an_object_that_was_lost_no_part_is_believed() -> None:
    """A busy Klippy may give some of the answers in time; the news of a file has no name."""
    bench = watched()
    bench.moonraker.status["print_stats"] = {"state": "printing", "filename": "a.gcode"}
    await bench.ready()
    bench.moonraker.nan = {"print_stats"}
    await soon(lambda: bench.printer.snapshot.job.filename == "", bench)
    bench.moonraker.status["print_stats"] = {"state": "complete", "filename": "a.gcode"}
    bench.moonraker.tell({"print_stats": {"state": "complete"}})
    assert bench.printer.snapshot.job.state == ""
    bench.moonraker.nan = set()
    await soon(lambda: bench.printer.snapshot.job.state == "complete", bench)
    assert bench.printer.snapshot.job.filename == "a.gcode"


async def test_what_did_not_answer_is_asked_for_anew_though_klippy_never_falls_silent() -> None:
    bench = watched()
    bench.moonraker.status["print_stats"] = {"state": "printing", "filename": "a.gcode"}
    bench.moonraker.nan = {"print_stats"}  # as if it were late, on a busy machine
    await bench.ready()
    while not bench.printer.snapshot.objects:
        await asyncio.sleep(0.005)
    bench.moonraker.nan = set()

    def spoken() -> bool:
        bench.moonraker.tell({"extruder": {"temperature": 50.0}})
        return bench.printer.snapshot.job.filename == "a.gcode"

    await soon(spoken, bench)
    assert bench.board.warnings == {}


async def test_who_waited_behind_another_client_in_vain_subscribes_again() -> None:
    bench = watched()
    await bench.ready()
    bench.moonraker.locked = True
    asked = bench.moonraker.questions
    bench.moonraker.fire("server:klippy_ready")
    while bench.moonraker.questions < asked + 4:  # each object by itself
        await asyncio.sleep(0.005)
    bench.moonraker.locked = False

    def spoken() -> bool:  # by way of the former subscription
        bench.moonraker.tell({"extruder": {"temperature": 50.0 + bench.clock.monotonic()}})
        return bench.moonraker.subscriptions == 2

    await soon(spoken, bench)


async def test_a_nan_that_moonraker_cannot_read_is_named_and_the_rest_goes_on() -> None:
    bench = watched()
    await bench.ready()
    bench.moonraker.nan = {SENSOR}
    bench.moonraker.status["extruder"] = {"temperature": 60.0, "target": 60.0}
    await soon(lambda: bench.board.warnings, bench)
    (text,) = bench.board.warnings.values()
    assert SENSOR in text and "NaN" in text
    assert bench.printer.snapshot.heaters["extruder"].target == 60.0
    assert not bench.printer.snapshot.doubt
    bench.moonraker.status["extruder"] = {"temperature": 61.0, "target": 0.0}
    await soon(lambda: bench.printer.snapshot.heaters["extruder"].target == 0.0, bench)
    # mended: Klippy's messages come through again
    bench.moonraker.nan = set()
    await soon(lambda: bench.moonraker.subscriptions == 2, bench)
    assert bench.board.warnings == {}


async def test_a_nan_from_the_start_does_not_keep_the_printer_offline() -> None:
    bench = watched()
    bench.moonraker.nan = {SENSOR}
    await bench.ready()
    await soon(lambda: bench.printer.snapshot.ready, bench)
    assert bench.printer.snapshot.heaters["extruder"].temperature == 25.0
    assert any(SENSOR in text for text in bench.board.warnings.values())


async def test_a_klippy_that_falls_silent_is_doubted_until_it_answers() -> None:
    bench = watched()
    await bench.ready()
    bench.moonraker.silent = True
    await soon(lambda: bench.printer.snapshot.doubt, bench)
    assert bench.printer.snapshot.doubt in next(iter(bench.board.warnings.values()))
    assert bench.heard[-1][1].doubt
    bench.board.console.clear()
    await soon(lambda: "more than 60 s" in bench.printer.snapshot.doubt, bench)
    assert len(bench.board.console) <= 2  # no news every ten seconds
    bench.moonraker.silent = False
    await soon(lambda: not bench.printer.snapshot.doubt, bench)
    assert bench.board.warnings == {}


@pytest.mark.parametrize("error", [AttributeError("transport_type"), ServerError("busy")])
async def test_whatever_ends_the_subscribing_is_told_and_tried_again(error: Exception) -> None:
    bench = watched()
    bench.moonraker.raises = error
    await bench.ready()
    await soon(lambda: bench.board.warnings, bench)
    assert str(error) in next(iter(bench.board.warnings.values()))
    assert str(error) in bench.printer.snapshot.doubt
    bench.moonraker.raises = None
    await soon(lambda: bench.printer.snapshot.ready, bench)
    assert bench.board.warnings == {}
    assert not bench.printer.snapshot.doubt


async def test_no_exception_gets_into_moonraker(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    await bench.ready()
    bench.moonraker.tell({"extruder": 5})
    bench.moonraker.tell({"extruder": 5})
    assert caplog.text.count("A status of Klippy's could not be read: TypeError") == 1
    bench.moonraker.tell({"extruder": {"temperature": 61.0}})
    assert bench.printer.snapshot.heaters["extruder"].temperature == 61.0


@pytest.mark.parametrize("state", ["shutdown", "error"])
async def test_klippys_own_words_are_told(state: str) -> None:
    bench = Bench()
    await bench.ready()
    bench.moonraker.state = state
    bench.moonraker.state_message = "Lost communication with MCU 'mcu'\nOnce the issue is fixed"
    bench.moonraker.fire("server:klippy_shutdown")
    now = bench.printer.snapshot
    assert now.klippy is KlippyState(state)
    assert now.message == "Lost communication with MCU 'mcu' Once the issue is fixed"
    assert bench.heard[-1][1] is now


async def test_waiting_ends_with_the_change_that_was_waited_for() -> None:
    bench = Bench()
    await bench.ready()
    waiting = asyncio.ensure_future(
        bench.printer.wait_for(lambda s: s.job.state == "printing", 60.0)
    )
    await settle()
    bench.moonraker.tell({"print_stats": {"state": "printing"}})
    assert await waiting
    assert not await bench.printer.wait_for(lambda s: s.job.state == "paused", 0.01)


async def test_an_error_of_klippy_is_a_printer_error_in_its_own_words() -> None:
    bench = Bench()
    bench.moonraker.error_of["run_gcode"] = "Must home axis first: 10.0 0.0 0.0"
    with pytest.raises(PrinterError, match="Must home axis first"):
        await bench.printer.gcode("G1 X10")


@pytest.mark.parametrize("name", ["a\nM112", 'a"b', "a\x00b"])
async def test_a_name_that_could_carry_gcode_is_never_sent(name: str) -> None:
    bench = Bench()
    with pytest.raises(PrinterError):
        await bench.printer.start_print(name)
    assert bench.moonraker.calls == []


async def test_a_listener_that_fails_harms_no_other() -> None:
    bench = Bench()

    def broken(old: Snapshot, new: Snapshot) -> None:
        raise RuntimeError("broken")

    bench.printer.subscribe(broken)
    after: list[Snapshot] = []
    bench.printer.subscribe(lambda old, new: after.append(new))
    await bench.ready()
    assert after
    assert bench.printer.snapshot.ready


async def test_the_estimate_may_arrive_after_the_print_began() -> None:
    bench = Bench()
    await bench.ready()
    printing = {"print_stats": {"state": "printing", "filename": "a.gcode"}}
    bench.moonraker.tell(printing)
    assert bench.printer.snapshot.file.estimated_time == 0.0
    bench.moonraker.metadata = {"estimated_time": 600}
    bench.moonraker.fire("file_manager:metadata_processed", "a.gcode")
    assert bench.printer.snapshot.file.estimated_time == 600.0
