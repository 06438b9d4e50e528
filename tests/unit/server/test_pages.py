"""The page that a PHP author follows says what the tests have done."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.rig.deployed import _DATABASE, DEPLOYED, INCLUDE, INCLUDED_IN, ROOT

SERVER = ROOT / "server"
PAGES = [SERVER / "README.md", SERVER / "LEEME.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_line_and_where_it_goes(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count(INCLUDE) == 2
    for name in (*INCLUDED_IN[1], *INCLUDED_IN[2]):
        assert f"`{name}`" in text
    for source in SERVER.rglob("*.php"):
        assert source.relative_to(SERVER).as_posix() in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_table_and_constant_is_the_codes_own(page: Path) -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in SERVER.rglob("*.php"))
    text = page.read_text(encoding="utf-8")
    for name in ("LONG_POLL", "WAITERS", "REDELIVER"):
        (value,) = set(re.findall(rf"const {name} = (\d+);", code))
        assert re.search(rf"`{name}`,? ?\(?{value}\b", text), name
    tables = set(re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", code))
    assert tables == set(re.findall(r"`(tecmedhub_(?!data)\w+)`", text))


def test_both_languages_show_the_same_code() -> None:
    english, spanish = (page.read_text(encoding="utf-8") for page in PAGES)
    for text in (english, spanish):
        assert "JSON.parse(printer.tags || '[]')" in text
    assert len(re.findall(r"```", english)) == len(re.findall(r"```", spanish))


def test_the_repair_is_the_pages_own() -> None:
    page = (DEPLOYED / "two" / "index.html").read_text(encoding="utf-8")
    assert "Array.isArray(p.tags) ? p.tags : JSON.parse(p.tags ||" in page


def test_the_database_is_named_in_one_way() -> None:
    for source in (SERVER / "generation2").glob("*.php"):
        assert _DATABASE in source.read_text(encoding="utf-8")
