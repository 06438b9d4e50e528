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
from ..runtime.messages import Told, say, sentence

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
    fault, code = _fault_of(text)
    if fault:
        raise Refused(fault, what=what, max=MAX_NAME_BYTES, code=code)


_TOO_LONG = sentence("{what} is longer than {max} bytes: give the file a shorter name.")


def _fault_of(text: str) -> Tuple[str, int]:
    """Why it can be no name, or "", and the character that it is about."""
    if not text:
        return sentence("{what} is empty: name the file."), 0
    if len(text) > MAX_NAME_BYTES:  # before anything that takes time in proportion
        return _TOO_LONG, 0
    for character in text:
        fault = _fault_in(character)
        if fault:
            return fault, ord(character)
    if len(text.encode("utf-8")) > MAX_NAME_BYTES:
        return _TOO_LONG, 0
    if text.startswith("."):
        return sentence("{what} begins with a dot: such files are hidden; rename it."), 0
    if text != text.strip():
        return sentence("{what} begins or ends with a space: rename it."), 0
    return "", 0


def _fault_in(character: str) -> str:
    """Why no name may hold it, or ""."""
    if character in "/\\":
        return sentence(
            "{what} holds a path separator: only plain file names are taken from the hub."
        )
    if character == '"':
        return sentence("{what} holds a double quote, which Klipper cannot print: rename it.")
    category = unicodedata.category(character)
    if category == "Cs":
        return sentence("{what} holds half a character (a lone surrogate): rename it.")
    if category in ("Cc", "Zl", "Zp"):
        return sentence("{what} holds a control character (U+{code:04X}): rename it.")
    harmless = character in _HARMLESS_FORMATS or ord(character) in _EMOJI_TAGS
    if category == "Cf" and not harmless:
        return sentence("{what} holds an invisible character (U+{code:04X}): rename it.")
    return ""
