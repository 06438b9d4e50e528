"""What a slicer wrote into its file that Moonraker's metadata does not hold: an estimate, heights,
and Cura's clock. Blocking: for a thread.

Of a file of any size only its two ends are read, and for the clock forty samples between them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

from ..runtime.steps import breathe

END = 65536  # bytes read at each end: slicers write their summaries there
SAMPLES = 40
SAMPLE = 32768  # bytes; Cura writes its clock at the end of each layer
LONGEST = 400 * 86400.0  # seconds; what is more is no estimate

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_SPAN = r"((?:\s*[0-9]+(?:\.[0-9]+)?\s*[dhms][a-z]*,?)+)"  # "1d 2h 3m 4s", "1 hour 3 minutes"
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([dhms])", re.I)
_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"

# Seconds, or a span of time; the first that is found counts.
_ESTIMATES = tuple(
    re.compile(pattern, re.I | re.M)
    for pattern in (
        r"^;\s*estimated printing time(?: \(normal mode\))?\s*[=:]" + _SPAN,  # Slic3r's family
        r"^;.*total estimated time\s*[=:]" + _SPAN,  # Bambu, Orca, Creality Print
        r"^;\s*(?:estimated )?(?:build|print|printing)[ _]time\s*[=:]" + _SPAN,  # Simplify3D, KISS
        r"^;\s*TIME\s*:\s*" + _NUMBER + r"\s*$",  # Cura, Creality
        r"^;\s*(?:PRINT|PRINTING|print)[_. ]?time\s*[=:]\s*" + _NUMBER + r"\s*$",  # ideaMaker
    )
)
_M73 = re.compile(r"^M73(?=[^\n;]*\bP0\b)[^\n;]*\bR([0-9]+)", re.M)  # minutes left at its start
_LAYER = re.compile(r"^;\s*(?:layer[ _]height|layerheight)\s*[=:]\s*" + _NUMBER, re.I | re.M)
_FIRST = re.compile(
    r"^;\s*(?:initial_layer_print_height|first[ _]layer[ _]height|initial layer height)\s*[=:]\s*"
    + _NUMBER,
    re.I | re.M,
)
_TOP = re.compile(r"^;\s*(?:max_z_height|MAXZ|max z height)\s*[=:]\s*" + _NUMBER, re.I | re.M)
_CLOCK = re.compile(rb"^;TIME_ELAPSED:([0-9]+(?:\.[0-9]+)?)\s*$", re.M)


class SlicerWords(NamedTuple):
    """Zeros and () where the file says nothing."""

    estimate: float = 0.0  # seconds
    layer_height: float = 0.0  # mm
    first_layer_height: float = 0.0  # mm
    object_height: float = 0.0  # mm
    clock: Tuple[Tuple[int, float], ...] = ()  # (byte, seconds printed until there), rising


def read_words(path: Path) -> SlicerWords:
    """What the file says; nothing where it cannot be read."""
    try:
        with open(str(path), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(END)
            file.seek(max(size - END, 0))
            tail = file.read(END)
            words = words_of((head + b"\n" + tail).decode("utf-8", "replace"))
            if b";TIME_ELAPSED:" not in head + tail:
                return words
            marks: List[Tuple[int, float]] = []
            for number in range(SAMPLES + 1):
                breathe(number, 1)
                start = max(min(size * number // SAMPLES, size - SAMPLE), 0)
                file.seek(start)
                marks += clock_of(file.read(SAMPLE), start)
    except (OSError, ValueError):
        return SlicerWords()
    return words._replace(clock=rising(marks))


def words_of(text: str) -> SlicerWords:
    """What stands in the comments of a file's two ends.

    >>> words_of("; estimated printing time (normal mode) = 1h 2m 3s").estimate
    3723.0
    """
    estimate = 0.0
    for pattern in _ESTIMATES:
        found = pattern.search(text)
        if found:
            estimate = seconds_of(found.group(1))
            break
    if not estimate:
        found = _M73.search(text)
        estimate = 60.0 * int(found.group(1)) if found and len(found.group(1)) < 7 else 0.0
    return SlicerWords(
        estimate=estimate if estimate < LONGEST else 0.0,
        layer_height=_millimetres(_LAYER, text),
        first_layer_height=_millimetres(_FIRST, text),
        object_height=_millimetres(_TOP, text),
    )


def seconds_of(span: str) -> float:
    """
    >>> seconds_of("1d 2h 3m 4s"), seconds_of("1 hour 3 minutes"), seconds_of(" 6666 ")
    (93784.0, 3780.0, 6666.0)
    """
    parts = _PART.findall(span)
    if parts:
        return float(sum(float(value) * _UNITS[unit.lower()] for value, unit in parts))
    return float(span)


def clock_of(data: bytes, start: int) -> List[Tuple[int, float]]:
    """Cura's clock in a piece of the file that begins at byte `start`."""
    return [(start + found.start(), float(found.group(1))) for found in _CLOCK.finditer(data)]


def rising(marks: List[Tuple[int, float]]) -> Tuple[Tuple[int, float], ...]:
    """In order, without what goes back in time: a clock that does is none."""
    kept: List[Tuple[int, float]] = []
    for byte, seconds in sorted(set(marks)):
        if not kept or seconds > kept[-1][1]:
            kept.append((byte, seconds))
    return tuple(kept)


def _millimetres(pattern: "re.Pattern[str]", text: str) -> float:
    found = pattern.search(text)
    value = float(found.group(1)) if found else 0.0
    return value if value < 10000 else 0.0


def share_of_time(
    clock: Tuple[Tuple[int, float], ...], position: int, start: int = 0
) -> Optional[float]:
    """How far the print is in time, 0 to 1, at a byte of the file, between the marks of its clock;
    None without one.

    >>> share_of_time(((100, 10.0), (200, 90.0), (300, 100.0)), 150)
    0.5
    """
    if len(clock) < 2:
        return None
    total = clock[-1][1]
    before = (min(start, clock[0][0]), 0.0)
    for mark in clock:
        if position < mark[0]:
            span = mark[0] - before[0]
            part = (position - before[0]) / span if span > 0 else 0.0
            return max(0.0, (before[1] + max(part, 0.0) * (mark[1] - before[1])) / total)
        before = mark
    return 1.0
