"""A disk that is full, read-only or slow, a wall clock that jumps, a name server that hangs; and
hours that pass in minutes.

    hazards = Hazards(folder)                         # compiles the library, once a machine
    rig = MoonrakerRig(..., environment=hazards.environment)
    hazards.disk("full", rig.state_folder)            # or "read-only"; nobody is exempt
    hazards.clock(-50 * 365 * 86400)                  # Moonraker's wall clock is 50 years behind
    hazards.hang_names()                              # look-ups of x.hang.invalid do not return
    hazards.hits                                      # how many met this, or the disk's fault
    hazards.clear()
    hazards.tempo(60)                                 # an hour a minute, from now on
    hazards.time()                                    # what time it is there, unix seconds

It works by a small library preloaded into that one process; what it does is in force at once. With
a tempo (set before the process starts; changed at any time) both clocks of the process run faster
and all its waits are that much shorter; what it reads, computes and writes takes as long as ever.
Several processes may share it: all that are given `environment`.
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
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from .waiting import RigError

SOURCE = Path(__file__).with_name("hazards.c")
HANGING_HOST = "hub.hang.invalid"
FOUND_HOST = "found.hang.invalid"  # 127.0.0.1 while look-ups do not hang
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
        ("tempo_version", ctypes.c_uint64),
        ("tempo", ctypes.c_double),
        ("true_base", ctypes.c_int64),
        ("our_base", ctypes.c_int64),
        ("wall_lead", ctypes.c_int64),
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
        self._lock = threading.Lock()

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

    def tempo(self, factor: float) -> None:
        """From now on `factor` seconds pass in one."""
        control = self._control
        with self._lock:
            now = time.monotonic_ns()
            if not control.tempo_version:
                control.wall_lead = time.time_ns() - now
                ours = now
            else:
                ours = self._monotonic_ns(now)
            control.tempo_version += 1  # odd: the readers wait
            control.true_base, control.our_base, control.tempo = now, ours, factor
            control.tempo_version += 1

    def _monotonic_ns(self, now: int) -> int:
        control = self._control
        return int(control.our_base + (now - control.true_base) * control.tempo)

    def monotonic(self) -> float:
        """Seconds, by the monotonic clock of the processes that have the tempo."""
        now = time.monotonic_ns()
        return (self._monotonic_ns(now) if self._control.tempo_version else now) / 1e9

    def time(self) -> float:
        """Unix seconds by their wall clock."""
        if not self._control.tempo_version:
            return time.time() + self._control.clock_offset / 1e9
        ahead = self._control.wall_lead + self._control.clock_offset
        return self.monotonic() + ahead / 1e9

    def clear(self) -> None:
        """All is well again; the tempo stays."""
        self._control.disk_error = self._control.disk_delay = self._control.dns_hangs = 0
        self._control.clock_offset = 0
