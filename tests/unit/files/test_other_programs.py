"""Another program writes into the same folders while we place, replace and clean up: nothing of
its is lost.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from components.files import placing
from components.files.wanted import TransferError
from components.runtime import moves
from components.runtime.identity import identity_of
from tests.unit.files.bench import Bench, gcode
from tests.unit.files.test_cleanup import DAY, CleanBench
from tests.unit.files.test_cleanup import bench as clean_bench  # noqa: F401 - a fixture

MIB = 2**20
BODY = gcode(MIB)
THEIRS = b"G28 ; somebody else's\n"


def before(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, deed: Any) -> None:
    """Let `deed` happen once at the last moment before `module.name` does its work."""
    real = getattr(module, name)

    def late(*args: Any) -> Any:
        monkeypatch.setattr(module, name, real)
        deed()
        return real(*args)

    monkeypatch.setattr(module, name, late)


async def test_a_file_that_appears_at_the_last_moment_keeps_its_name(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.hub.offer("a.gcode", BODY)
    theirs = bench.root / "a.gcode"
    before(monkeypatch, moves, "place", lambda: theirs.write_bytes(THEIRS))
    assert await bench.fetch("a.gcode") == "a (2).gcode"
    assert bench.gcodes == {"a.gcode": THEIRS, "a (2).gcode": BODY}
    assert [row.path for row in await bench.downloads.owned()] == ["a (2).gcode"]


async def test_a_file_system_without_renameat2_is_served_by_links(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moves, "_find_renameat2", lambda: None)
    (bench.root / "a.gcode").write_bytes(THEIRS)
    bench.hub.offer("a.gcode", BODY)
    assert await bench.fetch("a.gcode") == "a (2).gcode"
    assert bench.gcodes == {"a.gcode": THEIRS, "a (2).gcode": BODY} and bench.staged == []


async def test_a_file_system_that_can_only_replace_gets_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*args: Any, **more: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(moves, "_find_renameat2", lambda: None)
    monkeypatch.setattr(os, "link", no_link)
    bench.hub.offer("a.gcode", BODY)
    with pytest.raises(TransferError, match="at the risk of replacing another file"):
        await bench.fetch("a.gcode")
    assert bench.nothing_arrived()


@pytest.mark.parametrize("how", ["rename", "write"])
async def test_our_old_version_that_became_theirs_at_the_last_moment_stays(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    bench.hub.offer("a.gcode", BODY)
    await bench.fetch("a.gcode")

    def overwrite() -> None:
        if how == "write":
            (bench.root / "a.gcode").write_bytes(THEIRS)
        else:
            (bench.folder / "x").write_bytes(THEIRS)
            os.replace(bench.folder / "x", bench.root / "a.gcode")

    before(monkeypatch, moves, "move_aside", overwrite)
    newer = gcode(MIB, seed=2)
    bench.hub.offer("a.gcode", newer)
    assert await bench.fetch("a.gcode") == "a (2).gcode"
    assert bench.gcodes == {"a.gcode": THEIRS, "a (2).gcode": newer} and bench.staged == []


async def test_a_staged_file_that_another_changed_is_not_placed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.hub.offer("a.gcode", BODY)
    part = bench.staging / "a.gcode.part"
    before(monkeypatch, placing, "_place", lambda: part.write_bytes(BODY[: MIB // 2]))
    with pytest.raises(TransferError, match="changed by another program"):
        await bench.fetch("a.gcode")
    assert bench.gcodes == {} and bench.hub.marked == [] and bench.staged == []
    assert await bench.fetch("a.gcode") == "a.gcode"


async def test_clean_up_deletes_only_the_file_it_looked_at(
    clean_bench: CleanBench,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = clean_bench
    await bench.fetched("a.gcode")
    bench.turned.advance(31 * DAY)
    before(monkeypatch, moves, "move_aside", lambda: bench.own("a.gcode"))
    assert await bench.cleanup.run() == []
    assert bench.gcodes == {"a.gcode": b"G28 ; the user's\n"} and bench.staged == []


def test_what_cannot_have_its_name_back_gets_one_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "a.gcode"
    file.write_bytes(b"first")
    expected = identity_of(file)
    assert expected is not None

    def keep() -> bool:  # asked while the file is away: somebody takes the name, and wants it kept
        file.write_bytes(THEIRS)
        return True

    assert not moves.take_away(file, expected, tmp_path, keep)
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found == {"a.gcode": THEIRS, "a (2).gcode": b"first"}
