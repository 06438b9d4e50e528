"""The store goes on whatever the disk does, and says so."""

from __future__ import annotations

import asyncio
import functools
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from components.runtime.worker import Worker
from components.store import flags, ledger
from components.store.database import FILE_NAME, RETRY_EVERY, Database, StoreClosed
from components.store.flags import Flags
from components.store.sqlite_file import StoreUnavailable, Work
from tests.unit.fakes import Board, FakeClock, until

SCHEMA = "CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT);"


class Store:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.board = Board(self.clock)
        self.database = Database(folder, self.board.notices, self.clock)

    async def open(self) -> Store:
        await self.database.open([SCHEMA, flags.SCHEMA, ledger.SCHEMA])
        return self

    async def reopen(self) -> Store:
        await self.database.close()
        self.database = Database(self.folder, self.board.notices, self.clock)
        return await self.open()

    async def add(self, text: str, **how: Any) -> None:
        await self.database.run(
            lambda db: db.execute("INSERT INTO notes (text) VALUES (?)", (text,)), **how
        )

    async def all(self) -> list[str]:
        rows = await self.database.run(
            lambda db: db.execute("SELECT text FROM notes ORDER BY id").fetchall()
        )
        return [text for (text,) in rows]

    def notice(self, key: str) -> str:
        return "".join(n.text for n in self.board.notices.standing if n.key == key)


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store(tmp_path / "tecmedhub").open()
    yield store
    await store.database.close()


async def test_what_is_written_is_there_after_a_restart(store: Store) -> None:
    await store.add("a")
    await store.add("b", durable=True)
    await store.reopen()
    assert await store.all() == ["a", "b"]
    assert store.database.writable
    assert store.board.notices.standing == []


async def test_durable_work_is_synchronous_full_and_other_work_is_not(store: Store) -> None:
    def level(db: sqlite3.Connection) -> Any:
        return db.execute("PRAGMA synchronous").fetchone()[0]

    assert await store.database.run(level, durable=True) == 2
    assert await store.database.run(level) == 1
    assert (
        await store.database.run(lambda db: db.execute("PRAGMA journal_mode").fetchone()[0])
        == "wal"
    )


async def test_the_pages_kept_in_memory_are_few_whatever_a_long_outage_writes(
    store: Store,
) -> None:
    (size,) = await store.database.run(lambda db: db.execute("PRAGMA cache_size").fetchone())
    (page,) = await store.database.run(lambda db: db.execute("PRAGMA page_size").fetchone())
    kept = -size * 1024 if size < 0 else size * page  # bytes; sqlite.org/pragma.html
    assert 0 < kept <= 256 * 1024


async def test_a_failing_transaction_leaves_nothing_and_is_told(store: Store) -> None:
    def work(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO notes (text) VALUES ('half')")
        raise KeyError("no")

    with pytest.raises(KeyError):
        await store.database.run(work)
    with pytest.raises(sqlite3.OperationalError):
        await store.database.run(lambda db: db.execute("SELECT * FROM nowhere"))
    assert await store.all() == []
    assert store.database.writable


async def test_posted_work_is_done_in_order_and_before_the_close(store: Store) -> None:
    for n in range(100):
        store.database.post(
            lambda db, n=n: db.execute("INSERT INTO notes (text) VALUES (?)", (str(n),))
        )
    await store.reopen()
    assert await store.all() == [str(n) for n in range(100)]


async def test_the_event_loop_is_never_the_thread_that_works(store: Store) -> None:
    assert await store.database.run(lambda db: threading.get_ident()) != threading.get_ident()


@pytest.mark.parametrize(
    "garbage", [b"this is no database" * 500, b"SQLite format 3\x00" + b"\xff" * 8000]
)
async def test_a_file_of_garbage_is_set_aside(tmp_path: Path, garbage: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(garbage)
    store = await Store(tmp_path).open()
    await store.add("a")
    await store.reopen()
    assert await store.all() == ["a"]
    (aside,) = [p for p in tmp_path.iterdir() if ".broken-" in p.name]
    assert aside.read_bytes() == garbage
    assert aside.name in store.notice("store_broken")
    await store.database.close()


def refuse(store: Store, how: str) -> None:
    """SQLite's own ways to answer "disk is full" and "readonly database"."""
    connection = store.database._file._connection  # type: ignore[union-attr]
    assert connection is not None
    connection.execute(how)


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    blocker = tmp_path / "data"
    blocker.write_text("a file where the folder should be")
    store = await Store(blocker).open()
    with pytest.raises(StoreUnavailable):
        await store.add("a")
    with pytest.raises(StoreUnavailable):
        await store.all()
    assert not store.database.writable
    assert "cannot be written" in store.notice("store")
    assert store.board.warnings
    blocker.unlink()
    store.clock.advance(RETRY_EVERY)
    await until(lambda: store.database.writable)
    await store.add("b")
    assert await store.all() == ["b"]
    assert store.notice("store") == ""
    await store.database.close()


@pytest.mark.parametrize("how", ["PRAGMA max_page_count=1", "PRAGMA query_only=1"])
async def test_a_full_or_read_only_disk(store: Store, how: str) -> None:
    await store.add("before")
    refuse(store, how)
    with pytest.raises(StoreUnavailable):
        await store.add("refused " + "x" * 100_000, durable=True)
    assert "cannot be written" in store.notice("store")
    assert not store.database.writable
    assert await store.all() == ["before"]  # it can be read

    def adding(text: str) -> Callable[[sqlite3.Connection], Any]:
        large = text + " " * 100_000
        return lambda db: db.execute("INSERT INTO notes (text) VALUES (?)", (large,))

    store.database.post(adding("posted"))
    lasting = asyncio.ensure_future(store.database.lasting(adding("last")))
    await asyncio.sleep(0.05)
    assert not lasting.done()
    refuse(store, "PRAGMA query_only=0")
    refuse(store, "PRAGMA max_page_count=10000")
    store.clock.advance(RETRY_EVERY)
    await lasting
    assert store.database.writable
    assert store.notice("store") == ""
    await store.add("after")
    await store.reopen()
    assert [text.strip() for text in await store.all()] == ["before", "posted", "last", "after"]


async def test_it_is_asked_again_for_as_long_as_it_refuses(tmp_path: Path) -> None:
    blocker = tmp_path / "data"
    blocker.write_text("")
    store = await Store(blocker).open()
    for _ in range(5):
        await until(lambda: store.clock.sleeping)
        store.clock.advance(RETRY_EVERY)
    await until(lambda: store.clock.sleeping)
    blocker.unlink()
    store.clock.advance(RETRY_EVERY)
    await until(lambda: store.database.writable)
    await store.database.close()


async def test_a_folder_that_is_read_only_from_the_start_can_be_read(tmp_path: Path) -> None:
    store = await Store(tmp_path).open()
    await store.add("known")
    await store.database.close()

    def connect(path: str, **how: Any) -> sqlite3.Connection:
        if not how.get("uri"):
            raise sqlite3.OperationalError("attempt to write a readonly database")
        return sqlite3.connect(path, **how)

    store = Store(tmp_path)
    store.database = Database(tmp_path, store.board.notices, store.clock, connect=connect)
    await store.open()
    assert await store.all() == ["known"]
    with pytest.raises(StoreUnavailable):
        await store.add("more")
    assert "cannot be written" in store.notice("store")
    await store.database.close()


async def test_what_waits_for_a_disk_that_refuses_ends_with_the_close(store: Store) -> None:
    refuse(store, "PRAGMA query_only=1")
    lasting = asyncio.ensure_future(
        store.database.lasting(lambda db: db.execute("INSERT INTO notes (text) VALUES ('x')"))
    )
    await until(lambda: not store.database.writable)
    await store.database.close()
    with pytest.raises(StoreUnavailable):
        await lasting


async def test_whether_the_run_before_had_an_end(store: Store, tmp_path: Path) -> None:
    await store.add("a")
    assert not store.database.left_open
    left = tmp_path / "left"
    left.mkdir()
    for path in store.folder.iterdir():
        shutil.copy(path, left)
    killed = await Store(left).open()
    assert killed.database.left_open
    await killed.database.close()
    await store.reopen()
    assert not store.database.left_open


async def test_at_most_three_broken_files_are_kept(tmp_path: Path) -> None:
    for n in range(5):
        (tmp_path / f"{FILE_NAME}.broken-2020010{n}-000000").write_text("old")
    (tmp_path / FILE_NAME).write_bytes(b"garbage" * 1000)
    store = await Store(tmp_path).open()
    await store.database.close()
    assert len(list(tmp_path.glob("*.broken-*"))) == 3


async def test_closing_twice_or_before_opening_is_harmless(tmp_path: Path) -> None:
    store = Store(tmp_path)
    await store.database.close()
    await store.open()
    await store.database.close()
    await store.database.close()
    with pytest.raises(StoreClosed):
        await store.add("too late")
    store.database.post(lambda db: None)
    await until(
        lambda: not [t for t in threading.enumerate() if t.name == "tecmedhub-store"],
        "the end of the thread",
    )


class Hoarder(sqlite3.Connection):
    """Somebody else holds what it gives for a while, as a debugger does that lists all objects."""

    hoard: ClassVar[list[sqlite3.Cursor]] = []

    def execute(self, *args: Any) -> sqlite3.Cursor:
        self.hoard.append(super().execute(*args))
        return self.hoard[-1]


async def test_a_checkpoint_keeps_no_transaction_from_its_end(tmp_path: Path) -> None:
    store = Store(tmp_path)
    connect = functools.partial(sqlite3.connect, factory=Hoarder)
    store.database = Database(tmp_path, store.board.notices, store.clock, connect=connect)
    await store.open()
    for text in ("before", "after"):
        await store.add(text, durable=True)
        store.database.checkpoint()
    assert await store.all() == ["before", "after"]
    await store.database.close()
    Hoarder.hoard.clear()


async def test_a_stalled_disk_drops_posts_and_says_so(store: Store) -> None:
    go_on = threading.Event()
    store.database.post(lambda db: go_on.wait(10))
    for _ in range(1100):
        store.database.post(lambda db: None)
    assert "slow" in store.notice("store_busy")
    store.database.post(lambda db: db.execute("INSERT INTO notes (text) VALUES ('no')"))
    last = "INSERT INTO notes (text) VALUES ('the switch was thrown')"
    store.database.post(lambda db: db.execute(last), durable=True)
    go_on.set()
    assert await store.all() == ["the switch was thrown"]
    await asyncio.sleep(0)
    assert store.notice("store_busy") == ""


async def test_flags_survive_and_odd_values_do_not_hurt(store: Store) -> None:
    remembered = Flags(store.database, store.clock)
    await remembered.load()
    assert remembered.get("a", "none") == "none"
    remembered.put("a", {"b": [1]})
    remembered.put("c", True)
    assert remembered.get("c") is True
    await store.database.run(lambda db: db.execute("INSERT INTO flags VALUES ('bad', '{', 0)"))
    await store.reopen()
    again = Flags(store.database, store.clock)
    await again.load()
    assert (again.get("a"), again.get("c"), again.get("bad")) == ({"b": [1]}, True, None)


def stored(name: str) -> Work:
    query = "SELECT value FROM flags WHERE name = ?"
    return lambda db: db.execute(query, (name,)).fetchone()[0]


async def test_a_flag_is_not_on_the_disk_before_what_was_stored_ahead_of_it(store: Store) -> None:
    remembered = Flags(store.database, store.clock)
    go_on = threading.Event()
    store.database.post(lambda db: go_on.wait(10))
    await asyncio.sleep(0)
    remembered.put("a", 1)
    between = asyncio.ensure_future(store.database.run(stored("a")))
    await asyncio.sleep(0)
    remembered.put("a", 2)
    go_on.set()
    assert (await between, await store.database.run(stored("a"))) == ("1", "2")


async def test_a_flag_that_the_disk_refused_does_not_undo_a_later_one(store: Store) -> None:
    remembered = Flags(store.database, store.clock)
    go_on = threading.Event()
    for step in (
        lambda: store.database.post(lambda db: go_on.wait(10)),
        lambda: store.database.post(lambda db: db.execute("PRAGMA query_only=1")),
        lambda: remembered.put("a", 1),
        lambda: store.database.post(lambda db: db.execute("PRAGMA query_only=0")),
        lambda: remembered.put("a", 2),
    ):
        step()
        await asyncio.sleep(0)  # each in a transaction of its own
    at_once = asyncio.ensure_future(store.database.run(stored("a")))
    await asyncio.sleep(0)
    go_on.set()
    assert await at_once == "2"
    await until(lambda: store.notice("store"))
    store.clock.advance(RETRY_EVERY)
    assert await store.database.lasting(stored("a")) == "2"


async def test_what_is_posted_in_one_turn_is_there_whole_or_not_at_all(store: Store) -> None:
    """SIGKILL comes between two transactions, never within one."""
    seen: list[list[str]] = []
    other = sqlite3.connect(store.database.path, check_same_thread=False)

    def look(_db: sqlite3.Connection) -> None:
        seen.append([text for (text,) in other.execute("SELECT text FROM notes")])

    def add(text: str) -> Work:
        return lambda db: db.execute("INSERT INTO notes (text) VALUES (?)", (text,))

    for work in (add("one"), look, add("two"), look):
        store.database.post(work)
    await store.database.run(look)
    other.close()
    assert seen == [[], [], ["one", "two"]]


async def test_what_cannot_be_stored_takes_nothing_along(store: Store) -> None:
    for text in (
        "notes (text) VALUES ('one')",
        "nowhere VALUES (1)",
        "notes (text) VALUES ('two')",
    ):
        store.database.post(lambda db, text=text: db.execute(f"INSERT INTO {text}"))  # type: ignore[misc]
    await store.all()
    assert await store.all() == ["one", "two"]


async def test_a_disk_that_refuses_the_new_file_too_is_told_as_one(store: Store) -> None:
    errors = [
        sqlite3.DatabaseError("database disk image is malformed"),
        sqlite3.OperationalError("database or disk is full"),
    ]

    def work(_db: sqlite3.Connection) -> str:
        if errors:
            raise errors.pop(0)
        return "stored"

    kept = asyncio.ensure_future(store.database.lasting(work))
    await until(lambda: store.notice("store"))
    store.clock.advance(RETRY_EVERY)
    assert await kept == "stored"


class Hesitant(Worker):
    """The thread is held up between what it told of a refusal and the end of that job."""

    def __init__(self) -> None:
        super().__init__("store")
        self.goes_on, self.has_probed = threading.Event(), threading.Event()

    def submit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        def held() -> Any:
            try:
                return function(*args, **kwargs)
            except StoreUnavailable:
                self.goes_on.wait()
                raise
            finally:
                if function.__name__ == "probe":
                    self.has_probed.set()

        return super().submit(held)


async def test_what_is_refused_as_the_disk_comes_back_is_stored(tmp_path: Path) -> None:
    store, worker = Store(tmp_path / "tecmedhub"), Hesitant()
    store.database = Database(store.folder, store.board.notices, store.clock, worker)
    await store.open()
    errors = [sqlite3.OperationalError("database or disk is full")]

    def work(_db: sqlite3.Connection) -> str:
        if errors:
            raise errors.pop()
        return "stored"

    kept = asyncio.ensure_future(store.database.lasting(work))
    await until(lambda: store.notice("store"))
    store.clock.advance(RETRY_EVERY)
    worker.goes_on.set()
    worker.has_probed.wait()  # the loop stands still: it hears of both in one turn
    assert await asyncio.wait_for(kept, 10.0) == "stored"
    await store.database.close()
