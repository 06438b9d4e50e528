"""The hub's side of a file: its entry in the list, the address of its bytes, and the word that it
has arrived.
"""

from __future__ import annotations

import random
from typing import Any, Callable, Optional, Tuple

from ..hub.backoff import Backoff
from ..hub.outcomes import Failure
from ..hub.protocol import HubFile
from ..runtime.clock import Clock
from ..settings.model import LiveSettings
from .inventory import Inventory
from .names import Refused, show
from .wanted import Wanted

MARK_EVERY = 300.0  # seconds between attempts to tell the hub what it has not heard yet

_MAY_PASS = (Failure.DNS, Failure.UNREACHABLE, Failure.TIMED_OUT, Failure.BUSY)


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

    async def find(self, name: str) -> Tuple[bool, Optional[HubFile]]:
        """Whether the hub shows its list, and its entry for the file there.

        Raises `Refused` when the hub stays out of reach for as many attempts as `retries` has.
        """
        backoff = Backoff(lambda: self._live.now, self._rng)
        while True:
            reply, files = await self._hub.list_files()
            if reply.ok:
                named = [entry for entry in files if entry.name == name]
                originals = [entry for entry in files if entry.original_name == name]
                if named or len(originals) == 1:
                    return True, (named or originals)[0]
                return True, None
            if reply.failure not in _MAY_PASS and reply.status < 500:
                return False, None  # the download itself will tell better
            delay = backoff.failed()
            if backoff.failures >= self._live.now.retries.max_attempts:
                raise Refused(f"{show(name)} cannot be fetched: {reply.sentence}")
            await self._clock.sleep(delay)

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

    async def tell(self, hub_name: str, ident: Optional[int]) -> None:
        """The verified file is safely on disk; generation 1 deletes its copy now."""
        reply = await self._hub.mark_downloaded(hub_name)
        if reply.ok or reply.failure is Failure.REFUSED:
            await self._inventory.marked(ident)

    async def tell_late(self, busy: Callable[[], bool]) -> None:
        """For ever: tell the hub what it could not hear at the time, if what it has is still the
        file that was fetched. Waits while `busy()`.
        """
        while True:
            await self._clock.sleep(MARK_EVERY)
            rows = await self._inventory.to_mark()
            if not rows or busy():
                continue
            reply, files = await self._hub.list_files()
            if not reply.ok:
                continue
            offered = {entry.name: entry for entry in files}
            for row in rows:
                entry = offered.get(row.hub_name)
                if entry is None or entry.size != row.size or entry.md5 not in ("", row.md5):
                    await self._inventory.marked(row.id)
                else:
                    await self.tell(row.hub_name, row.id)
