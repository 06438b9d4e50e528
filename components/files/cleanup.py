"""Old G-code goes, so that a printer that nobody looks after does not fill its card.

By age, only what the hub sent (or everything, where the operator says so with `cleanup_scope:
all`); when the disk gets full, the hub's files alone, the longest unused first. Never a file that
is loaded, queued, a link, younger than some minutes, just fetched for a print, or changed by its
user since.
"""

from typing import Awaitable, Callable, Collection, Dict, List, NamedTuple, Optional, Set, Tuple

from ..runtime.clock import Clock
from ..runtime.messages import say
from ..runtime.notices import Notices
from ..runtime.worker import Worker
from ..settings.model import LiveSettings
from ..store.downloads import DownloadRow
from .calendar import Calendar
from .gcode_root import GcodeStore, OnDisk, StoreFailed, is_gone, look_up_all, walk
from .inventory import Inventory
from .placing import Placing
from .staging_file import DISK, RESERVE, Disk

DAY = 86400.0
LOW_SPACE = 500 * 2**20  # bytes free under which the hub's files make room
ENOUGH_SPACE = LOW_SPACE + 50 * 2**20  # bytes free at which the warning is taken back
YOUNGEST = 600.0  # seconds; somebody may be about to print it
SPACE_EVERY = 600.0  # seconds between looks at the free space; the first comes after as long
AGE_EVERY = 36  # looks at the free space between two looks at the age: six hours


Offered = Callable[[], Awaitable[Set[Tuple[str, str]]]]


class Removal(NamedTuple):
    """One file to delete, and why; `age` is the seconds since it was last printed or touched."""

    path: str
    reason: str
    age: float
    disk: OnDisk  # the very file that was looked at
    row: Optional[DownloadRow] = None

    @property
    def size(self) -> int:
        """Bytes."""
        return self.disk.size


class Cleanup:
    """`offered()` gives name and MD5 of what the hub can give again."""

    def __init__(
        self,
        *,
        live: LiveSettings,
        store: GcodeStore,
        inventory: Inventory,
        placing: Placing,
        worker: Worker,
        notices: Notices,
        clock: Clock,
        calendar: Calendar,
        offered: Offered,
        disk: Disk = DISK,
    ) -> None:
        self._live = live
        self._store = store
        self._inventory = inventory
        self._placing = placing
        self._worker = worker
        self._notices = notices
        self._clock = clock
        self._calendar = calendar
        self._offered = offered
        self._disk = disk
        self._looks = 0

    async def watch(self) -> None:
        """Look at the space and the ages, for ever."""
        while True:
            await self._clock.sleep(SPACE_EVERY)
            await self.make_room()
            if self._looks % AGE_EVERY == 0:
                await self.run()
            self._looks += 1

    async def plan(self) -> List[Removal]:
        """What is old enough to go now, longest unused first, whether `auto_cleanup` is on or not.

        Nothing is touched. Empty also while our clock or the history cannot be trusted.
        """
        return await self._plan(to_close=False)

    async def _plan(self, to_close: bool) -> List[Removal]:
        settings = self._live.now.file_management
        now = self._clock.time()
        if not self._calendar.is_right():
            return []
        limit = max(settings.max_age_days * DAY, YOUNGEST)
        reason = say("not printed or touched for {days:g} days", days=settings.max_age_days)
        everything = settings.cleanup_scope == "all"
        found = await (self._all() if everything else self._own(to_close))
        old = [file for file in found if now - file.last_used > limit]
        if old:
            try:
                printed = await self._store.printed_since(now - limit)
            except StoreFailed as error:
                self._notices.log_once(
                    f"history {error}", "No file is cleaned up: {error}", error=str(error)
                )
                return []
            old = [
                file
                for file in old
                if now - max(file.last_used, printed.get(file.path, 0.0)) > limit
            ]
        return await self._removable(old, now, reason, changed_too=everything)

    async def run(
        self, asked: bool = False, only: Optional[Collection[str]] = None
    ) -> List[Removal]:
        """Delete what is old, if `auto_cleanup` is on or somebody asked; what was deleted. `only`
        are the paths that somebody has seen and means.
        """
        if not asked and not self._live.now.file_management.auto_cleanup:
            return []
        plan = await self._plan(to_close=True)
        removed = await self._delete([r for r in plan if only is None or r.path in only])
        if removed:
            self._notices.console(
                "{count} old G-code files were deleted ({size} MiB).",
                count=len(removed),
                size=_mib(removed),
            )
        return removed

    async def make_room(self, size: int = 0) -> int:
        """See that `size` bytes fit and the disk is not nearly full, as far as the hub's files
        allow; bytes freed.
        """
        free = await self._free()
        wanted = max(LOW_SPACE, size + RESERVE)
        if free >= wanted:
            if free >= ENOUGH_SPACE:
                self._notices.clear("disk_low", "There is room on the disk again.")
            return 0
        removed: List[Removal] = []
        if self._live.now.file_management.auto_cleanup:
            now = self._clock.time()
            candidates = [
                file for file in await self._own(to_close=True) if now - file.last_used > YOUNGEST
            ]
            removable = await self._removable(candidates, now, say("the disk is nearly full"))
            removable = await self._regained(removable)
            goals = (wanted, size + RESERVE) if size else (wanted,)
            plans = (enough(removable, goal - free) for goal in goals if goal > free)
            removed = await self._delete(next(filter(None, plans), []))
        self._warn(await self._free(), removed)
        return sum(removal.size for removal in removed)

    # Inside

    async def _own(self, to_close: bool) -> "List[_Used]":
        """The files that came from the hub, as they are on disk; the records of those that are gone
        for good are closed, if wished.
        """
        rows = await self._inventory.owned()
        disk = await self._worker.run(look_up_all, self._store.root, [row.path for row in rows])
        found: Dict[str, _Used] = {}
        for row in rows:
            file = disk.get(row.path)
            if file is not None:
                found[row.path] = self._used(file, row)
            elif to_close and await self._worker.run(is_gone, self._store.root, row.path):
                await self._inventory.gone(row, say("it is no longer on the printer"))
        return list(found.values())

    async def _all(self) -> "List[_Used]":
        rows = {row.path: row for row in await self._inventory.owned()}
        return [
            self._used(file, rows.get(file.path))
            for file in await self._worker.run(walk, self._store.root)
        ]

    def _used(self, file: OnDisk, row: Optional[DownloadRow]) -> "_Used":
        fetched = (row.finished or 0.0) if row is not None else 0.0
        written = max(file.mtime_ns / 1e9, fetched, self._store.printed_at(file.path))
        last = max(written, self._calendar.wrong_until)
        return _Used(file, last, row)

    async def _removable(
        self, files: "List[_Used]", now: float, reason: str, changed_too: bool = False
    ) -> List[Removal]:
        """Those that nothing speaks for, longest unused first; what the user changed only if
        `changed_too`.
        """
        removals = []
        for file in sorted(files, key=lambda f: (f.last_used, f.path)):
            if self._store.why_not_delete(file.path) or self._inventory.in_hand(file.path):
                continue
            if not changed_too and (
                file.row is None or await self._inventory.unchanged(file.row) is None
            ):
                continue
            removals.append(Removal(file.path, reason, now - file.last_used, file.disk, file.row))
        return removals

    async def _regained(self, removals: List[Removal]) -> List[Removal]:
        """Those that the hub can give again before those that only this printer has; within each,
        longest unused first.
        """
        offered = await self._offered()

        def lost(removal: Removal) -> bool:
            row = removal.row
            return row is None or not {(row.hub_name, row.md5), (row.hub_name, "")} & offered

        return sorted(removals, key=lost)  # stable

    async def _delete(self, plan: List[Removal]) -> List[Removal]:
        removed = []
        for removal in plan:
            if self._store.why_not_delete(removal.path) or self._inventory.in_hand(removal.path):
                continue  # things change while we work
            try:
                if not await self._placing.remove(removal.disk):
                    continue
            except StoreFailed as error:
                self._notices.log_once(
                    f"delete {removal.path} {error}",
                    "{file} could not be deleted: {error}",
                    file=removal.path,
                    error=str(error),
                )
                continue
            removed.append(removal)
            self._notices.note(
                "Deleted {path}: {reason}.", path=removal.path, reason=removal.reason
            )
            if removal.row is not None:
                await self._inventory.gone(removal.row, removal.reason)
        return removed

    async def _free(self) -> int:
        try:
            return await self._worker.run(self._disk.free, self._store.root)
        except OSError:
            return ENOUGH_SPACE  # whatever is wrong shows when something is written

    def _warn(self, free: int, removed: List[Removal]) -> None:
        if free >= LOW_SPACE and not removed:
            return
        left = free // 2**20
        if removed:
            state = say(
                "Only {free} MiB are free on the printer's disk, after {count} files of the hub "
                "were deleted ({deleted} MiB)",
                free=left,
                count=len(removed),
                deleted=_mib(removed),
            )
        elif self._live.now.file_management.auto_cleanup:
            state = say(
                "Only {free} MiB are free on the printer's disk, and the hub's files are too few "
                "to change that",
                free=left,
            )
        else:
            state = say("Only {free} MiB are free on the printer's disk", free=left)
        self._notices.show(
            "disk_low",
            "{state}: delete G-code, timelapses or logs that are no longer needed.",
            state=state,
        )


class _Used(NamedTuple):
    disk: OnDisk
    last_used: float  # unix seconds
    row: Optional[DownloadRow]

    @property
    def path(self) -> str:
        return self.disk.path


def enough(removals: List[Removal], missing: int) -> List[Removal]:
    """The first of `removals` that together free `missing` bytes; none where all of them would not:
    files that cannot be had again are not given for nothing.
    """
    plan: List[Removal] = []
    for removal in removals:
        if missing <= 0:
            break
        plan.append(removal)
        missing -= removal.size
    return plan if missing <= 0 else []


def _mib(removals: List[Removal]) -> int:
    return sum(removal.size for removal in removals) // 2**20
