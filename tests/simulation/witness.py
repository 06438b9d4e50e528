"""What was seen at the doors: the story as it went, for the invariants and for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from .loop import VirtualLoop


class Fact(NamedTuple):
    at: float  # virtual seconds
    who: str  # hub | klippy | moonraker | people | machine
    what: str
    data: dict[str, Any]

    def __str__(self) -> str:
        told = " ".join(f"{name}={value!r}" for name, value in self.data.items())
        return f"{self.at:9.3f}  {self.who:<9}  {self.what:<16}  {told}".rstrip()


class Witness:
    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.facts: list[Fact] = []
        self._listeners: list[Callable[[Fact], None]] = []

    def note(self, who: str, what: str, **data: Any) -> Fact:
        fact = Fact(round(self._loop.time(), 4), who, what, data)
        self.facts.append(fact)
        for listener in self._listeners[:]:
            listener(fact)
        return fact

    def when(self, who: str, what: str, call: Callable[[], None]) -> Callable[[], None]:
        """Call once, at the next such fact; returns what calls it off."""

        def listener(fact: Fact) -> None:
            if fact.who == who and fact.what == what:
                off()
                call()

        def off() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        self._listeners.append(listener)
        return off

    def of(self, who: str, *what: str) -> Iterator[Fact]:
        return (f for f in self.facts if f.who == who and f.what in what)
