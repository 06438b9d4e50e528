"""The file a download is written to, from the thread that writes: hashed and looked at on the way.

Every method blocks and belongs into a `Worker`. Nothing of this file is seen by Moonraker or
Klipper until it is whole.
"""

import hashlib
import os
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ..runtime.disk import free_space
from ..runtime.identity import Identity, identity
from .gcode_look import BOM, Look, Mends

BLOCK = 512 * 1024  # bytes a write; 64 KiB to 1 MiB suit both the disk and the memory of a Pi
RESERVE = 200 * 1024 * 1024  # bytes that stay free: a full disk stops Moonraker and Klipper's log
SPACE_CHECKED_EVERY = 16 * 1024 * 1024  # bytes written between two looks at the free space


class DiskFull(Exception):
    """Less than `RESERVE` would stay free."""


class Sums(NamedTuple):
    """What a whole file is."""

    size: int  # bytes
    md5: str
    sha256: str  # "" where nobody asked for it


class Sealed(NamedTuple):
    """A verified file as it lies in the staging folder, ready to be placed."""

    sent: Sums  # of the hub's bytes
    stored: Sums  # of what lies here: the same, but for what was put right
    identity: Identity
    mends: Mends


class Disk:
    """The disk as files are written to it; a test's may be full, slow or broken."""

    def free(self, folder: Path) -> int:
        """Bytes."""
        return free_space(folder)

    def open(self, path: Path, mode: str) -> BinaryIO:
        return open(path, mode, buffering=0)  # type: ignore[return-value]  # "wb" and "r+b" only


DISK = Disk()


class StagingFile:
    def __init__(self, path: Path, want_sha256: bool, disk: Disk = DISK) -> None:
        self.path = path
        self.size = 0
        self._want_sha256 = want_sha256
        self._disk = disk
        self._file: Any = None
        self._unchecked = 0
        self._mends = Mends()
        self._reset()

    def begin(self, keep: bool) -> int:
        """Open the file, with what an earlier attempt left if `keep`; how much that is."""
        self.close()
        self._reset()
        if keep and self.path.is_file() and not self.path.is_symlink():
            self._file = self._disk.open(self.path, "r+b")
            while True:
                block = self._file.read(BLOCK)
                if not block:
                    break
                self._take(block)
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            remove(self.path)
            self._file = self._disk.open(self.path, "wb")
        return self.size

    def write(self, block: bytes) -> None:
        self._unchecked += len(block)
        if self._unchecked >= SPACE_CHECKED_EVERY:
            self._unchecked = 0
            if self._disk.free(self.path.parent) < RESERVE:
                raise DiskFull()
        view = memoryview(block)
        while view:
            view = view[self._file.write(view) :]
        self._take(block)

    def finish(self) -> Sums:
        """Everything has been written: what it is. Raises `NotGcode` if that is not what it is."""
        self._mends = self._look.finish()
        return Sums(
            self.size, self._md5.hexdigest(), self._sha256.hexdigest() if self._want_sha256 else ""
        )

    def seal(self) -> Sealed:
        """The sums are right: put right what Klipper would not run, and put it safely on disk."""
        sent = stored = self.finish()
        if self._mends.newline:
            self._append(b"\n")
            stored = Sums(self.size + 1, self._md5.hexdigest(), sent.sha256)
        if self._mends.bom:
            self._file.seek(0)
            self._file.write(b" " * len(BOM))  # as many blanks, which Klipper strips
            stored = sums_of(self.path, False)
        self._file.flush()
        os.fsync(self._file.fileno())
        found = identity(os.fstat(self._file.fileno()))
        self.close()
        return Sealed(sent, stored, found, self._mends)

    def _append(self, data: bytes) -> None:
        self._file.seek(0, os.SEEK_END)
        self._file.write(data)
        self._md5.update(data)

    def close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def _take(self, block: bytes) -> None:
        self._md5.update(block)
        if self._want_sha256:
            self._sha256.update(block)
        self.size += len(block)
        self._look.feed(block)

    def _reset(self) -> None:
        self.size = 0
        self._md5 = hashlib.md5()  # noqa: S324  # against accidents; the hub offers nothing better
        self._sha256 = hashlib.sha256()
        self._look = Look()


def sums_of(path: Path, want_sha256: bool) -> Sums:
    """What a file on disk is, read in blocks."""
    md5 = hashlib.md5()  # noqa: S324
    sha256 = hashlib.sha256()
    size = 0
    with open(path, "rb") as file:
        while True:
            block = file.read(BLOCK)
            if not block:
                return Sums(size, md5.hexdigest(), sha256.hexdigest() if want_sha256 else "")
            size += len(block)
            md5.update(block)
            if want_sha256:
                sha256.update(block)


def holds_what_was_sent(path: Path, size: int, md5: str) -> bool:
    """Whether the file on disk is the `size` bytes with this MD5 that the hub sent, but for what
    `StagingFile.seal` puts right. OSError where it cannot be read.
    """
    sums = hashlib.md5()  # noqa: S324
    patched: Any = None  # as it was before its byte order mark was blanked
    left = size
    with open(path, "rb") as file:
        while left:
            block = file.read(min(BLOCK, left))
            if not block:
                return False
            if left == size and block.startswith(b" " * len(BOM)):
                patched = hashlib.md5(BOM + block[len(BOM) :])  # noqa: S324
            elif patched is not None:
                patched.update(block)
            sums.update(block)
            left -= len(block)
        if file.read(2) not in (b"", b"\n"):
            return False
    return md5 in (sums.hexdigest(), patched and patched.hexdigest())


def remove(path: Path) -> None:
    try:
        path.unlink()
    except FileNotFoundError:
        pass


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut; file systems that cannot are left alone."""
    try:
        handle = os.open(str(folder), os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
