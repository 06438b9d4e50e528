"""Settings files as people have them, and what happens to such a file by accident: up to five of
its pieces deleted, doubled, saved in another encoding, others inserted.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from components.settings.caution import GUARDED
from components.settings.options import BY_PATH
from components.settings.template import json_template

V4 = (Path(__file__).parent / "printer_config_v4.json").read_text(encoding="utf-8")
VALUES: dict[str, list[Any]] = {
    "security.remote_control": ["off", "monitor", "print", "full"],
    "security.validate_dangerous_commands": [True, False],
    "security.rate_limit_seconds": [0, 0.5, 3, 30],
    "security.allowed_gcode_patterns": [[], ["G28"], ["G*", "M117"], ["*"]],
    "security.allowed_macros": [[], ["LOAD_*"], ["PARK", "LOAD_PLA"], ["*"]],
    "security.allowed_pins": [[], ["light"], ["*"]],
    "security.allowed_power_devices": [[], ["lamp"], ["lamp", "fume*"]],
    "security.denied_actions": [["reboot", "shutdown"], ["print"], []],
    "security.require_clear_bed": [True, False],
    "file_management.auto_cleanup": [True, False],
    "file_management.max_age_days": [0.5, 30, 365],
    "file_management.cleanup_scope": ["downloaded", "all"],
    "file_management.verify_checksums": [True, False],
}
assert set(VALUES) == set(GUARDED)
JUNK = (
    *("{", "}", "[", "]", ",", ":", '"', "//", "/*", "*/", "#", "_", "null", "\\", "\n", "\0"),
    *('"security": "monitor",', '"security": [],', '"security": {', '"x": {', '"note": 5,', "Ñ"),
    *('"_": 1,', "},", '"remote_control": null,', '"remote_control": "moniter",', "\ufeff", "true"),
)
ENCODINGS = (
    "latin-1",
    "cp1252",
    "cp850",
    "utf-8-sig",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "utf-32",
)
TOKENS = re.compile(r'"(?:[^"\\\n]|\\.)*"|[{}\[\]:,]|[^\s"{}\[\]:,]+|\s+')


@st.composite
def good_files(draw: st.DrawFn) -> str:
    """A file without a fault, in one of the forms that are about."""
    chosen = draw(
        st.fixed_dictionaries({}, optional={path: st.sampled_from(v) for path, v in VALUES.items()})
    )
    form = draw(st.sampled_from(["lines", "lines", "lines", "one line", "v4", "template"]))
    if form == "template":
        text = json_template()
        for path, value in chosen.items():
            name = path.partition(".")[2]
            text = re.sub(rf'"_{name}": .*?(,?)\n', rf'"{name}": {json.dumps(value)}\1\n', text)
        return text
    tree: dict[str, Any] = {"printer_name": "Ñandú", "intervals": {"status_update": 7}}
    for path, value in chosen.items():
        section, _, name = path.partition(".")
        tree.setdefault(section, {})[name] = value
    tree["printer_data"] = {"location": "Aula 3", "tags": ["PLA", "Ñ"]}
    if form == "one line":
        return json.dumps(tree, ensure_ascii=False)
    if form == "v4":
        security = _lines(tree.get("security", {"rate_limit_seconds": 1}), 2)
        return re.sub(r'("security": )\{[^}]*\}', lambda found: found[1] + security, V4)
    return _lines(tree, 1)


def _lines(tree: dict[str, Any], depth: int) -> str:
    """One entry a line, lists too."""
    entries = [
        f"{json.dumps(name)}: "
        + (_lines(v, depth + 1) if isinstance(v, dict) else json.dumps(v, ensure_ascii=False))
        for name, v in tree.items()
    ]
    indent = "  " * depth
    return "{\n" + ",\n".join(indent + entry for entry in entries) + "\n" + indent[2:] + "}"


@st.composite
def accidents(draw: st.DrawFn, text: str) -> bytes:
    """`text` after one to five of them."""
    data: bytes | None = None
    for _ in range(draw(st.integers(1, 5))):
        what = draw(st.sampled_from(["delete", "delete", "insert", "double", "encode"]))
        if what == "encode":
            encoding = draw(st.sampled_from(ENCODINGS))
            data = text.encode(encoding, "replace")
            break
        lines = draw(st.booleans())
        pieces = text.splitlines(keepends=True) if lines else TOKENS.findall(text)
        if not pieces:
            break
        first = draw(st.integers(0, len(pieces) - 1))
        size = draw(st.integers(1, 4))
        if what == "delete":
            del pieces[first : first + size]
        elif what == "double":
            pieces[first:first] = pieces[first : first + size]
        else:
            pieces.insert(first, draw(st.sampled_from(JUNK)))
        text = "".join(pieces)
    if data is None:
        data = text.encode("utf-8")
    cut = draw(st.sampled_from([0, 0, 0, 1, 2, 7, 60]))
    return data[: len(data) - cut] if cut else data


def written_anew(path: str, before: str, after: str) -> bool:
    """Whether the one value of `path` in the text `after` is another one than in `before`: a piece
    of a value is gone, and what is left says something else in so many words.
    """
    name = path.partition(".")[2]
    entry = re.compile(rf'"{name}"\s*:\s*(\[[^\]]*\]|"[^"\n]*"|[\w.]+)')
    values = [found[1] for found in entry.finditer(after)]
    return len(values) == 1 and values != [found[1] for found in entry.finditer(before)]


DEFAULTS = {path: BY_PATH[path].default for path in GUARDED}
