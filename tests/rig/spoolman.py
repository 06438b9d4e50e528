"""A small Spoolman, as Moonraker's `[spoolman]` knows it.

with Spoolman() as spoolman:
    stack = make_stack(sections=spoolman.section())
    spoolman.spools[3] = spool("PLA", "Negro", 1000, 250)
    spoolman.used               # {3: mm} that Moonraker has reported
"""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler
from tornado.websocket import WebSocketHandler


def spool(material: str, name: str, weight: float, left: float) -> dict[str, Any]:
    """Of API v1, as far as anybody here reads it; grams."""
    filament = {
        "id": 1,
        "name": name,
        "material": material,
        "weight": weight,
        "color_hex": "1a1a1a",
        "vendor": {"id": 1, "name": "Acme"},
    }
    return {"filament": filament, "remaining_weight": left, "used_weight": weight - left}


class _Events(WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        pass


class _Spool(RequestHandler):
    def initialize(self, owner: Spoolman) -> None:
        self._owner = owner

    def get(self, ident: str) -> None:
        found = self._owner.spools.get(int(ident))
        if found is None:
            raise HTTPError(404)
        self.write({"id": int(ident), **found})

    def put(self, ident: str) -> None:
        if int(ident) not in self._owner.spools:
            raise HTTPError(404)
        used = json.loads(self.request.body)["use_length"]
        self._owner.used[int(ident)] = self._owner.used.get(int(ident), 0.0) + used
        self.get(ident)


class Spoolman:
    def __init__(self) -> None:
        self.spools: dict[int, dict[str, Any]] = {}
        self.used: dict[int, float] = {}
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: HTTPServer | None = None

    def section(self) -> str:
        """For moonraker.conf."""
        return f"[spoolman]\nserver: http://127.0.0.1:{self.port}\nsync_rate: 1\n"

    async def _listen(self) -> None:
        application = Application(
            [
                (r"/api/v1/spool", _Events),
                (r"/api/v1/spool/(\d+)(?:/use)?", _Spool, {"owner": self}),
            ]
        )
        sockets = bind_sockets(0, "127.0.0.1")
        self.port = sockets[0].getsockname()[1]
        self._server = HTTPServer(application)
        self._server.add_sockets(sockets)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.stop()
            await self._server.close_all_connections()

    def __enter__(self) -> Spoolman:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
