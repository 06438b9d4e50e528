"""The JSON file as it is laid down at the first start: every option explained, and nothing set.

All values stand in comments, so that the new file changes nothing that moonraker.conf says. It is
in two languages, since whoever opens it in Mainsail or Fluidd reads it.
"""

from __future__ import annotations

import json
from typing import Any, List

from . import spanish
from .options import OPTIONS, SECTIONS, section_of
from .values import Kind, Option, allowed

# What stands for a default that explains nothing, where the table's example is for moonraker.conf.
_EXAMPLES = {
    "printer_token": "TECMED_PRINTER_001",
    "printer_data.filament": {"material": "PLA", "color": "Negro", "remaining": 100},
}

_HEAD = """\
// TecMedHub. What is set here applies within two seconds, without a restart, and wins over
// moonraker.conf. To set an option, delete the // before its name. A comma too many does no harm.
//
// TecMedHub. Lo que se escriba aquí se aplica en dos segundos, sin reiniciar, y prevalece sobre
// moonraker.conf. Para activar una opción, borre las // delante de su nombre. Una coma de más no
// molesta.
"""


def json_template() -> str:
    """The text of a new `tecmedhub.json`."""
    lines: List[str] = [_HEAD + "{"]
    for section, headline in SECTIONS.items():
        indent = "    " if section else "  "
        lines.append(f"  // ---- {headline} · {spanish.SECTIONS[section]} ----")
        if section:
            lines.append(f'  "{section}": {{')
        inside = [o for o in OPTIONS if o.in_json and section_of(o) == section]
        for index, option in enumerate(inside):
            lines.extend([""] if index else [])
            lines.extend(f"{indent}{line}" for line in _entry(option))
        lines.append("  },\n" if section else "")
    lines.append("}")
    return "\n".join(lines) + "\n"


def _entry(option: Option) -> List[str]:
    name = option.path.rpartition(".")[2]
    value = json.dumps(json_example(option), ensure_ascii=False)
    bounds = f" ({allowed(option)})" if option.kind in _BOUNDED else ""
    return [
        f"// {option.text}{bounds}",
        f"// {spanish.OPTIONS[option.path]}",
        f'// "{name}": {value},',
    ]


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
