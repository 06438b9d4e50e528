"""The hub in both generations, as `hub-protocol` describes it, and the network between: delays, cut
replies, a router that answers in its place.

It is reached through what stands in for Tornado's HTTP client. It never forgets what it handed out
and what it was told: that is the invariants' business.
"""

from __future__ import annotations

import asyncio
import email.utils
import io
import json
import random
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tornado.httpclient import HTTPRequest, HTTPResponse
from tornado.httputil import HTTPHeaders
from tornado.iostream import StreamClosedError
from tornado.simple_httpclient import HTTPTimeoutError

from .loop import PROCESS, Process, VirtualLoop
from .machine import EPOCH
from .witness import Witness

TOKEN = "TECMED_SIM"
TOLD = ("id", "action", "status", "message", "received_at")
ADDRESSES = ("http://10.0.0.2", "http://10.0.0.3")
HANG_UP_WITHIN = 0.4  # seconds
PATHS = {1: "/api.php", 2: "/printer-api/update.php"}


@dataclass
class Asked:
    """One command, from the queue to its end. `n` tells commands apart, whatever ids they bear."""

    n: int
    action: str
    params: dict[str, Any]
    confirm: bool
    id: Any = None
    wire: dict[str, Any] = field(default_factory=dict)
    queued: float = 0.0  # virtual seconds, as all times here
    stamped: float | None = None  # when its timestamp says that it was queued
    handed: list[float] = field(default_factory=list)  # written into a reply
    delivered: list[float] = field(default_factory=list)  # that reply came in whole
    generation: int = 1
    base: int = 1  # which database of the hub

    def __str__(self) -> str:
        return f"{self.action} (n {self.n})"


@dataclass
class Weather:
    """What the network and the hub's machine do at present."""

    delay: float = 0.03  # seconds, one way
    kind: str = "fair"  # fair | cut | down | router | busy | silent | broken
    until: float = 0.0
    retry_after: int = 0


class Hub:
    def __init__(
        self,
        loop: VirtualLoop,
        rng: random.Random,
        witness: Witness,
        generation: int,
        features: dict[str, Any],
        skew: float,
    ) -> None:
        self._loop = loop
        self._rng = rng
        self._witness = witness
        self.generation = generation
        self.features = features
        self.skew = skew
        self.address = ADDRESSES[0]
        self.base = 1  # its database
        self._next_id = 1
        self.weather = Weather()
        self.queue: list[Asked] = []
        self.asked: list[Asked] = []
        self.told: list[dict[str, Any]] = []
        self._heard: dict[tuple[int, str], float] = {}  # when last of an id, by database
        self.listing: list[dict[str, Any]] = []  # files for `print`
        self.again: list[Asked] = []  # what the next reply brings a second time
        self.last_status = -1.0
        self._waiting: list[asyncio.Future[None]] = []  # long polls
        self._open: list[_Exchange] = []

    @property
    def url(self) -> str:
        return self.address + PATHS[self.generation]

    def now(self) -> float:
        """Unix seconds by the hub's clock, which is the true one for the ages of commands."""
        return EPOCH + self.skew + self._loop.time()

    # What people at the hub do

    def ask(self, asked: list[Asked], age: float = 0.0, stamp: bool = True) -> None:
        """Queue commands, all of which the next reply may bring; `age` is how long they have lain
        there already."""
        for command in asked:
            command.queued = self._loop.time() - age
            command.generation, command.base = self.generation, self.base
            if self.generation == 1:
                command.id = f"cmd_{command.n}"
                stamped = {"timestamp": round(self.now() - age, 3)} if stamp else {}
                command.wire = {
                    "id": command.id,
                    "token": TOKEN,
                    "action": command.action,
                    **stamped,
                    **command.params,
                }
                command.stamped = command.queued if stamp else None
            else:
                command.id = self._next_id
                self._next_id += 1
                command.wire = {"id": command.id, "priority": 5, **_second(command)}
            if command.confirm and "confirm" not in json.dumps(command.wire):
                command.wire["confirm"] = True
            self.queue.append(command)
            self.asked.append(command)
            self._witness.note(
                "hub",
                "asked",
                n=command.n,
                id=command.id,
                action=command.action,
                **command.params,
                **({"confirm": True} if command.confirm else {}),
                **({"age": age} if age else {}),
            )
        self._wake()

    def begin_anew(self) -> None:
        """`install.php?force=1`: the queue is empty, and ids begin at 1 again."""
        self.base += 1
        self._next_id = 1
        self.queue.clear()
        self.again.clear()
        self._witness.note("hub", "new database")

    def repeat(self) -> None:
        """The next reply brings once more what was handed out last."""
        handed = [c for c in self.asked if c.handed and c.base == self.base]
        if handed:
            last = max(c.handed[-1] for c in handed)
            self.again = [c for c in handed if c.handed[-1] == last]
            self._witness.note("hub", "repeats", n=[c.n for c in self.again])
            self._wake()

    def move(self) -> None:
        """To another machine, with a database of its own; the one before is switched off."""
        self.begin_anew()
        self._witness.note("hub", "moves")
        self.address = ADDRESSES[1 - ADDRESSES.index(self.address)]
        self._cut_all()

    def turn(self, kind: str, seconds: float, retry_after: int = 0) -> None:
        self.weather.kind = kind
        self.weather.until = self._loop.time() + seconds
        self.weather.retry_after = retry_after
        self._witness.note("hub", "weather", kind=kind, seconds=round(seconds, 1))
        if kind in ("cut", "down"):
            self._cut_all()

    def _cut_all(self) -> None:
        for exchange in list(self._open):
            exchange.fail(ConnectionResetError(104, "Connection reset by peer"))

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    @property
    def _kind(self) -> str:
        return self.weather.kind if self._loop.time() < self.weather.until else "fair"

    @property
    def reachable(self) -> bool:
        return self._kind == "fair"

    # The client's end

    async def fetch(self, request: HTTPRequest, raise_error: bool = True) -> HTTPResponse:
        exchange = _Exchange(self._loop, request, PROCESS.get())
        self._open.append(exchange)
        timer = self._loop.call_later(
            request.request_timeout or 20.0, exchange.fail, HTTPTimeoutError("Timeout")
        )
        exchange.future.add_done_callback(lambda _f: timer.cancel())
        self._loop.play(self._serve(exchange), _WORLD)
        return await exchange.future

    def hang_up(self) -> None:
        """The client is leaving, and says so on the connection that waits long: the hub sees it;
        what it had just handed out may still arrive for a moment."""
        for exchange in self._of(PROCESS.get()):
            if getattr(exchange.request, "patient", False):
                exchange.closed = True
                self._loop.call_later(HANG_UP_WITHIN, exchange.fail, StreamClosedError())
        self._wake()

    def forget(self) -> None:
        """Connections that lie idle are of no account here."""

    def close(self) -> None:
        """The client's end of every connection is closed, as by a process that ends well."""
        for exchange in self._of(PROCESS.get()):
            exchange.fail(StreamClosedError())
        self._wake()

    def _of(self, process: Process | None) -> list[_Exchange]:
        return [exchange for exchange in self._open if exchange.process is process]

    def died(self, process: Process) -> None:
        for exchange in self._of(process):
            exchange.closed = exchange.gone = True
        self._wake()

    async def _serve(self, exchange: _Exchange) -> None:
        request = exchange.request
        try:
            kind = self._kind
            if kind == "down" or not request.url.startswith(self.address):
                await asyncio.sleep(0.005)
                exchange.fail(ConnectionRefusedError(111, "Connection refused"))
                return
            if kind == "silent":
                return  # until its time is over
            await asyncio.sleep(self._delay())
            if kind == "router":
                page = b"<html><title>Router</title>Please log in</html>"
                exchange.answer(200, page, "Thu, 01 Jan 1970 00:01:40 GMT", {})
                return
            if kind == "busy":
                wait = {"Retry-After": str(self.weather.retry_after)}
                exchange.answer(503, b"busy", self._date(), wait)
                return
            if kind == "broken":
                exchange.answer(500, b"<b>Fatal error</b>", self._date(), {})
                return
            handed: list[Asked] = []
            reply = await self._reply(exchange, handed)
            if reply is None:
                return
            now = self._loop.time()
            for command in handed:
                command.handed.append(now)
                self._witness.note("hub", "hands out", n=command.n)
            date = self._date()
            await asyncio.sleep(self._delay())
            if kind == "cut":
                exchange.fail(StreamClosedError())
                return
            if exchange.answer(200, json.dumps(reply).encode(), date, {}):
                for command in handed:
                    command.delivered.append(self._loop.time())
                    self._witness.note("hub", "delivered", n=command.n)
            else:
                for command in handed:
                    self._witness.note("hub", "lost", n=command.n, why=exchange.why)
        finally:
            if exchange.future.done() or exchange.closed:
                self._drop(exchange)
            else:
                exchange.future.add_done_callback(lambda _f: self._drop(exchange))

    def _drop(self, exchange: _Exchange) -> None:
        if exchange in self._open:
            self._open.remove(exchange)

    def _delay(self) -> float:
        return self.weather.delay * self._rng.uniform(0.5, 1.5)

    def _date(self) -> str:
        return email.utils.formatdate(self.now(), usegmt=True)

    # The server's end

    async def _reply(self, exchange: _Exchange, handed: list[Asked]) -> dict[str, Any] | None:
        request = exchange.request
        parts = urllib.parse.urlsplit(request.url)
        query = dict(urllib.parse.parse_qsl(parts.query))
        script = parts.path.rpartition("/")[2]
        body = json.loads(request.body) if request.body and request.body[:1] == b"{" else {}
        action = body.get("action") or query.get("action") or ""
        reply: dict[str, Any] = {"success": True, "message": "ok"}
        if self.features:
            reply["features"] = self.features
        if action == "list_files":
            return {**reply, "files": self.listing}
        if action in ("mark_downloaded", "get_printers"):
            return {**reply, "printers": []}
        if action == "command_results":
            self._take_results(body.get("results"))
            return reply
        if request.method == "GET" and (action == "get_commands" or script == "commands.php"):
            if query.get("redeliver") == "1":
                self._hand_out_again()
            await self._wait_for_commands(exchange, float(query.get("wait") or 0))
            if exchange.closed:
                return None
            return {**reply, "commands": self._hand_out(handed)}
        if request.method == "POST":
            self.last_status = self._loop.time()
            self._take_results(body.get("command_results"))
            reply["printer_id"] = "printer_7" if self.generation == 1 else 7
            return reply
        return {"success": False, "message": "Acción no válida"}

    async def _wait_for_commands(self, exchange: _Exchange, wait: float) -> None:
        end = self._loop.time() + wait
        while not self.queue and not self.again and self._loop.time() < end and not exchange.closed:
            future = self._loop.create_future()
            self._waiting.append(future)
            timer = self._loop.call_at(end, lambda f=future: f.done() or f.set_result(None))
            await future
            timer.cancel()
            self._waiting.remove(future)

    def _hand_out(self, handed: list[Asked]) -> list[dict[str, Any]]:
        again, self.again = self.again, []
        handed += again + self.queue[:10]
        del self.queue[:10]
        return [command.wire for command in handed]

    def _hand_out_again(self) -> None:
        """`features.redeliver`: what was handed out so long ago without a word of it."""
        after = self.features.get("redeliver", 0)
        for command in self.asked:
            if not after or command.base != self.base or not command.handed:
                continue
            # What was told before it was handed out is of another that had its id.
            heard = self._heard.get((self.base, str(command.id)), -1.0) >= command.handed[0]
            if not heard and self._loop.time() - command.handed[-1] >= after:
                self.again.append(command)

    def _take_results(self, results: Any) -> None:
        for result in results or ():
            told = {name: result.get(name) for name in TOLD}
            told["base"] = self.base
            self._heard[self.base, str(told["id"])] = self._loop.time()
            if told not in self.told:
                self.told.append(dict(told))
                told["message"] = str(told["message"])[:120]
                self._witness.note("hub", "is told", **told, hub_now=round(self.now(), 2))
            else:
                ago = self.now() - float(told["received_at"] or 0)
                self._witness.note("hub", "is told again", id=told["id"], of_before=round(ago, 1))


class _Exchange:
    """One request under way. `closed`: the client's end is gone, so that the hub could see it."""

    def __init__(self, loop: VirtualLoop, request: HTTPRequest, process: Process | None) -> None:
        self.request = request
        self.process = process
        self.future: asyncio.Future[HTTPResponse] = loop.create_future()
        self.closed = False
        self.gone = False  # with its process
        self.why = ""

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)
            self.closed = True

    def answer(self, code: int, body: bytes, date: str, headers: dict[str, str]) -> bool:
        """Whether somebody was there to hear it."""
        alive = self.process is None or self.process.alive
        if self.gone or self.future.done() or not alive:
            self.why = "closed" if self.closed or alive else "nobody listens"
            self.closed = True
            return False
        take: Callable[[bytes], Any] | None = self.request.streaming_callback
        try:
            if take is not None:
                take(body)
                body = b""
        except Exception as error:
            self.fail(error)
            return False
        response = HTTPResponse(
            self.request,
            code,
            headers=HTTPHeaders({"Date": date, **headers}),
            buffer=io.BytesIO(body),
        )
        self.future.set_result(response)
        return True


def _second(command: Asked) -> dict[str, Any]:
    """The form of generation 2 for what its pages can ask; anything else as its API takes it."""
    params = dict(command.params)
    action = command.action
    if action == "gcode":
        return {"type": "gcode", "command": params["gcode"]}
    if action == "macro":
        given = " ".join(f"{k}={v}" for k, v in params.get("params", {}).items())
        return {"type": "macro", "command": f"{params['macro_name']} {given}".strip()}
    if action == "print":
        return {"type": "basic", "command": f"PRINT_FILE:{params['file']}"}
    if action == "print_local" and set(params) == {"file"}:
        return {"type": "basic", "command": f"PRINT_LOCAL:{params['file']}"}
    given = " ".join(f"{k}={v}" for k, v in params.items())
    word = action.upper()
    return {
        "type": "basic",
        "command": f"{word}:{given}" if given else word,
        **({"params": params} if action == "print_local" else {}),
    }


_WORLD = Process("world")
