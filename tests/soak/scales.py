"""A Moonraker component that weighs the process it runs in.

Copied beside Moonraker's own components (`install`), with a section `[scales]` of its own:

    GET /server/scales/weight       bytes resident; live Python objects, blocks of Python's memory

It weighs what is held: garbage is collected and memory that the C library keeps for later use is
given back first. Python itself holds the source files of every trace that was ever written to a
log (`linecache`), a MiB or so from some moment on: it is kept from it, for that moment may come
between two weighings.
"""

from __future__ import annotations

import ctypes
import gc
import linecache
import os
import shutil
import sys
from pathlib import Path
from typing import Any

SECTION = "[scales]\n"


def install(moonraker_package: Path) -> None:
    """Put this file among Moonraker's components."""
    shutil.copy(__file__, moonraker_package / "components" / "scales.py")


def _no_lines(filename: str, module_globals: Any = None) -> list[str]:
    return []


class Scales:
    def __init__(self, config: Any) -> None:
        linecache.updatecache = _no_lines
        self._library = ctypes.CDLL(None)
        server = config.get_server()
        server.register_endpoint("/server/scales/weight", ["GET"], self._weight)

    async def _weight(self, web_request: Any) -> dict[str, int]:
        gc.collect()
        self._library.malloc_trim(0)
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return {
            "resident": pages * os.sysconf("SC_PAGESIZE"),
            "objects": len(gc.get_objects()),
            "blocks": sys.getallocatedblocks(),
        }


def load_component(config: Any) -> Scales:
    return Scales(config)
