"""JSON as people write it, with comments, trailing commas, a BOM; and errors they can act on.

A reader of our own rather than comment stripping before `json.loads`: it never mistakes the `//` of
a URL, knows the line of every name, and tells what is given twice. Time and memory are linear.
"""

from __future__ import annotations

import bisect
import codecs
import json
import re
from typing import Any, Dict, List, Match, NoReturn, Optional, Tuple

from ..runtime.loose import printable
from ..runtime.records import NamedTuple
from ..runtime.steps import breathe

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_DIGITS = 40

# Every alternative ends by itself: an unclosed quote costs one pass, not one for each character.
_TOKEN = re.compile(
    r"(?P<blank>[\s\ufeff]+|//[^\n]*)"
    r"|(?P<comment>/\*(?s:.*?)(?P<comment_end>\*/|\Z))"
    r'|(?P<string>"[^"\\\n]*(?:\\.[^"\\\n]*)*)(?P<string_end>"?)'
    r"|(?P<mark>[{}\[\]:,])"
    r'|(?P<word>[^\s"{}\[\]:,/]+|/)'
)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z")
_WORDS = {"true": True, "false": False, "null": None}
_END = ""


class JsoncError(ValueError):
    """What is wrong where; as text: "line 3, column 7: a comma is missing here"."""

    def __init__(self, line: int, column: int, reason: str) -> None:
        super().__init__(f"line {line}, column {column}: {reason}")
        self.line = line
        self.column = column
        self.reason = reason


class Document(NamedTuple):
    tree: Dict[str, Any]
    lines: Dict[str, int]  # 1-based, by dotted path, of every name
    repeated: Tuple[str, ...] = ()  # a sentence for each name given twice; the last one counts


def decode(data: bytes) -> str:
    """The text of a file of at most `MAX_BYTES`; raises `JsoncError`."""
    if len(data) > MAX_BYTES:
        raise JsoncError(1, 1, f"the file is larger than {MAX_BYTES // 1024} KiB")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"  # Windows' Notepad, on request
    else:
        encoding = "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise JsoncError(line, 1, "this line is not UTF-8 text; save the file as UTF-8") from None


def parse(text: str) -> Document:
    """The object in `text`; comments alone are an empty one. Raises `JsoncError` only.

    For a thread: a file of the largest size takes some tenths of a second.
    """
    return _Parser(text).document()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = [0] + [match.end() for match in re.finditer("\n", text)]
        self.position = 0  # of the present token
        self.end = 0  # of the present token
        self.tokens = 0  # so far
        self.before = 0  # the end of the token before it
        self.kind = ""  # string, mark or word; _END after the last
        self.lexeme = ""
        self.lines: Dict[str, int] = {}
        self.repeated: List[str] = []
        self.step()

    def document(self) -> Document:
        if self.kind == _END:
            return Document({}, {})
        if self.lexeme != "{":
            self.fail("the file must hold one object: { at the beginning, } at the end")
        tree = self.object("", 1)
        if self.kind != _END:
            self.fail("there is something after the closing }")
        return Document(tree, self.lines, tuple(self.repeated))

    def step(self) -> None:
        """Go to the next token."""
        self.tokens += 1
        breathe(self.tokens, 200)
        self.before = self.end
        while self.end < len(self.text):
            match = _TOKEN.match(self.text, self.end)
            assert match is not None  # the alternatives leave no character out
            self.position, self.end = match.span()
            if match.group("comment") is not None and not match.group("comment_end"):
                self.fail("this comment /* is not closed by */")
            if match.group("blank") is None and match.group("comment") is None:
                self.set(match)
                return
        self.position, self.kind, self.lexeme = self.end, _END, ""

    def set(self, match: Match[str]) -> None:
        self.lexeme = match.group()
        if match.group("string") is not None:
            self.kind = "string"
            if not match.group("string_end"):
                self.fail('this text is not closed by "')
        else:
            self.kind = "mark" if match.group("mark") is not None else "word"

    def object(self, path: str, depth: int) -> Dict[str, Any]:
        opened = self.open(depth)
        result: Dict[str, Any] = {}
        while self.lexeme != "}" or self.kind != "mark":
            if self.kind != "string":
                self.fail_at_name(opened)
            name, line = self.string(), self.line(self.position)
            inner = f"{path}.{name}" if path else name
            if name in result and len(self.repeated) < MAX_DEPTH:
                first = self.lines.get(inner, 0)
                self.repeated.append(f'line {line}: "{inner[:60]}" stands in line {first} already')
            self.lines[inner] = line
            self.step()
            if self.lexeme != ":" or self.kind != "mark":
                self.fail('a colon is missing after this name in "…"', self.before)
            self.step()
            result[name] = self.value(inner, depth)
            self.comma("}", opened)
        self.step()
        return result

    def array(self, path: str, depth: int) -> List[Any]:
        opened = self.open(depth)
        result: List[Any] = []
        while self.lexeme != "]" or self.kind != "mark":
            if self.kind == _END:
                self.fail_open(opened)
            result.append(self.value(path, depth))
            self.comma("]", opened)
        self.step()
        return result

    def open(self, depth: int) -> int:
        opened = self.position
        if depth > MAX_DEPTH:
            self.fail(f"more than {MAX_DEPTH} brackets within each other")
        self.step()
        return opened

    def comma(self, closing: str, opened: int) -> None:
        """After a value: a comma (also a trailing one), or the closing bracket."""
        if self.kind == "mark" and self.lexeme == closing:
            return
        if self.kind == _END:
            self.fail_open(opened)
        if self.kind != "mark" or self.lexeme != ",":
            if self.kind == "mark" and self.lexeme in "}]":
                self.fail(f"this {self.lexeme} should be {closing}")
            self.fail("a comma is missing here", self.before)
        self.step()

    def value(self, path: str, depth: int) -> Any:
        if self.kind == "string":
            value: Any = self.string()
        elif self.lexeme == "{":
            return self.object(path, depth + 1)
        elif self.lexeme == "[":
            return self.array(path, depth + 1)
        elif self.kind == "word":
            value = self.word()
        else:
            self.fail("a value is missing here", self.before)
        self.step()
        return value

    def string(self) -> str:
        try:
            return str(json.loads(self.lexeme, strict=False))
        except ValueError:
            self.fail("a backslash in this text must be written twice: \\\\")

    def word(self) -> Any:
        word = self.lexeme
        if word in _WORDS:
            return _WORDS[word]
        number = _NUMBER.match(word)
        if number is None:
            self.fail(_advice(word))
        if len(word) > MAX_DIGITS:
            self.fail("this number has too many digits")
        return float(word) if number.group(1) or number.group(2) else int(word)

    def line(self, position: int) -> int:
        return bisect.bisect_right(self.starts, position)

    def fail_at_name(self, opened: int) -> NoReturn:
        if self.kind == _END:
            self.fail_open(opened)
        if self.lexeme == ",":
            self.fail("there is a comma too many")
        if self.lexeme == "]":
            self.fail("this ] should be }")
        if self.lexeme.startswith("#"):
            self.fail(_advice(self.lexeme))
        self.fail('a name in double quotes is expected here, as in "name": value')

    def fail_open(self, opened: int) -> NoReturn:
        closing = "}" if self.text[opened] == "{" else "]"
        line = self.line(opened)
        reason = (
            f"the file ends, but the {self.text[opened]} of line {line} is not closed by {closing}"
        )
        self.fail(reason, self.before)

    def fail(self, reason: str, position: Optional[int] = None) -> NoReturn:
        at = self.position if position is None else position
        line = self.line(at)
        raise JsoncError(line, at - self.starts[line - 1] + 1, reason)


def _advice(word: str) -> str:
    shown = printable(word, 30)
    if word.lower() in _WORDS or word == "None":
        return f"write {word.lower().replace('none', 'null')} instead of {shown}"
    if word.startswith(("'", "’", "“", "”", "‘")):
        return 'texts stand in straight double quotes, as in "text"'
    if word.startswith("#"):
        return "a comment begins with //"
    if re.match(r"[-+]?[0-9.]", word):
        return f"{shown} is not a number (write 0.5, without unit or comma)"
    return f'{shown} is no value; a text stands in double quotes, as in "text"'
