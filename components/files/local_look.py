"""A look at a G-code file that is on the printer already, before it is printed: will Klipper read
all of it?
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, Optional

from ..runtime.messages import say
from ..runtime.worker import Worker
from .gcode_look import Look, Mends, NotGcode
from .staging_file import BLOCK

TURN = 8  # blocks read in one go: others wait for the same thread


async def why_unfit(path: Path, worker: Worker) -> str:
    """Why Klipper would not run all of the file, as the end of a sentence ("… is <text>"); "" if it
    will. A file that cannot be read is Klipper's to tell about.
    """
    look = Look()
    try:
        file = await worker.run(open, path, "rb")
    except OSError:
        return ""
    try:
        while True:
            mends = await worker.run(_read_on, file, look)
            if mends is not None:
                return _told(mends)
    except NotGcode as error:
        return str(error)
    except OSError:
        return ""
    finally:
        await worker.run(file.close)


def _read_on(file: IO[bytes], look: Look) -> Optional[Mends]:
    """None while there is more."""
    for _ in range(TURN):
        block = file.read(BLOCK)
        if not block:
            return look.finish()
        look.feed(block)
    return None


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
