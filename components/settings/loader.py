"""From what is written to what is in force: pure, and for any input at all, never an exception.

Layers, lowest first: the strings of `[tecmedhub]` in moonraker.conf, client v4's JSON file, ours.
Each value is checked alone. A wrong one yields a `Problem` and leaves the last good value of its
file, else what the layer below says, but no more than the table's cautious value allows.

No accident widens: a guarded option (`caution`) that a JSON file has narrowed stays so until a file
says something else about it, in so many words.
"""

from typing import Any, Dict, Mapping, NamedTuple, Sequence, Tuple

from ..runtime.messages import say
from ..runtime.redaction import Redactor
from .caution import GUARDED, narrower, wider
from .conf import ConfValues
from .in_force import InForce, describe_value
from .json_layer import JsonLayer, Layer
from .memory import NOTHING, Memory
from .model import BadValue, Origin, Origins, RemoteControl, Settings
from .options import BY_PATH, CONFIG_FILE, OPTIONS, SECTION
from .problems import Problem
from .values import Kind, Option, read


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


class _Merge(InForce):
    def __init__(self, conf: ConfValues, memory: Memory) -> None:
        super().__init__(memory)
        self.conf = conf
        self.problems.extend(conf.problems)
        self.tokens.append(conf.values.get("printer_token"))

    def run(self, layers: Sequence[Layer]) -> Loaded:
        for option in OPTIONS:
            if option.path in self.conf.values:
                self.take_conf(option, self.conf.values[option.path])
        for path in self.conf.doubtful:
            if path not in self.conf.values:
                self.doubt(BY_PATH[path])
        for layer in layers:
            JsonLayer(self, layer).apply()
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

    def guard(self, file_name: str) -> None:
        """What a JSON file has narrowed stays so, unless what is wider now was written since."""
        for path, old in self.memory.held.items():
            option, value = BY_PATH[path], self.values[path]
            if self.news.get(path) or not wider(path, value, old):
                continue
            held = narrower(path, value, old)
            self.put(option, held, Origin.KEPT)
            self.tell(
                path,
                Origin.KEPT,
                "{path} is no longer written in {file}; {value} stays in force, since this may not "
                "be loosened by accident. If it is meant, write the value that shall count there "
                "(the default is {default})",
                path=path,
                file=file_name,
                value=describe_value(option, held),
                default=describe_value(option, option.default),
            )

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
