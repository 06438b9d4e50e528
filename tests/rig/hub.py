"""Drives the reference hub (tests/hub: PHP's built-in server over SQLite) from a test or the demo.

    with PhpHub() as hub:                            # a port of its own on 127.0.0.1
        ...                                          # the plugin's server_url = hub.gen1_url
        hub.wait_for(lambda: hub.status("T1"), 5)    # its first update has arrived
        command = hub.queue("T1", "heat", hotend_temp=210)
        hub.wait_for(lambda: hub.result("T1", command), 5)
        assert hub.states("T1") == ["idle", "printing", "idle"]

        hub.set(features={"command_results": True, "long_poll": 5, "events": True})
        hub.fault("commands", "html_500", times=3)   # hub_records.PRESETS lists the names
        hub.clear_faults()

        number = hub.queue2("T1", "gcode", "M104 S210\\nM140 S60", priority=5)
        hub.add_file("pieza.gcode", data, "T1")      # md5=False: none given; md5="…": a wrong one
        with hub.transaction():                      # a burst that one reply carries
            ids = [hub.queue("T1", "home") for _ in range(10)]

The driver reads and writes the hub's SQLite file directly and needs no request of its own: the
journal (`requests()`) holds only what the plugin sent. All methods may be called from any thread.
`wait_for` blocks its thread; `await hub.until(...)` is the same for a test in an event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from components.status.seldom import EACH_MINUTE, WHEN_CHANGED

from .hub_records import ENDPOINTS, PRESETS, Delivery, Event, Image, Request, Result, Status, Video
from .php_server import PhpServer

T = TypeVar("T")

HUB_FOLDER = Path(__file__).resolve().parent.parent / "hub"
_POLL_SECONDS = 0.02
_SWITCHES = (
    "features",
    "commands_in_status",
    "range",
    "tokens",
    "offline_after",
    "clock_offset",
    "image_max_bytes",
    "keep",
)
_INI = {
    "post_max_size": "512M",
    "upload_max_filesize": "512M",
    "memory_limit": "1G",
    "date.timezone": "UTC",
}
_STATUSES = "SELECT s.*, j.body FROM statuses s JOIN journal j ON j.id = s.journal_id "


class PhpHub:
    """The PHP hub. `data` keeps its memory between runs; without it stop() removes the folder."""

    def __init__(
        self,
        data: Path | None = None,
        *,
        workers: int = 8,
        php: str = "php",
        ini: Mapping[str, str] | None = None,
    ) -> None:
        self._own_folder = data is None
        self.data = data or Path(tempfile.mkdtemp(prefix="tecmedhub-hub-"))
        (self.data / "files").mkdir(parents=True, exist_ok=True)
        self._server = PhpServer(
            HUB_FOLDER,
            HUB_FOLDER / "router.php",
            self.data / "php.log",
            php=php,
            workers=workers,
            ini={**_INI, **(ini or {})},
            environment={"TECMEDHUB_DATA": str(self.data)},
        )
        self.understood: Callable[[str], str] = (
            str  # how whoever asks reads the printer's sentences
        )
        self._lock = threading.RLock()
        self._in_transaction = False
        self._db = sqlite3.connect(
            self.data / "hub.sqlite", isolation_level=None, check_same_thread=False, timeout=10
        )
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.executescript((HUB_FOLDER / "lib/schema.sql").read_text(encoding="utf-8"))

    # -- life ----------------------------------------------------------------------------------

    def start(self, port: int = 0) -> PhpHub:
        """Return once it accepts connections; RuntimeError with PHP's own words otherwise."""
        self._server.start(port)
        return self

    def kill(self) -> None:
        """End it at once, requests in progress included: the port refuses, the data stays."""
        self._server.kill()

    def restart(self) -> None:
        """Kill it (where it runs) and start it on the same port, with the same data."""
        self._server.kill()
        self._server.start(self._server.port)

    def freeze(self) -> None:
        """Stop all its processes: connections are accepted by the kernel, and nothing answers."""
        self._server.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._server.signal(signal.SIGCONT)

    def stop(self) -> None:
        """Kill it and close the database; nothing can be asked afterwards."""
        self._server.kill()
        with self._lock:
            self._db.close()
        if self._own_folder:
            shutil.rmtree(self.data, ignore_errors=True)

    def __enter__(self) -> PhpHub:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        return self._server.running

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def environment(self) -> dict[str, str]:
        """Of its processes, from the next start on."""
        return self._server.environment

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def gen1_url(self) -> str:
        return f"{self.base_url}/api.php"

    @property
    def gen2_url(self) -> str:
        return f"{self.base_url}/printer-api/update.php"

    # -- switches ------------------------------------------------------------------------------

    def set(self, **switches: Any) -> None:
        """Change switches at run time; None returns one to its default.

        features: dict announced in every reply (command_results, long_poll seconds, events,
        timelapse_upload, redeliver seconds); commands_in_status: bool, hand commands over in the
        reply to an update; range: bool, 206 on downloads; tokens: list of the only ones accepted;
        offline_after: seconds (60); clock_offset: seconds that the hub is ahead; image_max_bytes
        (5 MiB); keep: how many requests are remembered (20,000).
        """
        unknown = set(switches).difference(_SWITCHES)
        if unknown:
            raise TypeError(f"no such switch: {', '.join(sorted(unknown))}")
        with self.transaction():
            for name, value in switches.items():
                if value is None:
                    self._run("DELETE FROM control WHERE name = ?", name)
                else:
                    self._insert("control", "REPLACE", name=name, value=json.dumps(value))

    def fault(self, endpoint: str, preset: str, *, times: int | None = None, **params: Any) -> None:
        """Misbehave at one endpoint ("*": all) for `times` requests, or until clear_faults().

        Parameters override the preset's:
        fault("status", "busy_503", headers={"Retry-After": "5"});
        fault("commands", "empty_500", after=True): the work is done, the commands are gone;
        fault("download_file", "download", cut_at=1000); fault("commands", "delay", seconds=3).
        """
        if endpoint not in (*ENDPOINTS, "*"):
            raise ValueError(f"no such endpoint: {endpoint}")
        mode, defaults = PRESETS[preset]
        text = json.dumps({**defaults, **params})
        self._insert("faults", endpoint=endpoint, mode=mode, params=text, remaining=times)

    def clear_faults(self, endpoint: str | None = None) -> None:
        """Behave again; requests already being mistreated stay so."""
        self._run("DELETE FROM faults WHERE ? IN (endpoint, '')", endpoint or "")

    def reset(self) -> None:
        """Forget everything, switches and faults included. Ids go on: none is used twice."""
        names = self._rows("SELECT name FROM sqlite_master WHERE type = 'table'")
        with self.transaction():
            for row in names:
                if not row["name"].startswith("sqlite_"):
                    self._run(f"DELETE FROM {row['name']}")
        for folder in ("files", "printer_images", "timelapses"):
            for path in (self.data / folder).glob("*"):
                path.unlink(missing_ok=True)

    # -- commands ------------------------------------------------------------------------------

    def queue(
        self,
        token: str,
        action: str,
        *,
        id: Any = None,
        timestamp: float | None = None,
        **params: Any,
    ) -> Any:
        """Queue a generation 1 command and return its id; `timestamp` is now by the hub's clock."""
        command_id = f"cmd_{uuid.uuid4().hex[:13]}" if id is None else id
        stamp = int(self.now()) if timestamp is None else timestamp
        command = {"id": command_id, "token": token, "action": action, "timestamp": stamp}
        self.queue_raw(token, {**command, **params})
        return command_id

    def queue2(self, token: str, type: str, command: str, priority: int = 0) -> int:
        """Queue a generation 2 command ("basic", "gcode", "macro"); lower priorities go first."""
        with self.transaction():
            number = self.queue_raw(token, None, generation=2, priority=priority)
            body = {"id": number, "type": type, "command": command, "priority": priority}
            self._run("UPDATE commands SET body = ? WHERE id = ?", json.dumps(body), number)
        return number

    def queue_raw(self, token: str, command: Any, *, generation: int = 1, priority: int = 0) -> int:
        """Queue any JSON value in place of a command, and return its row."""
        return self._insert(
            "commands",
            generation=generation,
            token=token,
            priority=priority,
            body=json.dumps(command),
            created=time.time(),
        )

    def waiting(self, token: str) -> list[Any]:
        """The commands not yet handed out, oldest first."""
        sql = "SELECT body FROM commands WHERE token = ? AND sent IS NULL ORDER BY id"
        return [json.loads(row["body"]) for row in self._rows(sql, token)]

    def delivered(self, token: str) -> list[Delivery]:
        """The commands handed out, in order."""
        return [Delivery.read(row) for row in self._of("deliveries", token)]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make several changes visible to the hub at once (it waits meanwhile: keep it short)."""
        with self._lock:
            if self._in_transaction:
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            self._in_transaction = True
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            else:
                self._db.execute("COMMIT")
            finally:
                self._in_transaction = False

    def now(self) -> float:
        """Unix seconds by the hub's clock (`clock_offset` included)."""
        row = self._row("SELECT value FROM control WHERE name = 'clock_offset'")
        return time.time() + (0.0 if row is None else float(json.loads(row["value"])))

    # -- files ---------------------------------------------------------------------------------

    def add_file(
        self,
        name: str,
        data: bytes,
        token: str,
        md5: bool | str = True,
        *,
        original_name: str | None = None,
        **extra: Any,
    ) -> None:
        """Offer a file; `extra` goes into its entry of the list (size_bytes="12", sha256=…)."""
        digest = hashlib.md5(data).hexdigest() if md5 is True else (md5 or None)
        with self.transaction():
            self._run("DELETE FROM files WHERE token = ? AND name = ?", token, name)
            number = self._insert(
                "files",
                token=token,
                name=name,
                original_name=original_name or name,
                size=len(data),
                md5=digest,
                extra=json.dumps(extra),
                uploaded=time.time(),
            )
            (self.data / "files" / str(number)).write_bytes(data)

    def file_entry(self, name: str, token: str) -> dict[str, bool] | None:
        """`downloaded`: it was reported taken; `exists`: the hub still has its copy."""
        row = self._row("SELECT * FROM files WHERE token = ? AND name = ?", token, name)
        if row is None:
            return None
        path = self.data / "files" / str(row["id"])
        return {"downloaded": bool(row["downloaded"]), "exists": path.is_file()}

    # -- what the hub knows --------------------------------------------------------------------

    def requests(
        self,
        endpoint: str | None = None,
        token: str | None = None,
        *,
        since: float = 0,
        pending: bool = False,
    ) -> list[Request]:
        """The requests received, oldest first; `pending`: only those not yet answered."""
        rows = self._rows(
            "SELECT * FROM journal WHERE time >= ?1 AND endpoint = coalesce(?2, endpoint)"
            " AND token = coalesce(?3, token) AND (finished IS NULL OR NOT ?4) ORDER BY id",
            since,
            endpoint,
            token,
            pending,
        )
        return [Request.read(row) for row in rows]

    def history(self, token: str, *, since: float = 0) -> list[Status]:
        """Every accepted status update, oldest first."""
        sql = _STATUSES + "WHERE s.token = ? AND s.time >= ? ORDER BY s.id"
        return [Status.read(row) for row in self._rows(sql, token, since)]

    def last(self, token: str) -> Status | None:
        """The newest accepted status update, with its time; as a hub knows it that keeps what it
        was told: with what changes seldom from the ones before.
        """
        row = self._row(_STATUSES + "WHERE s.token = ? ORDER BY s.id DESC LIMIT 1", token)
        if row is None:
            return None
        last = Status.read(row)
        self._understand(last.body, "state_message")
        for name in (*WHEN_CHANGED, *EACH_MINUTE):
            if name not in last.body:
                found = self._newest_with(token, name)
                if found is not None:
                    last.body[name] = found
        offers = self._newest_with(token, "client.actions")
        if offers is not None:
            last.body.setdefault("client", {}).setdefault("actions", offers)
        return last

    def status(self, token: str) -> dict[str, Any] | None:
        """The body of `last`."""
        last = self.last(token)
        return None if last is None else last.body

    def _newest_with(self, token: str, name: str) -> Any:
        with self._lock:
            row = self._db.execute(
                "SELECT json_extract(j.body, ?) FROM statuses s"
                " JOIN journal j ON j.id = s.journal_id WHERE s.token = ?"
                " AND json_extract(j.body, ?) IS NOT NULL ORDER BY s.id DESC LIMIT 1",
                (f"$.{name}", token, f"$.{name}"),
            ).fetchone()
        return None if row is None else json.loads(row[0])

    def states(self, token: str) -> list[str]:
        """The status words seen, in order, repetitions left out: ["idle", "printing", "idle"]."""
        words: list[str] = []
        for row in self._of("statuses", token):
            if not words or words[-1] != row["status"]:
                words.append(row["status"])
        return words

    def count(self, token: str) -> int:
        """How many status updates were accepted."""
        return len(self._rows("SELECT 1 FROM statuses WHERE token = ?", token))

    def printer(self, token: str, generation: int = 1) -> dict[str, Any] | None:
        """What the server itself keeps of a printer; for generation 2 also `raw_data` (text)."""
        sql = "SELECT * FROM printers WHERE token = ? AND generation = ?"
        row = self._row(sql, token, generation)
        if row is None:
            return None
        fields: dict[str, Any] = json.loads(row["fields"])
        fields.update(last_seen=row["last_seen"], printer_id=row["printer_id"])
        if generation == 2:
            fields["raw_data"] = row["raw_data"]
        return fields

    def results(self, token: str, *, every: bool = False) -> list[Result]:
        """The distinct command results in order of first arrival; `every`: repeats included."""
        seen: set[str] = set()
        found = []
        for row in self._of("results", token):
            if every or row["body"] not in seen:
                seen.add(row["body"])
                found.append(Result.read(row))
                self._understand(found[-1].body, "message")
        return found

    def result(self, token: str, command_id: Any) -> Result | None:
        """The last result of one command (ids compared as text), or None."""
        of_it = [result for result in self.results(token) if str(result.id) == str(command_id)]
        return of_it[-1] if of_it else None

    def events(self, token: str) -> list[Event]:
        """The events received, in order of first arrival (nothing unless `events` is announced)."""
        found = [Event.read(row) for row in self._of("events", token)]
        for event in found:
            self._understand(event.body.get("data"), "message")
        return found

    def _understand(self, body: Any, name: str) -> None:
        if isinstance(body, dict) and isinstance(body.get(name), str):
            body[name] = self.understood(body[name])

    def images(self, token: str) -> list[Image]:
        """The pictures received (the last 500), oldest first."""
        return [Image.read(row) for row in self._of("images", token)]

    def timelapses(self, token: str) -> list[Video]:
        """The videos uploaded, oldest first."""
        folder = self.data / "timelapses"
        return [Video.read(row, folder) for row in self._of("timelapses", token)]

    # -- waiting -------------------------------------------------------------------------------

    def wait_for(self, predicate: Callable[[], T], timeout: float = 60, what: str = "") -> T:
        """Block until the predicate is true; its value. TimeoutError shows the last requests."""
        for value in self._values(predicate, timeout, what):
            if value:
                return value
            time.sleep(_POLL_SECONDS)
        raise AssertionError("unreachable")

    async def until(self, predicate: Callable[[], T], timeout: float = 60, what: str = "") -> T:
        """The same for a test that runs in an event loop."""
        for value in self._values(predicate, timeout, what):
            if value:
                return value
            await asyncio.sleep(_POLL_SECONDS)
        raise AssertionError("unreachable")

    def _values(self, predicate: Callable[[], T], timeout: float, what: str) -> Iterator[T]:
        """Its value, computed anew when the hub has written, and every tenth look all the same."""
        deadline = time.monotonic() + timeout
        version, value, look = self._version(), predicate(), 0
        while True:
            yield value
            look += 1
            newest, late = self._version(), time.monotonic() > deadline
            if newest != version or look % 10 == 0 or late:
                version, value = newest, predicate()
            if late and not value:
                raise self._timed_out(timeout, what)

    def _version(self) -> int:
        row = self._row("PRAGMA data_version")
        return 0 if row is None else int(row[0])

    def _timed_out(self, timeout: float, what: str) -> TimeoutError:
        lines = [f"not at the hub within {timeout:g} s: {what or 'the condition'}; last requests:"]
        for request in self.requests()[-12:]:
            lines.append(
                f"  {request.time:.3f} {request.method} {request.endpoint} {request.token}"
                f" -> {request.code} {request.text[:160]!r} -> {request.reply[:160]!r}"
            )
        return TimeoutError("\n".join(lines))

    # -- database ------------------------------------------------------------------------------

    def _insert(self, table: str, verb: str = "INSERT", **values: Any) -> int:
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        return self._run(f"{verb} INTO {table} ({names}) VALUES ({marks})", *values.values())

    def _run(self, sql: str, *values: Any) -> int:
        with self._lock:
            return int(self._db.execute(sql, values).lastrowid or 0)

    def _of(self, table: str, token: str) -> list[sqlite3.Row]:
        return self._rows(f"SELECT * FROM {table} WHERE token = ? ORDER BY id", token)

    def _rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return list(self._db.execute(sql, values))

    def _row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        rows = self._rows(sql, *values)
        return rows[0] if rows else None
