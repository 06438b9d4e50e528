"""What Moonraker's components are told: the job queue, the devices of [power]."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from components.printer.snapshot import Job, KlippyState, Snapshot
from components.printer.verbs import PrinterError, Verbs
from tests.unit.fakes import FakeClock, settle


class Waiting:
    """Moonraker's job queue with its lock, and what waits in it by id."""

    def __init__(self, **jobs: str) -> None:
        self.queue_state = "paused"
        self.queued_jobs = dict(jobs)
        self.lock = asyncio.Lock()
        self.error = ValueError

    def lookup_component(self, name: str) -> Any:
        return self

    async def delete_job(self, ids: list[str], all: bool = False) -> None:
        async with self.lock:
            for ident in [*self.queued_jobs] if all else ids:
                self.queued_jobs.pop(ident, None)


async def remove(queue: Waiting, job: str) -> dict[str, str]:
    await Verbs(queue, FakeClock()).queue("remove", job)
    return queue.queued_jobs


async def test_one_entry_is_taken_out_by_its_id_or_the_first_of_its_file() -> None:
    queue = Waiting(A="part.gcode", B="part.gcode", C="B")
    assert await remove(queue, "B") == {"A": "part.gcode", "C": "B"}, "an id comes before a name"
    assert await remove(queue, "part.gcode") == {"C": "B"}
    with pytest.raises(PrinterError, match=r"part\.gcode is not in the job queue"):
        await remove(queue, "part.gcode")


async def test_an_entry_that_is_being_started_is_not_told_as_taken_out() -> None:
    """Moonraker holds the queue until its print has begun, then takes the entry out itself."""
    queue = Waiting(A="part.gcode", B="other.gcode", C="part.gcode")
    await queue.lock.acquire()
    with pytest.raises(PrinterError, match="A is just being started: send cancel"):
        await remove(queue, "A")
    removing = asyncio.ensure_future(remove(queue, "part.gcode"))
    await settle()
    assert set(queue.queued_jobs) == {"A", "B", "C"}
    del queue.queued_jobs["A"]  # it has begun
    queue.lock.release()
    assert await removing == {"B": "other.gcode"}, "the other one of that name"


async def test_who_empties_the_queue_hears_of_what_is_being_started() -> None:
    queue = Waiting(A="part.gcode", B="other.gcode")
    await queue.lock.acquire()
    clearing = asyncio.ensure_future(Verbs(queue, FakeClock()).queue("clear"))
    await settle()
    del queue.queued_jobs["A"]
    queue.lock.release()
    told = await clearing
    assert "0 jobs wait; part.gcode was just being started: send cancel" in told
    assert "started" not in await Verbs(queue, FakeClock()).queue("clear")


class Plug:
    """A device of Moonraker's [power] that feeds the printer, and asks its state over the net
    first."""

    bound_services = ("klipper",)

    def __init__(self) -> None:
        self.state = "on"
        self.asked: list[str] = []

    async def process_request(self, wanted: str) -> str:
        self.asked.append(wanted)
        await asyncio.sleep(0)
        self.state = wanted
        return wanted


class Printer(Verbs):
    """With a job or without."""

    snapshot = Snapshot(job=Job(state="standby"))

    def __init__(self, plug: Plug) -> None:
        super().__init__(
            SimpleNamespace(
                error=ValueError, lookup_component=lambda *_: SimpleNamespace(devices={"psu": plug})
            ),
            FakeClock(),
        )


async def test_nothing_is_awaited_between_the_last_look_and_moonrakers_own_switch() -> None:
    plug = Plug()
    work = Printer(plug).power("psu", False)
    work.send(None)  # one step, as within the turn of the verdict
    assert plug.asked == ["off"]
    with pytest.raises(StopIteration) as said:
        work.send(None)
    assert said.value.value == "psu is off"


@pytest.mark.parametrize("state", ["printing", "paused"])
async def test_what_feeds_the_printer_is_not_handed_over_in_a_job(state: str) -> None:
    plug = Plug()
    printer = Printer(plug)
    printer.snapshot = Snapshot(klippy=KlippyState.READY, job=Job(state=state))
    with pytest.raises(PrinterError, match="a job is not over"):
        await printer.power("psu", False)
    assert plug.asked == []
    assert await printer.power("psu", True) == "psu is on"
