"""One HTTP exchange with the outside, and how it ended: an outcome, never an exception.

It goes through a client with Tornado's `fetch` (`any_client` says which), not through the methods
of Moonraker's `http_client` component: those follow redirects (a POST answered 301 becomes an empty
GET and "succeeds"; a redirect can carry the token elsewhere), cache GETs by a key without the query
string, and tell a transport failure as status 500. Knows nothing of the hub's vocabulary.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Callable, Dict, List, Mapping, Optional

from tornado.httpclient import HTTPRequest

from ..runtime.clock import Clock
from ..runtime.messages import say
from .kept import Unheard
from .outcomes import Exchange, Failure, explain, host_of, read_response

MAX_JSON_BODY = 256 << 10  # bytes; but for lists, replies of either generation have some ten KiB
HOSTS_KEPT = 20


class HubRequest(HTTPRequest):
    """What a client that keeps connections heeds beyond Tornado's own."""

    repeatable = False  # it may be sent again where a kept connection gave no byte of an answer
    patient = False  # the server lets it wait: a connection of its own


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
    """Exchanges through a given client, one at a time of each `lane`: whatever hangs holds up its
    own kind only. Every request has a time limit.
    """

    def __init__(
        self,
        client: Any,
        clock: Clock,
        user_agent: str,
        observe: Callable[[str, str, Exchange], None] = lambda method, url, exchange: None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._user_agent = user_agent
        self._observe = observe
        self._lanes: Dict[str, asyncio.Lock] = {}
        self._hosts: Dict[str, str] = {}  # by URL
        self._quiet = _QuietCut()
        self._app_log = logging.getLogger("tornado.application")
        self._app_log.addFilter(self._quiet)

    def close(self) -> None:
        self._tell_client("close")
        self._app_log.removeFilter(self._quiet)

    def hang_up(self) -> None:
        """End a long wait that is under way, so that the server sees that nobody listens."""
        self._tell_client("hang_up")

    def forget(self) -> None:
        """Keep no connection: another server, or another way to it, is set."""
        self._tell_client("forget")

    def _tell_client(self, what: str) -> None:
        method = getattr(self._client, what, None)  # Tornado's own has none of them but `close`
        if method is not None:
            method()

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
        repeatable: bool = False,
        patient: bool = False,
    ) -> Exchange:
        """Send one request and take its reply, within `timeout` seconds and `max_body` bytes.

        `repeatable` and `patient`: see `HubRequest`.
        """
        async with self._lanes.setdefault(lane, asyncio.Lock()):
            started = self._clock.monotonic()
            request = HubRequest(
                url,
                method,
                headers=dict(headers or {}),
                body=body,
                connect_timeout=timeout,
                request_timeout=timeout,
                follow_redirects=False,
                user_agent=self._user_agent,
                decompress_response=False,
            )
            request.repeatable, request.patient = repeatable, patient
            ended = await self._attempt(request, self._host(url), timeout, max_body)
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

    async def _attempt(
        self, request: HubRequest, host: str, timeout: float, max_body: int
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

        request.streaming_callback = take
        try:
            response = await self._client.fetch(request, raise_error=False)
        except asyncio.CancelledError:
            raise
        except Unheard as error:
            return explain(error, host, timeout)._replace(unheard=True)
        except Exception as error:
            if received > max_body:
                return Exchange(
                    Failure.TOO_LARGE,
                    say(
                        "{host} sent more than {most} KiB, which no hub does: check the server "
                        "URL.",
                        host=host,
                        most=max_body // 1024,
                    ),
                )
            return explain(error, host, timeout)
        return read_response(
            response.code, response.headers, b"".join(chunks), host, self._clock.time()
        )
