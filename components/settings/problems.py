"""What there is to tell about what was written: one sentence each, naming option, value, remedy."""

from typing import NamedTuple, Optional, Tuple

from ..runtime.loose import printable
from ..runtime.messages import say
from .caution import GUARDED
from .model import Origin
from .options import NO_LONGER_NEEDED, OPTIONS, SECTIONS
from .values import Option, closest

MAX_PROBLEMS = 20  # sentences for one reading; a file of rubbish must not flood the log
MAX_NAME = 60  # characters of a name in a sentence


class Problem(NamedTuple):
    """`explained` ones are for the log only; all others are warnings."""

    path: str
    origin: Origin
    text: str
    explained: bool = False


def no_longer_needed(path: str, origin: Origin, place: str) -> Optional[Problem]:
    """The explanation if `path` is one that client v4 needed, or lies below one."""
    for known, why in NO_LONGER_NEEDED.items():
        name = known if origin is Origin.JSON else known.replace(".", "_")
        if path == name or path.startswith((name + ".", name + "_")):
            text = say(
                "{place}: {name} is no longer needed: {why}; it can be deleted",
                place=place,
                name=name,
                why=say(why),
            )
            return Problem(known, origin, text, explained=True)
    return None


def unknown(path: str, origin: Origin, place: str) -> Problem:
    near = nearest(path, origin) or (_section(path) if origin is Origin.JSON else "")
    hint = say("did you mean {name}?", name=near) if near else say("it is ignored")
    text = say(
        '{place}: there is no option "{name}"; {hint}',
        place=place,
        name=printable(path, MAX_NAME),
        hint=hint,
    )
    return Problem(path[:MAX_NAME], origin, text)


def doubtful(path: str, origin: Origin) -> Tuple[str, ...]:
    """The guarded options that whoever wrote the unknown `path` may have meant.

    >>> doubtful("remote_control", Origin.JSON)
    ('security.remote_control',)
    """
    section = _section(path) if origin is Origin.JSON else ""
    if section:
        return tuple(known for known in GUARDED if known.startswith(section + "."))
    near = nearest(path, Origin.JSON)
    return (near,) if near in GUARDED else ()


def _section(path: str) -> str:
    """The section that the unknown `path` most resembles, or ""."""
    return closest(path[:MAX_NAME].lower().rpartition(".")[2], [name for name in SECTIONS if name])


def nearest(path: str, origin: Origin = Origin.JSON) -> str:
    """The known option that `path` most resembles, or "".

    >>> nearest("intervals.statusupdate"), nearest("status_update"), nearest("timeout.servers")
    ('intervals.status_update', 'intervals.status_update', 'timeouts.server')
    """
    wanted = path[:MAX_NAME].lower().replace(".", "_").replace("-", "_")
    by_name = {option.name: option for option in OPTIONS}
    by_leaf = {option.path.rpartition(".")[2]: option for option in reversed(OPTIONS)}
    for table in (by_name, by_leaf):
        close = closest(wanted, table)
        if close:
            option: Option = table[close]
            return option.path if origin is Origin.JSON else option.name
    return ""
