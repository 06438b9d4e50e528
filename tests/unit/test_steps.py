"""Work in pieces lets everybody else have a turn."""

from __future__ import annotations

import pytest

from components.runtime import steps as steps_module
from components.runtime.steps import BREATH, breathe


def test_a_thread_stands_back_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr(steps_module.time, "sleep", rests.append)
    for piece in range(41):
        breathe(piece)
    assert rests == [BREATH] * 2
