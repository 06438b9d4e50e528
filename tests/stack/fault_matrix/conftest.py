"""One stack for the rows of a file; each row finds it in good order, and leaves no trace in
Moonraker's log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rig.klippy import short_folder
from tests.stack.fault_matrix.bench import FaultyStack


@pytest.fixture(scope="module")
def _faulty() -> Iterator[FaultyStack]:
    with short_folder("f") as folder, FaultyStack(folder) as stack:
        yield stack


@pytest.fixture
def stack(_faulty: FaultyStack) -> Iterator[FaultyStack]:
    """In good order. No fault of ours may stand in Moonraker's log after it, unless it says so."""
    _faulty.whole()
    _faulty.traces_expected = False
    yield _faulty
    strange = _faulty.strange_words()
    assert not strange, strange
    found = _faulty.faults_in_log()
    assert _faulty.traces_expected or not found, found[0]
