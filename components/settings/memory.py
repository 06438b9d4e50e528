"""What the JSON files said when they were last understood, kept in the plugin's data folder.

A file that cannot be read, live or at the next start, goes on meaning that. The copy holds what the
operator wrote, the token included, and only Moonraker's user may read it.
"""

import json
from pathlib import Path
from typing import Any, Dict, Mapping, NamedTuple

from ..runtime.disk import write_whole
from .caution import GUARDED
from .model import BadValue
from .options import BY_PATH
from .values import read

FILE = "last_good_settings.json"
MAX_BYTES = 1024 * 1024


class Memory(NamedTuple):
    """Values as the table's options hold them, all by path."""

    layers: Mapping[str, Mapping[str, Any]] = {}  # by file: every value that it set
    held: Mapping[str, Any] = {}  # guarded ones that a JSON file has put in force
    conf: Mapping[str, str] = {}  # what moonraker.conf said of those


NOTHING = Memory()


def load(path: Path) -> Memory:
    """Blocking; never raises. What is not there or makes no sense is not remembered."""
    try:
        with path.open("rb") as file:
            tree = json.loads(file.read(MAX_BYTES).decode("utf-8"))
        layers = {str(name): _checked(layer) for name, layer in tree["layers"].items()}
        held = {name: value for name, value in _checked(tree["held"]).items() if name in GUARDED}
        conf = {str(name): str(value) for name, value in tree["conf"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return NOTHING
    return Memory(layers, held, conf)


def _checked(values: Mapping[str, Any]) -> Dict[str, Any]:
    taken: Dict[str, Any] = {}
    for path, value in values.items():
        option = BY_PATH.get(path)
        if option is not None and option.in_json:
            try:
                taken[path] = read(option, value).value
            except BadValue:
                pass
    return taken


def save(path: Path, memory: Memory) -> None:
    """Blocking; raises OSError. The file is replaced in one step, whatever happens meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = json.dumps(memory._asdict()).encode("utf-8")
    write_whole(path, data, durable=True, mode=0o600)
