"""From what is written to what is in force: pure, and for any input at all, never an exception.

Layers, lowest first: the strings of `[tecmedhub]` in moonraker.conf, client v4's JSON file, ours.
Each value is checked alone. A wrong one yields a `Problem` and leaves the last good value of its
file, else what the layer below says, but no more than the table's cautious value allows.

No accident widens: a guarded option (`caution`) that a JSON file has narrowed stays so until a file
says something else about it, in so many words.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..runtime.messages import joined, say
from ..runtime.redaction import Redactor
from ..runtime.steps import breathe
from .caution import GUARDED, cautious, narrower, wider
from .conf import ConfValues
from .jsonc import Document
from .memory import NOTHING, Memory
from .model import BadValue, Origin, Origins, RemoteControl, Settings
from .options import BY_PATH, CONFIG_FILE, OPTIONS, SECTION, SECTIONS
from .problems import MAX_PROBLEMS, Problem, doubtful, no_longer_needed, unknown
from .values import Kind, Option, Reading, figure, read, shown

MAX_LOOKED_AT = 50  # names below one that is not known


class Layer(NamedTuple):
    """A JSON file that is there; `document` is None where it cannot be understood."""

    name: str
    document: Optional[Document]
    origin: Origin = Origin.JSON


class Loaded(NamedTuple):
    settings: Settings
    origins: Origins  # by path, for every option
    problems: Tuple[Problem, ...]
    memory: Memory = NOTHING  # to be given to the next `merge`


def merge(conf: ConfValues, layers: Sequence[Layer] = (), memory: Memory = NOTHING) -> Loaded:
    """What is in force, given moonraker.conf, the JSON files, lowest first, and what they said when
    they were last understood. With layers, for a thread: thousands of unknown names take long.
    """
    return _Merge(conf, memory).run(layers)


class _Merge:
    def __init__(self, conf: ConfValues, memory: Memory) -> None:
        self.conf = conf
        self.memory = memory
        self.values: Dict[str, Any] = {option.path: option.default for option in OPTIONS}
        self.origins: Origins = {option.path: Origin.DEFAULT for option in OPTIONS}
        self.problems: List[Problem] = list(conf.problems)
        self.untold = 0
        self.news: Dict[str, bool] = {}  # by path: the value differs from what its file said before
        self.tokens: List[Any] = [conf.values.get("printer_token")]
        self.remembered: Dict[str, Mapping[str, Any]] = {}

    def run(self, layers: Sequence[Layer]) -> Loaded:
        for option in OPTIONS:
            if option.path in self.conf.values:
                self.take_conf(option, self.conf.values[option.path])
        for path in self.conf.doubtful:
            if path not in self.conf.values:
                self.doubt(BY_PATH[path])
        for layer in layers:
            _JsonLayer(self, layer).apply()
        self.guard(layers[-1].name if layers else self.conf.config_file)
        if self.origins["intervals.status_idle"] is Origin.DEFAULT:
            self.values["intervals.status_idle"] = self.values["intervals.status_update"]
        if self.untold:
            text = say("and {count} more problems like these", count=self.untold)
            self.problems.append(Problem("", Origin.JSON, text))
        problems = self.without_secrets()
        return Loaded(_build(self.values), self.origins, problems, self.new_memory())

    def take_conf(self, option: Option, raw: Any) -> None:
        path, origin = option.path, Origin.MOONRAKER_CONF
        if option.kind is Kind.TOKEN and not raw.strip():
            return  # left empty: not given
        called = say("moonraker.conf [{section}]: {name}", section=SECTION, name=option.name)
        try:
            reading = read(option, raw)
        except BadValue as error:
            self.refused(option, called, raw, error.args[0], self.doubt(option), origin)
            return
        self.put(option, self.taken(option, reading, called, origin), origin)
        self.news[path] = raw != self.memory.conf.get(path)

    def taken(
        self, option: Option, reading: Reading, called: str, origin: Origin, known: Any = None
    ) -> Any:
        """The value of what could be read only in parts: whatever was to be denied besides, is."""
        value, told = reading.value, list(reading.left_out)
        if told and option.path == "security.denied_actions":
            value = narrower(option, value, option.cautious if known is None else known)
            told.append(say("until this is mended, denied are {actions}", actions=", ".join(value)))
        for what in told:
            text = say("{option}: {what}", option=called, what=what)
            self.tell(Problem(option.path, origin, text))
        return value

    def put(self, option: Option, value: Any, origin: Origin) -> None:
        if option.kind is Kind.MAP:
            value = {**self.values[option.path], **value}
        self.values[option.path] = value
        self.origins[option.path] = origin

    def doubt(self, option: Option) -> str:
        """Nobody can tell what was meant; what is in force instead, for a sentence."""
        value = self.values[option.path]
        safe = cautious(option, value)
        if safe != value:
            self.put(option, safe, Origin.CAUTIOUS)
            return say("to be safe, {value} is in force", value=describe_value(option, safe))
        if self.origins[option.path] is Origin.DEFAULT:
            default = describe_value(option, value)
            return say("{value} (the default) is in force", value=default)
        return say("{value} is in force", value=describe_value(option, value))

    def refused(
        self, option: Option, called: str, raw: Any, error: str, instead: str, origin: Origin
    ) -> None:
        places = {"option": called, "wanted": error, "instead": instead}
        if option.secret:
            text = say("{option}: must be {wanted}; {instead}", **places)
        else:
            text = say(
                "{option}: {value} is not valid, it must be {wanted}; {instead}",
                value=shown(raw),
                **places,
            )
        self.tell(Problem(option.path, origin, text))

    def guard(self, file_name: str) -> None:
        """What a JSON file has narrowed stays so, unless what is wider now was written since."""
        for path, old in self.memory.held.items():
            option, value = BY_PATH[path], self.values[path]
            if self.news.get(path) or not wider(path, value, old):
                continue
            held = narrower(option, value, old)
            self.put(option, held, Origin.KEPT)
            text = say(
                "{path} is no longer written in {file}; {value} stays in force, since this may not "
                "be loosened by accident. If it is meant, write the value that shall count there "
                "(the default is {default})",
                path=path,
                file=file_name,
                value=describe_value(option, held),
                default=describe_value(option, option.default),
            )
            self.tell(Problem(path, Origin.KEPT, text))

    def new_memory(self) -> Memory:
        json = (Origin.V4, Origin.JSON, Origin.KEPT)
        held = {path: self.values[path] for path in GUARDED if self.origins[path] in json}
        for path, old in self.memory.held.items():
            if self.origins[path] is Origin.CAUTIOUS:
                held[path] = old
        conf: Dict[str, str] = {}
        for path in held:
            kept = self.origins[path] in (Origin.KEPT, Origin.CAUTIOUS)
            written = (self.memory.conf if kept else self.conf.values).get(path)
            if written is not None:
                conf[path] = str(written)
        return Memory(self.remembered, held, conf)

    def tell(self, problem: Problem) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            if problem not in self.problems:
                self.problems.append(problem)
        else:
            self.untold += 1

    def without_secrets(self) -> Tuple[Problem, ...]:
        """The token may stand in the wrong place, too."""
        redactor = Redactor()
        path = "printer_token"
        longest = 4 * BY_PATH[path].limit  # no sentence holds a longer one whole
        for raw in (*self.tokens, self.values[path]):
            if isinstance(raw, str) and len(raw) <= longest:
                redactor.add(raw.strip())
        told = []
        for problem in self.problems:
            clean = redactor.known(problem.text)
            told.append(problem if clean == problem.text else problem._replace(text=clean))
        return tuple(told)


class _JsonLayer:
    """One JSON file, laid over what is there."""

    def __init__(self, merge: _Merge, layer: Layer) -> None:
        self.merge = merge
        self.layer = layer
        self.document = layer.document or Document()
        self.before = merge.memory.layers.get(layer.name)  # None: never understood
        self.written: Dict[str, Any] = {}
        self.unclear: Dict[str, None] = {}  # options that somebody may have meant to set
        self.leaves = 0

    def apply(self) -> None:
        merge, origin, before = self.merge, self.layer.origin, self.before
        values: Dict[str, Any] = dict(before or {})
        if self.layer.document is not None:
            values = {}
            for key, value in self.document.tree.items():
                self.sort(key, value)
            if self.document.remark:
                text = say(
                    "{file}: {remark}; save it as UTF-8",
                    file=self.layer.name,
                    remark=self.document.remark,
                )
                merge.tell(Problem("", origin, text, explained=True))
        elif before is None:
            self.unclear.update(dict.fromkeys(GUARDED))
        safe: List[str] = []
        for option in OPTIONS:
            path = option.path
            if path in self.written:
                breathe(0, every=1)  # a list may have taken some milliseconds
                self.take(option, self.written[path], values)
            elif path in self.unclear:
                if before is not None and path in before:
                    values[path] = before[path]
                else:
                    value = merge.values[path]
                    merge.doubt(option)
                    if merge.values[path] != value:
                        shown_value = describe_value(option, merge.values[path])
                        safe.append(say("{option}: {what}", option=path, what=shown_value))
            if path in values:
                merge.put(option, values[path], origin)
                merge.news[path] = before is None or values[path] != before.get(path)
        if safe and self.layer.document is not None:
            text = say(
                "{file}: to be safe, in force are {values}",
                file=self.layer.name,
                values=joined("; ", safe),
            )
            merge.problems.append(Problem("security", origin, text))  # however many there are
        if self.layer.document is not None or before is not None:
            merge.remembered[self.layer.name] = values

    def take(self, option: Option, raw: Any, values: Dict[str, Any]) -> None:
        path, origin = option.path, self.layer.origin
        if path == "printer_token":
            self.merge.tokens.append(raw)
        called = say("{place}: {path}", place=self.where(path), path=path)
        pieces = self.document.repeated.get(path, ())
        if pieces and option.kind is not Kind.MAP:
            raw = self.one_of(option, pieces)
        if option.kind is Kind.OWN_ACTIONS and isinstance(raw, Mapping):
            raw = self.told_once(path, raw)
        if raw is None:
            return
        known = (self.before or {}).get(path)
        try:
            reading = read(option, raw)
        except BadValue as error:
            if known is not None:
                values[path] = known
                instead: str = say("{value} stays in force", value=describe_value(option, known))
            else:
                instead = self.merge.doubt(option)
            self.merge.refused(option, called, raw, error.args[0], instead, origin)
            return
        values[path] = self.merge.taken(option, reading, called, origin, known)

    def told_once(self, path: str, raw: Mapping[str, Any]) -> Dict[str, Any]:
        """The operator's actions without those in which something stands twice: which of two bounds
        was meant nobody can tell, and the last could be the wider one.
        """
        kept = dict(raw)
        for place, pieces in self.document.repeated.items():
            name = place[len(path) + 1 :].partition(".")[0] if place.startswith(path + ".") else ""
            if kept.pop(name, None) is None:
                continue
            text = say(
                "{file}: {path} stands in lines {lines}; the action {name} is left out until that"
                " is mended",
                file=self.layer.name,
                path=place,
                lines=", ".join(str(line) for line, _ in pieces[:MAX_PROBLEMS]),
                name=name,
            )
            self.merge.tell(Problem(path, self.layer.origin, text))
        return kept

    def one_of(self, option: Option, pieces: Sequence[Tuple[int, Any]]) -> Any:
        """Which of several values counts: of a guarded option what all of them allow, or one that
        cannot be read and is thus refused; else the last.
        """
        path = option.path
        line, best = pieces[-1]
        if path in GUARDED:
            pieces = [piece for piece in pieces if piece[1] is not None] or pieces
            try:
                best = read(option, pieces[0][1]).value
                for _, raw in pieces[:MAX_LOOKED_AT]:
                    best = narrower(option, read(option, raw).value, best)
                alike = [line for line, raw in pieces if read(option, raw).value == best]
                line = alike[-1] if alike else 0
            except BadValue:
                line, best = next(piece for piece in pieces if not _readable(option, piece[1]))
        text = say(
            "{file}: {path} stands in lines {lines}; {counts}",
            file=self.layer.name,
            path=path,
            lines=", ".join(str(line) for line, _ in pieces[:MAX_PROBLEMS]),
            counts=say("line {line} counts", line=line)
            if line
            else say("what all of them allow counts"),
        )
        self.merge.tell(Problem(path, self.layer.origin, text))
        return best

    def sort(self, key: str, value: Any) -> None:
        """One key of the top level: an option, a section, a remark, or something else."""
        if _is_remark(key) or (value is None and key not in self.document.repeated):
            return
        if not key or key not in SECTIONS:
            self.leaf(key, value)
            return
        for line, piece in self.document.repeated.get(key, ((0, value),)):
            if not isinstance(piece, Mapping) and piece not in ([], None):  # PHP's empty array
                self.wrong_kind(key, line, piece)
        if isinstance(value, Mapping):
            for name, inner in value.items():
                path = f"{key}.{name}"
                if not _is_remark(name) and (inner is not None or path in self.document.repeated):
                    self.leaf(path, inner)

    def wrong_kind(self, section: str, line: int, value: Any) -> None:
        text = say(
            '{place}: "{section}" must be an object in braces, not {value}',
            place=self.at(line) if line else self.where(section),
            section=section,
            value=shown(value),
        )
        inside = [option.path for option in OPTIONS if option.path.startswith(section + ".")]
        self.unclear.update(dict.fromkeys(inside))
        if self.before is not None:
            text = say("{sentence}; what was in force stays", sentence=text)
        self.merge.tell(Problem(section, self.layer.origin, text))

    def leaf(self, path: str, value: Any) -> None:
        self.leaves += 1
        breathe(self.leaves, 200)
        merge, origin = self.merge, self.layer.origin
        option = BY_PATH.get(path)
        if option is not None and option.in_json:
            self.written[path] = value
        elif option is not None:
            text = say(
                "{place}: {path} can be set in moonraker.conf only",
                place=self.where(path),
                path=path,
            )
            merge.tell(Problem(path, origin, text))
        elif len(merge.problems) >= MAX_PROBLEMS:
            merge.untold += 1  # and not compared with every known name, which takes its time
            self.unclear.update(dict.fromkeys(GUARDED))
        else:
            breathe(len(merge.problems), 4)
            where = self.where(path)
            problem = no_longer_needed(path, Origin.JSON, where)
            if problem is None:
                inside = list(value)[:MAX_LOOKED_AT] if isinstance(value, Mapping) else []
                meant = {path for name in (path, *inside) for path in doubtful(name, Origin.JSON)}
                self.unclear.update(dict.fromkeys(meant))
                problem = unknown(path, Origin.JSON, where)
            merge.tell(problem._replace(origin=origin))

    def where(self, path: str) -> str:
        line = self.document.lines.get(path)
        return self.at(line) if line else self.layer.name

    def at(self, line: int) -> str:
        return say("{file}, line {line}", file=self.layer.name, line=line)


def _readable(option: Option, raw: Any) -> bool:
    try:
        read(option, raw)
    except BadValue:
        return False
    return True


def _is_remark(key: str) -> bool:
    return key.startswith("_")


def describe_value(option: Option, value: Any) -> str:
    """A value in force, for a sentence; of a secret, only whether there is one."""
    if option.secret:
        return say("the token as before") if value else say("no token")
    if value in ("", (), {}):
        return say("nothing")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return figure(value)
    if isinstance(value, tuple):
        return shown(", ".join(value))
    return str(value) if option.kind is Kind.CHOICE else shown(value)


def value_of(settings: Settings, path: str) -> Any:
    """The value at `path`, in the form in which the table's options hold it."""
    value: Any = settings
    for name in path.split("."):
        value = getattr(value, name, None)
    return value.value if isinstance(value, RemoteControl) else value


def _build(values: Mapping[str, Any]) -> Settings:
    settings = Settings()
    parts: Dict[str, Dict[str, Any]] = {}
    for path, value in values.items():
        section, _, name = path.rpartition(".")
        if BY_PATH[path].in_json:
            guarded = path == "security.remote_control"
            parts.setdefault(section, {})[name] = RemoteControl(value) if guarded else value
    top = parts.pop("")
    sections = {name: getattr(settings, name)._replace(**part) for name, part in parts.items()}
    return settings._replace(**top, **sections)


def missing(settings: Settings, file_name: str = CONFIG_FILE) -> str:
    """The sentence that tells what to write where, before there is a hub to talk to; else "".

    >>> missing(Settings(server_url="https://h/api.php", printer_token="T"))
    ''
    """
    address = say("the address of the hub, such as https://tmeduca.org/printerhub/api.php")
    token = say("the token of this printer at the hub")
    if not settings.server_url and not settings.printer_token:
        return say(
            "Nothing is sent to the hub yet: server_url and printer_token must be set. "
            'Write "server_url": "…", "printer_token": "…" into {file} (it applies at once), or '
            '"server_url: …" and "printer_token: …" below [tecmedhub] in moonraker.conf and '
            "restart Moonraker; server_url is {address}; printer_token is {token}.",
            file=file_name,
            address=address,
            token=token,
        )
    for name, what in (("server_url", address), ("printer_token", token)):
        if not getattr(settings, name):
            return say(
                "Nothing is sent to the hub yet: {name} must be set. "
                'Write "{name}": "…" into {file} (it applies at once), or "{name}: …" below '
                "[tecmedhub] in moonraker.conf and restart Moonraker; {name} is {what}.",
                name=name,
                file=file_name,
                what=what,
            )
    return ""
