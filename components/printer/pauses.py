"""Why a job is paused: Klipper says only that it is.

What is known at that moment: a filament sensor without filament, a command of the hub's, a script
that somebody sent, a job that its own file stopped (M25, or a byte that Klipper cannot read: then
print_stats is paused and pause_resume is not), and the line of the file that ran last.
"""

from __future__ import annotations

import re
from typing import Any, Awaitable, Callable

from ..runtime.clock import Clock
from ..runtime.loose import as_int
from ..runtime.messages import say
from ..runtime.supervisor import Supervisor
from .klippy import Printer
from .snapshot import Job

RECENT = 10.0  # seconds between what asked for a pause and the pause: moves before it end first
LOOK_BACK = 512  # bytes of the file before the place where it stands

_ASKS = re.compile(r"^\s*(PAUSE|M600|M601|M25|M0|M1|M226)\b", re.I | re.M)

ReadFile = Callable[[str, int, int], Awaitable[bytes]]


class Pauses:
    """`read(filename, start, length)` reads a piece of a file of the gcodes root; `tell()` is
    called when a reason was found after the pause.
    """

    def __init__(
        self,
        server: Any,
        printer: Printer,
        clock: Clock,
        supervisor: Supervisor,
        read: ReadFile,
        tell: Callable[[], None],
    ) -> None:
        self._server = server
        self._printer = printer
        self._clock = clock
        self._supervisor = supervisor
        self._read = read
        self._tell = tell
        self._script_at = float("-inf")
        self._script = ""
        self.reason = ""  # of the pause that lasts now

    def register(self) -> None:
        self._server.register_event_handler("klippy_connection:gcode_received", self._on_script)

    def _on_script(self, script: str) -> None:
        found = _ASKS.search(script)
        if found:
            self._script_at, self._script = self._clock.monotonic(), found.group(1).upper()

    def explain(self, kind: str, job: Job) -> str:
        """For `Jobs`: why this has just become of the job; "" where nothing is known."""
        self.reason = self._known() if kind == "paused" else ""
        if kind == "paused" and not self.reason:
            self._supervisor.spawn("reason of a pause", self._look(job.filename))
        return self.reason

    def _known(self) -> str:
        now, snapshot = self._clock.monotonic(), self._printer.snapshot
        if now - self._printer.pause_asked < RECENT:
            return say("paused by the hub")
        empty = [n.partition(" ")[2] for n, there in snapshot.filament_sensors.items() if not there]
        if empty:
            return say("no filament at the sensor {name}", name=", ".join(empty))
        if now - self._script_at < RECENT:
            return say("paused by {word}, sent to the printer", word=self._script)
        return ""

    async def _look(self, filename: str) -> None:
        """What the file itself said last."""
        objects = self._printer.snapshot.objects
        position = as_int(objects.get("virtual_sdcard", {}).get("file_position"), 0)
        start = max(position - LOOK_BACK, 0)
        piece = await self._read(filename, start, position - start)
        word = last_word(piece)
        if word:
            reason = say("paused by {word} in the file", word=word)
        elif not objects.get("pause_resume", {}).get("is_paused"):
            reason = say("the file stopped: it holds something there that Klipper cannot read")
        else:
            reason = say("paused at the printer, by a person or a macro")
        if self._printer.snapshot.paused and not self.reason:
            self.reason = reason
            self._tell()


def read_piece(path: str, start: int, length: int) -> bytes:
    """A piece of a file; b"" where it cannot be read. Blocking: for a thread."""
    try:
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(length)
    except (OSError, ValueError):
        return b""


def last_word(piece: bytes) -> str:
    """The command that asks for a pause in the last three lines that ran; "" if there is none.

    >>> last_word(b"G1 X1\\nM600 ; change\\n"), last_word(b"M600\\nG1\\nG1\\nG1\\nG1\\n")
    ('M600', '')
    """
    lines = piece.decode("utf-8", "replace").splitlines()[-3:]
    for line in reversed(lines):
        found = _ASKS.match(line)
        if found:
            return found.group(1).upper()
    return ""
