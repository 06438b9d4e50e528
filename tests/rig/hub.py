"""Drives the reference hub (tests/hub, PHP's built-in server over SQLite) from a test, a benchmark or the demo.

    with PhpHub() as hub:                                  # a port of its own on 127.0.0.1
        ...                                                # plugin: server_url = hub.gen1_url (or hub.gen2_url)
        hub.wait_for(lambda: hub.status("T1"), 5)          # the plugin's first update has arrived
        command = hub.queue("T1", "heat", hotend_temp=210)
        hub.wait_for(lambda: hub.result("T1", command), 5)
        assert hub.states("T1") == ["idle", "printing", "idle"]

        hub.set(features={"command_results": True, "long_poll": 5, "events": True})
        hub.fault("commands", "html_500", times=3)         # the next three polls; PRESETS lists the names
        hub.clear_faults()

        number = hub.queue2("T1", "gcode", "M104 S210\\nM140 S60", priority=5)
        hub.add_file("pieza.gcode", data, "T1")            # md5=False: none offered; md5="…": a wrong one
        assert [request.endpoint for request in hub.requests()] == ["status", "commands", ...]

The driver reads and writes the hub's SQLite file directly; it needs no request of its own, so the journal holds only
what the plugin sent. All methods may be called from any thread. `wait_for` blocks; `await hub.until(...)` does not.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

HUB_FOLDER = Path(__file__).resolve().parent.parent / "hub"
POLL_SECONDS = 0.02
ENDPOINTS = (
    "status", "commands", "health", "image", "list_files", "download_file", "mark_downloaded", "command_results",
    "timelapse", "other",
)  # fmt: skip

_WARNING = (
    '<br />\n<b>Warning</b>:  Undefined array key "filament" in <b>/var/www/html/printerhub/api.php</b>'
    " on line <b>42</b><br />\n"
)
_HTML = "<!DOCTYPE html>\n<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>\n"

#: Misbehaviour by name → (mechanism of tests/hub/lib/faults.php, its parameters). `fault()` may override the parameters.
PRESETS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "warning": ("prefix", {"text": _WARNING}),
    "bom": ("prefix", {"text": "\ufeff"}),
    "strings": ("strings", {}),
    "null_commands": ("replace", {"fields": {"commands": None}}),
    "replace": ("replace", {"fields": {}}),
    "wrong_token": ("reject", {"message": "Token no válido"}),
    "database_error": (
        "reject",
        {"message": "Error de base de datos: SQLSTATE[HY000]: General error: 5 database is locked"},
    ),
    "truncated": ("truncate", {"keep": 0.5}),
    "short": ("short", {"missing": 100}),
    "huge": ("pad", {"bytes": 2 << 20}),
    "endless": ("endless", {}),
    "delay": ("delay", {"seconds": 1.0}),
    "hang": ("delay", {"seconds": 600.0}),
    "html_500": ("answer", {"code": 500, "body": _HTML.format("500 Internal Server Error")}),
    "empty_500": ("answer", {"code": 500}),
    "html_200": ("answer", {"code": 200, "body": _HTML.format("Mantenimiento")}),
    "empty_200": ("answer", {"code": 200}),
    "not_found": ("answer", {"code": 404, "body": _HTML.format("404 Not Found")}),
    "busy_429": ("answer", {"code": 429, "headers": {"Retry-After": "2"}}),
    "busy_503": ("answer", {"code": 503, "headers": {"Retry-After": "2"}}),
    "answer": ("answer", {"code": 200}),
    "download": ("download", {}),
}


@dataclass(frozen=True)
class Request:
    """One request as the hub received it. `finished` is None while it is being answered (a long poll, say)."""

    id: int
    time: float  # unix seconds
    generation: int  # 1, 2; 0 for a path that no endpoint has
    endpoint: str  # one of ENDPOINTS
    path: str
    method: str
    action: str
    token: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    size: int  # bytes of the body
    text: str  # the body (form fields as JSON for multipart)
    finished: float | None
    code: int | None
    success: bool | None  # of the JSON reply; None where there was none
    reply: str  # at most its first 8 KiB

    @property
    def body(self) -> Any:
        """The JSON body, or None where there is none."""
        try:
            return json.loads(self.text)
        except ValueError:
            return None


@dataclass(frozen=True)
class Status:
    """One accepted status update."""

    id: int
    time: float
    generation: int
    status: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Delivery:
    """One command handed out, as it went over the wire."""

    time: float
    generation: int
    via: str  # "commands" or "status" (in the reply to an update)
    command: Any


@dataclass(frozen=True)
class Result:
    """One arrival of a command result."""

    time: float
    via: str  # "status" (in a status body) or "post"
    body: dict[str, Any]

    @property
    def id(self) -> Any:
        return self.body.get("id")

    @property
    def status(self) -> str:
        return str(self.body.get("status"))


@dataclass(frozen=True)
class Event:
    """One event of the plugin's journal; `deliveries` counts how often the same one came."""

    time: float
    deliveries: int
    body: dict[str, Any]


@dataclass(frozen=True)
class Image:
    """One picture: generation 1's upload, or generation 2's data URI each time it changed."""

    time: float
    generation: int
    name: str  # the upload's file name
    sha256: str
    data: bytes


@dataclass(frozen=True)
class Video:
    """One uploaded timelapse."""

    time: float
    name: str
    size: int
    sha256: str
    fields: Mapping[str, Any]
    path: Path


class PhpHub:
    """The PHP hub on 127.0.0.1. `data` keeps its database between runs; by default it is a folder that stop() removes."""

    def __init__(
        self,
        data: Path | None = None,
        *,
        workers: int = 8,
        php: str = "php",
        ini: Mapping[str, str] | None = None,
    ) -> None:
        self._own_folder = data is None
        self.data = data if data is not None else Path(tempfile.mkdtemp(prefix="tecmedhub-hub-"))
        self.port = 0
        self._workers = workers
        self._php = php
        self._ini = {
            "post_max_size": "512M",
            "upload_max_filesize": "512M",
            "memory_limit": "1G",
            "date.timezone": "UTC",
            **(ini or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.RLock()
        self._in_transaction = False
        (self.data / "files").mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(
            self.data / "hub.sqlite", isolation_level=None, check_same_thread=False, timeout=10
        )
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.executescript((HUB_FOLDER / "lib" / "schema.sql").read_text(encoding="utf-8"))

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self, port: int = 0) -> PhpHub:
        """Start the server and return once it accepts connections. Raises RuntimeError with PHP's own words."""
        if self._process is not None:
            raise RuntimeError("the hub is already running")
        log = self.data / "php.log"
        command = [self._php]
        for name, value in self._ini.items():
            command += ["-d", f"{name}={value}"]
        command += [
            "-S",
            f"127.0.0.1:{port}",
            "-t",
            str(HUB_FOLDER),
            str(HUB_FOLDER / "router.php"),
        ]
        # PHP's workers outlive their master, and all of them a killed test run: the shell ends the whole group as
        # soon as our end of its standard input is gone, however that came about.
        guard = ["sh", "-c", '"$@" & cat >/dev/null; kill -KILL 0', "php-hub", *command]
        environment = {
            **os.environ,
            "PHP_CLI_SERVER_WORKERS": str(self._workers),
            "TECMEDHUB_DATA": str(self.data),
        }
        with log.open("ab") as output:
            offset = output.tell()
            self._process = subprocess.Popen(
                guard,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )
        deadline = time.monotonic() + 15
        while True:
            with log.open("rb") as lines:
                lines.seek(offset)
                said = lines.read().decode(errors="replace")
            started = re.search(r"\(http://127\.0\.0\.1:(\d+)\) started", said)
            if started:
                self.port = int(started.group(1))
                return self
            if "Failed to listen" in said or "not found" in said or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the PHP hub did not start: {said.strip() or 'no output'}")
            time.sleep(POLL_SECONDS)

    def kill(self) -> None:
        """End the server at once, requests in progress included; the port refuses connections, the data stays."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def restart(self) -> None:
        """Kill it and start it again on the same port, with the same data."""
        self.kill()
        self.start(self.port)

    def stop(self) -> None:
        """Kill it and close the database; its folder goes where it was ours. Nothing can be asked afterwards."""
        self.kill()
        with self._lock:
            self._db.close()
        if self._own_folder:
            shutil.rmtree(self.data, ignore_errors=True)

    def __enter__(self) -> PhpHub:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def gen1_url(self) -> str:
        return f"{self.base_url}/api.php"

    @property
    def gen2_url(self) -> str:
        return f"{self.base_url}/printer-api/update.php"

    # -- switches -----------------------------------------------------------------------------------------------

    def set(self, **switches: Any) -> None:
        """Change switches at run time; None returns one to its default.

        features: dict announced in every reply (command_results, long_poll seconds, events, timelapse_upload);
        commands_in_status: bool, hand commands over in the reply to an update; range: bool, 206 on downloads;
        tokens: list of the only ones accepted; offline_after: seconds (60); clock_offset: seconds that the hub's
        clock is ahead; image_max_bytes; keep: requests remembered (20,000).
        """
        known = {
            "features", "commands_in_status", "range", "tokens", "offline_after", "clock_offset", "image_max_bytes",
            "keep",
        }  # fmt: skip
        unknown = set(switches) - known
        if unknown:
            raise TypeError(f"no such switch: {', '.join(sorted(unknown))}")
        with self.transaction():
            for name, value in switches.items():
                if value is None:
                    self._execute("DELETE FROM control WHERE name = ?", name)
                else:
                    self._execute(
                        "INSERT OR REPLACE INTO control VALUES (?, ?)", name, json.dumps(value)
                    )

    def fault(self, endpoint: str, preset: str, *, times: int | None = None, **params: Any) -> None:
        """Misbehave at one endpoint ("*": at all), for the next `times` requests or until clear_faults().

        Parameters override the preset's: fault("status", "busy_503", headers={"Retry-After": "5"}),
        fault("commands", "empty_500", after=True) (the hub has done its work: the commands are gone),
        fault("download_file", "download", cut_at=1000), fault("commands", "replace", fields={"commands": 7}).
        """
        if endpoint not in (*ENDPOINTS, "*"):
            raise ValueError(f"no such endpoint: {endpoint}")
        mode, defaults = PRESETS[preset]
        self._execute(
            "INSERT INTO faults (endpoint, mode, params, remaining) VALUES (?, ?, ?, ?)",
            endpoint, mode, json.dumps({**defaults, **params}), times,
        )  # fmt: skip

    def clear_faults(self, endpoint: str | None = None) -> None:
        """Behave again, everywhere or at one endpoint. Requests already being mistreated stay so."""
        if endpoint is None:
            self._execute("DELETE FROM faults")
        else:
            self._execute("DELETE FROM faults WHERE endpoint = ?", endpoint)

    def reset(self) -> None:
        """Forget everything, switches and faults included. Ids go on, so none is ever used twice."""
        tables = (
            "control", "faults", "journal", "printers", "statuses", "commands", "deliveries", "files", "images",
            "results", "events", "timelapses",
        )  # fmt: skip
        with self.transaction():
            for table in tables:
                self._execute(f"DELETE FROM {table}")
        for folder in ("files", "printer_images", "timelapses"):
            for path in (self.data / folder).glob("*"):
                path.unlink(missing_ok=True)

    # -- commands -----------------------------------------------------------------------------------------------

    def queue(
        self,
        token: str,
        action: str,
        *,
        id: Any = None,
        timestamp: float | None = None,
        **params: Any,
    ) -> Any:
        """Queue a generation 1 command and return its id. `timestamp` defaults to now by the hub's clock."""
        command_id = f"cmd_{uuid.uuid4().hex[:13]}" if id is None else id
        stamp = int(self.now()) if timestamp is None else timestamp
        self.queue_raw(
            token,
            {"id": command_id, "token": token, "action": action, "timestamp": stamp, **params},
        )
        return command_id

    def queue2(self, token: str, type: str, command: str, priority: int = 0, **extra: Any) -> int:
        """Queue a generation 2 command ("basic", "gcode" or "macro") and return its id. Higher priorities go first."""
        with self.transaction():
            number = self._insert_command(2, token, "{}", priority)
            body = {"id": number, "type": type, "command": command, "priority": priority, **extra}
            self._execute("UPDATE commands SET body = ? WHERE id = ?", json.dumps(body), number)
        return number

    def queue_raw(
        self, token: str, command: Any, *, generation: int = 1, priority: int = 0
    ) -> None:
        """Queue any JSON value in place of a command."""
        self._insert_command(generation, token, json.dumps(command), priority)

    def waiting(self, token: str) -> list[Any]:
        """The commands not yet handed out, oldest first."""
        rows = self._rows(
            "SELECT body FROM commands WHERE token = ? AND sent IS NULL ORDER BY id", token
        )
        return [json.loads(row["body"]) for row in rows]

    def delivered(self, token: str) -> list[Delivery]:
        """The commands handed out, in order."""
        rows = self._rows("SELECT * FROM deliveries WHERE token = ? ORDER BY id", token)
        return [
            Delivery(row["time"], row["generation"], row["via"], json.loads(row["body"]))
            for row in rows
        ]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make several changes visible to the hub at once: a burst of commands that one reply must carry, say."""
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
        return time.time() + (float(json.loads(row["value"])) if row is not None else 0.0)

    # -- files --------------------------------------------------------------------------------------------------

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
        """Offer a file under `name`; `extra` is merged into its entry of the list (size_bytes="12", sha256=...)."""
        digest = hashlib.md5(data).hexdigest() if md5 is True else (md5 or None)
        with self.transaction():
            self._execute("DELETE FROM files WHERE token = ? AND name = ?", token, name)
            number = self._execute(
                "INSERT INTO files (token, name, original_name, size, md5, extra, uploaded) VALUES (?, ?, ?, ?, ?, ?, ?)",
                token, name, original_name or name, len(data), digest, json.dumps(extra), time.time(),
            )  # fmt: skip
            (self.data / "files" / str(number)).write_bytes(data)

    def file_entry(self, name: str, token: str) -> dict[str, Any] | None:
        """{"downloaded": bool, "exists": bool}: whether the file was reported taken, and whether the hub still has it."""
        row = self._row("SELECT * FROM files WHERE token = ? AND name = ?", token, name)
        if row is None:
            return None
        return {
            "downloaded": bool(row["downloaded"]),
            "exists": (self.data / "files" / str(row["id"])).is_file(),
        }

    # -- what the hub knows -------------------------------------------------------------------------------------

    def requests(
        self,
        endpoint: str | None = None,
        token: str | None = None,
        *,
        since: float = 0,
        pending: bool = False,
    ) -> list[Request]:
        """The requests received, oldest first; `pending`: only those not yet answered."""
        sql = "SELECT * FROM journal WHERE time >= ?"
        values: list[Any] = [since]
        if endpoint is not None:
            sql += " AND endpoint = ?"
            values.append(endpoint)
        if token is not None:
            sql += " AND token = ?"
            values.append(token)
        if pending:
            sql += " AND finished IS NULL"
        return [_request(row) for row in self._rows(sql + " ORDER BY id", *values)]

    def history(self, token: str, *, since: float = 0) -> list[Status]:
        """Every accepted status update, oldest first."""
        rows = self._rows(
            "SELECT s.*, j.body FROM statuses s JOIN journal j ON j.id = s.journal_id"
            " WHERE s.token = ? AND s.time >= ? ORDER BY s.id",
            token, since,
        )  # fmt: skip
        return [_status(row) for row in rows]

    def last(self, token: str) -> Status | None:
        """The newest accepted status update, with its time."""
        row = self._row(
            "SELECT s.*, j.body FROM statuses s JOIN journal j ON j.id = s.journal_id"
            " WHERE s.token = ? ORDER BY s.id DESC LIMIT 1",
            token,
        )
        return None if row is None else _status(row)

    def status(self, token: str) -> dict[str, Any] | None:
        """The body of the newest accepted status update."""
        last = self.last(token)
        return None if last is None else last.body

    def states(self, token: str) -> list[str]:
        """The status words seen, in order, repetitions left out: ["idle", "printing", "idle"]."""
        words: list[str] = []
        for row in self._rows("SELECT status FROM statuses WHERE token = ? ORDER BY id", token):
            if not words or words[-1] != row["status"]:
                words.append(row["status"])
        return words

    def count(self, token: str) -> int:
        """How many status updates were accepted."""
        row = self._row("SELECT COUNT(*) AS n FROM statuses WHERE token = ?", token)
        return 0 if row is None else int(row["n"])

    def printer(self, token: str, generation: int = 1) -> dict[str, Any] | None:
        """The fields that the server keeps (generation 1: replaced, image and tags surviving); raw_data for generation 2."""
        row = self._row(
            "SELECT * FROM printers WHERE token = ? AND generation = ?", token, generation
        )
        if row is None:
            return None
        fields = {
            **json.loads(row["fields"]),
            "last_seen": row["last_seen"],
            "printer_id": row["printer_id"],
        }
        if generation == 2:
            fields["raw_data"] = row["raw_data"]
        return fields

    def results(self, token: str, *, every: bool = False) -> list[Result]:
        """The distinct command results in order of first arrival; with `every`, all arrivals, repeats included."""
        seen: set[str] = set()
        results = []
        for row in self._rows("SELECT * FROM results WHERE token = ? ORDER BY id", token):
            if every or row["body"] not in seen:
                seen.add(row["body"])
                body = json.loads(row["body"])
                results.append(
                    Result(row["time"], row["via"], body if isinstance(body, dict) else {"": body})
                )
        return results

    def result(self, token: str, command_id: Any) -> Result | None:
        """The last result of one command (ids compared as text), or None."""
        found = [result for result in self.results(token) if str(result.id) == str(command_id)]
        return found[-1] if found else None

    def events(self, token: str) -> list[Event]:
        """The events received, in order of first arrival."""
        rows = self._rows("SELECT * FROM events WHERE token = ? ORDER BY id", token)
        return [Event(row["time"], row["deliveries"], json.loads(row["body"])) for row in rows]

    def images(self, token: str) -> list[Image]:
        """The pictures received (the last 500), oldest first."""
        rows = self._rows("SELECT * FROM images WHERE token = ? ORDER BY id", token)
        return [
            Image(row["time"], row["generation"], row["name"], row["sha256"], bytes(row["data"]))
            for row in rows
        ]

    def timelapses(self, token: str) -> list[Video]:
        """The videos uploaded."""
        rows = self._rows("SELECT * FROM timelapses WHERE token = ? ORDER BY id", token)
        return [
            Video(
                row["time"], row["name"], row["size"], row["sha256"], json.loads(row["fields"]),
                self.data / "timelapses" / str(row["id"]),
            )
            for row in rows
        ]  # fmt: skip

    # -- waiting ------------------------------------------------------------------------------------------------

    def wait_for(self, predicate: Callable[[], T], timeout: float = 10, what: str = "") -> T:
        """Block until the predicate is true and return its value; TimeoutError names the last requests."""
        deadline = time.monotonic() + timeout
        for value in self._attempts(predicate):
            if value:
                return value
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        raise self._timed_out(timeout, what)

    async def until(self, predicate: Callable[[], T], timeout: float = 10, what: str = "") -> T:
        """The same for a test that runs in an event loop."""
        deadline = time.monotonic() + timeout
        for value in self._attempts(predicate):
            if value:
                return value
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(POLL_SECONDS)
        raise self._timed_out(timeout, what)

    def _attempts(self, predicate: Callable[[], T]) -> Iterator[T]:
        """The predicate's value each time it can have changed: with the database, and every tenth look with the clock."""
        version, value, look = -1, predicate(), 0
        while True:
            yield value
            look += 1
            row = self._row("PRAGMA data_version")
            newest = -1 if row is None else int(row[0])
            if newest != version or look % 10 == 0:
                version, value = newest, predicate()

    def _timed_out(self, timeout: float, what: str) -> TimeoutError:
        lines = [
            f"{what or 'the condition'} did not come about at the hub within {timeout:g} s; last requests:"
        ]
        for request in self.requests()[-12:]:
            lines.append(
                f"  {request.time:.3f} {request.method} {request.endpoint} {request.token} -> {request.code}"
                f" {request.text[:160]!r} -> {request.reply[:160]!r}"
            )
        return TimeoutError("\n".join(lines))

    # -- database -----------------------------------------------------------------------------------------------

    def _insert_command(self, generation: int, token: str, body: str, priority: int) -> int:
        return self._execute(
            "INSERT INTO commands (generation, token, priority, body, created) VALUES (?, ?, ?, ?, ?)",
            generation, token, priority, body, time.time(),
        )  # fmt: skip

    def _execute(self, sql: str, *values: Any) -> int:
        with self._lock:
            return int(self._db.execute(sql, values).lastrowid or 0)

    def _rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return list(self._db.execute(sql, values))

    def _row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        with self._lock:
            row: sqlite3.Row | None = self._db.execute(sql, values).fetchone()
            return row


def php_available(php: str = "php") -> bool:
    """Whether the PHP command line with SQLite is installed (Debian: php-cli, php-sqlite3)."""
    if shutil.which(php) is None:
        return False
    modules = subprocess.run([php, "-m"], capture_output=True, text=True, check=False).stdout
    return "pdo_sqlite" in modules


def _request(row: sqlite3.Row) -> Request:
    return Request(
        id=row["id"],
        time=row["time"],
        generation=row["generation"],
        endpoint=row["endpoint"],
        path=row["path"],
        method=row["method"],
        action=row["action"],
        token=row["token"],
        query=json.loads(row["query"]),
        headers=json.loads(row["headers"]),
        size=row["size"],
        text=row["body"] or "",
        finished=row["finished"],
        code=row["code"],
        success=None if row["success"] is None else bool(row["success"]),
        reply=row["reply"] or "",
    )


def _status(row: sqlite3.Row) -> Status:
    return Status(row["id"], row["time"], row["generation"], row["status"], json.loads(row["body"]))
