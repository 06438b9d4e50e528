"""The results that the hub has not acknowledged yet, in memory: `ledger` has them on the disk."""

import itertools
import json
import re
from collections import OrderedDict
from typing import Any, Dict, Iterable, List, Sequence

Result = Dict[str, Any]


class Due:
    """The last `most` of them, by the keys of their commands, oldest first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._results: "OrderedDict[str, Result]" = OrderedDict()
        self._keys: Dict[str, List[str]] = {}  # by the id as JSON: a hub may use one again

    def add(self, key: str, result: Result) -> None:
        """The hub shall have this result, and say so."""
        if key not in self._results:
            self._keys.setdefault(json.dumps(result["id"]), []).append(key)
        self._results[key] = result
        if len(self._results) > self._most:
            self._forget(next(iter(self._results)))

    def oldest(self, limit: int, hubs: Sequence[str]) -> List[Result]:
        """Of commands of `hubs` (the second part of their keys), or of all."""
        mine = (r for key, r in self._results.items() if not hubs or hub_of(key) in ("", *hubs))
        return [dict(result) for result in itertools.islice(mine, limit)]

    def settle(self, told: Iterable[Any]) -> Dict[str, Result]:
        """The hub has these: results as `oldest` gave them, or their ids alone. What of it was due,
        and is no more, by key.

        An id may have another result by now, of a command that the hub was not told of yet; and
        what was running when the hub was told may be over.
        """
        taken: Dict[str, Result] = {}
        for item in told:
            whole = isinstance(item, dict) and "id" in item
            for key in self._keys.get(json.dumps(item["id"] if whole else item), ()):
                if not whole or self._results[key] == item:
                    taken[key] = self._results[key]
        for key in taken:
            self._forget(key)
        return taken

    def _forget(self, key: str) -> None:
        ident = json.dumps(self._results.pop(key)["id"])
        keys = self._keys[ident]
        keys.remove(key)
        if not keys:
            del self._keys[ident]


def hub_of(key: str) -> str:
    """Which hub's command it is, by its key; "" where that does not say."""
    found = re.match(r"\d+:([0-9a-f]{12}):", key)
    return found.group(1) if found else ""
