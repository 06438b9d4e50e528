"""What one asks for when something is wrong: the doctor, the end of the log, the support bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Mapping, Sequence

from ...runtime.logs import LOG_FILE
from ...runtime.loose import as_text
from .base import Args, Macro, Pages, Request, Row

if TYPE_CHECKING:
    from ...runtime.notices import Notices
    from ...runtime.worker import Worker
    from ..bundle import Bundle
    from ..doctor.doctor import Doctor


@dataclass(eq=False)
class HelpPages(Pages):
    doctor: Doctor
    bundle: Callable[[], Bundle]
    worker: Worker
    notices: Notices

    def rows(self) -> Sequence[Row]:
        return (
            Row("doctor", ["GET"], self._examine),
            Row("log", ["GET"], self._log),
            Row("support", ["GET"], self._support, "application/zip"),
        )

    def macros(self) -> Mapping[str, Macro]:
        return {"tecmedhub_doctor": self._examine_aloud}

    async def _examine(self, request: Request) -> Args:
        language = as_text(request.args.get("lang")).lower()[:2]
        return (await self.doctor.examine()).as_dict(language)

    async def _examine_aloud(self, params: Args) -> str:
        """One console line a check: `LANG=es` for Spanish, `LANG=en` for English."""
        asked = as_text(params.get("lang") or params.get("LANG")).lower()[:2]
        language = asked or self.notices.language
        self.notices.console("Examining; this takes some seconds.")
        report = await self.doctor.examine()
        for line in report.lines(language):
            self.notices.console(line)
        return ""

    async def _log(self, request: Request) -> Args:
        bundle = await self._made()
        text = await self.worker.run(bundle.end_of_log)
        return {"file": LOG_FILE, "lines": text.splitlines()[-request.limit :]}

    async def _support(self, request: Request) -> bytes:
        return await (await self._made()).make()

    async def _made(self) -> Bundle:
        """Read when somebody first asks."""
        await self.worker.run(_read)
        return self.bundle()


def _read() -> None:
    from .. import bundle  # noqa: F401, PLC0415
