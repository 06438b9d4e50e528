"""Waiting for a thing to happen: bounded, and with a sentence about what it was."""

from __future__ import annotations

import time
from typing import Any, Callable


class RigError(Exception):
    """Something of the test bench itself did not work; the text says where to look."""


LEAST = 60.0  # seconds: where ten rigs share two processors, what takes a second may take twenty


def wait_until(probe: Callable[[], Any], timeout: float, what: str, poll: float = 0.05) -> Any:
    """Ask `probe` until its answer is true; returns it. `RigError` after `timeout` seconds, but not
    before `LEAST`.
    """
    timeout = max(timeout, LEAST)
    deadline = time.monotonic() + timeout
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise RigError("waited %.0f s in vain for: %s" % (timeout, what))
        time.sleep(poll)
