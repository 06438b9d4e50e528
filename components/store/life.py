"""A command's life: every state it can be in, and every way from one to the next.

    received ──► sent ──► running ──► done | failed | interrupted
        │          └────────────────► done | failed | refused | expired | interrupted
        └─────────────────────────────────── failed | refused | expired

The ledger lets a row go these ways only. What is final is told to the hub and stays so.
"""

from __future__ import annotations

from enum import Enum
from typing import Dict, Tuple


class State(str, Enum):
    RECEIVED = "received"  # on the disk; it waits for its turn, or its file is on the way
    SENT = "sent"  # on the disk as about to be handed to Klippy, or handed over
    RUNNING = "running"  # handed over and not seen to happen yet; told, not final
    DONE = "done"  # it happened, and was seen to happen
    FAILED = "failed"  # it was tried, and will not happen any more
    REFUSED = "refused"  # it was not tried
    EXPIRED = "expired"  # it was too old to be tried
    INTERRUPTED = "interrupted"  # nobody can know whether it happened; it is not tried again


BEGUN = (State.SENT, State.RUNNING, State.DONE, State.FAILED, State.INTERRUPTED)
FINAL = (State.DONE, State.FAILED, State.REFUSED, State.EXPIRED, State.INTERRUPTED)

TRANSITIONS: Dict[State, Dict[State, str]] = {
    State.RECEIVED: {
        State.SENT: "its turn came and nothing objected: written down before it is handed over",
        State.FAILED: "its file could not be fetched",
        State.REFUSED: "a rule objected, or a halt or a cancel came before its turn",
        State.EXPIRED: "its turn came too late",
    },
    State.SENT: {
        State.RUNNING: "handed over, and not seen to happen within 30 s",
        State.DONE: "the printer shows it",
        State.FAILED: "Klippy refused it, or answered and does not show it, or was halted",
        State.REFUSED: "a rule objected after it was written down: it was not handed over",
        State.EXPIRED: "it grew too old after it was written down: it was not handed over",
        State.INTERRUPTED: "Moonraker or Klippy ended while it ran",
    },
    State.RUNNING: {
        State.DONE: "the printer shows it",
        State.FAILED: "Klippy refused it, or answered and does not show it, or was halted",
        State.INTERRUPTED: "Moonraker or Klippy ended while it ran",
    },
}


def ways_to(state: State) -> Tuple[State, ...]:
    """The states from which a command may get into this one."""
    return tuple(old for old, ways in TRANSITIONS.items() if state in ways)
