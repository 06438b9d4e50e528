"""Filament by weight: Klipper counts millimetres, people and shops count grams. Pure."""

from __future__ import annotations

from typing import Optional

from .snapshot import Snapshot


def grams(used: float, total: float, weight: float) -> Optional[float]:
    """Of `used` mm, by the slicer's word that `total` mm weigh `weight` g; None where it said
    nothing.

    >>> grams(500.0, 1000.0, 3.0), grams(500.0, 0.0, 3.0)
    (1.5, None)
    """
    if used < 0 or total <= 0 or weight <= 0:
        return None
    return round(used * weight / total, 2)


def job_grams(snapshot: Snapshot) -> Optional[float]:
    """What the running job has used, in g."""
    job, file = snapshot.job, snapshot.file
    if file.filename != job.filename:
        return None
    return grams(job.filament_used, file.filament_total, file.filament_weight)
