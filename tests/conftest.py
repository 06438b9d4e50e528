"""What every test may ask for: short folders, the interpreters of the bench, the real stack."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.moonraker import interpreters


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`moonraker_python`: every interpreter of the bench in turn, each with its Moonraker."""
    if "moonraker_python" in metafunc.fixturenames:
        found = interpreters()
        metafunc.parametrize("moonraker_python", found.values(), ids=found.keys())


@pytest.fixture
def folder() -> Iterator[Path]:
    """A temporary folder with a path short enough for Unix sockets (pytest's own is too long)."""
    path = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)
