"""The ledger's bounds and its memory; how commands go through it, their own tests tell."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest_asyncio

from components.runtime.redaction import MASK, Redactor
from components.store import ledger
from components.store.database import Database
from components.store.ledger import KEEP_ROWS, KEEP_SECONDS, Entry, Ledger, State
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
    assert await book.receive([entry(1), entry(1)]) == {"1:hub:1"}
    await book.begin("1:hub:1")
    result = await book.finish("1:hub:1", State.DONE, "", NOW + 1)
    assert result is not None
    assert await book.finish("1:hub:1", State.FAILED, "late", NOW + 2) is None
    assert book.due()[0]["status"] == "done"
    assert await book.finish("never received", State.DONE, "", NOW) is None


async def test_old_and_surplus_rows_go_and_waiting_ones_stay(database: Database) -> None:
    book = Ledger(database)
    await book.receive([entry(n, NOW - KEEP_SECONDS - 1) for n in range(3)])
    await book.finish("1:hub:0", State.DONE, "", NOW)
    await book.receive([entry(n) for n in range(3, 6)])
    await book.prune(NOW)
    assert await count(database) == 5
    many = [entry(n) for n in range(100, 10_200)]
    await book.receive(many)
    for item in many[:200]:
        await book.finish(item.key, State.DONE, "", NOW)
    await book.prune(NOW)
    assert await count(database) <= 10_005


async def test_results_of_a_long_outage_come_oldest_first_in_portions(database: Database) -> None:
    book = Ledger(database)
    await book.receive([entry(n) for n in range(120)])
    for n in range(120):
        await book.finish(f"1:hub:{n}", State.DONE, "", NOW)
    portion = book.due(50)
    assert [r["id"] for r in portion] == list(range(50))
    await book.acknowledge(portion)
    assert [r["id"] for r in book.due(50)] == list(range(50, 100))
    again = Ledger(database)
    assert await again.load() == []
    assert again.due_count == 70


async def test_a_result_told_acknowledges_no_other_of_the_same_id(database: Database) -> None:
    book = Ledger(database)
    one, other = (
        Entry("1:a:7", 7, "home", "home", "{}", NOW),
        Entry("1:b:7", 7, "heat", "", "{}", NOW),
    )
    await book.receive([one, other])
    await book.finish(one.key, State.DONE, "", NOW + 1)
    told = book.due()
    await book.finish(other.key, State.DONE, "", NOW + 2)  # while the hub was told of the first
    await book.acknowledge(told)
    assert [result["action"] for result in book.due()] == ["heat"]


async def test_an_id_alone_acknowledges_every_command_that_bears_it(database: Database) -> None:
    book = Ledger(database)
    both = [Entry(key, 7, "home", "home", "{}", NOW) for key in ("1:hub:7", "2:hub:7")]
    await book.receive([*both, entry(8)])
    for key in ("1:hub:7", "2:hub:7", "1:hub:8"):
        await book.finish(key, State.DONE, "", NOW)
    await book.acknowledge(["7", 9])
    assert [r["id"] for r in book.due()] == [7, 7, 8]
    await book.acknowledge([7])
    assert [r["id"] for r in book.due()] == [8]
    await book.receive([both[0]])  # again: so the hub has not got its result
    assert [r["id"] for r in book.due()] == [8, 7]
    await book.acknowledge(book.due())
    assert book.due() == []


async def test_results_that_no_hub_takes_are_kept_up_to_a_limit(database: Database) -> None:
    book = Ledger(database)
    await book.receive([entry(n) for n in range(KEEP_ROWS + 3)])
    await asyncio.gather(
        *(book.finish(f"1:hub:{n}", State.DONE, "", NOW) for n in range(KEEP_ROWS + 3))
    )
    assert book.due_count == KEEP_ROWS
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
