"""Tasks of the plugin: one that is cancelled early leaves no trace."""

from __future__ import annotations

import asyncio
import gc
import warnings

import pytest

from components.runtime.messages import say
from components.runtime.supervisor import Supervisor
from tests.unit.fakes import Board, FakeClock, settle


async def test_work_that_is_cancelled_before_it_began_is_no_mistake() -> None:
    supervisor = Supervisor(Board().notices, FakeClock())
    began = []

    async def work() -> None:
        began.append(True)

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        task = supervisor.spawn("work", work())
        await supervisor.stop()
        del task
        gc.collect()
    assert began == []
    assert [str(warning.message) for warning in seen] == []
    assert supervisor.failures == {}


async def test_a_room_that_cannot_start_is_told_and_tried_again() -> None:
    clock = FakeClock()
    board = Board(clock)
    supervisor = Supervisor(board.notices, clock)
    faults = [KeyError("stop"), OSError("no disk")]
    started = []

    async def room() -> None:
        if faults:
            raise faults.pop()
        started.append(True)

    await supervisor.start(say("the commands"), room)
    (text,) = board.warnings.values()
    assert "could not start the commands (no disk)" in text
    clock.advance(1.0)
    await settle()
    (text,) = board.warnings.values()
    assert "'stop'" in text
    clock.advance(2.0)
    await settle()
    assert started == [True]
    assert board.warnings == {}
    assert supervisor.running == {}
    await supervisor.stop()


async def test_a_room_is_named_in_the_operators_language() -> None:
    clock, board = FakeClock(), Board()
    board.language = "es"
    supervisor = Supervisor(board.notices, clock)

    async def room() -> None:
        raise OSError("no disk")

    await supervisor.start(say("the cameras"), room)
    (text,) = board.warnings.values()
    assert "no pudo iniciar las cámaras (no disk)" in text
    await supervisor.stop()


async def test_a_room_that_takes_for_ever_keeps_nobody_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("components.runtime.supervisor.START_WITHIN", 0.01)
    supervisor = Supervisor(Board().notices, FakeClock())
    await supervisor.start(say("the settings"), asyncio.Event().wait)  # type: ignore[arg-type]
    assert supervisor.running == {"start the settings": True}
    await supervisor.stop()


async def test_a_room_that_is_still_starting_when_we_leave_does_not_fail() -> None:
    board = Board()
    supervisor = Supervisor(board.notices, FakeClock())
    closing = asyncio.Event()

    async def room() -> None:
        await closing.wait()
        raise OSError("the store is closed")

    coming_up = asyncio.ensure_future(supervisor.start(say("the events"), room))
    await settle()
    supervisor.stop_starting()
    closing.set()
    await coming_up
    assert supervisor.failures == {}
    assert board.warnings == {}
