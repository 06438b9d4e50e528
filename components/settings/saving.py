"""Writing options into our own JSON file, as the panel's form does: checked first, then whole or
not at all, and every other character stays as it is.
"""

import json
import os
import stat
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Optional

from ..runtime.disk import write_whole
from ..runtime.messages import Told
from .jsonc import Document, JsoncError, decode, parse, read_bytes, without_remarks
from .options import OPTIONS
from .template import json_template


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
    members = parse(text).members
    at, indent = without_remarks(text).index("{"), "  "
    if section:
        found = [member for member in members if (member.inside, member.name) == (at, section)]
        if not found or text[found[-1].value_at] != "{":
            if value is None:
                return text
            body = f'"{section}": {{\n    {_pair(name, value)}\n  }}'
            return _inserted(text, at, body, indent)
        at, indent = found[-1].value_at, "    "
    within = [member for member in members if member.inside == at]
    mine = [member for member in within if member.name == name]
    if value is None:  # from the end on, so that places before it stay
        for member in reversed(mine):
            text = text[: member.at] + '"_' + text[member.at + 1 :]
        return text
    mine = mine or [member for member in within if member.name == f"_{name}"][-1:]
    if not mine:
        return _inserted(text, at, _pair(name, value), indent)
    for member in reversed(mine):
        text = text[: member.at] + _pair(name, value) + text[member.end :]
    return text


def _inserted(text: str, at: int, body: str, indent: str) -> str:
    """`body` as the first of the object that begins at `at`."""
    before, after = f"{text[: at + 1]}\n{indent}{body}", text[at + 1 :]
    if without_remarks(text)[at + 1 :].lstrip().startswith("}"):
        return f"{before}\n{indent[2:]}{after.lstrip()}"
    return f"{before},{after}"


def _pair(name: str, value: Any) -> str:
    return f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}"
