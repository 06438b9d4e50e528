"""The list of the newest files: walked once, then kept by Moonraker's events."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.printer.gcode_files import KEPT, SHOWN, GcodeFiles, walk
from components.runtime.clock import Clock
from components.runtime.supervisor import Supervisor
from components.runtime.worker import Worker
from tests.unit.fakes import Board


class Events:
    def __init__(self) -> None:
        self.handler: Callable[[Any], None] = lambda info: None

    def register_event_handler(self, event: str, handler: Callable[[Any], None]) -> None:
        assert event == "file_manager:filelist_changed"
        self.handler = handler


class Bench:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.events = Events()
        self.worker = Worker("test")
        supervisor = Supervisor(Board().notices, Clock())
        self.files = GcodeFiles(self.events, root, self.worker, supervisor)
        self.files.register()

    async def walked(self) -> None:
        """Until the next walk has been taken over."""
        import asyncio

        done = asyncio.Event()
        self.files.subscribe(done.set)
        self.files.start()
        await done.wait()

    def tell(self, action: str, path: str, modified: float = 0.0, source: str = "") -> None:
        item = {"root": "gcodes", "path": path, "size": 10, "modified": modified}
        info: dict[str, Any] = {"action": action, "item": item}
        if source:
            info["source_item"] = {"root": "gcodes", "path": source}
        self.events.handler(info)

    @property
    def names(self) -> list[str]:
        return [f.name for f in self.files.newest()]


def make(root: Path, name: str, modified: float, size: int = 5) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (modified, modified))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_the_newest_fifty_of_all_folders(bench: Bench) -> None:
    for number in range(60):
        make(bench.root, f"f{number % 3}/n{number:02}.gcode", 1000 + number)
    make(bench.root, ".hidden.gcode", 9999)
    make(bench.root, "notes.txt", 9999)
    await bench.walked()
    assert len(bench.names) == SHOWN
    assert bench.names[0] == "f2/n59.gcode"
    assert bench.files.newest()[0].size == 5


async def test_events_keep_the_list(bench: Bench) -> None:
    make(bench.root, "a.gcode", 1000)
    await bench.walked()
    bench.tell("create_file", "b.gcode", 2000)
    assert bench.names == ["b.gcode", "a.gcode"]
    bench.tell("modify_file", "a.gcode", 3000)
    assert bench.names == ["a.gcode", "b.gcode"]
    bench.tell("move_file", "c.gcode", 3000, source="a.gcode")
    assert bench.names == ["c.gcode", "b.gcode"]
    bench.tell("delete_file", "c.gcode")
    assert bench.names == ["b.gcode"]
    bench.tell("create_file", "picture.png", 9000)
    assert bench.names == ["b.gcode"]


async def test_deleting_the_newest_brings_older_ones_back(bench: Bench) -> None:
    import asyncio

    for number in range(KEPT + 60):
        make(bench.root, f"n{number:03}.gcode", 1000 + number)
    await bench.walked()
    changed = asyncio.Event()
    bench.files.subscribe(changed.set)
    for number in range(KEPT + 60 - 1, 55, -1):
        (bench.root / f"n{number:03}.gcode").unlink()
        bench.tell("delete_file", f"n{number:03}.gcode")
    while bench.names[:1] != ["n055.gcode"] or len(bench.names) < SHOWN:
        changed.clear()
        await asyncio.wait_for(changed.wait(), 10)
    assert bench.names[-1] == "n006.gcode"


async def test_a_whole_folder_moved_is_walked_anew(bench: Bench) -> None:
    import asyncio

    await bench.walked()
    make(bench.root, "new/a.gcode", 1000)
    changed = asyncio.Event()
    bench.files.subscribe(changed.set)
    bench.tell("create_dir", "new")
    await asyncio.wait_for(changed.wait(), 10)
    assert bench.names == ["new/a.gcode"]


def test_a_ring_of_links_ends(tmp_path: Path) -> None:
    make(tmp_path, "a/x.gcode", 1000)
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    found, total = walk(tmp_path, 10)
    assert total == len(found) <= 2


def test_a_file_is_looked_up_on_disk(bench: Bench) -> None:
    make(bench.root, "a.gcode", 1000, size=7)
    found = bench.files.find("a.gcode")
    assert found is not None
    assert found.size == 7
    assert bench.files.find("none.gcode") is None
    assert bench.files.find("a\x00b") is None
