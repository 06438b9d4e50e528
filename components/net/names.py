"""Name look-ups that may hang, in threads of their own: one for a name, however many wait for it.

Tornado's resolver would use Moonraker's default executor. A name server that does not answer fills
that within a few attempts, and then nothing of Moonraker's that needs a thread works any more; and
the interpreter waits for those threads at its exit.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Dict, List, Optional, Tuple

from ..runtime.worker import aside

_NUMBER = socket.AI_NUMERICHOST
Addresses = List[Tuple[int, Any]]  # family and socket address


class Names:
    """Looks names up by the system's resolver."""

    def __init__(self) -> None:
        self._asked: Dict[str, "asyncio.Future[List[Any]]"] = {}

    async def look_up(self, host: str) -> Addresses:
        """Where `host` is (port 0); numbers, "localhost" cost no thread. Raises `socket.gaierror`.

        Giving up on it leaves the look-up to go on; whoever asks meanwhile waits for the same one.
        """
        found = numeric(host)
        if found is None:
            found = await asyncio.shield(self._ask(host))
        return [(entry[0], entry[4]) for entry in found]

    def _ask(self, host: str) -> "asyncio.Future[List[Any]]":
        asked = self._asked.get(host)
        if asked is None:
            kind = (host, None, socket.AF_UNSPEC, socket.SOCK_STREAM)
            asked = asyncio.ensure_future(aside(socket.getaddrinfo, *kind))
            self._asked[host] = asked
            asked.add_done_callback(lambda done: self._answered(host, done))
        return asked

    def _answered(self, host: str, done: "asyncio.Future[List[Any]]") -> None:
        self._asked.pop(host, None)
        if not done.cancelled():
            done.exception()  # seen, also where nobody waits any more

    def close(self) -> None:
        """Wait for no answer any more."""
        for asked in list(self._asked.values()):
            asked.cancel()


def numeric(host: str) -> Optional[List[Any]]:
    """The address of what needs no name server, or None."""
    found: List[Any] = []
    for name in ("127.0.0.1", "::1") if host.lower() == "localhost" else (host,):
        try:
            found += socket.getaddrinfo(name, None, 0, socket.SOCK_STREAM, 0, _NUMBER)
        except (OSError, UnicodeError, ValueError):
            continue
    return found or None
