"""When a camera is looked at, and which pictures are worth their bytes. Pure: time comes in as a
number.

Looking is a request to a camera on the same machine and costs the uplink nothing; sending does.
While the printer works, every look is sent. While it idles, a picture is sent when the scene has
changed, which an allowance keeps to at most a tenth of the pictures of v4 (one each 30 s), and
every ten minutes in any case.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Optional

from ..printer.snapshot import KlippyState, Snapshot

JUST_CHANGED = 60.0  # seconds after a change of the printer in which it still counts as active
KEEPALIVE = 600.0  # seconds; an idle picture is never older
ALLOWANCE = 2  # idle pictures that may follow each other at once
REFILL = 360.0  # seconds to earn another: with the two above 12 an hour, a tenth of one each 30 s
# of 255, evened out: sensor noise at night stays below 2, a hand in the picture gives 10 and more
SCENE_DIFFERENCE = 6.0
SCENE_CELLS = 12  # of the 768: a part taken from the bed, a toolhead moved


class Reason(str, Enum):
    """Why a picture was sent."""

    FIRST = "first"
    INTERVAL = "interval"
    CHANGED = "changed"
    KEEPALIVE = "keepalive"
    STARTED = "started"
    PAUSED = "paused"
    FINISHED = "finished"
    FAILED = "failed"
    ASKED = "asked"


@dataclass(frozen=True)
class Allowance:
    """A token bucket for idle pictures."""

    tokens: float = float(ALLOWANCE)
    at: float = 0.0  # monotonic seconds

    def refilled(self, now: float) -> "Allowance":
        return Allowance(min(self.tokens + max(now - self.at, 0.0) / REFILL, float(ALLOWANCE)), now)

    def spent(self, now: float) -> "Allowance":
        return Allowance(max(self.refilled(now).tokens - 1.0, 0.0), now)

    def allows(self, now: float) -> bool:
        return self.refilled(now).tokens >= 1.0


def active(snapshot: Snapshot, now: float, changed_at: Optional[float]) -> bool:
    """Whether the printer works: printing, heating, or changed within the last minute."""
    if snapshot.printing or (snapshot.ready and snapshot.heating):
        return True
    return changed_at is not None and now - changed_at < JUST_CHANGED


def is_change(old: Snapshot, new: Snapshot) -> bool:
    """Whether the printer was told something or went into another state: fans and factors do not
    count.
    """
    return (
        old.klippy is not new.klippy
        or (old.job.state, old.job.filename) != (new.job.state, new.job.filename)
        or {name: heater.target for name, heater in old.heaters.items()}
        != {name: heater.target for name, heater in new.heaters.items()}
    )


def scene_changed(before: bytes, after: bytes) -> bool:
    """Whether somebody would say that the two signatures show different things."""
    return (
        difference(before, after) >= SCENE_DIFFERENCE or changed_cells(before, after) >= SCENE_CELLS
    )


def difference(one: bytes, other: bytes) -> float:
    """How much two scenes differ: the mean absolute difference of their cells, 0 to 255, their
    brightness evened out.

    Evened out, because a camera's automatic exposure moves all cells together and nothing has
    happened.

    >>> difference(bytes([10, 20, 30]), bytes([110, 120, 130]))
    0.0
    >>> difference(bytes([0, 0]), bytes([0, 100]))
    50.0
    """
    if len(one) != len(other) or not one:
        return 255.0
    shift = (sum(other) - sum(one)) / len(one)
    return sum(abs(b - a - shift) for a, b in zip(one, other)) / len(one)


def changed_cells(one: bytes, other: bytes, by: int = 24) -> int:
    """How many cells differ by more than `by` after evening out: a toolhead moves a few cells a
    lot.
    """
    if len(one) != len(other) or not one:
        return max(len(one), len(other))
    shift = (sum(other) - sum(one)) / len(one)
    return sum(abs(b - a - shift) > by for a, b in zip(one, other))


def worth_sending(
    *,
    is_active: bool,
    now: float,
    sent_at: Optional[float],
    scene_differs: bool,
    allowance: Allowance,
) -> Optional[Reason]:
    """Why the picture just looked at should be sent, or None."""
    if sent_at is None:
        return Reason.FIRST
    if is_active:
        return Reason.INTERVAL
    if now - sent_at >= KEEPALIVE:
        return Reason.KEEPALIVE
    if scene_differs and allowance.allows(now):
        return Reason.CHANGED
    return None


def event_between(old: Snapshot, new: Snapshot) -> Optional[Reason]:
    """The event that deserves a picture of its own, if one lies between two snapshots of the
    printer.
    """
    was, now = old.job.state, new.job.state
    if old.busy and new.klippy is not KlippyState.READY:
        # shutdown, error, a restart, or Klippy gone: the job is lost in each case
        return Reason.FAILED
    if not new.ready or was == now:
        return None
    if now == "printing":
        # Not after a pause, and not when Moonraker has only just found a print under way.
        return Reason.STARTED if was in ("standby", "complete", "cancelled", "error") else None
    if was not in ("printing", "paused"):
        return None
    return {
        "paused": Reason.PAUSED,
        "complete": Reason.FINISHED,
        "cancelled": Reason.FAILED,
        "error": Reason.FAILED,
    }.get(now)
