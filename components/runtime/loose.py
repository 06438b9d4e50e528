"""Reading what PHP sends: numbers as strings, booleans as 0/1, an empty list for an empty object,
null for nothing.

Each reader takes anything and never raises; what it cannot read is the default.
"""

from __future__ import annotations

import math
from typing import Any, Dict, List, Optional, overload

EXACT = 2**53  # whole numbers up to it are exact as floats, too


def as_text(value: Any, default: str = "") -> str:
    """A string of a string or number; lone surrogates become '?', since no JSON for PHP may carry
    them.
    """
    if isinstance(value, bool) or value is None:
        return default
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return value.encode("utf-8", "replace").decode("utf-8")
        return value  # itself: a `Message` stays one
    return default


def printable(text: str, most: Optional[int] = None) -> str:
    """The first `most` characters, fit for a sentence: '?' for what does not print, line ends too.

    >>> printable("G28\\nM112\\x1b[31m"), printable("benchy", 3)
    ('G28?M112?[31m', 'ben')
    """
    return "".join(c if c.isprintable() else "?" for c in text[:most])


@overload
def as_float(value: Any) -> Optional[float]: ...


@overload
def as_float(value: Any, default: float) -> float: ...


def as_float(value: Any, default: Optional[float] = None) -> Optional[float]:
    """A finite number of a number or of a string that holds one.

    >>> as_float("210"), as_float("2,5"), as_float(float("nan"))
    (210.0, None, None)
    """
    if type(value) is float:  # what Klipper sends, thousands an hour
        return value if math.isfinite(value) else default
    if isinstance(value, bool):
        return default
    if isinstance(value, str) and len(value) > 40:
        return default
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return default
    return number if math.isfinite(number) else default


@overload
def as_int(value: Any) -> Optional[int]: ...


@overload
def as_int(value: Any, default: int) -> int: ...


def as_int(value: Any, default: Optional[int] = None) -> Optional[int]:
    """A whole number; 3.0 and "3" count, 3.5 does not."""
    if type(value) is int and abs(value) <= EXACT:
        return value
    number = as_float(value)
    if number is None or number != int(number):
        return default
    return int(number)


def as_bool(value: Any, default: bool = False) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return value != 0
    if isinstance(value, str):
        word = value.strip().lower()
        if word in ("1", "true", "yes", "on"):
            return True
        if word in ("0", "false", "no", "off", ""):
            return False
    return default


def as_list(value: Any) -> List[Any]:
    return value if isinstance(value, list) else []


def as_dict(value: Any) -> Dict[str, Any]:
    return value if isinstance(value, dict) else {}
