"""A disk that is full, read-only or slow, a wall clock that jumps, a name server that hangs.

    hazards = Hazards(folder)                         # compiles the library, once a machine
    rig = MoonrakerRig(..., environment=hazards.environment)
    hazards.disk("full", rig.state_folder)            # or "read-only"; nobody is exempt
    hazards.clock(-50 * 365 * 86400)                  # Moonraker's wall clock is 50 years behind
    hazards.hang_names()                              # look-ups of x.hang.invalid do not return
    hazards.clear()

It works by a small library preloaded into that one process; what it does is in force at once.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import mmap
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .waiting import RigError

SOURCE = Path(__file__).with_name("hazards.c")
HANGING_HOST = "hub.hang.invalid"
_ERRORS = {"full": errno.ENOSPC, "read-only": errno.EROFS}


class _Control(ctypes.Structure):
    """`struct control` of hazards.c."""

    _fields_ = [
        ("clock_offset", ctypes.c_int64),
        ("disk_error", ctypes.c_int32),
        ("dns_hangs", ctypes.c_int32),
        ("disk_delay", ctypes.c_int32),
        ("hits", ctypes.c_int32),
        ("paths", ctypes.c_char * 1000),
    ]


def library() -> Path:
    """The compiled library, made anew when its source has changed."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]
    made = Path(tempfile.gettempdir()) / f"tecmedhub-hazards-{os.getuid()}-{digest}.so"
    with open(made.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            fresh = made.with_suffix(".new")
            command = ["gcc", "-O1", "-shared", "-fPIC", "-o", str(fresh), str(SOURCE), "-ldl"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RigError(f"{SOURCE.name} does not compile:\n{done.stderr}")
            fresh.replace(made)
    return made


class Hazards:
    """The hazards of one process; `folder` holds the file by which it is told."""

    def __init__(self, folder: Path) -> None:
        self._library = library()
        self._path = folder / "hazards"
        folder.mkdir(parents=True, exist_ok=True)
        self._path.write_bytes(bytes(ctypes.sizeof(_Control)))
        with open(self._path, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self._control = _Control.from_buffer(self._memory)

    @property
    def environment(self) -> Mapping[str, str]:
        return {"LD_PRELOAD": str(self._library), "TECMEDHUB_HAZARDS": str(self._path)}

    @property
    def hits(self) -> int:
        """Calls that failed or were held up so far: proof that a hazard was met."""
        return int(self._control.hits)

    def disk(self, state: str, *below: Path, delay: float = 0.0) -> None:
        """Writing `below` these folders fails ("full", "read-only") or takes `delay` s ("slow")."""
        self._control.paths = b"\n".join(os.fsencode(path.resolve()) for path in below)
        self._control.disk_delay = int(delay * 1000)
        self._control.disk_error = _ERRORS.get(state, 0)

    def clock(self, offset: float) -> None:
        """The wall clock is that many seconds ahead of the true time."""
        self._control.clock_offset = int(offset * 1_000_000_000)

    def hang_names(self) -> None:
        self._control.dns_hangs = 1

    def clear(self) -> None:
        """All is well again."""
        self._control.disk_error = self._control.disk_delay = self._control.dns_hangs = 0
        self._control.clock_offset = 0
