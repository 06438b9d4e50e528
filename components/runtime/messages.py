"""Sentences for people: English in the code, with named places, in any language when they are read.

A `Message` is a text like any other (English), which also remembers its template and what was put
into its places. So whoever makes a sentence knows nothing of languages, and whoever shows it to
somebody puts it into theirs: `in_language(text, "es")`. The English template is the key of the
catalogue (`locale/es/LC_MESSAGES/tecmedhub.po`, kept by `scripts/catalogue`).

What Klipper and the hub say is put into places as it is, and so stays in their words.
"""

from __future__ import annotations

import functools
import gettext
from pathlib import Path
from typing import Any, Callable, Mapping

LANGUAGES = ("en", "es")
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


def sentence(template: str) -> str:
    """Marks a template that stands in a table and is filled elsewhere, by `say`."""
    return template


def in_language(text: str, language: str) -> str:
    """`text` in `language`, if it is a `Message` that the catalogue knows; else as it is. A plain
    text in any case: some encoders (msgspec, which Moonraker's speed-ups bring) take no other.
    """
    if isinstance(text, Message) and language != "en":
        text = _translated(text, _catalogue(language))
    return str.__str__(text)


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


@functools.lru_cache(maxsize=None)
def _catalogue(language: str) -> Callable[[str], str]:
    return gettext.translation("tecmedhub", str(_LOCALE), [language], fallback=True).gettext
