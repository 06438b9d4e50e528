"""JSON as people write it, with comments, trailing commas, any usual encoding; and errors they can
act on.

Comments are blanked, so that every position stays, then the standard library reads it. Each name is
handed to it with its line, which `object_pairs_hook` takes off again: thus the place of every name
is known, and what is given twice is seen.
"""

import bisect
import codecs
import json
import re
from typing import Any, Dict, List, Mapping, Match, NamedTuple, Sequence, Tuple

from ..runtime.loose import printable
from ..runtime.messages import Told, say, sentence
from ..runtime.steps import breathe

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_DIGITS = 40

_STRING = r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"'
# Every alternative ends by itself: an unclosed quote costs one pass, not one for each character.
_REMARK = re.compile(_STRING + r"?|//[^\n]*|/\*(?s:.*?)\*/|\ufeff")
_LAST_COMMA = re.compile(
    r"(?P<item>%s|[^\s\"{\[:,])(?P<gap>\s*),(?=\s*[}\]])|%s?" % (_STRING, _STRING)
)
_TOKEN = re.compile(r"(?P<token>%s|/\*|[^\s\"{}\[\]:,]+|[\"{}\[\]:,])(?P<named>\s*:)?" % _STRING)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z")
_WORDS = ("true", "false", "null")
_CLOSING = {"{": "}", "[": "]"}
_STRAY = re.compile("[\udc80-\udcff]")
_WIDE = (
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"{\0", "utf-16-le"),
    (b"\0{", "utf-16-be"),
)
# What the standard library says, what to do about it, and whether it belongs before the position.
_NAME_EXPECTED = sentence('a name in double quotes is expected here: "name": value')
_ADVICE = (
    ("Expecting ',' delimiter", sentence("a comma is missing here"), True),
    ("Expecting ':' delimiter", sentence('a colon is missing after this name in "…"'), True),
    ("Expecting property name", _NAME_EXPECTED, False),
    ("Expecting value", sentence("a value is missing here"), True),
    ("Extra data", sentence("there is something after the closing {brace}"), False),
    ("Invalid control", sentence("a text holds a character that must not stand there"), False),
    ("Invalid", sentence(r"a backslash stands alone: write \\ for it"), False),
)


_ONE_OBJECT = sentence("the file must hold one object: {open} at the beginning, {close} at the end")


class JsoncError(Told):
    """What is wrong where; as text: "line 3, column 7: a comma is missing here"."""

    def __init__(self, line: int, column: int, reason: str) -> None:
        whole = say(
            "line {line}, column {column}: {reason}", line=line, column=column, reason=reason
        )
        super().__init__(whole)
        self.line = line
        self.column = column


class Document(NamedTuple):
    """Of a name that is given more than once, objects are merged in `tree`; of all else the last
    one stands there, and `repeated` has them all.
    """

    tree: Mapping[str, Any] = {}
    lines: Mapping[str, int] = {}  # 1-based, by dotted path: where the name stands last
    repeated: Mapping[str, Sequence[Tuple[int, Any]]] = {}  # by path: line and value, in order
    remark: str = ""  # on its encoding


def read_bytes(data: bytes) -> Document:
    """The object in a file of at most `MAX_BYTES`; raises `JsoncError`.

    A file without anything in it is what a power cut leaves, and no decision of anybody's.
    """
    if not data.strip(b"\0 \t\r\n"):
        raise JsoncError(
            1, 1, say("the file is empty; write {} into it if nothing shall be set here")
        )
    text, remark = decode(data)
    return parse(text)._replace(remark=remark)


def decode(data: bytes) -> Tuple[str, str]:
    """The text of a file, and what is to be said about its encoding or ""; raises `JsoncError`.

    Bytes that are no UTF-8 were saved by a Windows editor as "ANSI" (code page 1252). Each is read
    by itself: whatever letter it is, the rest of the file means the same.
    """
    if len(data) > MAX_BYTES:
        raise JsoncError(1, 1, say("the file is larger than {most} KiB", most=MAX_BYTES // 1024))
    wide = next((name for start, name in _WIDE if data.startswith(start)), "")
    try:
        text = data.decode(wide or "utf-8-sig", "strict" if wide else "surrogateescape")
    except UnicodeDecodeError:
        raise JsoncError(1, 1, say("this is no readable text; save the file as UTF-8")) from None
    stray = _STRAY.search(text)
    if stray is None:
        return text, ""
    line = text.count("\n", 0, stray.start()) + 1
    remark = say("line {line} is not UTF-8; it was read as Windows' ANSI", line=line)
    return _STRAY.sub(_ansi, text), remark


def _ansi(match: Match[str]) -> str:
    return bytes([ord(match.group()) - 0xDC00]).decode("cp1252", "replace")


def parse(text: str) -> Document:
    """The object in `text`; comments alone are an empty one. Raises `JsoncError` only."""
    text = without_remarks(text)
    if not text.strip():
        return Document()
    starts = [0] + [match.end() for match in re.finditer("\n", text)]
    try:
        marked = _marked(text, starts)
        json.loads(text)  # for the position of what is wrong
    except (_Fault, json.JSONDecodeError) as error:
        fault = error if isinstance(error, _Fault) else _explained(text, error)
        at, reason = fault.position, fault.reason
        line = bisect.bisect_right(starts, at)
        raise JsoncError(line, at - starts[line - 1] + 1, reason) from None
    unfolding = _Unfolding()
    tree = unfolding.value(json.loads(marked, object_pairs_hook=_Pairs), "")
    return Document(tree, unfolding.lines, unfolding.repeated)


def without_remarks(text: str) -> str:
    """`text` with blanks for comments and last commas: plain JSON, every position as it was."""
    return _LAST_COMMA.sub(_without_comma, _REMARK.sub(_blank, text))


def _blank(match: Match[str]) -> str:
    found = match.group()
    return found if found.startswith('"') else re.sub(r"[^\n]", " ", found)


def _without_comma(match: Match[str]) -> str:
    item = match.group("item")
    return match.group() if item is None else f"{item}{match.group('gap')} "


def _marked(text: str, starts: Sequence[int]) -> str:
    """`text` with its line in every name, once its words and brackets are found to be right."""
    if not text.lstrip().startswith("{"):
        raise _Fault(say(_ONE_OBJECT, open="{", close="}"), len(text) - len(text.lstrip()))
    pieces: List[str] = []
    done = 0
    opened: List[int] = []
    for index, match in enumerate(_TOKEN.finditer(text)):
        breathe(index, 200)
        at, token = match.start(), match.group("token")
        reason: str = ""
        if token[0] == '"' and len(token) > 1:
            if match.group("named"):
                end = match.end("token")
                pieces += [text[done : end - 1], "\\u0000", str(_line(starts, at)), '"']
                done = end
        elif token in ("{", "["):
            opened.append(at)
            if len(opened) > MAX_DEPTH:
                reason = say("more than {most} brackets within each other", most=MAX_DEPTH)
        elif token in ("}", "]"):
            closing = _CLOSING[text[opened.pop()]] if opened else token
            if token != closing:
                reason = say("this {one} should be {other}", one=token, other=closing)
        elif token not in (",", ":"):
            reason = _wrong(token, named=match.group("named") is not None)
        if reason:
            raise _Fault(reason, at)
    if opened:
        bracket, line = text[opened[-1]], _line(starts, opened[-1])
        reason = say(
            "the file ends, but the {bracket} of line {line} is not closed by {closing}",
            bracket=bracket,
            line=line,
            closing=_CLOSING[bracket],
        )
        raise _Fault(reason, len(text.rstrip()))
    return "".join([*pieces, text[done:]])


def _line(starts: Sequence[int], position: int) -> int:
    return bisect.bisect_right(starts, position)


class _Fault(Exception):
    def __init__(self, reason: str, position: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.position = position


def _explained(text: str, error: json.JSONDecodeError) -> _Fault:
    """Where it is, and what to do about it."""
    at, said = error.pos, error.msg
    if text[at : at + 1] == ",":
        return _Fault(say("there is a comma too many"), at)
    for known, reason, before in _ADVICE:
        if said.startswith(known):
            place = len(text[:at].rstrip()) if before else at
            return _Fault(say(reason, brace="}"), place)
    return _Fault(said, at)


class _Pairs(List[Tuple[str, Any]]):
    """An object as it is written: every name with its line, repeated ones too."""


class _Unfolding:
    """Takes the lines off the names again."""

    def __init__(self) -> None:
        self.lines: Dict[str, int] = {}
        self.repeated: Dict[str, List[Tuple[int, Any]]] = {}

    def value(self, value: Any, path: str) -> Any:
        if isinstance(value, _Pairs):
            return self.object(value, path, {})
        if isinstance(value, list):
            return [self.value(item, f"{path}.") for item in value]
        return value

    def object(self, pairs: _Pairs, path: str, tree: Dict[str, Any]) -> Dict[str, Any]:
        """`tree` with the names of `pairs` in it."""
        for marked, inner in pairs:
            name, _, line = marked.rpartition("\x00")
            place = f"{path}.{name}" if path else name
            known = tree.get(name)
            if name in tree:
                self.repeated.setdefault(place, [(self.lines[place], known)])
            if isinstance(known, dict) and isinstance(inner, _Pairs):
                value: Any = self.object(inner, place, known)
            else:
                value = self.value(inner, place)
            if name in tree:
                self.repeated[place].append((int(line), value))
            if not isinstance(known, dict):
                tree[name] = value
            self.lines[place] = int(line)
        return tree


def _wrong(word: str, *, named: bool) -> str:
    """Why `word`, which is no text, is no value either; "" if it is one."""
    shown = printable(word, 30)
    number = _NUMBER.match(word)
    if named:
        return say(_NAME_EXPECTED)
    if word == "/*":
        return say("this comment /* is not closed by */")
    if word == '"':
        return say('this text is not closed by "')
    if number is not None:
        return say("this number has too many digits") if len(word) > MAX_DIGITS else ""
    if word in _WORDS:
        return ""
    if word.lower() in _WORDS or word == "None":
        right = word.lower().replace("none", "null")
        return say("write {right} instead of {wrong}", right=right, wrong=shown)
    if word.startswith(("'", "’", "“", "”", "‘")):
        return say('texts stand in straight double quotes, as in "text"')
    if word.startswith("#"):
        return say("a comment begins with //")
    if re.match(r"[-+]?[0-9.]", word):
        return say("{word} is not a number (write 0.5, without unit or comma)", word=shown)
    return say('{word} is no value; a text stands in double quotes, as in "text"', word=shown)
