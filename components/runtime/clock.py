"""The two clocks, as an object: rules take one as a parameter, so that a test turns the hands
itself.
"""

from __future__ import annotations

import asyncio
import time


class Clock:
    """Wall time for records and people, monotonic time for every interval (a Raspberry Pi has no
    RTC).
    """

    def time(self) -> float:
        """Unix seconds; may jump by decades when NTP arrives."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some moment; never jumps."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
