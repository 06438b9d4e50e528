"""Which cameras there are, and at which addresses a single picture of each may be had. Pure.

Cameras come from `camera.urls`, or, where none are given, from Moonraker's webcam entries
(Mainsail's and Fluidd's). An address of a stream is never asked for: its snapshot sibling stands in
its place.
"""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass, replace
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from ..runtime.loose import printable
from ..runtime.messages import Told, say

LOCAL_HOST = "http://127.0.0.1"  # where Moonraker resolves a webcam's relative address, too
MAX_CAMERAS = 8
MAX_URL = 2000  # characters
MAX_NAME = 60  # characters
MAX_CANDIDATES = 3  # addresses tried for one camera; each costs a time limit when it hangs
ROTATIONS = (0, 90, 180, 270)

# The web interfaces' nginx passes /webcam/ on to port 8080, /webcam2/ to 8081 and so on; it may
# itself be elsewhere than on port 80, so that the camera's own port is worth a try.
_PROXIED = re.compile(r"^/webcam([2-4]?)/(.*)$")
_FIRST_CAMERA_PORT = 8080

# A host without "http://" in front of it: a number, a name with a dot, or one with a port.
_HOST = re.compile(
    r"^(?:[^/?@]*@)?(?:localhost|[\w-]+(?:\.[\w-]+)+|[\w.-]+(?=:\d)|\[[0-9a-fA-F:]+\])(?::\d+)?(?:[/?]|$)"
)

# Last part of the path of a stream, and of the same server's snapshot.
_SIBLINGS: Mapping[str, Tuple[str, ...]] = {
    "stream": ("snapshot",),  # ustreamer, camera-streamer
    "stream.mjpg": ("snapshot.jpg", "snapshot"),
    "stream.mjpeg": ("frame.jpeg",),  # go2rtc
    "webrtc": ("snapshot",),  # camera-streamer
    "video": ("shot.jpg",),  # IP Webcam for Android
    "mjpegfeed": ("cam/1/frame.jpg",),  # DroidCam
}


@dataclass(frozen=True)
class Source:
    """One camera as configured. `candidates` are addresses of single pictures, the likeliest first;
    empty: none known.
    """

    name: str
    candidates: Tuple[str, ...]
    flip_horizontal: bool = False
    flip_vertical: bool = False
    rotation: int = 0  # degrees clockwise: 0, 90, 180 or 270
    problem: str = ""  # why there are no candidates, for people


def find_sources(
    urls: Sequence[str],
    webcams: Iterable[Mapping[str, Any]],
    primary: str = "",
    order: Sequence[str] = (),
) -> Tuple[Source, ...]:
    """The cameras in force: those of `urls` if there are any, else the enabled webcam entries,
    sorted by name (Moonraker lists them by random ids). `primary` comes first, then those that
    `order` names. Names are unique.

    Each webcam is a mapping as Moonraker's `/server/webcams/list` gives it. An address of `urls`
    that a webcam entry also has takes over that entry's name, flips and rotation.
    """
    entries = list(webcams)
    if urls:
        found = [_from_url(url, number, entries) for number, url in enumerate(urls, 1)]
    else:
        found = [
            _from_webcam(entry, number)
            for number, entry in enumerate(sorted(entries, key=_sorted_by), 1)
            if entry.get("enabled", True)
        ]
    wished = [name for name in (primary, *order) if name]
    places = {name: place for place, name in reversed(list(enumerate(wished)))}
    named = _named_apart(found)
    return tuple(sorted(named, key=lambda s: places.get(s.name, len(wished))))[:MAX_CAMERAS]


def _sorted_by(entry: Mapping[str, Any]) -> Tuple[str, str]:
    name = _text(entry, "name")
    return name.casefold(), name


def _from_url(url: str, number: int, entries: List[Mapping[str, Any]]) -> Source:
    candidates, problem = snapshot_candidates(url, "")
    for entry in entries:
        known, _ = snapshot_candidates(_text(entry, "snapshot_url"), _text(entry, "stream_url"))
        if candidates and candidates[0] in known:
            return _oriented(_clean_name(entry.get("name"), number), candidates, entry)
    return Source(f"camera {number}", candidates, problem=problem)


def _from_webcam(entry: Mapping[str, Any], number: int) -> Source:
    candidates, problem = snapshot_candidates(
        _text(entry, "snapshot_url"), _text(entry, "stream_url")
    )
    return _oriented(_clean_name(entry.get("name"), number), candidates, entry, problem)


def _oriented(
    name: str, candidates: Tuple[str, ...], entry: Mapping[str, Any], problem: str = ""
) -> Source:
    rotation = entry.get("rotation")
    return Source(
        name,
        candidates,
        flip_horizontal=entry.get("flip_horizontal") is True,
        flip_vertical=entry.get("flip_vertical") is True,
        rotation=rotation if rotation in ROTATIONS else 0,
        problem=problem,
    )


def snapshot_candidates(snapshot_url: str, stream_url: str) -> Tuple[Tuple[str, ...], str]:
    """Addresses of a single picture, and, if there are none, one sentence on why.

    >>> snapshot_candidates("http://pi:8080/?action=stream", "")[0]
    ('http://pi:8080/?action=snapshot',)
    >>> snapshot_candidates("", "/webcam/stream")[0]
    ('http://127.0.0.1/webcam/snapshot', 'http://127.0.0.1:8080/snapshot')
    """
    found: List[str] = []
    problem: Optional[BadAddress] = None
    snapshot_url, stream_url = snapshot_url.strip(), stream_url.strip()
    for given in filter(None, (snapshot_url, stream_url)):
        try:
            url = absolute(given)
        except BadAddress as error:
            problem = problem or error
            continue
        siblings = snapshot_siblings(url)
        if not siblings and given != snapshot_url:
            continue  # a stream whose kind we do not know: never asked for
        found.extend(siblings or (url,))
        if given.startswith("/"):
            found.extend(filter(None, (direct_address(address) for address in list(found))))
    if not found and problem is not None:
        return (), str(problem)
    if not found and stream_url:
        return (), say(
            "it has no snapshot URL, and none follows from its stream URL; enter its snapshot URL."
        )
    if not found:
        return (), say(
            "it has no snapshot URL; enter one, such as http://127.0.0.1:8080/?action=snapshot."
        )
    return tuple(dict.fromkeys(found))[:MAX_CANDIDATES], ""


class BadAddress(Told):
    """It cannot be used as a camera's: the end of a sentence."""


def absolute(url: str) -> str:
    """`url` made absolute and fit for a request line; raises `BadAddress`.

    >>> absolute("192.168.1.20/snap.jpg"), absolute("webcam/?action=snapshot")
    ('http://192.168.1.20/snap.jpg', 'http://127.0.0.1/webcam/?action=snapshot')
    """
    if len(url) > MAX_URL or any(ord(c) < 32 or ord(c) == 127 for c in url):
        raise BadAddress("its address is too long or holds control characters.")
    if not re.match(r"^[A-Za-z][A-Za-z0-9+.-]*://", url):
        url = f"http://{url}" if _HOST.match(url) else f"{LOCAL_HOST}/{url.lstrip('/')}"
    try:
        parts = urllib.parse.urlsplit(url)
        parts.port  # noqa: B018 - raises ValueError when it is no number
    except ValueError:
        raise BadAddress(
            "its address cannot be read; it should look like http://127.0.0.1:8080/?action=snapshot."
        ) from None
    scheme = parts.scheme.lower()
    if scheme not in ("http", "https"):
        raise BadAddress(
            "{scheme}:// gives no single pictures; enter the http:// address of its snapshot.",
            scheme=scheme,
        )
    if not parts.hostname:
        raise BadAddress(
            "its address names no host; it should look like http://127.0.0.1:8080/?action=snapshot."
        )
    path = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = urllib.parse.quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return urllib.parse.urlunsplit((scheme, parts.netloc, path, query, ""))


def snapshot_siblings(url: str) -> Tuple[str, ...]:
    """Snapshot addresses of the server that streams at `url`; empty if `url` does not look like a
    stream.

    >>> snapshot_siblings("http://pi/webcam/?action=stream")
    ('http://pi/webcam/?action=snapshot',)
    >>> snapshot_siblings("http://pi:1984/api/stream.mjpeg?src=cam")
    ('http://pi:1984/api/frame.jpeg?src=cam',)
    >>> snapshot_siblings("http://pi:8080/?action=snapshot")
    ()
    """
    parts = urllib.parse.urlsplit(url)
    fields = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
    if any(key == "action" and value.startswith("stream") for key, value in fields):
        query = re.sub(r"(^|&)action=stream[^&]*", r"\1action=snapshot", parts.query)
        return (urllib.parse.urlunsplit(parts._replace(query=query)),)
    folder, _, last = parts.path.rstrip("/").rpartition("/")
    return tuple(
        urllib.parse.urlunsplit(parts._replace(path=f"{folder}/{name}"))
        for name in _SIBLINGS.get(last.lower(), ())
    )


def guesses(url: str) -> Tuple[str, ...]:
    """Where to look for a single picture when `url` turned out to stream although it does not look
    so.
    """
    siblings = snapshot_siblings(url)
    if siblings:
        return siblings
    parts = urllib.parse.urlsplit(url)
    folder = parts.path.rpartition("/")[0]
    return (
        urllib.parse.urlunsplit(parts._replace(path=parts.path or "/", query="action=snapshot")),
        urllib.parse.urlunsplit(parts._replace(path=f"{folder}/snapshot", query="")),
    )


def direct_address(url: str) -> Optional[str]:
    """The camera's own port behind the web interface's proxy path, or None.

    >>> direct_address("http://127.0.0.1/webcam2/?action=snapshot")
    'http://127.0.0.1:8081/?action=snapshot'
    """
    parts = urllib.parse.urlsplit(url)
    match = _PROXIED.match(parts.path)
    if match is None or parts.port is not None:
        return None
    port = _FIRST_CAMERA_PORT + (int(match.group(1)) - 1 if match.group(1) else 0)
    return urllib.parse.urlunsplit(
        parts._replace(netloc=f"127.0.0.1:{port}", path=f"/{match.group(2)}")
    )


def shown(url: str) -> str:
    """An address fit for people and logs: no password, and of the query only `action`, since others
    may hold one.

    >>> shown("http://me:secret@cam/pic.jpg?user=me&pwd=secret")
    'http://cam/pic.jpg'
    """
    try:
        parts = urllib.parse.urlsplit(url)
        fields = [(k, v) for k, v in urllib.parse.parse_qsl(parts.query) if k == "action"]
    except ValueError:
        return say("an unreadable address")
    netloc = parts.netloc.rpartition("@")[2]
    clean = urllib.parse.urlunsplit(
        (parts.scheme, netloc, parts.path, urllib.parse.urlencode(fields), "")
    )
    return printable(clean, 200)


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""


def _clean_name(name: Any, number: int) -> str:
    text = name if isinstance(name, str) else ""
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return clean.encode("utf-8", "replace").decode("utf-8")[:MAX_NAME] or f"camera {number}"


def _named_apart(sources: Sequence[Source]) -> Tuple[Source, ...]:
    """The same cameras, a repeated name told apart by a number: pictures and notices are kept by
    name.
    """
    taken: Dict[str, int] = {}
    result = []
    for source in sources:
        times = taken[source.name] = taken.get(source.name, 0) + 1
        name = source.name if times == 1 else f"{source.name} ({times})"
        result.append(replace(source, name=name))
    return tuple(result)
