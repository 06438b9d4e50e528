"""The settings in force, and the form by which the panel changes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

from ...runtime.loose import as_bool
from ...settings.saving import SaveRefused
from .base import Args, Pages, Refused, Request, Row

if TYPE_CHECKING:
    from ...runtime.notices import Notices
    from ...settings.model import LiveSettings
    from ...settings.override import Override
    from ..notifications import Notifier

MAX_CHANGES = 100  # options set at once; there are fewer


@dataclass(eq=False)
class SettingsPages(Pages):
    override: Override
    live: LiveSettings
    notices: Notices

    def rows(self) -> Sequence[Row]:
        return (
            Row("config", ["GET"], self._config, bundled=True),
            Row("settings", ["POST"], self._settings),
        )

    def follow(self, changes: Notifier) -> None:
        self.live.subscribe(changes.on("settings"))

    async def _config(self, request: Request) -> Args:
        return self.override.describe()

    async def _settings(self, request: Request) -> Args:
        """Set options in the JSON file; null takes one out of it."""
        wanted = request.args.get("changes")
        dry_run = as_bool(request.args.get("dry_run"))
        if not isinstance(wanted, dict) or not wanted or len(wanted) > MAX_CHANGES:
            raise Refused("changes is an object of option paths and their values.")
        try:
            saved = await self.override.save(wanted, dry_run=dry_run)
        except SaveRefused as refusal:
            raise Refused(*refusal.args) from None
        if not dry_run:
            names = ", ".join(sorted(wanted))
            self.notices.console("{names} changed by {by}.", names=names, by=request.by)
        return {
            "ok": True,
            "message": "",
            "file": self.override.own_name,
            "before": saved.before,
            "after": saved.after,
        }
