"""A disk that stalls over one command keeps no other, and no emergency stop, from being fetched."""

from __future__ import annotations

import asyncio
from typing import Any

from components.commands import inbox
from components.commands.inbox import Inbox
from components.runtime.supervisor import Supervisor
from tests.unit.fakes import Board, FakeClock, settle

SOON = 0.01  # seconds


class Stalled:
    """A take that waits for the disk until it answers."""

    def __init__(self) -> None:
        self.disk = asyncio.Event()
        self.begun: list[Any] = []
        self.taken: list[Any] = []
        self.news = 0
        self.board = Board()
        self.supervisor = Supervisor(self.board.notices, FakeClock())
        self.hub = "a"
        self.arrived: list[tuple[Any, str]] = []
        self.inbox = Inbox(
            self.take,
            self.supervisor,
            self.new,
            SOON,
            arrived=lambda raw, hub: self.arrived.append((raw, hub)),
            hub=lambda: self.hub,
        )

    async def take(self, raw: Any, generation: Any) -> int | None:
        self.begun.append(raw)
        if raw == "broken":
            raise ValueError("no command")
        await self.disk.wait()
        self.taken.append(raw)
        if raw == "too late":
            return None
        return int(raw != "known")

    def new(self) -> None:
        self.news += 1


async def test_whoever_asks_the_hub_goes_on_and_nothing_is_lost() -> None:
    stalled = Stalled()
    for raw in ("heat", "stop", "known"):
        await stalled.inbox.deliver(raw, 1)
    assert (stalled.begun, stalled.taken) == (["heat", "stop", "known"], [])
    stalled.disk.set()
    await settle()
    assert stalled.taken == ["heat", "stop", "known"]
    assert stalled.news == 2


async def test_with_a_disk_that_answers_the_commands_are_down_when_it_returns() -> None:
    stalled = Stalled()
    stalled.disk.set()
    await stalled.inbox.deliver("heat", 1)
    assert (stalled.taken, stalled.news) == (["heat"], 1)


async def test_replies_do_not_pile_up_without_end() -> None:
    stalled = Stalled()
    for number in range(inbox.MOST):
        await stalled.inbox.deliver(number, 1)
    last = asyncio.ensure_future(stalled.inbox.deliver("one too many", 1))
    await asyncio.sleep(5 * SOON)
    assert not last.done()
    stalled.disk.set()
    await last
    assert stalled.taken == [*range(inbox.MOST), "one too many"]


async def test_a_request_that_is_given_up_takes_no_command_back() -> None:
    stalled = Stalled()
    asking = asyncio.ensure_future(stalled.inbox.deliver("heat", 1))
    await settle()
    asking.cancel()
    stalled.disk.set()
    await settle()
    assert stalled.taken == ["heat"]


async def test_a_fault_of_ours_is_reported_and_the_next_reply_is_taken() -> None:
    stalled = Stalled()
    stalled.disk.set()
    await stalled.inbox.deliver("broken", 1)
    await stalled.inbox.deliver("heat", 1)
    assert stalled.taken == ["heat"]
    assert stalled.supervisor.failures == {"commands received": 1}


async def test_what_was_stored_has_arrived_of_the_hub_that_sent_it() -> None:
    stalled = Stalled()
    for raw in ("heat", "known", "too late"):
        await stalled.inbox.deliver(raw, 1)
    assert stalled.arrived == []
    stalled.hub = "b"
    stalled.disk.set()
    await settle()
    assert stalled.taken == ["heat", "known", "too late"]
    assert stalled.arrived == [("heat", "a"), ("known", "a")]
