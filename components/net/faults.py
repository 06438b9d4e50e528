"""Why there is no connection, each with a sentence for people that says what to do. Pure."""

from __future__ import annotations

import socket
from datetime import datetime, timezone
from enum import Enum
from typing import Optional

from tornado.iostream import StreamClosedError

from ..runtime.messages import say, sentence

MADE_IN = 2024  # a clock before that has not been set yet

# OpenSSL's names (err/openssl.txt; X509_V_ERR_* of x509_vfy.h).
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG")
_TOO_OLD = (
    *("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE"),
    *("VERSION_TOO_LOW", "WRONG_SSL_VERSION", "DH_KEY_TOO_SMALL", "NO_SHARED_CIPHER"),
)
_CERTIFICATE_WANTED = (
    *("TLSV13_ALERT_CERTIFICATE_REQUIRED", "TLSV1_ALERT_CERTIFICATE_REQUIRED"),
    *("SSLV3_ALERT_BAD_CERTIFICATE", "SSLV3_ALERT_HANDSHAKE_FAILURE"),
)
_NOT_YET_VALID, _EXPIRED, _SELF_SIGNED, _OTHER_HOST, _OTHER_ADDRESS = 9, 10, 18, 62, 64
UNKNOWN_AUTHORITY = (2, 19, 20, 21, 27)
AUTHORITY_MATTERS = (_SELF_SIGNED, *UNKNOWN_AUTHORITY)


class Phase(str, Enum):
    """The way to a server, in order; each phase has its end."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    PROXY = "proxy"
    TLS = "tls"


class ConnectFailed(Exception):
    """No connection came about; the text is a sentence for people."""

    def __init__(self, phase: Phase, told: str, error: Optional[BaseException] = None) -> None:
        super().__init__(told)
        self.phase = phase
        self.sentence = told
        self.error = error


def real_error(error: BaseException) -> BaseException:
    """What Tornado met, of what it tells."""
    return (isinstance(error, StreamClosedError) and error.real_error) or error


def not_resolved(host: str, error: Optional[BaseException], within: float) -> ConnectFailed:
    """`error` None: nothing came within so many seconds."""
    if error is None:
        text = sentence(
            "The name {host} was not resolved within {within:g} s: check the printer's network "
            "and its DNS server."
        )
    else:
        text = sentence(
            "The name {host} cannot be resolved: check the printer's network and DNS, and the "
            "name in server_url."
        )
    return ConnectFailed(Phase.RESOLVE, say(text, host=host, within=round(within, 1)), error)


def not_connected(host: str, port: int, error: BaseException, within: float) -> ConnectFailed:
    cause = real_error(error)
    if isinstance(cause, socket.timeout) or type(cause).__name__ == "TimeoutError":
        text = sentence(
            "No connection to {host} within {within:g} s: check the network and the server."
        )
    elif isinstance(cause, ConnectionRefusedError):
        text = sentence(
            "{host} refuses connections at port {port}: check that the web server runs, and the "
            "port in server_url."
        )
    else:
        text = sentence("{host} cannot be reached ({reason}): check the network and the server.")
    reason = getattr(cause, "strerror", "") or type(cause).__name__
    told = say(text, host=host, port=port, within=round(within, 1), reason=reason)
    return ConnectFailed(Phase.CONNECT, told, cause)


def proxy_failed(shown: str, error: BaseException, within: float) -> ConnectFailed:
    """`shown` is the proxy's host and port."""
    cause = real_error(error)
    if isinstance(cause, socket.gaierror):
        text = sentence("The proxy {proxy} is not known by name: check network.proxy and DNS.")
    elif isinstance(cause, ConnectionRefusedError):
        text = sentence(
            "The proxy {proxy} refuses connections: check network.proxy, or ask who runs it."
        )
    elif type(cause).__name__ == "TimeoutError":
        text = sentence(
            "The proxy {proxy} did not answer within {within:g} s: check network.proxy."
        )
    else:
        text = sentence("The proxy {proxy} cannot be used ({reason}): check network.proxy.")
    reason = getattr(cause, "strerror", "") or type(cause).__name__
    told = say(text, proxy=shown, within=round(within, 1), reason=reason)
    return ConnectFailed(Phase.PROXY, told, cause)


def proxy_refused(shown: str, host: str, status: int, known_user: bool) -> ConnectFailed:
    """The proxy answered, and not with 2xx."""
    if status in (401, 407) and known_user:  # tinyproxy answers a wrong password with 401
        text = sentence("The proxy {proxy} rejects user or password: check network.proxy.")
    elif status == 407:
        text = sentence(
            "The proxy {proxy} asks for user and password: write them into network.proxy, as in "
            "http://user:password@host:port."
        )
    elif status == 403:
        text = sentence(
            "The proxy {proxy} does not allow {host} (HTTP 403): ask who runs it to let it pass."
        )
    else:
        text = sentence(
            "The proxy {proxy} cannot reach {host} (HTTP {status}): check the name in server_url."
        )
    told = say(text, proxy=shown, host=host, status=status)
    return ConnectFailed(Phase.PROXY, told)


def tls_timed_out(host: str, within: float) -> ConnectFailed:
    text = sentence(
        "{host} accepted the connection and did not finish the TLS handshake within {within:g} s: "
        "look at the server, or at a firewall on the way."
    )
    return ConnectFailed(Phase.TLS, say(text, host=host, within=round(within, 1)))


def tls_failed(
    host: str, port: int, error: BaseException, issuer: str = "", year: Optional[int] = None
) -> ConnectFailed:
    """`issuer`: who signed the certificate, where that is known; `year`: of this computer."""
    cause = real_error(error)
    year = datetime.now(timezone.utc).year if year is None else year
    code = getattr(cause, "verify_code", 0)
    reason = str(getattr(cause, "reason", "") or "")
    said = str(getattr(cause, "verify_message", "") or reason or type(cause).__name__).rstrip(".")
    if code in (_NOT_YET_VALID, _EXPIRED) and year < MADE_IN:
        text = sentence(
            "No secure connection to {host}: this computer's clock says {year}; it needs a time "
            "server (NTP) before it can check a certificate."
        )
    elif code == _EXPIRED:
        text = sentence(
            "No secure connection to {host} (certificate has expired): its owner must renew it; "
            "check this computer's clock too."
        )
    elif code == _NOT_YET_VALID:
        text = sentence(
            "No secure connection to {host} (certificate is not valid yet): check this computer's "
            "clock."
        )
    elif code == _SELF_SIGNED:
        text = sentence(
            "No secure connection to {host} (self-signed certificate): give the server a real "
            "one, or name a copy of it in network.ca_file."
        )
    elif code in UNKNOWN_AUTHORITY and issuer:
        text = sentence(
            "No secure connection to {host} (its certificate is signed by {issuer}, which is "
            "unknown here): a school's filter? Then name its authority in network.ca_file."
        )
    elif code in UNKNOWN_AUTHORITY:
        text = sentence(
            "No secure connection to {host} ({said}): the authority is unknown here, or the server "
            "does not send its whole chain; see network.ca_file."
        )
    elif code in (_OTHER_HOST, _OTHER_ADDRESS):
        text = sentence(
            "No secure connection to {host} ({said}): check the name in server_url; the "
            "certificate is for another one."
        )
    elif reason in _NO_TLS:
        text = sentence(
            "{host} does not speak TLS at port {port}: write http://, or the port of its https."
        )
    elif reason in _TOO_OLD:
        text = sentence(
            "{host} and this computer have no version of TLS in common ({said}): the server's is "
            "too old."
        )
    elif reason in _CERTIFICATE_WANTED:
        text = sentence(
            "{host} turns the connection down ({said}): it may want a certificate of this "
            "computer, and the plugin has none."
        )
    elif isinstance(cause, StreamClosedError) or "EOF" in reason or "EOF" in said:
        text = sentence(
            "{host} closed the connection in the middle of the TLS handshake: check the port in "
            "server_url, and the server."
        )
    else:
        text = sentence(
            "No secure connection to {host} ({said}): check the server's certificate and this "
            "computer's clock."
        )
    told = say(text, host=host, port=port, said=said, issuer=issuer, year=year)
    return ConnectFailed(Phase.TLS, told, cause)
