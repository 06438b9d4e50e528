"""What Moonraker's websocket clients are told unasked: `notify_tecmedhub_changed`,
`notify_tecmedhub_download`.

Listeners only say that something changed; one loop turns that into at most one overview a second,
and none at all while nobody listens.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional

from .plain import plain

if TYPE_CHECKING:
    from .rooms import Rooms
    from .views import Views

SPACING = 1.0  # seconds between two overviews
CHANGED = "tecmedhub:changed"  # Moonraker's event names; the websocket method is notify_ + name
DOWNLOAD = "tecmedhub:download"


class Notifier:
    def __init__(self, rooms: Rooms, views: Views) -> None:
        self._rooms = rooms
        self._views = views
        self._wake = asyncio.Event()

    def register(self) -> None:
        """From the constructor of the component, where Moonraker wants it."""
        server = self._rooms.server
        server.register_notification(CHANGED, "tecmedhub_changed")
        server.register_notification(DOWNLOAD, "tecmedhub_download")

    def changed(self, *topics: str) -> None:
        """Something that people watch has changed; `topics` name lists worth fetching again."""
        for topic in topics:
            self._views.revisions[topic] += 1
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
                self._send(CHANGED, self._views.overview())
            await self._rooms.clock.sleep(SPACING)

    def _listened_to(self) -> bool:
        return bool(self._rooms.server.lookup_component("websockets").get_count())

    def _send(self, event: str, content: Dict[str, Any]) -> None:
        self._rooms.server.send_event(event, plain(content, self._rooms.redactor.known))
