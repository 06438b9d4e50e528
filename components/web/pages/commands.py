"""What the hub may do here and what it has done: its commands, the kill switch, the bed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, List, Mapping, Optional, Sequence

from ...runtime.messages import say
from .base import Args, Macro, Pages, Refused, Request, Row, done

if TYPE_CHECKING:
    from ...commands.remote import Commands
    from ...settings.model import LiveSettings
    from ...store.journal import Journal
    from ..notifications import Notifier

BY_MACRO = say("a macro")


@dataclass(eq=False)
class CommandPages(Pages):
    """`bed_word()` is what the hub is told of the bed."""

    commands: Commands
    journal: Journal
    live: LiveSettings
    bed_word: Callable[[], str]
    _newest: List[Any] = field(default_factory=list, init=False)
    _changes: Optional[Notifier] = field(default=None, init=False)

    def rows(self) -> Sequence[Row]:
        return (
            Row("commands", ["GET"], self._recent, bundled=True),
            Row("events", ["GET"], self._events, bundled=True),
            Row("bed_clear", ["POST"], self._bed_clear),
            Row("remote_on", ["POST"], lambda request: self._set_remote(True, request)),
            Row("remote_off", ["POST"], lambda request: self._set_remote(False, request)),
        )

    def macros(self) -> Mapping[str, Macro]:
        return {
            "tecmedhub_bed_clear": self._bed_clear_by_macro,
            "tecmedhub_remote_off": lambda _: self._switch_by_macro(False),
            "tecmedhub_remote_on": lambda _: self._switch_by_macro(True),
        }

    def overview(self) -> Args:
        commands, security = self.commands, self.live.now.security
        newest = [(row.get("id"), row.get("status")) for row in commands.recent(10)]
        if newest != self._newest:  # one that came or began, which nobody announces
            self._newest = newest
            if self._changes is not None:
                self._changes.revisions["commands"] += 1
        return {
            "remote": {"on": commands.remote_on, "level": security.remote_control.value},
            "bed": {
                "status": self.bed_word(),
                "required": security.require_clear_bed,
                "needs_clearing": commands.bed_needs_clearing,
            },
        }

    def status(self) -> Args:
        return {
            "undelivered": {
                "events": self.journal.undelivered,
                "command_results": len(self.commands.results_due()),
            }
        }

    def follow(self, changes: Notifier) -> None:
        self._changes = changes
        self.commands.on_result(changes.on("commands"))

    async def _recent(self, request: Request) -> Args:
        return {"commands": self.commands.recent(request.limit)}

    async def _events(self, request: Request) -> Args:
        return {"events": await self.journal.recent(request.limit)}

    async def _bed_clear(self, request: Request) -> Args:
        self._clear(request.by, by_macro=False)
        return done(say("The bed is declared clear."))

    async def _bed_clear_by_macro(self, _params: Args) -> str:
        self._clear(BY_MACRO, by_macro=True)
        return ""

    def _clear(self, by: str, by_macro: bool) -> None:
        refused = self.commands.bed_clear(by, by_macro)
        if refused:
            raise Refused(refused)

    async def _set_remote(self, on: bool, request: Request) -> Args:
        """The kill switch: off refuses everything from the hub but the emergency stop, across
        restarts.
        """
        doubt = await self.commands.set_remote(on, request.by)
        told = say("Remote control is on.") if on else say("Remote control is off.")
        return done(say("{what} {said}", what=told, said=doubt) if doubt else told)

    async def _switch_by_macro(self, on: bool) -> str:
        """Not on, while the hub could have done it by way of a macro: Klippy does not tell who let
        that run.
        """
        doubt = self.commands.hub_at_work if on else ""
        if doubt:
            raise Refused(
                "Not done, because {doubt}, and this could be its doing: try it again in a"
                " moment, or use the panel.",
                doubt=doubt,
            )
        await self.commands.set_remote(on, BY_MACRO)
        return ""  # the commands room tells the console by itself, whoever did it
