"""One HTTP exchange with the outside, and how it ended: an outcome, never an exception.

It uses the Tornado client that Moonraker's `http_client` component owns, not that component's own
methods: those follow redirects (a POST answered 301 becomes an empty GET and "succeeds"; a
redirect can carry the token elsewhere), cache GETs by a key without the query string, and tell a
transport failure as status 500. Knows nothing of the hub's vocabulary.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import logging
import socket
import ssl
import urllib.parse
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Callable, Dict, List, Mapping, Optional, Union

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.iostream import StreamClosedError
from tornado.simple_httpclient import HTTPStreamClosedError, HTTPTimeoutError

from ..runtime.clock import Clock

MAX_JSON_BODY = 1 << 20  # bytes; the largest reply of either generation is some ten KiB
MAX_AT_ONCE = 3  # of the ten slots that all of Moonraker shares
RETRY_AFTER_BOUNDS = (1.0, 900.0)  # seconds
MAX_NUMBER_LENGTH = 400  # digits; int() of a million digits would hold the event loop for seconds
JSON_STARTS = 8  # places where the JSON of a reply is looked for, after PHP warnings


class Failure(str, Enum):
    """How an exchange can fail, in the order in which a connection is made."""

    BAD_URL = "bad_url"
    DNS = "dns"
    UNREACHABLE = "unreachable"
    TLS = "tls"
    TIMED_OUT = "timed_out"
    REDIRECT = "redirect"
    BUSY = "busy"
    STATUS = "status"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    REFUSED = "refused"
    INTERNAL = "internal"

    @property
    def network(self) -> bool:
        """No word with the server was possible at all: every other request would fail alike."""
        return self in (Failure.DNS, Failure.UNREACHABLE, Failure.TLS)


@dataclass(frozen=True)
class Exchange:
    """How one request ended. `failure` is None when a 2xx reply came in whole."""

    failure: Optional[Failure]
    sentence: str  # for people; empty when all is well
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0
    retry_after: Optional[float] = None  # seconds, bounded
    server_time: Optional[float] = None  # unix seconds, of the Date header


class _TooLarge(Exception):
    """Raised inside Tornado to make it close a connection whose body passes the limit."""


class _QuietCut(logging.Filter):
    """Tornado logs a trace of whatever a streaming callback raises; ours is deliberate and
    reported by us.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and record.exc_info[0] is _TooLarge)


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
        ended = _timed(ended, self._clock.monotonic() - started)
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


def _timed(exchange: Exchange, seconds: float) -> Exchange:
    return Exchange(
        exchange.failure,
        exchange.sentence,
        exchange.status,
        exchange.headers,
        exchange.body,
        seconds,
        exchange.retry_after,
        exchange.server_time,
    )


def make_client(max_body: int, max_clients: int = 2) -> AsyncHTTPClient:
    """A Tornado client of our own, for pictures and files: a dead camera must not hold a shared
    slot.
    """
    return AsyncHTTPClient(force_instance=True, max_body_size=max_body, max_clients=max_clients)


def host_of(url: str) -> str:
    """The host of a URL, for sentences; never its query, which holds the token."""
    try:
        return urllib.parse.urlsplit(url).hostname or "the server"
    except ValueError:
        return "the server"


def read_response(
    status: int, headers: Mapping[str, str], body: bytes, host: str, now: float
) -> Exchange:
    """What a complete HTTP response means, before anyone looks into its body."""
    lower = {name.lower(): value for name, value in headers.items()}
    server_time = http_date(lower.get("date", ""))
    retry_after = read_retry_after(lower.get("retry-after", ""), now, server_time)

    def ended(failure: Optional[Failure], sentence: str) -> Exchange:
        return Exchange(failure, sentence, status, lower, body, 0.0, retry_after, server_time)

    if 200 <= status < 300:
        return ended(None, "")
    if 300 <= status < 400:
        target = redact_query(lower.get("location", "nowhere"))
        return ended(
            Failure.REDIRECT,
            f"{host} redirects to {target}: write the final address into server_url; redirects "
            "are not followed "
            "because they would carry the token along.",
        )
    if status in (429, 503):
        wait = f" in {retry_after:.0f} s" if retry_after is not None else ""
        return ended(Failure.BUSY, f"{host} is busy (HTTP {status}) and is asked again{wait}.")
    hint = {
        401: "check the token",
        403: "check the token and the server's access rules",
        404: "check the path in server_url",
        413: "the server's upload limit is too small (upload_max_filesize, post_max_size)",
    }.get(status, "look into the server's PHP error log" if status >= 500 else "check server_url")
    return ended(Failure.STATUS, f"{host} answered HTTP {status}: {hint}.")


def explain(error: Exception, host: str, timeout: float) -> Exchange:
    """The outcome of an exception from Tornado's client."""
    cause: Optional[BaseException] = error
    if isinstance(error, (StreamClosedError, HTTPStreamClosedError)):
        cause = getattr(error, "real_error", None) or error
    if isinstance(cause, socket.gaierror):
        return Exchange(
            Failure.DNS,
            f"The name {host} cannot be resolved: check the printer's network and DNS, and the "
            "name in server_url.",
        )
    if isinstance(cause, ssl.SSLError):
        reason = (
            getattr(cause, "verify_message", "")
            or getattr(cause, "reason", "")
            or "handshake failed"
        )
        return Exchange(
            Failure.TLS,
            f"No secure connection to {host} ({reason}): check the server's certificate and "
            "this computer's clock.",
        )
    if isinstance(error, HTTPTimeoutError):
        phase = str(error).lower()
        if "connect" in phase:
            return Exchange(
                Failure.UNREACHABLE,
                f"No connection to {host} within {timeout:g} s: check the network and the server.",
            )
        if "queue" in phase:
            return Exchange(
                Failure.TIMED_OUT,
                f"Moonraker's HTTP client had no free slot for {host} within {timeout:g} s.",
            )
        return Exchange(
            Failure.TIMED_OUT,
            f"{host} did not answer within {timeout:g} s: it is overloaded, or the network is "
            "slow.",
        )
    if isinstance(error, HTTPStreamClosedError):
        return Exchange(
            Failure.UNREACHABLE,
            f"{host} closed the connection before its answer was complete: look at the server.",
        )
    if isinstance(cause, ConnectionRefusedError):
        return Exchange(
            Failure.UNREACHABLE,
            f"{host} refuses connections: check that the web server runs, and the port in "
            "server_url.",
        )
    if isinstance(cause, (OSError, StreamClosedError)):
        reason = getattr(cause, "strerror", "") or type(cause).__name__
        return Exchange(
            Failure.UNREACHABLE,
            f"{host} cannot be reached ({reason}): check the network and the server.",
        )
    if isinstance(error, (ValueError, UnicodeError, KeyError)):
        return Exchange(
            Failure.BAD_URL,
            f"The address of {host} cannot be used ({type(error).__name__}): check server_url.",
        )
    return Exchange(
        Failure.UNREACHABLE, f"The exchange with {host} failed ({type(error).__name__})."
    )


def http_date(text: str) -> Optional[float]:
    """Unix seconds of an HTTP date (RFC 9110, 5.6.7), or None."""
    if not text or len(text) > 64:
        return None
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def read_retry_after(text: str, now: float, server_time: Optional[float]) -> Optional[float]:
    """Seconds to wait, of either form of Retry-After (RFC 9110, 10.2.3), within 1 to 900 s.

    A date is taken against the server's own clock where its Date header is there: the Pi's may be
    wrong by decades.

    >>> [read_retry_after(text, 0.0, None) for text in ("120", "86400", "soon")]
    [120.0, 900.0, None]
    """
    low, high = RETRY_AFTER_BOUNDS
    text = text.strip()
    if text.isdigit() and len(text) < 10:
        return min(max(float(text), low), high)
    moment = http_date(text)
    if moment is None:
        return None
    return min(max(moment - (now if server_time is None else server_time), low), high)


def redact_query(url: str) -> str:
    """A URL fit for people and logs: without credentials, query and fragment, at most 200
    characters.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        netloc = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "an unreadable address"
    clean = urllib.parse.urlunsplit((parts.scheme, netloc, parts.path, "", ""))
    printable = "".join(c if c.isprintable() else "?" for c in clean)
    return printable[:200] or "nowhere"


def _bounded_int(digits: str) -> Union[int, float]:
    return int(digits) if len(digits) <= MAX_NUMBER_LENGTH else float("inf")


def read_json_object(body: bytes, key: str) -> Optional[Dict[str, Any]]:
    """The JSON object with `key` that a reply holds, also behind warnings that PHP printed before
    it; None if none.

    A reply cut short must not be taken for one of the objects inside it: hence the key, and
    nothing may follow.

    >>> read_json_object(b"<br /> Warning: {x} in api.php {\\"success\\": true}", "success")
    {'success': True}
    >>> read_json_object(b'{"success": true, "commands": [{"success": 1}', "success")
    """
    text = body.decode("utf-8", "replace").strip("\ufeff \t\r\n")
    start = text.find("{")
    for _ in range(JSON_STARTS if start > 0 else 1):
        if start < 0:
            return None
        try:
            value, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            start = text.find("{", start + 1)
            continue
        if isinstance(value, dict) and key in value and text[end : end + 1] in ("", "<", "\n"):
            return value
        start = text.find("{", start + 1)
    return None


_DECODER = json.JSONDecoder(parse_int=_bounded_int, parse_constant=lambda name: None)


def to_json(body: Mapping[str, Any]) -> bytes:
    """JSON that PHP can read: no NaN, no infinity, no lone surrogates (file names from disk can
    hold them).
    """
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
            "utf-8"
        )
    except (ValueError, TypeError):
        clean = _presentable(body, 0)
        return json.dumps(clean, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
            "utf-8"
        )


def _presentable(value: Any, depth: int) -> Any:
    if depth > 20:
        return None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, Mapping):
        return {
            str(_presentable(str(k), depth + 1)): _presentable(v, depth + 1)
            for k, v in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_presentable(item, depth + 1) for item in value]
    if value is None or isinstance(value, (bool, int)):
        return value
    return str(value)
