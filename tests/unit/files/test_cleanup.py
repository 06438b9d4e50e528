"""What is cleaned up, and what never is."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from components.files.calendar import Calendar
from components.files.cleanup import DAY, Cleanup
from components.printer.open_file import LoadedFile
from tests.unit.fakes import FakeClock, settle, until
from tests.unit.files.bench import Bench, FileServer, OddDisk, gcode

MIB = 2**20


class CleanBench(Bench):
    """Files are fetched now; `age` makes them old by turning back what is on disk and on record."""

    def __init__(self, folder: Path, server: FileServer, **options: Any) -> None:
        self.history: list[dict[str, Any]] = []
        self.history_error: Exception | None = None
        super().__init__(folder, server, **options)
        self.free = 10**12
        self.hub_ahead: float | None = 0.0
        self.noted: Any = None
        self.turned = FakeClock(self.clock.time())
        self.calendar = Calendar(
            self.turned, self.live, self.hub_time, lambda: self.noted, self.note
        )
        self.cleanup = Cleanup(
            live=self.live,
            store=self.store,
            inventory=self.inventory,
            placing=self.placing,
            worker=self.worker,
            notices=self.board.notices,
            clock=self.turned,
            calendar=self.calendar,
            offered=self.hub_files.offered,
            disk=OddDisk(lambda folder: self.free),
        )

    def hub_time(self) -> float | None:
        return None if self.hub_ahead is None else self.turned.time() + self.hub_ahead

    def note(self, value: Any) -> None:
        self.noted = value

    async def call_method(self, name: str, arguments: dict[str, Any]) -> Any:
        if name != "server.history.list":
            return await super().call_method(name, arguments)
        if self.history_error is not None:
            raise self.history_error
        jobs = [job for job in self.history if job["start_time"] > arguments["since"]]
        return {"jobs": jobs[arguments["start"] : arguments["start"] + arguments["limit"]]}

    def settings(self, **changes: Any) -> None:
        now = self.live.now
        self.live.replace(now._replace(file_management=now.file_management._replace(**changes)))

    async def fetched(self, name: str, size: int = 1000, seed: int = 1) -> str:
        self.hub.offer(name, gcode(size, seed))
        path = await self.fetch(name)
        self.inventory._in_hand.clear()  # an hour has passed
        return path

    def own(self, name: str) -> None:
        (self.root / name).write_bytes(b"G28 ; the user's\n")

    async def planned(self) -> list[str]:
        return [removal.path for removal in await self.cleanup.plan()]


@pytest_asyncio.fixture
async def bench(tmp_path: Path, server: FileServer) -> AsyncIterator[CleanBench]:
    async with CleanBench(tmp_path, server) as ready:
        yield ready


async def test_only_old_files_of_the_hub_go(bench: CleanBench) -> None:
    await bench.fetched("old.gcode")
    bench.own("mine.gcode")
    bench.turned.advance(29 * DAY)
    assert await bench.planned() == []
    bench.turned.advance(2 * DAY)
    (plan,) = await bench.cleanup.plan()
    assert (
        (plan.path, plan.size) == ("old.gcode", 1000)
        and plan.age > 30 * DAY
        and "30 days" in plan.reason
    )
    assert set(bench.gcodes) == {"old.gcode", "mine.gcode"}, "a plan deletes nothing"
    assert [removal.path for removal in await bench.cleanup.run()] == ["old.gcode"]
    assert set(bench.gcodes) == {"mine.gcode"}
    assert bench.staged == []
    assert await bench.downloads.owned() == []
    assert any("deleted" in line for line in bench.board.console)


@pytest.mark.parametrize(
    "reason",
    [
        "loaded",
        "complete",
        "open",
        "queued",
        "changed",
        "touched",
        "printed",
        "history",
        "link",
        "in hand",
        "clock",
        "no clock",
    ],
)
async def test_what_must_stay_stays(bench: CleanBench, reason: str) -> None:
    await bench.fetched("a.gcode")
    bench.turned.advance(31 * DAY)
    file = bench.root / "a.gcode"
    recently = bench.turned.time() - DAY
    assert await bench.planned() == ["a.gcode"]
    if reason in ("loaded", "complete"):
        bench.loaded = LoadedFile("a.gcode", {"loaded": "paused", "complete": "complete"}[reason])
    elif reason == "open":
        bench.loaded = LoadedFile("", "standby", str(file))
    elif reason == "queued":
        bench.job_queue.queued_jobs = {"1": "/gcodes/a.gcode"}
    elif reason == "changed":
        stat = file.stat()
        file.write_bytes(file.read_bytes()[:-2] + b"9\n")
        os.utime(file, ns=(stat.st_mtime_ns + 1, stat.st_mtime_ns + 1))
    elif reason == "touched":
        os.utime(file, (recently, recently))
    elif reason == "printed":
        bench.file_manager.metadata["a.gcode"]["print_start_time"] = recently
    elif reason == "history":
        filler = [
            {"filename": f"{n}.gcode", "start_time": recently, "end_time": recently}
            for n in range(150)
        ]
        bench.history = [*filler, {"filename": "a.gcode", "start_time": recently, "end_time": None}]
    elif reason == "link":
        file.rename(bench.folder / "elsewhere")
        file.symlink_to(bench.folder / "elsewhere")
    elif reason == "in hand":
        bench.inventory.take_in_hand("a.gcode")
    elif reason == "no clock":
        bench.hub_ahead = None  # the hub was not heard since the start: ours may have jumped
    else:
        bench.hub_ahead = -40 * DAY  # our clock has jumped: nothing is as old as it seems
    assert await bench.planned() == []
    assert await bench.cleanup.run() == []
    assert os.path.lexists(file)


async def test_same_bytes_with_another_time_are_still_the_hubs(bench: CleanBench) -> None:
    await bench.fetched("a.gcode")
    os.utime(bench.root / "a.gcode", (1_600_000_000, 1_600_000_000))
    bench.turned.advance(31 * DAY)
    assert await bench.planned() == ["a.gcode"]


async def test_nothing_goes_while_the_history_cannot_be_asked(bench: CleanBench) -> None:
    await bench.fetched("a.gcode")
    bench.turned.advance(31 * DAY)
    bench.history_error = RuntimeError("busy")
    assert await bench.planned() == []


async def test_scope_all_takes_the_users_files_too(bench: CleanBench) -> None:
    await bench.fetched("a.gcode")
    bench.own("mine.gcode")
    (bench.root / "sub").mkdir()
    bench.own("sub/deep.gcode")
    bench.own("notes.txt")
    (bench.root / ".thumbs").mkdir()
    bench.own(".thumbs/x.gcode")
    (bench.root / "link.gcode").symlink_to(bench.root / "mine.gcode")
    outside = bench.folder / "outside"
    outside.mkdir()
    (outside / "o.gcode").write_bytes(b"G28\n")
    (bench.root / "out").symlink_to(outside)
    bench.settings(cleanup_scope="all")
    assert await bench.planned() == []
    bench.turned.advance(31 * DAY)
    assert set(await bench.planned()) == {"a.gcode", "mine.gcode", "sub/deep.gcode"}
    bench.loaded = LoadedFile("mine.gcode", "complete")
    await bench.cleanup.run()
    assert (outside / "o.gcode").exists()
    assert set(bench.gcodes) >= {"mine.gcode", "notes.txt", ".thumbs/x.gcode"}
    assert "a.gcode" not in bench.gcodes and "sub/deep.gcode" not in bench.gcodes


async def test_switched_off(bench: CleanBench) -> None:
    await bench.fetched("a.gcode")
    bench.turned.advance(31 * DAY)
    bench.settings(auto_cleanup=False)
    assert await bench.planned() == ["a.gcode"], "the dry run says what switching it on would do"
    assert await bench.cleanup.run() == []
    bench.free = 100 * MIB
    assert await bench.cleanup.make_room() == 0
    assert set(bench.gcodes) == {"a.gcode"}
    assert "100 MiB" in bench.board.warnings["tecmedhub_disk_low"]


async def test_full_disk_takes_the_longest_unused_first(bench: CleanBench) -> None:
    for number in (1, 2, 3, 4):
        await bench.fetched(f"{number}.gcode", size=MIB, seed=number)
        when = bench.clock.time() - (10 - number) * 60
        bench.turned.advance(1)
        os.utime(bench.root / f"{number}.gcode", (when, when))
    bench.file_manager.metadata["1.gcode"]["print_start_time"] = bench.turned.time() + 100
    bench.own("mine.gcode")
    bench.loaded = LoadedFile("2.gcode", "complete")
    bench.turned.advance(3600)
    rows = await bench.downloads.owned()
    assert len(rows) == 4
    bench.free = 500 * MIB - MIB // 2
    assert await bench.cleanup.make_room() == MIB
    assert set(bench.gcodes) == {"1.gcode", "2.gcode", "4.gcode", "mine.gcode"}
    assert "1 files" in bench.board.warnings["tecmedhub_disk_low"]
    bench.free = 600 * MIB
    assert await bench.cleanup.make_room() == 0
    assert "tecmedhub_disk_low" not in bench.board.warnings
    assert await bench.cleanup.make_room(350 * MIB) == 0, "200 MiB stay free"
    assert await bench.cleanup.make_room(401 * MIB) == MIB
    assert set(bench.gcodes) == {"1.gcode", "2.gcode", "mine.gcode"}


async def test_full_disk_spares_what_came_just_now(bench: CleanBench) -> None:
    await bench.fetched("a.gcode")
    bench.turned.advance(300)
    bench.free = 0
    assert await bench.cleanup.make_room() == 0
    assert set(bench.gcodes) == {"a.gcode"}


async def test_deletion_that_moonraker_refuses_is_told_once(bench: CleanBench) -> None:
    await bench.fetched("a.gcode")
    bench.turned.advance(31 * DAY)
    bench.file_manager.locked = True
    assert await bench.cleanup.run() == []
    assert set(bench.gcodes) == {"a.gcode"}
    assert len(await bench.downloads.owned()) == 1


async def test_file_renamed_by_its_user_is_the_users(bench: CleanBench) -> None:
    await bench.fetched("a.gcode")
    (bench.root / "a.gcode").rename(bench.root / "b.gcode")
    bench.turned.advance(31 * DAY)
    assert await bench.cleanup.run(asked=True) == []
    assert await bench.downloads.owned() == []


async def test_only_what_somebody_has_seen_goes(bench: CleanBench) -> None:
    await bench.fetched("a.gcode")
    await bench.fetched("b.gcode")
    bench.turned.advance(31 * DAY)
    removed = await bench.cleanup.run(asked=True, only={"b.gcode", "c.gcode"})
    assert [removal.path for removal in removed] == ["b.gcode"]
    assert set(bench.gcodes) == {"a.gcode"}


async def test_it_runs_by_itself(bench: CleanBench) -> None:
    await bench.fetched("a.gcode")
    bench.turned.advance(31 * DAY)
    bench.supervisor.keep("clean-up", bench.cleanup.watch)
    await settle()
    bench.turned.advance(600)
    await until(lambda: not (bench.root / "a.gcode").exists())  # `gcodes` reads what is just going


async def test_low_space_deletes_nothing_where_that_would_not_help(bench: CleanBench) -> None:
    await bench.fetched("a.gcode", size=MIB)
    bench.turned.advance(DAY)
    bench.free = 400 * MIB  # 100 MiB are missing, and all we have is one
    assert await bench.cleanup.make_room() == 0
    assert set(bench.gcodes) == {"a.gcode"}
    (notice,) = bench.board.notices.standing
    assert notice.key == "disk_low" and "too few to change that" in notice.text
    bench.free = 500 * MIB - 1000
    assert await bench.cleanup.make_room() == MIB


async def test_low_space_makes_room_for_the_file_wanted_even_if_no_more_can_be_had(
    bench: CleanBench,
) -> None:
    await bench.fetched("a.gcode", size=2 * MIB)
    bench.turned.advance(DAY)
    bench.free = 200 * MIB
    assert await bench.cleanup.make_room(MIB) == 2 * MIB


async def test_what_the_hub_can_give_again_goes_first(bench: CleanBench) -> None:
    await bench.fetched("older.gcode", size=MIB, seed=1)
    bench.turned.advance(DAY)
    await bench.fetched("newer.gcode", size=MIB, seed=2)
    os.utime(bench.root / "older.gcode", (1, 1))
    bench.hub.files = [entry for entry in bench.hub.files if entry.name == "newer.gcode"]
    bench.turned.advance(DAY)
    bench.free = 500 * MIB - 1000
    assert await bench.cleanup.make_room() == MIB
    assert set(bench.gcodes) == {"older.gcode"}, "the hub has deleted its copy of that one"


async def test_what_bears_a_wrong_date_is_as_old_as_its_mending(bench: CleanBench) -> None:
    """A clock without NTP stood still for months: what came yesterday bears a date of June."""
    await bench.fetched("a.gcode")
    bench.hub_ahead = 90 * DAY
    bench.calendar.note()
    assert await bench.planned() == []
    bench.turned.advance(90 * DAY)
    bench.hub_ahead = 0.0
    assert await bench.planned() == []
    bench.turned.advance(31 * DAY)
    assert await bench.planned() == ["a.gcode"]


async def test_a_wrong_clock_is_noted_once_in_ten_minutes(bench: CleanBench) -> None:
    """It may stay wrong for months, and each note is a write to the card."""
    bench.calendar.note()
    assert bench.noted is None
    bench.hub_ahead = 90 * DAY
    bench.calendar.note()
    first = bench.noted
    bench.turned.advance(590)
    bench.calendar.note()
    assert bench.noted == first
    bench.turned.advance(20)
    bench.calendar.note()
    assert bench.noted == pytest.approx(first + 610, abs=1)


async def test_without_a_hub_our_own_clock_is_all_there_is(bench: CleanBench) -> None:
    await bench.fetched("a.gcode")
    bench.turned.advance(31 * DAY)
    bench.hub_ahead = None
    bench.live.replace(bench.live.now._replace(server_url=""))
    assert await bench.planned() == ["a.gcode"]


async def test_a_disk_that_is_away_says_nothing_of_what_is_on_it(bench: CleanBench) -> None:
    await bench.fetched("a.gcode")
    away = bench.root.with_name("stick")
    bench.root.rename(away)
    for empty in (False, True):
        if empty:
            bench.root.mkdir()  # where it is mounted
        await bench.cleanup.make_room(2 * bench.free)
        assert [row.path for row in await bench.downloads.owned()] == ["a.gcode"]
    bench.root.rmdir()
    away.rename(bench.root)
    (bench.root / "a.gcode").rename(bench.root / "b.gcode")
    bench.turned.advance(31 * DAY)
    assert await bench.planned() == []
    assert [row.path for row in await bench.downloads.owned()] == ["a.gcode"], "a plan only"
    await bench.cleanup.make_room(2 * bench.free)
    assert await bench.downloads.owned() == []
