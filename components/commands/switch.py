"""The kill switch at the printer: while it is thrown, the hub's commands are refused."""

from __future__ import annotations

import logging

from ..runtime.loose import as_text
from ..runtime.messages import Message, parts, restored, say
from ..runtime.notices import Notices
from ..store.flags import Flags

REMOTE_OFF = "remote_off_by"
REMOTE_OFF_PARTS = "remote_off_by_parts"
STORED_WITHIN = 10.0  # seconds that whoever throws the switch waits for a slow card
_NOT_STORED = say(
    "The disk has not stored this yet (it is slow, or full): a power cut or restart before it does"
    " would undo it."
)

_DAMAGED = say("by TecMedHub, whose record of this switch was damaged")


class Switch:
    def __init__(self, flags: Flags, notices: Notices) -> None:
        self._flags = flags
        self._notices = notices

    @property
    def off_by(self) -> str:
        """Who switched remote control off, for people; "" while it is on."""
        name = as_text(self._flags.get(REMOTE_OFF))
        return restored(name, self._flags.get(REMOTE_OFF_PARTS))

    async def throw(self, on: bool, by: str) -> str:
        """`by` (for people) throws it: in force at once, and across restarts as soon as the disk
        has it. What speaks against that after some seconds, else "".
        """
        name = "" if on else (person(by) or say("somebody at the printer"))
        if name != self.off_by:
            told = (
                say("Remote control is on ({who}).", who=person(by))
                if on
                else say("Remote control is off ({who}).", who=person(by))
            )
            self._put(name, told)
        if await self._flags.stored(REMOTE_OFF, STORED_WITHIN):
            return ""
        self._notices.console(_NOT_STORED)
        return _NOT_STORED

    def doubt(self) -> None:
        """Nobody can know any more whether it is thrown: so it is."""
        if not self.off_by:
            self._put(_DAMAGED, say("Remote control is off ({who}).", who=_DAMAGED))

    def _put(self, name: str, told: str) -> None:
        self._notices.console(told)
        self._flags.put(REMOTE_OFF_PARTS, parts(name))
        self._flags.put(REMOTE_OFF, str.__str__(name))
        self.show()

    def show(self) -> None:
        if not self.off_by:
            self._notices.clear("remote_off", "Remote control is on again.")
            return
        self._notices.show(
            "remote_off",
            "Remote control was switched off at the printer ({who}): commands of the"
            " hub are refused until tecmedhub_remote_on is called.",
            who=self.off_by,
            warning=False,
            level=logging.INFO,
        )


def person(name: str) -> str:
    """The name of somebody at the printer, as it may be shown."""
    if isinstance(name, Message):
        return name
    return "".join(c for c in name if c.isprintable())[:60]
