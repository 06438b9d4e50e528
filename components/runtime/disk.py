"""What is asked of a disk here and there. Blocking: for a thread."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Optional


def reason_of(error: BaseException) -> str:
    """Why it failed, in the system's words ("No space left on device") where it has any."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def discard(path: Path) -> None:
    """Remove a file if it is there and the disk allows."""
    try:
        path.unlink()
    except OSError:
        pass


def write_whole(
    path: Path, data: bytes, *, durable: bool = False, mode: Optional[int] = None
) -> None:
    """Give a file this content in one step: whoever reads finds the old one or the new one, after a
    power cut too if `durable`. `mode` are its rights, else the process's own. Raises OSError, and
    leaves nothing half written.
    """
    beside = path.with_name(f".{path.name}.new")  # hidden from Moonraker's lists of files
    try:
        create = 0o666 if mode is None else mode
        handle = os.open(str(beside), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, create)
        with os.fdopen(handle, "wb") as out:
            if mode is not None:
                with contextlib.suppress(OSError):  # a file system without rights (FAT)
                    os.fchmod(handle, mode)
            out.write(data)
            if durable:
                out.flush()
                os.fsync(out.fileno())
        os.replace(str(beside), str(path))
    except BaseException:
        discard(beside)
        raise


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
