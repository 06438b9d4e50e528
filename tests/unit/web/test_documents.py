"""The documents name everything there is, and the page's dictionaries say it in both languages."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.web.notifications import CHANGED, DOWNLOAD, TOPICS
from components.web.page import FOLDER, SCRIPTS, panel_address
from tests.unit.web.support import PREFIX, House

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.mark.parametrize("name", ["api.md", "es/api.md"])
def test_the_reference_names_every_endpoint_notification_and_method(
    house: House, name: str
) -> None:
    text = (DOCS / name).read_text(encoding="utf-8")
    for path, (methods, _, options) in house.server.endpoints.items():
        assert path in text
        leaf = path[len(PREFIX) :]
        names = [leaf] if len(methods) == 1 else [f"{m.lower()}_{leaf}" for m in methods]
        for rpc in names if not options.get("transports") else ():
            assert f"server.tecmedhub.{rpc}" in text, rpc
    for event in (CHANGED, DOWNLOAD):
        assert f"notify_{house.server.notifications[event]}" in text
    for remote in house.server.remote_methods:
        assert f"`{remote}`" in text


def dictionaries() -> dict[str, dict[str, str]]:
    """The keys and texts of texts.js, by language."""
    source = (FOLDER / "texts.js").read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = {}
    for language, body in re.findall(r"^  (\w\w): \{\n(.*?)\n  \},", source, re.S | re.M):
        pairs = re.findall(r'(?:"([^"]+)"|(\w+)): "((?:[^"\\]|\\.)*)"', body)
        found[language] = {quoted or bare: text for quoted, bare, text in pairs}
    return found


def test_both_languages_of_the_page_have_the_same_texts() -> None:
    texts = dictionaries()
    assert set(texts) == {"en", "es"}
    assert set(texts["en"]) == set(texts["es"])
    assert len(texts["en"]) > 150
    for key, english in texts["en"].items():
        fields = sorted(re.findall(r"\{(\w+)\}", english))
        assert sorted(re.findall(r"\{(\w+)\}", texts["es"][key])) == fields, key


def test_every_text_that_the_page_asks_for_is_there() -> None:
    texts = dictionaries()["en"]
    used = re.findall(r'data-t(?:-label)?="([^"]+)"', (FOLDER / "panel.html").read_text("utf-8"))
    for name in SCRIPTS:
        used += re.findall(r'\bt\("([^"]+)"', (FOLDER / name).read_text("utf-8"))
    assert len(used) > 60
    assert [key for key in used if key not in texts] == []


def test_data_never_becomes_markup() -> None:
    """Text nodes and attributes only: what others wrote cannot be anything else."""
    source = "".join((FOLDER / name).read_text("utf-8") for name in SCRIPTS)
    for risky in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert risky not in source, risky


def test_the_page_asks_for_lists_by_the_names_that_are_counted() -> None:
    source = (FOLDER / "panel.js").read_text("utf-8")
    wants = source[source.index("const wants = {") : source.index("for (const [topic, fetchIt]")]
    assert set(re.findall(r"^    (\w+):", wants, re.M)) <= set(TOPICS)


@pytest.mark.parametrize(("prefix", "root"), [("", ""), ("/aula3", "/aula3")])
def test_the_address_of_the_panel_is_under_moonraker_s_route_prefix(prefix: str, root: str) -> None:
    server: Any = SimpleNamespace(
        get_host_info=lambda: {"address": "192.168.1.9", "port": 7125},
        lookup_component=lambda name, default: SimpleNamespace(route_prefix=prefix),
    )
    assert panel_address(server) == f"http://192.168.1.9:7125{root}/server/tecmedhub/panel"
