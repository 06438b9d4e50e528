"""One JSON file, laid over what is in force below it."""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..runtime.messages import joined, say
from ..runtime.steps import breathe
from .caution import GUARDED, narrower
from .in_force import InForce, describe_value
from .jsonc import Document
from .model import BadValue, Origin
from .options import BY_PATH, OPTIONS, SECTIONS
from .problems import MAX_PROBLEMS, Problem, doubtful, no_longer_needed, unknown
from .values import Kind, Option, read, shown

MAX_LOOKED_AT = 50  # names below one that is not known


class Layer(NamedTuple):
    """A JSON file that is there; `document` is None where it cannot be understood."""

    name: str
    document: Optional[Document]
    origin: Origin = Origin.JSON


class JsonLayer:
    def __init__(self, in_force: InForce, layer: Layer) -> None:
        self.in_force = in_force
        self.layer = layer
        self.document = layer.document or Document()
        self.before = in_force.memory.layers.get(layer.name)  # None: never understood
        self.written: Dict[str, Any] = {}
        self.unclear: Dict[str, None] = {}  # options that somebody may have meant to set
        self.leaves = 0

    def apply(self) -> None:
        in_force, origin, before = self.in_force, self.layer.origin, self.before
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
                in_force.add(Problem("", origin, text, explained=True))
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
                    value = in_force.values[path]
                    in_force.doubt(option)
                    if in_force.values[path] != value:
                        shown_value = describe_value(option, in_force.values[path])
                        safe.append(say("{option}: {what}", option=path, what=shown_value))
            if path in values:
                in_force.put(option, values[path], origin)
                in_force.news[path] = before is None or values[path] != before.get(path)
        if safe and self.layer.document is not None:
            text = say(
                "{file}: to be safe, in force are {values}",
                file=self.layer.name,
                values=joined("; ", safe),
            )
            in_force.problems.append(Problem("security", origin, text))  # however many there are
        if self.layer.document is not None or before is not None:
            in_force.remembered[self.layer.name] = values

    def take(self, option: Option, raw: Any, values: Dict[str, Any]) -> None:
        path, origin = option.path, self.layer.origin
        if path == "printer_token":
            self.in_force.tokens.append(raw)
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
                instead = self.in_force.doubt(option)
            self.in_force.refused(option, called, raw, error.args[0], instead, origin)
            return
        values[path] = self.in_force.taken(option, reading, called, origin, known)

    def told_once(self, path: str, raw: Mapping[str, Any]) -> Dict[str, Any]:
        """The operator's actions without those in which something stands twice: which of two bounds
        was meant nobody can tell, and the last could be the wider one.
        """
        kept = dict(raw)
        for place, pieces in self.document.repeated.items():
            name = place[len(path) + 1 :].partition(".")[0] if place.startswith(path + ".") else ""
            if kept.pop(name, None) is None:
                continue
            self.tell(
                path,
                "{file}: {path} stands in lines {lines}; the action {name} is left out until that"
                " is mended",
                file=self.layer.name,
                path=place,
                lines=", ".join(str(line) for line, _ in pieces[:MAX_PROBLEMS]),
                name=name,
            )
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
                    best = narrower(path, read(option, raw).value, best)
                alike = [line for line, raw in pieces if read(option, raw).value == best]
                line = alike[-1] if alike else 0
            except BadValue:
                line, best = next(piece for piece in pieces if not _readable(option, piece[1]))
        self.tell(
            path,
            "{file}: {path} stands in lines {lines}; {counts}",
            file=self.layer.name,
            path=path,
            lines=", ".join(str(line) for line, _ in pieces[:MAX_PROBLEMS]),
            counts=say("line {line} counts", line=line)
            if line
            else say("what all of them allow counts"),
        )
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
        self.tell(section, text)

    def leaf(self, path: str, value: Any) -> None:
        self.leaves += 1
        breathe(self.leaves, 200)
        in_force, origin = self.in_force, self.layer.origin
        option = BY_PATH.get(path)
        if option is not None and option.in_json:
            self.written[path] = value
        elif option is not None:
            self.tell(
                path,
                "{place}: {path} can be set in moonraker.conf only",
                place=self.where(path),
                path=path,
            )
        elif len(in_force.problems) >= MAX_PROBLEMS:
            in_force.untold += 1  # and not compared with every known name, which takes its time
            self.unclear.update(dict.fromkeys(GUARDED))
        else:
            breathe(len(in_force.problems), 4)
            where = self.where(path)
            problem = no_longer_needed(path, Origin.JSON, where)
            if problem is None:
                inside = list(value)[:MAX_LOOKED_AT] if isinstance(value, Mapping) else []
                meant = {path for name in (path, *inside) for path in doubtful(name, Origin.JSON)}
                self.unclear.update(dict.fromkeys(meant))
                problem = unknown(path, Origin.JSON, where)
            in_force.add(problem._replace(origin=origin))

    def tell(self, about: str, template: str, **places: Any) -> None:
        self.in_force.tell(about, self.layer.origin, template, **places)

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
