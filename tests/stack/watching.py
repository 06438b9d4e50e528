"""Waiting for what the hub sees of the printer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.rig.stack import Stack

Status = dict[str, Any]


def seen(stack: Stack, what: str, probe: Callable[[Status], Any], timeout: float = 60) -> Status:
    """Wait until the hub's newest status answers to `probe`; that status."""

    def look() -> Status | None:
        status = stack.hub.status(stack.token)
        return status if status is not None and probe(status) else None

    found = stack.hub.wait_for(look, timeout, f"a status with {what}")
    assert found is not None
    return found


def state(stack: Stack, word: str, message: str = "", timeout: float = 60) -> Status:
    """Wait until the hub sees this status word, with `message` within the message."""

    def looks_so(status: Status) -> bool:
        return status["status"] == word and message in status["state_message"]

    return seen(stack, f"{word} ({message})", looks_so, timeout)


def updated(stack: Stack, times: int = 1, timeout: float = 60) -> None:
    """Wait until the hub has taken so many updates more."""
    wanted = stack.hub.count(stack.token) + times
    stack.hub.wait_for(lambda: stack.hub.count(stack.token) >= wanted, timeout, "more updates")
