"""What macros in printer.cfg can call: `{action_call_remote_method("tecmedhub_bed_clear")}` and the
others of the table.

Klippy does not wait for an answer; what there is to say goes to the console.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Dict

from ..runtime.loose import as_text
from ..runtime.messages import say
from .actions import Refused

if TYPE_CHECKING:
    from .actions import Actions
    from .doctor.on_call import DoctorOnCall
    from .rooms import Rooms

BY = say("a macro")


class RemoteMethods:
    def __init__(self, rooms: Rooms, actions: Actions, doctor: DoctorOnCall) -> None:
        self._rooms = rooms
        self._actions = actions
        self._doctor = doctor
        self.table: Dict[str, Callable[[Dict[str, Any]], Awaitable[str]]] = {
            "tecmedhub_bed_clear": lambda _: _quietly(actions.bed_clear(BY, by_macro=True)),
            "tecmedhub_remote_off": lambda _: _quietly(actions.set_remote(False, BY)),
            "tecmedhub_remote_on": lambda _: self._by_a_person(
                lambda: actions.set_remote(True, BY)
            ),
            "tecmedhub_snapshot": lambda _: actions.snapshot(),
            "tecmedhub_timelapse_now": lambda _: actions.timelapse_now(),
            "tecmedhub_doctor": self._examine,
        }

    def register(self) -> None:
        for name, work in self.table.items():
            self._rooms.server.register_remote_method(name, self._guarded(name, work))

    def _guarded(
        self, name: str, work: Callable[[Dict[str, Any]], Awaitable[str]]
    ) -> Callable[..., Awaitable[None]]:
        async def call(**params: Any) -> None:
            try:
                said = await work(params)
            except asyncio.CancelledError:
                raise
            except Refused as refusal:
                said = refusal.args[0]
            except Exception as error:
                said = say(
                    "{name} failed: {error}; see tecmedhub.log.",
                    name=name,
                    error=type(error).__name__,
                )
                self._rooms.notices.log_fault(
                    f"remote method {name}",
                    say("The remote method {name} failed", name=name),
                    error,
                )
            if said:
                self._rooms.notices.console(said)

        return call

    async def _by_a_person(self, work: Callable[[], Awaitable[str]]) -> str:
        """What the hub must not do by way of a macro: Klippy does not tell who let that run."""
        doubt = self._rooms.commands.hub_at_work
        if doubt:
            raise Refused(
                say(
                    "Not done, because {doubt}, and this could be its doing: try it again in a"
                    " moment, or use the panel.",
                    doubt=doubt,
                )
            )
        return await _quietly(work())

    async def _examine(self, params: Dict[str, Any]) -> str:
        """One console line a check: `LANG=es` for Spanish, `LANG=en` for English."""
        asked = as_text(params.get("lang") or params.get("LANG")).lower()[:2]
        language = asked or self._rooms.notices.language
        self._rooms.notices.console(say("Examining; this takes some seconds."))
        report = await self._doctor.examine()
        for line in report.lines(language):
            self._rooms.notices.console(line)
        return ""


async def _quietly(work: Awaitable[str]) -> str:
    """The commands room tells the console of these by itself, whoever did them."""
    await work
    return ""
