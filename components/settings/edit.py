"""Sets options in the text of a JSON file, and leaves every other character of it as it is. Pure.

An option that the laid-down file holds as an example (`_name`) is set where it stands there; one
that is no longer to be set gets its `_` back.
"""

from __future__ import annotations

import json
import re
from typing import Any, List, Mapping, NamedTuple, Optional

from .jsonc import parse, without_remarks

_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder()


class _Entry(NamedTuple):
    """One name of an object and its value, by their places in the text."""

    name: str
    at: int
    value_at: int
    end: int


def edited(text: str, changes: Mapping[str, Any]) -> str:
    """`text` with the options of `changes` (by dotted path) set; None takes one out.

    Raises `JsoncError` where `text` cannot be read.
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
