"""The hub's side of a file: its entry in the list, the address of its bytes, and the word that it
has arrived.
"""

from __future__ import annotations

import random
from enum import Enum
from typing import Any, Callable, Optional, Sequence, Set, Tuple

from ..hub.backoff import Backoff
from ..hub.client import same_hub
from ..hub.identity import scope
from ..hub.outcomes import Failure
from ..hub.protocol import MAX_FILES_LISTED, HubFile
from ..runtime.clock import Clock
from ..runtime.loose import as_list
from ..settings.model import LiveSettings, Settings
from .inventory import Inventory
from .names import Refused, composed, show
from .wanted import Wanted

MARK_EVERY = 300.0  # seconds between attempts to tell the hub what it has not heard yet

_MAY_PASS = (Failure.DNS, Failure.UNREACHABLE, Failure.TIMED_OUT, Failure.BUSY)


class Listing(Enum):
    """What the hub's list says of a file."""

    OFFERED = "offered"
    GONE = "gone"  # the whole list was read, and it is not there
    AMBIGUOUS = "ambiguous"  # several files of that name, and nothing tells which is meant
    UNKNOWN = "unknown"  # the hub shows no list, or only the beginning of a long one


def look_in(
    files: Sequence[HubFile], asked: Wanted, whole: bool
) -> "Tuple[Listing, Optional[HubFile]]":
    """Find the file asked for in the hub's list, by the name it is stored under or else by the one
    it was uploaded with; `whole` unless the list was cut.
    """
    name = composed(asked.name)
    found = [entry for entry in files if composed(entry.name) == name] or [
        entry for entry in files if composed(entry.original_name) == name
    ]
    if len(found) > 1:
        found = [entry for entry in found if _fits(entry, asked)] if asked.tells_apart else found
    if len({(entry.size, entry.md5 or entry.name) for entry in found}) > 1:
        return Listing.AMBIGUOUS, None
    if found:
        return Listing.OFFERED, found[0]
    return (Listing.GONE if whole else Listing.UNKNOWN), None


def _fits(entry: HubFile, asked: Wanted) -> bool:
    pairs = ((entry.md5, asked.md5), (entry.sha256, asked.sha256))
    return (asked.size is None or entry.size in (None, asked.size)) and all(
        not (has and wants) or has == wants for has, wants in pairs
    )


class HubFiles:
    """`hub` is a `HubClient` (`list_files`, `file_request`, `mark_downloaded`)."""

    def __init__(
        self,
        *,
        live: LiveSettings,
        hub: Any,
        inventory: Inventory,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._live = live
        self._hub = hub
        self._inventory = inventory
        self._clock = clock
        self._rng = rng

    async def find(self, asked: Wanted) -> "Tuple[Listing, Optional[HubFile]]":
        """What the hub's list says of the file, and its entry there if it is offered.

        Raises `Refused` where several could be meant, and when the hub stays out of reach for as
        many attempts as `retries` has.
        """
        backoff = Backoff(lambda: self._live.now, self._rng)
        while True:
            reply, files = await self._hub.list_files()
            if reply.ok:
                whole = len(as_list(reply.data.get("files"))) <= MAX_FILES_LISTED
                listing, entry = look_in(files, asked, whole)
                if listing is Listing.AMBIGUOUS:
                    raise Refused(
                        "Several files of the hub are called {file}: send the name that the hub "
                        "stores the wanted one under, or its checksum.",
                        file=show(asked.name),
                    )
                return listing, entry
            if reply.failure not in _MAY_PASS and reply.status < 500:
                return Listing.UNKNOWN, None  # the download itself will tell better
            delay = backoff.failed()
            if backoff.failures >= self._live.now.retries.max_attempts:
                raise Refused(
                    "{file} cannot be fetched: {why}", file=show(asked.name), why=reply.sentence
                )
            await self._clock.sleep(delay)

    async def offered(self) -> Set[Tuple[str, str]]:
        """Name and MD5 of what the hub can give again now; nothing while it is out of reach."""
        reply, files = await self._hub.list_files()
        return {(entry.name, entry.md5) for entry in files} if reply.ok else set()

    def wanted(self, asked: Wanted, listed: Optional[HubFile]) -> Wanted:
        """What to fetch from the hub's own download; what the command says of the bytes outweighs
        the list.
        """
        if listed is None:
            url, headers = self._hub.file_request(asked.name)
            return Wanted(asked.name, url, headers, asked.size, asked.md5, asked.sha256)
        url, headers = self._hub.file_request(listed.name)
        return Wanted(
            asked.name,
            url,
            headers,
            listed.size if asked.size is None else asked.size,
            asked.md5 if asked.has_checksum else listed.md5,
            asked.sha256 if asked.has_checksum else listed.sha256,
        )

    async def tell(self, hub_name: str, ident: Optional[int], listed_by: Settings) -> None:
        """The verified file is safely on disk; generation 1 deletes its copy now. Another hub than
        the one that listed it may have other bytes of that name: it is told nothing.
        """
        if not same_hub(listed_by, self._live.now):
            return
        reply = await self._hub.mark_downloaded(hub_name)
        if reply.ok or reply.failure is Failure.REFUSED:
            await self._inventory.marked(ident)

    async def tell_late(self, busy: Callable[[], bool]) -> None:
        """For ever: tell the hub what it could not hear at the time, if what it has is still the
        file that was fetched. Waits while `busy()`. What another hub has yet to hear waits for it.
        """
        while True:
            await self._clock.sleep(MARK_EVERY)
            asked = self._live.now
            known = ("", scope(asked))
            rows = [row for row in await self._inventory.to_mark() if row.hub in known]
            if not rows or busy():
                continue
            reply, files = await self._hub.list_files()
            if not reply.ok or not same_hub(asked, self._live.now):
                continue
            offered = {entry.name: entry for entry in files}
            for row in rows:
                entry = offered.get(row.hub_name)
                if entry is None or entry.size != row.size or entry.md5 not in ("", row.md5):
                    await self._inventory.marked(row.id)
                else:
                    await self.tell(row.hub_name, row.id, asked)
