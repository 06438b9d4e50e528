"""The two deployed servers, with pages of their own, and the drop-ins of `server/` in them.

    with DeployedServer(folder, 1) as server:           # generation 1, with its drop-in
        number = server.send("T1", "heat")              # as the page's button does
        server.wait_for(lambda: server.log("T1", number)["status"] == "done", 10)

    with DeployedServer(folder, 2, drop_in=False) as server: …      # as it is without

What they keep, delete and forget is what was seen of the real ones (tests/deployed). The drop-in is
put in as its page says: files beside the scripts, one line in some of them.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import shutil
import sqlite3
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from .php_server import PhpServer
from .stack import Stack

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
DEPLOYED = ROOT / "tests" / "deployed"
#: The line that server/README.md has its reader put in, and the scripts that it goes into.
INCLUDE = "require_once __DIR__ . '/tecmedhub.php';"
INCLUDED_IN = {1: ("api.php",), 2: ("update.php", "commands.php")}
_DATABASE = "const DATABASE = __DIR__ . '/printers.db';"
_POLL_SECONDS = 0.02


class DeployedServer:
    """`settings` replaces constants of the drop-in: DeployedServer(folder, 1, LONG_POLL=3)."""

    def __init__(
        self,
        folder: Path,
        generation: int,
        *,
        drop_in: bool = True,
        workers: int = 24,
        **settings: float,
    ) -> None:
        self.generation = generation
        self.folder = folder
        self.drop_in = drop_in
        shutil.copytree(DEPLOYED / {1: "one", 2: "two"}[generation], folder)
        if drop_in:
            install(folder, generation, settings)
        ini = {"upload_max_filesize": "8M", "post_max_size": "8M", "display_errors": "0"}
        self._server = PhpServer(
            folder,
            DEPLOYED / "router.php",
            folder.parent / f"{folder.name}.log",
            workers=workers,
            ini=ini,
            environment={},
        )
        self._db: sqlite3.Connection | None = None

    def start(self) -> DeployedServer:
        self._server.start(self._server.port)
        if self.generation == 2:
            self.get("install.php")
            path = self.folder / "data" / "printers.db"
            self._db = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=30
            )
            self._db.row_factory = sqlite3.Row
        return self

    def stop(self) -> None:
        self._server.kill()
        if self._db is not None:
            self._db.close()

    def kill(self) -> None:
        """End it at once; `start` brings it back on the same port."""
        self._server.kill()

    def __enter__(self) -> DeployedServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- addresses and requests ----------------------------------------------------------------

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self._server.port}/{path}"

    @property
    def server_url(self) -> str:
        return self.url("api.php" if self.generation == 1 else "update.php")

    @property
    def upload_url(self) -> str:
        return self.url("upload_image.php")

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        return self._ask(
            urllib.request.Request(f"{self.url(path)}?{urllib.parse.urlencode(query)}")
        )

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(self.url(path), json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        return self._ask(request)

    def _ask(self, request: urllib.request.Request) -> dict[str, Any]:
        with urllib.request.urlopen(request, timeout=60) as reply:
            found: dict[str, Any] = json.loads(reply.read())
            return found

    def wait_for(self, predicate: Callable[[], T], timeout: float = 60, what: str = "") -> T:
        deadline = time.monotonic() + timeout
        while True:
            value = predicate()
            if value:
                return value
            if time.monotonic() > deadline:
                raise TimeoutError(f"not at the server within {timeout:g} s: {what}")
            time.sleep(_POLL_SECONDS)

    # -- what the plugin asks, for tests without one -------------------------------------------

    def update(self, token: str, **fields: Any) -> dict[str, Any]:
        body = {"action": "update_printer", "token": token, "name": "Uno", "status": "idle"}
        return self.post(self.server_url.rpartition("/")[2], {**body, **fields})

    def poll(self, token: str, **query: Any) -> list[dict[str, Any]]:
        if self.generation == 1:
            reply = self.get("api.php", action="get_commands", token=token, **query)
        else:
            reply = self.get("commands.php", token=token, **query)
        assert reply["success"], reply
        return list(reply["commands"])

    def tell(self, token: str, *results: Mapping[str, Any]) -> dict[str, Any]:
        body = {"action": "command_results", "token": token, "results": list(results)}
        return self.post(self.server_url.rpartition("/")[2], body)

    @property
    def somebody_waits(self) -> bool:
        """Whether a long poll is being served; its PHP process takes no other request then."""
        if self.generation == 1:
            place = self.folder / "tecmedhub_data" / "wait.0"
        else:
            database = str(self.folder / "data" / "printers.db").encode()
            name = f"tecmedhub-{hashlib.md5(database).hexdigest()[:12]}.wait.0"
            place = Path(tempfile.gettempdir()) / name
        try:
            with place.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    # -- what its pages do ---------------------------------------------------------------------

    def send(self, token: str, word: str, command: str = "", **params: Any) -> Any:
        """Queue a command and return its id; generation 2: `word` is the type."""
        if self.generation == 1:
            body = {"action": "send_command", "token": token, "command": word, "params": params}
            return self.post("api.php", body)["id"]
        printer = self.row("SELECT id FROM printers WHERE token = ?", token)
        assert printer is not None, "the printer is not registered yet"
        body = {"printer_id": printer["id"], "type": word, "command": command, **params}
        return self.post("dashboard.php?action=send", body)["id"]

    def status(self, token: str) -> dict[str, Any] | None:
        """What the page knows of a printer."""
        if self.generation == 1:
            printers = self.get("api.php", action="get_printers")["printers"]
        else:
            printers = self.get("dashboard.php", action="printers")["printers"]
        return next((printer for printer in printers if printer["token"] == token), None)

    def log(self, token: str, command: Any) -> dict[str, Any]:
        """Generation 1 with the drop-in: what became of a command; {} while it is unknown."""
        found = self.get("api.php", action="command_log", token=token, id=command)["commands"]
        return dict(found[0]) if found else {}

    def add_file(self, name: str, data: bytes) -> int:
        """Upload G-code at the server; generation 2: under a storage name; its number there."""
        if self.generation == 1:
            (self.folder / "uploads").mkdir(exist_ok=True)
            (self.folder / "uploads" / name).write_bytes(data)
            return 0
        stored = f"{int(time.time())}_{abs(hash(name)) % 16**8:08x}.gcode"
        (self.folder / "gcodes" / stored).write_bytes(data)
        assert self._db is not None
        sql = "INSERT INTO files (filename, original_name) VALUES (?, ?)"
        return int(self._db.execute(sql, (stored, name)).lastrowid or 0)

    # -- generation 2's database ---------------------------------------------------------------

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        assert self._db is not None
        return self._db.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        found = self.rows(sql, *values)
        return found[0] if found else None


def install(folder: Path, generation: int, settings: Mapping[str, float]) -> None:
    """As server/README.md has it done."""
    for source in (ROOT / "server" / f"generation{generation}").glob("*.php"):
        target = folder / source.name
        if target.exists():
            continue
        text = source.read_text(encoding="utf-8")
        text = text.replace(_DATABASE, "const DATABASE = __DIR__ . '/data/printers.db';")
        for name, value in settings.items():
            before, mark, rest = text.partition(f"const {name} = ")
            if mark:
                text = f"{before}{mark}{value}{rest[rest.index(';') :]}"
        target.write_text(text, encoding="utf-8")
    for name in INCLUDED_IN[generation]:
        script = folder / name
        head, _, rest = script.read_text(encoding="utf-8").partition("\n")
        script.write_text(f"{head}\n{INCLUDE}\n{rest}", encoding="utf-8")


class DeployedStack(Stack):
    """Real Klippy, real Moonraker with the plugin, and a deployed server in place of the hub."""

    def __init__(
        self,
        folder: Path,
        *,
        generation: int = 1,
        drop_in: bool = True,
        settings: Mapping[str, float] | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(folder, generation=generation, connected=False, **arguments)
        self.server = DeployedServer(
            folder / "server", generation, drop_in=drop_in, **(settings or {})
        )

    @property
    def server_url(self) -> str:
        return self.server.server_url

    def start(self) -> DeployedStack:
        self.server.start()
        super().start()
        self.server.wait_for(
            lambda: (self.server.status(self.token) or {}).get("status") == "idle",
            30,
            "the printer",
        )
        return self

    def stop(self) -> None:
        with contextlib.ExitStack() as both:
            both.callback(self.server.stop)
            both.callback(super().stop)
