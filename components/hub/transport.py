"""One HTTP exchange with the outside, and how it ended: an outcome, never an exception.

It uses the Tornado client that Moonraker's `http_client` component owns, not that component's own
methods: those follow redirects (a POST answered 301 becomes an empty GET and "succeeds"; a
redirect can carry the token elsewhere), cache GETs by a key without the query string, and tell a
transport failure as status 500. Knows nothing of the hub's vocabulary.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Callable, List, Mapping, Optional

from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from ..runtime.clock import Clock
from .outcomes import Exchange, Failure, explain, host_of, read_response

MAX_JSON_BODY = 1 << 20  # bytes; the largest reply of either generation is some ten KiB
MAX_AT_ONCE = 3  # of the ten slots that all of Moonraker shares


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
    """Exchanges through a given Tornado client, at most `MAX_AT_ONCE` at a time.

    A cancelled request would keep its slot of the shared client until its time is over, so every
    request has a time limit.
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
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)
        self._quiet = _QuietCut()
        self._app_log = logging.getLogger("tornado.application")
        self._app_log.addFilter(self._quiet)
        self.bytes_sent = 0
        self.bytes_received = 0
        self.requests = 0

    def close(self) -> None:
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
    ) -> Exchange:
        """Send one request and take its reply, within `timeout` seconds and `max_body` bytes."""
        async with self._slots:
            started = self._clock.monotonic()
            self.requests += 1
            self.bytes_sent += len(body or b"") + len(url)
            ended = await self._attempt(method, url, timeout, body, headers, max_body)
            self.bytes_received += len(ended.body)
        ended = replace(ended, seconds=self._clock.monotonic() - started)
        self._observe(method, url, ended)
        return ended

    async def _attempt(
        self,
        method: str,
        url: str,
        timeout: float,
        body: Optional[bytes],
        headers: Optional[Mapping[str, str]],
        max_body: int,
    ) -> Exchange:
        chunks: List[bytes] = []
        received = 0

        def take(chunk: bytes) -> None:
            nonlocal received
            received += len(chunk)
            if received > max_body:
                chunks.clear()
                raise _TooLarge()
            chunks.append(chunk)

        host = host_of(url)
        try:
            request = HTTPRequest(
                url,
                method,
                headers=dict(headers or {}),
                body=body,
                connect_timeout=timeout,
                request_timeout=timeout,
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
            response.code,
            dict(response.headers.items()),
            b"".join(chunks),
            host,
            self._clock.time(),
        )


def make_client(max_body: int, max_clients: int = 2) -> AsyncHTTPClient:
    """A Tornado client of our own, for pictures and files: a dead camera must not hold a shared
    slot.
    """
    return AsyncHTTPClient(force_instance=True, max_body_size=max_body, max_clients=max_clients)
