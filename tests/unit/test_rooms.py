"""The rooms of components/: imports run one way, and nothing comes in that Moonraker has not."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "components"

# From the ground up; a room may import those of the lines before its own.
FLOORS = (
    {"runtime"},
    {"settings", "net"},
    {"store", "hub", "printer"},
    {"status", "commands", "files", "cameras"},
    {"films"},
    {"web"},
    {"building"},
    {"tecmedhub"},
    {"__init__"},
)
# What every Moonraker since 0.9.3 brings along.
BROUGHT = {"tornado", "PIL", "jinja2"}

FILES = sorted(ROOT.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def floor_of(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def at_run_time(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports of a module that are not there for the type checker alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for other in node.orelse:
                yield from at_run_time(other)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        else:
            yield from at_run_time(node)


def imports(path: Path) -> Iterator[ast.Import | ast.ImportFrom]:
    return at_run_time(ast.parse(path.read_text(encoding="utf-8")))


def test_every_room_has_its_place() -> None:
    assert {room_of(path) for path in FILES} == set().union(*FLOORS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    room, here = room_of(path), path.relative_to(ROOT).parts[:-1]
    for node in imports(path):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        target = [*here[: len(here) - node.level + 1], *(node.module or "").split(".")]
        other = next((part for part in target if part), "")
        if other and other != room:
            assert floor_of(other) < floor_of(room), f"line {node.lineno}: {room} → {other}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_imported_that_moonraker_does_not_ship(path: Path) -> None:
    for node in imports(path):
        if isinstance(node, ast.ImportFrom):
            names = [] if node.level else [node.module or ""]
        else:
            names = [alias.name for alias in node.names]
        for name in names:
            top = name.split(".")[0]
            assert top in sys.stdlib_module_names | BROUGHT, f"line {node.lineno}: {name}"
