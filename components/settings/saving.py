"""Writing options into our own JSON file, as the panel's form does: checked first, then whole or
not at all, and every other character stays as it is.
"""

import json
import os
import re
import stat
from pathlib import Path
from typing import Any, List, Mapping, NamedTuple, Optional

from ..runtime.disk import write_whole
from ..runtime.messages import Told
from .jsonc import Document, JsoncError, decode, parse, read_bytes, without_remarks
from .options import OPTIONS
from .template import json_template

_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder()


class SaveRefused(Told):
    """Why nothing was written."""


class Saved(NamedTuple):
    """The text of the file before and after."""

    before: str
    after: str
    document: Document


def prepare(path: Path, wanted: Mapping[str, Any]) -> Saved:
    """What the file would be with these options set; raises `SaveRefused`. Blocking."""
    unknown = sorted(set(wanted) - {option.path for option in OPTIONS if option.in_json})
    if unknown:
        raise SaveRefused("There is no option {name}.", name=unknown[0])
    try:
        before = _text_of(path)
        after = edited(before, wanted)
        return Saved(before, after, read_bytes(after.encode("utf-8")))
    except JsoncError as error:
        raise SaveRefused(
            "{file} cannot be read, so nothing was changed: {reason}. Mend it there first.",
            file=path.name,
            reason=str(error),
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise SaveRefused(
            "{file} cannot be read ({reason}).", file=path.name, reason=reason
        ) from None


def replace(path: Path, saved: Saved) -> None:
    """Whole or not at all, and only what it was prepared from; raises `SaveRefused`, OSError.
    Moonraker tells all of it as a file that was moved in. A link stays one, as with Moonraker's own
    uploads.
    """
    now: Optional[str] = None
    try:
        now = _text_of(path)
    except JsoncError:
        pass  # it could be read before
    if now != saved.before:
        raise SaveRefused(
            "{file} was changed by somebody else meanwhile, so nothing was saved: load it again,"
            " then make your change.",
            file=path.name,
        )
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
    real = Path(os.path.realpath(str(path)))
    write_whole(real, saved.after.encode("utf-8"), durable=True, mode=mode)


def _text_of(path: Path) -> str:
    return decode(path.read_bytes())[0] if path.exists() else json_template()


# The text


class _Entry(NamedTuple):
    """One name of an object and its value, by their places in the text."""

    name: str
    at: int
    value_at: int
    end: int


def edited(text: str, changes: Mapping[str, Any]) -> str:
    """`text` with the options of `changes` (by dotted path) set; None takes one out: it gets its
    `_` back, as an example of the laid-down file has it. Raises `JsoncError`.
    """
    parse(text)
    if not without_remarks(text).strip():
        text = f"{text}{{\n}}\n"
    for path, value in changes.items():
        text = _set(text, path, value)
    return text


def _set(text: str, path: str, value: Any) -> str:
    section, _, name = path.rpartition(".")
    plain = without_remarks(text)
    at = plain.index("{")
    indent = "  "
    if section:
        inside = _last(_entries(plain, at), section)
        if inside is None or plain[inside.value_at] != "{":
            if value is None:
                return text
            body = f'"{section}": {{\n    {_pair(name, value)}\n  }}'
            return _inserted(text, plain, at, body, indent)
        at, indent = inside.value_at, "    "
    entries = _entries(plain, at)
    mine = [entry for entry in entries if entry.name == name]
    if value is None:  # from the end on, so that places before it stay
        for entry in reversed(mine):
            text = text[: entry.at] + '"_' + text[entry.at + 1 :]
        return text
    mine = mine or [entry for entry in entries if entry.name == f"_{name}"][-1:]
    if not mine:
        return _inserted(text, plain, at, _pair(name, value), indent)
    for entry in reversed(mine):
        text = text[: entry.at] + _pair(name, value) + text[entry.end :]
    return text


def _inserted(text: str, plain: str, at: int, body: str, indent: str) -> str:
    """`body` as the first of the object that begins at `at`."""
    rest = _SPACE.match(plain, at + 1)
    assert rest is not None
    if plain[rest.end()] != "}":
        return f"{text[: at + 1]}\n{indent}{body},{text[at + 1 :]}"
    return f"{text[: at + 1]}\n{indent}{body}\n{indent[2:]}{text[at + 1 :].lstrip()}"


def _pair(name: str, value: Any) -> str:
    return f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}"


def _last(entries: List[_Entry], name: str) -> Optional[_Entry]:
    return next((entry for entry in reversed(entries) if entry.name == name), None)


def _entries(plain: str, at: int) -> List[_Entry]:
    """What stands in the object that begins at `at`, in order."""
    found: List[_Entry] = []
    at = _after_space(plain, at + 1)
    while plain[at] != "}":
        name, end = _DECODER.raw_decode(plain, at)
        value_at = _after_space(plain, _after_space(plain, end) + 1)
        _, end = _DECODER.raw_decode(plain, value_at)
        found.append(_Entry(name, at, value_at, end))
        at = _after_space(plain, end)
        if plain[at] == ",":
            at = _after_space(plain, at + 1)
    return found


def _after_space(plain: str, at: int) -> int:
    match = _SPACE.match(plain, at)
    assert match is not None
    return match.end()
