"""What leaves for a browser: JSON that every reader takes, and without secrets, whatever a room put
in.

This is the one filter behind all endpoints and notifications: no handler masks anything by itself.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Any, Callable, Mapping

from ..runtime.messages import Message, in_language, say  # noqa: F401 - say: the example

MAX_DEPTH = 12
LONGEST_DATA_URI = 100  # characters; longer ones are pictures, which nobody reads as text
SECRET_KEYS = frozenset(("token", "printer_token"))


def plain(value: Any, redact: Callable[[str], str], depth: int = 0) -> Any:
    """`value` as JSON can carry it: finite numbers, text without lone surrogates or secrets,
    bounded depth.

    >>> plain({"t": float("nan"), "token": "abc", "names": ("a",)}, lambda text: text)
    {'t': None, 'token': '********', 'names': ['a']}
    """
    kind = type(value)
    if kind is float:  # plain types first: most of an answer is figures
        return value if math.isfinite(value) else None
    if kind is str:
        return _text(value, redact)
    if value is None or kind is int or kind is bool:
        return value
    if kind is not dict and kind is not list and isinstance(value, Enum):
        return plain(value.value, redact, depth)
    if depth >= MAX_DEPTH:
        return None
    if kind is dict or isinstance(value, Mapping):
        return {
            plain(str(key), redact): "********"
            if key in SECRET_KEYS and isinstance(inner, str) and inner
            else plain(inner, redact, depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(inner, redact, depth + 1) for inner in value]
    # `redact` may want the places of a Message; what leaves is a plain text, as encoders need it.
    return _whole(str.__str__(redact(value if isinstance(value, str) else str(value))))


def _text(value: str, redact: Callable[[str], str]) -> str:
    if value.startswith("data:") and len(value) > LONGEST_DATA_URI:
        return f"{value[:30]}… ({len(value) * 3 // 4096} KiB)"
    return redact(_whole(value))


def _whole(value: str) -> str:
    """Without lone surrogates."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


def with_spanish(value: Any) -> Any:
    """`value`, with a `NAME_es` beside each sentence of ours called NAME: what is pushed goes to
    readers of both languages.

    >>> with_spanish({"message": say("none"), "list": [{"text": "Klipper's"}]})
    {'message': 'none', 'list': [{'text': "Klipper's"}], 'message_es': 'ninguno'}
    """
    if isinstance(value, list):
        return [with_spanish(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    told = {name: with_spanish(inner) for name, inner in value.items()}
    for name, inner in value.items():
        if isinstance(inner, Message):
            told.setdefault(f"{name}_es", in_language(inner, "es"))
    return told
