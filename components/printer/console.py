"""Klipper's console: what it says there while something of ours runs, and what that means. Pure but
for the few lines that are kept.

Klipper answers a script without a word of what went wrong within it: an unknown command, a macro
that gives up ("RESUME aborted"), a PAUSE while it is paused are console lines, and nothing else.
"""

from __future__ import annotations

import json
import re
from collections import deque
from typing import Any, Deque, Iterable, List, Sequence, Tuple

from ..runtime.clock import Clock
from ..runtime.loose import as_dict, as_text

KEPT = 40  # lines
LONGEST = 200  # characters of one
TOLD = 300  # characters of what is told of them together
OURS = "// TecMedHub:"

_UNKNOWN = re.compile(r"^Unknown command: ?\"?([^\"]*)\"?", re.I)
_COMPLAINS = re.compile(
    r"unknown command|abort|already paused|not paused|not hot enough|below minimum|must home|"
    r"out of range|not (?:enabled|valid|supported)|cannot|unable|failed|error",
    re.I,
)


class Console:
    """The last lines of Klipper's console, whoever caused them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines: Deque[Tuple[float, str]] = deque(maxlen=KEPT)

    def hear(self, line: Any) -> None:
        """One line, as Moonraker's `server:gcode_response` has it."""
        text = " ".join(as_text(line)[: 2 * LONGEST].split())
        if text and not text.startswith(OURS):
            self._lines.append((self._clock.monotonic(), text[:LONGEST]))

    def since(self, moment: float) -> List[str]:
        """What was said since then (monotonic seconds), oldest first."""
        return [text for when, text in self._lines if when >= moment]


def complaint(lines: Iterable[str]) -> str:
    """What of these lines tells of something that did not work, in Klipper's words; "" if nothing.

    >>> complaint(["// LOAD_FILAMENT TEMP=210", "!! Must home axis first"])
    'Must home axis first'
    """
    found: List[str] = []
    for line in lines:
        text = line.lstrip("!/ ")
        if (line.startswith("!!") or _COMPLAINS.search(text)) and plain_words(text) not in found:
            found.append(plain_words(text))
    return "; ".join(found)[:TOLD]


def unknown_words(lines: Iterable[str]) -> Sequence[str]:
    """The commands that Klipper did not know, upper case.

    >>> unknown_words(['// Unknown command:"M777"'])
    ('M777',)
    """
    matches = (_UNKNOWN.match(line.lstrip("!/ ")) for line in lines)
    return tuple(match.group(1).strip().upper() for match in matches if match)


def plain_words(text: str) -> str:
    """Klipper's words for people: Creality's put theirs into JSON.

    >>> plain_words('{"code":"key585", "msg":"Heater extruder not heating", "values":[]}')
    'Heater extruder not heating (key585)'
    >>> plain_words("Must home axis first")
    'Must home axis first'
    """
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start or '"msg"' not in text:
        return text
    try:
        said = as_dict(json.loads(text[start : end + 1]))
    except ValueError:
        return text
    message, code = as_text(said.get("msg")).strip(), as_text(said.get("code")).strip()
    inner = f"{message} ({code})" if message and code else message or code
    return f"{text[:start]}{inner}{text[end + 1 :]}".strip() if inner else text
