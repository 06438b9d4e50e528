"""Whom TLS trusts, and what it remembers: the context with the authorities, sessions to resume.

A resumed session spares both sides the certificates and most of the arithmetic. CPython (3.10 to
3.13) loses some 6 kB each time that a session is taken out of a connection, nothing when one is
used again: so one is taken out only where connections do not last, and seldom.
"""

import asyncio
import os
import ssl
from typing import Callable, Dict, Mapping, NamedTuple, Optional, Tuple

from tornado import netutil

from ..runtime.clock import Clock
from ..runtime.messages import Told
from ..runtime.worker import aside

BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # SSL_CERT_FILE is OpenSSL's own business
SESSION_FRESH = 3600.0  # seconds; then the certificate is looked at again
SESSIONS_KEPT = 8
OFTEN = 600.0  # seconds between two full handshakes with one server below which one is remembered
REREAD = 60.0  # seconds after which authorities that did not do are read again

Server = Tuple[str, int]  # host and port


class TrustBroken(Told):
    """The file of authorities cannot be used."""


class _Session(NamedTuple):
    session: Optional[ssl.SSLSession]
    since: float  # monotonic


class Trust:
    """`ca_file()` is the option `network.ca_file`, empty where there is none: authorities beside
    those of the system.
    """

    def __init__(
        self,
        clock: Clock,
        ca_file: Callable[[], str] = lambda: "",
        environment: Optional[Mapping[str, str]] = None,
    ) -> None:
        self._clock = clock
        self._ca_file = ca_file
        self._environment = os.environ if environment is None else environment
        self._context: Optional[ssl.SSLContext] = None
        self._making = asyncio.Lock()
        self._of = ""  # the file that the context was made with
        self._read = 0.0  # monotonic
        self._doubted = False  # the authorities as they were when Moonraker started
        self._sessions: Dict[Server, _Session] = {}

    async def context(self) -> ssl.SSLContext:
        """The context for connections to servers. Raises `TrustBroken`."""
        if self._context is None or self._of != self._path():
            async with self._making:  # one for all who wait: a session belongs to its context
                path = self._path()
                if self._context is None or self._of != path:
                    context = await self._make(path)
                    self._sessions.clear()
                    self._context, self._of, self._read = context, path, self._clock.monotonic()
        assert self._context is not None
        return self._context

    def _path(self) -> str:
        return self._ca_file() or next(filter(None, map(self._environment.get, BUNDLES)), "")

    async def _make(self, path: str) -> ssl.SSLContext:
        """That of Tornado, which has made one of the system's authorities anyhow, will do at first:
        to read them again takes long on a Pi (200 kB), and each keeps a megabyte in memory.
        """
        tornados = getattr(netutil, "_client_ssl_defaults", None)
        if path or self._doubted or not isinstance(tornados, ssl.SSLContext):
            return await aside(_make_context, path)
        return tornados

    def doubted(self) -> None:
        """A certificate was not trusted: the next attempt reads the authorities anew, in case that
        somebody has mended them.
        """
        if self._clock.monotonic() - self._read > REREAD:
            self._context = None
            self._doubted = True

    def session(self, server: Server) -> Optional[ssl.SSLSession]:
        """What a new connection to `server` may resume."""
        known = self._sessions.get(server)
        if known is None or self._clock.monotonic() - known.since > SESSION_FRESH:
            return None
        return known.session

    def connected(self, server: Server, connection: ssl.SSLSocket) -> None:
        """An answer came over a new connection: now it has the tickets of TLS 1.3 too."""
        if connection.session_reused or connection.context is not self._context:
            return
        now = self._clock.monotonic()
        known = self._sessions.pop(server, None)
        if known is not None and known.session is not None and now - known.since < SESSION_FRESH:
            self._sessions[server] = known  # this server resumes nothing: not worth another one
            return
        often = known is not None and now - known.since < OFTEN
        if len(self._sessions) >= SESSIONS_KEPT:
            self._sessions.clear()
        self._sessions[server] = _Session(connection.session if often else None, now)


def _make_context(path: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if path:
        try:
            if os.path.isdir(path):
                context.load_verify_locations(capath=path)
            else:
                context.load_verify_locations(cafile=path)
        except (OSError, ssl.SSLError, ValueError) as error:
            reason = getattr(error, "strerror", "") or type(error).__name__
            raise TrustBroken(
                "The certificate authorities in {path} cannot be read ({reason}): "
                "network.ca_file must name a PEM file that Moonraker may read.",
                path=path,
                reason=reason,
            ) from None
    return context
