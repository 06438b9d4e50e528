"""What a benchmark hands over: figures with their targets, and a table of them."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One number. `limit` is the most it may be by the project's own promise; None: no promise."""

    part: str
    name: str
    value: float
    unit: str
    limit: float | None = None

    @property
    def kept(self) -> bool:
        return self.limit is None or self.value <= self.limit

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "kept": self.kept}


def p95(values: Sequence[float]) -> float:
    """The value that 95 % of `values` do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * 95 // 100) - 1)]


def spread(
    part: str, name: str, values: Sequence[float], limits: Sequence[float | None]
) -> list[Figure]:
    """Median and p95 of seconds, with their two limits."""
    return [
        Figure(part, f"{name}, median", statistics.median(values), "s", limits[0]),
        Figure(part, f"{name}, p95", p95(values), "s", limits[1]),
    ]


def machine() -> str:
    """The machine, for the heading of the tables."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            for line in lines:
                if line.startswith(("model name", "Model")):
                    model = line.partition(":")[2].strip()
                    break
    except OSError:
        pass
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def shown(value: float, unit: str) -> str:
    """A figure for people.

    >>> shown(0.01234, "s"), shown(3.0, "%"), shown(1234.5, "kB")
    ('0.012 s', '3.00 %', '1,234 kB')
    """
    if abs(value) >= 100:
        return f"{value:,.0f} {unit}"
    if unit == "s":
        return f"{value:.3f} s"
    return f"{value:.2f} {unit}"


def table(figures: Sequence[Figure]) -> str:
    """A Markdown table."""
    rows = ["| what | measured | promised | kept |", "| --- | ---: | ---: | :---: |"]
    for figure in figures:
        limit = "–" if figure.limit is None else f"≤ {shown(figure.limit, figure.unit)}"
        kept = "" if figure.limit is None else ("yes" if figure.kept else "**no**")
        rows.append(f"| {figure.name} | {shown(figure.value, figure.unit)} | {limit} | {kept} |")
    return "\n".join(rows)
