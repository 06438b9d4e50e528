"""Names and addresses as a hub, or whoever took it over, may send them."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components.files.addresses import check_url, host_header, origin_of, split_target
from components.files.names import (
    MAX_NAME_BYTES,
    Refused,
    alternatives,
    plain_folder,
    plain_gcode_name,
)

HUB = "https://hub.example.org/printerhub/api.php"

HOSTILE_NAMES = [
    "",
    ".",
    "..",
    "../a.gcode",
    "../../etc/passwd",
    "..\\a.gcode",
    "a/../../b.gcode",
    "/etc/passwd.gcode",
    "/a.gcode",
    "~/a.gcode",
    "sub/a.gcode",
    "a\\b.gcode",
    "C:\\a.gcode",
    "a\0.gcode",
    "a.gcode\0.txt",
    "a\n.gcode",
    "a.gcode\nM112",
    "a\r.gcode",
    "a\tb.gcode",
    "a\x7f.gcode",
    "a\x85b.gcode",
    "a\u2028b.gcode",
    'a".gcode',
    'a" EXTRA="1.gcode',
    ".gcode",
    ".hidden.gcode",
    "...gcode",
    " .gcode",
    "  a.gcode",
    "a.gcode ",
    "a.gcode\u00a0",
    "a",
    "a.txt",
    "a.gcode.sh",
    "a.gcodee",
    "a.ufp",
    "a.php",
    "gcode",
    "x" * 300 + ".gcode",
    "é" * 100 + ".gcode",
    "🦄" * 60 + ".gcode",
    "x" * 10_000_000,
    "a\ud800.gcode",
    "\u202egpj.gcode",
    "a\u200b.gcode",
    "a\ufeff.gcode",
    "moonraker.conf",
    "a.gcode/",
]

FINE_NAMES = [
    "a.gcode",
    "Ana's cube (v2) [PLA] 0.2mm.gcode",
    "pieza #3; 50% & más*.gcode",
    "🦄 piñón ñandú.gcode",
    "👩‍🔬 taller.gcode",
    "立方体.gcode",
    "a..b...gcode",
    "-rf.gcode",
    "$(reboot).gcode",
    "%2e%2e%2fa.gcode",
    "{printer.toolhead}.gcode",
    "x" * (MAX_NAME_BYTES - 6) + ".gcode",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=lambda name: ascii(name[:30]))
def test_what_is_no_plain_name_is_refused_in_one_sentence(name: str) -> None:
    with pytest.raises(Refused) as caught:
        plain_gcode_name(name)
    sentence = str(caught.value)
    assert sentence[0].isupper() and sentence.endswith(".") and len(sentence) < 300
    assert sentence.isprintable() and ": " in sentence, "what was wrong, and what to do"


@pytest.mark.parametrize("name", FINE_NAMES)
def test_plain_names_pass_unchanged(name: str) -> None:
    assert plain_gcode_name(name) == name


@pytest.mark.parametrize("extension", [".GCODE", ".Gcode", ".gCoDe"])
def test_only_the_case_of_the_extension_is_repaired(extension: str) -> None:
    assert plain_gcode_name(f"Pieza.V2{extension}") == "Pieza.V2.gcode"


@given(st.text(max_size=120) | st.text(max_size=40).map(lambda text: text + ".gcode"))
@example("a\x1b[31m.gcode")
def test_whatever_passes_is_one_harmless_path_component(text: str) -> None:
    try:
        name = plain_gcode_name(text)
    except Refused:
        return
    assert name.endswith(".gcode") and name[:-6] == text[:-6]
    assert not set(name) & set('/\\"\0\n\r') and not name.startswith(".") and name == name.strip()
    assert len(name.encode()) <= MAX_NAME_BYTES
    assert unicodedata.normalize("NFC", name) == name
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name)


@given(st.text(max_size=120).map(lambda text: text + ".gcode"))
def test_whatever_passes_reaches_klipper_as_it_is(text: str) -> None:
    """Moonraker puts the name between double quotes and Klipper takes the line apart again."""
    import shlex

    try:
        name = plain_gcode_name(text)
    except Refused:
        return
    lexer = shlex.shlex(f'FILENAME="{name}"', posix=True)
    lexer.whitespace_split = True
    lexer.commenters = "#;"
    assert [word.split("=", 1) for word in lexer] == [["FILENAME", name]]


@given(st.text(min_size=1, max_size=100).map(lambda text: text + ".gcode"))
@example("é" * 97 + ".gcode")
def test_alternatives_are_plain_names_too(text: str) -> None:
    try:
        name = plain_gcode_name(text)
    except Refused:
        return
    names = alternatives(name)
    assert names[0] == name and len(set(names)) == len(names)
    for other in names[1:3]:
        assert re.search(r" \(\d+\)\.gcode$", other) and len(other.encode()) <= MAX_NAME_BYTES


@pytest.mark.parametrize(
    "folder", ["..", "a/../b", "a//b", ".thumbs", "a\nb", "a/./b", "\0", "a\\b", "x" * 300]
)
def test_folder_of_the_settings_stays_below_the_root(folder: str) -> None:
    with pytest.raises(Refused, match=r"file_management\.folder"):
        plain_folder(folder)


@pytest.mark.parametrize(
    "url",
    [
        "http://hub.example.org/a.gcode",
        "https://hub.example.org:8443/a",
        "https://hub.example.org.evil.net/a",
        "https://evil.net/https://hub.example.org/a",
        "https://evil.net#@hub.example.org/",
        "https://hub.example.org@evil.net/a",
        "https://user:pw@hub.example.org/a",
        "https://:@hub.example.org/a",
        "https://hub.example.org:443@evil.net/",
        "https://evil.net\\@hub.example.org/a",
        "https://hub.example.org\\.evil.net/a",
        "https://hub.example.org\t.evil.net/a",
        "https://hub.example.org/a b",
        "https://hub.example.org/a\r\nHost: evil.net",
        " https://hub.example.org/a",
        "http://127.0.0.1:7125/server/files/config/moonraker.conf",
        "http://localhost/a",
        "http://[::1]:7125/a",
        "http://2130706433:7125/a",
        "http://0x7f.1/a",
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "ftp://hub.example.org/a",
        "gopher://hub.example.org/a",
        "javascript:alert(1)",
        "data:text/plain,G28",
        "//hub.example.org/a",
        "/api_files.php?file=a",
        "hub.example.org/a",
        "https:///a",
        "https://",
        "https://hub.example.org:99999/a",
        "https://hub.example.org:x/a",
        "https://[::1/a",
        "https://hub.example.org./a",
        "https://hub.example.\u017frg/a",
        "https://\u3002/a",
        "https://hub.example.org/" + "a" * 3000,
    ],
    ids=lambda url: ascii(url[:50]),
)
def test_addresses_elsewhere_are_refused(url: str) -> None:
    with pytest.raises(Refused) as caught:
        check_url(url, HUB, ["files.example.org", "http://alt.example.org:8080"])
    sentence = str(caught.value)
    assert sentence.endswith(".") and sentence.isprintable() and "pw" not in sentence


@pytest.mark.parametrize(
    "url",
    [
        "https://hub.example.org/uploads/a%20b.gcode?x=1",
        "https://HUB.example.org:443/a",
        "https://files.example.org/a",
        "http://files.example.org/a",
        "http://alt.example.org:8080/a",
    ],
)
def test_addresses_of_the_hub_and_of_allowed_hosts_pass(url: str) -> None:
    assert check_url(url, HUB, ["files.example.org", "http://alt.example.org:8080"]) == url


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("files.example.org", "https://files.example.org:8443/a"),
        ("http://files.example.org", "https://files.example.org/a"),
        ("files.example.org:8443", "https://files.example.org/a"),
        ("*", "https://files.example.org/a"),
        ("", "https://files.example.org/a"),
        ("example.org", "https://files.example.org/a"),
        ("user@files.example.org", "https://files.example.org/a"),
        ("files.example.org/x", "https://files.example.org/a"),
        ("https://files.example.org:x", "https://files.example.org/a"),
    ],
)
def test_an_allowed_host_allows_no_more_than_it_says(entry: str, url: str) -> None:
    with pytest.raises(Refused, match="allowed_hosts"):
        check_url(url, HUB, [entry])


def test_a_hub_with_an_international_name() -> None:
    ascii_name = "piñ.example".encode("idna").decode()
    url = f"https://{ascii_name}/a"
    assert check_url(url, "https://piñ.example/api.php", []) == url
    assert origin_of("https://PIÑ.example/a")[1] == ascii_name


def test_request_target_is_plain_ascii_and_keeps_what_is_encoded() -> None:
    origin, target = split_target("http://h.example:8080/ñ/a%20b?file=x%2Fy&t=ñ#part")
    assert target == "/%C3%B1/a%20b?file=x%2Fy&t=%C3%B1"
    assert host_header(origin) == "h.example:8080"
    assert host_header(("https", "::1", 443)) == "[::1]"


@given(st.text(max_size=200).map(lambda text: f"https://{text}") | st.text(max_size=200))
def test_no_address_makes_the_check_fail_otherwise(url: str) -> None:
    try:
        checked = check_url(url, HUB, ["files.example.org"])
    except Refused:
        return
    origin, target = split_target(checked)
    assert origin[1] in ("hub.example.org", "files.example.org")
    assert target.isascii() and not set(target) & set(" \r\n\t")
