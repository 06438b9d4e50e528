"""Writing options into our own JSON file, as the panel's form does: checked first, then whole or
not at all.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, Mapping, NamedTuple

from ..runtime.messages import say
from .edit import edited
from .jsonc import Document, JsoncError, decode, parse
from .options import OPTIONS
from .template import json_template


class SaveRefused(Exception):
    """Why nothing was written: a sentence for people."""


class Saved(NamedTuple):
    """The text of the file before and after."""

    before: str
    after: str
    document: Document


def prepare(path: Path, wanted: Mapping[str, Any]) -> Saved:
    """What the file would be with these options set; raises `SaveRefused`. Blocking."""
    unknown = sorted(set(wanted) - {option.path for option in OPTIONS if option.in_json})
    if unknown:
        raise SaveRefused(say("There is no option {name}.", name=unknown[0]))
    try:
        before = decode(path.read_bytes())[0] if path.exists() else json_template()
        after = edited(before, wanted)
        return Saved(before, after, parse(after))
    except JsoncError as error:
        raise SaveRefused(
            say(
                "{file} cannot be read, so nothing was changed: {reason}. Mend it there first.",
                file=path.name,
                reason=str(error),
            )
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise SaveRefused(
            say("{file} cannot be read ({reason}).", file=path.name, reason=reason)
        ) from None


def replace(path: Path, text: str) -> None:
    """Whole or not at all; Moonraker tells all of it as a file that was moved in."""
    beside = path.with_name(f".{path.name}.new")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        beside.chmod(stat.S_IMODE(path.stat().st_mode))
    beside.replace(path)
