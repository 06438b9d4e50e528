"""Threads started from the event loop."""

from __future__ import annotations

import _thread
import threading
from typing import Any, Callable


def start_thread(
    target: Callable[[], Any], name: str, failed: Callable[[RuntimeError], Any]
) -> None:
    """Start a daemon thread, and do not wait until it runs.

    `Thread.start` does wait: on a busy machine for tens of milliseconds, for which the event loop
    would stand still. `failed(error)` is called, in another thread, if the system gives none.
    """
    thread = threading.Thread(target=target, name=name, daemon=True)
    _thread.start_new_thread(_start, (thread, failed))


def _start(thread: threading.Thread, failed: Callable[[RuntimeError], Any]) -> None:
    try:
        thread.start()
    except RuntimeError as error:
        failed(error)
