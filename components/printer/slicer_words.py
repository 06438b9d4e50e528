"""What a slicer wrote into its file that Moonraker's metadata does not hold: an estimate, heights,
and how its time passes. Blocking: for a thread.

Of a file of any size only its two ends are read, and for its time forty samples between them. That
is told by M73 while it prints, or by Cura's clock; else by its moves, whose lengths and speeds say
how many seconds a piece of the file takes, compared with another: bytes say less. (Not how many in
truth: no printer reaches its speeds at once. Its own pace tells that.)
"""

import math
import os
import re
from pathlib import Path
from typing import BinaryIO, Dict, List, NamedTuple, Optional, Tuple

from ..runtime.steps import breathe

END = 65536  # bytes read at each end: slicers write their summaries there
SAMPLES = 40
SAMPLE = 32768  # bytes; Cura writes its clock at the end of each layer
PIECE = 16384  # bytes of a sample of moves
LINE = 256  # bytes, of the longest line with a move
LEAST = 4096  # bytes: in less there are too few to judge by
SLOWEST = 0.1  # mm/s; what is slower is no speed
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
_MOVE = re.compile(rb"^G[0-3] ([^;\n]*)", re.M)
_PLACE = re.compile(rb"([XYZF])(-?[0-9]{0,5}\.?[0-9]{1,8})")
_CLOCK = re.compile(rb"^;TIME_ELAPSED:([0-9]+(?:\.[0-9]+)?)\s*$", re.M)


class SlicerWords(NamedTuple):
    """Zeros and () where the file says nothing."""

    estimate: float = 0.0  # seconds
    layer_height: float = 0.0  # mm
    first_layer_height: float = 0.0  # mm
    object_height: float = 0.0  # mm
    # (byte, seconds printed until there), rising; of moves: seconds of a printer without inertia
    clock: Tuple[Tuple[int, float], ...] = ()


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
                told = b"\nM73 P" in head + tail
                return words if told else words._replace(clock=clock_of_moves(file, size))
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


def clock_of_moves(file: BinaryIO, size: int) -> Tuple[Tuple[int, float], ...]:
    """How the time of a file passes, by a sample of each fortieth of it; () of a small one."""
    marks: List[Tuple[int, float]] = []
    seconds, speed = 0.0, 0.0
    count = min(SAMPLES, size // LEAST)
    for number in range(count):
        breathe(number, 1)
        begin, end = size * number // count, size * (number + 1) // count
        length = min(end - begin, PIECE)
        start = begin + (end - begin - length) // 2
        file.seek(start)
        piece = file.read(length + LINE)
        first, last = piece.find(b"\n") + 1 if start else 0, piece.find(b"\n", length)
        whole = piece[first : last if last > 0 else None]  # lines, each once
        taken, speed = time_of_moves(whole, speed)
        seconds += taken * (end - begin) / max(len(whole), 1)
        marks.append((end, seconds))
    return rising(marks) if seconds > 0 else ()


def time_of_moves(data: bytes, speed: float = 0.0) -> Tuple[float, float]:
    """Seconds that the moves in a piece of G-code take at their speeds, and the last speed (mm/s);
    `speed` is that of before.

    >>> time_of_moves(b"G1 X0 Y0 F600\\nG1 X30\\nG1 Y40 F1200 ; fast\\n")
    (5.0, 20.0)
    """
    place: Dict[bytes, float] = {}
    seconds = 0.0
    for found in _MOVE.finditer(data):
        way = 0.0
        for name, number in _PLACE.findall(found.group(1)):
            value = float(number)
            if name == b"F":
                speed = value / 60.0
                continue
            way += (value - place.get(name, value)) ** 2
            place[name] = value
        if way and speed >= SLOWEST:
            seconds += math.sqrt(way) / speed
    return seconds, speed


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
