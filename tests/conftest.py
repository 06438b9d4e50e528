"""What every test may ask for: short folders, the interpreters of the bench, the real stack."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rig.klippy import short_folder
from tests.rig.moonraker import MoonrakerRig, interpreters
from tests.rig.stack import Stack

TESTS = Path(__file__).parent


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`moonraker_python`: every interpreter of the bench in turn, each with its Moonraker."""
    if "moonraker_python" in metafunc.fixturenames:
        found = interpreters()
        metafunc.parametrize("moonraker_python", found.values(), ids=found.keys())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On a build server, where others share the machine, a test of the real stack that fails is
    tried once more; the summary names it.
    """
    if os.environ.get("CI"):
        for item in items:
            if "unit" not in item.path.relative_to(TESTS).parts:
                item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A temporary folder with a path short enough for Unix sockets (pytest's own is too long)."""
    with short_folder("t") as path:
        yield path


@pytest.fixture(scope="session")
def _shared_stack() -> Iterator[Stack]:
    with short_folder("s") as path, Stack(path) as shared:
        yield shared


@pytest.fixture
def stack(_shared_stack: Stack) -> Stack:
    """The whole chain, one for the session; each test finds it as new."""
    if _shared_stack.used:
        _shared_stack.reset()
    _shared_stack.used = True
    return _shared_stack


@pytest.fixture
def make_stack() -> Iterator[Callable[..., Stack]]:
    """`make_stack(generation=2, features={…})`: a running chain of its own, until the test ends."""
    with contextlib.ExitStack() as all_of_them:

        def make(**arguments: Any) -> Stack:
            path = all_of_them.enter_context(short_folder("s"))
            return all_of_them.enter_context(Stack(path, **arguments))

        yield make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails on a rig shows the last lines of its logs."""
    report = yield
    if report.when == "call" and report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, (Stack, MoonrakerRig)):
                report.sections.append((f"logs of {name}", value.log_tail()))
    return report
