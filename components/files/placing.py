"""Where a verified file goes, and how it gets there: never over a file that is not ours, or that is
in use.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional

from ..runtime.worker import Worker
from .gcode_root import GcodeStore, StoreFailed, is_taken, look_up
from .inventory import Inventory
from .names import Refused, alternatives, show
from .staging_file import Sums, remove, sync_folder


class Placing:
    def __init__(self, store: GcodeStore, inventory: Inventory, worker: Worker) -> None:
        self._store = store
        self._inventory = inventory
        self._worker = worker

    async def put(
        self, part: Path, folder: str, name: str, sums: Sums, ident: Optional[int], to_mark: bool
    ) -> str:
        """Make the staged file `part` a file of the printer; its path. The staged file is gone in
        every case.

        Raises `Refused` with a sentence.
        """
        try:
            path, same = await self._choose(folder, name, sums)
            if same:
                await self._inventory.not_needed(ident)
                return path
            await self._inventory.placing(ident, path, sums)
            reason = self._store.why_not_replace(path)
            if reason and is_taken(self._store.root, path):
                raise Refused(
                    f"{show(name)} was fetched, but cannot be stored: {reason}. Send it again "
                    "later."
                )
            try:
                await self._store.place(part, path)
            except StoreFailed as error:
                raise Refused(
                    f"{show(name)} was fetched, but Moonraker did not take it: {error}."
                ) from None
            await self._worker.run(sync_folder, (self._store.root / path).parent)
            await self._inventory.placed(ident, path, to_mark)
            return path
        finally:
            await self._worker.run(remove, part)

    async def _choose(self, folder: str, name: str, sums: Sums) -> "tuple[str, bool]":
        """A path that may be written, and whether the same bytes are there already."""
        root = self._store.root
        for candidate in alternatives(name):
            path = os.path.join(folder, candidate)
            if not await self._worker.run(is_taken, root, path):
                return path, False
            disk = await self._worker.run(look_up, root, path)
            if disk is None:
                continue
            if disk.size == sums.size:
                found = await self._inventory.sums(path, False)
                if found is not None and found.md5 == sums.md5:
                    return path, True
            if await self._may_replace(path):
                return path, False
        raise Refused(f"There are too many files called {show(name)} on the printer: delete some.")

    async def _may_replace(self, path: str) -> bool:
        """Only a file from the hub that nobody has changed since and that nothing uses."""
        if self._store.why_not_replace(path):
            return False
        row = await self._inventory.owner_of(path)
        return row is not None and await self._inventory.unchanged(row) is not None
