"""What every test may ask for: short folders, the interpreters of the bench, the real stack."""

from __future__ import annotations

import contextlib
import datetime
import os
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import spread
from tests.rig.klippy import short_folder
from tests.rig.moonraker import MoonrakerRig, interpreters, with_speedups
from tests.rig.stack import Stack


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`moonraker_python`: every interpreter of the bench in turn, each with its Moonraker."""
    if "moonraker_python" in metafunc.fixturenames:
        found = interpreters()
        metafunc.parametrize("moonraker_python", found.values(), ids=found.keys())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # one of several workers
        spread.sort(items)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> spread.Spread:
    return spread.Spread(config, log)


def moonraker_of_the_day(path: Path, day: datetime.date) -> str:
    """The interpreter in which the tests of this file run Moonraker: one day the plain one, the
    next day the one with Moonraker's speed-ups (msgspec, uvloop), half of the files each.

    ``TECMEDHUB_MOONRAKER=plain`` or ``=speedups`` decides for all of them.
    """
    found = interpreters()
    group = path.parent.name if path.parent.name == "fault_matrix" else path.name
    turn = (zlib.crc32(group.encode()) + day.toordinal()) % 2
    wanted = os.environ.get("TECMEDHUB_MOONRAKER") or ("plain", "speedups")[turn]
    return {"plain": found["main"], "speedups": with_speedups()}[wanted]


@pytest.fixture(scope="module", autouse=True)
def _moonraker(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if not os.environ.get("TECMEDHUB_MOONRAKER_PYTHON"):
            today = datetime.datetime.now(datetime.timezone.utc).date()
            python = moonraker_of_the_day(request.path, today)
            patch.setenv("TECMEDHUB_MOONRAKER_PYTHON", python)
        yield


@pytest.fixture
def folder() -> Iterator[Path]:
    """A temporary folder with a path short enough for Unix sockets (pytest's own is too long)."""
    with short_folder("t") as path:
        yield path


@pytest.fixture(scope="session")
def _shared_stacks() -> Iterator[dict[str, Stack]]:
    """At most one at a time: what idles costs processor time too."""
    stacks: dict[str, Stack] = {}
    try:
        yield stacks
    finally:
        for shared in stacks.values():
            shared.stop()


@pytest.fixture
def stack(_shared_stacks: dict[str, Stack], _session_folder: Path) -> Stack:
    """The whole chain, one for many tests; each test finds it as new."""
    python = os.environ["TECMEDHUB_MOONRAKER_PYTHON"]
    shared = _shared_stacks.get(python)
    if shared is not None:
        shared.reset()
        return shared
    while _shared_stacks:
        _shared_stacks.popitem()[1].stop()
    path = _session_folder / str(len(list(_session_folder.iterdir())))
    shared = _shared_stacks[python] = Stack(path)
    shared.__enter__()
    return shared


@pytest.fixture(scope="session")
def _session_folder() -> Iterator[Path]:
    with short_folder("s") as path:
        yield path


_MADE = pytest.StashKey[list[Stack]]()


@pytest.fixture
def make_stack(request: pytest.FixtureRequest) -> Iterator[Callable[..., Stack]]:
    """`make_stack(generation=2, features={…})`: a running chain of its own, until the test ends."""
    made = request.node.stash[_MADE] = []
    with contextlib.ExitStack() as all_of_them:

        def make(**arguments: Any) -> Stack:
            path = all_of_them.enter_context(short_folder("s"))
            made.append(all_of_them.enter_context(Stack(path, **arguments)))
            return made[-1]

        yield make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails on a rig shows the last lines of its logs."""
    report = yield
    if report.when == "call" and report.failed:
        rigs = list(getattr(item, "funcargs", {}).items())
        rigs += [("a made stack", stack) for stack in item.stash.get(_MADE, [])]
        for name, value in rigs:
            if isinstance(value, (Stack, MoonrakerRig)):
                report.sections.append((f"logs of {name}", value.log_tail()))
    return report
