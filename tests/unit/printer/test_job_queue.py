"""What the hub is told of Moonraker's queue."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, Callable

import pytest

from components.printer.job_queue import SHOWN, JobQueue
from components.printer.verbs import PrinterError, Verbs
from tests.unit.fakes import FakeClock, settle


class Server:
    def __init__(self, queue: Any) -> None:
        self.queue = queue
        self.handlers: dict[str, Callable[..., Any]] = {}

    def register_event_handler(self, name: str, handler: Callable[..., Any]) -> None:
        self.handlers[name] = handler

    def lookup_component(self, name: str, default: Any) -> Any:
        assert name == "job_queue"
        return self.queue or default


def test_state_and_jobs_the_next_first() -> None:
    jobs = {f"{number:016X}": f"labs/{number}.gcode" for number in range(SHOWN + 10)}
    queue = JobQueue(Server(SimpleNamespace(queue_state="paused", queued_jobs=jobs)))
    told = queue.as_dict()
    assert told["state"] == "paused"
    assert told["jobs"][1] == {"id": "0000000000000001", "filename": "labs/1.gcode"}
    assert len(told["jobs"]) == SHOWN


def test_a_moonraker_without_a_queue() -> None:
    assert JobQueue(Server(None)).as_dict() == {"state": "", "jobs": []}


def test_a_change_is_news() -> None:
    server, news = Server(None), []  # type: ignore[var-annotated]
    queue = JobQueue(server)
    queue.register()
    queue.subscribe(lambda: news.append(True))
    server.handlers["job_queue:job_queue_changed"]({"action": "jobs_added"})
    assert news == [True]


class Waiting:
    """Moonraker's job queue with its lock, and what waits in it by id."""

    def __init__(self, **jobs: str) -> None:
        self.queue_state = "paused"
        self.queued_jobs = dict(jobs)
        self.lock = asyncio.Lock()
        self.error = ValueError

    def lookup_component(self, name: str) -> Any:
        return self

    async def delete_job(self, ids: list[str]) -> None:
        async with self.lock:
            for ident in ids:
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
