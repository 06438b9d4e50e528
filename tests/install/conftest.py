from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .machine import FakeMoonraker, Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def running() -> Iterator[FakeMoonraker]:
    """A Moonraker that answers, with nothing to print."""
    with FakeMoonraker() as fake:
        yield fake
