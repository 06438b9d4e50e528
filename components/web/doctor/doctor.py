"""Runs all checks at the same time, each within its limit; callers at the same time share one
examination.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Awaitable, Callable, List, NamedTuple, Optional, Sequence

from .report import Finding, Report, State

if TYPE_CHECKING:
    from ...runtime.clock import Clock
    from ...runtime.notices import Notices


class Check(NamedTuple):
    name: str
    work: Callable[[], Awaitable[List[Finding]]]
    limit: float  # seconds


class Doctor:
    def __init__(self, clock: Clock, notices: Notices, checks: Sequence[Check]) -> None:
        self._clock = clock
        self._notices = notices
        self.checks = checks
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
        started = self._clock.monotonic()
        found = await asyncio.gather(*(self._one(check) for check in self.checks))
        findings = [finding for part in found for finding in part]
        return Report(findings, self._clock.monotonic() - started)

    async def _one(self, check: Check) -> List[Finding]:
        try:
            return await asyncio.wait_for(check.work(), check.limit)
        except asyncio.CancelledError:
            raise
        except asyncio.TimeoutError:
            return [
                Finding(check.name, State.FAILED, "check_timeout", {"seconds": round(check.limit)})
            ]
        except Exception as error:
            self._notices.log_once(
                f"doctor {check.name}: {type(error).__name__}: {error}",
                "The doctor's check '{name}' failed: {error}",
                name=check.name,
                error=f"{type(error).__name__}: {error}",
                exc_info=error,
            )
            return [
                Finding(check.name, State.SKIPPED, "check_broken", {"error": type(error).__name__})
            ]
