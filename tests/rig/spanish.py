"""Reads the Spanish that the plugin shows, by its catalogue alone: what it means in English, and
what no catalogue can have been asked for.

A sentence is recognised by the catalogue's Spanish with anything in its places; what stands in a
place is read in the same way, or is somebody else's word. So a row that asks for English words sees
them where Spanish is shown, and sees nothing where a sentence went past the catalogue.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import polib

PO = Path(__file__).resolve().parents[2] / "components/locale/es/LC_MESSAGES/tecmedhub.po"
# Two of these in a text that the catalogue does not explain, and it is English.
_ENGLISH = re.compile(
    r"(?i)\b(the|is|are|was|were|not|of|and|it|its|with|cannot|this|that|by|from|for|on|at|be|have"
    r"|will|again|which|does)\b"
)
# Klipper's, Moonraker's, the system's and TLS's own words are quoted as they are.
THEIRS = re.compile(
    "|".join(
        (
            r"Lost communication with MCU",
            r"Shutdown due to",
            r"MCU '.*' shutdown",
            r"ADC out of range",
            r"Failed automated reset of MCU",
            r"Section '.*' is not a valid config section",
            r"Timeout (on|during)",
            r"Must home axis first",
            r"Klippy (Disconnected|Host not connected|Request Timed Out)",
            r"Printer is not ready",
            r"Read-only file system",
            r"No space left on device",
            r"attempt to write a readonly database",
            r"database or disk is full",
            r"unable to open database file",
            r"disk I/O error",
            r"file is not a database",
            r"self[- ]signed certificate",
            r"certificate (has expired|is not valid for)",
            r"IP address mismatch",
            r"unable to get local issuer",
            r"[A-Z]\w+(Error|Exception|Closed): ",  # of Python, where nobody expected one
        )
    )
)
_THEIR_TAIL = re.compile(f": (?={THEIRS.pattern}).*", re.DOTALL)


WORD = 4  # letters; what has fewer is a frame for other texts, such as "{low} a {high}"
# The names under which the API has sentences.
SENTENCES = ("message", "message_es", "text", "text_es", "sentence", "sentence_es", "remedy")
SENTENCES += ("title", "error", "missing", "reason", "note")
_PREFIX = re.compile(r"((?:// )?TecMedHub: )?(.*)", re.DOTALL)


class Entry(NamedTuple):
    weight: int  # letters of its own
    pattern: re.Pattern[str]
    english: str
    names: frozenset[str]


class Reading(NamedTuple):
    english: str
    strange: tuple[str, ...]  # pieces that look like English and are in no catalogue's Spanish
    explained: int  # letters that the catalogue has


@functools.lru_cache(maxsize=None)
def entries() -> list[Entry]:
    found = []
    for one in polib.pofile(str(PO)):
        pattern, letters = _pattern(one.msgstr)
        if pattern is not None:
            names = frozenset(pattern.groupindex)
            weight = letters if letters >= WORD else 0
            found.append(Entry(weight, pattern, one.msgid, names))
    return sorted(found, key=lambda entry: -entry.weight)


@functools.lru_cache(maxsize=None)
def _english() -> list[re.Pattern[str]]:
    """English sentences of the catalogue, of three words at least, that Spanish has otherwise."""
    found = []
    for one in polib.pofile(str(PO)):
        pattern, _ = _pattern(one.msgid)
        words = re.findall(r"[A-Za-z]{2,}", re.sub(r"\{[^}]*\}", "", one.msgid))
        if pattern is not None and len(words) >= 3 and one.msgid != one.msgstr:
            found.append(pattern)
    return found


_PLACE = re.compile(r"\{([a-z]\w*)(?:![rs])?(?::([^}]*))?\}")


def _pattern(template: str) -> tuple[re.Pattern[str] | None, int]:
    """A template with anything in its places, and how many letters it has of its own; None for one
    that says nothing by itself.
    """
    if re.search("[{}]", _PLACE.sub("", template)):
        return re.compile(re.escape(template)), len(template)  # braces that are no places
    pieces, done, seen = [], 0, set()
    for place in _PLACE.finditer(template):
        name, figures = place.group(1), place.group(2)
        anything = "[-+0-9.,]+%?" if figures else ".*?"
        pieces.append(re.escape(template[done : place.start()]))
        pieces.append(f"(?P={name})" if name in seen else f"(?P<{name}>{anything})")
        seen.add(name)
        done = place.end()
    own = _PLACE.sub("", template)
    if not own.strip():
        return None, 0
    pieces.append(re.escape(template[done:]))
    return re.compile("".join(pieces), re.DOTALL), sum(map(str.isalpha, own))


@functools.lru_cache(maxsize=4096)
def read(text: str) -> Reading:
    """What a text that people were shown says: of all ways to read it the one that leaves least
    unexplained.
    """
    best = Reading(text, (text,) if _is_english(text) else (), 0)
    if THEIRS.match(text) or not re.search("[A-Za-z]{2}", text):
        return Reading(text, (), 0)
    for entry in entries():
        match = entry.pattern.fullmatch(text)
        if match is None:
            continue
        places = {name: read(value or "") for name, value in match.groupdict().items()}
        reading = Reading(
            _filled(entry.english, {name: r.english for name, r in places.items()}),
            tuple(piece for reading in places.values() for piece in reading.strange),
            entry.weight + sum(reading.explained for reading in places.values()),
        )
        if reading.explained > best.explained:
            best = reading
    return best


def _filled(template: str, values: dict[str, str]) -> str:
    return _PLACE.sub(lambda place: values.get(place.group(1), place.group()), template)


def _is_english(text: str) -> bool:
    own = re.sub('["«].*?["»]', "", _THEIR_TAIL.sub("", text))
    return len(_ENGLISH.findall(own)) >= 2 or any(p.fullmatch(text) for p in _english())


class Collector:
    """What was read, and where it stood."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def at(self, place: str) -> Callable[[str], str]:
        """A reader for texts that stand there: their English, and they are remembered."""

        def english(text: str) -> str:
            prefix, sentence = _PREFIX.fullmatch(text).groups()  # type: ignore[union-attr]
            self._seen.setdefault(sentence, place)
            return str(prefix or "") + read(sentence).english

        return english

    def collect(self, place: str, value: Any, name: str = "") -> None:
        """The sentences in an answer of the API, wherever they stand in it."""
        if isinstance(value, dict):
            for key, inner in value.items():
                self.collect(f"{place}.{key}", inner, key)
        elif isinstance(value, list):
            for inner in value:
                self.collect(place, inner, name)
        elif isinstance(value, str) and name in SENTENCES:
            self._seen.setdefault(_PREFIX.fullmatch(value).group(2), place)  # type: ignore[union-attr]

    def strange(self) -> list[str]:
        """What a Spanish reader would not have understood since this was asked last."""
        found = [
            f"{place}: {piece!r} in {text!r}"
            for text, place in self._seen.items()
            for piece in read(text).strange
        ]
        self._seen.clear()
        return found
