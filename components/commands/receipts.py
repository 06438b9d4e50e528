"""`received`: what has arrived, for a hub that hands out again what it hears nothing of.

Such a hub (`features.redeliver`) keeps a command until an entry of `command_results` has named it.
A receipt is told once a delivery, beside the results, and is in memory only: after a crash the hub
hands the command out again, and is told again.
"""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Dict, Iterable, List, Mapping

from ..runtime.loose import as_dict, as_text
from .wire import entries

RECEIVED = "received"
MOST = 500  # receipts that wait; beyond, the oldest are left to be asked for again


class Receipts:
    """Stands between the results and whoever tells them. `wanted()`: whether the hub hands out
    again; `hub()`: which one it is; `hub_now()`: unix seconds by its clock; `on_new()` is called
    when there is something to tell.
    """

    def __init__(
        self,
        *,
        results_due: Callable[[int], List[Dict[str, Any]]],
        results_delivered: Callable[[Iterable[Any]], Awaitable[None]],
        wanted: Callable[[], bool],
        hub: Callable[[], str],
        hub_now: Callable[[], float],
        on_new: Callable[[], None],
    ) -> None:
        self._results_due = results_due
        self._results_delivered = results_delivered
        self._wanted = wanted
        self._hub = hub
        self._hub_now = hub_now
        self._on_new = on_new
        self._waiting: Dict[str, Dict[str, Any]] = {}  # by the id as a text, oldest first
        self._of = ""  # the hub whose commands these are

    def arrived(self, raw: Any, hub: str) -> None:
        """The `commands` of one reply of `hub` are on the disk, new ones and repetitions alike."""
        self._forget_others()
        if hub != self._of or not self._wanted():
            return
        found = False
        for item in entries(raw):
            command = as_dict(item)
            name = as_text(command.get("id"))
            if name:
                found = True
                self._waiting.pop(name, None)
                self._waiting[name] = {
                    "id": command["id"],
                    "action": as_text(command.get("action") or command.get("type")),
                    "status": RECEIVED,
                    "message": "",
                    "received_at": round(self._hub_now(), 3),
                }
        while len(self._waiting) > MOST:
            del self._waiting[next(iter(self._waiting))]
        if found:
            self._on_new()

    def due(self, limit: int) -> List[Dict[str, Any]]:
        """At most `limit` entries of `command_results`: results first, since one of them is a
        receipt as well.
        """
        results = self._results_due(limit)
        self._forget_others()
        if not self._waiting:
            return results
        told = {as_text(result.get("id")) for result in results}
        receipts = [entry for name, entry in self._waiting.items() if name not in told]
        return results + receipts[: limit - len(results)]

    async def delivered(self, told: Iterable[Mapping[str, Any]]) -> None:
        """The hub has acknowledged these, as `due` gave them."""
        results = []
        for entry in told:
            name = as_text(entry.get("id"))
            if entry.get("status") != RECEIVED:
                results.append(entry)
                self._waiting.pop(name, None)
            elif self._waiting.get(name) is entry:
                del self._waiting[name]
        if results:
            await self._results_delivered(results)

    def _forget_others(self) -> None:
        """Ids mean other commands at another hub; one that comes back hands out again."""
        hub = self._hub()
        if hub != self._of:
            self._of = hub
            self._waiting.clear()
