"""How an exchange with a server can end, each with a sentence for people. Pure: no network."""

import asyncio
import email.utils
import socket
import ssl
import urllib.parse
from enum import Enum
from typing import Dict, Mapping, NamedTuple, Optional

from tornado.httputil import HTTPInputError
from tornado.iostream import StreamBufferFullError, StreamClosedError, UnsatisfiableReadError
from tornado.simple_httpclient import HTTPStreamClosedError, HTTPTimeoutError

from ..net.faults import ConnectFailed, Phase, not_connected, not_resolved, tls_failed
from ..runtime.messages import say, sentence

RETRY_AFTER_BOUNDS = (1.0, 900.0)  # seconds


class Failure(str, Enum):
    """How an exchange can fail, in the order in which a connection is made."""

    BAD_URL = "bad_url"
    DNS = "dns"
    PROXY = "proxy"
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
        return self in (Failure.DNS, Failure.PROXY, Failure.UNREACHABLE, Failure.TLS)


class Exchange(NamedTuple):
    """How one request ended. `failure` is None when a 2xx reply came in whole."""

    failure: Optional[Failure]
    sentence: str  # for people; empty when all is well
    status: int = 0
    body: bytes = b""
    seconds: float = 0.0
    retry_after: Optional[float] = None  # seconds, bounded
    date: str = ""  # the Date header, as it came
    # A kept connection had ended: nothing is known of the server, and the request not repeated.
    unheard: bool = False

    @property
    def server_time(self) -> Optional[float]:
        """Unix seconds, of the Date header."""
        return http_date(self.date)


def host_of(url: str) -> str:
    """The host of a URL, for sentences; never its query, which holds the token."""
    try:
        return urllib.parse.urlsplit(url).hostname or "the server"
    except ValueError:
        return "the server"


def read_response(
    status: int, headers: Mapping[str, str], body: bytes, host: str, now: float
) -> Exchange:
    """What a complete HTTP response means, before anyone looks into its body; `headers` are
    Tornado's, which know no case.
    """
    date, wait = headers.get("Date", ""), headers.get("Retry-After", "")
    retry_after = read_retry_after(wait, now, http_date(date)) if wait else None

    def ended(failure: Optional[Failure], told: str) -> Exchange:
        return Exchange(failure, told, status, body, 0.0, retry_after, date)

    if 200 <= status < 300:
        return ended(None, "")
    if 300 <= status < 400:
        target = redact_query(headers.get("Location", "nowhere"))
        return ended(
            Failure.REDIRECT,
            say(
                "{host} redirects to {target}: write the final address into server_url; redirects "
                "are not followed because they would carry the token along.",
                host=host,
                target=target,
            ),
        )
    if status == 407:  # RFC 9110, 15.5.8: of a proxy, never of the server
        return ended(
            Failure.PROXY,
            say(
                "The proxy lacks or rejects user and password: write them into network.proxy, as "
                "in http://user:password@host:port."
            ),
        )
    if status in (429, 503):
        # No figure: the sentence would be another one, and news, at each attempt.
        busy = sentence("{host} is busy (HTTP {status}) and is asked again soon.")
        if retry_after is not None:
            busy = sentence("{host} is busy (HTTP {status}) and is asked again when it said.")
        return ended(Failure.BUSY, say(busy, host=host, status=status))
    text = _BY_STATUS.get(status, _PHP_FAILED if status >= 500 else _OTHER_STATUS)
    return ended(Failure.STATUS, say(text, host=host, status=status))


_PHP_FAILED = sentence("{host} answered HTTP {status}: look into the server's PHP error log.")
_OTHER_STATUS = sentence("{host} answered HTTP {status}: check server_url.")
_BY_STATUS: Dict[int, str] = {
    401: sentence("{host} answered HTTP {status}: check the token."),
    403: sentence("{host} answered HTTP {status}: check the token and the server's access rules."),
    404: sentence("{host} answered HTTP {status}: check the path in server_url."),
    413: sentence(
        "{host} answered HTTP {status}: the server's upload limit is too small "
        "(upload_max_filesize, post_max_size)."
    ),
}


_BY_PHASE: Dict[Phase, Failure] = {
    Phase.RESOLVE: Failure.DNS,
    Phase.CONNECT: Failure.UNREACHABLE,
    Phase.PROXY: Failure.PROXY,
    Phase.TLS: Failure.TLS,
}


def explain(error: Exception, host: str, timeout: float) -> Exchange:
    """The outcome of an exception from a client."""
    if isinstance(error, ConnectFailed):
        return Exchange(_BY_PHASE[error.phase], error.sentence)
    cause: Optional[BaseException] = error
    if isinstance(error, (StreamClosedError, HTTPStreamClosedError)):
        cause = getattr(error, "real_error", None) or error
    if isinstance(cause, socket.gaierror):
        return Exchange(Failure.DNS, not_resolved(host, cause, timeout).sentence)
    if isinstance(cause, ssl.SSLError):
        return Exchange(Failure.TLS, tls_failed(host, 443, cause).sentence)
    if isinstance(cause, (StreamBufferFullError, UnsatisfiableReadError)):
        return Exchange(
            Failure.TOO_LARGE,
            say("{host} sent more than any hub does: check the server URL.", host=host),
        )
    if isinstance(error, HTTPInputError):
        return Exchange(
            Failure.STATUS,
            say(
                "{host} answered with something that is not HTTP: check the port in server_url.",
                host=host,
            ),
        )
    if isinstance(error, HTTPTimeoutError):
        phase = str(error).lower()
        if "connect" in phase:
            return Exchange(
                Failure.UNREACHABLE,
                not_connected(host, 0, asyncio.TimeoutError(), timeout).sentence,
            )
        if "queue" in phase:
            return Exchange(
                Failure.TIMED_OUT,
                say(
                    "Moonraker's HTTP client had no free slot for {host} within {within:g} s.",
                    host=host,
                    within=timeout,
                ),
            )
        if "body" in phase:
            return Exchange(
                Failure.TIMED_OUT,
                say(
                    "{host} began to answer and did not finish within {within:g} s: it is "
                    "overloaded, or the network is slow.",
                    host=host,
                    within=timeout,
                ),
            )
        return Exchange(
            Failure.TIMED_OUT,
            say(
                "{host} did not answer within {within:g} s: it is overloaded, or the network is "
                "slow.",
                host=host,
                within=timeout,
            ),
        )
    if isinstance(error, HTTPStreamClosedError):
        return Exchange(
            Failure.UNREACHABLE,
            say(
                "{host} closed the connection before its answer was complete: look at the server.",
                host=host,
            ),
        )
    if isinstance(cause, ConnectionRefusedError):
        return Exchange(
            Failure.UNREACHABLE,
            say(
                "{host} refuses connections: check that the web server runs, and the port in "
                "server_url.",
                host=host,
            ),
        )
    if isinstance(cause, (OSError, StreamClosedError)):
        reason = getattr(cause, "strerror", "") or type(cause).__name__
        return Exchange(
            Failure.UNREACHABLE,
            say(
                "{host} cannot be reached ({reason}): check the network and the server.",
                host=host,
                reason=reason,
            ),
        )
    if isinstance(error, (ValueError, UnicodeError, KeyError)):
        return Exchange(
            Failure.BAD_URL,
            say(
                "The address of {host} cannot be used ({error}): check server_url.",
                host=host,
                error=type(error).__name__,
            ),
        )
    return Exchange(
        Failure.UNREACHABLE,
        say("The exchange with {host} failed ({error}).", host=host, error=type(error).__name__),
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
        return say("an unreadable address")
    clean = urllib.parse.urlunsplit((parts.scheme, netloc, parts.path, "", ""))
    printable = "".join(c if c.isprintable() else "?" for c in clean)
    return printable[:200] or say("nowhere")
