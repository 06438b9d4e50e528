"""What the reference hub's tables hold, as the driver hands it out; its misbehaviour by name."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: What a request can be for; "other" is an unknown action or path.
ENDPOINTS = (
    "status",
    "commands",
    "health",
    "image",
    "list_files",
    "download_file",
    "mark_downloaded",
    "command_results",
    "timelapse",
    "other",
)

_WARNING = (
    '<br />\n<b>Warning</b>:  Undefined array key "filament" in '
    "<b>/var/www/html/printerhub/api.php</b> on line <b>42</b><br />\n"
)
_LOCKED = "Error de base de datos: SQLSTATE[HY000]: General error: 5 database is locked"
_HTML = "<!DOCTYPE html>\n<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>\n"

#: Misbehaviour by name → (mechanism of tests/hub/lib/faults.php, its parameters).
PRESETS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    # PHP's habits, around or in a good reply
    "warning": ("prefix", {"text": _WARNING}),
    "bom": ("prefix", {"text": "\ufeff"}),
    "strings": ("strings", {}),
    "null_commands": ("replace", {"fields": {"commands": None}}),
    "replace": ("replace", {"fields": {}}),
    # success: false, nothing done
    "wrong_token": ("reject", {"message": "Token no válido"}),
    "database_error": ("reject", {"message": _LOCKED}),
    # the work is done, the reply is damaged
    "truncated": ("truncate", {"keep": 0.5}),
    "short": ("short", {"missing": 100}),
    "huge": ("pad", {"bytes": 2 << 20}),
    "endless": ("endless", {}),
    # time
    "delay": ("delay", {"seconds": 1.0}),
    "hang": ("delay", {"seconds": 600.0}),
    # another answer, nothing done (after=True: the work is done first)
    "html_500": ("answer", {"code": 500, "body": _HTML.format("500 Internal Server Error")}),
    "empty_500": ("answer", {"code": 500}),
    "html_200": ("answer", {"code": 200, "body": _HTML.format("Mantenimiento")}),
    "empty_200": ("answer", {"code": 200}),
    "not_found": ("answer", {"code": 404, "body": _HTML.format("404 Not Found")}),
    "busy_429": ("answer", {"code": 429, "headers": {"Retry-After": "2"}}),
    "busy_503": ("answer", {"code": 503, "headers": {"Retry-After": "2"}}),
    "answer": ("answer", {"code": 200}),
    # what download_file does to the bytes: cut_at, flip_at, stall_at, rate, no_length, length, …
    "download": ("download", {}),
}


@dataclass(frozen=True)
class Request:
    """One request as the hub received it."""

    id: int
    time: float  # unix seconds
    generation: int  # 1, 2; 0 for a path that no endpoint has
    endpoint: str  # one of ENDPOINTS
    path: str
    method: str
    action: str
    token: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    size: int  # bytes of the body
    text: str  # the body (multipart: its form fields as JSON)
    finished: float | None  # None while it is being answered (a long poll, say)
    code: int | None
    success: bool | None  # of the JSON reply; None where there was none
    reply: str  # at most its first 8 KiB

    @property
    def body(self) -> Any:
        """The JSON body, or None where there is none."""
        try:
            return json.loads(self.text)
        except ValueError:
            return None

    @classmethod
    def read(cls, row: sqlite3.Row) -> Request:
        return cls(
            id=row["id"],
            time=row["time"],
            generation=row["generation"],
            endpoint=row["endpoint"],
            path=row["path"],
            method=row["method"],
            action=row["action"],
            token=row["token"],
            query=json.loads(row["query"]),
            headers=json.loads(row["headers"]),
            size=row["size"],
            text=row["body"] or "",
            finished=row["finished"],
            code=row["code"],
            success=None if row["success"] is None else bool(row["success"]),
            reply=row["reply"] or "",
        )


@dataclass(frozen=True)
class Status:
    """One accepted status update."""

    id: int
    time: float
    generation: int
    status: str
    body: dict[str, Any]

    @classmethod
    def read(cls, row: sqlite3.Row) -> Status:
        body = json.loads(row["body"])
        return cls(row["id"], row["time"], row["generation"], row["status"], body)


@dataclass(frozen=True)
class Delivery:
    """One command handed out, as it went over the wire."""

    time: float
    generation: int
    via: str  # "commands" or "status" (in the reply to an update)
    command: Any

    @classmethod
    def read(cls, row: sqlite3.Row) -> Delivery:
        return cls(row["time"], row["generation"], row["via"], json.loads(row["body"]))


@dataclass(frozen=True)
class Result:
    """One arrival of a command result."""

    time: float
    via: str  # "status" (in a status body) or "post"
    body: dict[str, Any]

    @property
    def id(self) -> Any:
        return self.body.get("id")

    @property
    def status(self) -> str:
        return str(self.body.get("status"))

    @property
    def message(self) -> str:
        return str(self.body.get("message"))

    @classmethod
    def read(cls, row: sqlite3.Row) -> Result:
        body = json.loads(row["body"])
        return cls(row["time"], row["via"], body if isinstance(body, dict) else {"malformed": body})


@dataclass(frozen=True)
class Event:
    """One event of the plugin's journal; `deliveries` counts how often the same one came."""

    time: float
    deliveries: int
    body: dict[str, Any]

    @classmethod
    def read(cls, row: sqlite3.Row) -> Event:
        return cls(row["time"], row["deliveries"], json.loads(row["body"]))


@dataclass(frozen=True)
class Image:
    """One picture: generation 1's upload, or generation 2's data URI each time it changed."""

    time: float
    generation: int
    name: str  # the upload's file name
    sha256: str
    data: bytes

    @classmethod
    def read(cls, row: sqlite3.Row) -> Image:
        data = bytes(row["data"])
        return cls(row["time"], row["generation"], row["name"], row["sha256"], data)


@dataclass(frozen=True)
class Video:
    """One uploaded timelapse."""

    time: float
    name: str
    size: int
    sha256: str
    fields: Mapping[str, Any]  # the form's other fields
    path: Path

    @classmethod
    def read(cls, row: sqlite3.Row, folder: Path) -> Video:
        return cls(
            row["time"],
            row["name"],
            row["size"],
            row["sha256"],
            json.loads(row["fields"]),
            folder / str(row["id"]),
        )
