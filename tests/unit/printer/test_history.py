"""The last jobs: each once, with the word of whoever saw its end."""

from __future__ import annotations

import json
from typing import Any, Callable

import pytest

from components.printer.history import History
from components.printer.jobs import Jobs
from components.printer.pauses import Pause
from components.printer.snapshot import Job, KlippyState
from components.runtime.messages import in_language, say
from tests.unit.fakes import FakeClock


class Server:
    error = RuntimeError

    def __init__(self) -> None:
        self.handlers: dict[str, Callable[..., Any]] = {}
        self.rows: list[dict[str, Any]] | None = []

    def register_event_handler(self, name: str, handler: Callable[..., Any]) -> None:
        self.handlers[name] = handler

    def lookup_component(self, name: str) -> Any:
        return {"internal_transport": self, "file_manager": self}[name]

    def get_file_metadata(self, name: str) -> dict[str, Any]:
        return {"filament_total": 1000.0, "filament_weight_total": 3.0}

    async def call_method(self, name: str, arguments: dict[str, Any]) -> Any:
        assert name == "server.history.list"
        if self.rows is None:
            raise self.error("no history")
        return {"jobs": self.rows[: arguments["limit"]]}


class House:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.server = Server()
        self.memory: dict[str, Any] = {}
        self.changes = 0
        self.pauses: list[Pause] = []

    async def wake(self) -> "House":
        self.jobs = Jobs(self.server, self.clock, *self.kept("job"))
        self.history = History(
            self.server, self.jobs, *self.kept("history"), pauses=lambda: self.pauses
        )
        self.history.register()
        self.history.subscribe(self.changed)
        self.history.start()
        self.jobs.start()
        await self.history.load()
        return self

    def kept(self, name: str) -> Any:
        return (lambda: self.memory.get(name)), (lambda value: self.memory.update({name: value}))

    def changed(self) -> None:
        self.changes += 1

    def sees(self, state: str, total: float = 0.0, filename: str = "a.gcode") -> None:
        job = Job(state, filename, total_duration=total)
        self.jobs.look(KlippyState.READY, "", job, self.clock.mono)

    def prints(self, seconds: float, end: str = "complete") -> None:
        self.sees("printing")
        self.clock.advance(seconds)
        self.sees(end, seconds)

    def tells(self, action: str, **job: Any) -> None:
        row = {"job_id": "000001", "filename": "a.gcode", **job}
        self.server.handlers["history:history_changed"]({"action": action, "job": row})

    @property
    def listed(self) -> list[tuple[str, str, str]]:
        return [(job.job_id, job.filename, job.status) for job in self.history.recent]


def row(job_id: str, status: str, start: float, end: float | None, **more: Any) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "filename": "a.gcode",
        "status": status,
        "start_time": start,
        "end_time": end,
        **more,
    }


@pytest.fixture
async def house() -> House:
    return await House().wake()


async def test_a_job_of_both_is_listed_once(house: House) -> None:
    house.sees("printing")
    house.tells("added", start_time=house.clock.wall)
    assert house.jobs.current_id == "000001"
    assert house.listed == []
    house.clock.advance(60)
    house.sees("complete", 60.0)
    assert house.listed == [("000001", "a.gcode", "completed")]
    times = {"start_time": house.clock.wall - 60, "end_time": house.clock.wall}
    house.tells("finished", status="completed", **times)
    assert house.listed == [("000001", "a.gcode", "completed")]
    assert house.jobs.current_id == ""
    assert house.history.last_end == house.clock.wall


async def test_a_job_keeps_its_begin_when_moonrakers_row_comes_after_its_end(house: House) -> None:
    """A hub tells jobs apart by id and begin: else it had two of them."""
    house.sees("printing")
    house.tells("added", start_time=house.clock.wall + 1.2)
    house.clock.advance(60)
    house.sees("complete", 60.0)
    (told,) = house.history.recent
    times = {"start_time": house.clock.wall - 58.8, "end_time": house.clock.wall}
    house.tells("finished", status="completed", **times)
    (later,) = house.history.recent
    assert told.start_time == later.start_time == pytest.approx(times["start_time"])


async def test_a_job_too_short_for_its_id(house: House) -> None:
    house.prints(0.1)
    start = house.clock.wall
    house.tells("added", start_time=start)
    house.tells("finished", status="completed", start_time=start, end_time=start)
    assert house.listed == [("000001", "a.gcode", "completed")]


async def test_moonraker_was_restarted_in_mid_print(house: House) -> None:
    house.sees("printing")
    began = house.clock.wall
    house.tells("added", start_time=began)
    house.clock.advance(60)
    house.server.rows = [row("000001", "server_exit", began, began + 50)]
    await house.wake()
    house.sees("printing", 60.0)
    assert house.listed == []  # it runs
    house.clock.advance(60)
    house.sees("complete", 120.0)
    assert house.listed == [("000001", "a.gcode", "completed")]
    await house.wake()
    assert house.listed == [("000001", "a.gcode", "completed")]
    assert house.history.recent[0].total_duration == 120.0


async def test_the_power_went(house: House) -> None:
    house.sees("printing")
    began = house.clock.wall
    house.tells("added", start_time=began)
    house.server.rows = [row("000001", "in_progress", began, None)]
    house.clock.mono = 5.0
    house.clock.wall += 60
    await house.wake()
    house.sees("standby", 0.0, "")
    assert house.listed == [("000001", "a.gcode", "interrupted")]
    house.server.rows = []  # Moonraker's disk has lost it
    house.memory = json.loads(json.dumps(house.memory))
    await house.wake()
    assert house.listed == [("000001", "a.gcode", "interrupted")]
    reason = house.history.recent[0].reason
    assert in_language(reason, "en") != in_language(reason, "es")  # from the disk, too


async def test_what_moonraker_never_heard_of(house: House) -> None:
    house.server.rows = None
    await house.wake()
    house.prints(60)
    assert house.listed == [("", "a.gcode", "completed")]
    await house.wake()
    assert house.listed == [("", "a.gcode", "completed")]


async def test_what_somebody_deleted_is_gone(house: House) -> None:
    house.sees("printing")
    house.tells("added", start_time=house.clock.wall)
    house.clock.advance(60)
    house.sees("cancelled", 60.0)
    house.server.rows = []
    await house.wake()
    assert house.listed == []


async def test_the_last_ten_newest_first(house: House) -> None:
    house.server.rows = [
        row(f"{number:06X}", "completed", number * 100.0, number * 100.0 + 50)
        for number in range(30, 0, -1)
    ]
    await house.wake()
    house.prints(10, "error")
    assert len(house.listed) == 10
    assert house.listed[0] == ("", "a.gcode", "error")
    assert house.listed[1][0] == "00001E"


async def test_the_last_completed_outlives_ten_failures(house: House) -> None:
    house.prints(10)
    said = house.history.last_completed
    assert said.startswith("a.gcode (")
    for _ in range(12):
        house.prints(10, "cancelled")
    assert await house.wake()
    assert house.history.last_completed == said
    assert {status for _, _, status in house.listed} == {"cancelled"}


@pytest.mark.parametrize("memory", [None, 3, {"jobs": [1, {}], "completed": []}, {"jobs": "x"}])
async def test_a_memory_of_anything(memory: Any) -> None:
    house = House()
    house.memory["history"] = memory
    await house.wake()
    house.prints(10)
    assert house.listed[0] == ("", "a.gcode", "completed")


async def test_why_it_was_paused_stands_in_the_history_and_beside_the_last_completed(
    house: House,
) -> None:
    runout = say("no filament at the sensor {name}", name="runout")
    reasons = (runout, say("paused by the hub"), runout, "")
    house.pauses = [Pause(house.clock.wall + n, 9.5, why) for n, why in enumerate(reasons)]
    house.prints(60)
    times = {"start_time": house.clock.wall - 60, "end_time": house.clock.wall}
    house.tells("finished", status="completed", **times)  # Moonraker's word counts, ours is kept
    (job,) = house.history.recent
    assert [pause.reason for pause in job.pauses] == [*reasons]
    shown = job.as_dict()["pauses"]
    assert shown[0] == {"at": job.pauses[0].at, "seconds": 9.5, "reason": runout}
    told = house.history.last_completed
    assert told.endswith(") – no filament at the sensor runout"), "once, and not the hub's own"
    assert in_language(told, "es").endswith(") – sin filamento en el sensor runout")

    house.memory = json.loads(json.dumps(house.memory))
    house.server.rows = [row("000001", "completed", times["start_time"], times["end_time"])]
    again = await house.wake()
    (first, *_) = again.history.recent[0].pauses
    assert (first.at, first.seconds) == (job.pauses[0].at, 9.5)
    assert in_language(first.reason, "es") == "sin filamento en el sensor runout"
    assert again.history.last_completed == told
    house.pauses = []
    house.prints(5)
    assert again.history.last_completed.endswith(")"), "the next had none"
