"""How pictures reach the hub: uploaded one at a time (generation 1, and where `image_url` names an
upload script), or inside the status as data URIs (generation 2 as it is).

Inside the status a picture goes along each five seconds, since generation 2 blanks one that is
absent: six times the bytes of an upload and its address.

A generation 1 server keeps one picture a printer, unless it heeds the form field `camera`; which of
the two it is shows in the address it gives a second camera's picture. With one place only, the
leading camera has it.
"""

from __future__ import annotations

import base64
import logging
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, Tuple

from ..hub.protocol import Generation
from ..runtime.alarm import Alarm
from ..runtime.clock import Clock
from ..runtime.loose import as_text
from ..runtime.messages import say
from ..runtime.notices import Notices
from ..settings.model import LiveSettings, Settings
from .cadence import Reason
from .sources import MAX_CAMERAS

if TYPE_CHECKING:
    from ..hub.client import HubClient

# of a JPEG, by `camera.resolution`
UPLOAD_BYTES = {"low": 40_000, "high": 100_000, "original": 1 << 20}
# bytes of a JPEG at generation 2, which takes it along in every status, each five seconds
INLINE_FIRST = 40_000
INLINE_FURTHER = 20_000
INLINE_TOTAL = 700 << 10  # characters of all data URIs: the whole status stays below 1 MiB
RETRY = (15.0, 30.0, 60.0, 300.0)  # seconds after an upload that failed
# seconds; a camera that fails for longer gives the first place to one that works
TOO_OLD_TO_LEAD = 600.0
MAX_URL = 1000  # characters


@dataclass(frozen=True)
class Shot:
    """The last good picture of one camera."""

    camera: str
    first: bool  # of the cameras as configured; it goes up as `image`, the others under their names
    jpeg: bytes
    taken: float  # unix seconds
    taken_at: float  # monotonic seconds
    reason: Reason
    state: str = "ok"  # of the camera since: ok, failing, frozen, black


@dataclass(frozen=True)
class _Stored:
    """A picture that the hub has."""

    url: str
    jpeg: bytes


def byte_limit(settings: Settings, generation: Generation, uploads: bool, first: bool) -> int:
    """The most bytes a picture may have, for this hub and this camera's place.

    At generation 2 it stays the same when pictures are uploaded, unless the camera's own are asked
    for: whoever sets up an upload script there does it to save bytes.
    """
    limit = UPLOAD_BYTES.get(settings.camera.resolution, UPLOAD_BYTES["high"])
    if generation is Generation.ONE or (uploads and settings.camera.resolution == "original"):
        return limit
    return min(limit, INLINE_FIRST if first else INLINE_FURTHER)


class Publisher:
    """`shots()` gives the last picture of each camera that has one, in the cameras' order."""

    def __init__(
        self,
        *,
        live: LiveSettings,
        hub: "HubClient",
        notices: Notices,
        clock: Clock,
        shots: Callable[[], Sequence[Shot]],
        on_new: Callable[[Shot], None],
    ) -> None:
        self._live = live
        self._hub = hub
        self._notices = notices
        self._clock = clock
        self._shots = shots
        self._on_new = on_new
        self._alarm = Alarm(clock)
        self._rest = Alarm(clock)
        self._stored: Dict[str, _Stored] = {}
        self._one_place = False
        self._failures = 0
        self._moves = 0  # of the hub, since our start
        self._inline: Dict[str, Tuple[bytes, str]] = {}
        live.subscribe(self._forget_if_moved)

    def shot_taken(self, shot: Shot) -> None:
        """A camera has a new picture: see to it that the hub gets it."""
        if self._uploads:
            self._alarm.ring()
        else:
            self._on_new(shot)

    async def run(self) -> None:
        """Upload what is new, one picture at a time, for ever; a picture that waited is replaced by
        its successor.
        """
        while True:
            wait: Optional[float] = None
            if self._live.now.complete and self._uploads:
                shot = self._due()
                if shot is not None:
                    began = self._clock.monotonic()
                    if await self._upload(shot):
                        took = self._clock.monotonic() - began
                        wait = self._hub.line.rest_after(took) or None
                        if wait is None:
                            continue
                    else:
                        wait = RETRY[min(self._failures, len(RETRY)) - 1]
            if wait is None:
                await self._alarm.wait()
            else:
                # not the same alarm: new pictures come on while the hub is away
                await self._rest.wait(wait)

    @property
    def _uploads(self) -> bool:
        return bool(self._hub.image_url)

    def hub_changed(self, connected: bool) -> None:
        """The hub can be reached again: no need to rest any longer."""
        if connected and self._failures:
            self._failures = 0
            self._rest.ring()

    def image_fields(self) -> Dict[str, Any]:
        """The status body's `image` (leading camera) and `images` (the others), with the age of
        what is not fresh.
        """
        shots = list(self._shots())
        leader = self._leader(shots)
        if leader is None:
            return {}
        fields: Dict[str, Any] = {}
        others: List[Dict[str, Any]] = []
        room = INLINE_TOTAL
        for shot in [leader] + [s for s in shots if s is not leader]:
            url = self._address(shot, room)
            if not url:
                continue
            if url.startswith("data:"):
                room -= len(url)
            marks = self._marks(shot)
            if shot is leader:
                fields["image"] = url
                fields.update({f"image_{key}": value for key, value in marks.items()})
            else:
                others.append({"name": shot.camera, "url": url, **marks})
        if others:
            fields["images"] = others
        return fields

    def _due(self) -> Optional[Shot]:
        """The next picture to upload: the leader's first, so that the page shows it soonest."""
        shots = list(self._shots())
        leader = self._leader(shots)
        if leader is None:
            return None
        queue = [leader] if self._one_place else [leader] + [s for s in shots if s is not leader]
        for shot in queue:
            stored = self._stored.get(shot.camera)
            if stored is None or stored.jpeg is not shot.jpeg:
                return shot
        return None

    async def _upload(self, shot: Shot) -> bool:
        leader = self._leader(list(self._shots()))
        leads = leader is None or leader.camera == shot.camera
        script, page, moves = self._hub.image_url, self._live.now.server_url, self._moves
        reply = await self._hub.upload_image(shot.jpeg, "image" if shot.first else shot.camera)
        if moves != self._moves:
            return True  # another hub by now, which has no picture yet
        url = _usable(reply.data.get("image_url")) if reply.ok else ""
        if url and (self._hub.generation is Generation.TWO or _folder(script) != _folder(page)):
            url = absolute(script, url)
        if not url:
            self._failures += 1
            why = reply.sentence or say(
                "The hub gave no image_url for a picture: look into its upload script."
            )
            self._notices.show(
                "pictures upload", "Pictures do not reach the hub. {why}", why=why, warning=False
            )
            return False
        self._failures = 0
        self._notices.clear("pictures upload", "Pictures reach the hub again.")
        place = _place(url)
        for name, stored in list(self._stored.items()):
            if name != shot.camera and _place(stored.url) == place:
                # What was there is overwritten: this hub has one place a printer.
                del self._stored[name]
                if not self._one_place:
                    self._one_place = True
                    self._notices.log_once(
                        "pictures one place",
                        "The hub keeps one picture a printer, so only the first working camera "
                        "is sent; docs/cameras.md shows the lines of PHP that keep them apart.",
                        level=logging.INFO,
                    )
        if self._one_place and not leads:
            return True  # not to be shown: the leader goes up again at once
        self._stored[shot.camera] = _Stored(url, shot.jpeg)
        self._on_new(shot)
        return True

    def _leader(self, shots: Sequence[Shot]) -> Optional[Shot]:
        """The camera whose picture is the printer's: the first, unless it has long failed and
        another has not.
        """
        now = self._clock.monotonic()
        for shot in shots:
            if shot.state != "failing" or now - shot.taken_at < TOO_OLD_TO_LEAD:
                return shot
        return shots[0] if shots else None

    def _address(self, shot: Shot, room: int) -> str:
        if self._uploads:
            stored = self._stored.get(shot.camera)
            return stored.url if stored is not None else ""
        known = self._inline.get(shot.camera)
        if known is None or known[0] is not shot.jpeg:
            uri = "data:image/jpeg;base64," + base64.b64encode(shot.jpeg).decode("ascii")
            self._inline.pop(shot.camera, None)
            known = self._inline[shot.camera] = (shot.jpeg, uri)
            while len(self._inline) > MAX_CAMERAS:
                del self._inline[next(iter(self._inline))]  # of cameras that are gone
        return known[1] if len(known[1]) <= room else ""

    def _marks(self, shot: Shot) -> Dict[str, Any]:
        if shot.state == "ok":
            return {}
        return {"age": int(self._clock.monotonic() - shot.taken_at), "state": shot.state}

    def _forget_if_moved(self, old: Settings, new: Settings) -> None:
        def of(settings: Settings) -> Any:
            return (
                settings.server_url,
                settings.printer_token,
                settings.protocol,
                settings.image_url,
            )

        if of(old) != of(new):
            self._moves += 1
            self._stored.clear()
            self._inline.clear()
            self._one_place = False
            self._failures = 0
            self._alarm.ring()


def _usable(value: Any) -> str:
    """The hub's address of a picture as it may go back to it, or "" for something that is none."""
    text = as_text(value).strip()
    if not text or len(text) > MAX_URL or any(ord(c) < 32 or ord(c) == 127 for c in text):
        return ""
    return text


def absolute(script: str, url: str) -> str:
    """The address of a picture for pages that lie elsewhere than the script that took it; without
    the script's user and password.

    >>> absolute("https://ana:pw@h/api/upload.php?k=1", "printer_images/T.jpg?t=17")
    'https://h/api/printer_images/T.jpg?t=17'
    >>> absolute("https://h/api/upload.php", "https://cdn/T.jpg")
    'https://cdn/T.jpg'
    """
    try:
        parts = urllib.parse.urlsplit(script)
        base = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        return urllib.parse.urljoin(base, url)
    except ValueError:
        return ""


def _folder(url: str) -> Tuple[str, str, str]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.netloc, parts.path.rpartition("/")[0]


def _place(url: str) -> str:
    """What of an address tells one file from another: without the `t=` that only defeats caches.

    >>> _place("printer_images/T.jpg?t=17") == _place("printer_images/T.jpg?t=18")
    True
    """
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return url
    fields = [(key, value) for key, value in urllib.parse.parse_qsl(parts.query) if key != "t"]
    return parts._replace(query=urllib.parse.urlencode(fields), fragment="").geturl()
