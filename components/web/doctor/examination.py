"""All checks at the same time, each within its limit; one that breaks spoils no other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, List, Sequence

from .report import Finding, Report, State

if TYPE_CHECKING:
    from ...runtime.clock import Clock
    from ...runtime.notices import Notices
    from .doctor import Check


async def examine(checks: Sequence[Check], clock: Clock, notices: Notices) -> Report:
    started = clock.monotonic()
    found = await asyncio.gather(*(_one(check, notices) for check in checks))
    findings = [finding for part in found for finding in part]
    return Report(findings, clock.monotonic() - started)


async def _one(check: Check, notices: Notices) -> List[Finding]:
    try:
        return await asyncio.wait_for(check.work(), check.limit)
    except asyncio.CancelledError:
        raise
    except asyncio.TimeoutError:
        return [Finding(check.name, State.FAILED, "check_timeout", {"seconds": round(check.limit)})]
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
        notices.log_once(
            f"doctor {check.name}: {fault}",
            "The doctor's check '{name}' failed: {error}",
            name=check.name,
            error=fault,
            exc_info=error,
        )
        return [Finding(check.name, State.SKIPPED, "check_broken", {"error": type(error).__name__})]
