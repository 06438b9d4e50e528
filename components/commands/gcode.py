"""Which G-code of the hub's may pass, decided on the very words that Klipper would run. Pure.

The reading of a line is a transcription of Klipper's `GCodeDispatch._process_commands`
(klippy/gcode.py), quirks included: `;` begins a comment, `#` and `(…)` do not; a line number needs
no blank behind it; "M 104" is no M104. What passes here is sent unchanged, so that the filter and
Klipper cannot disagree about it.
"""

import fnmatch
import math
import re
import shlex
import unicodedata
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Sequence, Tuple

from ..runtime.loose import printable
from ..runtime.messages import say

MAX_LINES = 50
MAX_BYTES = 4096  # of UTF-8
MAX_MACRO_PARAMETERS = 30
MAX_MACRO_VALUE = 200  # characters
SHOWN = 40  # characters of a refused line in a sentence

_PARTS = re.compile("([A-Z_]+|[A-Z*])")  # Klipper's args_r
_NUMBERED = re.compile(r"[A-Z][0-9]+(\.[0-9]+)?")  # a letter and a number: G28, T0, G29.1
_NAMED = re.compile(r"[^\W\d]([^\W\d]+[0-9]*)?")  # SET_PIN, LOAD_FILAMENT2, LIMPIAR_Ñ
_TEXT_WORDS = ("M117", "M118", "M23")  # Klipper takes what follows these as text, numbers too
_M112 = re.compile(r"M\s*0*112(\.[0-9]*)?(\s|$)")
_MACRO_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# In a value these can end it, end the line or begin a comment, for one Klipper version or another.
_MACRO_FORBIDDEN = "\"'\\;#*"
# Kalico runs a script with this word past its queue, into the middle of a running one (gcode.py,
# run_script).
_QUEUE_JUMPER = "INTERRUPT"


class Refused(Exception):
    """Why it may not pass, and what to do instead: one sentence for people."""


class Line(NamedTuple):
    """One line as Klipper reads it: `word` is its command, upper case, "" for an empty line or a
    comment."""

    text: str
    word: str

    def letters(self) -> Dict[str, str]:
        """The parameters of a command such as M104, as Klipper reads them."""
        parts = _PARTS.split(self.text.partition(";")[0].upper())
        return {parts[i]: parts[i + 1].strip() for i in range(1, len(parts), 2)}

    def named(self) -> Dict[str, str]:
        """The parameters of a command such as SET_FAN_SPEED; raises `Refused`."""
        text = self.text.partition(";")[0]
        return _extended_parameters(text[text.upper().index(self.word) :], self.word)


class Script(NamedTuple):
    """What has passed: the text to send, and its lines."""

    text: str
    lines: Tuple[Line, ...]


def read_line(text: str) -> Line:
    """A line's command word, read as Klipper reads it.

    >>> [read_line(t).word for t in ("n12 g1x5*71", "G28 ; home", "; M112", "M117 42", "m 104
    s200")] ['G1', 'G28', '', 'M117', 'M 104']
    """
    line = text = text.strip()
    comment = line.find(";")
    if comment >= 0:
        line = line[:comment]
    parts = _PARTS.split(line.upper())
    word = "".join(parts[3:5] if "".join(parts[:2]) == "N" else parts[:3]).strip()
    if " " in word and word.split()[0] in _TEXT_WORDS:
        word = word.split()[0]
    return Line(text, word)


def matches(word: str, patterns: Sequence[str]) -> bool:
    """Whether a command word matches a pattern of `allowed_gcode_patterns`, whatever the case.

    A single letter and `*` means that letter and a number; anything else is a shell pattern for the
    whole word.

    >>> matches("M104", ["M*"]), matches("MY_MACRO", ["M*"]), matches("SET_PIN", ["SET_*"])
    (True, False, True)
    """
    for pattern in patterns:
        wanted = pattern.strip().upper()
        if len(wanted) == 2 and wanted[0].isalpha() and wanted[1] == "*":
            if word[:1] == wanted[0] and _NUMBERED.fullmatch(word):
                return True
        elif matches_name(word, wanted):
            return True
    return False


def matches_name(word: str, pattern: str) -> bool:
    """Whether a macro's name matches a shell pattern, whatever the case."""
    return fnmatch.fnmatchcase(word.upper(), pattern.strip().upper())


def check_script(
    text: str, patterns: Sequence[str], allowed: Callable[[Line], bool] = lambda line: False
) -> Script:
    """The script if every line of it may pass, by the patterns or because it is `allowed`; raises
    `Refused` for the first that may not.

    Line ends may be CR LF; empty lines and comments are left out of what is sent.
    """
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise Refused(
            say(
                "The script is longer than {most} bytes: send it as a file to print, or in parts.",
                most=MAX_BYTES,
            )
        )
    raw = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    if len(raw) > MAX_LINES:
        raise Refused(
            say(
                "The script has {count} lines, {most} are allowed: send it as a file, or in parts.",
                count=len(raw),
                most=MAX_LINES,
            )
        )
    kept: List[Line] = []
    for number, content in enumerate(raw, 1):
        _check_characters(content, say("Line {number}", number=number))
        line = read_line(content)
        if line.word:
            _check_word(line, number, patterns, allowed)
            _check_numbers(line)
            kept.append(line)
    if not kept:
        raise Refused(say("The script holds no command: send at least one line of G-code."))
    script = "\n".join(line.text for line in kept)
    if _QUEUE_JUMPER in script and script.strip() != "HEATER_INTERRUPT":
        raise Refused(
            say(
                "The script holds the word {word}, which lets it run past Klippy's queue:"
                " write it otherwise.",
                word=_QUEUE_JUMPER,
            )
        )
    return Script(script, tuple(kept))


def is_restart(text: str) -> bool:
    """Whether a script is FIRMWARE_RESTART or RESTART and nothing else.

    >>> is_restart("; back again\\nfirmware_restart"), is_restart("RESTART\\nG28")
    (True, False)
    """
    if len(text) > MAX_BYTES:
        return False
    lines = (read_line(line) for line in text.replace("\r\n", "\n").split("\n"))
    words = [line.word for line in lines if line.word]
    return words in (["FIRMWARE_RESTART"], ["RESTART"])


def build_macro_call(name: str, parameters: Mapping[str, Any]) -> str:
    """The one line that calls a macro: `NAME KEY=value KEY="two words"`; raises `Refused`.

    The line is read back as Klipper would read it, and passes only if that yields this macro and
    these parameters.
    """
    word = name.strip().upper()
    if not (_NAMED.fullmatch(word) or _NUMBERED.fullmatch(word)) or read_line(word).word != word:
        raise Refused(
            say(
                "{name} is no name that Klipper can call: letters and underscores, digits"
                " only at its end.",
                name=_shown(name),
            )
        )
    if _M112.match(word):
        raise Refused(
            say(
                "M112 is not run as a macro: use the action emergency_stop, which waits for"
                " nothing."
            )
        )
    if len(parameters) > MAX_MACRO_PARAMETERS:
        raise Refused(
            say(
                "The macro call has {count} parameters, {most} are allowed.",
                count=len(parameters),
                most=MAX_MACRO_PARAMETERS,
            )
        )
    pieces, wanted = [word], {}
    for key, value in parameters.items():
        if value is None:
            continue
        upper, written = _macro_parameter(key, value)
        wanted[upper] = written
        pieces.append(f'{upper}="{written}"' if " " in written else f"{upper}={written}")
    call = " ".join(pieces)
    if len(call.encode("utf-8")) > MAX_BYTES:
        raise Refused(
            say(
                "The macro call is longer than {most} bytes: shorten its parameters.",
                most=MAX_BYTES,
            )
        )
    if _QUEUE_JUMPER in call and word != "HEATER_INTERRUPT":
        raise Refused(
            say(
                "A parameter holds the word {word}, which lets it run past Klippy's queue.",
                word=_QUEUE_JUMPER,
            )
        )
    read = read_line(call)
    if read.word != word or (_NAMED.fullmatch(word) and _extended_parameters(call, word) != wanted):
        raise Refused(
            say(
                "Klipper would read this macro call differently: use plain words and"
                " numbers as parameters."
            )
        )
    return call


def read_macro_call(text: str) -> Tuple[str, Dict[str, str]]:
    """Name and parameters of a macro call in G-code form, as generation 2 sends it; raises
    `Refused`.

    >>> read_macro_call('LOAD_FILAMENT TEMP=210 MSG="two words"')
    ('LOAD_FILAMENT', {'TEMP': '210', 'MSG': 'two words'})
    """
    text = text.strip()
    _check_characters(text, say("The macro call"))
    name, _, rest = text.partition(" ")
    return name, _extended_parameters(f"{name} {rest}", name)


def _extended_parameters(line: str, name: str) -> Dict[str, str]:
    """The parameters of an extended command, by the rules of Klipper's `_get_extended_params`."""
    reader = shlex.shlex(line[len(name) :].lstrip(), posix=True)
    reader.whitespace_split = True
    reader.commenters = "#;"
    try:
        pairs = [piece.split("=", 1) for piece in reader]
    except ValueError:
        raise Refused(
            say("The macro call has a quote that is not closed: correct its parameters.")
        ) from None
    if any(len(pair) != 2 for pair in pairs):
        raise Refused(say("A macro's parameters are written NAME=value: correct the call."))
    return {key.upper(): value for key, value in pairs}


def _macro_parameter(key: Any, value: Any) -> Tuple[str, str]:
    if not isinstance(key, str) or not _MACRO_KEY.fullmatch(key) or len(key) > MAX_MACRO_VALUE:
        raise Refused(
            say(
                "{name} is no parameter name: letters, digits and underscores.",
                name=_shown(str(key)),
            )
        )
    if isinstance(value, bool):
        text = "1" if value else "0"
    elif isinstance(value, (int, float)):
        text = repr(value)
    elif isinstance(value, str):
        text = value
    else:
        raise Refused(
            say("The parameter {key} is a list or an object: give a number or a text.", key=key)
        )
    if len(text) > MAX_MACRO_VALUE:
        raise Refused(
            say(
                "The parameter {key} is longer than {most} characters: shorten it.",
                key=key,
                most=MAX_MACRO_VALUE,
            )
        )
    for character in text:
        if character in _MACRO_FORBIDDEN or (character != " " and not character.isprintable()):
            raise Refused(
                say(
                    "The parameter {key} holds {character}, which could end it: letters,"
                    " digits and plain punctuation only.",
                    key=key,
                    character=_named(character),
                )
            )
    _check_finite(key, text)
    return key.upper(), text


def _check_characters(text: str, place: str) -> None:
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            raise Refused(
                say(
                    "{place} holds {character}, a control character: remove it.",
                    place=place,
                    character=_named(character),
                )
            )


def _check_word(
    line: Line, number: int, patterns: Sequence[str], also: Callable[[Line], bool]
) -> None:
    if _M112.match(line.word):
        raise Refused(
            say(
                "Line {number} is M112, which would wait its turn in Klippy's queue: use"
                " the action emergency_stop.",
                number=number,
            )
        )
    if not (_NUMBERED.fullmatch(line.word) or _NAMED.fullmatch(line.word)):
        raise Refused(
            say(
                "Line {number}, {text}, is no command that Klipper knows: correct it.",
                number=number,
                text=_shown(line.text),
            )
        )
    if not matches(line.word, patterns) and not also(line):
        allowed = ", ".join(patterns) or say("none")
        raise Refused(
            say(
                "Line {number}, {word}, is not among security.allowed_gcode_patterns"
                " ({allowed}): allow it in the printer's settings, or leave it out.",
                number=number,
                word=line.word[:SHOWN],
                allowed=allowed,
            )
        )


def _check_numbers(line: Line) -> None:
    """Klipper takes `nan` for a number within any bounds, and heats at full power for it."""
    if "=" not in line.text or not _NAMED.fullmatch(line.word):
        return
    try:
        given = line.named()
    except Refused:
        return  # Klipper will not read it either
    for key, value in given.items():
        _check_finite(key, value)


def _check_finite(key: str, text: str) -> None:
    try:
        finite = math.isfinite(float(text))
    except ValueError:
        return
    if not finite:
        raise Refused(
            say(
                "{key} is {value}, which no printer can be given: send a number.",
                key=key,
                value=_shown(text),
            )
        )


def _named(character: str) -> str:
    return repr(character) if character.isprintable() else f"U+{ord(character):04X}"


def _shown(text: str) -> str:
    clean = printable(text)
    return f'"{clean[:SHOWN]}{"…" if len(clean) > SHOWN else ""}"'
