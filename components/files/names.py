"""Which names a file from the hub may have: what is not already a plain G-code file name is
refused, not repaired.

Pure. A name that passes is one path component, survives Moonraker's upload unchanged and can be
printed: Moonraker sends it as `SDCARD_PRINT_FILE FILENAME="<name>"` and escapes nothing but quotes,
and Klipper reads that with shlex. `'`, `#`, `;` and `*` are fine between the quotes (the last three
since Klipper of 2024-12-01; an older one answers "Malformed command" and prints nothing).
"""

from __future__ import annotations

import unicodedata
from typing import Tuple

from ..runtime.loose import printable
from ..runtime.messages import Told, say

EXTENSION = ".gcode"
MAX_NAME_BYTES = 200  # of UTF-8; file systems take 255, and ".part" and " (2)" are added
MAX_ALTERNATIVES = 99

# Format characters that belong to words and emoji; every other one hides or reorders what is read.
_HARMLESS_FORMATS = frozenset("\u200c\u200d")
_EMOJI_TAGS = range(0xE0020, 0xE0080)  # the flags of England, Scotland and Wales


class Refused(Told):
    """What the hub asked for is not done."""


def plain_gcode_name(text: str) -> str:
    """The name under which a file called `text` by the hub is stored: the same, but for the case of
    its extension, and with letters and accents in one (Unicode NFC, as all but some Macs write).

    >>> plain_gcode_name("🦄 Ana's piñón #2.GCODE")
    "🦄 Ana's piñón #2.gcode"
    """
    text = composed(text)
    shown = show(text)
    _check_component(text, say("The file name {file}", file=shown))
    stem, dot, extension = text.rpartition(".")
    if dot + extension.lower() != EXTENSION:
        raise Refused(
            "The file name {file} does not end in {extension}: only G-code is printed from "
            "the hub.",
            file=shown,
            extension=EXTENSION,
        )
    if not stem.strip(" ."):
        raise Refused(
            "The file name {file} has nothing before {extension}: give the file a name.",
            file=shown,
            extension=EXTENSION,
        )
    return stem + EXTENSION


def composed(text: str) -> str:
    r"""Letters together with their accents (Unicode NFC): the form in which names are compared.

    >>> composed("pin\u0303o\u0301n") == "piñón"
    True
    """
    if text.isascii() or len(text) > MAX_NAME_BYTES * 4:
        return text
    return unicodedata.normalize("NFC", text)


def plain_folder(text: str) -> str:
    """`file_management.folder` as a path relative to the gcodes root; "" is the root itself.

    >>> plain_folder("tecmedhub/aula 3/"), plain_folder("")
    ('tecmedhub/aula 3', '')
    """
    path = text.strip("/")
    if not path:
        return ""
    path = composed(path)
    for part in path.split("/"):
        _check_component(part, f"file_management.folder {show(text)}")
    return path


def alternatives(name: str) -> Tuple[str, ...]:
    """The names tried in turn where `name` is taken: "a.gcode", "a (2).gcode", "a (3).gcode", …"""
    stem = name[: -len(EXTENSION)]
    names = [name]
    for number in range(2, MAX_ALTERNATIVES + 1):
        suffix = f" ({number}){EXTENSION}"
        room = MAX_NAME_BYTES - len(suffix)
        short = stem.encode("utf-8")[:room].decode("utf-8", "ignore").rstrip()
        names.append(short + suffix)
    return tuple(names)


def show(text: str) -> str:
    """A name fit for a sentence: bounded, quoted, without anything that does not print."""
    clean = printable(text, 60)
    return f'"{clean}…"' if len(text) > 60 else f'"{clean}"'


def _check_component(text: str, what: str) -> None:
    if not text:
        raise Refused("{what} is empty: name the file.", what=what)
    if len(text) > MAX_NAME_BYTES:  # before anything that takes time in proportion
        raise Refused(
            "{what} is longer than {max} bytes: give the file a shorter name.",
            what=what,
            max=MAX_NAME_BYTES,
        )
    for character in text:
        _check_character(character, what)
    if len(text.encode("utf-8")) > MAX_NAME_BYTES:
        raise Refused(
            "{what} is longer than {max} bytes: give the file a shorter name.",
            what=what,
            max=MAX_NAME_BYTES,
        )
    if text.startswith("."):
        raise Refused("{what} begins with a dot: such files are hidden; rename it.", what=what)
    if text != text.strip():
        raise Refused("{what} begins or ends with a space: rename it.", what=what)


def _check_character(character: str, what: str) -> None:
    if character in "/\\":
        raise Refused(
            "{what} holds a path separator: only plain file names are taken from the hub.",
            what=what,
        )
    if character == '"':
        raise Refused(
            "{what} holds a double quote, which Klipper cannot print: rename it.", what=what
        )
    category = unicodedata.category(character)
    if category == "Cs":
        raise Refused("{what} holds half a character (a lone surrogate): rename it.", what=what)
    if category in ("Cc", "Zl", "Zp"):
        raise Refused(
            "{what} holds a control character (U+{code:04X}): rename it.",
            what=what,
            code=ord(character),
        )
    if (
        category == "Cf"
        and character not in _HARMLESS_FORMATS
        and ord(character) not in _EMOJI_TAGS
    ):
        raise Refused(
            "{what} holds an invisible character (U+{code:04X}): rename it.",
            what=what,
            code=ord(character),
        )
