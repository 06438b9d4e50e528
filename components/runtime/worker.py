"""A thread of our own for blocking work (disk, hashing, pictures): bounded, and gone when we leave.

Moonraker's default executor is shared and, left busy, delays its exit; so nothing of ours runs
there.
"""

from __future__ import annotations

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, TypeVar

T = TypeVar("T")


class Worker:
    def __init__(self, name: str, threads: int = 1) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=f"tecmedhub-{name}")

    async def run(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Await `function(*args)` run in the thread; what it raises is raised here."""
        loop = asyncio.get_event_loop()
        return await loop.run_in_executor(self._pool, functools.partial(function, *args, **kwargs))

    def close(self) -> None:
        """Take no more work; whatever runs now may finish on its own."""
        self._pool.shutdown(wait=False)
