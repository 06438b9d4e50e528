"""From what is written to what is in force: pure, and for any input at all, never an exception.

Two layers: the strings of `[tecmedhub]` in moonraker.conf, and above them the JSON file. Each value
is checked alone. A wrong one yields a `Problem` and leaves what was in force before it: the last
good value of the JSON file, else what moonraker.conf says, else the default. Where that default
would let the hub do more than the operator may have meant, the table's cautious value is taken.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Tuple

from ..runtime.records import NamedTuple
from ..runtime.redaction import Redactor
from ..runtime.steps import breathe
from . import model
from .conf import ConfValues, read_conf
from .model import Origin, Origins, RemoteControl, Settings
from .options import BY_PATH, CONFIG_FILE, OPTIONS, SECTION, SECTIONS
from .problems import MAX_PROBLEMS, Problem, no_longer_needed, unknown
from .values import BadValue, Kind, Option, figure, read, shown

__all__ = [
    "ConfValues",
    "Loaded",
    "Problem",
    "describe_value",
    "merge",
    "missing",
    "read_conf",
    "value_of",
]


class Loaded(NamedTuple):
    settings: Settings
    origins: Origins  # by path, for every option
    problems: Tuple[Problem, ...]


def merge(
    conf: ConfValues,
    tree: Optional[Mapping[str, Any]] = None,
    *,
    file_name: str = CONFIG_FILE,
    lines: Optional[Mapping[str, int]] = None,
    last: Optional[Loaded] = None,
) -> Loaded:
    """What is in force, given moonraker.conf and the JSON file's `tree`.

    `lines` gives the line of each path in the file. With `last`, a wrong value in the file leaves
    what `last` had from it. With a `tree`, for a thread: thousands of unknown names take long.
    """
    return _Merge(conf, tree or {}, file_name, lines or {}, last).run()


class _Merge:
    def __init__(
        self,
        conf: ConfValues,
        tree: Mapping[str, Any],
        file_name: str,
        lines: Mapping[str, int],
        last: Optional[Loaded],
    ) -> None:
        self.conf = conf
        self.file_name = file_name
        self.lines = lines
        self.last = last
        self.values: Dict[str, Any] = {option.path: option.default for option in OPTIONS}
        self.origins: Origins = {option.path: Origin.DEFAULT for option in OPTIONS}
        self.problems: List[Problem] = list(conf.problems)
        self.untold = 0
        self.leaves = 0
        self.json: Dict[str, Any] = {}
        for key, value in tree.items():
            self._sort(key, value)

    def run(self) -> Loaded:
        for origin, written in (
            (Origin.MOONRAKER_CONF, self.conf.values),
            (Origin.JSON, self.json),
        ):
            for option in OPTIONS:
                if option.path in written:
                    if origin is Origin.JSON:
                        breathe(0, every=1)  # a list may have taken some milliseconds
                    self._take(option, written[option.path], origin)
        if self.origins["intervals.status_idle"] is Origin.DEFAULT:
            self.values["intervals.status_idle"] = self.values["intervals.status_update"]
        if self.untold:
            text = f"{self.file_name}: and {self.untold} more problems like these"
            self.problems.append(Problem("", Origin.JSON, text))
        return Loaded(_build(self.values), self.origins, self._without_secrets())

    def _sort(self, key: str, value: Any) -> None:
        """One key of the top level: an option, a section, a remark, or something else."""
        if _is_remark(key) or value is None:
            return
        if not key or key not in SECTIONS:
            self._leaf(key, value)
        elif isinstance(value, Mapping):
            for name, inner in value.items():
                if not _is_remark(name) and inner is not None:
                    self._leaf(f"{key}.{name}", inner)
        elif value != []:  # PHP's empty array
            text = f'{self._where(key)}: "{key}" must be an object {{…}}, not {shown(value)}'
            self._tell(Problem(key, Origin.JSON, f"{text}; what was in force stays"))
            self._keep_last(key)

    def _keep_last(self, section: str) -> None:
        for option in OPTIONS:
            if option.path.startswith(section + ".") and self._was_json(option.path):
                assert self.last is not None
                self.json[option.path] = value_of(self.last.settings, option.path)

    def _was_json(self, path: str) -> bool:
        return self.last is not None and self.last.origins.get(path) is Origin.JSON

    def _leaf(self, path: str, value: Any) -> None:
        self.leaves += 1
        breathe(self.leaves, 200)
        option = BY_PATH.get(path)
        if option is not None and option.in_json:
            self.json[path] = value
        elif option is not None:
            text = f"{self._where(path)}: {path} can be set in moonraker.conf only"
            self._tell(Problem(path, Origin.JSON, text))
        elif len(self.problems) >= MAX_PROBLEMS:
            self.untold += 1  # and not compared with every known name, which takes its time
        else:
            breathe(len(self.problems), 4)
            where = self._where(path)
            problem = no_longer_needed(path, Origin.JSON, where)
            self._tell(problem or unknown(path, Origin.JSON, where))

    def _take(self, option: Option, raw: Any, origin: Origin) -> None:
        path = option.path
        if origin is Origin.MOONRAKER_CONF and option.kind is Kind.TOKEN and not raw.strip():
            return  # left empty: not given
        try:
            reading = read(option, raw)
        except BadValue as error:
            self._refuse(option, raw, origin, error)
            return
        value = reading.value
        if option.kind is Kind.MAP:
            value = {**self.values[path], **value}
        self.values[path] = value
        self.origins[path] = origin
        for sentence in reading.left_out:
            self._tell(Problem(path, origin, f"{self._called(option, origin)}: {sentence}"))

    def _refuse(self, option: Option, raw: Any, origin: Origin, error: BadValue) -> None:
        path = option.path
        if origin is Origin.JSON and self.last is not None and self._was_json(path):
            self.values[path] = value_of(self.last.settings, path)
            self.origins[path] = Origin.JSON
            instead = f"{describe_value(option, self.values[path])} stays in force"
        elif self.origins[path] is Origin.DEFAULT and option.cautious is not None:
            self.values[path] = option.cautious
            instead = f"to be safe, {describe_value(option, option.cautious)} is in force"
        else:
            default = " (the default)" if self.origins[path] is Origin.DEFAULT else ""
            instead = f"{describe_value(option, self.values[path])}{default} is in force"
        value = "" if option.secret else f" {shown(raw)} is not valid, it"
        text = f"{self._called(option, origin)}:{value} must be {error}; {instead}"
        self._tell(Problem(path, origin, text))

    def _tell(self, problem: Problem) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            if problem not in self.problems:
                self.problems.append(problem)
        else:
            self.untold += 1

    def _called(self, option: Option, origin: Origin) -> str:
        if origin is Origin.JSON:
            return f"{self._where(option.path)}: {option.path}"
        return f"moonraker.conf [{SECTION}]: {option.name}"

    def _where(self, path: str) -> str:
        line = self.lines.get(path)
        return f"{self.file_name}, line {line}" if line else self.file_name

    def _without_secrets(self) -> Tuple[Problem, ...]:
        """The token may stand in the wrong place, too."""
        redactor = Redactor()
        path = "printer_token"
        longest = 4 * BY_PATH[path].limit  # no sentence holds a longer one whole
        for raw in (self.conf.values.get(path), self.json.get(path), self.values[path]):
            if isinstance(raw, str) and len(raw) <= longest:
                redactor.add(raw.strip())
        return tuple(p._replace(text=redactor.known(p.text)) for p in self.problems)


def _is_remark(key: str) -> bool:
    return key.startswith("_")


def describe_value(option: Option, value: Any) -> str:
    """A value in force, for a sentence; of a secret, only whether there is one."""
    if option.secret:
        return "the token as before" if value else "no token"
    if value in ("", (), {}):
        return "nothing"
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
    parts: Dict[str, Dict[str, Any]] = {}
    top: Dict[str, Any] = {}
    for path, value in values.items():
        section, _, name = path.rpartition(".")
        if section:
            parts.setdefault(section, {})[name] = value
        elif BY_PATH[path].in_json:
            top[path] = value
    security = parts["security"]
    security["remote_control"] = RemoteControl(security["remote_control"])
    return Settings(
        camera=model.Camera(**parts["camera"]),
        intervals=model.Intervals(**parts["intervals"]),
        timeouts=model.Timeouts(**parts["timeouts"]),
        retries=model.Retries(**parts["retries"]),
        file_management=model.FileManagement(**parts["file_management"]),
        logging=model.Logging(**parts["logging"]),
        security=model.Security(**security),
        expiry=model.Expiry(**parts["expiry"]),
        printer=model.PrinterParts(**parts["printer"]),
        printer_data=model.PrinterData(**parts["printer_data"]),
        **top,
    )


def missing(settings: Settings, file_name: str = CONFIG_FILE) -> str:
    """The sentence that tells what to write where, before there is a hub to talk to; else "".

    >>> missing(Settings(server_url="https://h/api.php", printer_token="T"))
    ''
    """
    what = {
        "server_url": "the address of the hub, such as https://tmeduca.org/printerhub/api.php",
        "printer_token": "the token of this printer at the hub",
    }
    names = [name for name in what if not getattr(settings, name)]
    if not names:
        return ""
    conf = " and ".join(f'"{name}: …"' for name in names)
    json = ", ".join(f'"{name}": "…"' for name in names)
    return (
        f"Nothing is sent to the hub yet: {' and '.join(names)} must be set. "
        f"Write {json} into {file_name} (it applies at once), or {conf} below [{SECTION}] in "
        f"moonraker.conf and restart Moonraker; "
        + "; ".join(f"{name} is {what[name]}" for name in names)
        + "."
    )
