"""What the hub may delete: its own files, unchanged, that nothing uses."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from components.files.deleting import Deleting
from components.files.gcode_root import StoreFailed
from components.files.names import Refused
from components.printer.open_file import LoadedFile
from components.runtime import moves
from components.runtime.worker import aside
from tests.unit.fakes import settle
from tests.unit.files.bench import Bench, gcode


def deleting(bench: Bench) -> Deleting:
    return Deleting(store=bench.store, inventory=bench.inventory, placing=bench.placing)


def allowed() -> None:
    """Nothing has been said against it."""


async def fetched(bench: Bench, name: str) -> str:
    bench.hub.offer(name, gcode(1000, 1))
    return await bench.fetch(name)


def gcodes(bench: Bench) -> set[str]:
    return {str(f.relative_to(bench.root)) for f in bench.root.rglob("*") if f.is_file()}


async def test_a_file_of_the_hub_goes_and_is_forgotten(bench: Bench) -> None:
    path = await fetched(bench, "piñón.gcode")
    (bench.root / "mine.gcode").write_bytes(b"G28\n")
    room = deleting(bench)
    assert await room.why_not(path) == ""
    assert gcodes(bench) == {path, "mine.gcode"}, "a look deletes nothing"
    assert await room.delete(path, allowed) == 'deleted "piñón.gcode" (1000 bytes)'
    assert gcodes(bench) == {"mine.gcode"}
    assert await bench.downloads.owned() == []
    with pytest.raises(Refused, match="among the files that came from the hub"):
        await room.delete(path, allowed)


@pytest.mark.parametrize("state", ["complete", "cancelled", "standby"])
async def test_one_whose_job_is_over_goes(bench: Bench, state: str) -> None:
    path = await fetched(bench, "a.gcode")
    bench.loaded = LoadedFile(path, state)
    assert "deleted" in await deleting(bench).delete(path, allowed)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("printing", "it is loaded"),
        ("paused", "it is loaded"),
        ("error", "it is loaded"),
        ("open", "it is loaded"),
        ("queued", "it waits in the job queue"),
        ("changed", "no longer what came from the hub"),
        ("gone", "no longer what came from the hub"),
        ("another", "no longer what came from the hub"),
        ("link", "no longer what came from the hub"),
    ],
)
async def test_what_stays(bench: Bench, what: str, reason: str) -> None:
    path = await fetched(bench, "a.gcode")
    file = bench.root / path
    if what in ("printing", "paused", "error"):
        bench.loaded = LoadedFile(path, what)
    elif what == "open":
        bench.loaded = LoadedFile("", "standby", str(file))
    elif what == "queued":
        bench.job_queue.queued_jobs = {"1": path}
    elif what == "changed":
        file.write_bytes(file.read_bytes()[:-2] + b"9\n")
    elif what == "gone":
        file.unlink()
    elif what == "another":
        os.replace(_write(bench.root / "new", b"G28 ; a person's\n"), file)
    elif what == "link":
        file.rename(bench.folder / "elsewhere")
        file.symlink_to(bench.folder / "elsewhere")
    before = gcodes(bench)
    assert reason in await deleting(bench).why_not(path)
    with pytest.raises(Refused, match=reason):
        await deleting(bench).delete(path, allowed)
    assert gcodes(bench) == before


async def test_what_is_put_to_use_between_the_look_and_the_deed_stays(bench: Bench) -> None:
    path = await fetched(bench, "a.gcode")
    look = bench.inventory.unchanged

    async def and_somebody_prints(row: object) -> object:
        found = await look(row)  # type: ignore[arg-type]
        bench.loaded = LoadedFile(path, "printing", str(bench.root / path))
        return found

    bench.inventory.unchanged = and_somebody_prints  # type: ignore[assignment,method-assign]
    with pytest.raises(Refused, match="it is loaded"):
        await deleting(bench).delete(path, allowed)
    assert gcodes(bench) == {path}


async def test_a_job_that_nobody_has_heard_of_yet_keeps_its_file(bench: Bench) -> None:
    """Klipper tells of a job a quarter of a second after it has opened the file."""
    path = await fetched(bench, "a.gcode")
    seen: list[bool] = []

    async def look() -> LoadedFile:
        seen.append((bench.root / path).exists())
        return LoadedFile(path, "printing", str(bench.root / path))

    bench.look = look  # type: ignore[method-assign]
    with pytest.raises(Refused, match="just put to use"):
        await deleting(bench).delete(path, allowed)
    assert gcodes(bench) == {path}
    assert seen[-1] is False, "what is asked last is asked when nobody can open it any more"


async def test_what_is_said_against_it_while_klipper_is_asked_still_counts(bench: Bench) -> None:
    """A Klippy that hangs leaves time to throw the switch at the printer."""
    path = await fetched(bench, "a.gcode")
    thrown: list[bool] = []

    async def look() -> LoadedFile:
        if not (bench.root / path).exists():
            thrown.append(True)
        return LoadedFile()

    def check() -> None:
        if thrown:
            raise Refused("Remote control was switched off.")

    bench.look = look  # type: ignore[method-assign]
    with pytest.raises(Refused, match="switched off"):
        await deleting(bench).delete(path, check)
    assert gcodes(bench) == {path}


@pytest.mark.parametrize("answers", [0, 1])
async def test_a_file_stays_where_klipper_does_not_say_what_it_has_open(
    bench: Bench, answers: int
) -> None:
    path = await fetched(bench, "a.gcode")
    left = [LoadedFile()] * answers

    async def look() -> LoadedFile:
        if left:
            return left.pop()
        raise StoreFailed("Klippy did not answer")

    bench.look = look  # type: ignore[method-assign]
    with pytest.raises(Refused, match="could not be deleted: Klippy did not answer"):
        await deleting(bench).delete(path, allowed)
    assert gcodes(bench) == {path}


async def test_a_file_that_a_crash_left_aside_gets_its_folder_back(bench: Bench) -> None:
    """Moonraker is killed while Klipper is asked: the job queue and the records know the path."""
    path = await in_a_folder(bench)
    asked = asyncio.Event()
    bench.look = klipper_that_hangs(asked)  # type: ignore[method-assign]
    killed = asyncio.ensure_future(deleting(bench).delete(path, allowed))
    await asked.wait()
    assert gcodes(bench) == set()
    (bench.root / "aula 100%" / "a%2Fb").rmdir()
    await bench.staging_folder.empty(set())  # the next start
    assert gcodes(bench) == {path}
    killed.cancel()


@pytest.mark.parametrize("in_the_middle_of", ["move_aside", "look", "remove_aside"])
async def test_whoever_is_cancelled_leaves_no_file_aside(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, in_the_middle_of: str
) -> None:
    path = await in_a_folder(bench)
    reached, go_on = threading.Event(), threading.Event()
    asked = asyncio.Event()
    if in_the_middle_of == "look":
        bench.look = klipper_that_hangs(asked)  # type: ignore[method-assign]
    else:
        real = getattr(moves, in_the_middle_of)

        def slow(*args: object) -> object:
            if in_the_middle_of == "move_aside":
                reached.set()
                go_on.wait()
            return real(*args)

        monkeypatch.setattr(moves, in_the_middle_of, slow)
    if in_the_middle_of == "remove_aside":  # it waits behind something else: it has not begun
        look = bench.look

        async def then_something_else() -> LoadedFile:
            if not (bench.root / path).exists():
                bench.worker.submit(lambda: (reached.set(), go_on.wait()))
            return await look()

        bench.look = then_something_else  # type: ignore[method-assign]
    work = asyncio.ensure_future(deleting(bench).delete(path, allowed))
    await (asked.wait() if in_the_middle_of == "look" else aside(reached.wait))
    await settle()
    work.cancel()
    await settle()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await work
    await bench.worker.run(int)  # all that was begun is over
    left = set() if in_the_middle_of == "remove_aside" else {path}
    assert gcodes(bench) == left
    assert not list(bench.staging.glob(".*"))


async def in_a_folder(bench: Bench) -> str:
    """A file of the hub with a path of which every part has to be kept."""
    settings = bench.live.now
    files = settings.file_management._replace(folder="aula 100%/a%2Fb")
    bench.live.replace(settings._replace(file_management=files))
    return await fetched(bench, "pieza 1-2%.gcode")


def klipper_that_hangs(asked: asyncio.Event) -> Callable[[], Awaitable[LoadedFile]]:
    """It answers the first question."""
    questions = iter(range(9))

    async def look() -> LoadedFile:
        if next(questions):
            asked.set()
            await asyncio.get_running_loop().create_future()
        return LoadedFile()

    return look


@pytest.mark.parametrize("name", ["mine.gcode", "../outside.gcode", "/etc/hostname", "", "x" * 999])
async def test_nothing_else_is_touched(bench: Bench, name: str) -> None:
    await fetched(bench, "a.gcode")
    (bench.root / "mine.gcode").write_bytes(b"G28\n")
    (bench.folder / "outside.gcode").write_bytes(b"G28\n")
    with pytest.raises(Refused):
        await deleting(bench).delete(name, allowed)
    assert gcodes(bench) == {"a.gcode", "mine.gcode"}
    assert (bench.folder / "outside.gcode").exists()


async def test_a_locked_moonraker_is_told(bench: Bench) -> None:
    path = await fetched(bench, "a.gcode")
    bench.file_manager.locked = True
    with pytest.raises(Refused, match="Write access is currently disabled"):
        await deleting(bench).delete(path, allowed)
    assert gcodes(bench) == {path}


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
