"""Conversations with the hub: each request of the protocol as a method that returns a `Reply`,
whatever happens.

Keeps what the hub said about itself (announced features, its clock); when to call and how often is
`link`'s business.
"""

import asyncio
import secrets
import urllib.parse
from typing import Any, Awaitable, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ..runtime.clock import Clock
from ..runtime.loose import as_bool, as_text
from ..runtime.messages import say, sentence
from ..settings.model import LiveSettings, Settings
from . import protocol
from .json_body import MAX_VALUES, has_too_many_values, read_json_object, to_json
from .line import LineQuality
from .outcomes import Exchange, Failure, host_of
from .protocol import Endpoints, Features, Generation, HubFile
from .transport import MAX_JSON_BODY, Transport

MAX_HUB_MESSAGE = 200  # characters of the hub's own words in a sentence
MAX_LIST = 1 << 20  # bytes of a list of files: 1,000 names of the longest kind
FILES_AT_ONCE = 50  # of a list, between turns of others: a thousand would hold them up
CLOCK_EVERY = 60.0  # seconds between looks at the Date header of replies that bring no command
CLOCK_SMOOTHING = 2.0  # seconds; a Date header has whole seconds, so smaller steps are noise
WAY_BACK = 2.0  # seconds; what an exchange takes longer was spent by the hub before its Date

Inbox = Callable[[Any, Generation], Awaitable[Any]]


class Reply(NamedTuple):
    """How a request to the hub ended; `data` is the JSON object of its answer, if there was one."""

    ok: bool
    sentence: str  # for people; empty when ok
    data: Mapping[str, Any] = {}
    failure: Optional[Failure] = None
    status: int = 0
    retry_after: Optional[float] = None  # seconds
    seconds: float = 0.0
    sent_bytes: int = 0
    stale: bool = False  # asked of a hub, or with a token, that the settings no longer name
    unheard: bool = False  # it went into a kept connection that had ended: see `Exchange`


class HubClient:
    """One hub, as `LiveSettings` names it at the moment of each request."""

    def __init__(self, live: LiveSettings, transport: Transport, clock: Clock) -> None:
        self._live = live
        self._transport = transport
        self._clock = clock
        self._announced: Dict[str, Features] = {}
        self._features = Features()
        self._where: Optional[Tuple[Settings, Endpoints]] = None  # of which settings
        self._commands_url: Tuple[Optional[Settings], float, str] = (None, 0.0, "")
        self._clock_offset: Optional[float] = None  # hub's wall clock minus our monotonic one
        self._clock_read = 0.0  # monotonic
        self._inbox: Optional[Inbox] = None
        self.line = LineQuality()
        live.subscribe(self._settings_changed)

    def deliver_to(self, inbox: Inbox) -> None:
        """Hand every command, in whichever reply it comes, to `inbox` before that reply is
        returned.

        The hub forgets what it hands out, so no caller may be in a position to drop it.
        """
        self._inbox = inbox

    # What is known of the hub

    @property
    def where(self) -> Endpoints:
        settings = self._live.now
        if self._where is None or self._where[0] is not settings:
            self._where = (settings, protocol.endpoints(settings))
        return self._where[1]

    @property
    def generation(self) -> Generation:
        return self.where.generation

    @property
    def image_url(self) -> str:
        """Where pictures are uploaded; "" where they travel within the status."""
        return self.where.image

    @property
    def features(self) -> Features:
        return self._features

    @property
    def origin(self) -> Tuple[str, str, int]:
        """Scheme, host and port of the hub, in the form in which origins are compared."""
        parts = urllib.parse.urlsplit(self._live.now.server_url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return parts.scheme, (parts.hostname or "").lower(), port

    def told_time(self) -> Optional[float]:
        """Unix seconds by the hub's clock; None until it has answered."""
        return None if self._clock_offset is None else self.now()

    def now(self) -> float:
        """Unix seconds by the hub's clock, known from its Date header: a Raspberry Pi has no clock
        of its own.
        """
        if self._clock_offset is None:
            return self._clock.time()
        return self._clock.monotonic() + self._clock_offset

    @property
    def clock_skew(self) -> Optional[float]:
        """Seconds by which the hub's clock is ahead of ours; None before the first contact."""
        return None if self._clock_offset is None else self.now() - self._clock.time()

    # Requests

    async def send_status(self, body: Mapping[str, Any]) -> Reply:
        return await self._post("status", self.where.status, body, repeatable=True)

    async def fetch_commands(self, wait: float = 0.0) -> Reply:
        """The commands waiting for this printer. The hub deletes what it returns: the reply is
        their only copy.
        """
        settings = self._live.now
        known_for, known_wait, url = self._commands_url
        if known_for is not settings or known_wait != wait:
            url = protocol.commands_url(self.where, settings.printer_token, wait)
            self._commands_url = (settings, wait, url)
        return await self._get("commands", url, wait=wait)

    async def post_results(self, results: List[Dict[str, Any]]) -> Reply:
        body = {
            "action": "command_results",
            "token": self._live.now.printer_token,
            "results": results,
        }
        return await self._post("results", self.where.status, body, repeatable=True)

    async def upload_image(self, jpeg: bytes, name: str = "image") -> Reply:
        """Send a JPEG; `data["image_url"]` is where the hub put it. Generation 2 has no such
        endpoint of its own, only where the option `image_url` names one.
        """
        where = self.where
        if not where.image:
            return Reply(
                False,
                say("This hub takes pictures within the status, not as uploads."),
                failure=Failure.BAD_URL,
            )
        fields = {"token": self._live.now.printer_token}
        if name != "image":
            fields["camera"] = name
        body, headers = _form(fields, "image", "snapshot.jpg", "image/jpeg", jpeg)
        return await self._send("image", where.image, body, headers, repeatable=True)

    async def upload_timelapse(self, video: bytes, filename: str) -> Reply:
        """Send a finished video to a hub that announced `timelapse_upload`."""
        fields = {"token": self._live.now.printer_token}
        body, headers = _form(fields, "video", filename, "video/mp4", video)
        return await self._send("timelapse", self.where.timelapse, body, headers, extra_time=120.0)

    async def list_files(self) -> Tuple[Reply, Tuple[HubFile, ...]]:
        url = protocol.file_list_url(self.where, self._live.now.printer_token)
        reply = await self._get("files", url, max_body=MAX_LIST, repeatable=True)
        found: List[HubFile] = []
        for number, item in enumerate(protocol.listed_files(reply.data) if reply.ok else ()):
            if number % FILES_AT_ONCE == 0:
                await asyncio.sleep(0)
            file = protocol.read_file(item)
            if file is not None:
                found.append(file)
        return reply, tuple(found)

    def file_request(self, name: str) -> Tuple[str, Dict[str, str]]:
        """Address (with the token) and headers under which the hub serves the bytes of a file."""
        return protocol.file_url(self.where, self._live.now.printer_token, name), {}

    async def mark_downloaded(self, name: str) -> Reply:
        """Tell that the verified file is safely on disk. Generation 1 deletes its copy."""
        url, body = protocol.mark_downloaded(self.where, self._live.now.printer_token, name)
        return await self._post("files", url, body)

    def hang_up(self) -> None:
        """End the request for commands that the hub lets wait: nobody will listen any more."""
        self._transport.hang_up()

    # One exchange

    async def _get(
        self,
        kind: str,
        url: str,
        *,
        wait: float = 0.0,
        max_body: int = MAX_JSON_BODY,
        repeatable: bool = False,
    ) -> Reply:
        asked = self._live.now
        exchange = await self._transport.exchange(
            "GET",
            url,
            timeout=asked.timeouts.server + wait,
            max_body=max_body,
            lane=_lane(kind),
            repeatable=repeatable,
            patient=wait > 0,
        )
        return await self._read(kind, asked, exchange, 0)

    async def _post(
        self, kind: str, url: str, body: Mapping[str, Any], *, repeatable: bool = False
    ) -> Reply:
        headers = {"Content-Type": "application/json"}
        return await self._send(kind, url, to_json(body), headers, repeatable=repeatable)

    async def _send(
        self,
        kind: str,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        extra_time: float = 0.0,
        repeatable: bool = False,
    ) -> Reply:
        """`repeatable`: the hub may get it twice. So it may of whatever it does not acknowledge:
        a status replaces the one before it, events and results have ids.
        """
        asked = self._live.now
        exchange = await self._transport.exchange(
            "POST",
            url,
            timeout=asked.timeouts.server + extra_time,
            body=body,
            headers=headers,
            lane=_lane(kind),
            repeatable=repeatable,
        )
        return await self._read(kind, asked, exchange, len(body))

    async def _read(self, kind: str, asked: Settings, exchange: Exchange, sent: int) -> Reply:
        """`asked` are the settings at the moment of the request: what another hub, or ours under
        another token, says is neither learned nor obeyed any more.
        """
        if not same_hub(asked, self._live.now):
            told = say(
                "An answer of {host} came after address or token were changed: it is not used.",
                host=host_of(asked.server_url),
            )
            return _reply(exchange, sent, Failure.INTERNAL, told)._replace(stale=True)
        if kind != "commands":  # which the hub may have let wait
            self.line.seen(sent, exchange)
        data = None
        if exchange.failure is None and not has_too_many_values(exchange.body):
            data = read_json_object(exchange.body, "success")
        if exchange.failure is not None:
            return _reply(exchange, sent, exchange.failure, exchange.sentence)
        host = host_of(self._live.now.server_url)
        if data is None and has_too_many_values(exchange.body):
            return _reply(exchange, sent, Failure.TOO_LARGE, _too_much(host))
        if data is None:
            return _reply(exchange, sent, Failure.NOT_JSON, _not_json(exchange.body, host))
        self._set_clock(exchange, at_once=bool(data.get("commands")))
        if not as_bool(data["success"]):
            said = " ".join(as_text(data.get("message")).split())[:MAX_HUB_MESSAGE] or say(
                "no reason given"
            )
            return _reply(
                exchange,
                sent,
                Failure.REFUSED,
                say(_refusal(said), host=host, said=said),
                data,
            )
        self._learn(kind, protocol.read_features(data))
        if self._inbox is not None and data.get("commands"):
            await self._inbox(data["commands"], self.generation)
        return _reply(exchange, sent, None, "", data)

    def _learn(self, kind: str, announced: Optional[Features]) -> None:
        if announced == self._announced.get(kind):
            return
        if announced is None:
            del self._announced[kind]
        else:
            self._announced[kind] = announced
        self._features = protocol.merge_features(list(self._announced.values()))

    def _set_clock(self, exchange: Exchange, at_once: bool) -> None:
        """Of a reply that is the hub's own JSON: the Date of a router's page or of a redirect is
        anybody's. Commands are judged by their age, so `at_once` where the reply brings some.
        """
        now = self._clock.monotonic()
        if self._clock_offset is not None and not at_once and now - self._clock_read < CLOCK_EVERY:
            return
        server_time = exchange.server_time
        if server_time is None:
            return
        self._clock_read = now
        # The Date was written somewhere within the exchange (of a long poll, at its end), and cut
        # to whole seconds: half of each is the best guess.
        offset = server_time + 0.5 - (now - min(exchange.seconds, WAY_BACK) / 2)
        if self._clock_offset is None or abs(offset - self._clock_offset) > CLOCK_SMOOTHING:
            self._clock_offset = offset
        else:
            self._clock_offset += (offset - self._clock_offset) / 8

    def _settings_changed(self, old: Settings, new: Settings) -> None:
        if not same_hub(old, new) or old.network != new.network:
            self._transport.hang_up()
            self._transport.forget()
            self.line = LineQuality()
        if not same_hub(old, new):
            self._announced.clear()
            self._features = Features()
            self._clock_offset = None


def same_hub(one: Settings, other: Settings) -> bool:
    """Whether both talk to the same hub as the same printer."""
    return one is other or (one.server_url, one.commands_url, one.printer_token, one.protocol) == (
        other.server_url,
        other.commands_url,
        other.printer_token,
        other.protocol,
    )


def _lane(kind: str) -> str:
    """What may wait for each other: pictures for videos, and results for the status beside them,
    which go to the same script; nothing for a long poll or a list of files.
    """
    return {"results": "status", "timelapse": "image"}.get(kind, kind)


def _reply(
    exchange: Exchange,
    sent: int,
    failure: Optional[Failure],
    sentence: str,
    data: Optional[Mapping[str, Any]] = None,
) -> Reply:
    return Reply(
        failure is None,
        sentence,
        data or {},
        failure,
        exchange.status,
        exchange.retry_after,
        exchange.seconds,
        sent,
        unheard=exchange.unheard,
    )


def _refusal(said: str) -> str:
    if "token" in said.lower():
        return sentence('{host} refuses: "{said}". Check printer_token.')
    return sentence('{host} refuses: "{said}". That is for the server\'s side to mend.')


def _too_much(host: str) -> str:
    return say(
        "{host} sent more than {most} values at once, which no hub does: look at what the server's "
        "PHP script answers.",
        host=host,
        most=MAX_VALUES,
    )


def _not_json(body: bytes, host: str) -> str:
    text = body[:2048].decode("utf-8", "replace").strip()
    if not text:
        told = sentence("{host} sent an empty answer: look into the server's PHP error log.")
    elif text.startswith("<"):
        told = sentence(
            "{host} answered with a web page instead of JSON: check that server_url names the "
            "hub's PHP script."
        )
    elif text.startswith("{"):
        told = sentence(
            "{host} sent JSON that is cut short or damaged: look into the server's PHP error log."
        )
    else:
        told = sentence(
            "{host} answered with something that is not the hub's JSON: check that server_url "
            "names the hub's PHP script."
        )
    return say(told, host=host)


def _form(
    fields: Mapping[str, str], name: str, filename: str, kind: str, content: bytes
) -> Tuple[bytes, Dict[str, str]]:
    boundary = f"tecmedhub-{secrets.token_hex(16)}"
    head, tail = protocol.multipart(boundary, fields, name, filename, kind)
    return head + content + tail, {"Content-Type": f"multipart/form-data; boundary={boundary}"}
