"""One bounded picture from one address: an outcome with a sentence, never an exception, never more
than asked for.

The first bytes are judged as they arrive, and the connection is closed the moment they are not a
picture's or are too many: an endless stream costs no more than a look.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import ssl
import urllib.parse
from dataclasses import dataclass
from enum import Enum
from typing import Callable, Dict, List, Optional, Tuple

from ..net.connect import Connector
from ..net.faults import ConnectFailed, Phase, real_error
from ..net.get import MAX_BUFFER, Enough, GetFailed, Head, Taker, get
from ..net.trust import Trust
from ..runtime.clock import Clock
from ..runtime.messages import say, sentence
from .digest import Challenge, read_challenge
from .sources import shown

MAX_PICTURE = 10 << 20  # bytes; a JPEG of 64 megapixels has about that many
SNIFFED = 512  # bytes that tell what a body is
MAX_REDIRECTS = 3
LOCAL_NAMES = (".local", ".lan", ".home", ".internal", ".home.arpa")


class Trouble(str, Enum):
    """Why there is no picture."""

    BAD_URL = "bad_url"
    DNS = "dns"
    UNREACHABLE = "unreachable"
    TLS = "tls"
    TIMED_OUT = "timed_out"
    STATUS = "status"
    STREAM = "stream"
    HTML = "html"
    NOT_A_PICTURE = "not_a_picture"
    TOO_LARGE = "too_large"
    CUT_SHORT = "cut_short"
    DAMAGED = "damaged"
    RESTING = "resting"  # it failed lately and is not asked at the moment

    @property
    def passing(self) -> bool:
        """It may well be gone at the next attempt: worth a second one before people are told."""
        return self in (Trouble.UNREACHABLE, Trouble.TIMED_OUT, Trouble.CUT_SHORT, Trouble.DAMAGED)


@dataclass(frozen=True)
class Fetched:
    """The bytes of one picture, or why there are none."""

    data: bytes = b""
    trouble: Optional[Trouble] = None
    sentence: str = ""  # for people; empty when there is a picture
    url: str = ""


class Kind(str, Enum):
    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    HTML = "html"
    MULTIPART = "multipart"
    OTHER = "other"


def sniff(head: bytes) -> Kind:
    """What a body is, by its first bytes; the Content-Type of camera servers is not to be relied
    on.

    >>> sniff(b"\\xff\\xd8\\xff\\xe0").value, sniff(b"  <!DOCTYPE html>").value
    ('jpeg', 'html')
    """
    if head.startswith(b"\xff\xd8\xff"):
        return Kind.JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Kind.PNG
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Kind.WEBP
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<body", b"<!--")):
        return Kind.HTML
    if text.startswith(b"--") and b"content-" in text:
        return Kind.MULTIPART
    return Kind.OTHER


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
            where = shown(url)
            return Fetched(
                trouble=Trouble.TIMED_OUT,
                sentence=say(
                    "{address} sent no picture within {seconds:g} s; see whether the camera's "
                    "service hangs.",
                    address=where,
                    seconds=timeout,
                ),
                url=url,
            )
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
                return reader.outcome(url)
            url = urllib.parse.urljoin(url, reader.location)
            if not url.lower().startswith(("http://", "https://")):
                break
        return Fetched(
            trouble=Trouble.STATUS,
            sentence=say(
                "{address} is redirected without end; enter the snapshot's own address.",
                address=shown(url),
            ),
            url=url,
        )

    async def _exchange(self, url: str, timeout: float) -> "_Reader":
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
        reader = _Reader(parts.username is not None)
        target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        try:
            headers = self._headers(parts, target)
        except BaseException:
            opened.stream.close()
            raise
        try:
            await get(opened.stream, target, headers, reader, idle=timeout, slowest=0)
            reader.complete = True
        except GetFailed as error:
            if not reader.status:
                raise
            reader.broken = error
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


class _Reader(Taker):
    """Takes a response in, and wants no more of it as soon as it is clear that it is no picture."""

    def __init__(self, has_password: bool) -> None:
        self._has_password = has_password
        self._chunks: List[bytes] = []
        self._size = 0
        self._trouble: Optional[Callable[[str], Fetched]] = None
        self.complete = False
        self.broken: Optional[GetFailed] = None
        self.status = 0
        self.location = ""
        self.challenge: Optional[Challenge] = None

    async def head(self, head: Head) -> None:
        self.status = head.status
        self.location = head.headers.get("Location", "")
        if 300 <= self.status < 400:
            raise Enough()
        if self.status == 401 and self._has_password:
            for offer in head.headers.get_list("WWW-Authenticate"):
                self.challenge = self.challenge or read_challenge(offer)
        if not 200 <= self.status < 300:
            self._refuse(
                Trouble.STATUS,
                sentence("{address} answered HTTP {status}: {hint}."),
                status=self.status,
                hint=_hint(self.status, self._has_password),
            )
        if head.headers.get("Content-Type", "").lower().startswith("multipart/"):
            self._refuse(Trouble.STREAM, _STREAM)
        if head.length is not None and head.length > MAX_PICTURE:
            self._refuse(Trouble.TOO_LARGE, _TOO_LARGE, limit=MAX_PICTURE >> 20)

    async def body(self, chunk: bytes) -> None:
        before = self._size
        self._size += len(chunk)
        if self._size > MAX_PICTURE:
            self._refuse(Trouble.TOO_LARGE, _TOO_LARGE, limit=MAX_PICTURE >> 20)
        self._chunks.append(chunk)
        if before < SNIFFED <= self._size:
            self._judge()

    def outcome(self, url: str) -> Fetched:
        if self._trouble is None:
            try:
                self._judge()
                if not self.complete:
                    self._refuse(
                        Trouble.CUT_SHORT,
                        sentence("{address} broke off in the middle of the picture."),
                    )
            except Enough:
                pass
        if self._trouble is not None:
            return self._trouble(url)
        return Fetched(b"".join(self._chunks), url=url)

    def _judge(self) -> None:
        head = b""
        for chunk in self._chunks:
            if len(head) >= SNIFFED:
                break
            head += chunk[:SNIFFED]
        kind = sniff(head)
        if not head:
            self._refuse(
                Trouble.NOT_A_PICTURE,
                sentence("{address} sent nothing; see whether the camera is plugged in."),
            )
        elif kind is Kind.HTML:
            self._refuse(
                Trouble.HTML,
                sentence(
                    "{address} is a web page, not a picture; enter the address of the snapshot."
                ),
            )
        elif kind is Kind.MULTIPART:
            self._refuse(Trouble.STREAM, _STREAM)
        elif kind is Kind.OTHER:
            self._refuse(
                Trouble.NOT_A_PICTURE,
                sentence("{address} sent no JPEG, PNG or WebP; enter the address of the snapshot."),
            )

    def _refuse(self, trouble: Trouble, template: str, **places: object) -> None:
        self._trouble = lambda url: Fetched(
            trouble=trouble, sentence=say(template, address=shown(url), **places), url=url
        )
        self._chunks.clear()
        raise Enough()


_STREAM = sentence("{address} is a stream; enter the address of its snapshot.")
_TOO_LARGE = sentence("{address} sent more than {limit} MiB; lower the camera's resolution.")


def _hint(status: int, has_password: bool) -> str:
    return {
        401: say("it does not take the user and the password in the address; check both")
        if has_password
        else say("enter user and password into the address, before the host and an @"),
        403: say("look into the camera's access rules"),
        404: say("check the path of the snapshot"),
        502: say("the web server is there, but the camera's service behind it does not run"),
        503: say("the camera's service has no picture: see whether the camera is plugged in"),
    }.get(status, say("look into the log of the camera's service"))


def explain(error: Exception, url: str, timeout: float) -> Fetched:
    """The outcome of an exception met on the way to a picture."""
    where = shown(url)
    if isinstance(error, ConnectFailed):
        trouble, told = _unconnected(error, where, timeout)
    elif isinstance(error, GetFailed) and isinstance(error.error, OSError):
        trouble = Trouble.UNREACHABLE
        reason = error.error.strerror or type(error.error).__name__
        told = say(
            "{address} cannot be reached ({reason}); check the camera's network.",
            address=where,
            reason=reason,
        )
    elif isinstance(error, GetFailed):
        trouble = Trouble.CUT_SHORT
        told = say("{address} closed the connection without a picture.", address=where)
    else:
        trouble = Trouble.BAD_URL
        told = say(
            "{address} cannot be used as a camera's address ({kind}); check it.",
            address=where,
            kind=type(error).__name__,
        )
    return Fetched(trouble=trouble, sentence=told, url=url)


def _unconnected(error: ConnectFailed, where: str, timeout: float) -> Tuple[Trouble, str]:
    """The same ends as those of the way to the hub, in words that are about cameras."""
    cause = error.error and real_error(error.error)
    if error.phase is Phase.RESOLVE:
        return (
            Trouble.DNS,
            say(
                "The host of {address} cannot be found; enter its number, as in 192.168.1.20.",
                address=where,
            ),
        )
    if error.phase is Phase.TLS:
        return (
            Trouble.TLS,
            say(
                "{address} has no certificate that can be trusted; enter its http:// address, "
                "or set camera.verify_tls to false if it is at a local address.",
                address=where,
            ),
        )
    if isinstance(cause, ConnectionRefusedError):
        return (
            Trouble.UNREACHABLE,
            say(
                "{address} refuses connections; see whether the camera's service (crowsnest, "
                "say) runs.",
                address=where,
            ),
        )
    if isinstance(cause, OSError) and cause.strerror:
        return (
            Trouble.UNREACHABLE,
            say(
                "{address} cannot be reached ({reason}); check the camera's network.",
                address=where,
                reason=cause.strerror,
            ),
        )
    return (
        Trouble.TIMED_OUT,
        say(
            "{address} sent no picture within {seconds:g} s; see whether the camera's "
            "service hangs.",
            address=where,
            seconds=timeout,
        ),
    )
