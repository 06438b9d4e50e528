"""Each kind of option: what it takes, and what it refuses on both sides of its edge."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.settings import values
from components.settings.options import BY_PATH, OPTIONS
from components.settings.values import (
    LOOKED_AT,
    MAX_MAP_KEYS,
    MAX_TOLD,
    BadValue,
    Kind,
    is_secrets_template,
    read,
    shown,
)

NUMBERS = [o for o in OPTIONS if o.kind in (Kind.NUMBER, Kind.INTEGER)]


def value(path: str, raw):
    return read(BY_PATH[path], raw).value


@pytest.mark.parametrize("option", NUMBERS, ids=lambda option: option.path)
def test_numbers_are_taken_to_their_bounds_and_not_beyond(option) -> None:
    step = 1 if option.kind is Kind.INTEGER else 0.001
    for edge in (option.low, option.high):
        assert read(option, edge).value == edge
        assert read(option, str(edge)).value == edge
    for beyond in (option.low - step, option.high + step):
        with pytest.raises(BadValue):
            read(option, beyond)


@pytest.mark.parametrize(
    "raw",
    [True, False, None, [], {}, "", "five", "5s", "2,5", "1_0", "0x5", "٥", "nan", "inf"]
    + [math.nan, math.inf, -math.inf, 10**400, "1e999", "9" * 100],
)
def test_what_is_no_number_is_refused(raw) -> None:
    with pytest.raises(BadValue):
        value("intervals.status_update", raw)


def test_numbers_in_quotes_are_numbers() -> None:
    assert value("intervals.status_update", " 7.5 ") == 7.5
    assert value("retries.max_attempts", "3") == 3
    assert value("retries.max_attempts", 3.0) == 3
    with pytest.raises(BadValue):
        value("retries.max_attempts", 3.5)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(True, True), ("yes", True), ("On", True), (1, True), ("false", False), (0, False)],
)
def test_booleans_as_people_write_them(raw, expected) -> None:
    assert value("camera.enabled", raw) is expected


@pytest.mark.parametrize("raw", ["ja", 2, None, [], "", 1.5])
def test_other_words_are_no_booleans(raw) -> None:
    with pytest.raises(BadValue):
        value("camera.enabled", raw)


@pytest.mark.parametrize(
    "url",
    [
        "https://tmeduca.org/printerhub/api.php",
        "http://10.0.0.5:8080/hub/update.php?lab=2",
        "http://[::1]:7000/api.php",
        "http://hub_php/api.php",
        "https://añil.example/api.php",
        "",
    ],
)
def test_hub_addresses(url) -> None:
    assert value("server_url", url) == url


@pytest.mark.parametrize(
    "url",
    [
        "tmeduca.org/api.php",
        "ftp://tmeduca.org/api.php",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://",
        "http:///api.php",
        "https://user:pass@tmeduca.org/api.php",
        "https://user@tmeduca.org/api.php",
        "http://host:99999/api.php",
        "http://host:0/api.php",
        "http://host:x/api.php",
        "http://[::1/api.php",
        "http://ho st/api.php",
        "http://host/a b",
        "http://host/a\nb",
        "http://host\\@evil.example/",
        "http://..host/",
        "https://host/#top",
        "http://host/" + "a" * 2048,
        5,
        None,
        ["http://host/"],
    ],
)
def test_what_is_no_hub_address(url) -> None:
    with pytest.raises(BadValue):
        value("server_url", url)


def test_cameras_may_ask_for_a_password_but_need_a_whole_address() -> None:
    url = "http://me:pw@192.168.1.40/jpg"
    assert value("camera.urls", [url]) == (url,)
    with pytest.raises(BadValue):
        value("camera.urls", ["/webcam/?action=snapshot"])
    with pytest.raises(BadValue):
        value("camera.urls", "not an address")


def test_bad_items_are_left_out_by_name_and_good_ones_stay() -> None:
    reading = read(BY_PATH["camera.urls"], ["http://a/1", "/webcam", "http://a/1", "http://b/2"])
    assert reading.value == ("http://a/1", "http://b/2")
    assert len(reading.left_out) == 1
    assert "item 2" in reading.left_out[0]
    assert "http://127.0.0.1/webcam" in reading.left_out[0]


def test_lists_have_a_greatest_length() -> None:
    option = BY_PATH["printer_data.tags"]
    reading = read(option, [f"tag {n}" for n in range(option.items + 5)])
    assert len(reading.value) == option.items
    assert str(option.items) in reading.left_out[0]


@pytest.mark.parametrize(
    "raw",
    [["a b"] * 20_000 + ["M117"], ["M117"] * 20_000, "M117," * 50_000],
    ids=["wrong", "given twice", "text"],
)
def test_a_list_of_rubbish_is_looked_at_in_bounds(raw) -> None:
    option = BY_PATH["security.allowed_macros"]
    looked_at = LOOKED_AT * option.items
    if raw[0] == "a b":
        with pytest.raises(BadValue):
            read(option, raw)
        assert read(option, ["M117", *raw]).left_out[-1].startswith(f"only the first {looked_at} ")
        return
    reading = read(option, raw)
    assert reading.value == ("M117",)
    assert reading.left_out[-1] == f"only the first {looked_at} items are looked at"


def test_a_map_of_rubbish_is_looked_at_in_bounds() -> None:
    reading = read(BY_PATH["printer_data.filament"], {f"{n}": [] for n in range(9000)})
    assert reading.value == {}
    assert reading.left_out[-1] == f"only the first {LOOKED_AT * MAX_MAP_KEYS} names are looked at"


def test_only_the_items_that_are_told_of_are_compared_with_every_name(monkeypatch) -> None:
    compared: list[str] = []
    monkeypatch.setattr(values, "closest", lambda text, _names: compared.append(text) or "")
    raw = ["reboot", *(f"rebot{n}" for n in range(200))]
    assert read(BY_PATH["security.denied_actions"], raw).value == ("reboot",)
    assert len(compared) == MAX_TOLD


def test_lists_of_moonraker_conf_by_line_or_comma() -> None:
    assert value("printer_data.tags", "Prusa, PLA\n  Lab 2,,") == ("Prusa", "PLA", "Lab 2")
    assert value("camera.urls", "\nhttp://a/?x=1,2\nhttp://b/") == ("http://a/?x=1,2", "http://b/")
    assert value("security.allowed_gcode_patterns", "") == ()


def test_patterns_and_actions_are_names() -> None:
    assert value("security.allowed_gcode_patterns", ["G*", "M10?", "[MG]28"]) == (
        "G*",
        "M10?",
        "[MG]28",
    )
    assert value("security.denied_actions", "Emergency stop, set-speed") == (
        "emergency_stop",
        "set_speed",
    )
    for bad in (["G1 X5"], ["G1\nM112"], ["M117;"], [5j]):
        with pytest.raises(BadValue):
            value("security.allowed_gcode_patterns", bad)


@pytest.mark.parametrize("host", ["files.example.org", "10.0.0.5:8080", "https://cdn.example:444"])
def test_hosts(host) -> None:
    assert value("file_management.allowed_hosts", [host]) == (host,)


@pytest.mark.parametrize("host", ["user@host", "ho st", "", "host:0", "ftp://host", "a/../b c"])
def test_what_is_no_host(host) -> None:
    with pytest.raises(BadValue):
        value("file_management.allowed_hosts", [host])


@pytest.mark.parametrize(
    "name", ["../x", "/etc", "a/../b", "a//b", ".hidden", "a/.b", "a\\b", "C:", "a\x00b", "x" * 201]
)
def test_folders_stay_below_the_gcodes_folder(name) -> None:
    with pytest.raises(BadValue):
        value("file_management.folder", name)


def test_plain_folders() -> None:
    assert value("file_management.folder", "") == ""
    assert value("file_management.folder", "tecmedhub/") == "tecmedhub"
    assert value("file_management.folder", "lab 2/piezas") == "lab 2/piezas"


@pytest.mark.parametrize(
    "name", ["../tecmedhub.json", "/tmp/x.json", "moonraker.conf", "", ".json"]
)
def test_config_file_is_json_within_the_config_folder(name) -> None:
    with pytest.raises(BadValue):
        value("config_file", name)


def test_tokens_are_one_line_and_no_template() -> None:
    assert value("printer_token", " TECMED_PRINTER_001 ") == "TECMED_PRINTER_001"
    assert value("printer_token", "ab{cd}ñ") == "ab{cd}ñ"
    assert value("printer_token", "Aula 3 n.º 1") == "Aula 3 n.º 1"  # as client v4 took it
    for bad in ("", "a\tb", "a\nb", "x" * 513, "{secrets.tecmedhub.token}", None, []):
        with pytest.raises(BadValue):
            value("printer_token", bad)


def test_texts_are_one_line() -> None:
    assert value("printer_name", "🦄 Mi Impresora 3D") == "🦄 Mi Impresora 3D"
    assert value("printer_data.location", 12) == "12"
    for bad in ("a\nb", "a\x1b[31m", "half \ud83e", "x" * 201, True, None, "a\u2028b"):
        with pytest.raises(BadValue):
            value("printer_name", bad)


def test_the_filament_keeps_names_of_one_s_own() -> None:
    raw = {"material": "PLA", "remaining": 100, "brand": "X", "_note": "y", "gone": None}
    assert value("printer_data.filament", raw) == {
        "material": "PLA",
        "remaining": 100,
        "brand": "X",
    }
    assert value("printer_data.filament", []) == {}
    reading = read(BY_PATH["printer_data.filament"], {"deep": {"a": 1}, "nan": math.nan, "ok": 1})
    assert reading.value == {"ok": 1}
    assert len(reading.left_out) == 2
    many = read(BY_PATH["printer_data.filament"], {f"k{n}": n for n in range(500)})
    assert len(many.value) == 20


def test_choices_in_any_case() -> None:
    assert value("logging.level", "debug") == "DEBUG"
    assert value("protocol", 2) == "2"
    with pytest.raises(BadValue):
        value("logging.level", "LOUD")


def test_templates_are_told_from_literals_with_braces() -> None:
    assert is_secrets_template("{secrets.tecmedhub.token}")
    assert is_secrets_template("{ secrets['tecmedhub']['token'] }")
    assert not is_secrets_template("ab{cd}ef")
    assert not is_secrets_template("secrets{x}")


def test_a_value_in_a_sentence_is_short_and_shows_no_password() -> None:
    assert "pw" not in shown("http://me:pw@cam/")
    assert "abc" not in shown("http://cam/?token=abc")
    assert shown("me:pw@proxy.school:3128") == '"********@proxy.school:3128"'
    assert "p/w" not in shown("http://me:p/w@cam/")
    assert len(shown("x" * 10_000)) <= 60
    assert shown(10**500) == "a huge number"
    assert "\n" not in shown("a\nb\x00")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=10,
)


@given(st.sampled_from(OPTIONS), ANYTHING)
def test_anything_is_read_or_refused_and_what_is_read_reads_again(option, raw) -> None:
    try:
        taken = read(option, raw).value
    except BadValue as error:
        assert str(error)
        return
    if taken != "":
        assert read(option, taken).value == taken
