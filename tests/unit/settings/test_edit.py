"""Options are set in a file, and nothing else of it changes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.settings.jsonc import JsoncError, parse
from components.settings.saving import Saved, edited, replace
from components.settings.template import json_template

V4 = """{
    // Nuestra impresora
    "server_url": "https://a.example/api.php", // la del aula
    "camera": {
        "enabled": true,  /* siempre */
        "urls": ["http://x/?a=1//2",],
    },
}
"""


def test_a_value_is_replaced_where_it_stands() -> None:
    after = edited(V4, {"server_url": "https://b.example/api.php", "camera.enabled": False})
    assert after == V4.replace("https://a.example", "https://b.example").replace("true", "false")


def test_what_is_not_there_comes_first_in_its_section() -> None:
    after = edited(V4, {"camera.capture_interval": 9, "security.remote_control": "print"})
    tree = parse(after).tree
    assert tree["camera"]["capture_interval"] == 9
    assert tree["security"] == {"remote_control": "print"}
    for line in V4.splitlines():
        assert line in after


def test_the_laid_down_file_is_filled_in_at_its_examples() -> None:
    before = json_template()
    after = edited(before, {"printer_token": "T ñ", "security.require_clear_bed": True})
    changed = [line for line in after.splitlines() if line not in before.splitlines()]
    assert changed == ['  "printer_token": "T ñ",', '    "require_clear_bed": true']
    assert len(after.splitlines()) == len(before.splitlines())
    json.loads(after)


def test_what_is_taken_out_becomes_an_example_again() -> None:
    once = edited(json_template(), {"security.require_clear_bed": True})
    tree = parse(edited(once, {"security.require_clear_bed": None})).tree
    assert "require_clear_bed" not in tree["security"]


@pytest.mark.parametrize("text", ["", "{}", "// nothing\n", "{\n}\n", '{"a": {}}'])
def test_empty_files(text: str) -> None:
    tree = parse(edited(text, {"server_url": "x", "camera.enabled": True})).tree
    assert (tree["server_url"], tree["camera"]["enabled"]) == ("x", True)


def test_a_name_given_twice_means_the_same_twice() -> None:
    text = '{"security": {"remote_control": "off"}, "security": {"remote_control": "full"}}'
    after = edited(text, {"security.remote_control": "monitor"})
    assert parse(after).tree["security"]["remote_control"] == "monitor"


def test_a_broken_file_is_left_alone() -> None:
    with pytest.raises(JsoncError):
        edited('{"a": ', {"server_url": "x"})


NAMES = st.sampled_from(["a", "b", "_a", 'q"uo', "ñ", "server_url"])
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8))
TREES = st.dictionaries(
    NAMES,
    st.one_of(LEAVES, st.dictionaries(NAMES, st.one_of(LEAVES, st.lists(LEAVES)))),
    max_size=5,
)


@given(
    TREES,
    st.sampled_from(["a", "b.a", "server_url", "ñ.b"]),
    LEAVES.filter(lambda v: v is not None),
)
def test_whatever_else_the_file_says_it_goes_on_saying(
    tree: dict, path: str, value: object
) -> None:
    after = parse(edited(json.dumps(tree, indent=1), {path: value})).tree
    section, _, name = path.rpartition(".")
    assert (after[section] if section else after)[name] == value
    others = {k: v for k, v in tree.items() if k not in (section or name, f"_{name}")}
    assert {k: after[k] for k in others} == others


def saved(before: str, after: str) -> Saved:
    return Saved(before, after, parse(after))


def test_a_link_stays_one_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    kept, file = tmp_path / "kept.json", tmp_path / "tecmedhub.json"
    kept.write_text("{}")
    file.symlink_to(kept)
    replace(file, saved("{}", "{ }"))
    assert file.is_symlink()
    assert kept.read_text() == "{ }"


def test_a_file_that_is_written_keeps_its_rights_where_there_are_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tecmedhub.json"
    file.write_text("{}")
    file.chmod(0o664)
    replace(file, saved("{}", "{ }"))
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("{ }", 0o664)

    def no_rights(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "fchmod", no_rights)  # as on a FAT disk
    replace(file, saved("{ }", "{  }"))
    assert file.read_text() == "{  }"
    assert list(tmp_path.iterdir()) == [file]
