"""Which client requests go through: Moonraker's own class with kept connections, or Moonraker's own
object where it is of another class.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Dict

from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from ..net.connect import NAME_FRESH, Connector
from ..net.faults import not_resolved
from ..net.names import Names
from ..runtime.clock import Clock
from ..runtime.notices import Notices
from .kept import KeptClient
from .outcomes import host_of


def client_of(given: Any, connector: Connector, clock: Clock, notices: Notices) -> Any:
    """What has Tornado's `fetch`: for `given`, the client of Moonraker's `http_client`."""
    if type(given) is SimpleAsyncHTTPClient:
        return KeptClient(
            force_instance=True,
            connector=connector,
            clock=clock,
            defaults=given.defaults,
            max_clients=given.max_clients,
            max_buffer_size=given.max_buffer_size,
            max_header_size=given.max_header_size,
            max_body_size=given.max_body_size,
        )
    if isinstance(given, AsyncHTTPClient):
        notices.note(
            "Moonraker's HTTP client is a {kind}: connections to the hub are not kept, and"
            " network.proxy and network.ca_file do not apply.",
            level=logging.WARNING,
            kind=type(given).__name__,
        )
        return OtherClient(given, clock)
    return given


class OtherClient:
    """Moonraker's own client, each name looked up in a thread of ours first: Tornado would ask in
    Moonraker's executor, and fill it within a minute where the name server hangs.
    """

    def __init__(self, client: AsyncHTTPClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._names = Names()
        self._found: Dict[str, float] = {}  # host → until when it need not be looked up (monotonic)

    async def fetch(self, request: HTTPRequest, raise_error: bool = True) -> HTTPResponse:
        host = host_of(request.url)
        await self._look_up(host, request.request_timeout or 20.0)
        try:
            return await self._client.fetch(request, raise_error=raise_error)
        except OSError:
            self._found.pop(host, None)
            raise

    def hang_up(self) -> None:
        """Nothing: a request under way cannot be ended."""

    def forget(self) -> None:
        self._found.clear()

    def close(self) -> None:
        self._names.close()

    async def _look_up(self, host: str, within: float) -> None:
        now = self._clock.monotonic()
        if self._found.get(host, 0.0) > now:
            return
        try:
            await asyncio.wait_for(self._names.look_up(host), within)
        except asyncio.TimeoutError:
            raise not_resolved(host, None, within) from None
        except UnicodeError:
            return  # the exchange itself says what is wrong with it
        except OSError as error:
            raise not_resolved(host, error, within) from None
        if len(self._found) > 20:
            self._found.clear()
        self._found[host] = now + NAME_FRESH
