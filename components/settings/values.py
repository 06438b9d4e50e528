"""What an option may hold, and the one reader that checks it, for moonraker.conf and JSON alike.

A reader returns the typed value or raises `BadValue`, whose text completes the sentence "… must
be". It never raises anything else, whatever it is given.
"""

import json
import math
import re
import unicodedata
from enum import Enum
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple
from urllib.parse import urlsplit

from ..runtime.loose import printable
from ..runtime.messages import say, sentence
from ..runtime.redaction import MASK, mask_url
from .model import BadValue
from .operator import read_actions

MAX_URL = 2048  # what servers and proxies reliably take
MAX_MAP_KEYS = 20
MAX_SHOWN = 60
# Of a list or map, so many times as many items are looked at as are taken: some may be wrong or
# given twice, but a file of rubbish is not worth a second of everybody's time.
LOOKED_AT = 4
MAX_TOLD = 3  # items left out that are named

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\Z", re.ASCII)
_WORDS = {"true": True, "yes": True, "on": True, "1": True}
_WORDS.update({"false": False, "no": False, "off": False, "0": False})
_HOST = re.compile(r"[\w.\-]+\Z|\[[0-9A-Fa-f:.]+\]\Z")
# In a wrong value, where no scheme or a "/" within it keeps it from being known as one of a URL.
_CREDENTIALS = re.compile(r"[^\s:/@]+:(?!//)[^\s@]+@")
_SECRETS_TEMPLATE = re.compile(r"\{[^{}]*\bsecrets\b[^{}]*\}")


class Kind(str, Enum):
    TEXT = "text"
    TOKEN = "token"  # noqa: S105 - the name of a kind
    URL = "URL"
    PROXY = "proxy"
    PATH = "path of a file"
    BOOLEAN = "true or false"
    INTEGER = "integer"
    NUMBER = "number"
    CHOICE = "choice"
    FOLDER = "folder"
    FILE = "file name"
    TEXTS = "list of texts"
    URLS = "list of URLs"
    PATTERNS = "list of patterns"
    ACTIONS = "list of actions"
    HOSTS = "list of hosts"
    MAP = "texts by name"
    OWN_ACTIONS = "actions by name"


LISTS = (Kind.TEXTS, Kind.URLS, Kind.PATTERNS, Kind.ACTIONS, Kind.HOSTS)


class Option(NamedTuple):
    """One option: `path` is its place in JSON; `name` the same in moonraker.conf."""

    path: str
    kind: Kind
    text: str
    default: Any = None
    unit: str = ""
    low: float = 0.0
    high: float = 0.0
    choices: Tuple[str, ...] = ()  # of a list of actions, those that each item is one of
    limit: int = 200  # characters of a text, or of each item of a list
    items: int = 0  # at most so many in a list
    keys: Tuple[str, ...] = ()  # the documented ones of a map; others are kept too
    example: str = ""  # as written in moonraker.conf, where the default explains nothing
    cautious: Any = None  # at most this where nobody can tell what was meant; None: anything
    in_json: bool = True

    @property
    def name(self) -> str:
        return self.path.replace(".", "_")

    @property
    def secret(self) -> bool:
        return self.kind is Kind.TOKEN


class Reading(NamedTuple):
    value: Any
    left_out: Tuple[str, ...] = ()  # a sentence for each item of a list or map that was not taken


def is_secrets_template(text: str) -> bool:
    """Whether Moonraker's template engine has to fill it in, as in `{secrets.tecmedhub.token}`."""
    return _SECRETS_TEMPLATE.search(text) is not None


def read(option: Option, raw: Any) -> Reading:
    """The value of `option` as written `raw`, a string of moonraker.conf or any JSON value."""
    if option.kind in LISTS:
        return _read_list(option, raw)
    if option.kind is Kind.MAP:
        return _read_map(option, raw)
    if option.kind is Kind.OWN_ACTIONS:
        return Reading(*read_actions(raw, option.choices))
    return Reading(_SCALARS[option.kind](option, raw))


UNITS: Dict[str, str] = {
    "seconds": sentence("seconds"),
    "days": sentence("days"),
    "videos": sentence("videos"),
    "files": sentence("files"),
    "frames a second": sentence("frames a second"),
    "MB": sentence("MB"),
}


def allowed(option: Option) -> str:
    """What may be written, for people: completes "must be"."""
    kind, limit, items = option.kind, option.limit, option.items
    if kind in (Kind.INTEGER, Kind.NUMBER):
        unit = say(UNITS.get(option.unit, option.unit))
        span = say("from {low} to {high}", low=figure(option.low), high=figure(option.high))
        if option.unit:
            span = say("{span} {unit}", span=span, unit=unit)
        if kind is Kind.INTEGER:
            return say("a whole number {span}", span=span)
        return say("a number {span}", span=span)
    if kind is Kind.CHOICE:
        return say("one of {choices}", choices=", ".join(option.choices))
    template = _ALLOWED[kind]
    if "{" not in template:
        return say(template)
    return say(template, limit=limit, items=items, most=MAX_MAP_KEYS)


_ALLOWED: Dict[Kind, str] = {
    Kind.TEXT: sentence("one line of text, at most {limit} characters"),
    Kind.MAP: sentence("at most {most} names, each with a text or number"),
    Kind.OWN_ACTIONS: sentence("an object: action names with what each does"),
    Kind.BOOLEAN: sentence("true or false"),
    Kind.TOKEN: sentence("1 to {limit} characters in one line"),
    Kind.URL: sentence(
        "an http:// or https:// address with a host and without user name or password"
    ),
    Kind.PROXY: sentence(
        "http://host:port, with user:password@ before the host if need be, or none"
    ),
    Kind.PATH: sentence("the whole path of a file, such as /etc/ssl/certs/school.pem"),
    Kind.FOLDER: sentence(
        "empty or a plain folder name such as tecmedhub (no .., no leading / or dot)"
    ),
    Kind.FILE: sentence("a plain file name ending in .json, inside Moonraker's config folder"),
    Kind.TEXTS: sentence("a list of at most {items} texts of at most {limit} characters"),
    Kind.URLS: sentence("a list of at most {items} http:// or https:// addresses with a host"),
    Kind.PATTERNS: sentence("a list of at most {items} names such as M117 or G*"),
    Kind.ACTIONS: sentence("a list of at most {items} action names such as reboot"),
    Kind.HOSTS: sentence("a list of at most {items} hosts such as files.example.org:8080"),
}


def figure(number: Any) -> str:
    """
    >>> figure(5.0), figure(0.5), figure(65536)
    ('5', '0.5', '65536')
    """
    return str(int(number)) if float(number).is_integer() else f"{number:g}"


def shown(raw: Any) -> str:
    """A value in a sentence: short, in one line, without credentials."""
    if isinstance(raw, Mapping):
        return say("an object {…}")
    if isinstance(raw, (list, tuple)):
        if len(raw) != 1:
            return say("a list of {count}", count=len(raw))
        return say("[{item}]", item=shown(raw[0]))
    if isinstance(raw, str):
        text = _CREDENTIALS.sub(f"{MASK}@", mask_url(raw[: 4 * MAX_SHOWN]))
        text = printable(json.dumps(text, ensure_ascii=False))
        return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 2] + '…"'
    if raw is None or isinstance(raw, bool):
        return json.dumps(raw)
    if isinstance(raw, int) and raw.bit_length() > 64:
        return say("a huge number")
    return str(raw)[:MAX_SHOWN]


def closest(wanted: str, names: Iterable[str]) -> str:
    """The one of `names` that `wanted` most resembles, or "".

    >>> closest("rebot", ["shutdown", "reboot"]), closest("apagar", ["shutdown", "reboot"])
    ('reboot', '')
    """
    import difflib  # noqa: PLC0415  (large, and most configurations hold no unknown name)

    found = difflib.get_close_matches(wanted, names, n=1, cutoff=0.75)
    return found[0] if found else ""


# Scalars


def _text(option: Option, raw: Any) -> str:
    return _one_line(raw, option.limit, allowed(option))


def _one_line(raw: Any, limit: int, wanted: str) -> str:
    if isinstance(raw, bool) or not isinstance(raw, (str, int, float)):
        raise BadValue(wanted)
    if not isinstance(raw, str):
        raw = figure(raw) if _finite(raw) else ""
        if not raw:
            raise BadValue(wanted)
    text = raw.strip()
    if len(text) > limit or any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text):
        raise BadValue(wanted)
    return text


def _finite(number: float) -> bool:
    try:
        return math.isfinite(float(number))
    except OverflowError:
        return False


def _token(option: Option, raw: Any) -> str:
    text = _text(option, raw)
    if not text:
        raise BadValue(allowed(option))
    if is_secrets_template(text):
        raise BadValue("the token itself: {secrets…} is read in moonraker.conf only")
    return text


def _url(option: Option, raw: Any) -> str:
    wanted = allowed(option)
    text = _one_line(raw, MAX_URL, wanted)
    if text:
        check_url(text, wanted)
    return text


def _proxy(option: Option, raw: Any) -> str:
    wanted = allowed(option)
    text = _one_line(raw, MAX_URL, wanted)
    if text.lower() in ("", "none"):
        return text.lower()
    check_url(text, wanted, credentials=True)
    parts = urlsplit(text)
    if parts.scheme != "http" or parts.path not in ("", "/") or parts.query:
        raise BadValue(wanted)
    return text


def _path(option: Option, raw: Any) -> str:
    wanted = allowed(option)
    text = _one_line(raw, 1024, wanted)
    if text and not text.startswith("/"):
        raise BadValue(wanted)
    return text


def check_url(text: str, wanted: str, *, credentials: bool = False) -> None:
    """Raise `BadValue(wanted)` unless `text` is an absolute http(s) URL with a possible host."""
    if any(c.isspace() or c in '\\"<>' for c in text) or "#" in text:
        raise BadValue(wanted)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise BadValue(wanted) from None
    if parts.scheme not in ("http", "https") or port == 0 or not _is_host(host):
        raise BadValue(wanted)
    if "@" in parts.netloc and not credentials:
        raise BadValue(wanted)


def _is_host(host: str) -> bool:
    if not host or len(host) > 253:
        return False
    if ":" in host:  # IPv6, as urlsplit gives it: without brackets
        host = f"[{host}]"
    if not _HOST.match(host):
        return False
    if host.isascii():
        return not host.startswith((".", "-")) and ".." not in host
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def _boolean(option: Option, raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, int) and raw in (0, 1):
        return bool(raw)
    if isinstance(raw, str) and raw.strip().lower() in _WORDS:
        return _WORDS[raw.strip().lower()]
    raise BadValue(allowed(option))


def _number(option: Option, raw: Any) -> float:
    if isinstance(raw, str):
        text = raw.strip()
        raw = float(text) if len(text) <= 40 and _NUMBER.match(text) else None
    if isinstance(raw, bool) or not isinstance(raw, (int, float)):
        raise BadValue(allowed(option))
    if not _finite(raw) or not option.low <= raw <= option.high:
        raise BadValue(allowed(option))
    return float(raw)


def _integer(option: Option, raw: Any) -> int:
    number = _number(option, raw)
    if not number.is_integer():
        raise BadValue(allowed(option))
    return int(number)


def _choice(option: Option, raw: Any) -> str:
    text = _one_line(raw, 60, allowed(option)).lower()
    for choice in option.choices:
        if choice.lower() == text:
            return choice
    raise BadValue(allowed(option))


def is_plain_path(text: str) -> bool:
    """Relative, downwards only, nothing hidden, nothing that a file system or shell dislikes."""
    if not text or len(text.encode("utf-8", "replace")) > 200 or not text.isprintable():
        return False
    if any(c in '\\:*?"<>|' for c in text):
        return False
    parts = text.split("/")
    return all(part and not part.startswith(".") and part == part.strip() for part in parts)


def _folder(option: Option, raw: Any) -> str:
    text = _text(option, raw)
    if text.endswith("/") and text != "/":
        text = text[:-1]
    if text and not is_plain_path(text):
        raise BadValue(allowed(option))
    return text


def _file(option: Option, raw: Any) -> str:
    text = _text(option, raw)
    if not is_plain_path(text) or not text.lower().endswith((".json", ".jsonc")):
        raise BadValue(allowed(option))
    return text


_SCALARS: Dict[Kind, Callable[[Option, Any], Any]] = {
    Kind.TEXT: _text,
    Kind.TOKEN: _token,
    Kind.URL: _url,
    Kind.PROXY: _proxy,
    Kind.PATH: _path,
    Kind.BOOLEAN: _boolean,
    Kind.INTEGER: _integer,
    Kind.NUMBER: _number,
    Kind.CHOICE: _choice,
    Kind.FOLDER: _folder,
    Kind.FILE: _file,
}


# Lists and maps


def _read_list(option: Option, raw: Any) -> Reading:
    """One a line, or (except URLs, which may hold commas) separated by commas; or a JSON list.

    An item that cannot be taken is left out and named; where none is left, the whole value is bad.
    """
    most = LOOKED_AT * option.items
    if isinstance(raw, str):
        raw = _lines(raw, most, commas=option.kind is not Kind.URLS)
    if not isinstance(raw, (list, tuple)):
        raise BadValue(allowed(option))
    taken: List[str] = []
    left_out: List[str] = []
    for index, item in enumerate(raw):
        if len(taken) == option.items:
            counts = {"taken": option.items, "all": len(raw)}
            left_out.append(say("only the first {taken} of {all} items are taken", **counts))
            break
        if index == most:
            left_out.append(say("only the first {count} items are looked at", count=most))
            break
        try:
            value = _item(option, item, explain=len(left_out) < MAX_TOLD)
        except BadValue as error:
            if len(left_out) < MAX_TOLD:
                left_out.append(
                    say(
                        "item {number}, {item}, is left out: it must be {wanted}",
                        number=index + 1,
                        item=shown(item),
                        wanted=error.args[0],
                    )
                )
            continue
        if value and value not in taken:
            taken.append(value)
    if raw and not taken:
        if option.choices and left_out:
            raise BadValue("{list}; {what}", list=allowed(option), what=left_out[0])
        raise BadValue(allowed(option))
    return Reading(tuple(taken), tuple(left_out))


def _lines(text: str, most: int, *, commas: bool) -> List[str]:
    """The items of a list written as text, without blank ones. Of a text with far too many, the
    rest stays in one piece, which is too long for an item.
    """
    if commas:
        text = text.replace("\n", ",")
    pieces = text.split("," if commas else "\n", 2 * most)
    return [piece for piece in pieces if piece.strip()]


def _item(option: Option, raw: Any, *, explain: bool) -> str:
    """The item as it is taken, or `BadValue`; to `explain` may take a comparison with all names."""
    if option.kind is Kind.URLS:
        wanted: str = say("an http:// or https:// address with a host")
        text = _one_line(raw, MAX_URL, wanted)
        if text.startswith("/"):
            wanted = say(
                "a whole address, such as {address}", address=f"http://127.0.0.1{text[:100]}"
            )
        elif "://" not in text:
            text = f"http://{text}"  # as browsers take it
        check_url(text, wanted, credentials=True)  # cameras do ask for a user name and password
        return text
    text = _one_line(
        raw, option.limit, say("one line of text, at most {limit} characters", limit=option.limit)
    )
    if option.kind is Kind.PATTERNS and not re.match(r"[\w*?\-.\[\]]+\Z", text):
        raise BadValue("a name such as M117 or G*")
    if option.kind is Kind.ACTIONS:
        text = re.sub(r"[\s-]+", "_", text).lower()
        if not re.match(r"[a-z0-9_]+\Z", text):
            raise BadValue("an action name such as reboot")
        if option.choices and text not in option.choices:
            near = closest(text, option.choices) if explain else ""
            hint = (
                say("did you mean {name}?", name=near)
                if near
                else say("docs/commands.md lists them")
            )
            raise BadValue("an action that exists ({hint})", hint=hint)
    if option.kind is Kind.HOSTS:
        wanted = say("a host such as files.example.org")
        check_url(text if "://" in text else f"http://{text}", wanted)
    return text


def _read_map(option: Option, raw: Any) -> Reading:
    if isinstance(raw, (list, tuple)) and not raw:
        raw = {}  # PHP's empty array
    if not isinstance(raw, Mapping):
        raise BadValue(allowed(option))
    taken: Dict[str, Any] = {}
    left_out: List[str] = []
    for index, (key, value) in enumerate(raw.items()):
        if index == LOOKED_AT * MAX_MAP_KEYS:
            left_out.append(say("only the first {count} names are looked at", count=index))
            break
        name = _name(key)
        if name.startswith("_") or value is None:
            continue
        if len(taken) == MAX_MAP_KEYS:
            counts = {"taken": MAX_MAP_KEYS, "all": len(raw)}
            left_out.append(say("only the first {taken} of {all} names are taken", **counts))
            break
        checked = _scalar(value, option.limit)
        if name and checked is not None:
            taken[name] = checked
        elif len(left_out) < MAX_TOLD:
            left_out.append(
                say(
                    "{name} is left out: it must be a short name with a text or number",
                    name=shown(key),
                )
            )
    return Reading(taken, tuple(left_out))


def _name(key: Any) -> str:
    try:
        return _one_line(key, 60, "")
    except BadValue:
        return ""


def _scalar(value: Any, limit: int) -> Optional[Any]:
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return value if _finite(value) and abs(value) < 1e15 else None
    try:
        return _one_line(value, limit, "")
    except BadValue:
        return None
