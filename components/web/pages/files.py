"""G-code files from the hub: what is being downloaded, and what clean-up would delete."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Sequence

from ...runtime.loose import as_bool, as_text
from ...runtime.messages import say
from ..doctor.doctor import Check
from .base import Args, Pages, Refused, Request, Row, done

if TYPE_CHECKING:
    from ...files.cleanup import Cleanup, Removal
    from ...files.transfers import Transfers
    from ..notifications import Notifier


@dataclass(eq=False)
class FilePages(Pages):
    transfers: Transfers
    cleanup: Cleanup
    root: Path

    def rows(self) -> Sequence[Row]:
        return (
            Row("cleanup", ["GET", "POST"], self._cleanup),
            Row("cancel_download", ["POST"], self._cancel),
        )

    def checks(self) -> Sequence[Check]:
        from ..doctor import host  # noqa: PLC0415  (read late: `Doctor`)

        return (Check("disk", lambda: host.disk(self.root), 10.0),)

    def overview(self) -> Args:
        transfers = self.transfers
        return {"download": transfers.progress, "downloads_waiting": transfers.waiting}

    def follow(self, changes: Notifier) -> None:
        self.transfers.subscribe(changes.download)

    async def _cleanup(self, request: Request) -> Args:
        if request.method == "GET":
            return {"dry_run": True, "files": [_row(item) for item in await self.cleanup.plan()]}
        if not as_bool(request.args.get("confirm")):
            raise Refused(
                "Nothing was deleted: look at GET /server/tecmedhub/cleanup first, then post"
                " confirm=true."
            )
        files = request.args.get("files")  # those that were looked at; others may be old by now
        if files is not None and not isinstance(files, list):
            raise Refused("files is a list of paths, as GET /server/tecmedhub/cleanup gives them.")
        only = None if files is None else {as_text(path) for path in files}
        removed = [_row(item) for item in await self.cleanup.run(asked=True, only=only)]
        return dict(done(""), dry_run=False, files=removed)

    async def _cancel(self, request: Request) -> Args:
        name = as_text(request.args.get("file"))
        if not self.transfers.cancel(name):
            none = say("There is no download to cancel.")
            raise Refused(say("There is no such download.") if name else none)
        return done(say("The download is cancelled."))


def _row(item: Removal) -> Dict[str, Any]:
    return {"path": item.path, "reason": item.reason, "age": round(item.age), "size": item.size}
