"""Sentences for people: English in the code, with named places, in any language when they are read.

A `Message` is a text like any other (English), which also remembers its template and what was put
into its places. So whoever makes a sentence knows nothing of languages, and whoever shows it to
somebody puts it into theirs: `in_language(text, "es")`. On its way through a disk it goes as
`parts`. The English template is the key of the catalogue (`locale/es/LC_MESSAGES/tecmedhub.po`,
kept by `scripts/catalogue`).

What Klipper and the hub say is put into places as it is, and so stays in their words.
"""

from __future__ import annotations

import functools
import re
import struct
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping, Optional

LANGUAGES = ("en", "es")
_PLACE = re.compile(r"\{[^{}]*\}|[\W\d_]")
MO = struct.pack("<I", 0x950412DE)  # what such a file begins with
# What comes of reading a catalogue that a power cut has left half written: English is said then.
_DAMAGED = (struct.error, AttributeError, LookupError, ValueError)
_LOCALE = Path(__file__).resolve().parents[1] / "locale"


class Message(str):
    """A finished English sentence, and what it was made of."""

    __slots__ = ("places", "template")

    template: str
    places: Mapping[str, Any]

    def __new__(cls, template: str, places: Mapping[str, Any]) -> "Message":
        self = super().__new__(cls, template.format(**places) if places else template)
        self.template = template
        self.places = places
        return self

    def __str__(self) -> str:
        return self  # so that an exception that carries it gives it back, places and all

    def __getnewargs__(self) -> Any:  # for copies, such as `dataclasses.asdict` makes
        return self.template, self.places


def say(template: str, **places: Any) -> Message:
    """The sentence with its places filled: ``say("{file} is not there.", file=name)``.

    A place may hold another message. Without places the template is taken as it is, braces too.

    >>> say("{file} is not there.", file="a.gcode")
    'a.gcode is not there.'
    """
    return Message(template, places)


def as_message(template: str, **places: Any) -> Message:
    """What is said by whoever takes a template and its places, or a `Message` as it is."""
    return template if isinstance(template, Message) else Message(template, places)


class Told(Exception):
    """An exception whose text is a sentence: ``raise Refused("{file} is gone.", file=name)``."""

    def __init__(self, template: str, **places: Any) -> None:
        super().__init__(as_message(template, **places))


def sentence(template: str) -> str:
    """Marks a template that stands in a table and is filled elsewhere, by `say`."""
    return template


def joined(between: str, texts: Iterable[str]) -> Message:
    """As `between.join(texts)`, each of which keeps its own places."""
    places = {f"t{number}": text for number, text in enumerate(texts)}
    return Message(between.join(f"{{{name}}}" for name in places), places)


def in_language(text: str, language: str) -> str:
    """`text` in `language`, if it is a `Message` that the catalogue knows; else as it is. A plain
    text in any case: some encoders (msgspec, which Moonraker's speed-ups bring) take no other.
    """
    if isinstance(text, Message) and language != "en":
        try:
            text = _translated(text, _catalogue(language))
        except _DAMAGED:
            pass
    return str.__str__(text)


def all_in_language(value: Any, language: str) -> Any:
    """A copy of what JSON can carry, with every text of it `in_language`."""
    if isinstance(value, str):
        return in_language(value, language)
    if isinstance(value, Mapping):
        return {name: all_in_language(inner, language) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [all_in_language(inner, language) for inner in value]
    return value


def parts(text: str) -> Optional[Mapping[str, Any]]:
    """What a `Message` is made of, for JSON to be kept beside the text: `restored` makes it whole.
    None for any other text, and for what JSON would not give back.
    """
    if not isinstance(text, Message):
        return None
    found: Mapping[str, Any] = _parts(text)
    return found if _made_of(found) == text else None


def restored(text: str, kept: Any) -> str:
    """The message that was kept as `text` and its `parts`; `text` as it is where there are none, or
    the catalogue does not know them: another version of the plugin had another wording.
    """
    try:
        message = _made_of(kept)
        return message if isinstance(message, Message) and _is_known(message) else text
    except (*_DAMAGED, ArithmeticError, RecursionError, TypeError):
        return text


def spoken(chosen: str, environment: Mapping[str, str]) -> str:
    """The language of `auto | es | en`; `auto` is that of the computer's locale, English unless the
    catalogue has it.

    >>> spoken("auto", {"LANG": "es_AR.UTF-8"}), spoken("auto", {"LC_ALL": "C", "LANG": "es_ES"})
    ('es', 'en')
    """
    if chosen in LANGUAGES:
        return chosen
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):  # the order that POSIX gives them
        if environment.get(name):
            language = environment[name][:2].lower()
            return language if language in LANGUAGES else "en"
    return "en"


def load_catalogue(language: str) -> None:
    """Read a catalogue now, while a disk may be waited for, and not with its first sentence."""
    _catalogue(language)


def _translated(message: Message, translate: Callable[[str], str]) -> str:
    template = (
        translate(message.template) if message.template else ""
    )  # gettext has its header at ""
    if not message.places:
        return template
    places = {
        name: _translated(value, translate) if isinstance(value, Message) else value
        for name, value in message.places.items()
    }
    return template.format(**places)


def _parts(value: Any) -> Any:
    if isinstance(value, Message):
        return {
            "say": value.template,
            "with": {name: _parts(inner) for name, inner in value.places.items()},
        }
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def _made_of(kept: Any) -> Any:
    if not isinstance(kept, Mapping):
        return kept
    places = {str(name): _made_of(inner) for name, inner in kept["with"].items()}
    return Message(str(kept["say"]), places)


def _is_known(message: Message) -> bool:
    inner = (value for value in message.places.values() if isinstance(value, Message))
    bare = _PLACE.sub("", message.template)  # without a letter of its own there is no other wording
    known = _catalogue("es")(message.template) != message.template if bare else True
    return known and all(map(_is_known, inner))


@functools.lru_cache(maxsize=1)  # English has none, so that of the settings file is let go
def _catalogue(language: str) -> Callable[[str], str]:
    try:
        data = (_LOCALE / language / "LC_MESSAGES" / "tecmedhub.mo").read_bytes()
    except OSError:
        data = b""
    if not data.startswith(MO):
        return str  # English
    return functools.partial(_looked_up, data)


def _looked_up(data: bytes, text: str) -> str:
    """`text` as a .mo file has it (sorted: gettext's manual, "MO Files"); as it is where it
    is not in there. The standard library's reader makes texts of all thousand sentences, which take
    twice the memory, and few are ever said.
    """
    count, originals, translations = struct.unpack_from("<3I", data, 8)

    def entry(table: int, number: int) -> bytes:
        length, start = struct.unpack_from("<2I", data, table + 8 * number)
        return data[start : start + length]

    wanted, low, high = text.encode("utf-8", "surrogatepass"), 0, count
    while low < high:
        middle = (low + high) // 2
        found = entry(originals, middle)
        if found == wanted:
            return entry(translations, middle).decode("utf-8")
        low, high = (middle + 1, high) if found < wanted else (low, middle)
    return text
