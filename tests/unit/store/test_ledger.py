"""The ledger's bounds and its memory; how commands go through it, their own tests tell."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio

from components.runtime.messages import in_language, say
from components.runtime.redaction import MASK, Redactor
from components.store import ledger
from components.store.database import FILE_NAME, Database
from components.store.ledger import KEEP_ROWS, KEEP_SECONDS, Entry, Ledger
from components.store.life import FINAL, TRANSITIONS, State
from tests.unit.fakes import Board, FakeClock

NOW = 1_700_000_000.0


def entry(n: int, at: float = NOW) -> Entry:
    return Entry(f"1:hub:{n}", n, "home", "home", "{}", at)


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path, Board().notices, FakeClock())
    await database.open([ledger.SCHEMA])
    yield database
    await database.close()


async def count(database: Database) -> int:
    (rows,) = await database.run(lambda db: db.execute("SELECT COUNT(*) FROM commands").fetchone())
    return int(rows)


async def test_a_final_state_is_final(database: Database) -> None:
    book = Ledger(database)
    assert await book.receive([entry(1), entry(1)]) == ["1:hub:1", None]
    await book.begin("1:hub:1")
    result = await book.finish("1:hub:1", State.DONE, "", NOW + 1)
    assert result is not None
    assert await book.finish("1:hub:1", State.FAILED, "late", NOW + 2) is None
    assert book.due()[0]["status"] == "done"
    assert await book.finish("never received", State.REFUSED, "", NOW) is None


@pytest.mark.slow
async def test_old_and_surplus_rows_go_and_waiting_ones_stay(database: Database) -> None:
    book = Ledger(database)
    await book.receive([entry(n, NOW - KEEP_SECONDS - 1) for n in range(3)])
    await book.finish("1:hub:0", State.REFUSED, "", NOW)
    await book.receive([entry(n) for n in range(3, 6)])
    book.prune(NOW)
    assert await count(database) == 5
    many = [entry(n) for n in range(100, 10_200)]
    await book.receive(many)
    for item in many[:200]:
        await book.finish(item.identity, State.REFUSED, "", NOW)
    book.prune(NOW)
    assert await count(database) <= 10_005


async def test_results_of_a_long_outage_come_oldest_first_in_portions(database: Database) -> None:
    book = Ledger(database)
    await book.receive([entry(n) for n in range(120)])
    for n in range(120):
        await book.finish(f"1:hub:{n}", State.REFUSED, "", NOW)
    portion = book.due(50)
    assert [r["id"] for r in portion] == list(range(50))
    await book.acknowledge(portion)
    assert [r["id"] for r in book.due(50)] == list(range(50, 100))
    again = Ledger(database)
    assert await again.load() == []
    assert len(again.due(1000)) == 70


async def test_a_result_told_acknowledges_no_other_of_the_same_id(database: Database) -> None:
    book = Ledger(database)
    one, other = (
        Entry("1:a:7", 7, "home", "home", "{}", NOW),
        Entry("1:b:7", 7, "heat", "", "{}", NOW),
    )
    await book.receive([one, other])
    await book.finish(one.identity, State.REFUSED, "", NOW + 1)
    told = book.due()
    await book.finish(
        other.identity, State.REFUSED, "", NOW + 2
    )  # while the hub was told of the first
    await book.acknowledge(told)
    assert [result["action"] for result in book.due()] == ["heat"]


async def test_an_id_alone_acknowledges_every_command_that_bears_it(database: Database) -> None:
    book = Ledger(database)
    both = [Entry(key, 7, "home", "home", "{}", NOW) for key in ("1:hub:7", "2:hub:7")]
    await book.receive([*both, entry(8)])
    for key in ("1:hub:7", "2:hub:7", "1:hub:8"):
        await book.finish(key, State.REFUSED, "", NOW)
    await book.acknowledge(["7", 9])
    assert [r["id"] for r in book.due()] == [7, 7, 8]
    await book.acknowledge([7])
    assert [r["id"] for r in book.due()] == [8]
    await book.receive([both[0]])  # again: so the hub has not got its result
    assert [r["id"] for r in book.due()] == [8, 7]
    await book.acknowledge(book.due())
    assert book.due() == []


@pytest.mark.slow
async def test_results_that_no_hub_takes_are_kept_up_to_a_limit(database: Database) -> None:
    book = Ledger(database)
    await book.receive([entry(n) for n in range(KEEP_ROWS + 3)])
    await asyncio.gather(
        *(book.finish(f"1:hub:{n}", State.REFUSED, "", NOW) for n in range(KEEP_ROWS + 3))
    )
    assert len(book.due(2 * KEEP_ROWS)) == KEEP_ROWS
    assert book.due(1)[0]["id"] == 3


async def test_a_secret_in_a_command_survives_a_restart_but_never_reaches_the_disk(
    tmp_path: Path,
) -> None:
    secret = 'T/k"n+é123'
    forms = (secret, quote(secret, ""), json.dumps(secret)[1:-1])
    redactor = Redactor()
    redactor.add(secret)
    params = json.dumps({"download_url": f"http://h/?token={quote(secret, '')}", "note": secret})
    database = Database(tmp_path, Board().notices, FakeClock())
    await database.open([ledger.SCHEMA])
    await Ledger(database, redactor).receive(
        [Entry("1:hub:1", 1, f"do {secret}", f"print {secret}", params, NOW)]
    )
    await database.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"download_url" in stored
    assert not [form for form in forms if form.encode() in stored]

    database = Database(tmp_path, Board().notices, FakeClock())
    await database.open([ledger.SCHEMA])
    (row,) = await Ledger(database, redactor).load()
    assert row.command == params
    other = Redactor()  # the token has been changed since
    other.add("another one")
    (row,) = await Ledger(database, other).load()
    assert json.loads(row.command)["note"] == MASK
    book = Ledger(database, redactor)
    result = await book.finish("1:hub:1", State.FAILED, f"no file at {params}", NOW)
    await database.close()
    assert result is not None and secret not in json.dumps(result, ensure_ascii=False)
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert not [form for form in forms if form.encode() in stored]


async def test_a_repetition_is_the_same_within_ten_minutes_or_while_the_first_is_unfinished(
    database: Database,
) -> None:
    book = Ledger(database)
    assert await book.receive([entry(1)]) == ["1:hub:1"]
    assert await book.receive([entry(1, NOW + 3600)]) == [None]  # it waits still
    await book.finish("1:hub:1", State.REFUSED, "", NOW)
    await book.acknowledge(book.due())
    assert await book.receive([entry(1, NOW + 599)]) == [None]
    assert [r["id"] for r in book.due()] == [1]  # it is told again what became of it
    (later,) = await book.receive([entry(1, NOW + 601)])
    assert later not in (None, "1:hub:1")
    assert await book.receive([entry(1, NOW + 700)]) == [None]
    (stop,) = await book.receive([entry(1, NOW + 700)._replace(anew=True)])
    assert stop not in (None, "1:hub:1", later)
    await book.finish(str(later), State.REFUSED, "", NOW)
    await book.finish(str(stop), State.FAILED, "", NOW)
    assert await Ledger(database).receive([entry(1, NOW + 1299)]) == [None]


async def test_another_command_under_a_known_id_is_known_to_be_that(database: Database) -> None:
    book = Ledger(database)
    one, other = entry(7)._replace(identity="1:hub:7|a"), entry(7)._replace(identity="1:hub:7|b")
    first = await book.receive([one, entry(8)])
    assert await book.namesakes([str(key) for key in first]) == []
    second = await book.receive([other])
    assert second == ["1:hub:7|b"]
    assert await book.namesakes([str(key) for key in second]) == [7]


@pytest.mark.parametrize("new", list(State))
@pytest.mark.parametrize("old", list(State))
async def test_a_row_goes_the_ways_of_the_table_only(
    database: Database, old: State, new: State
) -> None:
    book = Ledger(database)
    await book.receive([entry(1)])
    path = {State.RECEIVED: (), State.SENT: (State.SENT,)}.get(old, (State.SENT, State.RUNNING))
    if old in FINAL:
        path = (State.SENT, old)

    async def move(state: State) -> object:
        if state is State.SENT:
            return await book.begin("1:hub:1")
        if state is State.RUNNING:
            return await book.running("1:hub:1", "takes its time")
        return await book.finish("1:hub:1", state, "", NOW)

    async def now() -> str:
        query = "SELECT status FROM commands"
        (found,) = await database.run(lambda db: db.execute(query).fetchone())
        return str(found)

    for state in path:
        await move(state)
    assert await now() == old.value
    if new is State.RECEIVED:
        return
    await move(new)
    allowed = new in TRANSITIONS.get(old, {})
    assert await now() == (new.value if allowed else old.value)


async def test_every_state_can_be_reached_and_left_to_an_end() -> None:
    reached = {State.RECEIVED, *(new for ways in TRANSITIONS.values() for new in ways)}
    assert reached == set(State)
    assert set(State) - set(TRANSITIONS) == set(FINAL)
    assert all(reason for ways in TRANSITIONS.values() for reason in ways.values())


async def test_a_database_of_the_version_before_is_taken_over(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "tecmedhub.db") as db:
        db.executescript(
            """CREATE TABLE commands (seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL
            UNIQUE, id TEXT NOT NULL, action TEXT NOT NULL, summary TEXT NOT NULL, command TEXT NOT
            NULL, status TEXT NOT NULL, message TEXT NOT NULL DEFAULT '', received_at REAL NOT NULL,
            finished_at REAL, boot TEXT NOT NULL DEFAULT '', acknowledged INTEGER NOT NULL DEFAULT
            0);"""
        )
        for number, status in enumerate(("done", "executing", "received"), 1):
            db.execute(
                "INSERT INTO commands (key, id, action, summary, command, status, received_at)"
                " VALUES (?, ?, 'home', 'home', '{}', ?, ?)",
                (f"2:abc:{number}", str(number), status, NOW),
            )
    db.close()
    database = Database(tmp_path, Board().notices, FakeClock())
    await database.open([ledger.SCHEMA])
    book = Ledger(database)
    assert [(row.id, row.status) for row in await book.load()] == [
        (2, State.SENT),
        (3, State.RECEIVED),
    ]
    assert [row["id"] for row in book.recent()] == [3, 2, 1]
    assert await book.finish("2:abc:2", State.INTERRUPTED, "", NOW) is not None
    assert [row["id"] for row in book.due()] == [1, 2]
    await database.close()


@pytest.mark.parametrize("written_in", ["en", "es"])
async def test_a_message_is_read_in_any_language_after_a_restart(
    database: Database, written_in: str
) -> None:
    redactor = Redactor()
    redactor.add("S3CRET-TOKEN")
    book = Ledger(database, redactor, lambda: written_in)
    told = say("The parameter {name} is missing.", name="S3CRET-TOKEN")
    for number, message in ((1, told), (2, "Klipper's own word")):
        await book.receive([entry(number)])
        await book.finish(f"1:hub:{number}", State.REFUSED, message, NOW)
    again = Ledger(database, redactor)
    await again.load()
    own, theirs = (result["message"] for result in again.due())
    assert in_language(own, "es") == f"Falta el parámetro {MASK}."
    assert in_language(own, "en") == f"The parameter {MASK} is missing."
    assert theirs == "Klipper's own word"
    columns = await database.run(lambda db: db.execute("SELECT * FROM commands").fetchall())
    assert "S3CRET" not in str(columns)


@pytest.mark.parametrize("columns", [0, 1])
async def test_a_database_of_an_older_version_goes_on(tmp_path: Path, columns: int) -> None:
    """Its rows have no parts, and are shown as they were told."""
    schema = ledger.SCHEMA
    older = schema[: schema.index("ALTER TABLE") if columns == 0 else schema.rindex("ALTER TABLE")]
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME)) as file:
        file.executescript(older)
        file.execute(
            "INSERT INTO commands (key, id, action, summary, command, status, message,"
            " received_at) VALUES ('1:hub:1', '1', 'home', 'home', '', 'refused', 'Not now.', 1.0)"
        )
        file.commit()
    for _ in range(2):  # each column is made once
        database = Database(tmp_path, Board().notices, FakeClock())
        await database.open([ledger.SCHEMA])
        book = Ledger(database)
        await book.load()
        assert [result["message"] for result in book.due()] == ["Not now."]
        assert database.writable
        await database.close()
