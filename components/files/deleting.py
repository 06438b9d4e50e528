"""A file goes because the hub says so: only one that came from there, that is still what was sent,
and that nothing uses.
"""

from __future__ import annotations

import os
from typing import Callable, List, Optional, Tuple

from ..runtime.messages import say
from ..store.downloads import DownloadRow
from .gcode_root import GcodeStore, OnDisk, StoreFailed
from .inventory import Inventory
from .names import Refused, composed, show
from .placing import Placing


class Deleting:
    """A job that is over does not keep its file: unlike the clean-up, somebody asked for this."""

    def __init__(self, *, store: GcodeStore, inventory: Inventory, placing: Placing) -> None:
        self._store = store
        self._inventory = inventory
        self._placing = placing

    async def why_not(self, name: str) -> str:
        """Why the file that the hub calls `name` is not deleted, as a sentence; "" if it may be."""
        try:
            await self._find(name)
        except Refused as reason:
            return str(reason)
        return ""

    async def delete(self, name: str, check: Callable[[], None]) -> str:
        """Delete it; what was deleted, for people. Raises `Refused`, and what `check()` raises at
        the last moment: Klippy may take its time to tell what it has open.
        """
        row, disk = await self._find(name)
        try:
            gone = await self._placing.remove(disk, self._store.why_not_replace, check)
        except StoreFailed as error:
            raise Refused(
                "{file} could not be deleted: {error}", file=show(disk.path), error=str(error)
            ) from None
        if not gone:
            await self._find(name)  # says why, if that lasts
            raise Refused(
                "{file} was just put to use or changed: it was not deleted.", file=show(disk.path)
            )
        await self._inventory.gone(row, say("deleted by the hub"))
        return say("deleted {file} ({size} bytes)", file=show(disk.path), size=disk.size)

    async def _find(self, name: str) -> Tuple[DownloadRow, OnDisk]:
        """The record and the very file; raises `Refused`."""
        row = _only(name, await self._inventory.owned())
        if row is None:
            raise Refused(
                "There is no {file} among the files that came from the hub, and only those are"
                " deleted from there.",
                file=show(name),
            )
        used = self._store.why_not_replace(row.path)
        if used:
            raise Refused(
                "{file} is not deleted: {reason}. Send it again when that is over.",
                file=show(row.path),
                reason=used,
            )
        disk = await self._inventory.unchanged(row)
        if disk is None:
            raise Refused(
                "{file} is no longer what came from the hub: it was changed, moved or deleted"
                " on the printer.",
                file=show(row.path),
            )
        return row, disk


def _only(name: str, rows: List[DownloadRow]) -> Optional[DownloadRow]:
    """The file of that path, or the only one that the hub or its list calls so; None if there is
    none. Raises `Refused` where it could be one of several.
    """
    wanted = composed(name.strip())
    if not wanted:
        raise Refused("delete_file names no file: give the parameter file.")
    found = [row for row in rows if row.path == wanted]
    if not found:
        found = [
            row
            for row in rows
            if wanted in (row.hub_name, composed(row.name), os.path.basename(row.path))
        ]
    if len(found) > 1:
        raise Refused(
            "Several files of the hub are called {file}: name one by its path ({paths}).",
            file=show(name),
            paths=", ".join(show(row.path) for row in found[:5]),
        )
    return found[0] if found else None
