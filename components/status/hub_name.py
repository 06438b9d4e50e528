"""Under which name the hub lists the printer.

`printer_name` where the operator set one. Else the computer's name: generation 1 forgets a name
that is left out, so it goes along each time; generation 2 keeps the last one it was given, and its
administrator may have given it another since, so there it goes only until that hub knows the
printer.
"""

from __future__ import annotations

import hashlib
from typing import Any, Mapping

from ..hub.client import Reply
from ..hub.protocol import Generation
from ..runtime.loose import as_text
from ..settings.model import LiveSettings, Settings
from ..store.flags import Flags

KNOWN_AS = "known_to_hub"  # the flag: {"where", "printer_id"} of the printer that the hub has
MAX_NAME = 100  # characters of a computer's name; POSIX allows 255


class HubName:
    """`computer` is the name that the operating system gives."""

    def __init__(self, live: LiveSettings, flags: Flags, computer: str) -> None:
        self._live = live
        self._flags = flags
        self._computer = computer.split(".", 1)[0].strip()[:MAX_NAME] or "Klipper"
        self._sent_to = ""  # the last status; settings may change before its reply is there

    def for_people(self) -> str:
        return self._live.now.printer_name or self._computer

    def for_status(self, generation: Generation) -> str:
        """The field `name` of the next status; "" leaves the hub its own."""
        settings = self._live.now
        self._sent_to = _where(settings)
        if settings.printer_name:
            return settings.printer_name
        if generation is Generation.TWO and self._known().get("where") == self._sent_to:
            return ""
        return self._computer

    def status_sent(self, body: Mapping[str, Any], reply: Reply) -> None:
        """A listener for `Reporter.subscribe`. Another `printer_id` than the last one means that
        the printer was deleted there and has come back as a new one, without a name.
        """
        if not reply.ok:
            return
        known, number = self._known(), as_text(reply.data.get("printer_id"))
        if known.get("where") != self._sent_to:
            self._flags.put(KNOWN_AS, {"where": self._sent_to, "printer_id": number})
        elif number and known.get("printer_id") != number:
            anew = {"where": self._sent_to, "printer_id": number} if body.get("name") else {}
            self._flags.put(KNOWN_AS, anew)

    def _known(self) -> Mapping[str, Any]:
        known = self._flags.get(KNOWN_AS)
        return known if isinstance(known, dict) else {}


def _where(settings: Settings) -> str:
    """Which printer at which hub, without telling the token."""
    place = f"{settings.server_url}\n{settings.printer_token}"
    return hashlib.sha256(place.encode("utf-8", "replace")).hexdigest()[:16]
