"""Every command the hub ever handed out, and what became of it (`life` has the states).

The hub forgets a command as it hands it out, so this table is the only witness: it decides what is
a repetition, also across crashes, and keeps each result until the hub has acknowledged it. Knows
nothing of printers.
"""

# ruff: noqa: S608 - the only texts put into queries are constants of this file
import asyncio
import json
import re
import sqlite3
from collections import OrderedDict
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from ..runtime.messages import in_language, parts, restored
from ..runtime.redaction import Redactor
from ..runtime.steps import breathe
from .database import Database
from .due import Due
from .life import BEGUN, FINAL, State, ways_to

KEEP_SECONDS = 30 * 86400.0
KEEP_ROWS = 10_000
KEPT_RECENT = 200  # rows held in memory for the panel
PRUNE_EVERY = 500  # commands
# Seconds in which the same command of the same hub is a repetition, where it does not say when it
# was asked; later, and once the first is over, a hub that counts its ids anew means another one.
REPEATED = 600.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS commands (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,            -- the identity, behind it @n if that came before
    id TEXT NOT NULL,                    -- the hub's own id, as JSON
    action TEXT NOT NULL,
    summary TEXT NOT NULL,               -- for people
    command TEXT NOT NULL,               -- JSON to run it from after a restart; emptied when final
    status TEXT NOT NULL,
    message TEXT NOT NULL DEFAULT '',
    received_at REAL NOT NULL,           -- unix seconds by the hub's clock
    finished_at REAL,
    boot TEXT NOT NULL DEFAULT '',       -- the machine's boot id when it came, or began to run
    acknowledged INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS commands_open ON commands (acknowledged, status);
CREATE INDEX IF NOT EXISTS commands_id ON commands (id);
UPDATE commands SET status = 'sent' WHERE status = 'executing';  -- the word of version 5.0.0
-- JSON: the parts of `message`; since 5.2.0
ALTER TABLE commands ADD COLUMN made_of TEXT NOT NULL DEFAULT '';
ALTER TABLE commands ADD COLUMN fallen INTEGER NOT NULL DEFAULT 0;  -- as `note_fall`; since 5.2.0
"""

_INSERT_ENDED = """
INSERT OR IGNORE INTO commands
    (key, id, action, summary, command, status, message, made_of, received_at, finished_at)
VALUES (?, ?, ?, ?, '', ?, ?, ?, ?, ?)
"""
_COLUMNS = (
    "seq, key, id, action, summary, command, status, message, received_at, finished_at, boot,"
    " fallen, made_of"
)


class Entry(NamedTuple):
    """A command as it is first written down."""

    identity: str  # the same for two deliveries of one command; holds no @ but at its end
    id: Any  # JSON value
    action: str
    summary: str
    command: str  # JSON
    received_at: float
    status: State = State.RECEIVED  # SENT for what cannot wait to be written down first
    boot: str = ""  # of the machine, now
    anew: bool = False  # it is no repetition, whatever came before
    dated: bool = False  # its content holds the moment it was asked: it is the same for ever


class Row(NamedTuple):
    seq: int
    key: str
    id: Any
    action: str
    summary: str
    command: str
    status: State
    message: str
    received_at: float
    finished_at: Optional[float]
    boot: str
    fallen: bool

    def result(self) -> Dict[str, Any]:
        """As the hub is told."""
        return {
            "id": self.id,
            "action": self.action,
            "status": self.status.value,
            "message": self.message,
            "received_at": _seconds(self.received_at),
            "finished_at": None if self.finished_at is None else _seconds(self.finished_at),
        }


class Ledger:
    """Times are given by the caller, in unix seconds by the hub's clock. `redactor` keeps secrets
    off the disk: a command may have been handed out with an address that holds the token.
    `language()` is what messages are written in; they are kept with their parts, for whoever reads
    another one.
    """

    def __init__(
        self,
        database: Database,
        redactor: Optional[Redactor] = None,
        language: Callable[[], str] = lambda: "en",
    ) -> None:
        self._database = database
        self._redactor = redactor or Redactor()
        self._language = language
        self._due = Due(KEEP_ROWS)
        self._recent: "OrderedDict[str, Dict[str, Any]]" = OrderedDict()  # for people, oldest first
        self._unwritten: "OrderedDict[str, Row]" = OrderedDict()  # by identity: told from memory
        self._since_prune = PRUNE_EVERY  # once soon after the start

    @property
    def disk_refuses(self) -> bool:
        return self._database.refuses

    async def load(self) -> List[Row]:
        """Read what a former run left; returns the rows that were not final, in the order of their
        arrival."""

        def read(db: sqlite3.Connection) -> List[List[Row]]:
            final = ",".join(f"'{state.value}'" for state in FINAL)
            queries = (
                f"SELECT {_COLUMNS} FROM commands WHERE status NOT IN ({final}) ORDER BY seq",
                f"SELECT {_COLUMNS} FROM commands WHERE acknowledged = 0 AND status IN ({final})"
                " ORDER BY seq",
                f"SELECT {_COLUMNS} FROM commands ORDER BY seq DESC LIMIT {KEPT_RECENT}",
            )
            return [[_row(found) for found in db.execute(query)] for query in queries]

        unfinished, due, recent = await self._database.lasting(read)
        for index, row in enumerate(due):
            if index % 100 == 99:
                await asyncio.sleep(0)  # after a long outage there are thousands
            self._due.add(row.key, row.result())
        self._recent = OrderedDict((row.key, _for_people(row)) for row in reversed(recent))
        return [row._replace(command=self._redactor.opened(row.command)) for row in unfinished]

    async def last_begun(self, action: str) -> int:
        """`seq` of the newest command of this kind that was handed over; 0 if there is none."""

        def read(db: sqlite3.Connection) -> int:
            begun = ",".join(f"'{state.value}'" for state in BEGUN)
            query = f"SELECT MAX(seq) FROM commands WHERE action = ? AND status IN ({begun})"
            return db.execute(query, (action,)).fetchone()[0] or 0

        return await self._database.lasting(read)

    async def receive(self, entries: Sequence[Entry]) -> List[Optional[str]]:
        """Write the whole batch down, on disk when this returns: of each entry the key under which
        it goes on, or None for the repetition of one that is known.

        A repetition is not written again; if the first has a result, that becomes due once more.
        """
        told = [self._was_told(entry) for entry in entries]
        left = [entry for entry, known in zip(entries, told) if not known]
        if not left:
            return [None for _ in entries]

        def write(db: sqlite3.Connection) -> Tuple[List[Optional[str]], List[Row]]:
            keys: List[Optional[str]] = []
            again: List[Row] = []
            for index, entry in enumerate(map(self._without_secrets, left)):
                breathe(index, 5)
                last = _last_of(db, entry.identity)
                if last is not None and _repeats(last, entry):
                    db.execute("UPDATE commands SET acknowledged = 0 WHERE key = ?", (last.key,))
                    again.append(last)
                    keys.append(None)
                    continue
                key = entry.identity if last is None else f"{entry.identity}@{last.seq}"
                db.execute(
                    "INSERT INTO commands (key, id, action, summary, command, status,"
                    " received_at, boot) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        key,
                        json.dumps(entry.id),
                        entry.action,
                        entry.summary,
                        entry.command,
                        entry.status.value,
                        entry.received_at,
                        entry.boot,
                    ),
                )
                keys.append(key)
            return keys, again

        found, again = await self._database.run(write, durable=True)
        places = iter(found)
        keys = [None if known else next(places) for known in told]
        for row in again:
            if row.status in FINAL:
                self._due.add(row.key, row.result())
        new = [(key, entry) for key, entry in zip(keys, entries) if key is not None]
        for key, entry in new[-KEPT_RECENT:]:
            self._remember(key, _for_people(_row_of(key, entry)))
        self._since_prune += len(new)
        if self._since_prune >= PRUNE_EVERY:
            self._since_prune = 0
            self.prune(max(entry.received_at for entry in entries))
        return keys

    def repeats(self, entry: Entry) -> bool:
        """Whether it is the repetition of a command that is remembered, where the disk cannot be
        asked.
        """
        for key, row in self._recent.items():
            if key == entry.identity or key.startswith(f"{entry.identity}@"):
                recent = abs(entry.received_at - row["received_at"]) < REPEATED
                if entry.dated or recent or row["status"] not in FINAL:
                    return True
        return False

    async def namesakes(self, keys: Sequence[str]) -> List[Any]:
        """The ids of these commands that an earlier command bore as well."""

        def read(db: sqlite3.Connection) -> List[Any]:
            query = (
                "SELECT new.id FROM commands new WHERE new.key = ? AND EXISTS"
                " (SELECT 1 FROM commands old WHERE old.id = new.id AND old.seq < new.seq)"
            )
            found = (db.execute(query, (key,)).fetchone() for key in keys)
            return [json.loads(row[0]) for row in found if row is not None]

        return await self._database.run(read)

    def note_fall(self, up_to: str = "") -> None:
        """Klippy has left: what waits on the disk now, up to the command of this key ("": all),
        was asked of that Klippy. Stored soon, and before anything that is stored later."""

        def write(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE commands SET fallen = 1 WHERE status = ?1 AND"
                " (?2 = '' OR seq <= (SELECT seq FROM commands WHERE key = ?2))",
                (State.RECEIVED.value, up_to),
            )

        self._database.post(write, durable=True)

    async def begin(self, key: str, boot: str = "") -> bool:
        """It is about to be handed over; on disk when this returns, so that a crash can never run
        it a second time. Whether it was found."""
        row = await self._database.run(_way(key, State.SENT, "boot = ?", (boot,)), durable=True)
        if key in self._recent and row is not None:
            self._recent[key]["status"] = State.SENT.value
        return row is not None

    async def running(self, key: str, message: str) -> Optional[Dict[str, Any]]:
        """It was handed over and takes its time: the result to tell meanwhile; None if it is over
        already."""
        change = "message = ?, made_of = ?"
        work = _way(key, State.RUNNING, change, self._kept(message))
        return self._told(await self._database.run(work))

    async def finish(
        self, key: str, status: State, message: str, now: float
    ) -> Optional[Dict[str, Any]]:
        """Its final state, once: the result for the hub; None if it has one already, was never
        received, or cannot get there from where it is."""
        change = "message = ?, made_of = ?, finished_at = ?, command = '', acknowledged = 0"
        values = (*self._kept(message), now)
        # On the disk before anybody is told: else a power cut would have it wait again, and run.
        return self._told(await self._database.lasting(_way(key, status, change, values)))

    def tell(self, entry: Entry, status: State, message: str, now: float) -> Dict[str, Any]:
        """What became of a command that the disk did not take: told from memory, and written down
        as soon as the disk takes something again.
        """
        kept = self._kept(message)
        row = _row_of(entry.identity, self._without_secrets(entry))._replace(
            status=status,
            message=_restored(*kept),
            finished_at=now if status in FINAL else None,
        )
        self._told(row)
        if status in FINAL:
            self._unwritten[entry.identity] = row
            while len(self._unwritten) > KEPT_RECENT:
                self._unwritten.popitem(last=False)
            told = (row.status.value, *kept, row.received_at, row.finished_at)
            values = (row.key, json.dumps(row.id), row.action, row.summary, *told)
            self._database.post(lambda db: db.execute(_INSERT_ENDED, values), durable=True)
        return row.result()

    def _was_told(self, entry: Entry) -> bool:
        """Whether it comes again after it was told from memory, when the disk took nothing: that
        stays so, and is due once more.
        """
        row = self._unwritten.get(entry.identity)
        if row is None or entry.anew or abs(entry.received_at - row.received_at) >= REPEATED:
            return False
        self._due.add(row.key, row.result())
        return True

    def _told(self, row: Optional[Row]) -> Optional[Dict[str, Any]]:
        if row is None:
            return None
        result = row.result()
        self._due.add(row.key, result)
        self._remember(row.key, _for_people(row))
        return result

    def due(self, limit: int = 50, hubs: Sequence[str] = ()) -> List[Dict[str, Any]]:
        """Results that the hub has not acknowledged, oldest first; of commands of `hubs` (the
        second part of their keys), or of all.
        """
        return self._due.oldest(limit, hubs)

    async def acknowledge(self, results: Iterable[Any]) -> List[str]:
        """The hub has them: results as `due` gave them, or their ids alone. The identities of the
        commands that these were of.
        """
        taken = self._due.settle(results)
        if not taken:
            return []

        def write(db: sqlite3.Connection) -> None:
            db.executemany(
                "UPDATE commands SET acknowledged = 1 WHERE key = ? AND status = ?",
                [(key, told["status"]) for key, told in taken.items()],
            )

        self._database.post(write)
        return [re.sub(r"@\d+$", "", key) for key in taken]

    def recent(self, limit: int = 50) -> List[Dict[str, Any]]:
        """The newest commands with their states, newest first, for people."""
        return [dict(row) for row, _ in zip(reversed(list(self._recent.values())), range(limit))]

    def prune(self, now: float) -> None:
        """Forget final commands older than 30 days, and the oldest beyond 10,000: soon, since what
        was just received is on the disk whether this works or not.
        """
        final = ",".join(f"'{state.value}'" for state in FINAL)

        def write(db: sqlite3.Connection) -> None:
            db.execute(
                f"DELETE FROM commands WHERE status IN ({final}) AND received_at < ?",
                (now - KEEP_SECONDS,),
            )
            db.execute(
                f"DELETE FROM commands WHERE status IN ({final}) AND seq <="
                " (SELECT seq FROM commands ORDER BY seq DESC LIMIT 1 OFFSET ?)",
                (KEEP_ROWS,),
            )

        self._database.post(write)

    def _kept(self, message: str) -> Tuple[str, str]:
        """The columns `message` and `made_of`."""
        made_of = parts(message)
        text = self._redactor.known(in_language(message, self._language()))
        return text, "" if made_of is None else self._redactor.known(json.dumps(made_of))

    def _without_secrets(self, entry: Entry) -> Entry:
        redactor = self._redactor
        return entry._replace(
            action=redactor.known(entry.action),
            summary=redactor.known(entry.summary),
            command=redactor.sealed(entry.command),
        )

    def _remember(self, key: str, shown: Dict[str, Any]) -> None:
        self._recent[key] = shown
        while len(self._recent) > KEPT_RECENT:
            self._recent.popitem(last=False)


def _row(found: Sequence[Any]) -> Row:
    *values, made_of = found
    try:
        values[2] = json.loads(values[2])
    except ValueError:
        pass
    try:
        values[6] = State(values[6])
    except ValueError:
        values[6] = State.INTERRUPTED
    values[7] = _restored(values[7], made_of)
    values[11] = bool(values[11])
    return Row(*values)


def _restored(text: Any, made_of: Any) -> str:
    try:
        return restored(text, json.loads(made_of)) if made_of else text
    except (TypeError, ValueError, RecursionError):
        return text


def _way(
    key: str, state: State, change: str, values: Tuple[Any, ...]
) -> Callable[[sqlite3.Connection], Optional[Row]]:
    """The work that lets a row go a way of `life.TRANSITIONS`: None where there is none."""
    ways = ways_to(state)

    def write(db: sqlite3.Connection) -> Optional[Row]:
        marks = ",".join("?" * len(ways))
        moved = db.execute(
            f"UPDATE commands SET status = ?, {change} WHERE key = ? AND status IN ({marks})",
            (state.value, *values, key, *(old.value for old in ways)),
        )
        if not moved.rowcount:
            return None
        query = f"SELECT {_COLUMNS} FROM commands WHERE key = ?"
        return _row(db.execute(query, (key,)).fetchone())

    return write


def _last_of(db: sqlite3.Connection, identity: str) -> Optional[Row]:
    """The newest command of this identity ("A" is what follows "@")."""
    query = (
        f"SELECT {_COLUMNS} FROM commands WHERE key = ?1 OR (key >= ?1 || '@' AND key < ?1 || 'A')"
        " ORDER BY seq DESC LIMIT 1"
    )
    found = db.execute(query, (identity,)).fetchone()
    return None if found is None else _row(found)


def _repeats(last: Row, entry: Entry) -> bool:
    if entry.anew:
        return False
    recent = abs(entry.received_at - last.received_at) < REPEATED
    return entry.dated or recent or last.status not in FINAL


def _row_of(key: str, entry: Entry) -> Row:
    return Row(
        0, key, entry.id, entry.action, entry.summary, entry.command, entry.status, "",
        entry.received_at, None, "", False,
    )  # fmt: skip


def _for_people(row: Row) -> Dict[str, Any]:
    return {
        "id": row.id,
        "action": row.action,
        "summary": row.summary,
        "status": row.status.value,
        "message": row.message,
        "received_at": _seconds(row.received_at),
        "finished_at": None if row.finished_at is None else _seconds(row.finished_at),
    }


def _seconds(value: float) -> float:
    return round(value, 3)
