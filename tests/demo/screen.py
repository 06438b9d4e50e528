"""The terminal: lines that scroll, and under them a panel that is drawn anew in place.

On anything but a terminal (a pipe, a build server) there is no panel and no colour, only lines.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Sequence

_CODES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


class Screen:
    """`say(line)` scrolls, `panel(lines)` replaces the panel below. Colours: `paint`."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._colour = self.live and "NO_COLOR" not in os.environ
        self._panel: list[str] = []
        self._shown = 0  # lines of the panel on the terminal now

    def __enter__(self) -> Screen:
        if self.live:
            sys.stdout.write("\x1b[?25l")  # no cursor
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            sys.stdout.write("\x1b[?25h")
            sys.stdout.flush()

    def paint(self, text: str, *styles: str) -> str:
        if not self._colour or not styles:
            return text
        codes = ";".join(_CODES[style] for style in styles)
        return f"\x1b[{codes}m{text}\x1b[0m"

    def say(self, text: str = "") -> None:
        self._wipe()
        print(text)
        self._draw()

    def panel(self, lines: Sequence[str]) -> None:
        if self.live and self._panel != list(lines):
            self._wipe()
            self._panel = list(lines)
            self._draw()

    def drop_panel(self) -> None:
        self.panel(())

    def _wipe(self) -> None:
        if self._shown:
            sys.stdout.write(f"\x1b[{self._shown}A\r\x1b[J")
            self._shown = 0

    def _draw(self) -> None:
        if self._panel:
            width, height = shutil.get_terminal_size()
            rows = [cut(line, width - 1) for line in self._panel[: height - 1]]
            sys.stdout.write("\n".join(rows) + "\n")
            self._shown = len(rows)
        sys.stdout.flush()


def cut(text: str, columns: int) -> str:
    """`text` without what would not fit into so many columns; escape sequences take none."""
    kept: list[str] = []
    used = 0
    for piece in re.split(f"({_ESCAPE.pattern})", text):
        if _ESCAPE.fullmatch(piece):
            kept.append(piece)
            continue
        for character in piece:
            used += _columns(character)
            if used > columns:
                break
            kept.append(character)
    return "".join(kept)


def pad(text: str, columns: int) -> str:
    used = sum(_columns(character) for character in _ESCAPE.sub("", text))
    return text + " " * max(columns - used, 0)


def bar(share: float, columns: int) -> str:
    """A bar of so many columns, filled by `share` (0–1) to an eighth of a column."""
    eighths = round(min(max(share, 0.0), 1.0) * columns * 8)
    full, rest = divmod(eighths, 8)
    text = "█" * full + ("" if not rest else "▏▎▍▌▋▊▉"[rest - 1])
    return text + "░" * (columns - len(text))


def _columns(character: str) -> int:
    if unicodedata.combining(character) or character in "\ufe0f\u200d":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
