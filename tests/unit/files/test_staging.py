"""Where unfinished files lie: out of sight, and where a rename is enough to put them in place."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.files.staging_folder import StagingFolder
from components.runtime.worker import Worker
from tests.unit.fakes import Board


@pytest.fixture
def other_disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def staging(data: Path, gcodes: Path) -> StagingFolder:
    worker = Worker("test-staging")
    return StagingFolder(data / "tecmedhub", lambda: gcodes, worker, Board().notices)


async def test_usually_in_our_own_folder(tmp_path: Path) -> None:
    (tmp_path / "gcodes").mkdir()
    folder = staging(tmp_path, tmp_path / "gcodes")
    part = await folder.file_for("not/there/yet", "a.gcode")
    assert part == tmp_path / "tecmedhub" / "staging" / "a.gcode.part"
    assert part.parent.is_dir() and not list(part.parent.iterdir())


async def test_beside_the_gcodes_when_they_are_on_another_disk(
    tmp_path: Path, other_disk: Path
) -> None:
    gcodes = other_disk / "gcodes"
    gcodes.mkdir()
    assert other_disk.stat().st_dev != tmp_path.stat().st_dev
    folder = staging(tmp_path, gcodes)
    part = await folder.file_for("", "a.gcode")
    assert part.parent.parent == other_disk and part.parent.name.startswith(".tecmedhub-staging-")
    part.write_bytes(b"G28\n")
    assert await folder.left_of("A.GCODE") is None
    assert await folder.left_of("a.gcode") == part
    await folder.empty(set())
    assert not part.exists() and gcodes.is_dir()


async def test_hidden_in_the_gcodes_when_nothing_else_will_do(
    tmp_path: Path, other_disk: Path
) -> None:
    gcodes = other_disk / "gcodes"
    gcodes.mkdir()
    beside = (await staging(tmp_path, gcodes).file_for("", "a.gcode")).parent
    beside.rmdir()
    beside.write_text("a file stands in the way")
    part = await staging(tmp_path, gcodes).file_for("", "a.gcode")
    assert part.parent == gcodes / beside.name


async def test_each_moonraker_has_its_own_on_a_shared_disk(
    tmp_path: Path, other_disk: Path
) -> None:
    gcodes = other_disk / "gcodes"
    gcodes.mkdir()
    parts = [await staging(tmp_path / printer, gcodes).file_for("", "a.gcode") for printer in "ab"]
    assert parts[0] != parts[1]
    for part in parts:
        part.write_bytes(b"half of it")
    await staging(tmp_path / "a", gcodes).empty(set())
    assert [part.exists() for part in parts] == [False, True]


async def test_what_a_crash_left_moved_aside_gets_its_name_back(tmp_path: Path) -> None:
    gcodes = tmp_path / "gcodes"
    gcodes.mkdir()
    folder = staging(tmp_path, gcodes)
    aside = await folder.folder_for("")
    (aside / ".0011aabb-pieza 1-2.gcode.aside").write_text("the user's")
    (aside / ".0011aabc-b.gcode.aside").write_text("older")
    (gcodes / "b.gcode").write_text("newer")
    await folder.empty(set())
    found = {path.name: path.read_text() for path in gcodes.iterdir()}
    assert found == {"pieza 1-2.gcode": "the user's", "b.gcode": "newer", "b (2).gcode": "older"}


async def test_only_our_own_files_are_removed(tmp_path: Path) -> None:
    (tmp_path / "gcodes").mkdir()
    folder = staging(tmp_path, tmp_path / "gcodes")
    part = await folder.file_for("", "a.gcode")
    part.write_bytes(b"x")
    kept = part.with_name("b.gcode.part")
    kept.write_bytes(b"y")
    foreign = part.with_name("notes.txt")
    foreign.write_text("mine")
    await folder.empty({kept})
    assert sorted(p.name for p in part.parent.iterdir()) == ["b.gcode.part", "notes.txt"]
