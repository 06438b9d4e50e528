"""What Moonraker's websocket clients are told unasked: `notify_tecmedhub_changed`,
`notify_tecmedhub_download`.

Listeners only say that something changed; one loop turns that into at most one overview a second,
and none at all while nobody listens.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional

from .plain import plain

if TYPE_CHECKING:
    from ..runtime.clock import Clock
    from ..runtime.redaction import Redactor

# Lists worth fetching again, each with a number that grows when it changes.
TOPICS = ("commands", "events", "pictures", "settings", "downloads", "videos")
SPACING = 1.0  # seconds between two overviews
CHANGED = "tecmedhub:changed"  # Moonraker's event names; the websocket method is notify_ + name
DOWNLOAD = "tecmedhub:download"


@dataclass(eq=False)
class Notifier:
    """`overview()` is what is told of everything."""

    server: Any
    clock: Clock
    redactor: Redactor
    overview: Callable[[], Dict[str, Any]]
    _wake: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    revisions: Dict[str, int] = field(default_factory=lambda: dict.fromkeys(TOPICS, 0), init=False)

    def register(self) -> None:
        """From the constructor of the component, where Moonraker wants it."""
        self.server.register_notification(CHANGED, "tecmedhub_changed")
        self.server.register_notification(DOWNLOAD, "tecmedhub_download")

    def changed(self, *topics: str) -> None:
        """Something that people watch has changed; `topics` name lists."""
        for topic in topics:
            self.revisions[topic] += 1
        if self._listened_to():  # whoever comes later asks for everything first
            self._wake.set()

    def on(self, *topics: str) -> Callable[..., None]:
        """A listener for any room's `subscribe`: whatever it is told, these topics changed."""
        return lambda *_told: self.changed(*topics)

    def download(self, progress: Optional[Dict[str, Any]]) -> None:
        """A listener for `Transfers.subscribe`, which calls about once a second."""
        if self._listened_to():
            self._send(DOWNLOAD, {"download": progress})
        if progress is None:
            self.changed("downloads")

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._listened_to():
                self._send(CHANGED, self.overview())
            await self.clock.sleep(SPACING)

    def _listened_to(self) -> bool:
        return bool(self.server.lookup_component("websockets").get_count())

    def _send(self, event: str, content: Dict[str, Any]) -> None:
        self.server.send_event(event, plain(content, self.redactor.known))
