"""What people can do from outside: the same few verbs for the endpoints, the panel's buttons and
the macros.

Each returns one sentence; `Refused` carries the sentence of what could not be done.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Dict, List

from ..runtime.messages import say
from ..settings.loader import missing
from ..settings.saving import SaveRefused
from .views import features_view

if TYPE_CHECKING:
    from ..files.cleanup import Removal
    from .rooms import Rooms

MAX_CHANGES = 100  # options set at once; there are fewer


class Refused(Exception):
    """The text is for people."""


class Actions:
    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    async def bed_clear(self, by: str, by_macro: bool = False) -> str:
        refused = self._rooms.commands.bed_clear(by, by_macro)
        if refused:
            raise Refused(refused)
        return say("The bed is declared clear.")

    async def set_remote(self, on: bool, by: str) -> str:
        """The kill switch: off refuses everything from the hub but the emergency stop, across
        restarts.
        """
        doubt = await self._rooms.commands.set_remote(on, by)
        told = say("Remote control is on.") if on else say("Remote control is off.")
        return say("{what} {said}", what=told, said=doubt) if doubt else told

    async def snapshot(self) -> str:
        return await self._rooms.cameras.snapshot()

    async def timelapse_now(self) -> str:
        return await self._rooms.timelapse.render_now()

    async def cancel_download(self, name: str) -> str:
        if not self._rooms.transfers.cancel(name):
            raise Refused(
                say("There is no such download.")
                if name
                else say("There is no download to cancel.")
            )
        return say("The download is cancelled.")

    async def test_connection(self) -> Dict[str, Any]:
        """Send a status now, whatever the back-off says, and tell how it went."""
        rooms = self._rooms
        settings = rooms.live.now
        if not settings.complete:
            raise Refused(missing(settings, rooms.override.file_name))
        reply = await rooms.reporter.send()
        rooms.link.ended("status", reply)
        skew = rooms.client.clock_skew
        return {
            "ok": reply.ok,
            "message": reply.sentence or say("The hub took a status."),
            "failure": None if reply.failure is None else reply.failure.value,
            "http_status": reply.status,
            "milliseconds": round(reply.seconds * 1000, 1),
            "sent_bytes": reply.sent_bytes,
            "generation": int(rooms.client.generation),
            "clock_skew": None if skew is None or not math.isfinite(skew) else round(skew, 1),
            "features": features_view(rooms.client.features),
        }

    async def settings(self, wanted: Any, *, dry_run: bool, by: str) -> Dict[str, Any]:
        """Set options in the JSON file; null takes one out of it."""
        if not isinstance(wanted, dict) or not wanted or len(wanted) > MAX_CHANGES:
            raise Refused(say("changes is an object of option paths and their values."))
        override = self._rooms.override
        try:
            saved = await override.save(wanted, dry_run=dry_run)
        except SaveRefused as refusal:
            raise Refused(*refusal.args) from None
        if not dry_run:
            names = ", ".join(sorted(wanted))
            self._rooms.notices.console(say("{names} changed by {by}.", names=names, by=by))
        return {
            "ok": True,
            "message": "",
            "file": override.own_name,
            "before": saved.before,
            "after": saved.after,
        }

    async def cleanup_plan(self) -> List[Dict[str, Any]]:
        return [_removal(item) for item in await self._rooms.cleanup.plan()]

    async def cleanup(self) -> List[Dict[str, Any]]:
        return [_removal(item) for item in await self._rooms.cleanup.run(asked=True)]


def _removal(item: Removal) -> Dict[str, Any]:
    return {
        "path": item.path,
        "reason": item.reason,
        "age": round(item.age),
        "size": item.size,
    }
