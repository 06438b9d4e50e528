"""JSON as people write it, with comments, trailing commas, any usual encoding; and errors they can
act on.

Comments are blanked, so that every position stays. Then it is read here instead of by the standard
library, which tells neither where a name stands nor what is given twice.
"""

import bisect
import codecs
import json
import re
from typing import Any, Dict, List, Mapping, Match, NamedTuple, NoReturn, Sequence, Tuple

from ..runtime.loose import printable
from ..runtime.messages import Told, say, sentence
from ..runtime.steps import breathe

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_DIGITS = 40

_STRING = r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"'
# Every alternative ends by itself: an unclosed quote or comment costs one pass, not one for each.
_REMARK = re.compile(_STRING + r"?|//[^\n]*|/\*(?s:.*?)(?:\*/|(?P<unclosed>\Z))|\ufeff")
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
_NAME_EXPECTED = sentence('a name in double quotes is expected here: "name": value')
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


class Member(NamedTuple):
    """A name of an object and its value, by their places in the text."""

    name: str
    inside: int  # where that object begins
    at: int
    value_at: int
    end: int


class Document(NamedTuple):
    """Of a name that is given more than once, objects are merged in `tree`; of all else the last
    one stands there, and `repeated` has them all.
    """

    tree: Mapping[str, Any] = {}
    lines: Mapping[str, int] = {}  # 1-based, by dotted path: where the name stands last
    repeated: Mapping[str, Sequence[Tuple[int, Any]]] = {}  # by path: line and value, in order
    members: Sequence[Member] = ()  # all of them, those within others first
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
    reader = _Reader(text)
    return Document(reader.whole(), reader.lines, reader.repeated, reader.members)


def without_remarks(text: str) -> str:
    """`text` with blanks for comments and last commas: plain JSON, every position as it was."""
    return _LAST_COMMA.sub(_without_comma, _REMARK.sub(_blank, text))


def _blank(match: Match[str]) -> str:
    found = match.group()
    kept = found.startswith('"') or match.group("unclosed") is not None
    return found if kept else re.sub(r"[^\n]", " ", found)


def _without_comma(match: Match[str]) -> str:
    item = match.group("item")
    return match.group() if item is None else f"{item}{match.group('gap')} "


class _Reader:
    """Reads JSON without remarks, one token after the other, and notes where each name stands."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = [0] + [match.end() for match in re.finditer("\n", text)]  # of the lines
        self.lines: Dict[str, int] = {}
        self.repeated: Dict[str, List[Tuple[int, Any]]] = {}
        self.members: List[Member] = []
        self.word = ""  # the one that is next to be understood; "" at the end
        self.at = 0  # where it stands
        self.before = 0  # where the one before it ends
        self.opened: List[int] = []  # where the brackets stand that are open
        self.count = 0

    def next(self) -> None:
        self.count += 1
        breathe(self.count, 200)
        self.before = self.at + len(self.word)
        match = _TOKEN.search(self.text, self.before)
        if match is None:
            self.at, self.word = len(self.text), ""
            return
        self.at, self.word = match.start(), match.group("token")
        if self.word[0] not in '"{}[]:,' or self.word == '"':
            reason = _wrong(self.word, named=match.group("named") is not None)
            if reason:
                self.fault(reason, self.at)

    def whole(self) -> Dict[str, Any]:
        start = len(self.text) - len(self.text.lstrip())
        if self.text[start] != "{":
            self.fault(say(_ONE_OBJECT, open="{", close="}"), start)
        self.next()
        tree: Dict[str, Any] = {}
        self.bracket("", tree)
        if self.word:
            self.fault(say("there is something after the closing {brace}", brace="}"), self.at)
        return tree

    def value(self, path: str, known: Any) -> Any:
        """The value that stands here; an object is merged into `known` if that is one, too."""
        if self.word in ("{", "["):
            return self.bracket(path, known if isinstance(known, dict) else {})
        if self.word in ("", "}", "]", ":", ","):
            self.unfit(say("a value is missing here"), self.before)
        return self.scalar()

    def bracket(self, path: str, tree: Dict[str, Any]) -> Any:
        """An object, into `tree`, or a list."""
        opening = self.word
        self.opened.append(self.at)
        if len(self.opened) > MAX_DEPTH:
            self.fault(say("more than {most} brackets within each other", most=MAX_DEPTH), self.at)
        items: List[Any] = []
        self.next()
        while self.word != _CLOSING[opening]:
            if opening == "{":
                self.member(path, tree)
            else:
                items.append(self.value(f"{path}.", None))
            if self.word == ",":
                self.next()
            elif self.word != _CLOSING[opening]:
                self.unfit(say("a comma is missing here"), self.before)
        self.opened.pop()
        self.next()
        return tree if opening == "{" else items

    def member(self, path: str, tree: Dict[str, Any]) -> None:
        """A name with its value, into `tree`."""
        if self.word[:1] != '"':
            self.unfit(say(_NAME_EXPECTED), self.at)
        at, line = self.at, self.line(self.at)
        name = self.scalar()
        place = f"{path}.{name}" if path else name
        if self.word != ":":
            self.unfit(say('a colon is missing after this name in "…"'), self.before)
        self.next()
        value_at, again, known = self.at, name in tree, tree.get(name)
        if again:
            self.repeated.setdefault(place, [(self.lines[place], known)])
        value = self.value(place, known)
        self.members.append(Member(name, self.opened[-1], at, value_at, self.before))
        if again:
            self.repeated[place].append((line, value))
        if not isinstance(known, dict):
            tree[name] = value
        self.lines[place] = line

    def scalar(self) -> Any:
        try:
            value = json.loads(self.word)
        except json.JSONDecodeError as error:  # of a text: all else was looked at before
            control = error.msg.startswith("Invalid control")
            reason = (
                say("a text holds a character that must not stand there")
                if control
                else say(r"a backslash stands alone: write \\ for it")
            )
            self.fault(reason, self.at + error.pos)
        self.next()
        return value

    def unfit(self, reason: str, at: int) -> NoReturn:
        """The token does not belong here: `reason` says so, unless it tells more by itself."""
        opened = self.opened[-1]
        bracket, closing = self.text[opened], _CLOSING[self.text[opened]]
        if not self.word:
            reason = say(
                "the file ends, but the {bracket} of line {line} is not closed by {closing}",
                bracket=bracket,
                line=self.line(opened),
                closing=closing,
            )
            at = self.before
        elif self.word == ",":
            reason, at = say("there is a comma too many"), self.at
        elif self.word in ("}", "]") and self.word != closing:
            reason = say("this {one} should be {other}", one=self.word, other=closing)
            at = self.at
        self.fault(reason, at)

    def fault(self, reason: str, at: int) -> NoReturn:
        line = self.line(at)
        raise JsoncError(line, at - self.starts[line - 1] + 1, reason)

    def line(self, position: int) -> int:
        return bisect.bisect_right(self.starts, position)


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
