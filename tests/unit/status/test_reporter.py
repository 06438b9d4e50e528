"""What a status carries, and what its reply acknowledges."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from typing import Any

import pytest

from components.hub.client import Reply
from components.hub.link import Link
from components.hub.outcomes import Failure
from components.hub.protocol import Features, endpoints
from components.settings.model import LiveSettings, Settings
from components.status.cadence import Cadence
from components.status.reporter import EVENTS_AT_ONCE, Reporter, ResultBox
from tests.unit.fakes import Board, FakeClock, settle

OK = Reply(True, "", {"success": True})
DOWN = Reply(False, "It is away.", failure=Failure.UNREACHABLE)


class Journal:
    def __init__(self) -> None:
        self.waiting: list[dict[str, Any]] = []
        self.stored: dict[int, bool] = {}  # what was acknowledged, by number
        self.stalled: asyncio.Event | None = None

    @property
    def undelivered(self) -> int:
        return len(self.waiting)

    def record(self, *numbers: int) -> None:
        self.waiting += [{"seq": number, "kind": "job_started"} for number in numbers]

    async def due(self, limit: int) -> list[dict[str, Any]]:
        if self.stalled is not None:
            await self.stalled.wait()
        return self.waiting[:limit]

    async def delivered(self, told: list[dict[str, Any]], stored: bool) -> None:
        self.stored.update((event["seq"], stored) for event in told)
        self.waiting = [event for event in self.waiting if event not in told]


class Bench:
    """A reporter at work; the hub's replies are those of `replies`, then `OK`."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.live = LiveSettings(Settings(server_url="http://h/api.php", printer_token="T"))
        self.journal = Journal()
        self.features = self.announced = Features()
        self.replies: list[Reply] = []
        self.sent: list[dict[str, Any]] = []
        self.posted: list[list[dict[str, Any]]] = []
        self.results: list[dict[str, Any]] = []
        self.made = 0
        self.where = endpoints(self.live.now)
        self.cadence = Cadence(self.clock, lambda: self.live.now.intervals, lambda: False)
        self.link = Link(self.live, Board(self.clock).notices, self.clock, random.Random(1))
        client: Any = self
        journal: Any = self.journal
        self.reporter = Reporter(
            client,
            self.link,
            self.cadence,
            journal,
            self.make_body,
            ResultBox(lambda limit: self.results[:limit], self.delivered),
            self.clock,
        )
        self.tasks = [
            asyncio.ensure_future(self.reporter.run()),
            asyncio.ensure_future(self.reporter.run_results()),
        ]

    def make_body(self) -> dict[str, Any]:
        self.made += 1
        return {"number": self.made, "history": ["a job"]}

    async def delivered(self, results: Iterable[dict[str, Any]]) -> None:
        gone = list(results)
        self.results = [result for result in self.results if result not in gone]

    async def send_status(self, body: dict[str, Any]) -> Reply:
        self.sent.append(dict(body))
        self.features = self.announced
        return self.replies.pop(0) if self.replies else OK

    async def post_results(self, results: list[dict[str, Any]]) -> Reply:
        self.posted.append(results)
        return self.replies.pop(0) if self.replies else OK

    async def after(self, seconds: float = 0.0) -> dict[str, Any]:
        """The last status sent by then."""
        await settle()
        self.clock.advance(seconds)
        await settle()
        return self.sent[-1]

    def stop(self) -> None:
        for task in self.tasks:
            task.cancel()


async def test_a_heartbeat_every_interval() -> None:
    bench = Bench()
    assert (await bench.after())["number"] == 1
    assert (await bench.after(4.9))["number"] == 1
    assert (await bench.after(0.1))["number"] == 2
    bench.stop()


async def test_a_retry_carries_what_is_true_then() -> None:
    bench = Bench()
    bench.replies = [DOWN]
    assert (await bench.after())["number"] == 1
    wait = bench.link.retry_in("status")
    assert wait > 0
    assert (await bench.after(wait / 2))["number"] == 1
    assert (await bench.after(wait))["number"] == 2
    bench.stop()


async def test_a_result_goes_along_until_a_status_has_succeeded() -> None:
    bench = Bench()
    result = {"id": 7, "status": "done"}
    bench.results = [result]
    bench.replies = [DOWN]
    assert (await bench.after())["command_results"] == [result]
    assert bench.results == [result]
    assert (await bench.after(60.0))["command_results"] == [result]
    assert bench.results == []
    assert (await bench.after(5.0))["command_results"] == []
    bench.stop()


async def test_a_new_result_is_news() -> None:
    bench = Bench()
    await bench.after()
    bench.results = [{"id": 7, "status": "done"}]
    bench.reporter.new_result()
    assert (await bench.after(1.0))["command_results"] == [{"id": 7, "status": "done"}]
    assert bench.posted == []
    bench.stop()


async def test_where_the_hub_takes_results_at_once_they_need_no_status() -> None:
    bench = Bench()
    await bench.after()
    bench.features = bench.announced = Features(command_results=True)
    bench.results = [{"id": 7, "status": "done"}]
    bench.reporter.new_result()
    assert (await bench.after())["number"] == 1
    assert bench.posted == [[{"id": 7, "status": "done"}]]
    assert bench.results == []
    bench.stop()


async def test_a_result_that_cannot_be_posted_travels_with_a_status_at_once() -> None:
    bench = Bench()
    await bench.after()
    bench.features = bench.announced = Features(command_results=True)
    bench.results = [{"id": 7, "status": "done"}]
    bench.replies = [Reply(False, "No such script.", failure=Failure.STATUS)]
    bench.reporter.new_result()
    assert (await bench.after(1.0))["command_results"] == [{"id": 7, "status": "done"}]
    assert bench.results == []
    bench.stop()


@pytest.mark.parametrize("takes_results", [False, True])
async def test_a_result_that_waited_for_the_line_is_not_posted_to_the_next_hub(
    takes_results: bool,
) -> None:
    bench = Bench()
    bench.features = bench.announced = Features(command_results=True)
    bench.replies = [DOWN]
    await bench.after()
    bench.results = [{"id": 7, "status": "done"}]
    bench.reporter.new_result()
    await settle()
    assert bench.posted == []  # nothing gets through
    theirs = {"id": 7, "status": "refused"}
    bench.results = [theirs]  # of the next hub's own command
    bench.features = bench.announced = Features(command_results=takes_results)
    bench.live.replace(bench.live.now._replace(server_url="http://other/api.php"))
    await bench.after(1.0)
    assert bench.posted == ([[theirs]] if takes_results else [])
    told = [result for body in bench.sent[1:] for result in body["command_results"]]
    assert told == ([] if takes_results else [theirs])
    assert bench.results == []
    bench.stop()


async def test_events_wait_for_the_first_word_with_the_hub_and_follow_it_at_once() -> None:
    bench = Bench()
    bench.journal.record(1, 2)
    assert (await bench.after())["events"] == []
    assert [event["seq"] for event in (await bench.after(0.25))["events"]] == [1, 2]
    assert bench.journal.waiting == []
    assert (await bench.after(5.0))["events"] == []
    bench.stop()


async def test_a_backlog_of_events_goes_out_in_portions_one_after_the_other() -> None:
    bench = Bench()
    bench.journal.record(*range(1, 2 * EVENTS_AT_ONCE + 3))
    await bench.after()
    for _ in range(4):
        await bench.after(0.25)
    told = [event["seq"] for body in bench.sent for event in body["events"]]
    assert told == list(range(1, 2 * EVENTS_AT_ONCE + 3))
    bench.stop()


async def test_events_are_told_again_until_a_status_has_succeeded() -> None:
    bench = Bench()
    await bench.after()
    bench.journal.record(1)
    bench.replies = [DOWN]
    assert len((await bench.after(5.0))["events"]) == 1
    assert bench.journal.undelivered == 1
    assert len((await bench.after(60.0))["events"]) == 1
    assert bench.journal.undelivered == 0
    bench.stop()


async def test_only_a_hub_that_was_known_to_store_events_has_them_afterwards() -> None:
    bench = Bench()
    await bench.after()
    bench.journal.record(1)
    bench.announced = Features(events=True)  # the answer to the status with the first says so
    await bench.after(5.0)
    bench.journal.record(2)
    await bench.after(5.0)
    assert bench.journal.stored == {1: False, 2: True}
    bench.stop()


async def test_what_the_next_hub_does_with_events_is_not_what_the_one_before_did() -> None:
    bench = Bench()
    bench.features = bench.announced = Features(events=True)
    await bench.after()
    bench.journal.record(1)
    bench.journal.stalled = asyncio.Event()
    await bench.after(5.0)  # the next status waits for the disk
    bench.features = bench.announced = Features()
    bench.journal.stalled.set()
    assert [event["seq"] for event in (await bench.after())["events"]] == [1]
    assert bench.journal.stored == {1: False}
    bench.stop()


async def test_a_disk_that_stalls_costs_the_events_not_the_status() -> None:
    bench = Bench()
    await bench.after()
    bench.journal.record(1)
    bench.journal.stalled = asyncio.Event()
    sent = asyncio.Event()
    bench.reporter.subscribe(lambda body, reply: sent.set())
    await bench.after(5.0)
    await asyncio.wait_for(sent.wait(), 30)
    assert (bench.sent[-1]["number"], bench.sent[-1]["events"]) == (2, [])
    bench.journal.stalled.set()
    assert [event["seq"] for event in (await bench.after(5.0))["events"]] == [1]
    bench.stop()


async def test_the_last_words_change_what_they_name_and_nothing_else() -> None:
    bench = Bench()
    await bench.after()
    await bench.reporter.send(status="offline")
    assert bench.sent[-1]["status"] == "offline"
    assert bench.sent[-1]["number"] == 2
    bench.stop()


async def test_a_hub_that_wants_all_of_it_each_time_gets_it() -> None:
    bench = Bench()
    for _ in range(3):
        await bench.reporter.send()
    assert ["history" in body for body in bench.sent[-3:]] == [True, False, False]
    bench.features = Features(full_status=True)
    await bench.reporter.send()
    assert bench.sent[-1]["history"] == ["a job"]
    assert bench.reporter.last_body == bench.sent[-1]
    for task in bench.tasks:
        task.cancel()
