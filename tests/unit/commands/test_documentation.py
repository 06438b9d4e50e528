"""The documents name every action, with the bounds that are in force."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.commands.actions import ACTIONS
from components.store.ledger import FINAL

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.mark.parametrize(
    ("name", "to"), [("commands.md", "{:g} to {:g}"), ("es/comandos.md", "de {:g} a {:g}")]
)
def test_every_action_and_bound_is_documented(name: str, to: str) -> None:
    text = (DOCS / name).read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    for action in ACTIONS.values():
        (row,) = [r for r in rows if f"`{action.name}`" in r.split("|")[1]]
        for number in action.numbers:
            assert f"`{number.name}`: {to.format(number.low, number.high)}" in row
    for state in FINAL:
        assert [r for r in rows if r.startswith(f"| `{state.value}` |")]
