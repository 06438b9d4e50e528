"""Sentences keep what they were made of, and the catalogue has all of them."""

from __future__ import annotations

import copy
import gettext
import json
import string
import subprocess
import sys
from pathlib import Path

import pytest

from components.runtime import messages
from components.runtime.messages import (
    all_in_language,
    in_language,
    joined,
    parts,
    restored,
    say,
    spoken,
)
from components.web.plain import plain

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def spanish(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"{file} is gone: {why}": "{why}: {file} ya no está", "the disk is full": "disco lleno"}

    class Catalogue(gettext.NullTranslations):
        def gettext(self, message: str) -> str:
            return known.get(message, message)

    monkeypatch.setattr(messages, "_catalogue", lambda language: Catalogue().gettext)


def test_a_message_is_a_text_in_english() -> None:
    told = say("{file} is gone: {why}", file="ñ.gcode", why="no idea")
    assert told == "ñ.gcode is gone: no idea"
    assert json.loads(json.dumps({"message": told})) == {"message": "ñ.gcode is gone: no idea"}


@pytest.mark.usefixtures("spanish")
def test_whoever_reads_it_chooses_the_language() -> None:
    told = say("{file} is gone: {why}", file="a.gcode", why=say("the disk is full"))
    assert in_language(told, "es") == "disco lleno: a.gcode ya no está"
    assert in_language(told, "en") == "a.gcode is gone: the disk is full"


def test_half_a_character_leaves_in_no_sentence() -> None:
    told = plain([say("{file} is gone.", file="a\ud800.gcode"), "a\ud800"], lambda told: told)
    assert told == ["a?.gcode is gone.", "a?"]


@pytest.mark.usefixtures("spanish")
@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize(
    "text", ["plain", say("the disk is full"), say("{a}", a=say("the disk is full"))]
)
def test_what_is_told_is_a_plain_text(text: str, language: str) -> None:
    """msgspec, with which Moonraker's speed-ups encode its answers, takes no subclass."""
    assert type(in_language(text, language)) is str
    assert type(plain({"told": [text]}, lambda told: told)["told"][0]) is str


@pytest.mark.usefixtures("spanish")
def test_an_exception_gives_its_message_back() -> None:
    told = str(ValueError(say("the disk is full")))
    assert in_language(told, "es") == "disco lleno"


@pytest.mark.usefixtures("spanish")
def test_words_of_others_stay_as_they_are() -> None:
    assert in_language(say("{file} is gone: {why}", file="{x}", why="a {b}"), "es") == (
        "a {b}: {x} ya no está"
    )
    assert in_language("the disk is full", "es") == "the disk is full"  # no message of ours
    assert in_language(say("a {brace} alone"), "es") == "a {brace} alone"


@pytest.mark.parametrize(
    ("chosen", "environment", "language"),
    [
        ("es", {"LANG": "en_GB.UTF-8"}, "es"),
        ("en", {"LANG": "es_MX.UTF-8"}, "en"),
        ("auto", {"LANG": "es_MX.UTF-8"}, "es"),
        ("auto", {"LANG": "de_DE.UTF-8"}, "en"),
        ("auto", {}, "en"),
    ],
)
def test_the_language_of_the_computer(
    chosen: str, environment: dict[str, str], language: str
) -> None:
    assert spoken(chosen, environment) == language


def test_every_sentence_has_its_spanish() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "catalogue"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_copy_is_as_good() -> None:
    message = say("{file} is not there.", file="a.gcode")
    for twin in (copy.copy(message), copy.deepcopy(message)):
        assert (twin, twin.template, twin.places) == (message, message.template, message.places)


def test_nothing_said_is_nothing_in_spanish() -> None:
    assert in_language(say(""), "es") == ""  # for "", gettext gives the head of its file


@pytest.mark.parametrize("language", ["en", "es"])
def test_what_went_through_a_disk_is_as_good(language: str) -> None:
    """Real sentences: one in a place of another, a figure, somebody else's word."""
    inner = say("{name} is a number from {low:g} to {high:g}", name="speed", low=2.5, high=10)
    told = joined("; ", [say("{place}: {path}", place="a.json", path=inner), "als{o} theirs"])
    kept = json.loads(json.dumps(parts(told)))
    assert in_language(restored(str.__str__(told), kept), language) == in_language(told, language)


def test_what_the_catalogue_does_not_know_stays_as_it_was_told() -> None:
    """A wording of another version; nothing; what somebody else wrote there."""
    for kept in (
        parts(say("An older {thing} was worded otherwise.", thing="sentence")),
        parts(joined(", ", [say("An older wording")])),
        parts("no message"),
        {"say": "{0.__class__} is gone: {why}", "with": {}},
        {"say": 5},
        [],
    ):
        assert restored("como se dijo", kept) == "como se dijo"


@pytest.mark.parametrize("kept", [4, 12, 20, 30, 5_000, 60_000, 100_000])
@pytest.mark.parametrize("rest", [b"", b"\0" * 4096, b"\xff" * 4096])
def test_a_damaged_catalogue_raises_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int, rest: bytes
) -> None:
    """A power cut leaves a file short, or full of what stood on the card before."""
    file = Path("es", "LC_MESSAGES", "tecmedhub.mo")
    whole = (messages._LOCALE / file).read_bytes()
    with (messages._LOCALE / file).open("rb") as catalogue:
        templates = [t for t in gettext.GNUTranslations(catalogue)._catalog if isinstance(t, str)]  # type: ignore[attr-defined]
    told = [_filled(template) for template in templates[1::20]]
    monkeypatch.setattr(messages, "_LOCALE", tmp_path)
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_bytes(whole[:kept] + rest)
    messages._catalogue.cache_clear()
    try:
        for one in told:
            in_language(one, "es")
            restored(str.__str__(one), parts(one))
    finally:
        messages._catalogue.cache_clear()


def _filled(template: str) -> messages.Message:
    names = {name for _, name, _, _ in string.Formatter().parse(template) if name}
    return say(template, **dict.fromkeys(names, 7))


def test_texts_deep_inside_are_put_into_the_language() -> None:
    told = [{"message": say("none"), "count": 3, "of": ("x", None)}]
    assert all_in_language(told, "es") == [{"message": "ninguno", "count": 3, "of": ["x", None]}]
