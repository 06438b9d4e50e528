"""Which file lies under a name, by more than the name. Blocking: for a thread."""

import os
import stat
from pathlib import Path
from typing import NamedTuple, Optional


class Identity(NamedTuple):
    """Which file this is, and which bytes: whoever writes into it changes its size or its time, and
    whoever puts another in its place its inode.
    """

    device: int
    inode: int
    size: int  # bytes
    mtime_ns: int


def identity_of(path: Path) -> Optional[Identity]:
    """Of a plain file; None of anything else, links included, and where there is nothing."""
    try:
        found = os.lstat(str(path))
    except (OSError, ValueError):
        return None
    return identity(found) if stat.S_ISREG(found.st_mode) else None


def identity(found: os.stat_result) -> Identity:
    return Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
