"""The active spool: which it is, what the hub is told of it, what is refused."""

from __future__ import annotations

import asyncio
import doctest
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from components.printer import spools
from components.printer.spools import LOOK_EVERY, Spools
from components.printer.verbs import PrinterError
from components.settings.model import LiveSettings, Settings
from tests.unit.fakes import Board, FakeClock, settle

OWN = {"material": "PETG", "color": "Azul", "remaining": 80, "brand": "Acme"}
NEGRO = {
    "id": 3,
    "remaining_weight": 250.04,
    "filament": {
        "material": "PLA",
        "name": "Negro",
        "color_hex": "111111",
        "weight": 1000.0,
        "vendor": {"name": "Acme"},
    },
}


class ServerError(Exception):
    def __init__(self, text: str, status_code: int = 400) -> None:
        super().__init__(text)
        self.status_code = status_code


class Moonraker:
    """Its spoolman component, and a Spoolman behind it."""

    error = ServerError

    def __init__(self, component: bool = True) -> None:
        self.component = SimpleNamespace(spool_id=None) if component else None
        self.spools: dict[int, Any] = {3: NEGRO}
        self.down = False
        self.deaf = False
        self.handlers: dict[str, Callable[..., Any]] = {}

    def register_event_handler(self, name: str, handler: Callable[..., Any]) -> None:
        self.handlers[name] = handler

    def lookup_component(self, name: str, default: Any = None) -> Any:
        return self.component if name == "spoolman" else self

    async def call_method(self, name: str, arguments: dict[str, Any]) -> Any:
        assert self.component is not None
        if name == "server.spoolman.post_spool_id":
            if not self.deaf:
                self.component.spool_id = arguments.get("spool_id")
                self.handlers["spoolman:active_spool_set"](arguments)
            return {"spool_id": self.component.spool_id}
        assert (name, arguments["request_method"]) == ("server.spoolman.proxy", "GET")
        if self.down:
            raise ServerError("Spoolman server not available", 503)
        ident = int(arguments["path"].rpartition("/")[2])
        if ident not in self.spools:
            raise ServerError("Not Found", 404)
        return self.spools[ident]


def make(moonraker: Moonraker, clock: FakeClock | None = None) -> tuple[Spools, list[str]]:
    told: list[str] = []
    clock = clock or FakeClock()
    room = Spools(moonraker, LiveSettings(Settings()), Board(clock).notices, clock)
    room.register()
    room.subscribe(lambda: told.append("news"))
    return room, told


async def test_the_filament_follows_the_active_spool() -> None:
    moonraker = Moonraker()
    room, told = make(moonraker)
    assert room.filament(OWN) == OWN
    assert await room.why_not(3) == ""
    assert await room.select(3) == "spool 3: Acme PLA Negro"
    assert told
    assert room.filament(OWN) == {
        "brand": "Acme",
        "spool_id": 3,
        "material": "PLA",
        "color": "Negro",
        "color_hex": "111111",
        "vendor": "Acme",
        "remaining": 25,
        "remaining_g": 250.0,
    }
    assert await room.select(0) == "no spool is on the printer"
    assert room.filament(OWN) == OWN


async def test_nothing_of_the_operators_is_told_of_another_spool() -> None:
    moonraker = Moonraker()
    moonraker.spools[4] = {"filament": {"color_hex": "ff0000"}, "remaining_weight": "NaN"}
    room, _ = make(moonraker)
    await room.select(4)
    assert room.filament(OWN) == {
        "brand": "Acme",
        "spool_id": 4,
        "color": "#ff0000",
        "color_hex": "ff0000",
    }


async def test_what_is_refused_and_what_fails() -> None:
    assert "no [spoolman]" in await make(Moonraker(component=False))[0].why_not(3)
    moonraker = Moonraker()
    room, _ = make(moonraker)
    assert "whole number" in await room.why_not(3.5)
    assert "Spoolman has no spool 99" in await room.why_not(99)
    moonraker.down = True
    with pytest.raises(PrinterError, match="Spoolman server not available"):
        await room.why_not(3)
    assert await room.why_not(0) == "", "none needs no Spoolman"
    moonraker.down, moonraker.deaf = False, True
    with pytest.raises(PrinterError, match="shows the spool 0"):
        await room.select(3)


async def test_what_somebody_chose_meanwhile_is_not_told_as_done() -> None:
    moonraker = Moonraker()
    moonraker.spools[5] = {"filament": {"material": "PETG"}}
    room, _ = make(moonraker)
    answer = moonraker.call_method

    async def slowly(name: str, arguments: dict[str, Any]) -> Any:
        if name == "server.spoolman.proxy":  # Spoolman is asked what the spool is
            moonraker.component.spool_id = 5  # type: ignore[union-attr]
        return await answer(name, arguments)

    moonraker.call_method = slowly  # type: ignore[method-assign]
    with pytest.raises(PrinterError, match="shows the spool 5"):
        await room.select(3)


async def test_nothing_of_another_spool_is_told_of_one_that_spoolman_does_not_tell_of() -> None:
    moonraker = Moonraker()
    room, _ = make(moonraker)
    await room.select(3)
    moonraker.down = True
    assert await room.select(4) == "spool 4: –"


async def test_what_is_left_is_looked_at_again() -> None:
    moonraker, clock = Moonraker(), FakeClock()
    room, told = make(moonraker, clock)
    moonraker.component.spool_id = 3  # type: ignore[union-attr]
    task = asyncio.ensure_future(room.run())
    await settle()
    assert room.filament({})["remaining"] == 25
    moonraker.spools[3] = {**NEGRO, "remaining_weight": 100.0}
    clock.advance(LOOK_EVERY)
    await settle()
    assert room.filament({})["remaining"] == 10
    moonraker.down = True  # what was known stays
    before = len(told)
    clock.advance(LOOK_EVERY)
    await settle()
    assert (room.filament({})["remaining"], len(told)) == (10, before)
    task.cancel()


def test_the_examples() -> None:
    assert doctest.testmod(spools).failed == 0
