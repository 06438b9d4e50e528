"""Reads `[tecmedhub]` of moonraker.conf through Moonraker's `ConfigHelper`, and never fails."""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ..runtime.loose import as_float
from ..runtime.messages import say, sentence
from .caution import GUARDED
from .model import BadValue, Origin
from .options import BY_PATH, CONFIG_FILE, OPTIONS, SECTION
from .problems import MAX_PROBLEMS, Problem, doubtful, no_longer_needed, unknown
from .values import Kind, Option, is_secrets_template, read

FILAMENT = BY_PATH["printer_data.filament"]
_SECRET = '{"%s": {"token": "…"}}' % SECTION
_REFERENCE = "{secrets.%s.token}" % SECTION
_IN_CLEAR = sentence(
    "{name} stands in clear in moonraker.conf, which Moonraker copies into its log. Better: write "
    "{example} into the file moonraker.secrets, and here {name}: {secret}"
)
_NO_SECRET = sentence(
    "moonraker.conf [{section}]: {name} refers to a secret that is not there; write it into the "
    "file moonraker.secrets in Moonraker's data folder, for example {example}, and restart "
    "Moonraker"
)


class ConfValues(NamedTuple):
    """What the section says, unchecked: strings by JSON path (the filament: a dict)."""

    values: Mapping[str, Any]
    problems: Tuple[Problem, ...] = ()
    doubtful: Tuple[str, ...] = ()  # guarded options that somebody tried to set

    @property
    def config_file(self) -> str:
        """The JSON file, relative to the config root; the default if no plain name is written."""
        option = BY_PATH["config_file"]
        try:
            return str(read(option, self.values.get(option.path, option.default)).value)
        except BadValue:
            return CONFIG_FILE


def read_conf(config: Any) -> ConfValues:
    """Every option of the section, unknown ones too: never raises.

    What is left unread Moonraker reports together with its value: a token under a misspelt name
    would stand in the log and on the screen.
    """
    values: Dict[str, Any] = {}
    filament: Dict[str, Any] = {}
    problems: List[Problem] = []
    unclear: Dict[str, None] = {}
    names = {option.name: option for option in OPTIONS if option.kind is not Kind.MAP}
    prefix = FILAMENT.name + "_"
    place = f"moonraker.conf [{SECTION}]"
    written = _written(config)
    if written is None:
        unclear.update(dict.fromkeys(GUARDED))
        unread = say("{place} cannot be read", place=place)
        problems.append(Problem("", Origin.MOONRAKER_CONF, unread))
    for name in written or ():
        raw = _get(config, name)
        option = names.get(name)
        if raw is None:
            unclear.update(dict.fromkeys([option.path] if option is not None else []))
            continue
        if option is not None:
            text = _rendered(config, option, raw, problems)
            if text is not None:
                values[option.path] = text
        elif name.startswith(prefix):
            filament[name[len(prefix) :]] = _figure_or_text(raw)
        else:
            problem = no_longer_needed(name, Origin.MOONRAKER_CONF, place)
            problems.append(problem or unknown(name, Origin.MOONRAKER_CONF, place))
            if problem is None:
                unclear.update(dict.fromkeys(doubtful(name, Origin.MOONRAKER_CONF)))
    if filament:
        values[FILAMENT.path] = filament
    return ConfValues(values, tuple(problems[:MAX_PROBLEMS]), tuple(unclear))


def _written(config: Any) -> Optional[List[str]]:
    try:
        return [str(name) for name in config.get_options()]
    except Exception:
        return None


def _get(config: Any, name: str) -> Optional[str]:
    try:
        raw = config.get(name, None)
    except Exception:
        return None
    return raw if isinstance(raw, str) else None


def _rendered(config: Any, option: Option, raw: str, problems: List[Problem]) -> Optional[str]:
    """`raw`, or what Moonraker's template engine makes of it; None if that fails.

    Only references to secrets go there: a literal value may hold braces of its own, and Moonraker
    logs the source of a template that it cannot parse.
    """
    if not is_secrets_template(raw):
        password = option.kind is Kind.PROXY and "@" in raw
        if password or (option.kind is Kind.TOKEN and raw.strip()):
            advice = say(_IN_CLEAR, name=option.name, example=_SECRET, secret=_REFERENCE)
            problems.append(Problem(option.path, Origin.MOONRAKER_CONF, advice, explained=True))
        return raw
    if option.kind not in (Kind.TOKEN, Kind.URL, Kind.URLS, Kind.PROXY):
        return raw
    try:
        text = str(config.gettemplate(option.name).render()).strip()
    except Exception:
        text = ""  # not quoted: it could show the secrets file
    if text and text != "None":
        return text
    missing = say(_NO_SECRET, section=SECTION, name=option.name, example=_SECRET)
    problems.append(Problem(option.path, Origin.MOONRAKER_CONF, missing))
    return None


def _figure_or_text(text: str) -> Any:
    number = as_float(text)
    if number is None or abs(number) > 1e9:
        return text
    return int(number) if number.is_integer() else number
