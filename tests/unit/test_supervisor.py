"""Tasks of the plugin: one that is cancelled early leaves no trace."""

from __future__ import annotations

import asyncio
import gc
import warnings

import pytest

from components.runtime.messages import say
from components.runtime.supervisor import Supervisor
from tests.unit.fakes import WITHIN, Board, FakeClock, settle, until


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
    told = [str(warning.message) for warning in seen]  # of what other tests left, too
    assert [text for text in told if work.__qualname__ in text] == []
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
    await supervisor.start(say("the cameras"), asyncio.Event().wait)  # type: ignore[arg-type]
    assert supervisor.running == {"start the cameras": True}
    await supervisor.stop()


async def test_what_all_go_by_is_waited_for_however_long_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("components.runtime.supervisor.START_WITHIN", 0.01)
    clock = FakeClock()
    board = Board(clock)
    supervisor = Supervisor(board.notices, clock)
    disk = asyncio.Event()
    faults = [OSError("no disk")]

    async def room() -> None:
        await disk.wait()
        if faults:
            raise faults.pop()

    start = supervisor.start(say("the settings"), room, needed=True)
    coming_up = asyncio.ensure_future(start)
    await until(lambda: board.warnings, "a warning that it takes so long")
    (text,) = board.warnings.values()
    assert "could not start the settings (no answer within 0 s)" in text
    assert "no emergency stop" in text
    disk.set()
    await until(lambda: "no disk" in "".join(board.warnings.values()), "the failure")
    assert not coming_up.done()
    clock.advance(1.0)
    await coming_up
    assert board.warnings == {}
    await supervisor.stop()


async def test_a_task_that_is_to_end_does_not_outlive_whoever_waits_for_that() -> None:
    supervisor = Supervisor(Board().notices, FakeClock())
    ended = asyncio.Event()

    async def for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    supervisor.keep("commands", for_ever)
    finishing = asyncio.ensure_future(supervisor.finish("commands", 60.0))
    await settle()
    finishing.cancel()
    await asyncio.wait_for(ended.wait(), WITHIN)


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
