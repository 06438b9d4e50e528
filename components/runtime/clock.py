"""The two clocks, as an object: rules take one as a parameter, so that a test turns the hands
itself.
"""

from __future__ import annotations

import asyncio
import time
from typing import Callable

BOOT_ID = "/proc/sys/kernel/random/boot_id"  # Linux: new at each boot (man 4 random)


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

    def boot(self) -> str:
        """Which boot of the machine `monotonic` counts within; "" where that cannot be told."""
        try:
            with open(BOOT_ID, encoding="ascii") as file:
                return file.read().strip()
        except (OSError, ValueError):
            return ""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call `callback` in the running event loop, unless the handle is cancelled before."""
        return asyncio.get_event_loop().call_later(seconds, callback)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
