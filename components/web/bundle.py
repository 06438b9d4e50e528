"""What one sends to whoever helps: a ZIP of everything the plugin knows of itself, without secrets.

Moonraker's and Klipper's own logs are left out: they hold what is nobody's business but the
owner's.
"""

from __future__ import annotations

import asyncio
import io
import json
import platform
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Sequence

from ..runtime.disk import reason_of
from ..runtime.logs import LOG_FILE, logs_folder
from ..runtime.messages import in_language, say, sentence
from ..runtime.steps import breathe
from .pages.base import MAX_ROWS, Request, Row
from .plain import plain

if TYPE_CHECKING:
    from ..runtime.clock import Clock
    from ..runtime.notices import Notices
    from ..runtime.redaction import Redactor
    from ..runtime.worker import Worker
    from .doctor.doctor import Doctor
    from .doctor.report import Report

LOG_BYTES = 512 * 1024  # of the end of the log

_TITLE = sentence("Support bundle of TecMedHub for Moonraker {version}, made on {date}.")
_WHAT = sentence(
    "It holds the plugin's own status, settings, log and last commands. The token is masked "
    "everywhere; names of files, of the printer and of the hub's host are not. Look through it "
    "before you publish it."
)

ASKED = Request("GET", {"limit": MAX_ROWS}, "the support bundle")


@dataclass(eq=False)
class Bundle:
    """The answers of `rows` go in as JSON."""

    server: Any
    version: str
    doctor: Doctor
    rows: Sequence[Row]
    clock: Clock
    worker: Worker
    notices: Notices
    redactor: Redactor

    @property
    def log(self) -> Path:
        return logs_folder(self.server.get_app_args()) / LOG_FILE

    def end_of_log(self) -> str:
        """Blocking."""
        return tail(self.log, self.notices.language)

    async def make(self) -> bytes:
        """The ZIP; takes as long as the doctor does."""
        report = await self.doctor.examine()
        contents: Dict[str, Any] = {
            "versions.json": self._versions(),
            "doctor.json": report.as_dict(),
        }
        for row in self.rows:
            contents[f"{row.name}.json"] = await row.handler(ASKED)
        parts: Dict[str, Any] = {}
        for name, content in contents.items():
            await asyncio.sleep(0)  # others have their turn between them
            parts[name] = plain(content, self.redactor.known)
        date = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(self.clock.time()))
        language = self.notices.language
        title = say(_TITLE, version=self.version, date=date)
        told = (in_language(text, language) for text in (title, say(_WHAT)))
        parts["README.txt"] = "\n\n".join(told) + "\n"
        parts["doctor.txt"] = _told(report)
        return await self.worker.run(pack, parts, self.log, self.redactor, language)

    def _versions(self) -> Dict[str, Any]:
        return {
            "plugin": self.version,
            "moonraker": self.server.get_app_args().get("software_version"),
            "python": sys.version,
            "system": platform.platform(),
            "machine": platform.machine(),
            "package": str(Path(__file__).parent.parent),
        }


def pack(parts: Mapping[str, Any], log: Path, redact: Callable[[str], str], language: str) -> bytes:
    """Blocking. `parts` are texts, or JSON values; all is masked once more, whoever made it."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            text = part if isinstance(part, str) else json.dumps(part, indent=2, ensure_ascii=False)
            archive.writestr(name, _masked(text, redact))
        archive.writestr(LOG_FILE, _masked(tail(log, language), redact))
    return target.getvalue()


def tail(path: Path, language: str) -> str:
    """The last whole lines of a file, at most `LOG_BYTES`; why not, where it cannot be read."""
    try:
        with path.open("rb") as source:
            source.seek(0, io.SEEK_END)
            size = source.tell()
            source.seek(max(size - LOG_BYTES, 0))
            data = source.read(LOG_BYTES)
    except OSError as error:
        why = reason_of(error)
        return in_language(say("{file} cannot be read: {why}", file=path.name, why=why), language)
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
