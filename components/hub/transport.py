"""One HTTP exchange with the outside, and how it ended: an outcome, never an exception.

It uses the Tornado client that Moonraker's `http_client` component owns, not that component's own
methods: those follow redirects (a POST answered 301 becomes an empty GET and "succeeds"; a
redirect can carry the token elsewhere), cache GETs by a key without the query string, and tell a
transport failure as status 500. Knows nothing of the hub's vocabulary.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Callable, Dict, List, Mapping, Optional

from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from ..runtime.clock import Clock
from ..runtime.names import Names
from .outcomes import Exchange, Failure, explain, host_of, read_response

SHORTEST = 0.5  # seconds for an exchange, however long its name took
MAX_JSON_BODY = 256 << 10  # bytes; but for lists, replies of either generation have some ten KiB
HOSTS_KEPT = 20
# Seconds for which a name that was found is not looked up beforehand again. Should the name server
# begin to hang meanwhile, one request of each lane at most finds that out in Moonraker's executor.
NAME_FRESH = 300.0


class _TooLarge(Exception):
    """Raised inside Tornado to make it close a connection whose body passes the limit."""


class _QuietCut(logging.Filter):
    """Tornado logs a trace of whatever a streaming callback raises, twice; ours is deliberate and
    reported by us.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, _TooLarge) and not isinstance(
            getattr(error, "__context__", None), _TooLarge
        )


class Transport:
    """Exchanges through a given Tornado client, one at a time of each `lane`.

    So whatever hangs holds up its own kind only, and takes few of the ten slots that all of
    Moonraker shares. A cancelled request would keep its slot until its time is over, so every
    request has a time limit.

    Names are looked up in a thread of our own first: Tornado would ask in Moonraker's executor,
    and fill it within a minute where the name server hangs (`runtime.names`).
    """

    def __init__(
        self,
        client: AsyncHTTPClient,
        clock: Clock,
        user_agent: str,
        observe: Callable[[str, str, Exchange], None] = lambda method, url, exchange: None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._user_agent = user_agent
        self._observe = observe
        self._lanes: Dict[str, asyncio.Lock] = {}
        self._names = Names()
        self._hosts: Dict[str, str] = {}  # by URL
        self._found: Dict[str, float] = {}  # host → until when it need not be looked up (monotonic)
        self._quiet = _QuietCut()
        self._app_log = logging.getLogger("tornado.application")
        self._app_log.addFilter(self._quiet)
        self.bytes_sent = 0
        self.bytes_received = 0
        self.requests = 0

    def close(self) -> None:
        self._names.close()
        self._app_log.removeFilter(self._quiet)

    async def exchange(
        self,
        method: str,
        url: str,
        *,
        timeout: float,
        body: Optional[bytes] = None,
        headers: Optional[Mapping[str, str]] = None,
        max_body: int = MAX_JSON_BODY,
        lane: str = "",
    ) -> Exchange:
        """Send one request and take its reply, within `timeout` seconds and `max_body` bytes."""
        async with self._lanes.setdefault(lane, asyncio.Lock()):
            started = self._clock.monotonic()
            self.requests += 1
            self.bytes_sent += len(body or b"") + len(url)
            host = self._host(url)
            ended = await self._look_up(host, timeout)
            if ended is None:
                left = timeout - (self._clock.monotonic() - started)
                ended = await self._attempt(
                    method, url, host, max(left, SHORTEST), timeout, body, headers, max_body
                )
            if ended.failure is not None and ended.failure.network:
                self._found.pop(host, None)
            self.bytes_received += len(ended.body)
        ended = ended._replace(seconds=self._clock.monotonic() - started)
        self._observe(method, url, ended)
        return ended

    def _host(self, url: str) -> str:
        """Of the few addresses that are asked again and again, remembered."""
        host = self._hosts.get(url)
        if host is None:
            if len(self._hosts) >= HOSTS_KEPT:
                self._hosts.clear()
            host = self._hosts[url] = host_of(url)
        return host

    async def _look_up(self, host: str, timeout: float) -> Optional[Exchange]:
        """None if the name is known, or its fault is for the exchange itself to find."""
        if self._found.get(host, 0.0) > self._clock.monotonic():
            return None
        try:
            await asyncio.wait_for(self._names.look_up(host, 0), timeout)
        except asyncio.TimeoutError:
            return Exchange(
                Failure.DNS,
                f"The name {host} was not resolved within {timeout:g} s: check the printer's "
                "network and its DNS server.",
            )
        except OSError as error:
            return explain(error, host, timeout)
        except UnicodeError:
            return None
        self._found[host] = self._clock.monotonic() + NAME_FRESH
        return None

    async def _attempt(
        self,
        method: str,
        url: str,
        host: str,
        left: float,
        timeout: float,
        body: Optional[bytes],
        headers: Optional[Mapping[str, str]],
        max_body: int,
    ) -> Exchange:
        """`left` seconds are there for it, of the `timeout` that people are told."""
        chunks: List[bytes] = []
        received = 0

        def take(chunk: bytes) -> None:
            nonlocal received
            received += len(chunk)
            if received > max_body:
                chunks.clear()
                raise _TooLarge()
            chunks.append(chunk)

        try:
            request = HTTPRequest(
                url,
                method,
                headers=dict(headers or {}),
                body=body,
                connect_timeout=left,
                request_timeout=left,
                follow_redirects=False,
                user_agent=self._user_agent,
                streaming_callback=take,
            )
            response = await self._client.fetch(request, raise_error=False)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if received > max_body:
                return Exchange(
                    Failure.TOO_LARGE,
                    f"{host} sent more than {max_body // 1024} KiB, which no hub does: check "
                    "the server URL.",
                )
            return explain(error, host, timeout)
        return read_response(
            response.code, response.headers, b"".join(chunks), host, self._clock.time()
        )


def make_client(max_body: int, max_clients: int = 2) -> AsyncHTTPClient:
    """A Tornado client of our own, for pictures and files: a dead camera must not hold a shared
    slot.
    """
    return AsyncHTTPClient(force_instance=True, max_body_size=max_body, max_clients=max_clients)
