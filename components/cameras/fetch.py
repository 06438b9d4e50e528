"""One bounded picture from one address: an outcome with a sentence, never an exception, never more
than asked for.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import ssl
import urllib.parse
from typing import Callable, Dict

from ..net.connect import Connector
from ..net.get import MAX_BUFFER, GetFailed, get
from ..net.trust import Trust
from ..runtime.clock import Clock
from .digest import Challenge
from .reply import Fetched, Reader, explain, redirected_for_ever, timed_out

MAX_REDIRECTS = 3
LOCAL_NAMES = (".local", ".lan", ".home", ".internal", ".home.arpa")


class Fetcher:
    """Fetches pictures; each fetch has a connection of its own, so that a dead camera holds up no
    other. `verify()` is the option `camera.verify_tls`.
    """

    def __init__(self, user_agent: str, connector: Connector, verify: Callable[[], bool]) -> None:
        self._user_agent = user_agent
        self._connector = connector
        clock = Clock()
        self._blind = Connector(clock, AnyCertificate(clock))
        self._verify = verify
        self._challenges: Dict[str, Challenge] = {}  # by host: what Digest was asked for last

    async def fetch(self, url: str, timeout: float) -> Fetched:
        """Get the picture at `url` within `timeout` seconds, redirects included."""
        try:
            return await asyncio.wait_for(self._follow(url, timeout), timeout)
        except asyncio.TimeoutError:
            return timed_out(url, timeout)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            return explain(error, url, timeout)

    def close(self) -> None:
        self._blind.close()

    async def _follow(self, url: str, timeout: float) -> Fetched:
        asked_again = False
        for _ in range(MAX_REDIRECTS + 2):
            reader = await self._exchange(url, timeout)
            if reader.challenge is not None and not asked_again:
                asked_again = True
                self._challenges[_host(url)] = reader.challenge
                continue
            if not (300 <= reader.status < 400 and reader.location):
                return reader.outcome()
            url = urllib.parse.urljoin(url, reader.location)
            if not url.lower().startswith(("http://", "https://")):
                break
        return redirected_for_ever(url)

    async def _exchange(self, url: str, timeout: float) -> Reader:
        parts = urllib.parse.urlsplit(url)
        secure = parts.scheme.lower() == "https"
        host = parts.hostname or ""
        blind = secure and not self._verify() and is_local(host)
        opened = await (self._blind if blind else self._connector).open(
            "https" if secure else "http",
            host,
            parts.port or (443 if secure else 80),
            within=timeout,
            max_buffer=MAX_BUFFER,
            proxied=False,
        )
        reader = Reader(url, parts.username is not None)
        target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        try:
            headers = self._headers(parts, target)
        except BaseException:
            opened.stream.close()
            raise
        try:
            await get(opened.stream, target, headers, reader, idle=timeout, slowest=0)
            reader.complete = True
        except GetFailed:
            if not reader.status:
                raise
        return reader

    def _headers(self, parts: urllib.parse.SplitResult, target: str) -> Dict[str, str]:
        headers = {
            "Host": parts.netloc.rpartition("@")[2],
            "User-Agent": self._user_agent,
            "Accept": "image/jpeg, image/png;q=0.5, image/webp;q=0.5",
            "Connection": "close",
        }
        if parts.username is not None:
            user = urllib.parse.unquote(parts.username)
            password = urllib.parse.unquote(parts.password or "")
            challenge = self._challenges.get(_host(parts.geturl()))
            if challenge is not None:
                headers["Authorization"] = challenge.answer("GET", target, user, password)
            else:
                pair = base64.b64encode(f"{user}:{password}".encode())
                headers["Authorization"] = f"Basic {pair.decode('ascii')}"
        return headers


class AnyCertificate(Trust):
    """For cameras of the local network, whose certificates nobody has signed."""

    async def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context


def is_local(host: str) -> bool:
    """Whether an address or name can only be one of the local network.

    >>> [is_local(h) for h in ("192.168.1.20", "cam", "cam.local", "fe80::1", "8.8.8.8", "a.org")]
    [True, True, True, True, False, False]
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.lower().endswith(LOCAL_NAMES)
    return address.is_private or address.is_loopback or address.is_link_local


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc.rpartition("@")[2].lower()
