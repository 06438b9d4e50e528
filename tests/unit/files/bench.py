"""A misbehaving file server, a file manager without a Moonraker, and `Transfers` wired to both."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from components.files.fetching import Fetching
from components.files.gcode_root import GcodeStore
from components.files.hub_files import HubFiles
from components.files.inventory import Inventory
from components.files.placing import Placing
from components.files.staging_file import Disk
from components.files.staging_folder import StagingFolder
from components.files.transfers import Transfers
from components.files.wanted import Arrived, Wanted
from components.hub.client import Reply
from components.hub.outcomes import Failure
from components.hub.protocol import HubFile
from components.net.connect import Connector
from components.net.trust import Trust
from components.printer.open_file import LoadedFile
from components.runtime.clock import Clock
from components.runtime.supervisor import Supervisor
from components.runtime.worker import Worker
from components.settings.model import FileManagement, LiveSettings, Retries, Settings, Timeouts
from components.store.database import Database
from components.store.downloads import SCHEMA, Downloads
from tests.unit.fakes import Board

TOKEN = "SECRET_TOKEN_1"


def gcode(size: int, seed: int = 1) -> bytes:
    """Plausible G-code of exactly `size` bytes, different for each seed."""
    lines = [b"; made by a slicer\n", b"G28 ; home\n", f"; seed {seed}\n".encode()]
    line = 0
    total = sum(map(len, lines))
    while total < size:
        line += 1
        text = (
            f"G1 X{(line * 7 + seed) % 200}.{line % 10} Y{line % 200} E{line / 100:.2f}\n".encode()
        )
        lines.append(text)
        total += len(text)
    return b"".join(lines)[: size - 1] + b"\n"


@dataclass
class Request:
    target: str
    headers: dict[str, str]


Send = Callable[[bytes], Awaitable[None]]
Behaviour = Callable[[Request, Send], Awaitable[None]]


@dataclass
class FileServer:
    """Serves `body` at any path, or does what the next of `behaviours` does (the last stays)."""

    body: bytes = b""
    ranges: bool = True
    etag: str = '"v1"'
    behaviours: list[Behaviour] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    port: int = 0
    open_connections: int = 0

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, request: Request, send: Send) -> None:
        """Like a well-behaved hub."""
        body, head = self.body, "HTTP/1.1 200 OK"
        extra = ""
        if self.ranges:
            extra = f"Accept-Ranges: bytes\r\nETag: {self.etag}\r\n"
            wanted = request.headers.get("range", "")
            if wanted and request.headers.get("if-range", self.etag) == self.etag:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                if start >= len(body):
                    await send(b"HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n")
                    return
                head = "HTTP/1.1 206 Partial Content"
                extra += f"Content-Range: bytes {start}-{len(body) - 1}/{len(body)}\r\n"
                body = body[start:]
        extra += f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n"
        await send(f"{head}\r\n{extra}\r\n".encode())
        await send(body)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                k.strip().lower(): v.strip()
                for k, _, v in (line.partition(":") for line in head[1:] if line)
            }
            request = Request(head[0].split(" ")[1], headers)
            self.requests.append(request)

            async def send(data: bytes) -> None:
                writer.write(data)
                await writer.drain()

            behaviour = self.serve
            if self.behaviours:
                behaviour = (
                    self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]
                )
            await behaviour(request, send)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open_connections -= 1
            writer.close()

    @asynccontextmanager
    async def running(self, ssl: Any = None) -> AsyncIterator[FileServer]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, ssl=ssl)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()


class FakeFileManager:
    """What Moonraker's knows of a file, without reading it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.metadata: dict[str, dict[str, Any]] = {}
        self.uploads: list[str] = []
        self.error: Exception | None = None
        self.locked = False
        self.hold: asyncio.Event | None = None
        self.storage = SimpleNamespace(enable_object_proc=False)

    def get_metadata_storage(self) -> Any:
        return self.storage

    def get_directory(self, root: str) -> str:
        assert root == "gcodes"
        return str(self.root)

    def get_file_metadata(self, filename: str) -> dict[str, Any]:
        return dict(self.metadata.get(filename, {}))

    def check_write_enabled(self) -> None:
        if self.locked:
            raise RuntimeError("Write access is currently disabled")

    async def metascan(self, path: str) -> dict[str, Any]:
        """Moonraker's `server.files.metascan`."""
        assert (self.root / path).is_file()
        if self.error is not None:
            raise self.error
        if self.hold is not None:
            await self.hold.wait()
        self.metadata[path] = {"size": (self.root / path).stat().st_size}
        self.uploads.append(path)
        return {}


OK = Reply(True, "")


class FakeHub:
    """The file side of a hub: what `HubClient` offers to the files room."""

    def __init__(self, server: FileServer) -> None:
        self.server = server
        self.files: list[HubFile] = []
        self.marked: list[str] = []
        self.list_replies: list[Reply] = []
        self.mark_replies: list[Reply] = []
        self.on_mark: Callable[[str], None] = lambda name: None

    def offer(self, name: str, body: bytes, **changes: Any) -> None:
        self.server.body = body
        entry = HubFile(name, len(body), hashlib.md5(body).hexdigest())
        self.files = [entry for entry in self.files if entry.name != name] + [
            entry._replace(**changes)
        ]

    async def list_files(self) -> tuple[Reply, tuple[HubFile, ...]]:
        reply = self.list_replies.pop(0) if self.list_replies else OK
        return reply, tuple(self.files) if reply.ok else ()

    def file_request(self, name: str) -> tuple[str, dict[str, str]]:
        from urllib.parse import quote

        return f"{self.server.origin}/api_files.php?file={quote(name)}&printer_token={TOKEN}", {}

    async def mark_downloaded(self, name: str) -> Reply:
        self.on_mark(name)
        self.marked.append(name)
        return self.mark_replies.pop(0) if self.mark_replies else OK


UNREACHABLE = Reply(False, "The hub cannot be reached.", failure=Failure.UNREACHABLE)
REFUSED = Reply(False, 'The hub refuses: "Token no válido".', failure=Failure.REFUSED)


class ShortClock(Clock):
    """No test waits until Moonraker would have forgotten a file."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class OddDisk(Disk):
    """`space(folder)` is what is free, `opener(path, mode)` opens."""

    def __init__(self, space: Any = None, opener: Any = None) -> None:
        self.free = space or self.free  # type: ignore[method-assign]
        self.open = opener or self.open  # type: ignore[method-assign]


async def no_room_made(size: int) -> int:
    return 0


class Bench:
    def __init__(self, folder: Path, server: FileServer, **options: Any) -> None:
        self.folder = folder
        self.root = folder / "gcodes"
        self.data = folder / "tecmedhub"
        self.staging = self.data / "staging"
        self.root.mkdir(exist_ok=True)
        self.server = server
        self.hub = FakeHub(server)
        self.file_manager = FakeFileManager(self.root)
        self.job_queue = SimpleNamespace(queued_jobs={})
        self.loaded = LoadedFile()
        self.board = Board()
        self.clock = Clock()
        self.supervisor = Supervisor(self.board.notices, self.clock)
        self.worker = Worker("test-files")
        self.database = Database(self.data, self.board.notices, self.clock)
        self.downloads = Downloads(self.database, self.clock)
        self.live = LiveSettings(
            Settings(
                server_url=f"{server.origin}/api.php",
                printer_token=TOKEN,
                timeouts=Timeouts(server=2.0, file_download=options.pop("idle", 60.0)),
                retries=Retries(max_attempts=options.pop("attempts", 3), base_delay=0.01),
                file_management=FileManagement(**options.pop("file_management", {})),
            )
        )
        self.store = GcodeStore(
            self.file_manager,
            self.job_queue,
            lambda: self.loaded,
            lambda: self.look(),  # noqa: PLW0108 - tests put another in its place
            self.call_method,
            lambda name, event: None,
        )
        self.inventory = Inventory(
            downloads=self.downloads,
            store=self.store,
            worker=self.worker,
            notices=self.board.notices,
            clock=self.clock,
        )
        self.staging_folder = StagingFolder(
            self.data, lambda: self.store.root, self.worker, self.board.notices
        )
        self.placing = Placing(
            store=self.store,
            inventory=self.inventory,
            staging=self.staging_folder,
            worker=self.worker,
            notices=self.board.notices,
            clock=ShortClock(),
        )
        self.told: list[Any] = []
        rng = random.Random(1)
        self.hub_files = HubFiles(
            live=self.live, hub=self.hub, inventory=self.inventory, clock=self.clock, rng=rng
        )
        fetching = Fetching(
            live=self.live,
            connector=options.pop("connector", None) or Connector(self.clock, Trust(self.clock)),
            user_agent="TecMedHub/test",
            worker=self.worker,
            notices=self.board.notices,
            clock=self.clock,
            rng=rng,
            make_room=options.pop("make_room", no_room_made),
            disk=OddDisk(**options),
        )
        self.transfers = Transfers(
            live=self.live,
            hub_files=self.hub_files,
            fetching=fetching,
            inventory=self.inventory,
            staging=self.staging_folder,
            placing=self.placing,
            supervisor=self.supervisor,
            notices=self.board.notices,
            clock=self.clock,
        )
        self.transfers.subscribe(self.told.append)

    async def __aenter__(self) -> Bench:
        await self.database.open([SCHEMA])
        await self.transfers.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.transfers.stop()
        await self.supervisor.stop()
        await self.database.close()
        self.worker.close()

    async def look(self) -> LoadedFile:
        """What Klipper says when it is asked."""
        return self.loaded

    async def call_method(self, name: str, arguments: dict[str, Any]) -> Any:
        """Moonraker's internal transport."""
        assert name == "server.files.metascan"
        return await self.file_manager.metascan(arguments["filename"])

    async def fetch(self, file: str, **fields: Any) -> str:
        return (await self.arrived(file, **fields)).path

    async def arrived(self, file: str, url: str = "", **fields: Any) -> Arrived:
        return await self.transfers.fetch(Wanted(file, url, **fields))

    @property
    def gcodes(self) -> dict[str, bytes]:
        """Everything below the gcodes root."""
        return {
            str(p.relative_to(self.root)): p.read_bytes()
            for p in self.root.rglob("*")
            if p.is_file()
        }

    @property
    def staged(self) -> list[str]:
        return sorted(p.name for p in self.staging.iterdir()) if self.staging.is_dir() else []

    def nothing_arrived(self) -> bool:
        return (
            not self.gcodes
            and not self.staged
            and not self.hub.marked
            and not self.file_manager.uploads
        )
