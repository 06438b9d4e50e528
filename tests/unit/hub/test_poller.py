"""When the hub is asked for commands: every interval, sooner after activity, at once where it can
wait.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from components.hub.client import Reply
from components.hub.link import Link
from components.hub.outcomes import Failure
from components.hub.poller import ACTIVE_FOR, CommandPoller
from components.hub.protocol import Features
from components.hub.waiting import GROW_AFTER, REMEMBERED, SHORTEST_WAIT, LongPoll
from components.settings.model import Intervals, LiveSettings, Settings
from tests.unit.fakes import Board, FakeClock, settle

INTERVALS = Intervals(command_check=10.0, command_check_active=1.0)
EMPTY = Reply(True, "", {"success": True, "commands": []})


class Bench:
    """A poller at work, with a hub that answers at once, or when the test says so."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.live = LiveSettings(
            Settings(server_url="http://h/api.php", printer_token="T", intervals=INTERVALS)
        )
        self.features = Features()
        self.asked: list[float] = []  # the `wait` of each request
        self.reply = EMPTY
        self.hung_up = 0
        self.answers: asyncio.Queue[Reply] | None = None
        self.link = Link(self.live, Board(self.clock).notices, self.clock, random.Random(1))
        client: Any = self
        self.poller = CommandPoller(self.live, client, self.link, self.clock)
        self.task: asyncio.Future[None] = asyncio.ensure_future(self.poller.run())

    async def fetch_commands(self, wait: float) -> Reply:
        self.asked.append(wait)
        return self.reply if self.answers is None else await self.answers.get()

    def hang_up(self) -> None:
        self.hung_up += 1

    async def after(self, seconds: float) -> int:
        """How often the hub was asked by then."""
        await settle()
        self.clock.advance(seconds)
        await settle()
        return len(self.asked)


async def test_the_hub_is_asked_every_interval() -> None:
    bench = Bench()
    assert await bench.after(0.0) == 1
    assert await bench.after(9.9) == 1
    assert await bench.after(0.1) == 2
    assert await bench.after(10.0) == 3
    bench.task.cancel()


async def test_after_activity_it_is_asked_at_once_and_more_often_for_a_while() -> None:
    bench = Bench()
    assert await bench.after(5.0) == 1
    bench.poller.stir()
    assert await bench.after(0.0) == 2
    assert await bench.after(1.0) == 3
    assert await bench.after(ACTIVE_FOR) == 4
    assert await bench.after(9.0) == 4
    assert await bench.after(1.0) == 5
    bench.task.cancel()


async def test_what_the_reply_itself_stirs_up_does_not_ask_twice() -> None:
    bench = Bench()
    bench.answers = asyncio.Queue()
    await bench.after(0.0)
    bench.poller.stir()  # as a command that it carried does
    bench.answers.put_nowait(EMPTY)
    assert await bench.after(0.5) == 1
    assert await bench.after(0.5) == 2
    bench.task.cancel()


async def test_where_the_hub_can_wait_it_is_asked_again_as_soon_as_it_has_answered() -> None:
    bench = Bench()
    bench.features = Features(long_poll=20.0)
    bench.answers = asyncio.Queue()
    assert await bench.after(20.0) == 1
    bench.answers.put_nowait(EMPTY)
    assert await bench.after(0.0) == 2
    bench.answers.put_nowait(Reply(True, "", {"success": True, "commands": [{"id": 1}]}))
    assert await bench.after(0.0) == 3
    assert bench.asked == [20.0, 20.0, 20.0]
    bench.task.cancel()


async def test_a_hub_that_does_not_wait_as_it_announced_is_not_asked_without_end() -> None:
    bench = Bench()
    bench.features = Features(long_poll=20.0)
    assert await bench.after(0.0) == 1
    assert await bench.after(9.9) == 1
    assert await bench.after(0.1) == 2
    bench.task.cancel()


async def test_another_interval_takes_effect_at_once() -> None:
    bench = Bench()
    await bench.after(0.0)
    shorter = INTERVALS._replace(command_check=2.0)
    bench.live.replace(bench.live.now._replace(intervals=shorter))
    assert await bench.after(0.0) == 2
    assert await bench.after(2.0) == 3
    bench.task.cancel()


async def test_after_a_failure_the_link_decides_when_to_ask_again() -> None:
    bench = Bench()
    bench.reply = Reply(False, "It is slow.", failure=Failure.TIMED_OUT)
    assert await bench.after(0.0) == 1
    assert bench.link.retry_in("commands") > 0
    assert await bench.after(bench.link.retry_in("commands")) == 2
    bench.task.cancel()


async def test_once_stopped_it_ends_and_what_is_under_way_is_taken_in() -> None:
    bench = Bench()
    bench.answers = asyncio.Queue()
    await bench.after(0.0)
    bench.poller.stop()
    await settle()
    assert (bench.task.done(), bench.hung_up) == (False, 1)
    bench.answers.put_nowait(EMPTY)
    await asyncio.wait_for(bench.task, 10)
    assert len(bench.asked) == 1


async def test_a_request_that_nobody_heard_is_not_repeated_at_once() -> None:
    bench = Bench()
    bench.reply = Reply(False, "It had ended.", failure=Failure.UNREACHABLE, unheard=True)
    assert await bench.after(0.0) == 1
    assert await bench.after(9.9) == 1
    assert bench.link.retry_in("commands") == 0
    assert await bench.after(0.2) == 2
    bench.task.cancel()


async def test_a_wait_that_gets_no_answer_shrinks_and_is_a_failure_only_the_second_time() -> None:
    bench = Bench()
    bench.features = Features(long_poll=25.0)
    bench.answers = asyncio.Queue()
    lost = Reply(False, "It did not answer.", failure=Failure.TIMED_OUT)
    await bench.after(35.0)
    bench.answers.put_nowait(lost)
    await bench.after(0.0)
    assert bench.asked == [25.0, 15.0]
    assert bench.link.connected is None
    await bench.after(25.0)
    bench.answers.put_nowait(lost)
    await bench.after(0.0)
    assert bench.link.connected is False
    assert await bench.after(bench.link.retry_in("commands")) == 3
    assert bench.asked[2] == 9.0
    bench.task.cancel()


def test_a_wait_grows_again_but_not_to_where_one_was_lost() -> None:
    clock = FakeClock()
    poll = LongPoll(clock)
    assert poll.wait(25.0) == 25.0
    poll.lost(25.0, 2.0)  # an error at once says nothing of silence
    assert poll.wait(25.0) == 25.0
    poll.lost(25.0, 35.0)
    seen = []
    for _ in range(60):
        seen.append(poll.wait(25.0))
        poll.answered(seen[-1], seen[-1])
    assert seen[0] == seen[GROW_AFTER - 1] == 15.0
    assert max(seen) == pytest.approx(22.5)
    for _ in range(100):
        poll.answered(10.0, 0.1)  # commands came at once: nothing is learned of silence
    assert poll.wait(25.0) == pytest.approx(22.5)
    for _ in range(10):
        poll.lost(poll.wait(25.0), 60.0)
    assert poll.wait(25.0) == SHORTEST_WAIT
    clock.advance(REMEMBERED + 1)
    for _ in range(400):
        poll.answered(poll.wait(25.0), poll.wait(25.0))
    assert poll.wait(25.0) == 25.0
    assert poll.wait(0.0) == 0.0
