"""How long a connection may have lain idle and still be trusted with a request. Pure.

Servers close idle connections after some seconds (Apache, LiteSpeed and Node.js after 5, nginx
after 75), some say so (`Keep-Alive: timeout=5`); middleboxes forget them without a word. What a
connection survived is learned by requests that may be sent again; those that may not, follow.
"""

from __future__ import annotations

import re
from typing import Optional

from ..runtime.clock import Clock

UNPROVEN = 4.0  # seconds; less than any common server's limit
EXPLORED = 15.0  # seconds, for a request that may be sent again
FURTHER = 1.5  # times what was survived, for such a request
SLACK = 0.5  # seconds beyond what was survived, for one that may not: no two pauses are the same
SAFE_SHARE = 0.75  # of the age at which a connection was found dead
MARGIN = (
    1.0  # seconds off what the server announces: it counts from earlier, and the way takes time
)
REMEMBERED = 3600.0  # seconds; then another line, or another server, may be there
NOISE = 1.0  # seconds; what ends sooner does not end by its age

_TIMEOUT = re.compile(r"(?:^|[,;\s])timeout\s*=\s*\"?(\d{1,6})", re.IGNORECASE)


class IdleLimit:
    """Of one server."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._survived = 0.0  # seconds
        self._died: Optional[float] = None  # seconds
        self._died_at = 0.0  # monotonic
        self._announced: Optional[float] = None  # seconds

    def allows(self, idle: float, *, repeatable: bool) -> bool:
        """Whether a request may go over a connection that was idle so many seconds."""
        if repeatable:
            return idle <= min(self._ceiling(), max(EXPLORED, FURTHER * self._survived))
        return idle <= min(self._ceiling(), max(UNPROVEN, self._survived + SLACK))

    def announced(self, keep_alive: str) -> None:
        """The server's `Keep-Alive` header, as it came (RFC 2068, 19.7.1.1)."""
        found = _TIMEOUT.search(keep_alive)
        if found is not None:
            self._announced = float(found.group(1))

    def survived(self, idle: float) -> None:
        """A request was answered over a connection of that age."""
        self._survived = max(self._survived, idle)

    def died(self, idle: float) -> None:
        """One of that age was found closed, or did not answer."""
        if idle < NOISE:
            return
        self._died = idle if self._known_death() is None else min(idle, self._died or idle)
        self._died_at = self._clock.monotonic()
        self._survived = min(self._survived, SAFE_SHARE * idle)

    def _known_death(self) -> Optional[float]:
        old = self._clock.monotonic() - self._died_at > REMEMBERED
        return None if old else self._died

    def _ceiling(self) -> float:
        limits = [float("inf")]
        died = self._known_death()
        if died is not None:
            limits.append(SAFE_SHARE * died)
        if self._announced is not None:
            limits.append(self._announced - MARGIN)
        return min(limits)
