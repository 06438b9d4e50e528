"""The JSON file as it is laid down at the first start: every option explained, and nothing set.

It is valid JSON, so that no editor marks anything in it. Names that begin with `_` are remarks:
each option stands there as an example, to be set by deleting that sign, below what is to be said
about it in two languages, since whoever opens it in Mainsail or Fluidd reads it.
"""

from __future__ import annotations

import json
from typing import Any, List

from ..runtime.messages import in_language, say
from .options import OPTIONS, SECTIONS, section_of
from .values import Kind, Option, allowed

# What stands for a default that explains nothing, where the table's example is for moonraker.conf.
_EXAMPLES = {
    "printer_token": "TECMED_PRINTER_001",
    "printer_data.filament": {"material": "PLA", "color": "Negro", "remaining": 100},
}

_HEAD = {
    "__en": "TecMedHub. To set an option, delete the _ before its name and write the value. It "
    "applies within two seconds, without a restart, and wins over moonraker.conf.",
    "__es": "TecMedHub. Para activar una opción, borra el _ delante de su nombre y escribe el "
    "valor. Se aplica en dos segundos, sin reiniciar, y prevalece sobre moonraker.conf.",
}


def json_template() -> str:
    """The text of a new `tecmedhub.json`."""
    top: List[str] = [_entry(name, text) for name, text in _HEAD.items()]
    parts: List[str] = []
    for section, headline in SECTIONS.items():
        inside = [o for o in OPTIONS if o.in_json and section_of(o) == section]
        blocks = [_block(option) for option in inside]
        if not section:
            parts.extend(",\n".join(f"  {entry}" for entry in block) for block in (top, *blocks))
            continue
        title = [_entry("__", f"{headline} · {_spanish(headline)}")]
        entries = ",\n\n".join(
            ",\n".join(f"    {entry}" for entry in block) for block in (title, *blocks)
        )
        parts.append(f'  "{section}": {{\n{entries}\n  }}')
    return "{\n" + ",\n\n".join(parts) + "\n}\n"


def _block(option: Option) -> List[str]:
    name = option.path.rpartition(".")[2]
    bounds = f" ({allowed(option)})" if option.kind in _BOUNDED else ""
    return [
        _entry(f"__en {name}", option.text + bounds),
        _entry(f"__es {name}", _spanish(option.text)),
        _entry(f"_{name}", json_example(option)),
    ]


def _spanish(text: str) -> str:
    return in_language(say(text), "es")


def _entry(name: str, value: Any) -> str:
    return f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}"


_BOUNDED = (Kind.NUMBER, Kind.INTEGER, Kind.CHOICE, Kind.BOOLEAN)


def json_example(option: Option) -> Any:
    """The default, or where that is empty an example, as it would stand in JSON."""
    if option.path in _EXAMPLES:
        return _EXAMPLES[option.path]
    default = option.default
    if default in ("", ()):
        example = option.example
        if isinstance(default, tuple):
            return [item.strip() for item in example.split(",") if item.strip()]
        return example
    if isinstance(default, tuple):
        return list(default)
    if isinstance(default, float) and default.is_integer():
        return int(default)
    return default
