"""A server that behaves badly on command: alone, or as a proxy in front of the reference hub.

    with FaultServer(hub.port) as faults:                      # passes everything on
        ...                                                    # server_url = faults.url("/api.php")
        faults.behave("hang", "get_commands")                  # only the commands endpoint is stuck
        faults.wait_for_request("get_commands")                # (await faults.arrived(…) in a loop)
        faults.behave("busy", retry_after="5", times=3)        # three requests of any kind
        faults.behave("redirect", "update", to="http://127.0.0.1:1/", code=307)
        faults.behave("cut")                                   # the hub works, its reply is cut
        faults.behave("close", after=True)                     # the hub works, no reply at all
        faults.refuse(); faults.listen()                       # port closed, open again
        faults.clear_behaviour()
        assert faults.counters.abandoned == 0

    with FaultServer(tls="expired") as faults: ...             # certificates.KINDS

`behave(mode, target)` holds for requests whose path and query contain `target`; the newest rule
that fits and has `times` left wins. All methods may be called from any thread, at any time; a
request being mistreated stays so until its client leaves or `drop_connections()`.
"""

from __future__ import annotations

import asyncio
import functools
import gzip
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from .loop_server import ClientGone, Exchange, LoopServer, head

#: A host that no resolver knows (RFC 6761), for a failing DNS.
UNKNOWN_HOST = "hub.invalid"
REPLY = {"success": True, "message": "", "commands": [], "printer_id": "printer_1"}
HTML = b"<!DOCTYPE html>\n<html><head><title>Mantenimiento</title></head><body></body></html>\n"
_JSON = "application/json; charset=utf-8"
_BLOCK = 64 << 10
_DAMAGED = ("hang_body", "cut", "truncated", "drip")  # the upstream's own reply, spoilt


@dataclass
class Rule:
    """One behaviour in force."""

    mode: str
    target: str
    params: Mapping[str, Any]
    times: int | None  # None: for ever
    used: int = field(default=0)

    def fits(self, target: str) -> bool:
        return self.target in target and (self.times is None or self.used < self.times)


@functools.lru_cache(maxsize=2)
def _bomb(size: int) -> bytes:
    """Made once: a busy machine would be slower at it than its clients have patience."""
    return gzip.compress(b" " * size, 6)


class FaultServer(LoopServer):
    """See the module. `upstream` is the port on 127.0.0.1 that mode "pass" passes requests to.

    Modes, with their parameters; every mode also takes `latency` (seconds before anything else):

    pass                        to the upstream; without one: as `answer`
    answer(reply, code, body, headers, content_type)   a complete answer; `reply` becomes JSON
    html, empty                 200 with a page, 200 with nothing
    status(code, body)          an error page; default 500
    busy(code, retry_after)     429 or 503 with Retry-After: seconds or an HTTP date
    redirect(code, to)          301, 302, 307 …
    hang                        reads the request and says nothing
    hang_accept                 accepts connections and reads nothing (whatever the target)
    hang_body(keep)             headers and `keep` (0–1) of the reply, then nothing
    close, reset                closes without an answer, with FIN or RST
    cut(keep)                   a Content-Length for all, `keep` of the reply, closed
    truncated(keep)             well framed, but only `keep` of the JSON
    drip(size, interval)        the reply `size` bytes at a time
    huge(size)                  that many bytes, honestly framed
    endless_chunks, lying_length, endless_headers      never stop sending
    gzip_bomb(size)             a small body that unpacks to `size` bytes
    garbage(data)               not HTTP

    Where the reply itself is damaged (hang_body, cut, truncated, drip) it is the upstream's, if
    there is one: the hub has done its work. All others answer before the upstream hears of the
    request, unless `after=True`.
    """

    def __init__(self, upstream: int | None = None, *, tls: str | None = None) -> None:
        super().__init__(tls=tls)
        self.upstream = upstream
        self._rules: list[Rule] = []
        self._passing: set[asyncio.Task[None]] = set()  # the connections whose request passes on
        self._modes: dict[str, Callable[..., Awaitable[None]]] = {
            name.removeprefix("_mode_"): getattr(self, name)
            for name in dir(self)
            if name.startswith("_mode_")
        }

    # -- control -------------------------------------------------------------------------------

    def behave(
        self, mode: str, target: str = "", *, times: int | None = None, **params: Any
    ) -> None:
        """From now on; see the class for the modes."""
        if mode not in self._modes:
            raise ValueError(f"no such mode: {mode}")
        with self._changed:
            self._rules.insert(0, Rule(mode, target, params, times))

    def clear_behaviour(self) -> None:
        """Pass everything on again."""
        with self._changed:
            self._rules.clear()

    def end_fault(self) -> None:
        """Pass everything on again, and end what is being mistreated, and only that: a hub forgets
        a command as it hands it out.
        """
        self._call(self._end_fault())

    async def _end_fault(self) -> None:
        self.clear_behaviour()
        await self._drop(but=self._passing)

    # -- answering -----------------------------------------------------------------------------

    def _rule(self, target: str) -> Rule:
        with self._changed:
            for rule in self._rules:
                if rule.fits(target):
                    rule.used += 1
                    return rule
        return Rule("pass", "", {}, None)

    async def accepted(self) -> None:
        with self._changed:
            hanging = any(rule.mode == "hang_accept" and rule.fits("") for rule in self._rules)
        if hanging:
            await asyncio.Event().wait()

    async def answer(self, exchange: Exchange) -> None:
        rule = self._rule(unquote(exchange.seen.target))
        params = dict(rule.params)
        latency, after = params.pop("latency", 0.0), params.pop("after", False)

        async def work() -> None:
            await asyncio.sleep(latency)
            if after and rule.mode not in _DAMAGED:
                await self._reply(exchange, {})
            await self._modes[rule.mode](exchange, **params)

        task = asyncio.current_task()
        assert task is not None
        if rule.mode == "pass":
            self._passing.add(task)
        try:
            if rule.mode in ("reset", "close"):
                await work()
            else:
                await exchange.until_gone(work())
        finally:
            self._passing.discard(task)

    async def _reply(self, exchange: Exchange, params: Mapping[str, Any]) -> tuple[bytes, str]:
        """Body and content type: what the rule gives, or the upstream's, or a plain success."""
        if "body" in params:
            body = params["body"]
            return (body if isinstance(body, bytes) else str(body).encode()), _JSON
        if "reply" in params or self.upstream is None:
            return json.dumps(params.get("reply", REPLY)).encode(), _JSON
        raw = bytearray()
        await self._ask_upstream(exchange, raw.extend)
        first, _, body = bytes(raw).partition(b"\r\n\r\n")
        types = re.findall(r"(?im)^content-type: *(.*?)\r?$", first.decode("latin-1"))
        return body, types[0] if types else _JSON

    async def _ask_upstream(self, exchange: Exchange, take: Callable[[bytes], object]) -> None:
        """Hand the request on; `take` gets the raw answer in blocks (awaited where it can be)."""
        seen = exchange.seen
        reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        try:
            dropped = ("connection", "transfer-encoding", "content-length", "expect")
            kept = {
                name: value for name, value in seen.headers.items() if name and name not in dropped
            }
            kept.update({"connection": "close", "content-length": str(len(seen.body))})
            lines = [f"{seen.method} {seen.target} HTTP/1.1"]
            lines += [f"{name}: {value}" for name, value in kept.items()]
            writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + seen.body)
            await writer.drain()
            block = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?im)^content-length: *(\d+)", block)
            # A client with all it was promised may leave before the upstream closes: no longer.
            left = len(block) + int(length.group(1)) if length else None
            while block:
                taken = take(block)
                if asyncio.iscoroutine(taken):
                    await taken
                left = None if left is None else left - len(block)
                block = b"" if left == 0 else await reader.read(_BLOCK)
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("the upstream gave no answer") from error
        finally:
            writer.transport.abort()

    # -- modes: well-behaved -------------------------------------------------------------------

    async def _mode_pass(self, exchange: Exchange) -> None:
        if self.upstream is None:
            await self._mode_answer(exchange)
            return
        try:
            await self._ask_upstream(exchange, exchange.send)
        except ConnectionRefusedError:
            await exchange.reply(502, b"", content_type="text/html")

    async def _mode_answer(
        self,
        exchange: Exchange,
        code: int = 200,
        headers: dict[str, str] | None = None,
        content_type: str = _JSON,
        **params: Any,
    ) -> None:
        body, _ = await self._reply(exchange, params or {"reply": REPLY})
        await exchange.reply(code, body, content_type=content_type, headers=headers)

    # -- modes: another answer -----------------------------------------------------------------

    async def _mode_html(self, exchange: Exchange) -> None:
        await exchange.reply(200, HTML, content_type="text/html; charset=utf-8")

    async def _mode_empty(self, exchange: Exchange) -> None:
        await exchange.reply(200, b"", content_type="text/html; charset=utf-8")

    async def _mode_status(self, exchange: Exchange, code: int = 500, body: bytes = HTML) -> None:
        await exchange.reply(code, body, content_type="text/html; charset=utf-8")

    async def _mode_busy(
        self, exchange: Exchange, code: int = 429, retry_after: str | int = 2
    ) -> None:
        headers = {"Retry-After": str(retry_after)}
        await exchange.reply(code, b"", content_type="text/html", headers=headers)

    async def _mode_redirect(self, exchange: Exchange, to: str, code: int = 301) -> None:
        await exchange.reply(code, b"", content_type="text/html", headers={"Location": to})

    # -- modes: no answer ----------------------------------------------------------------------

    async def _mode_hang(self, exchange: Exchange) -> None:
        await asyncio.Event().wait()

    async def _mode_hang_accept(self, exchange: Exchange) -> None:
        await asyncio.Event().wait()

    async def _mode_close(self, exchange: Exchange) -> None:
        return

    async def _mode_reset(self, exchange: Exchange) -> None:
        exchange.reset()

    # -- modes: a damaged reply ----------------------------------------------------------------

    async def _mode_hang_body(self, exchange: Exchange, keep: float = 0.5, **params: Any) -> None:
        await self._mode_cut(exchange, keep, **params)
        await asyncio.Event().wait()

    async def _mode_cut(self, exchange: Exchange, keep: float = 0.5, **params: Any) -> None:
        body, kind = await self._reply(exchange, params)
        headers = {"Content-Type": kind, "Content-Length": str(len(body))}
        await exchange.send(head(200, headers) + body[: int(len(body) * keep)])

    async def _mode_truncated(self, exchange: Exchange, keep: float = 0.5, **params: Any) -> None:
        body, kind = await self._reply(exchange, params)
        await exchange.reply(200, body[: int(len(body) * keep)], content_type=kind)

    async def _mode_drip(
        self, exchange: Exchange, size: int = 1, interval: float = 0.1, **params: Any
    ) -> None:
        body, kind = await self._reply(exchange, params)
        await exchange.send(head(200, {"Content-Type": kind, "Content-Length": str(len(body))}))
        for start in range(0, len(body), size):
            await asyncio.sleep(interval)
            await exchange.send(body[start : start + size])

    # -- modes: too much -----------------------------------------------------------------------

    async def _mode_huge(self, exchange: Exchange, size: int = 50 << 20) -> None:
        await exchange.send(head(200, {"Content-Type": _JSON, "Content-Length": str(size)}))
        for start in range(0, size, _BLOCK):
            await exchange.send(b" " * min(_BLOCK, size - start))

    async def _mode_endless_chunks(self, exchange: Exchange) -> None:
        await exchange.send(head(200, {"Content-Type": _JSON, "Transfer-Encoding": "chunked"}))
        while True:
            await exchange.send(b"%x\r\n%s\r\n" % (_BLOCK, b" " * _BLOCK))

    async def _mode_lying_length(self, exchange: Exchange) -> None:
        await exchange.send(head(200, {"Content-Type": _JSON, "Content-Length": "100"}))
        while True:
            await exchange.send(b" " * _BLOCK)

    async def _mode_endless_headers(self, exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\n")
        number = 0
        while True:
            number += 1
            await exchange.send(b"X-%d: %s\r\n" % (number, b"x" * 1000))

    async def _mode_gzip_bomb(self, exchange: Exchange, size: int = 100 << 20) -> None:
        body = await asyncio.to_thread(_bomb, size)
        await exchange.reply(200, body, headers={"Content-Encoding": "gzip"})

    async def _mode_garbage(
        self, exchange: Exchange, data: bytes = b"\x00\xffSSH-2.0-x\r\n"
    ) -> None:
        await exchange.send(data)


__all__ = ["HTML", "REPLY", "UNKNOWN_HOST", "ClientGone", "FaultServer", "Rule"]
