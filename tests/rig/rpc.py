"""Moonraker's websocket as a web interface sees it: notifications, and JSON-RPC calls.

    with moonraker.websocket() as ws:
        ws.call("printer.info")
        params = ws.wait("notify_gcode_response", lambda params: "done" in params[0], timeout=5)

The connection lives in a thread of its own; every method may be called from any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable
from typing import Any

from tornado.websocket import WebSocketClientConnection, websocket_connect

from .waiting import LEAST, RigError


class RpcError(Exception):
    """Moonraker's own answer to a call that failed."""


class WebSocket:
    """One connection; `messages` holds every notification seen so far as (method, params)."""

    def __init__(self, url: str) -> None:
        self.messages: list[tuple[str, list[Any]]] = []
        self._url = url
        self._news = threading.Condition()
        self._answers: dict[int, dict[str, Any]] = {}
        self._last = 0
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._connection: WebSocketClientConnection | None = None
        self._thread = threading.Thread(target=self._live, name="websocket", daemon=True)

    def __enter__(self) -> WebSocket:
        self._thread.start()
        with self._news:
            self._news.wait_for(lambda: self._connection or self._closed, 10)
        if self._connection is None:
            raise RigError(f"no websocket at {self._url}")
        return self

    def __exit__(self, *_: object) -> None:
        if not self._closed and self._connection is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._connection.close)
        self._thread.join(10)

    @property
    def closed(self) -> bool:
        """Moonraker has gone, or closed the connection."""
        return self._closed

    def _live(self) -> None:
        try:
            self._loop.run_until_complete(self._read())
        except OSError:
            pass
        finally:
            with self._news:
                self._closed = True
                self._news.notify_all()
            self._loop.close()

    async def _read(self) -> None:
        connection = await websocket_connect(self._url)
        with self._news:
            self._connection = connection
            self._news.notify_all()
        while True:
            text = await connection.read_message()
            if text is None:
                return
            message = json.loads(text)
            with self._news:
                if "id" in message:
                    self._answers[message["id"]] = message
                else:
                    self.messages.append((message["method"], message.get("params", [])))
                self._news.notify_all()

    def wait(
        self,
        method: str,
        predicate: Callable[[list[Any]], Any] = lambda params: True,
        timeout: float = LEAST,
    ) -> list[Any]:
        """The params of the first such notification since the connection was opened."""
        timeout = max(timeout, LEAST)
        deadline = time.monotonic() + timeout
        seen = 0
        with self._news:
            while True:
                for name, params in self.messages[seen:]:
                    if name == method and predicate(params):
                        return params
                seen = len(self.messages)
                left = deadline - time.monotonic()
                if self._closed or left <= 0 or not self._news.wait(left):
                    how = "closed" if self._closed else f"silent for {timeout} s"
                    raise RigError(f"no such {method}: the websocket is {how}")

    def send(self, method: str, params: Any = None) -> int:
        """Call without waiting for the answer; its number."""
        connection = self._connection
        if connection is None or self._closed:
            raise RigError("the websocket is closed")
        with self._news:
            self._last += 1
            number = self._last
        request = {"jsonrpc": "2.0", "id": number, "method": method}
        if params is not None:
            request["params"] = params
        text = json.dumps(request)
        self._loop.call_soon_threadsafe(connection.write_message, text)
        return number

    def call(self, method: str, params: Any = None, timeout: float = LEAST) -> Any:
        """One JSON-RPC call; `RpcError` with Moonraker's message where it refused."""
        number = self.send(method, params)
        with self._news:
            if not self._news.wait_for(lambda: number in self._answers or self._closed, timeout):
                raise RigError(f"no answer to {method} within {timeout} s")
            answer = self._answers.pop(number, None)
        if answer is None:
            raise RigError(f"the websocket closed before the answer to {method}")
        if "error" in answer:
            raise RpcError(answer["error"].get("message", "unknown error"))
        return answer.get("result")
