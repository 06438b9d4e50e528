"""Real sockets in virtual time: hours of a bad line in seconds.

The plugin's own hub rooms (client, kept connections, poller, link, reporter) talk HTTP to a small
hub in the same event loop, whose clock jumps to the next timer whenever no socket has anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import selectors
import urllib.parse
from collections import deque
from typing import Any

from components.commands.receipts import Receipts
from components.hub.client import HubClient
from components.hub.kept import KeptClient
from components.hub.link import Link
from components.hub.poller import CommandPoller
from components.hub.transport import Transport
from components.net.connect import Connector
from components.net.trust import Trust
from components.runtime.clock import Clock
from components.settings.model import Intervals, LiveSettings, Settings
from components.status.cadence import Cadence
from components.status.reporter import Reporter, ResultBox
from tests.unit.fakes import Board

CARRIED = 0.0005  # real seconds in which the kernel has carried what was sent to ourselves
SMALL = 0.1  # virtual seconds; after so short a jump nobody gives up waiting for it


class _Jumping(selectors.DefaultSelector):
    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if found or timeout == 0:
            return found
        if timeout is None:
            return super().select(None)
        if timeout > SMALL:
            found = super().select(CARRIED)
        if not found:
            self.loop.now += timeout + 1e-6
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.now = 1000.0
        selector = _Jumping()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now


class LoopClock(Clock):
    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def monotonic(self) -> float:
        return self._loop.time()

    def time(self) -> float:
        return 1_700_000_000.0 + self._loop.time()


class SmallHub:
    """Generation 1, with what it announces; it forgets what it hands out, but for `redeliver`.

    `mode` is what it does to each connection or request: "" (answers), "hang_accept", "hang",
    "reset", "cut".
    """

    def __init__(self, clock: Clock, features: dict[str, Any]) -> None:
        self.clock = clock
        self.features = features
        self.mode = ""
        self.port = 0
        self.asked = 0  # requests for commands
        self.connections = 0
        self.statuses: list[float] = []  # when they came
        self._queue: deque[dict[str, Any]] = deque()
        self._handed: dict[str, tuple[dict[str, Any], float]] = {}
        self._news = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        assert self._server is not None
        self._server.close()

    def close(self) -> None:
        self.refuse()
        for writer in list(self._open):
            writer.transport.abort()

    def queue(self, command: str) -> None:
        self._queue.append({"id": command, "action": "home", "timestamp": 0})
        self._news.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            if self.mode == "hang_accept":
                await reader.read()
            while self.mode != "hang_accept":
                await self._exchange(reader, writer)
        self._open.discard(writer)
        writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(length.group(1))) if length else b""
        url = urllib.parse.urlsplit(head.split(" ", 2)[1])
        query = dict(urllib.parse.parse_qsl(url.query))
        commands = query.get("action") == "get_commands"
        self.asked += commands
        if self.mode == "hang":
            await reader.read()
            raise OSError
        if self.mode == "reset":
            writer.transport.abort()
            raise OSError
        reply: dict[str, Any] = {"success": True, "message": "", **self.features}
        if commands:
            reply["commands"] = await self._commands(reader, float(query.get("wait", 0)))
        else:
            self._told(json.loads(body))
        data = json.dumps(reply).encode()
        text = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(data)}"
        writer.write(text.encode() + b"\r\n\r\n" + data[: 5 if self.mode == "cut" else None])
        await writer.drain()
        if self.mode == "cut":
            raise OSError

    def _told(self, body: dict[str, Any]) -> None:
        if body["action"] == "update_printer":
            self.statuses.append(self.clock.monotonic())
        entries = body.get("results" if body["action"] == "command_results" else "command_results")
        for entry in entries or ():
            self._handed.pop(entry["id"], None)

    async def _commands(self, reader: asyncio.StreamReader, wait: float) -> list[dict[str, Any]]:
        end = self.clock.monotonic() + wait
        while not (due := self._due()) and not reader.at_eof():
            left = end - self.clock.monotonic()
            if left <= 0:
                break
            self._news.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._news.wait(), min(left, 0.5))
        return due

    def _due(self) -> list[dict[str, Any]]:
        now = self.clock.monotonic()
        found = list(self._queue)
        self._queue.clear()
        after = self.features.get("features", {}).get("redeliver", 0)
        if after:
            found += [command for command, at in self._handed.values() if now - at >= after]
            self._handed.update({command["id"]: (command, now) for command in found})
        return found


class _NoEvents:
    undelivered = 0


class Plugin:
    """The rooms between the hub and the ledger; `arrived` are the ids that reached the latter."""

    def __init__(
        self, clock: Clock, port: int, scheme: str = "http", command_check: float = 3.0
    ) -> None:
        self.clock = clock
        settings = Settings(
            server_url=f"{scheme}://127.0.0.1:{port}/api.php",
            printer_token="T1",
            intervals=Intervals(command_check=command_check),
        )
        live = LiveSettings(settings)
        rng = random.Random(1)
        self.board = Board(clock)
        trust = Trust(clock, lambda: "", {})
        self.connector = Connector(clock, trust, environment={})
        self.kept = KeptClient(force_instance=True, connector=self.connector, clock=clock)
        self.client = HubClient(live, Transport(self.kept, clock, "TecMedHub/test"), clock)
        self.link = Link(live, self.board.notices, clock, rng)
        self.poller = CommandPoller(live, self.client, self.link, clock)
        self.receipts = Receipts(
            results_due=lambda limit: [],
            results_delivered=self._never,
            wanted=lambda: self.client.features.redeliver > 0,
            hub=lambda: "",
            hub_now=clock.time,
            on_new=lambda: self.reporter.new_result(),  # noqa: PLW0108 - it is not there yet
        )
        self.reporter = Reporter(
            self.client,
            self.link,
            Cadence(clock, lambda: live.now.intervals, lambda: True),
            _NoEvents(),  # type: ignore[arg-type]
            lambda: {"action": "update_printer", "token": "T1", "name": "virtual"},
            ResultBox(self.receipts.due, self.receipts.delivered),
            clock,
        )
        self.client.deliver_to(self._arrived)
        self.arrived: list[str] = []
        self.when: dict[str, float] = {}  # first
        loops = (self.reporter.run, self.reporter.run_results, self.poller.run)
        self._tasks = [asyncio.ensure_future(loop()) for loop in loops]

    async def _never(self, told: Any) -> None:
        raise AssertionError("there are no results here")

    async def _arrived(self, raw: Any, _generation: Any) -> None:
        for command in raw:
            self.arrived.append(command["id"])
            self.when.setdefault(command["id"], self.clock.monotonic())
        self.receipts.arrived(raw, "")

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        assert all(isinstance(error, asyncio.CancelledError) for error in ended), ended
        self.kept.close()
        self.connector.close()


def open_sockets() -> int:
    """Of this process, both ends of a connection to ourselves."""
    found = 0
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{entry}").startswith("socket:")
    return found
