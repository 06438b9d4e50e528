"""Where the hub's replies hand in their commands: whoever brought them goes on asking soon.

Each command is written to the disk before anything is done about it, and an SD card can take half
a minute for that. An emergency stop that the next reply would bring must not wait so long, so the
one who asks the hub waits for the disk a moment only; the writing goes on, in order.
"""

from __future__ import annotations

import asyncio
from typing import Any, Awaitable, Callable, Optional, Set

from ..runtime.supervisor import Supervisor

PATIENCE = 0.5  # seconds that a request for commands waits for the disk
MOST = 50  # replies under way; beyond, the disk has to answer first


class Inbox:
    """`take(raw, generation)` is `Commands.take`; `on_new()` is called when it found new ones,
    `arrived(raw, hub)` when all of a reply is on the disk, new or not: `hub` is what `hub()` was
    when it came.
    """

    def __init__(
        self,
        take: Callable[[Any, Any], Awaitable[Optional[int]]],
        supervisor: Supervisor,
        on_new: Callable[[], None],
        patience: float = PATIENCE,
        arrived: Callable[[Any, str], None] = lambda raw, hub: None,
        hub: Callable[[], str] = lambda: "",
    ) -> None:
        self._take = take
        self._supervisor = supervisor
        self._on_new = on_new
        self._arrived = arrived
        self._hub = hub
        self._patience = patience
        self._under_way: "Set[asyncio.Task[None]]" = set()

    async def deliver(self, raw: Any, generation: Any) -> None:
        """For `HubClient.deliver_to`. A caller that is cancelled takes nothing back."""
        work = self._receive(raw, generation, self._hub())
        task = self._supervisor.spawn("commands received", work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        crowded = len(self._under_way) > MOST
        await asyncio.wait([task], timeout=None if crowded else self._patience)

    async def _receive(self, raw: Any, generation: Any, hub: str) -> None:
        new = await self._take(raw, generation)
        if new is None:
            return
        self._arrived(raw, hub)
        if new:
            self._on_new()
