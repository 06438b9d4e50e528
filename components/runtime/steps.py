"""Long work in a thread, cut into pieces: a thread holds up the event loop too while it holds the
interpreter.
"""

from __future__ import annotations

import time

BREATH = 0.0005  # seconds; enough for a thread that waits to wake and take the interpreter


def breathe(piece: int, every: int = 20) -> None:
    """Let the event loop have the interpreter at every so many pieces of work.

    Work that waits for the disk lets go of it again and again, but takes it back before the loop's
    thread is awake, which can starve that for a tenth of a second.
    """
    if piece % every == every - 1:
        time.sleep(BREATH)
