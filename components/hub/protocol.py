"""The two server generations, as requests to send and replies to read. Pure: no network, no clock.

Source: the hub's own protocol notes. Generation 1 is one endpoint (`api.php`), generation 2 one
file per job (`update.php`); the sibling addresses derive from `server_url`, and an option
overrides each.
"""

import re
import urllib.parse
from enum import IntEnum
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..runtime.loose import as_bool, as_dict, as_float, as_int, as_list, as_text
from ..settings.model import Settings

LONGEST_WAIT = 55.0  # seconds of a long poll; proxies commonly cut at 60
MAX_FILES_LISTED = 1000

_HEX = re.compile("[0-9a-f]+")


class Generation(IntEnum):
    ONE = 1
    TWO = 2


class Endpoints(NamedTuple):
    """Where each thing goes, for one set of settings."""

    generation: Generation
    status: str
    commands: str
    files: str
    image: str  # empty: this generation takes pictures within the status
    timelapse: str


class Features(NamedTuple):
    """What the hub announced that it can do beyond its generation."""

    command_results: bool = False
    long_poll: float = 0.0  # seconds; 0 is no
    events: bool = False
    timelapse_upload: bool = False
    null_times: bool = False  # null for a time that is not known, where 0 is "now"
    full_status: bool = False  # each status is to hold what changes seldom, too
    redeliver: float = 0.0  # seconds until a command is handed out again; 0 is never


class HubFile(NamedTuple):
    """One file that the hub holds for this printer; an empty checksum was not offered."""

    name: str
    size: Optional[int]
    md5: str = ""
    sha256: str = ""
    original_name: str = ""


def endpoints(settings: Settings) -> Endpoints:
    """The addresses for these settings.

    >>> endpoints(Settings(server_url="https://h/p/api.php")).files
    'https://h/p/api_files.php'
    >>> endpoints(Settings(server_url="https://h/printer-api/update.php")).commands
    'https://h/printer-api/commands.php'
    """
    url = settings.server_url
    path = urllib.parse.urlsplit(url).path
    if settings.protocol in ("1", "2"):
        generation = Generation(int(settings.protocol))
    else:
        generation = Generation.TWO if path.endswith("update.php") else Generation.ONE
    if generation is Generation.ONE:
        commands, files, image = (
            url,
            sibling(url, "api_files.php"),
            sibling(url, "upload_image.php"),
        )
    else:
        commands, files, image = sibling(url, "commands.php"), sibling(url, "files.php"), ""
    return Endpoints(
        generation=generation,
        status=url,
        commands=settings.commands_url or commands,
        files=settings.files_url or files,
        image=settings.image_url or image,
        timelapse=sibling(url, "upload_timelapse.php"),
    )


def sibling(url: str, name: str) -> str:
    """The address of another script in the same folder, without query."""
    parts = urllib.parse.urlsplit(url)
    folder = parts.path.rpartition("/")[0]
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, f"{folder}/{name}", "", ""))


def with_query(url: str, fields: Sequence[Tuple[str, str]]) -> str:
    """`url` with these fields behind whatever query it has; every value percent-encoded."""
    parts = urllib.parse.urlsplit(url)
    query = urllib.parse.urlencode(fields)
    joined = f"{parts.query}&{query}" if parts.query else query
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, parts.path, joined, ""))


def commands_url(where: Endpoints, token: str, wait: float) -> str:
    """`redeliver=1` says that we run an id once: only such a client may be handed one twice. It
    goes along before we know whether the hub heeds it: the first reply may already be lost.
    """
    fields = [("token", token)]
    if where.generation is Generation.ONE:
        fields.insert(0, ("action", "get_commands"))
    if wait > 0:
        fields.append(("wait", f"{wait:g}"))
    fields.append(("redeliver", "1"))
    return with_query(where.commands, fields)


def file_list_url(where: Endpoints, token: str) -> str:
    return with_query(where.files, [("action", "list_files"), ("printer_token", token)])


def file_url(where: Endpoints, token: str, name: str) -> str:
    fields = [("action", "download_file"), ("file", name), ("printer_token", token)]
    return with_query(where.files, fields)


def mark_downloaded(where: Endpoints, token: str, name: str) -> Tuple[str, Dict[str, Any]]:
    """Address and JSON body of "file taken"; generation 1 then deletes its copy."""
    body = {"file": name, "printer_token": token}
    if where.generation is Generation.ONE:
        return with_query(where.files, [("action", "mark_downloaded")]), body
    return where.files, dict(body, action="mark_downloaded")


def multipart(
    boundary: str, fields: Mapping[str, str], name: str, filename: str, kind: str
) -> Tuple[bytes, bytes]:
    """What stands before and after the bytes of the one file of a form (RFC 7578)."""
    lines: List[str] = []
    for key, value in fields.items():
        lines += [f"--{boundary}", f'Content-Disposition: form-data; name="{key}"', "", value]
    lines += [
        f"--{boundary}",
        f'Content-Disposition: form-data; name="{name}"; filename="{filename}"',
        f"Content-Type: {kind}",
        "",
        "",
    ]
    return "\r\n".join(lines).encode("utf-8"), f"\r\n--{boundary}--\r\n".encode("ascii")


def read_features(data: Mapping[str, Any]) -> Optional[Features]:
    """What this reply announces; None if it announces nothing at all."""
    if "features" not in data:
        return None
    said = as_dict(data["features"])
    wait = as_float(said.get("long_poll"), 0.0)
    return Features(
        command_results=as_bool(said.get("command_results")),
        long_poll=min(max(wait, 0.0), LONGEST_WAIT),
        events=as_bool(said.get("events")),
        timelapse_upload=as_bool(said.get("timelapse_upload")),
        null_times=as_bool(said.get("null_times")),
        full_status=as_bool(said.get("full_status")),
        redeliver=max(as_float(said.get("redeliver"), 0.0), 0.0),
    )


def merge_features(said: Sequence[Features]) -> Features:
    """What the replies of all endpoints announce together."""
    return Features(
        command_results=any(f.command_results for f in said),
        long_poll=max([f.long_poll for f in said] or [0.0]),
        events=any(f.events for f in said),
        timelapse_upload=any(f.timelapse_upload for f in said),
        null_times=any(f.null_times for f in said),
        full_status=any(f.full_status for f in said),
        redeliver=max([f.redeliver for f in said] or [0.0]),
    )


def listed_files(data: Mapping[str, Any]) -> List[Any]:
    """The entries of a list reply, each for `read_file`."""
    return as_list(data.get("files"))[:MAX_FILES_LISTED]


def read_file(item: Any) -> Optional[HubFile]:
    """A file that is there to be fetched; None of an entry that is gone or has no name."""
    entry = as_dict(item)
    name = as_text(entry.get("name"))
    if not name or not as_bool(entry.get("exists", True), True):
        return None
    size = as_int(entry.get("size_bytes"))
    if size is None:
        size = as_int(entry.get("size"))
    return HubFile(
        name=name,
        size=size if size is not None and size >= 0 else None,
        md5=_hex(entry.get("md5"), 32),
        sha256=_hex(entry.get("sha256"), 64),
        original_name=as_text(entry.get("original_name")),
    )


def _hex(value: Any, length: int) -> str:
    text = as_text(value).strip().lower()
    return text if len(text) == length and _HEX.fullmatch(text) else ""
