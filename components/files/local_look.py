"""A look at a G-code file that is on the printer already, before it is printed: will Klipper read
all of it?
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from ..runtime.messages import say
from ..runtime.worker import Worker
from .gcode_look import Look, Mends, NotGcode
from .staging_file import BLOCK

TURN = 8  # blocks read in one go: others wait for the same thread


async def why_unfit(path: Path, worker: Worker) -> str:
    """Why Klipper would not run all of the file, as the end of a sentence ("… is <text>"); "" if it
    will. A file that cannot be read is Klipper's to tell about.
    """
    look = _Reading()
    try:
        await worker.run(look.open, path)
        while True:
            mends = await worker.run(look.step)
            if mends is not None:
                return _told(mends)
    except NotGcode as error:
        return str(error)
    except OSError:
        return ""
    finally:
        await worker.run(look.close)


def _told(mends: Mends) -> str:
    if mends.bom:
        return say(
            "a text with a byte order mark (BOM) before its first command, which Klipper "
            "would skip: save it as UTF-8 without BOM"
        )
    if mends.newline:
        return say(
            "a text whose last line has no line end, so that Klipper would not run its last "
            "command: add an empty line at its end"
        )
    return ""


class _Reading:
    """Blocking: for a thread."""

    def __init__(self) -> None:
        self._look = Look()
        self._file: Any = None

    def open(self, path: Path) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 - closed by whoever opened it

    def step(self) -> Optional[Mends]:
        """Read on; None while there is more."""
        for _ in range(TURN):
            block = self._file.read(BLOCK)
            if not block:
                return self._look.finish()
            self._look.feed(block)
        return None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
