"""The page of the documentation that shows the figures: its parts and its picture are made here."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Figure, machine, shown, table

HEADINGS = {
    "latency": "How quickly commands and changes arrive",
    "footprint": "What it costs Moonraker",
    "wire": "What goes over the line, and what TLS costs",
    "lines": "Bad lines",
    "fleet": "A fleet after its server was away",
    "download": "Downloading G-code",
    "cameras": "Pictures",
    "deployed": "At the deployed servers, with the files of server/",
    "loop_lag": "How long Moonraker is held up at the worst",
}
NOTES = {
    "latency": (
        "From the hub's queue to Klippy having run the command, at random moments; from a"
        " change at Klippy to the hub's database; and of emergency stops, while Klippy waits in an"
        " M109, to its shutdown. Client v4 on the same rig: commands 1.7 s"
        " median and"
        " 2.8 s p95, changes 2.3 s and 4.5 s."
    ),
    "footprint": (
        "Eight Moonrakers with the plugin, eight without it and eight with the bare sketch, at the"
        " same Klippy, default intervals, no camera; means of the eight. The bare sketch"
        " (`bench/sketch.py`) sends a small status and asks for commands as often, and does"
        " nothing else: about the least that a client costs which opens a connection for each"
        " request. Per cents of a core depend on the machine, and on a virtual one on the hour,"
        " so the promise is in proportion to the sketch in the same run: 1.5 times, which was"
        " 0.12 % against 0.08 % where it was given. Where opening a connection is cheap, the sketch"
        " is, and the plugin is more of it: `AGAINST=<commit> python -m bench against` tells"
        " whether the plugin itself has become dearer. Client v4: 31 MB, 0.2 % of a core, 36"
        " requests a minute to Moonraker and 32 to the hub. Nearly all of the memory is code; what"
        " works with pictures and what films is read with the first camera, which costs 7 MB, most"
        " of it Pillow and the pictures that it has in hand."
    ),
    "wire": (
        "An idle printer at default intervals, behind nginx with TLS 1.3; the plugin and the"
        " traffic of client v4 (`bench/v4.py`: `requests`, one session, its two loops) side by"
        " side. The bare sketch opens a connection, and thus a TLS session, for each request."
        " The event loop is held by the plugin where one of its callbacks takes so long: a line"
        " at rest, after the first handshake, a third of the time each; the middle one of three."
        " All Moonrakers here trust the server's authority as they would the system's. `python -m"
        " bench where` tells what the processor's time is spent on: of the plugin's, three quarters"
        " in the event loop, the most of it for the exchanges; the rest in Moonraker's own thread"
        " that reads each second how much memory it has, which takes the longer the more there is."
        " A month is 30 days, with the headers of IP and TCP; a camera's picture goes up every"
        " ten minutes while the scene rests, generation 2 has it in each status."
    ),
    "lines": (
        "Six Moonrakers with the plugin, each behind a line of its own and nginx with TLS 1.3; the"
        " cameras' scenes never rest. The printer does: generation 1 then gets a picture now and"
        " then, generation 2 one in each status. Commands follow each other by some seconds, as"
        " when somebody works at the hub; the time is that to Klippy."
    ),
    "fleet": (
        "200 simulated plugins (the real reporter, poller and back-off, in virtual time) after the"
        " server was away for half an hour."
    ),
    "loop_lag": (
        "The longest time for which the plugin keeps Moonraker's event loop from everything else,"
        " through a print, every endpoint, and everything that the fault matrix knows: replies of"
        " every kind of nonsense, cameras that send it, disks that are full or slow, a killed"
        " Klippy. Time that the loop, or a thread that it waits for, spends waiting for a processor"
        " is not counted, nor are passes"
        " of Python's garbage collector, which look at all of Moonraker's memory whoever sets them"
        " off: those have a line of their own. A virtual machine's host takes processors away"
        " without saying when (the last line: of the time they were wanted); so trouble that was"
        " over the limit is gone through twice more, and the middle one of the three counts."
    ),
}
BAR, GAP, LEFT, WIDE = 18, 10, 330, 420
# A row of a table: name, value, unit, limit.
_PROMISED = re.compile(r"^\| (.+) \| (-?[\d.,]+) (.*?) \| ≤ ([\d.,]+) .*\|$", re.MULTILINE)


def write(docs: Path, figures: Sequence[Figure], how: str = "") -> None:
    """Put parts into the page, each in place of what it has of them, and draw its picture anew;
    `how` they were measured, if not as the documentation has them.
    """
    page = docs / "performance.md"
    text = page.read_text(encoding="utf-8")
    when = f"Measured on {machine()}, {datetime.date.today().isoformat()}{how and f', {how}'}."
    for part in dict.fromkeys(figure.part for figure in figures):
        text = _with_section(text, HEADINGS.get(part, part), [*_section(part, figures), "", when])
    page.write_text(text, encoding="utf-8")
    (docs / "images" / "performance.svg").write_text(plot(_promised(text)), encoding="utf-8")


def _with_section(text: str, heading: str, lines: Sequence[str]) -> str:
    head, _, rest = text.partition(f"\n## {heading}\n")
    rest = rest.partition("\n## ")[2]
    section = "\n".join([head.rstrip("\n"), "", f"## {heading}", "", *lines, ""])
    return f"{section}\n## {rest}" if rest else section


def _promised(text: str) -> list[Figure]:
    """What the tables of a page have a promise for."""
    found = _PROMISED.findall(text)
    return [
        Figure("", name, float(value.replace(",", "")), unit, float(limit.replace(",", "")))
        for name, value, unit, limit in found
    ]


def _section(part: str, figures: Sequence[Figure]) -> list[str]:
    note = [NOTES[part], ""] if part in NOTES else []
    return [*note, table([f for f in figures if f.part == part])]


def plot(figures: Sequence[Figure]) -> str:
    """Bars of figures that have a limit, each as a share of it."""
    height = (BAR + GAP) * len(figures) + 50
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDE + 110} {height}"'
        ' font-family="sans-serif" font-size="12" fill="#57606a">',
        f'<line x1="{LEFT + WIDE * 0.8}" x2="{LEFT + WIDE * 0.8}" y1="22" y2="{height - 16}"'
        ' stroke="#cf222e" stroke-dasharray="4 3"/>',
        f'<text x="{LEFT + WIDE * 0.8}" y="14" text-anchor="middle" fill="#cf222e">limit</text>',
    ]
    for row, figure in enumerate(figures):
        limit = figure.limit or 0.0  # where nothing may be lost, anything is too much
        share = min(max(figure.value / limit, 0.0), 1.25) if limit else 1.25 * (figure.value > 0)
        top = 26 + row * (BAR + GAP)
        colour = "#2da44e" if figure.kept else "#cf222e"
        lines += [
            f'<text x="{LEFT - 8}" y="{top + 13}" text-anchor="end">{figure.name}</text>',
            f'<rect x="{LEFT}" y="{top}" width="{max(share * WIDE * 0.8, 1):.0f}" height="{BAR}"'
            f' rx="3" fill="{colour}"/>',
            f'<text x="{LEFT + max(share * WIDE * 0.8, 1) + 6:.0f}" y="{top + 13}">'
            f"{shown(figure.value, figure.unit)}</text>",
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"
