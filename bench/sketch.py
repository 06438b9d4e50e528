"""A Moonraker component that does the least: what the two loops themselves cost, to compare with.

Copied beside Moonraker's own components by `footprint`, with a section `[sketch]`. It sends a small
status every five seconds and asks for commands every three, through the same HTTP client, and does
nothing with either.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
from pathlib import Path
from typing import Any

from tornado.httpclient import HTTPRequest


def install(moonraker_package: Path) -> None:
    """Put this file among Moonraker's components."""
    shutil.copy(__file__, moonraker_package / "components" / "sketch.py")


class Sketch:
    def __init__(self, config: Any) -> None:
        self._server = config.get_server()
        self._url = config.get("url")
        self._ca_file = config.get("ca_file", None)
        self._fetch = self._server.lookup_component("http_client").client.fetch
        self._context: Any = None
        self._objects: dict[str, Any] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._server.register_event_handler("server:klippy_ready", self._subscribe)

    async def component_init(self) -> None:
        self._tasks = [asyncio.create_task(loop()) for loop in (self._statuses, self._commands)]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _subscribe(self) -> None:
        wanted = {"print_stats": None, "extruder": None, "heater_bed": None}
        apis = self._server.lookup_component("klippy_apis")
        self._objects = await apis.subscribe_objects(wanted, self._merge)

    def _merge(self, diff: dict[str, Any], _time: float) -> None:
        for name, fields in diff.items():
            self._objects.setdefault(name, {}).update(fields)

    def _tls(self) -> Any:
        """The context is made once, as Tornado's own for the system's authorities is."""
        if self._ca_file and self._context is None:
            self._context = ssl.create_default_context(cafile=self._ca_file)
        return self._context

    async def _statuses(self) -> None:
        while True:
            body = json.dumps({"action": "update_printer", "token": "SKETCH", **self._objects})
            request = HTTPRequest(self._url, "POST", body=body, ssl_options=self._tls())
            await self._fetch(request, raise_error=False)
            await asyncio.sleep(5.0)

    async def _commands(self) -> None:
        while True:
            url = f"{self._url}?action=get_commands&token=SKETCH"
            request = HTTPRequest(url, ssl_options=self._tls())
            reply = await self._fetch(request, raise_error=False)
            json.loads(reply.body or b"{}")
            await asyncio.sleep(3.0)


def load_component(config: Any) -> Sketch:
    return Sketch(config)
