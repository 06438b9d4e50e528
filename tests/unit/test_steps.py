"""Work in pieces gives everybody else a turn: at first, after some time, after some pieces."""

from __future__ import annotations

import asyncio

import pytest

from components.runtime import steps as steps_module
from components.runtime.steps import AT_ONCE, BREATH, MOST, Steps, breathe
from tests.unit.fakes import FakeClock


class Others:
    """Counts the turns that the event loop gives to everybody else."""

    def __init__(self) -> None:
        self.turns = 0
        self._next()

    def _next(self) -> None:
        self.handle = asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self.turns += 1
        self._next()


async def test_others_have_their_turn_at_first_and_whenever_some_time_has_gone() -> None:
    clock, others = FakeClock(), Others()
    steps = Steps(clock)
    seen = []
    for _ in range(4):
        await steps.pause()
        seen.append(others.turns)
        clock.advance(AT_ONCE * 0.6)
    assert seen == [1, 1, 2, 2]
    others.handle.cancel()


async def test_others_have_their_turn_after_many_pieces_also_while_the_clock_stands() -> None:
    others = Others()
    steps = Steps(FakeClock())
    for _ in range(1 + 3 * MOST):
        await steps.pause()
    assert others.turns == 1 + 3
    others.handle.cancel()


def test_a_thread_stands_back_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr(steps_module.time, "sleep", rests.append)
    for piece in range(41):
        breathe(piece)
    assert rests == [BREATH] * 2
