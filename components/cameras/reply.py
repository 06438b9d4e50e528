"""What came from a camera: a picture, or why there is none, in one sentence. The first bytes are
judged as they arrive, so that an endless stream costs no more than a look.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Dict, List, Optional

from ..net.faults import ConnectFailed, Phase, real_error
from ..net.get import Enough, GetFailed, Head, Taker
from ..runtime.messages import say, sentence
from .digest import Challenge, read_challenge
from .sources import shown

MAX_PICTURE = 10 << 20  # bytes; a JPEG of 64 megapixels has about that many
SNIFFED = 512  # bytes that tell what a body is


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


def no_picture(trouble: Trouble, template: str, url: str, **places: object) -> Fetched:
    """`template` may name the address."""
    told = say(template, address=shown(url), **places)
    return Fetched(trouble=trouble, sentence=told, url=url)


_STREAM = sentence("{address} is a stream; enter the address of its snapshot.")
_TOO_LARGE = sentence("{address} sent more than {limit} MiB; lower the camera's resolution.")
_HANGS = sentence(
    "{address} sent no picture within {seconds:g} s; see whether the camera's service hangs."
)
_NETWORK = sentence("{address} cannot be reached ({reason}); check the camera's network.")


class Kind(str, Enum):
    PICTURE = "picture"
    HTML = "html"
    MULTIPART = "multipart"
    OTHER = "other"


def sniff(head: bytes) -> Kind:
    """What a body is, by its first bytes; the Content-Type of camera servers is not to be relied
    on.

    >>> sniff(b"\\xff\\xd8\\xff\\xe0").value, sniff(b"  <!DOCTYPE html>").value
    ('picture', 'html')
    """
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    if webp or head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
        return Kind.PICTURE
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<body", b"<!--")):
        return Kind.HTML
    if text.startswith(b"--") and b"content-" in text:
        return Kind.MULTIPART
    return Kind.OTHER


class Reader(Taker):
    """Takes a response in, and wants no more of it as soon as it is clear that it is no picture."""

    def __init__(self, url: str, has_password: bool) -> None:
        self._url = url
        self._has_password = has_password
        self._chunks: List[bytes] = []
        self._size = 0
        self._refused: Optional[Fetched] = None
        self.complete = False
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

    def outcome(self) -> Fetched:
        if self._refused is None:
            try:
                self._judge()
                if not self.complete:
                    self._refuse(
                        Trouble.CUT_SHORT,
                        sentence("{address} broke off in the middle of the picture."),
                    )
            except Enough:
                pass
        return self._refused or Fetched(b"".join(self._chunks), url=self._url)

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
        self._refused = no_picture(trouble, template, self._url, **places)
        self._chunks.clear()
        raise Enough()


def _hint(status: int, has_password: bool) -> str:
    if status == 401 and has_password:
        return say("it does not take the user and the password in the address; check both")
    hints: Dict[int, str] = {
        401: sentence("enter user and password into the address, before the host and an @"),
        403: sentence("look into the camera's access rules"),
        404: sentence("check the path of the snapshot"),
        502: sentence("the web server is there, but the camera's service behind it does not run"),
        503: sentence("the camera's service has no picture: see whether the camera is plugged in"),
    }
    return say(hints.get(status, sentence("look into the log of the camera's service")))


def timed_out(url: str, seconds: float) -> Fetched:
    return no_picture(Trouble.TIMED_OUT, _HANGS, url, seconds=seconds)


def redirected_for_ever(url: str) -> Fetched:
    return no_picture(
        Trouble.STATUS,
        sentence("{address} is redirected without end; enter the snapshot's own address."),
        url,
    )


def explain(error: Exception, url: str, timeout: float) -> Fetched:
    """The outcome of an exception met on the way to a picture."""
    if isinstance(error, ConnectFailed):
        return _unconnected(error, url, timeout)
    if not isinstance(error, GetFailed):
        return no_picture(
            Trouble.BAD_URL,
            sentence("{address} cannot be used as a camera's address ({kind}); check it."),
            url,
            kind=type(error).__name__,
        )
    if isinstance(error.error, OSError):
        reason = error.error.strerror or type(error.error).__name__
        return no_picture(Trouble.UNREACHABLE, _NETWORK, url, reason=reason)
    return no_picture(
        Trouble.CUT_SHORT, sentence("{address} closed the connection without a picture."), url
    )


def _unconnected(error: ConnectFailed, url: str, timeout: float) -> Fetched:
    """The same ends as those of the way to the hub, in words that are about cameras."""
    cause = error.error and real_error(error.error)
    if error.phase is Phase.RESOLVE:
        return no_picture(
            Trouble.DNS,
            sentence(
                "The host of {address} cannot be found; enter its number, as in 192.168.1.20."
            ),
            url,
        )
    if error.phase is Phase.TLS:
        return no_picture(
            Trouble.TLS,
            sentence(
                "{address} has no certificate that can be trusted; enter its http:// address, "
                "or set camera.verify_tls to false if it is at a local address."
            ),
            url,
        )
    if isinstance(cause, ConnectionRefusedError):
        return no_picture(
            Trouble.UNREACHABLE,
            sentence(
                "{address} refuses connections; see whether the camera's service (crowsnest, say) "
                "runs."
            ),
            url,
        )
    if isinstance(cause, OSError) and cause.strerror:
        return no_picture(Trouble.UNREACHABLE, _NETWORK, url, reason=cause.strerror)
    return timed_out(url, timeout)
