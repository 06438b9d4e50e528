"""`tecmedhub.log` in Moonraker's logs folder, and what of it moonraker.log repeats; never a secret.

A line costs the event loop one `put` into a bounded queue; a thread of our own masks, formats
and writes. Secrets are masked where a line is formatted, its trace included, so that no call site
has to think of it; a filter on Moonraker's own log handlers masks them in what others say of us.
"""

from __future__ import annotations

import copy
import logging
import logging.handlers
import os
import queue
import re
import sys
from pathlib import Path
from typing import Any, Iterable, List, Mapping, Optional, TextIO

from .disk import reason_of
from .messages import say
from .notices import Notices
from .redaction import Redactor

LOGGER = "tecmedhub"
LOG_FILE = "tecmedhub.log"
IMPORTANT: Mapping[str, Any] = {"important": True}  # logger.info(…, extra=IMPORTANT)
MAX_WAITING = 2000  # lines; when the disk hangs, later ones are counted only
MAX_LINE = 16 * 1024  # characters, traces included
MAX_BODY = 2000  # characters of a reply in a verbose line
CLOSING = 1.0  # seconds to write what still waits

_COLOURS = {
    logging.DEBUG: "\x1b[90m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[1;31m",
}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_PICTURE = re.compile(r"data:[a-z]+/[a-z0-9.+-]+;base64,[A-Za-z0-9+/=\\]{40,}")


def logs_folder(app_args: Mapping[str, Any]) -> Path:
    """Moonraker's logs folder, of its `server.get_app_args()`."""
    log_file = app_args.get("log_file") or ""
    if log_file:
        return Path(log_file).expanduser().parent
    return Path(app_args["data_path"]).expanduser() / "logs"


def colour_terminal() -> Optional[TextIO]:
    """Where Moonraker runs in a terminal that shows colours: that terminal."""
    stream = sys.stderr
    if stream is None or os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb":
        return None
    return stream if stream.isatty() else None


class Logs:
    """Owns the logger `tecmedhub` until `close`, after which nothing of ours is left in logging."""

    def __init__(self, folder: Path, terminal: Optional[TextIO] = None) -> None:
        self.redactor = Redactor()
        self.logger = logging.getLogger(LOGGER)
        self._file = _File(folder / LOG_FILE)
        self._file.setFormatter(_Formatter(self.redactor))
        handlers: List[logging.Handler] = [self._file]
        if terminal is not None:
            on_screen = _Screen(terminal)
            on_screen.setFormatter(_Formatter(self.redactor, colours=True))
            handlers.append(on_screen)
        self._lines = _Queue()
        self._writer = _Writer(self._lines, handlers)
        self._important = _Important(self.redactor)
        self.logger.addHandler(self._lines)
        self.logger.addHandler(self._important)
        self.logger.propagate = False
        self._mask = _Mask(self.redactor)
        self._masked = list(logging.getLogger().handlers)
        for handler in self._masked:
            handler.addFilter(self._mask)
        self._verbose = False
        self._closed = False

    @property
    def problem(self) -> str:
        """Why nothing is written to the file at present, for people; "" if all is well."""
        return self._file.problem

    def report(self, notices: Notices) -> None:
        """Show or take back the notice about `problem`; to be called now and then."""
        if self.problem:
            notices.show("log", self.problem)
        else:
            notices.clear("log", "{file} is written again", file=LOG_FILE)

    def apply(
        self,
        secrets: Iterable[str],
        *,
        level: str,
        max_size_mb: float,
        backup_count: int,
        verbose: bool,
    ) -> None:
        """Put these in force; `secrets` are masked from now on, in whatever form they appear,
        wherever Moonraker logs.
        """
        if self._closed:
            return
        self.redactor.add(*secrets)
        number = logging.getLevelName(level)
        # Important lines reach moonraker.log at any level of our own file.
        self.logger.setLevel(min(number, logging.INFO))
        self._lines.setLevel(number)
        self._file.maxBytes = int(max_size_mb * 1024 * 1024)
        self._file.backupCount = backup_count
        self._verbose = verbose

    def observe(self, method: str, url: str, ended: Any) -> None:
        """A line, where they are wished, for one `hub.outcomes.Exchange`, at any level."""
        if not self._verbose or self._closed:
            return
        # Cut generously before masking, to size afterwards: no half of a secret at the edge.
        body = ended.body[: 4 * MAX_BODY].decode("utf-8", "replace")
        body = self.redactor(_PICTURE.sub("data:…", body))[:MAX_BODY]
        outcome = f"HTTP {ended.status}" if ended.status else "no reply"
        if ended.sentence:
            outcome = f"{outcome}: {ended.sentence}"
        size = f"{ended.seconds * 1000:.0f} ms, {len(ended.body)} bytes"
        text = f"{method} {url} → {outcome} ({size}) {body}"
        line = self.logger.makeRecord(
            self.logger.name, logging.DEBUG, __file__, 0, text.rstrip(), (), None, "observe"
        )
        self._lines.handle(line)

    def close(self) -> None:
        """Write what waits (within `CLOSING` seconds); leave no handler, filter or thread."""
        if self._closed:
            return
        self._closed = True
        for handler in self._masked:
            handler.removeFilter(self._mask)
        self.logger.removeHandler(self._lines)
        self.logger.removeHandler(self._important)
        self.logger.propagate = True
        self.logger.setLevel(logging.NOTSET)
        self._writer.stop()
        self._lines.close()
        self._important.close()


class _Queue(logging.handlers.QueueHandler):
    """Hands records to the thread that writes; what a hanging disk leaves there is bounded."""

    def __init__(self) -> None:
        self.waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        super().__init__(self.waiting)
        self.left_out = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Nothing is formatted here but what may change until it is written."""
        line = copy.copy(record)
        line.msg, line.args = _message(record), None
        return line

    def enqueue(self, record: logging.LogRecord) -> None:
        if self.waiting.qsize() < MAX_WAITING:
            self.waiting.put(record)
        else:
            self.left_out += 1


class _Writer(logging.handlers.QueueListener):
    """The thread; unlike the library's own it is not waited for longer than `CLOSING`."""

    def __init__(self, lines: _Queue, handlers: List[logging.Handler]) -> None:
        super().__init__(lines.waiting, *handlers)
        self._lines = lines
        self.start()
        if self._thread is not None:
            self._thread.name = "tecmedhub-log"

    def handle(self, record: logging.LogRecord) -> None:
        super().handle(record)
        count = self._lines.left_out
        if count and self._lines.waiting.empty():
            self._lines.left_out = 0
            text = f"{count} lines are missing here: the disk was too slow for them"
            warning = {"msg": text, "levelno": logging.WARNING, "levelname": "WARNING"}
            super().handle(logging.makeLogRecord(warning))

    def dequeue(self, block: bool) -> Any:
        record = self._lines.waiting.get(block)
        if record is None:  # the end; to close a file elsewhere could take as long as its disk
            for handler in self.handlers:
                try:
                    handler.close()
                except Exception:  # what could not be written is lost with the disk
                    pass
        return record

    def stop(self) -> None:
        self.enqueue_sentinel()
        if self._thread is not None:
            self._thread.join(CLOSING)


class _File(logging.handlers.RotatingFileHandler):
    """Opens when the first line comes, goes on after any failure, and remembers the last one."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), encoding="utf-8", delay=True)
        self.problem = self._failure = ""

    def emit(self, record: logging.LogRecord) -> None:
        self._failure = ""
        super().emit(record)
        self.problem = self._failure

    def shouldRollover(self, record: logging.LogRecord) -> Any:  # noqa: N802 - logging's name
        if self.stream is not None and not os.path.exists(self.baseFilename):
            self.stream.close()  # deleted in Mainsail: begin a new one
            self.stream = None
        return super().shouldRollover(record)

    def doRollover(self) -> None:  # noqa: N802 - logging's name
        super().doRollover()
        number = self.backupCount + 1  # a smaller logging.backup_count: the surplus goes
        while os.path.exists(f"{self.baseFilename}.{number}"):
            os.remove(f"{self.baseFilename}.{number}")
            number += 1

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        error = sys.exc_info()[1]
        reason = "?" if error is None else reason_of(error)
        self._failure = say(
            "{file} cannot be written ({reason}); everything else goes on. Check the free space and"
            " who owns the folder.",
            file=self.baseFilename,
            reason=reason,
        )

    def _open(self) -> Any:
        os.makedirs(os.path.dirname(self.baseFilename), exist_ok=True)
        return super()._open()


class _Screen(logging.StreamHandler):  # type: ignore[type-arg]
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """A terminal that has gone: logging's own report would show the record unmasked."""


class _Important(logging.Handler):
    """Repeats warnings, errors and what is marked `IMPORTANT` in moonraker.log, masked."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._formatter = _Formatter(redactor)

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.WARNING and not getattr(record, "important", False):
            return
        repeated = copy.copy(record)
        text = self._formatter.clean(_message(record))
        repeated.msg = text if text.startswith("TecMedHub") else f"TecMedHub: {text}"
        repeated.args = repeated.exc_info = repeated.stack_info = None
        if record.exc_info:
            repeated.exc_text = self._formatter.clean(
                self._formatter.formatException(record.exc_info)
            )
        logging.getLogger().handle(repeated)


class _Mask(logging.Filter):
    """On Moonraker's handlers: masks known secrets; a record without one stays as it is."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        text = _message(record)
        masked = self._redactor.known(text)
        if masked != text:
            record.msg, record.args = masked, None
        if record.exc_info and not record.exc_text:
            trace = logging.Formatter().formatException(record.exc_info)
            masked = self._redactor.known(trace)
            if masked != trace:
                record.exc_text, record.exc_info = masked, None
        elif record.exc_text:
            record.exc_text = self._redactor.known(record.exc_text)
        if record.stack_info:
            record.stack_info = self._redactor.known(record.stack_info)
        return True


class _Formatter(logging.Formatter):
    """No secrets, no control characters, later lines indented, so that no entry can be forged."""

    def __init__(self, redactor: Redactor, *, colours: bool = False) -> None:
        super().__init__("%(asctime)s %(levelname)-8s %(message)s")
        self._redactor = redactor
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        text = self.clean(super().format(record))
        colour = _COLOURS.get(record.levelno, "") if self._colours else ""
        return f"{colour}{text}\x1b[0m" if colour else text

    def clean(self, text: str) -> str:
        text = self._redactor(text)
        if len(text) > MAX_LINE:
            text = f"{text[:MAX_LINE]}…"
        text = text.replace("\r\n", "\n").replace("\n", "\n    ")
        text = _CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", text)
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # wrong arguments: still worth a line
        return f"{record.msg} {record.args!r}"
