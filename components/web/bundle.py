"""What one sends to whoever helps: a ZIP of everything the plugin knows of itself, without secrets.

Moonraker's and Klipper's own logs are left out: they hold what is nobody's business but the
owner's.
"""

from __future__ import annotations

import io
import json
import platform
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Dict, List, Mapping

from ..runtime.logs import LOG_FILE, logs_folder
from ..runtime.steps import Steps, breathe
from .plain import plain

if TYPE_CHECKING:
    from .doctor.on_call import DoctorOnCall
    from .doctor.report import Report
    from .rooms import Rooms

LOG_BYTES = 512 * 1024  # of the end of the log
ROWS = 200

_README = """\
Support bundle of TecMedHub for Moonraker {version}, made on {date}.

It holds the plugin's own status, settings, log and last commands. The token is masked everywhere;
names of files, of the printer and of the hub's host are not. Look through it before you publish it.
"""

Collect = Callable[[], Awaitable[Mapping[str, Any]]]


class Bundle:
    """`parts` are what goes in as JSON, by name."""

    def __init__(self, rooms: Rooms, doctor: DoctorOnCall, parts: Mapping[str, Collect]) -> None:
        self._rooms = rooms
        self._doctor = doctor
        self._parts = parts

    async def make(self) -> bytes:
        """The ZIP; takes as long as the doctor does."""
        rooms = self._rooms
        report = await self._doctor.examine()
        contents: Dict[str, Any] = {
            "versions.json": self._versions(),
            "doctor.json": report.as_dict(),
        }
        for name, collect in self._parts.items():
            contents[f"{name}.json"] = await collect()
        parts: Dict[str, Any] = {}
        steps = Steps(rooms.clock)
        for name, content in contents.items():
            await steps.pause()
            parts[name] = plain(content, rooms.redactor.known)
        date = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(rooms.clock.time()))
        parts["README.txt"] = _README.format(version=rooms.version, date=date)
        parts["doctor.txt"] = _told(report)
        log = logs_folder(rooms.server.get_app_args()) / LOG_FILE
        return await rooms.worker.run(pack, parts, log, rooms.redactor)

    def _versions(self) -> Dict[str, Any]:
        args = self._rooms.server.get_app_args()
        return {
            "plugin": self._rooms.version,
            "moonraker": args.get("software_version"),
            "python": sys.version,
            "system": platform.platform(),
            "machine": platform.machine(),
            "package": str(Path(__file__).parent.parent),
        }


def pack(parts: Mapping[str, Any], log: Path, redact: Callable[[str], str]) -> bytes:
    """Blocking. `parts` are texts, or JSON values; all is masked once more, whoever made it."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            text = part if isinstance(part, str) else json.dumps(part, indent=2, ensure_ascii=False)
            archive.writestr(name, _masked(text, redact))
        archive.writestr(LOG_FILE, _masked(tail(log), redact))
    return target.getvalue()


def tail(path: Path) -> str:
    """The last whole lines of a file, at most `LOG_BYTES`; why not, where it cannot be read."""
    try:
        with path.open("rb") as source:
            source.seek(0, io.SEEK_END)
            size = source.tell()
            source.seek(max(size - LOG_BYTES, 0))
            data = source.read(LOG_BYTES)
    except OSError as error:
        return f"{path.name} cannot be read: {error.strerror or type(error).__name__}\n"
    if size > LOG_BYTES:
        data = data.partition(b"\n")[2]
    return data.decode("utf-8", "replace")


def _masked(text: str, redact: Callable[[str], str]) -> str:
    masked = []
    for index, line in enumerate(text.splitlines(keepends=True)):
        breathe(index, 200)
        masked.append(redact(line))
    return "".join(masked)


def _told(report: Report) -> str:
    lines: List[str] = []
    for language in ("en", "es"):
        lines += [*report.lines(language), ""]
    return "\n".join(lines)
