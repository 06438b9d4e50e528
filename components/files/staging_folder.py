"""Where files lie until they are whole: a folder of ours, unseen by Moonraker, on the file system
of the gcodes root.

A file gets its place by a rename, which no half of it can survive and nothing else is as quick as.
So where the root is on another disk (a USB stick, say), the folder is beside the root instead, or
hidden in it as the last resort. Several Moonrakers may share that disk: such a folder is called
after the data folder and the computer that it serves.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Callable, List, Optional, Set, Tuple

from ..runtime.disk import discard, same_file_system
from ..runtime.moves import bring_back
from ..runtime.notices import Notices
from ..runtime.worker import Worker
from .names import EXTENSION
from .staging_file import remove

FOLDER = "staging"
HIDDEN_FOLDER = ".tecmedhub-staging"
SUFFIX = ".part"


class StagingFolder:
    """`data_folder` is `<data_path>/tecmedhub`, `root()` the gcodes root, `host` this computer's
    name.
    """

    def __init__(
        self,
        data_folder: Path,
        root: Callable[[], Path],
        worker: Worker,
        notices: Notices,
        host: str = os.uname().nodename,
    ) -> None:
        self._usual = data_folder / FOLDER
        self._root = root
        mark = hashlib.sha256(f"{host}:{os.path.realpath(str(data_folder))}".encode("utf-8"))
        self._hidden = f"{HIDDEN_FOLDER}-{mark.hexdigest()[:10]}"
        self._worker = worker
        self._notices = notices

    async def file_for(self, folder: str, name: str) -> Path:
        """The staging file of a file that will be called `name` in the sub-folder `folder`; its
        folder exists.
        """
        return await self.folder_for(folder) / f"{name}{SUFFIX}"

    async def folder_for(self, folder: str) -> Path:
        """A folder of ours on the file system of the sub-folder `folder`; it exists."""
        place = await self._worker.run(_choose, self._candidates(), self._root() / folder)
        if place != self._usual:
            self._notices.log_once(
                f"staging {place}",
                "G-code files are on another disk: downloads are staged in {folder}.",
                folder=place,
                level=20,
            )
        return place

    async def discard(self, part: Path) -> None:
        """Remove a staging file; what the disk does not let go is removed at the next start."""
        await self._worker.run(discard, part)

    async def left_of(self, name: str) -> Optional[Path]:
        """What an earlier run left of the file that the hub calls `name`."""
        return await self._worker.run(_left_of, self._candidates(), name)

    async def empty(self, keep: Set[Path]) -> None:
        """Remove whatever is here but `keep`; what a crash left moved aside gets its name back."""
        removed, returned = await self._worker.run(_empty, self._candidates(), keep, self._root())
        if removed:
            self._notices.note(
                "Removed {count} unfinished downloads of the last run.", count=removed
            )
        for name in returned:
            self._notices.console(
                "{file} was moved aside when the last run ended: it is back.", file=name
            )

    def _candidates(self) -> List[Path]:
        root = self._root()
        return [self._usual, root.parent / self._hidden, root / self._hidden]


def _choose(candidates: List[Path], destination: Path) -> Path:
    for place in candidates:
        try:
            if not same_file_system(place, destination):
                continue
            place.mkdir(parents=True, exist_ok=True)
            probe = place / f"probe{SUFFIX}"
            probe.touch()
            probe.unlink()
        except OSError:
            continue
        return place
    # A slow move is better than none; what is wrong with the folder shows when it is written to.
    return candidates[0]


def _left_of(candidates: List[Path], name: str) -> Optional[Path]:
    stem = name[: -len(EXTENSION)]
    if not stem or "/" in name:
        return None
    for place in candidates:
        part = place / f"{stem}{EXTENSION}{SUFFIX}"
        if part.is_file() and not part.is_symlink():
            return part
    return None


def _empty(candidates: List[Path], keep: Set[Path], root: Path) -> "Tuple[int, List[str]]":
    removed = 0
    returned: List[str] = []
    for place in candidates:
        try:
            found = list(place.iterdir())
        except OSError:
            continue
        returned += bring_back(place, root)
        for part in found:
            try:
                if part.name.endswith(SUFFIX) and part not in keep:
                    remove(part)
                    removed += 1
            except OSError:
                continue
    return removed, returned
