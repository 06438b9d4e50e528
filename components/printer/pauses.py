"""Why a job is paused, and when it was and for how long: Klipper says only that it is.

What is known at that moment: a filament sensor without filament, a command of the hub's, a script
that somebody sent, a job that its own file stopped (M25, or a byte that Klipper cannot read: then
print_stats is paused and pause_resume is not), and the line of the file that ran last.
"""

import asyncio
import re
from typing import Any, Awaitable, Callable, Dict, List, NamedTuple, Optional

from ..runtime.clock import Clock
from ..runtime.loose import as_dict, as_float, as_int, as_list, as_text
from ..runtime.messages import parts, restored, say, sentence
from ..runtime.supervisor import Supervisor
from .jobs import News
from .klippy import Printer
from .snapshot import Job

RECENT = 10.0  # seconds between what asked for a pause and the pause: moves before it end first
SETTLES = 0.5  # seconds: a cancelled job is "paused" for a moment, by nobody
PATIENCE = 2.0  # seconds that a pause is not told for want of its reason
MOST = 10  # pauses that are kept of one job, the last ones
BY_HUB = sentence("paused by the hub")
LOOK_BACK = 512  # bytes of the file before the place where it stands

_ASKS = re.compile(r"^\s*(PAUSE|M600|M601|M25|M0|M1|M226)\b", re.I | re.M)

ReadFile = Callable[[str, int, int], Awaitable[bytes]]


class Pause(NamedTuple):
    at: float  # unix seconds
    seconds: Optional[float] = None  # that it lasted; None while it does
    reason: str = ""  # "" where nobody knows

    def to_keep(self) -> Dict[str, Any]:
        """As JSON that `read_pause` makes whole again, in whichever language it is read."""
        return {**self._asdict(), "reason_parts": parts(self.reason)}


class Pauses:
    """`read(filename, start, length)` reads a piece of a file of the gcodes root; `recall()` gives
    what `remember(value)` (a JSON value) was told last, by a former run. `tell()` is called when a
    reason was found after the pause.
    """

    def __init__(
        self,
        server: Any,
        printer: Printer,
        clock: Clock,
        supervisor: Supervisor,
        read: ReadFile,
        tell: Callable[[], None],
        recall: Callable[[], Any] = lambda: None,
        remember: Callable[[Any], None] = lambda value: None,
    ) -> None:
        self._server = server
        self._printer = printer
        self._clock = clock
        self._supervisor = supervisor
        self._read = read
        self._tell = tell
        self._recall = recall
        self._remember = remember
        self._script_at = float("-inf")
        self._script = ""
        self._pending: Optional[News] = None  # a pause whose reason is looked for
        self._listeners: List[Callable[[News], None]] = []
        self._paused_at = 0.0  # unix seconds, of the pause that is told next
        self._since: Optional[float] = None  # monotonic, of the pause that lasts; None: a run ago
        self.reason = ""  # of the pause that lasts now
        self.pauses: List[Pause] = []  # all of this job, or of the one just over

    def register(self) -> None:
        self._server.register_event_handler("klippy_connection:gcode_received", self._on_script)

    def subscribe(self, listener: Callable[[News], None]) -> None:
        """Call `listener(news)` with what `Jobs` tells, each pause with its reason."""
        self._listeners.append(listener)

    def start(self) -> None:
        """What was remembered can be read: the job may be the same, and still be paused."""
        kept = as_dict(self._recall())
        if not self.pauses:
            self.pauses = [read_pause(one) for one in as_list(kept.get("pauses"))][:MOST]
            self.reason = self.pauses[-1].reason if self._lasts else ""

    def _on_script(self, script: str) -> None:
        found = _ASKS.search(script)
        if found:
            self._script_at, self._script = self._clock.monotonic(), found.group(1).upper()

    def explain(self, kind: str, job: Job) -> str:
        """For `Jobs`: why this has just become of the job; "" where nothing is known."""
        self.reason = self._known() if kind == "paused" else ""
        return self.reason

    def job_told(self, news: News) -> None:
        """A listener for `Jobs.subscribe`."""
        if news.status == "cancelled":
            self._pending = None  # what was no pause is not told as one
        self._pass_on("")  # what comes next does not wait for a reason
        if news.kind in ("begun", "found"):
            self.pauses, self.reason = [], ""
            self._keep()
        if news.kind != "paused":
            if self._lasts:
                self._over()
            self._hand_on(news)
            return
        self._pending = news
        if not self._lasts:  # of one that lasts over a restart it is told again
            self._paused_at, self._since = self._clock.time(), self._clock.monotonic()
        if news.message:
            self._pass_on(news.message)
        else:
            self._supervisor.spawn("reason of a pause", self._find(news))

    def _known(self) -> str:
        now, snapshot = self._clock.monotonic(), self._printer.snapshot
        if now - self._printer.pause_asked < RECENT:
            return say(BY_HUB)
        empty = [n.partition(" ")[2] for n, there in snapshot.filament_sensors.items() if not there]
        if empty:
            return say("no filament at the sensor {name}", name=", ".join(empty))
        if now - self._script_at < RECENT:
            return say("paused by {word}, sent to the printer", word=self._script)
        return ""

    async def _find(self, news: News) -> None:
        """The reason that the file gives, in time or none."""
        try:
            reason = await asyncio.wait_for(self._look(news.job.filename), PATIENCE)
        except asyncio.TimeoutError:
            reason = ""
        if not self._printer.snapshot.flag("pause_resume", "is_paused"):
            await self._clock.sleep(SETTLES)
        if self._pending is not news:
            return
        if self._printer.snapshot.paused and not self.reason:
            self.reason = reason
        self._pass_on(reason)
        self._tell()

    def _pass_on(self, reason: str) -> None:
        """The pause that waited for its reason, if any, is told."""
        news, self._pending = self._pending, None
        if news is None:
            return
        if not self._lasts:
            self.pauses = [*self.pauses, Pause(self._paused_at)]
        last = self.pauses[-1]
        self.pauses = [*self.pauses[:-1], last._replace(reason=reason or last.reason)][-MOST:]
        self._keep()
        self._hand_on(news._replace(message=reason))

    def _hand_on(self, news: News) -> None:
        for listener in self._listeners:
            listener(news)

    @property
    def _lasts(self) -> bool:
        return bool(self.pauses) and self.pauses[-1].seconds is None

    def _over(self) -> None:
        """The pause that lasted has ended; by the wall clock where it began before our start."""
        last = self.pauses[-1]
        if self._since is None:
            lasted = self._clock.time() - last.at
        else:
            lasted = self._clock.monotonic() - self._since
        self._since = None
        self.pauses = [*self.pauses[:-1], last._replace(seconds=round(max(lasted, 0.0), 1))]
        self._keep()

    def _keep(self) -> None:
        self._remember({"pauses": [pause.to_keep() for pause in self.pauses]})

    async def _look(self, filename: str) -> str:
        """What the file itself said last."""
        objects = self._printer.snapshot.objects
        position = as_int(objects.get("virtual_sdcard", {}).get("file_position"), 0)
        start = max(position - LOOK_BACK, 0)
        piece = await self._read(filename, start, position - start)
        word = last_word(piece)
        if word:
            return say("paused by {word} in the file", word=word)
        if not objects.get("pause_resume", {}).get("is_paused"):
            return say("the file stopped: it holds something there that Klipper cannot read")
        return say("paused at the printer, by a person or a macro")


def read_pause(kept: Any) -> Pause:
    found = as_dict(kept)
    reason = restored(as_text(found.get("reason")), found.get("reason_parts"))
    return Pause(as_float(found.get("at"), 0.0), as_float(found.get("seconds")), reason)


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
