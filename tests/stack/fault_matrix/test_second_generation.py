"""Rows of the fault matrix: the hub of the second generation, which has endpoints of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rig.klippy import short_folder
from tests.stack.fault_matrix.bench import FaultyStack
from tests.stack.fault_matrix.test_hub import live_through

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

ROWS = ("refuses", "hangs", "answers 500", "answers HTML", "breaks off", "knows no such token")


@pytest.fixture(scope="module")
def _second() -> Iterator[FaultyStack]:
    with short_folder("f") as folder, FaultyStack(folder, generation=2) as stack:
        yield stack


@pytest.mark.parametrize("row", ROWS)
def test_the_hub(_second: FaultyStack, row: str) -> None:
    stack = _second
    stack.whole()
    live_through(stack, row)
    assert stack.strange_words() == []
    found = stack.faults_in_log()
    assert not found, found[0]
