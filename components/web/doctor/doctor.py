"""Examines when somebody asks; callers at the same time share one examination.

What looks, and the words for what it finds, are read when somebody first asks: hardly anybody does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Awaitable, Callable, List, NamedTuple, Optional, Sequence

from ...runtime.worker import aside

if TYPE_CHECKING:
    from ...runtime.clock import Clock
    from ...runtime.notices import Notices
    from .report import Finding, Report


class Check(NamedTuple):
    name: str
    work: Callable[[], Awaitable[List[Finding]]]
    limit: float  # seconds


class Doctor:
    """`checks()` gives what is to be looked at."""

    def __init__(
        self, clock: Clock, notices: Notices, checks: Callable[[], Sequence[Check]]
    ) -> None:
        self._clock = clock
        self._notices = notices
        self._checks = checks
        self._under_way: "Optional[asyncio.Task[Report]]" = None

    async def examine(self) -> Report:
        """Look at everything; takes as long as its slowest check."""
        if self._under_way is None or self._under_way.done():
            self._under_way = asyncio.ensure_future(self._examine())
        return await asyncio.shield(self._under_way)

    def close(self) -> None:
        if self._under_way is not None:
            self._under_way.cancel()

    async def _examine(self) -> Report:
        await aside(_read)  # the thread of all may hang at a dead disk, which is to be told
        from .examination import examine  # noqa: PLC0415  (read already, in the thread)

        return await examine(self._checks(), self._clock, self._notices)


def _read() -> None:
    from . import examination, host, hub  # noqa: F401, PLC0415
