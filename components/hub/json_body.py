"""JSON as PHP writes it and as PHP can read it. Pure."""

from __future__ import annotations

import json
from typing import Any, Dict, Mapping, Optional, Union

MAX_NUMBER_LENGTH = 400  # digits; int() of a million digits would hold the event loop for seconds
JSON_STARTS = 8  # places where the JSON of a reply is looked for, after PHP warnings
MAX_MISREAD = 8 * 1024  # characters that may turn out not to be it, before that is given up
MAX_VALUES = 12_000  # of one body; a list of 1,000 files has 8,000, other replies some hundreds
MAX_NESTED = 3_000  # objects and lists among them; many set off the garbage collector
MAX_NO_TEXT = 64 * 1024  # bytes; a longer body that is no UTF-8 is not read in part


def _bounded_int(digits: str) -> Union[int, float]:
    return int(digits) if len(digits) <= MAX_NUMBER_LENGTH else float("inf")


def has_too_many_values(body: bytes) -> bool:
    """Whether it may hold more than those limits. Counts marks, also those within texts.

    1 MiB can hold half a million, which would hold the event loop for a tenth of a second to read,
    to handle and even to forget; in a thread all the same, since the reader never lets go of the
    interpreter, or makes everybody else wait for it at every step.
    """
    if len(body) <= MAX_NESTED:
        return False
    return body.count(b",") > MAX_VALUES or body.count(b"[") + body.count(b"{") > MAX_NESTED


def read_json_object(body: bytes, key: str) -> Optional[Dict[str, Any]]:
    """The JSON object with `key` that a reply holds, also behind warnings that PHP printed before
    it; None if none.

    A reply cut short must not be taken for one of the objects inside it: hence the key, and
    nothing may follow.

    >>> read_json_object(b"<br /> Warning: {x} in api.php {\\"success\\": true}", "success")
    {'success': True}
    >>> read_json_object(b'{"success": true, "commands": [{"success": 1}', "success")
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        if len(body) > MAX_NO_TEXT:
            return None
        text = body.decode("utf-8", "replace")
    text = text.strip("\ufeff \t\r\n")
    decoder = _DECODER
    if len(body) > MAX_NUMBER_LENGTH and _LONG_NUMBER in body.translate(_DIGITS):
        decoder = _CAREFUL
    start = text.find("{")
    misread = 0
    for _ in range(JSON_STARTS if start > 0 else 1):
        if start < 0 or misread > MAX_MISREAD:
            return None
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            end = getattr(error, "pos", start)
        else:
            if isinstance(value, dict) and key in value and text[end : end + 1] in ("", "<", "\n"):
                return value
        misread += end - start
        start = text.find("{", start + 1)
    return None


_DECODER = json.JSONDecoder(parse_constant=lambda name: None)
# To ask for each number trebles the time, so it is done only where there is a long one.
_CAREFUL = json.JSONDecoder(parse_int=_bounded_int, parse_constant=lambda name: None)
_DIGITS = bytes.maketrans(b"012345678", b"9" * 9)
_LONG_NUMBER = b"9" * (MAX_NUMBER_LENGTH + 1)


def to_json(body: Mapping[str, Any]) -> bytes:
    """JSON that PHP can read: no NaN, no infinity, no lone surrogates (file names from disk can
    hold them).
    """
    try:
        return _ENCODER.encode(body).encode("utf-8")
    except (ValueError, TypeError):
        return _ENCODER.encode(_presentable(body, 0)).encode("utf-8")


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _presentable(value: Any, depth: int) -> Any:
    if depth > 20:
        return None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, Mapping):
        return {
            str(_presentable(str(k), depth + 1)): _presentable(v, depth + 1)
            for k, v in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_presentable(item, depth + 1) for item in value]
    if value is None or isinstance(value, (bool, int)):
        return value
    return str(value)
