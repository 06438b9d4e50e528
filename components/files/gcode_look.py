"""A look at the bytes: are they G-code that Klipper can read? Pure; fed block by block while they
arrive.

It catches what no checksum does: an error page or a JSON reply saved under a G-code name, another
kind of file, and what Klipper reads in another way than whoever wrote it meant. Klipper's
virtual_sdcard decodes the file as UTF-8 and gives up in mid-print at the first bad byte; it splits
lines at LF alone, so that a CR in the middle of a line glues two commands together; it never runs a
last line without a line end (an END_PRINT there leaves the heaters on); and it takes a byte order
mark for a part of the first command, which is then unknown to it. Upper and lower case are the same
to it.
"""

import codecs
import re
from typing import NamedTuple, Optional

from ..hub.json_body import read_json_object
from ..runtime.loose import as_text
from ..runtime.messages import Told, sentence

HEAD = 64 * 1024  # bytes looked at for what kind of file this is
SLICE = 32 * 1024  # bytes searched at a time: the regular expression holds the GIL while it runs
MAX_MESSAGE = 200  # characters of the hub's own words in a sentence

# A command as slicers write it (G1, m104, T0, N10 G1), or a macro's name (START_PRINT).
_COMMAND = re.compile(
    rb"(?mi)^(?:\xef\xbb\xbf)?[ \t]*(?:N\d+[ \t]*)?(?:[GMT]\d|[A-Z]+_[A-Z0-9_]+(?=[ \t\r\n;]|\Z))"
)
# Markup that runs a script where a page shows it as HTML. Moonraker takes slicer, filament and more
# from a file's comments, and Mainsail's history shows those without cleaning them.
_TAG = re.compile(rb"(?i)<[a-z/!]")
_SCRIPT = re.compile(
    rb"(?i)[\s/\"']on[a-z]{3,20}\s{0,20}=|srcdoc\s{0,20}=|javascript:|&#|&\w{1,31};"
)
_OVERLAP = 512  # bytes of a block that are looked at again with the next
_LONE_CR = re.compile(rb"\r(?![\r\n])")
BOM = b"\xef\xbb\xbf"
LAST_LINE = 1024  # bytes of the last line that tell whether it holds a command
_MAGIC = (
    (b"GCDE", sentence("binary G-code (.bgcode), which Klipper cannot print: export plain G-code")),
    (b"PK\x03\x04", sentence("a ZIP archive or 3MF project: slice it and upload the G-code")),
    (b"\x1f\x8b", sentence("compressed (gzip): upload the plain G-code")),
    (b"\x7fELF", sentence("a program")),
    (b"%PDF", sentence("a PDF document")),
    (b"\x89PNG", sentence("a picture")),
    (b"\xff\xd8\xff", sentence("a picture")),
    (b"solid ", sentence("an STL model: slice it and upload the G-code")),
)


class NotGcode(Told):
    """The text says what the bytes are instead, as the end of a sentence: "… is <text>"."""


class Mends(NamedTuple):
    """What must be put right so that Klipper runs every command of an otherwise good file."""

    newline: bool = False  # the last line has a command and no line end
    bom: bool = False  # a byte order mark stands before a command of the first line

    def __bool__(self) -> bool:
        return self.newline or self.bom


def hub_message(head: bytes) -> Optional[str]:
    """What the hub says in a reply that is its JSON instead of a file; None if it is none."""
    reply = read_json_object(head, "success")
    if reply is None:
        return None
    return " ".join(as_text(reply.get("message")).split())[:MAX_MESSAGE]


def has_command(text: bytes) -> bool:
    """Whether some line of `text` is a G-code command."""
    return _COMMAND.search(text) is not None


def check_head(head: bytes) -> None:
    """Refuse what is no G-code by its beginning (at most `HEAD` bytes of it)."""
    for magic, what in _MAGIC:
        if head.startswith(magic):
            raise NotGcode(what)
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start in (b"{", b"["):
        raise NotGcode("JSON, not G-code: look at what the hub has under this name")
    if start == b"<":
        raise NotGcode("a web page, not G-code: look into the server's PHP error log")


class Look:
    """Feed every byte in order with `feed`, then `finish`; both raise `NotGcode`."""

    def __init__(self) -> None:
        self._fed = 0
        self._head = b""
        self._line = b""  # the beginning of a line whose end has not come yet
        self._has_command = False
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._inside_character = False
        self._last_line = b""  # its first bytes
        self._ends_in_cr = False
        self._before = b""  # the end of the block before

    def feed(self, block: bytes) -> None:
        if len(self._head) < HEAD:
            before = len(self._head)
            self._head += block[: HEAD - before]
            check_head(self._head)
        zero = block.find(b"\0")
        if zero >= 0:
            raise NotGcode(
                "not text (a zero byte at position {at}): the file is damaged or no G-code",
                at=self._fed + zero,
            )
        self._check_encoding(block)
        self._check_line_ends(block)
        self._check_script(block)
        if not self._has_command:
            self._search(block)
        self._fed += len(block)

    def finish(self) -> Mends:
        """All bytes are there: what Klipper would not run as it stands."""
        if not self._fed:
            raise NotGcode("empty: upload it again")
        if self._inside_character:
            raise NotGcode("cut within a character at its very end: upload it again")
        if not self._has_command and not _COMMAND.search(self._line):
            raise NotGcode(
                "text without a single G-code command: look at what the hub has under this name"
            )
        first = self._head.split(b"\n", 1)[0]
        return Mends(
            newline=bool(self._last_line.split(b";", 1)[0].strip(b"\xef\xbb\xbf \t\r")),
            bom=first.startswith(BOM) and bool(first[len(BOM) :].split(b";", 1)[0].strip()),
        )

    def _check_line_ends(self, block: bytes) -> None:
        if block.count(b"\r") != block.count(b"\r\n") or self._ends_in_cr:
            text = b"\r" + block if self._ends_in_cr else block
            found = _LONE_CR.search(text, 0, len(text))
            if found is not None and found.end() < len(text):
                raise NotGcode(
                    "text whose lines end in CR alone (as old Macs wrote, near byte {at}), "
                    "which Klipper does not take for the end of a line: save it with the line "
                    "ends LF or CRLF",
                    at=self._fed + found.start(),
                )
        self._ends_in_cr = block.endswith(b"\r")
        begin = block.rfind(b"\n") + 1
        line = block[begin : begin + LAST_LINE]
        self._last_line = line if begin else (self._last_line + line)[:LAST_LINE]

    def _check_script(self, block: bytes) -> None:
        text = self._before + block
        at = text.find(b"<")
        while at >= 0:  # a line at a time: from its first tag on
            end = text.find(b"\n", at) + 1 or len(text)
            tag = _TAG.search(text, at, end)
            if tag is not None and _SCRIPT.search(text, tag.end(), end):
                raise NotGcode(
                    "G-code with a script for web pages in a comment, which Mainsail's history "
                    "would run: slice it anew, and look at who can write to the hub"
                )
            at = text.find(b"<", end)
        self._before = text[-_OVERLAP:]

    def _check_encoding(self, block: bytes) -> None:
        if block.isascii() and not self._inside_character:
            return
        try:
            self._decoder.decode(block)
        except UnicodeDecodeError as error:
            raise NotGcode(
                "not UTF-8 text (near byte {at}), which stops Klipper in mid-print: save it "
                "again as UTF-8",
                at=self._fed + error.start,
            ) from None
        self._inside_character = bool(self._decoder.getstate()[0])

    def _search(self, block: bytes) -> None:
        for at in range(0, len(block), SLICE):
            text = self._line + block[at : at + SLICE]
            end = text.rfind(b"\n") + 1
            if _COMMAND.search(text, 0, end):
                self._has_command = True
                self._line = b""
                return
            self._line = text[end:][:SLICE]
