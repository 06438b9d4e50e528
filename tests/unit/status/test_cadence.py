"""When a status goes out."""

from __future__ import annotations

import asyncio
from typing import Any

from components.runtime.clock import Clock
from components.settings.model import Intervals
from components.status.cadence import COALESCE, MIN_SPACING, Cadence, next_due

NEVER = float("inf")


def test_news_does_not_wait_for_the_heartbeat_and_is_coalesced() -> None:
    assert next_due(100.0, 98.0, 100.0, Intervals(), False) == 100.0 + COALESCE
    assert COALESCE <= 0.3


def test_at_most_four_a_second() -> None:
    assert next_due(100.0, 99.99, 99.99, Intervals(), False) == 99.99 + MIN_SPACING


def test_a_flood_of_news_never_delays_the_heartbeat() -> None:
    assert next_due(100.0, 90.0, 100.0, Intervals(status_update=5), False) == 95.0


def test_an_idle_printer_may_report_less_often() -> None:
    intervals = Intervals(status_update=5, status_idle=30)
    assert next_due(0.0, 0.0, NEVER, intervals, True) == 30.0
    assert next_due(0.0, 0.0, NEVER, intervals, False) == 5.0


async def test_what_changes_together_goes_out_together() -> None:
    cadence = Cadence(Clock(), lambda: Intervals(status_update=60), lambda: False)
    assert await cadence.due() == set()  # the first one, at once
    waiting: asyncio.Future[Any] = asyncio.ensure_future(cadence.due())
    await asyncio.sleep(0)
    cadence.news("printer")
    cadence.news("files")
    assert await waiting == {"printer", "files"}
