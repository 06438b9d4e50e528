"""Where files lie until they are whole: a folder of ours, unseen by Moonraker, on the file system
of the gcodes root.

Moonraker moves a file into its root on the event loop; only a rename is quick enough there. So
where the root is on another disk (a USB stick, say), the folder is beside the root instead, or
hidden in it as the last resort.
"""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional, Set

from ..runtime.notices import Notices
from ..runtime.worker import Worker
from .gcode_root import GcodeStore, same_file_system
from .names import EXTENSION
from .staging_file import remove

FOLDER = "staging"
HIDDEN_FOLDER = ".tecmedhub-staging"
SUFFIX = ".part"


class StagingFolder:
    """`data_folder` is `<data_path>/tecmedhub`."""

    def __init__(
        self, data_folder: Path, store: GcodeStore, worker: Worker, notices: Notices
    ) -> None:
        self._usual = data_folder / FOLDER
        self._store = store
        self._worker = worker
        self._notices = notices

    async def file_for(self, folder: str, name: str) -> Path:
        """The staging file of a file that will be called `name` in the sub-folder `folder`; its
        folder exists.
        """
        place = await self._worker.run(_choose, self._candidates(), self._store.root / folder)
        if place != self._usual:
            self._notices.log_once(
                f"staging {place}",
                f"G-code files are on another disk: downloads are staged in {place}.",
                level=20,
            )
        return place / f"{name}{SUFFIX}"

    async def left_of(self, name: str) -> Optional[Path]:
        """What an earlier run left of the file that the hub calls `name`."""
        return await self._worker.run(_left_of, self._candidates(), name)

    async def empty(self, keep: Set[Path]) -> None:
        """Remove whatever is here but `keep`."""
        removed = await self._worker.run(_empty, self._candidates(), keep)
        if removed:
            self._notices.logger.info("Removed %d unfinished downloads of the last run.", removed)

    def _candidates(self) -> List[Path]:
        root = self._store.root
        return [self._usual, root.parent / HIDDEN_FOLDER, root / HIDDEN_FOLDER]


def _choose(candidates: List[Path], destination: Path) -> Path:
    for place in candidates:
        if not same_file_system(place, destination):
            continue
        try:
            place.mkdir(parents=True, exist_ok=True)
            probe = place / f"probe{SUFFIX}"
            probe.touch()
            probe.unlink()
        except OSError:
            continue
        return place
    return candidates[
        0
    ]  # a slow move is better than none; what is wrong with the folder shows when it is written to


def _left_of(candidates: List[Path], name: str) -> Optional[Path]:
    stem = name[: -len(EXTENSION)]
    if not stem or "/" in name:
        return None
    for place in candidates:
        part = place / f"{stem}{EXTENSION}{SUFFIX}"
        if part.is_file() and not part.is_symlink():
            return part
    return None


def _empty(candidates: List[Path], keep: Set[Path]) -> int:
    removed = 0
    for place in candidates:
        try:
            found = list(place.iterdir())
        except OSError:
            continue
        for part in found:
            if part.name.endswith(SUFFIX) and part not in keep:
                try:
                    remove(part)
                    removed += 1
                except OSError:
                    continue
    return removed
