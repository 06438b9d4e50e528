"""Every option as it is in force, for the operator's eyes; of a secret only whether it is set."""

from __future__ import annotations

from typing import Any, Dict, List

from ..runtime.messages import in_language, say
from ..runtime.redaction import MASK, Redactor, mask_url
from .in_force import describe_value
from .loader import Loaded, missing
from .model import value_of
from .options import OPTIONS, section_of
from .values import Kind, Option, allowed


def describe(loaded: Loaded, file_name: str, error: str = "") -> Dict[str, Any]:
    """JSON for `GET /server/tecmedhub/config`; `error`: what is wrong with the whole file."""
    redactor = Redactor()
    redactor.add(loaded.settings.printer_token)
    return {
        "file": file_name,
        "error": error,
        "complete": loaded.settings.complete,
        "missing": missing(loaded.settings, file_name),
        "options": [_row(option, loaded, file_name, redactor) for option in OPTIONS],
        "problems": [
            {"path": p.path, "origin": p.origin.value, "text": p.text, "explained": p.explained}
            for p in loaded.problems
        ],
    }


def _row(option: Option, loaded: Loaded, file_name: str, redactor: Redactor) -> Dict[str, Any]:
    value = value_of(loaded.settings, option.path) if option.in_json else file_name
    if option.secret:
        value = MASK if value else ""
    bounded = option.kind in (Kind.NUMBER, Kind.INTEGER)
    row: Dict[str, Any] = {
        "path": option.path,
        "name": option.name,
        "section": section_of(option),
        "value": _masked(value, redactor),
        "default": _masked(option.default, redactor),
        "origin": loaded.origins[option.path].value,
        "type": option.kind.value,
        "allowed": allowed(option),
        "unit": option.unit,
        "secret": option.secret,
        "minimum": option.low if bounded else None,
        "maximum": option.high if bounded else None,
        "choices": list(option.choices) if option.choices else None,
        "en": option.text,
        "es": in_language(say(option.text), "es"),
    }
    return row


def _masked(value: Any, redactor: Redactor) -> Any:
    if isinstance(value, str):
        return redactor.known(mask_url(value))
    if isinstance(value, (list, tuple)):
        return [_masked(item, redactor) for item in value]
    if isinstance(value, dict):
        return {_masked(key, redactor): _masked(item, redactor) for key, item in value.items()}
    return value


def changes(old: Loaded, new: Loaded) -> List[str]:
    """What differs, one text an option, for the log: "intervals.status_update = 10 (was 5)"."""
    told: List[str] = []
    for option in OPTIONS:
        if not option.in_json:
            continue
        before, after = (value_of(loaded.settings, option.path) for loaded in (old, new))
        if before != after and option.secret:
            told.append(say("{option} is new", option=option.path))
        elif before != after:
            told.append(
                say(
                    "{option} = {now} (was {before})",
                    option=option.path,
                    now=describe_value(option, after),
                    before=describe_value(option, before),
                )
            )
    return told
