"""Commands as the two server generations write them → `Command`. Pure, and never raises whatever
the reply holds.

A command that cannot be read becomes one with a `problem`, so that its id still gets a result that
says why. Generation 1: `{id, token, action, timestamp, …parameters}`; generation 2: `{id, type,
command}`. The shape decides which it is, not the hub's generation.
"""

import hashlib
import json
import re
from typing import Any, Callable, Dict, Iterator, Mapping, NamedTuple, Optional, Tuple

from ..runtime.loose import as_bool, as_dict, as_float, as_text, printable
from ..runtime.messages import say
from .actions import ACTIONS, EMERGENCY_STOP, PRINTS
from .gcode import Refused, is_restart, read_line, read_macro_call

MAX_PER_REPLY = 50  # commands of one reply that are run; emergency stops are found beyond it too
MAX_ANSWERED = 200  # commands of one reply that get a result
MAX_STORED = 16_384  # bytes of one command as JSON; a script may have 4 KiB
MAX_FIELDS = 500  # parameters of one command
MAX_ORDER = 4096  # characters of generation 2's basic commands and macro calls
MAX_ID = 200  # characters
MAX_ACTION = 60  # characters of an action's name
MAX_DEPTH = 3  # lists within lists
SHOWN = 100  # characters of a summary

_ENVELOPE = ("id", "token", "action", "type", "command", "timestamp", "priority", "confirm")
_TOO_LARGE = say("it is larger than {most} bytes", most=MAX_STORED)
_BASIC = re.compile(r"([A-Za-z_]+)\s*(?:[:\s]\s*(.*))?", re.DOTALL)
_BASIC_NAMES = {"print_file": "print", "cancel_print": "cancel"}


class Command(NamedTuple):
    """One order of the hub's, as far as it could be read."""

    identity: str  # the same for two deliveries of the same command
    id: Any  # as the hub wrote it: a string or a number
    action: str  # a name of `ACTIONS`, or whatever the hub wrote
    generation: int
    received_at: float  # unix seconds by the hub's clock
    params: Mapping[str, Any] = {}
    timestamp: Optional[float] = None  # unix seconds by the hub's clock, where the hub gave one
    confirm: bool = False
    foreign: bool = False  # it carries another printer's token
    problem: str = ""  # why it cannot be read, as a sentence
    key: str = ""  # under which the ledger has it

    @property
    def is_stop(self) -> bool:
        return self.action == EMERGENCY_STOP and not self.problem

    def age(self, now: float) -> float:
        """Seconds since the hub queued it, or since its delivery where the hub does not say; never
        negative."""
        since = self.received_at if self.timestamp is None else self.timestamp
        return max(now - since, 0.0)

    def summary(self) -> str:
        """The action and its parameters, short and printable, without addresses (they can hold
        secrets)."""
        told = [
            f"{name}={json.dumps(value, ensure_ascii=False)}"
            for name, value in self.params.items()
            if name != "download_url" and value not in (None, "", [], {})
        ]
        text = " ".join(
            [self.action or "unreadable", *told, *(["confirm"] if self.confirm else [])]
        )
        clean = printable(text)
        return clean if len(clean) <= SHOWN else f"{clean[: SHOWN - 1]}…"

    def to_json(self) -> str:
        """What `from_json` needs to run it after a restart."""
        return json.dumps(
            {
                "generation": self.generation,
                "params": dict(self.params),
                "timestamp": self.timestamp,
                "confirm": self.confirm,
                "foreign": self.foreign,
                "problem": self.problem,
            },
            sort_keys=True,
        )


class PrintRequest(NamedTuple):
    """What `print` and `print_local` ask for. An empty text or None was not given."""

    file: str
    local: bool = False  # it must be on the printer already
    download_url: str = ""
    md5: str = ""
    sha256: str = ""
    size: Optional[int] = None  # bytes
    queue: bool = False


def print_request(command: Command) -> PrintRequest:
    params = command.params
    size = as_float(params.get("size"))
    return PrintRequest(
        file=as_text(params.get("file")),
        local=command.action == "print_local",
        download_url=as_text(params.get("download_url")).strip(),
        md5=as_text(params.get("md5")).strip().lower(),
        sha256=as_text(params.get("sha256")).strip().lower(),
        size=int(size) if size is not None and size >= 0 else None,
        queue=as_bool(params.get("queue")),
    )


class Reader:
    """Reads replies for one printer. `scope` tells hubs apart, since ids are unique within one hub
    only; `new_id` makes an id for a command that came without."""

    def __init__(self, scope: str, token: str, new_id: Callable[[], str]) -> None:
        self._scope = scope
        self._token = token
        self._new_id = new_id

    def read(self, item: Any, generation: int, received_at: float) -> Command:
        """The command of one entry; what cannot be read has a `problem`."""
        try:
            return self._read(item, generation, received_at)
        except (
            Exception
        ) as error:  # whatever a hostile entry does to the reading, its neighbours are read
            return self._unreadable(None, generation, received_at, type(error).__name__)

    def _read(self, item: Any, generation: int, received_at: float) -> Command:
        if not isinstance(item, dict):
            kind = type(item).__name__
            return self._unreadable(
                None, generation, received_at, say("it is a {kind}, not an object", kind=kind)
            )
        identity = _identity(item.get("id"))
        excess = _excess(item)
        if excess:
            action = as_text(item.get("action"))[:MAX_ACTION]
            return self._unreadable(identity, generation, received_at, excess, action)
        action, params, problem = _read_order(item)
        action = action[:MAX_ACTION]
        if identity is None:
            shown = text = self._new_id()
        else:
            shown, text = identity
        token = as_text(item.get("token"))
        command = Command(
            identity="",
            id=shown,
            action=action,
            generation=generation,
            received_at=received_at,
            params=params,
            timestamp=_timestamp(item.get("timestamp")),
            confirm=as_bool(item.get("confirm")) or as_bool(params.get("confirm")),
            foreign=bool(token) and token != self._token,
            problem=problem,
        )
        if len(command.to_json()) > MAX_STORED:
            return self._unreadable((shown, text), generation, received_at, _TOO_LARGE, action)
        return command._replace(identity=self._identity_of(text, command))

    def left_out(self, item: Any, generation: int, received_at: float, reason: str) -> Command:
        """One that is answered and not even read."""
        identity = _identity(item.get("id")) if isinstance(item, dict) else None
        made = self._unreadable(identity, generation, received_at, "")
        return made._replace(problem=reason)

    def _identity_of(self, text: str, command: Command) -> str:
        """Hub, id and content: the same id with another content is another command."""
        content = f"{command.action}\n{command.to_json()}".encode("utf-8", "replace")
        digest = hashlib.sha256(content).hexdigest()[:16]
        return f"{command.generation}:{self._scope}:{text}|{digest}"

    def _unreadable(
        self,
        identity: Optional[Tuple[Any, str]],
        generation: int,
        received_at: float,
        why: str,
        action: str = "",
    ) -> Command:
        if identity is None:
            made = self._new_id()
            identity = (made, made)
        command = Command(
            identity="",
            id=identity[0],
            action=action,
            generation=generation,
            received_at=received_at,
            problem=say("The command cannot be read: {why}. Correct it on the server.", why=why),
        )
        return command._replace(identity=self._identity_of(identity[1], command))


def from_json(key: str, id_: Any, action: str, received_at: float, text: str) -> Command:
    """The command of a ledger row; one whose JSON is damaged has a `problem`."""
    try:
        stored = as_dict(json.loads(text))
    except ValueError:
        stored = {
            "problem": say(
                "The record of this command is damaged, so it was not run. Send it again."
            )
        }
    return Command(
        identity="",
        key=key,
        id=id_,
        action=action,
        generation=int(as_float(stored.get("generation"), 1) or 1),
        received_at=received_at,
        params=as_dict(stored.get("params")),
        timestamp=as_float(stored.get("timestamp")),
        confirm=as_bool(stored.get("confirm")),
        foreign=as_bool(stored.get("foreign")),
        problem=as_text(stored.get("problem")),
    )


def looks_like_stop(item: Any) -> bool:
    """Whether an entry of a reply asks for an emergency stop, in either form."""
    if not isinstance(item, dict) or _excess(item):
        return False
    for name in ("action", "command"):
        text = item.get(name)
        if isinstance(text, str) and EMERGENCY_STOP in text.lower():
            try:
                action, _, problem = _read_order(item)
            except Exception:
                return False
            return action == EMERGENCY_STOP and not problem
    return False


def entries(raw: Any, depth: int = 0) -> Iterator[Any]:
    """The entries of a reply's `commands`, one by one: PHP makes a list with gaps an object, and
    nothing at all null."""
    if raw is None or (isinstance(raw, (list, dict)) and not raw):
        return
    if isinstance(raw, dict) and not any(
        name in raw for name in ("action", "command", "type", "id")
    ):
        raw = list(raw.values())
    if isinstance(raw, list) and depth < MAX_DEPTH:
        for item in raw:
            yield from entries(item, depth + 1)
    else:
        yield raw


def _excess(item: Mapping[str, Any]) -> str:
    """Why it is not even to be read, which would hold the event loop: 1 MiB of parameters takes a
    third of a second; "" if it is.
    """
    params = item.get("params")
    if len(item) > MAX_FIELDS or (isinstance(params, dict) and len(params) > MAX_FIELDS):
        return say("it has more than {most} parameters", most=MAX_FIELDS)
    texts = (text for name, text in item.items() if name not in _ENVELOPE or name == "command")
    if any(isinstance(text, str) and len(text) > MAX_STORED for text in texts):
        return _TOO_LARGE
    return ""


def _read_order(item: Mapping[str, Any]) -> Tuple[str, Dict[str, Any], str]:
    """Action, parameters and problem of an entry; a script that only restarts Klippy is that
    action, with its rules: after a stop nothing else brings generation 2's printers back.
    """
    action, params, problem = _read_written(item)
    script = params.get("gcode")
    if action == "gcode" and isinstance(script, str) and is_restart(script):
        lines = (read_line(line).word for line in script.splitlines())
        return "firmware_restart", {"gcode": next(word for word in lines if word)}, problem
    return action, params, problem


def _read_written(item: Mapping[str, Any]) -> Tuple[str, Dict[str, Any], str]:
    extra = {str(name): value for name, value in item.items() if name not in _ENVELOPE}
    if item.get("action") is not None:
        action = as_text(item["action"]).strip().lower()
        if not action:
            return "", {}, say("The command names no action. Correct it on the server.")
        return action, _gather(action, extra), ""
    if item.get("command") is None:
        return "", {}, say("The command names no action. Correct it on the server.")
    text = as_text(item["command"])
    kind = as_text(item.get("type"), "basic").strip().lower()
    if kind in ("basic", "macro") and len(text) > MAX_ORDER:
        return (
            "",
            {},
            say(
                "The command is longer than {most} characters: shorten its parameters.",
                most=MAX_ORDER,
            ),
        )
    if kind == "basic":
        action, params, problem = _read_basic(text)
        return action, _gather(action, dict(extra, **params)), problem
    if kind == "gcode":
        return "gcode", dict(extra, gcode=text), ""
    if kind == "macro":
        try:
            name, params = read_macro_call(text)
        except Refused as reason:
            return "macro", {}, str(reason)
        return "macro", dict(extra, macro_name=name, params=params), ""
    shown = printable(kind, 20)
    return (
        "",
        {},
        say(
            'The command has the unknown type "{shown}": basic, gcode and macro are known.',
            shown=shown,
        ),
    )


def _read_basic(text: str) -> Tuple[str, Dict[str, Any], str]:
    """`PAUSE`, `PRINT_FILE:part one.gcode`, `SET_SPEED:120`, `HEAT:hotend_temp=210 bed_temp=60`."""
    match = _BASIC.fullmatch(text.strip())
    if match is None:
        shown = printable(text, 40)
        return (
            "",
            {},
            say(
                '"{shown}" is no basic command: one upper-case word is, such as PAUSE.', shown=shown
            ),
        )
    word, rest = match.group(1).lower(), (match.group(2) or "").strip()
    name = _BASIC_NAMES.get(word, word)
    action = ACTIONS.get(name)
    if not rest:
        return name, {}, ""
    if action is not None and action.main and (name in PRINTS or "=" not in rest):
        return name, {action.main: rest}, ""
    pairs = [piece.partition("=") for piece in re.split(r"[\s,;]+", rest) if piece]
    if not all(key and equals for key, equals, _ in pairs):
        return (
            name,
            {},
            say(
                "What stands behind {word} cannot be read: write NAME:value or NAME:key=value.",
                word=word.upper(),
            ),
        )
    return name, {key.lower(): value for key, _, value in pairs}, ""


def _gather(action: str, given: Mapping[str, Any]) -> Dict[str, Any]:
    """Parameters stand at the top level; some servers put them into `params`, which PHP makes a
    list when empty."""
    inner = given.get("params")
    if isinstance(inner, str) and inner.lstrip().startswith("{"):
        try:
            inner = json.loads(inner)
        except ValueError:
            pass
    if action == "macro":
        return dict(given, params=inner if inner not in (None, [], "") else {})
    outer = {name: value for name, value in given.items() if name != "params"}
    return {**{str(name): value for name, value in as_dict(inner).items()}, **outer}


def _identity(value: Any) -> Optional[Tuple[Any, str]]:
    """The id to answer with, and its text: 7 and "7" are the same; None without an id."""
    if value is None:
        return None
    if isinstance(value, str):
        shown: Any = as_text(value).strip()
        text = shown
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        shown, text = value, _number_text(value)
        if len(text) > MAX_ID or text in ("nan", "inf", "-inf"):
            shown = text
    else:
        shown = text = json.dumps(value, sort_keys=True, default=str)
    if not text:
        return None
    if len(text) > MAX_ID:
        digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
        return as_text(shown)[:MAX_ID] or digest, digest
    return shown, text


def _number_text(value: Any) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    try:
        return str(value)
    except ValueError:  # Python refuses to write integers of thousands of digits
        return hex(value)


def _timestamp(value: Any) -> Optional[float]:
    number = as_float(value)
    return number if number is not None and number > 0 else None
