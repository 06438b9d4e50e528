"""Blocking calls that may hang (name resolution, a dead disk), each in a thread that nobody has to
wait for.
"""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Optional, TypeVar

from .threads import start_thread

T = TypeVar("T")


async def aside(function: Callable[..., T], *args: Any) -> T:
    """Await `function(*args)` in a daemon thread of its own: giving up on it delays no exit, as an
    executor's would.
    """
    loop = asyncio.get_event_loop()
    future: "asyncio.Future[T]" = loop.create_future()

    def settle(result: Optional[T], error: Optional[BaseException]) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def tell(result: Optional[T], error: Optional[BaseException]) -> None:
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            pass  # the loop has ended meanwhile

    def work() -> None:
        result: Optional[T] = None
        error: Optional[BaseException] = None
        try:
            result = function(*args)
        except Exception as caught:
            error = caught
        tell(result, error)

    start_thread(work, "tecmedhub-aside", lambda error: tell(None, error))
    return await future
