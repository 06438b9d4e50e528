"""Where a verified file goes, and how it gets there and away again: never over a file that is not
ours, or that is in use.

Each deed looks again at the very file it does something to: what was true before an `await` is no
word on what is true behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Callable, Optional

from ..printer.open_file import LoadedFile
from ..runtime import moves
from ..runtime.clock import Clock
from ..runtime.disk import reason_of
from ..runtime.identity import Identity, identity_of
from ..runtime.messages import say
from ..runtime.moves import CannotPlace
from ..runtime.notices import Notices
from ..runtime.worker import Worker
from .gcode_root import GcodeStore, OnDisk, StoreFailed, is_taken, look_up
from .inventory import Inventory
from .names import Refused, alternatives, show
from .staging_file import Sealed, Sums, sync_folder
from .staging_folder import StagingFolder

# Moonraker waits 1 s for the other half of a move before it forgets a file that has left its
# folder, and would then forget the metadata of whatever has the name by that time.
FORGOTTEN_WITHIN = 1.5  # seconds


WhyNot = Callable[[str, LoadedFile], str]


class Placing:
    def __init__(
        self,
        *,
        store: GcodeStore,
        inventory: Inventory,
        staging: StagingFolder,
        worker: Worker,
        notices: Notices,
        clock: Clock,
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._staging = staging
        self._worker = worker
        self._notices = notices
        self._clock = clock

    async def put(
        self,
        part: Path,
        folder: str,
        name: str,
        sealed: Sealed,
        *,
        ident: Optional[int],
        to_mark: bool,
    ) -> str:
        """Make the staged file `part`, which is `sealed`, a file of the printer; its path. The
        staged file is gone in every case. Raises `Refused`.
        """
        verified = sealed.identity
        try:
            self._store.check_writable()
            for candidate in alternatives(name):
                path = os.path.join(folder, candidate)
                if await self._has(path, sealed.stored):
                    await self._inventory.not_needed(ident)
                    return path
                if await self._worker.run(
                    is_taken, self._store.root, path
                ) and not await self._make_way(path):
                    continue
                await self._inventory.placing(ident, path, sealed.sent)
                try:
                    await self._worker.run(_place, part, self._store.root / path, verified, name)
                except FileExistsError:
                    continue  # somebody was quicker: the name is theirs
                except CannotPlace as error:
                    raise Refused(
                        "{file} was fetched, but the disk of the gcodes folder can store it "
                        "only at the risk of replacing another file ({reason}): use a disk "
                        "formatted as ext4 or exFAT.",
                        file=show(name),
                        reason=reason_of(error),
                    ) from None
                except OSError as error:
                    raise Refused(
                        "{file} was fetched, but cannot be stored ({reason}): check the disk.",
                        file=show(name),
                        reason=reason_of(error),
                    ) from None
                await self._inventory.placed(ident, OnDisk(path, verified), to_mark)
                await self._noticed(path)
                if self._store.rewrites:
                    await self._inventory.rewritten(ident, OnDisk(path, verified))
                return path
            raise Refused(
                "There are too many files called {file} on the printer: delete some.",
                file=show(name),
            )
        except StoreFailed as error:
            raise Refused(
                "{file} was fetched, but Moonraker does not take it: {error}.",
                file=show(name),
                error=str(error),
            ) from None
        finally:
            await self._staging.discard(part)

    async def remove(
        self,
        disk: OnDisk,
        why_not: Optional[WhyNot] = None,
        check: Callable[[], None] = lambda: None,
    ) -> bool:
        """Delete a file if it still is what `disk` says and nothing speaks for it; whether it was.

        `why_not(path, loaded)` is what may speak for it, in a thread; without, what keeps the
        clean-up away. Its metadata and thumbnails go with it. Raises `StoreFailed`, and what
        `check()` raises at the last moment.
        """
        self._store.check_writable()

        def keep(loaded: LoadedFile) -> bool:
            if why_not is not None:
                return bool(why_not(disk.path, loaded))
            used = self._store.why_not_delete(disk.path, loaded)
            return bool(used) or self._inventory.in_hand(disk.path)

        try:
            return await self._take_away(disk, keep, check)
        except OSError as error:
            raise StoreFailed(reason_of(error)) from None

    async def _take_away(
        self,
        disk: OnDisk,
        keep: Callable[[LoadedFile], bool],
        check: Callable[[], None] = lambda: None,
    ) -> bool:
        """Whoever opened the file before it lost its name is found by the look; nobody can after.
        Raises `StoreFailed` where Klipper does not say what it has open.
        """
        aside = await self._staging.folder_for(os.path.dirname(disk.path))
        path = self._store.root / disk.path
        await self._store.look()  # a Klipper that does not answer: the file is not even touched
        moving = self._worker.submit(moves.move_aside, path, aside, self._store.root)
        try:
            away = await asyncio.shield(moving)
            if away is None:
                return False
            loaded = await self._store.look()
            check()
        except BaseException:
            await asyncio.shield(self._put_back(moving, path))
            raise
        removing = self._worker.submit(
            moves.remove_aside, away, path, disk.identity, lambda: keep(loaded)
        )
        gone = await asyncio.shield(removing)  # whoever is cancelled leaves nothing half-way
        if gone:
            self._store.removed(disk.path)
        return gone

    async def _put_back(self, moving: "asyncio.Future[Optional[Path]]", path: Path) -> None:
        """Undo a move aside, also one that is only being made; what the disk does not let back is
        brought back by the next start.
        """
        with contextlib.suppress(OSError, RuntimeError):  # the worker may be closed already
            away = await moving
            if away is not None:
                await self._worker.run(moves.put_back, away, (path,))

    async def _noticed(self, path: str) -> None:
        try:
            await self._store.scan(path)
        except StoreFailed as error:
            self._notices.log_once(
                f"metascan {error}",
                "Moonraker could not read the metadata of {file}: {error}",
                file=path,
                error=str(error),
            )

    async def _has(self, path: str, sums: Sums) -> bool:
        """Whether the same bytes are there already."""
        disk = await self._worker.run(look_up, self._store.root, path)
        if disk is None or disk.size != sums.size:
            return False
        found = await self._inventory.sums(path, False)
        return found is not None and found.md5 == sums.md5

    async def _make_way(self, path: str) -> bool:
        """Remove a file from the hub that nobody has changed since and that nothing uses; whether
        the name is free now.
        """
        if self._store.why_not_replace(path):
            return False
        row = await self._inventory.owner_of(path)
        disk = None if row is None else await self._inventory.unchanged(row)
        if row is None or disk is None:
            return False
        try:
            gone = await self._take_away(
                disk, lambda loaded: bool(self._store.why_not_replace(path, loaded))
            )
        except (OSError, StoreFailed):
            return False
        if gone:
            await self._inventory.gone(row, say("replaced by a newer version"))
            await self._clock.sleep(FORGOTTEN_WITHIN)
        return gone


def _place(part: Path, target: Path, verified: Identity, name: str) -> None:
    if identity_of(part) != verified:
        raise Refused(
            "{file} was changed by another program after it had been verified: send it again.",
            file=show(name),
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    moves.place(part, target)
    sync_folder(target.parent)
