"""One place that tells people what is wrong, and takes it back when it is mended.

A notice has a key and one clear sentence. While it stands it is a Moonraker warning (which
Mainsail and Fluidd show when they connect), a row in the panel and in `GET
/server/tecmedhub/status`; it is logged once and then counted, however often it recurs. After it was
mended its return is news again, a few times an hour at most. What the log gets the console gets
too, since an open page shows that at once.
"""

from __future__ import annotations

import logging
import re
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional

from .clock import Clock
from .messages import as_message, in_language, say
from .outward import for_pages

NEWS_AN_HOUR = 3  # log lines for the same fault, come and gone again
MAX_TEXTS = 20  # sentences of one notice whose return is news
MAX_LOGGED = 500  # distinct sentences remembered; beyond it the oldest may be logged a second time
# A time, an id, a count of bytes in an otherwise equal sentence does not make it another fault.
_FIGURES = re.compile(r"\d[\d:.,/-]{2,}\d")


@dataclass(frozen=True)
class Notice:
    key: str
    text: str
    since: float  # unix seconds, of this key
    count: int  # how often it was raised
    warning: bool


class Notices:
    """`add_warning(text, warn_id)` and `remove_warning(warn_id)` are Moonraker's; `console(line)`
    writes to its console; `language()` is what they are written in, `panel()` the address of our
    page, where trouble is explained, or "".

    Its methods take sentences as `Told` does: a template and its places, or a `Message` as it is.
    """

    def __init__(
        self,
        logger: logging.Logger,
        clock: Clock,
        add_warning: Callable[[str, str], None] = lambda text, warn_id: None,
        remove_warning: Callable[[str], None] = lambda warn_id: None,
        console: Callable[[str], None] = lambda line: None,
        language: Callable[[], str] = lambda: "en",
        panel: Callable[[], str] = lambda: "",
    ) -> None:
        self.logger = logger
        self._clock = clock
        self._add_warning = add_warning
        self._remove_warning = remove_warning
        self._console = console
        self._language = language
        self._panel = panel
        self._standing: Dict[str, Notice] = {}
        self._logged: "OrderedDict[str, int]" = OrderedDict()
        self._told: Dict[str, Deque[str]] = {}  # by key: what was logged while it stood
        self._ends: "OrderedDict[str, Deque[float]]" = OrderedDict()  # monotonic
        self._listeners: List[Callable[[], None]] = []

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener()` whenever the list of standing notices changes."""
        self._listeners.append(listener)

    def show(
        self,
        key: str,
        template: str,
        *,
        warning: bool = True,
        level: int = logging.WARNING,
        **places: Any,
    ) -> None:
        """Let the sentence stand under `key`, in place of what stood there."""
        text = as_message(template, **places)
        old = self._standing.get(key)
        if old is not None and old.text == text and old.warning == warning:
            self._standing[key] = replace(old, count=old.count + 1)
            return
        since = old.since if old is not None else self._clock.time()
        count = old.count + 1 if old is not None else 1
        self._standing[key] = Notice(key, text, since, count, warning)
        if warning:
            self._warn(key, text, since)
        elif old is not None and old.warning:
            self._remove_warning(_warn_id(key))
        identity = f"{key}: {_FIGURES.sub('#', text)}"
        if identity not in self._told.get(key, ()) and self._news_again(identity):
            self._logged.pop(identity, None)
        if self.log_once(identity, text, level=level):
            self._told.setdefault(key, deque(maxlen=MAX_TEXTS)).append(identity)
            if warning:
                at = self._panel()
                self.console(say("{trouble} → {panel}", trouble=text, panel=at) if at else text)
        self._changed()

    def _warn(self, key: str, text: str, since: float) -> None:
        """With its time: Mainsail remembers by the text what somebody has dismissed, and a later
        outage is another one.
        """
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(since))
        told = self._told_as(say("{trouble} (since {time})", trouble=text, time=when))
        self._add_warning(for_pages(f"TecMedHub: {told}"), _warn_id(key))

    def clear(self, key: str, template: str = "", **places: Any) -> None:
        """It is mended; the sentence is the good news, for those who were told of the trouble."""
        old = self._standing.pop(key, None)
        if old is None:
            return
        told = self._told.pop(key, ())
        for identity in told:
            self._note_end(identity)
        if old.warning:
            self._remove_warning(_warn_id(key))
        if told:  # no good news about what nobody was told
            good = as_message(template, **places) or say(
                "This is over: {trouble}", trouble=old.text
            )
            logged = good
            if old.count > 1:
                logged = say(
                    "{good} (it had been reported {count} times)", good=good, count=old.count
                )
            self.logger.info("%s", self._told_as(logged))
            if old.warning:
                self.console(good)
        self._changed()

    def log_once(
        self,
        identity: str,
        template: str,
        *,
        level: int = logging.WARNING,
        exc_info: Optional[BaseException] = None,
        **places: Any,
    ) -> bool:
        """Log a distinct failure the first time only; True if it was logged now."""
        seen = self._logged.pop(identity, 0)
        self._logged[identity] = seen + 1
        while len(self._logged) > MAX_LOGGED:
            self._logged.popitem(last=False)
        if seen:
            return False
        text = self._told_as(as_message(template, **places))
        self.logger.log(level, "%s", text, exc_info=exc_info)
        return True

    def log_fault(self, where: str, template: str, exception: BaseException, **places: Any) -> None:
        """Log an exception that nobody expected, with its trace: each distinct one of a place the
        first time only.
        """
        told = f"{type(exception).__name__}: {exception}"
        whole = say("{what}: {error}", what=as_message(template, **places), error=told)
        self.log_once(f"{where}: {told}", whole, level=logging.ERROR, exc_info=exception)

    def _note_end(self, identity: str) -> None:
        ends = self._ends.pop(identity, None) or deque(maxlen=NEWS_AN_HOUR)
        ends.append(self._clock.monotonic())
        self._ends[identity] = ends
        while len(self._ends) > MAX_LOGGED:
            self._ends.popitem(last=False)

    def _news_again(self, identity: str) -> bool:
        """Whether it was mended since it was logged, and not too often of late: a line that drops
        every other packet must not fill a disk.
        """
        ends = self._ends.get(identity)
        if not ends:
            return False
        return len(ends) < NEWS_AN_HOUR or self._clock.monotonic() - ends[0] >= 3600.0

    def note(
        self,
        template: str,
        *,
        level: int = logging.INFO,
        extra: Optional[Mapping[str, Any]] = None,
        **places: Any,
    ) -> None:
        """A line for the log, as often as it happens; `extra` as the logger takes it."""
        text = self._told_as(as_message(template, **places))
        self.logger.log(level, "%s", text, extra=extra)

    def console(self, template: str, **places: Any) -> None:
        """Say it to whoever stands at the printer (the console of Mainsail and Fluidd); never
        reaches Klipper.
        """
        line = self._told_as(as_message(template, **places))
        self._console(for_pages(f"// TecMedHub: {line}"))

    @property
    def language(self) -> str:
        """What people read here: "en" or "es"."""
        return self._language()

    @property
    def standing(self) -> List[Notice]:
        return sorted(self._standing.values(), key=lambda notice: notice.since)

    def close(self) -> None:
        """Take all warnings back (an in-process restart starts clean)."""
        for notice in list(self._standing.values()):
            if notice.warning:
                self._remove_warning(_warn_id(notice.key))
        self._standing.clear()
        self._told.clear()

    def _told_as(self, text: str) -> str:
        return in_language(text, self._language())

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()


def _warn_id(key: str) -> str:
    return f"tecmedhub_{key}"
