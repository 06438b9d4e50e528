"""Moves on disk that cannot destroy what another program writes into the same folders. Blocking:
for a thread.

Between a look at a name and a plain rename onto it anybody may have put a file there, which the
rename would destroy. So a new file takes its name only if nobody has it at that very moment
(`renameat2` with RENAME_NOREPLACE, Linux 3.15; where a file system does not know it, a hard link),
and a file goes only by being moved aside first and looked at there: what turns out to be another
one goes back.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
from pathlib import Path, PurePosixPath
from typing import Any, Callable, Iterable, List, Optional

from .identity import Identity, identity_of

_AT_FDCWD = -100  # <fcntl.h>
_RENAME_NOREPLACE = 1  # <linux/fs.h>
_UNKNOWN = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)  # to this kernel or file system
SUFFIX = ".aside"
LONGEST = 255  # bytes of a file name on the file systems of Linux


class CannotPlace(OSError):
    """The file system can give a name to a file only by taking it from another."""


def place(source: Path, target: Path) -> None:
    """Give `source` the name `target`, on the same file system; FileExistsError if anything at all
    has it.
    """
    try:
        _rename_no_replace(os.fsencode(source), os.fsencode(target))
        return
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
    try:
        os.link(str(source), str(target), follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError as error:
        raise CannotPlace(error.errno, error.strerror) from None
    os.unlink(str(source))


def take_away(path: Path, expected: Identity, aside: Path, keep: Callable[[], bool]) -> bool:
    """Remove `path` if it is `expected` at the moment of removal; whether it was.

    `aside` is a folder of ours on the same file system. `keep()` is asked once the file has left
    its name: true puts it back. OSError where the disk says so; the file is back then.
    """
    away = move_aside(path, aside)
    return away is not None and remove_aside(away, path, expected, keep)


def move_aside(path: Path, aside: Path, home: Optional[Path] = None) -> Optional[Path]:
    """Take its name from a file: nobody can open it by that any more. Where it is now; None if
    there is none. `home` is what `bring_back` would be told; without, the folder of the file.
    """
    away = aside / _name_aside(str(path.relative_to(home or path.parent)))
    if len(os.fsencode(away.name)) > LONGEST:
        away = aside / _name_aside(path.name)
    try:
        os.rename(str(path), str(away))
    except FileNotFoundError:
        return None
    return away


def remove_aside(away: Path, path: Path, expected: Identity, keep: Callable[[], bool]) -> bool:
    """The other half of `take_away`."""
    try:
        if identity_of(away) == expected and not keep() and identity_of(away) == expected:
            os.unlink(str(away))
            return True
    except BaseException:
        put_back(away, (path,))
        raise
    put_back(away, (path,))
    return False


def put_back(away: Path, names: Iterable[Path]) -> Path:
    """Give what was moved aside its name again, or the first of `names` that is free, or one beside
    the first; where it is now.
    """
    tried = list(names)
    first = tried[0]
    first.parent.mkdir(parents=True, exist_ok=True)  # somebody may have removed it meanwhile
    for number in range(2, 1000):
        tried.append(first.with_name(f"{first.stem} ({number}){first.suffix}"))
    for name in tried:
        try:
            place(away, name)
            return name
        except FileExistsError:
            continue
    return away  # a thousand files of that name: it stays where it is, unharmed


def bring_back(aside: Path, home: Path) -> List[str]:
    """Give everything that a crash left moved aside its place below `home` again; the places."""
    places = []
    for away in sorted(aside.glob(f".*{SUFFIX}")):
        name = away.name[: -len(SUFFIX)].partition("-")[2]
        place = PurePosixPath(name.replace("%2F", "/").replace("%25", "%"))
        if not place.parts or place.is_absolute() or ".." in place.parts:
            continue  # none of ours: whoever may write here is not led out of here
        try:
            back = put_back(away, (home / place,))
        except OSError:
            continue
        if back != away:
            places.append(str(back.relative_to(home)))
    return places


def _name_aside(place: str) -> str:
    """A crash leaves it nothing but this name to be brought back by."""
    name = place.replace("%", "%25").replace("/", "%2F")
    return f".{secrets.token_hex(4)}-{name}{SUFFIX}"


def _find_renameat2() -> Optional[Any]:
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2  # glibc 2.28 and newer, musl
    except (OSError, AttributeError):
        return None
    call.argtypes = (
        ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint,
    )  # fmt: skip
    call.restype = ctypes.c_int
    return call


def _rename_no_replace(source: bytes, target: bytes) -> None:
    call = _find_renameat2()
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(_AT_FDCWD, source, _AT_FDCWD, target, _RENAME_NOREPLACE) != 0:
        code = ctypes.get_errno()
        # the constructor chooses FileExistsError and the like by the number
        raise OSError(code, os.strerror(code), os.fsdecode(target))
