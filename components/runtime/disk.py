"""What is asked of a disk here and there. Blocking: for a thread."""

from __future__ import annotations

import shutil
from pathlib import Path


def discard(path: Path) -> None:
    """Remove a file if it is there and the disk allows."""
    try:
        path.unlink()
    except OSError:
        pass


def existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    while folder != folder.parent:
        try:
            folder.stat()
            break
        except OSError:
            folder = folder.parent
    return folder


def free_space(folder: Path) -> int:
    """Bytes free for us on the disk of a folder that may not be there yet."""
    return shutil.disk_usage(str(existing(folder))).free


def same_file_system(folder: Path, other: Path) -> bool:
    """Whether a file can be renamed from one to the other; they may not be there yet."""
    return existing(folder).stat().st_dev == existing(other).stat().st_dev
