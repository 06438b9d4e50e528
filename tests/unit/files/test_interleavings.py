"""Another program writes, renames and deletes in the same folders, before any call of ours to the
disk: whatever it has written last, and not itself overwritten or deleted, is there at the end.

Not tried is a program that keeps a file open while we delete it, and writes into it afterwards: no
file system tells of that.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.files.calendar import Calendar
from components.files.cleanup import DAY, Cleanup
from components.files.gcode_root import GcodeStore
from components.files.inventory import Inventory
from components.files.names import Refused
from components.files.placing import Placing
from components.files.staging_file import StagingFile
from components.files.staging_folder import StagingFolder
from components.films.gallery import Gallery
from components.printer.open_file import LoadedFile
from components.runtime import moves
from components.settings.model import LiveSettings, Settings
from components.store.downloads import DownloadRow, DownloadState
from tests.unit.fakes import Board, FakeClock
from tests.unit.files.bench import FakeFileManager, ShortClock, gcode

CASES = settings.default.max_examples  # the profile's: a hundred in the suite
CASES = 10_000 if CASES >= 5000 else 300
NAMES = ("a.gcode", "a (2).gcode", "b.gcode")
CALLS = ("rename", "link", "unlink", "lstat", "stat", "mkdir")


class InlineWorker:
    """No threads: each call to the disk is a step of its own."""

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)

    def submit(self, function: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        try:
            future.set_result(function(*args))
        except Exception as error:
            future.set_exception(error)
        return future


class Records:
    """`store.downloads.Downloads`, in memory."""

    def __init__(self) -> None:
        self.rows: list[DownloadRow] = []

    def begin(self, name: str, body: bytes) -> int:
        md5 = hashlib.md5(body).hexdigest()
        ident = len(self.rows)
        self.rows.append(
            DownloadRow(ident, name, name, "hub", DownloadState.RUNNING, "", "", len(body), md5,
                        "", None, None, False, 0.0, None)
        )  # fmt: skip
        return ident

    def _change(self, ident: int, **changes: Any) -> None:
        self.rows[ident] = self.rows[ident]._replace(**changes)

    async def placing(self, ident: int, path: str, size: int, md5: str, sha256: str) -> None:
        self._change(ident, state=DownloadState.PLACING, path=path)

    async def done(self, ident: int, path: str, size: int, mtime: int, mark: bool) -> None:
        for row in self.rows:
            if row.path == path and row.state is DownloadState.DONE:
                self._change(row.id, state=DownloadState.GONE)
        self._change(
            ident, state=DownloadState.DONE, path=path, disk_size=size, disk_mtime_ns=mtime
        )

    async def ended(self, ident: int, state: DownloadState, reason: str) -> None:
        self._change(ident, state=state)

    async def owned(self) -> list[DownloadRow]:
        return [row for row in self.rows if row.state is DownloadState.DONE]

    async def owner_of(self, path: str) -> DownloadRow | None:
        return next((row for row in await self.owned() if row.path == path), None)


class Neighbour:
    """The other program: its deeds, each due before a certain call of ours to the disk."""

    def __init__(self, root: Path, deeds: list[tuple[int, str, str]]) -> None:
        self.root = root
        self.deeds = sorted(deeds, key=lambda deed: deed[0])
        self.calls = 0
        self.busy = False
        self.written = 0
        self.mine: dict[str, list[bytes]] = {}  # by the name it left them under

    def before_a_call(self) -> None:
        if self.busy:
            return
        self.calls += 1
        while self.deeds and self.deeds[0][0] <= self.calls:
            self.do(*self.deeds.pop(0)[1:])

    def do(self, deed: str, name: str) -> None:
        self.busy = True
        try:
            getattr(self, deed)(self.root / name)
        except FileNotFoundError:
            pass
        finally:
            self.busy = False

    def _token(self) -> bytes:
        self.written += 1
        return b"; theirs %d %s\n" % (self.written, b"x" * self.written)

    def write(self, path: Path) -> None:
        token = self._token()
        path.write_bytes(token)
        self.mine[path.name] = [token]

    def replace(self, path: Path) -> None:
        token = self._token()
        beside = self.root / f".theirs{self.written}"
        beside.write_bytes(token)
        os.replace(beside, path)
        self.mine[path.name] = [token]

    def append(self, path: Path) -> None:
        if path.name.startswith("tecmedhub_") or path.is_file():
            token = self._token()
            known = path.is_file()
            whole = path.read_bytes() if known else b""
            with path.open("ab") as file:
                file.write(token)
            # What was theirs in it before is theirs still; what we had there is not.
            kept = [mine for mine in self.mine.get(path.name, []) if mine in whole]
            self.mine[path.name] = [*kept, token]

    def delete(self, path: Path) -> None:
        gone = path.read_bytes()
        path.unlink()
        left = [mine for mine in self.mine.get(path.name, []) if mine not in gone]
        self.mine[path.name] = left  # what was moved beside it is not what it deleted


@contextmanager
def watched(neighbour: Neighbour) -> Iterator[None]:
    """Let the neighbour act before each of our calls to the disk."""
    real = {name: getattr(os, name) for name in CALLS}
    no_replace = moves._rename_no_replace

    def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            neighbour.before_a_call()
            return function(*args, **more)

        return call

    try:
        for name, function in real.items():
            setattr(os, name, wrapped(function))
        moves._rename_no_replace = wrapped(no_replace)
        yield
    finally:
        for name, function in real.items():
            setattr(os, name, function)
        moves._rename_no_replace = no_replace


async def _nothing_loaded() -> LoadedFile:
    return LoadedFile()


class House:
    """Our side: placing, cleaning and the gallery, in one folder with the neighbour."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "gcodes"
        self.root.mkdir()
        board = Board()
        clock = FakeClock()
        self.clock = clock
        self.records = Records()
        worker: Any = InlineWorker()
        self.store = GcodeStore(
            FakeFileManager(self.root),
            SimpleNamespace(queued_jobs={}),
            LoadedFile,
            _nothing_loaded,
            self._method,
            lambda name, event: None,
        )
        self.staging = StagingFolder(folder / "tecmedhub", lambda: self.root, worker, board.notices)
        self.inventory = Inventory(
            downloads=self.records,  # type: ignore[arg-type]
            store=self.store,
            worker=worker,
            notices=board.notices,
            clock=clock,
        )
        self.placing = Placing(
            store=self.store,
            inventory=self.inventory,
            staging=self.staging,
            worker=worker,
            notices=board.notices,
            clock=ShortClock(),
        )
        self.cleanup = Cleanup(
            live=LiveSettings(Settings()),
            store=self.store,
            inventory=self.inventory,
            placing=self.placing,
            worker=worker,
            notices=board.notices,
            clock=clock,
            calendar=Calendar(
                clock, LiveSettings(Settings()), clock.time, lambda: None, lambda value: None
            ),
            offered=self._offered,
        )
        self.gallery = Gallery(self.root, folder / "tecmedhub")
        self.films = folder / "films"
        self.films.mkdir()

    async def _method(self, name: str, arguments: Any) -> Any:
        return {"jobs": []}

    async def _offered(self) -> set[tuple[str, str]]:
        return set()

    async def put(self, name: str, seed: int) -> None:
        body = gcode(2000 + seed, seed)
        part = await self.staging.file_for("", name)
        file = StagingFile(part, False)
        file.begin(False)
        file.write(body if seed % 2 else body.rstrip(b"\n"))
        sealed = file.seal()
        try:
            await self.placing.put(
                part,
                "",
                name,
                sealed,
                ident=self.records.begin(name, body if seed % 2 else body.rstrip(b"\n")),
                to_mark=False,
            )
        except Refused:
            pass

    async def clean(self, name: str, seed: int) -> None:
        self.clock.wall = max(p.stat().st_mtime for p in [self.root]) + 31 * DAY
        await self.cleanup.run(asked=True)

    async def film(self, name: str, seed: int) -> None:
        made = self.films / "video.mp4"
        made.write_bytes(b"film %d" % seed * 300)
        self.gallery.add(made, b"poster" * 50, printed=name, now=1.7e9, seconds=1.0, frames=seed)

    async def trim(self, name: str, seed: int) -> None:
        self.gallery.trim(1, 1 << 30)


FILMS = tuple(f"tecmedhub_{name}_20231114_2213.{kind}" for name in NAMES for kind in ("mp4", "jpg"))
OURS = st.lists(
    st.tuples(
        st.sampled_from(("put", "put", "clean", "film", "trim")),
        st.sampled_from(NAMES[::2]),
        st.integers(1, 6),
    ),
    min_size=1,
    max_size=6,
)
THEIRS = st.lists(
    st.tuples(
        st.integers(0, 150),
        st.sampled_from(("write", "replace", "append", "delete")),
        st.sampled_from(NAMES + FILMS[:2] + FILMS[-2:]),
    ),
    max_size=8,
)


@pytest.mark.slow
@settings(max_examples=CASES)
@given(ours=OURS, theirs=THEIRS, links=st.booleans())
def test_no_byte_of_another_program_is_lost(
    ours: list[tuple[str, str, int]], theirs: list[tuple[int, str, str]], links: bool
) -> None:
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    find = moves._find_renameat2
    try:
        if links:
            moves._find_renameat2 = lambda: None
        house = House(folder)
        neighbour = Neighbour(house.root, theirs)

        async def live() -> None:
            for deed, name, seed in ours:
                await getattr(house, deed)(name, seed)

        with watched(neighbour):
            asyncio.run(live())
        found = b"\0".join(path.read_bytes() for path in house.root.iterdir() if path.is_file())
        for name, tokens in neighbour.mine.items():
            for token in tokens:
                assert token in found, f"{token!r}, left as {name}"
        hidden = [path.name for path in folder.rglob("*.aside")]
        assert not hidden, "nothing stays moved aside"
    finally:
        moves._find_renameat2 = find
        shutil.rmtree(folder, ignore_errors=True)
