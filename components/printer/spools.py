"""The spool on the printer, where Moonraker knows Spoolman: which it is, and what is left of it.

Moonraker keeps the id and counts what is used; what the spool is, Spoolman tells, through
Moonraker's own proxy. Field names: Spoolman's API v1, `GET /v1/spool/{id}`.
"""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Dict, List, Mapping, Optional

from ..runtime.clock import Clock
from ..runtime.loose import as_dict, as_float, as_int, as_text, printable
from ..runtime.messages import say
from ..runtime.notices import Notices
from ..settings.model import LiveSettings
from .verbs import PrinterError

LOOK_EVERY = 60.0  # seconds between looks at what is left: Spoolman tells it to nobody by itself
LONGEST = 60  # characters of a word of Spoolman's
NOT_FOUND = 404
_SPOOLS = ("material", "color", "remaining")  # what the operator wrote of another spool


class Spools:
    def __init__(self, server: Any, live: LiveSettings, notices: Notices, clock: Clock) -> None:
        self._server = server
        self._live = live
        self._notices = notices
        self._clock = clock
        self._listeners: List[Callable[[], None]] = []
        self._stirred = asyncio.Event()
        self._seen: Dict[str, Any] = {}  # of the spool that was looked at last

    def register(self) -> None:
        on = self._server.register_event_handler
        on("spoolman:active_spool_set", self._on_change)
        on("spoolman:spoolman_status_changed", self._on_change)

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener()` when another spool is active, or there is less left of it."""
        self._listeners.append(listener)

    @property
    def there(self) -> bool:
        """Whether Moonraker has a [spoolman] section."""
        return self._component is not None

    @property
    def active(self) -> Optional[int]:
        """Spoolman's id of the spool that is on the printer; None if none is."""
        return as_int(getattr(self._component, "spool_id", None))

    def filament(self, own: Mapping[str, Any]) -> Dict[str, Any]:
        """What the hub is told of the filament: the active spool's figures in place of the
        operator's `own`. `remaining` is a percentage, as client v4 had it.
        """
        active = self.active
        if active is None:
            return dict(own)
        if self._seen.get("spool_id") != active:
            return {**own, "spool_id": active}
        return {**{name: own[name] for name in own if name not in _SPOOLS}, **self._seen}

    async def why_not(self, asked: Any) -> str:
        """Why the spool `asked` for cannot be the active one, as a sentence; "" if it can. 0 is
        none. Raises `PrinterError` where Spoolman does not answer.
        """
        if not self.there:
            return say("Moonraker has no [spoolman]: add it to moonraker.conf on the printer.")
        ident = as_int(asked)
        if ident is None:
            return say("spool is a whole number: its id in Spoolman, or 0 for none.")
        if ident and await self._ask(ident) is None:
            return say("Spoolman has no spool {id}: look there for its number.", id=ident)
        return ""

    async def select(self, asked: Any) -> str:
        """Make a spool that `why_not` let pass the active one (0: none); which it is, for people.
        Raises `PrinterError`.
        """
        ident = as_int(asked, 0) or 0
        transport = self._server.lookup_component("internal_transport")
        arguments = {"spool_id": ident} if ident else {}
        try:
            await transport.call_method("server.spoolman.post_spool_id", arguments)
        except self._server.error as error:
            raise PrinterError(str(error)) from None
        if ident:
            await self._look()
        if (self.active or 0) != ident:  # somebody may have chosen another meanwhile
            raise PrinterError(say("Moonraker shows the spool {id}", id=self.active or 0))
        if not ident:
            return say("no spool is on the printer")
        seen = self._seen if self._seen.get("spool_id") == ident else {}
        told = [as_text(seen.get(name)) for name in ("vendor", "material", "color")]
        return say("spool {id}: {what}", id=ident, what=" ".join(filter(None, told)) or "–")

    async def run(self) -> None:
        """Follow what is left of the active spool, for ever."""
        while True:
            self._stirred.clear()
            await self._look()
            alarm = asyncio.ensure_future(self._clock.sleep(LOOK_EVERY))
            stirred = asyncio.ensure_future(self._stirred.wait())
            try:
                await asyncio.wait({alarm, stirred}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                alarm.cancel()
                stirred.cancel()

    # Inside

    @property
    def _component(self) -> Any:
        return self._server.lookup_component("spoolman", None)

    def _on_change(self, _event: Any) -> None:
        self._stirred.set()
        self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    async def _look(self) -> None:
        ident = self.active
        if ident is None:
            return
        try:
            found = await self._ask(ident)
        except PrinterError as error:
            self._notices.log_once(f"spoolman {error}", str(error))
            return
        seen = read_spool(ident, found or {})
        if seen != self._seen:
            self._seen = seen
            self._tell()

    async def _ask(self, ident: int) -> Optional[Dict[str, Any]]:
        """What Spoolman knows of a spool; None where it has none of that id."""
        transport = self._server.lookup_component("internal_transport")
        asked = {"request_method": "GET", "path": f"/v1/spool/{ident}"}
        patience = self._live.now.timeouts.moonraker
        try:
            reply = await asyncio.wait_for(
                transport.call_method("server.spoolman.proxy", asked), patience
            )
        except (asyncio.TimeoutError, self._server.error) as error:
            if getattr(error, "status_code", 0) == NOT_FOUND:
                return None
            said = printable(" ".join(str(error).split()), 200) or say("no answer")
            raise PrinterError(
                say("Spoolman does not answer ({error}): see that it runs.", error=said)
            ) from None
        return as_dict(reply)


def read_spool(ident: int, found: Mapping[str, Any]) -> Dict[str, Any]:
    """The names that client v4 had for a filament, and some of Spoolman's.

    >>> read_spool(3, {"filament": {"material": "PLA", "name": "Negro", "weight": 1000},
    ...                "remaining_weight": 250})
    {'spool_id': 3, 'material': 'PLA', 'color': 'Negro', 'remaining': 25, 'remaining_g': 250.0}
    """
    filament = as_dict(found.get("filament"))
    left = as_float(found.get("remaining_weight"))
    whole = as_float(found.get("initial_weight")) or as_float(filament.get("weight")) or 0.0
    code = _word(filament.get("color_hex"))
    told: Dict[str, Any] = {
        "spool_id": ident,
        "material": _word(filament.get("material")),
        "color": _word(filament.get("name")) or (f"#{code}" if code else ""),
        "color_hex": code,
        "vendor": _word(as_dict(filament.get("vendor")).get("name")),
        "remaining": None,
        "remaining_g": None if left is None else round(max(left, 0.0), 1),
    }
    if left is not None and whole > 0:
        told["remaining"] = round(100.0 * min(max(left / whole, 0.0), 1.0))
    return {name: value for name, value in told.items() if value not in ("", None)}


def _word(value: Any) -> str:
    return printable(as_text(value).strip(), LONGEST)
