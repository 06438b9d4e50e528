"""What a status need not say each time: it goes along when it has changed, and once a minute; what
the printer can be told to do (`client.actions`), the longest of all, every ten.

No deployed server stores these, and they are half of what a status weighs. Whatever such a server
does store (client v4's fields, `body`) an update replaces: that is in each. A hub that wants all of
it each time announces `full_status`.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping

from ..runtime.clock import Clock

EVERY = 60.0  # seconds
WHEN_CHANGED = ("history", "timelapses", "job_queue")
EACH_MINUTE = ("network", "disk", "client")  # figures that change all the time
OFFERS_EVERY = 600.0  # seconds
_OFFERS = "actions"  # of `client`


class Seldom:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._hub: Any = None  # whom it was told
        self._told: Dict[str, Any] = {}
        self._when: Dict[str, float] = {}  # monotonic

    def without(self, body: Mapping[str, Any], hub: Any) -> Dict[str, Any]:
        """`body` without what `hub` need not be told now; `hub` is anything that tells it from
        others.
        """
        if hub != self._hub:
            self._told.clear()
            self._hub = hub
        left = {name: value for name, value in body.items() if not self._known(name, value)}
        if _OFFERS in left.get("client", ()) and self._offers_known(left["client"]):
            left["client"] = {name: v for name, v in left["client"].items() if name != _OFFERS}
        return left

    def delivered(self, body: Mapping[str, Any]) -> None:
        """The hub has taken this body, as `without` gave it."""
        for name in (*WHEN_CHANGED, *EACH_MINUTE):
            if name in body:
                self._told[name] = body[name]
                self._when[name] = self._clock.monotonic()
        if _OFFERS in body.get("client", ()):
            self._told[_OFFERS] = body["client"][_OFFERS]
            self._when[_OFFERS] = self._clock.monotonic()

    def _offers_known(self, client: Mapping[str, Any]) -> bool:
        if _OFFERS not in self._told or client[_OFFERS] != self._told[_OFFERS]:
            return False
        return self._clock.monotonic() - self._when[_OFFERS] < OFFERS_EVERY

    def _known(self, name: str, value: Any) -> bool:
        if name not in self._told or self._clock.monotonic() - self._when[name] >= EVERY:
            return False
        return name in EACH_MINUTE or value == self._told[name]
