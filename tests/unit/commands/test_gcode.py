"""What passes the filter is what Klipper runs, and nothing else."""

from __future__ import annotations

import fnmatch
import re
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.commands.gcode import (
    Refused,
    Script,
    build_macro_call,
    check_script,
    read_line,
    read_macro_call,
)

DEFAULT = ("G*", "M*", "T*")


def klipper_word(line: str) -> str:
    """The handler that Klipper would look up (klippy/gcode.py, `_process_commands`)."""
    line = line.strip()
    cpos = line.find(";")
    if cpos >= 0:
        line = line[:cpos]
    parts = re.compile("([A-Z_]+|[A-Z*])").split(line.upper())
    numbered = "".join(parts[:2]) == "N"
    cmd = "".join(parts[3:5] if numbered else parts[:3]).strip()
    if " " in cmd and cmd.split()[0] in ["M117", "M118", "M23"]:
        return cmd.split()[0]
    return cmd


def klipper_runs(script: str) -> list[str]:
    return [word for word in map(klipper_word, script.split("\n")) if word]


def klipper_parameters(line: str) -> dict[str, str]:
    """klippy/gcode.py, `_get_extended_params`."""
    word = klipper_word(line)
    rest = line[len(word) :]
    reader = shlex.shlex(rest[1:] if rest[:1].isspace() else rest, posix=True)
    reader.whitespace_split = True
    reader.commenters = "#;"
    return {k.upper(): v for k, v in (piece.split("=", 1) for piece in reader)}


def refusal(script: str, patterns: tuple[str, ...] = DEFAULT) -> str:
    with pytest.raises(Refused) as caught:
        check_script(script, patterns)
    return str(caught.value)


def words_of(script: Script) -> list[str]:
    return [line.word for line in script.lines]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("G28", ["G28"]),
        ("g28 x y ; home", ["G28"]),
        ("M104 S210\nM140 S60", ["M104", "M140"]),
        ("M104 S210\r\nM140 S60\r\n", ["M104", "M140"]),
        ("N10 G1X5Y5*33", ["G1"]),
        ("n10g1x5", ["G1"]),
        ("; only a comment\n\nG1 X5", ["G1"]),
        ("M117 42", ["M117"]),
        ("M117 ¡Hola! 🦄", ["M117"]),
        ("T0", ["T0"]),
        ("G29.1", ["G29.1"]),
        ("N7\nG28", ["G28"]),
    ],
)
def test_plain_gcode_passes(script: str, words: list[str]) -> None:
    passed = check_script(script, DEFAULT)
    assert words_of(passed) == words == klipper_runs(passed.text)


@pytest.mark.parametrize(
    "script",
    [
        "MY_MACRO",  # M* is a letter and a number
        "GET_POSITION",
        "G28\nSET_PIN PIN=x VALUE=1",  # one bad line refuses all
        "M 104 S200",
        "# G28",
        "(comment) G28",
        "5 G28",
        "*G28",
        "M-1",
        "G",
        "RESTART",
        "ſet_pin",
        "{G28}",
    ],
)
def test_everything_else_is_refused(script: str) -> None:
    assert refusal(script)


@pytest.mark.parametrize(
    "line",
    ["M112", "m112", "N5 M112*33", "n5m112", "M112 ; now", " M112 ", "M0112", "M112.0", "M 112"],
)
def test_m112_is_refused_in_every_disguise(line: str) -> None:
    assert "emergency_stop" in refusal(f"G28\n{line}", ("*",))


def test_m112_as_a_word_of_another_command_is_none() -> None:
    assert words_of(check_script("M117 M112", DEFAULT)) == ["M117"]


@pytest.mark.parametrize("bad", ["\x00", "\t", "\x1b", "\x7f", "\x85", "\u2028", "\ud800", "\r"])
def test_control_characters_are_refused(bad: str) -> None:
    assert "control character" in refusal(f"M117 a{bad}b\nG28")


def test_limits() -> None:
    assert len(check_script("\n".join(["G28"] * 50), DEFAULT).lines) == 50
    assert "51 lines" in refusal("\n".join(["G28"] * 51))
    assert words_of(check_script("M117 " + "x" * 4091, DEFAULT)) == ["M117"]
    assert "4096 bytes" in refusal("M117 " + "x" * 4092)
    assert "4096 bytes" in refusal("M117 " + "ñ" * 2046)


@pytest.mark.parametrize("script", ["", "\n\n", "; nothing", "N5"])
def test_a_script_without_a_command_is_refused(script: str) -> None:
    assert "no command" in refusal(script)


def test_the_word_that_jumps_kalicos_queue_is_refused() -> None:
    assert "INTERRUPT" in refusal("M104 S200 ; INTERRUPT")


def test_patterns() -> None:
    assert words_of(check_script("set_pin pin=a", ("SET_*",))) == ["SET_PIN"]
    assert words_of(check_script("SET_PIN PIN=a", ("set_pin",))) == ["SET_PIN"]
    assert refusal("G1 X5", ("G28", "M10?"))
    assert words_of(check_script("M104 S0", ("M10?",))) == ["M104"]
    assert refusal("G28", ())


PIECES = "G28 g1x5 M112 N * *71 ; # _ T0 SET_PIN MY_MACRO M 112 \" ' ( ß ı 5 ."
MORE_PIECES = ["\n", "\r\n", " ", "M104 S200", "M117 ", "N3 "]
pieces = st.sampled_from(PIECES.split() + MORE_PIECES)
scripts = st.lists(pieces | st.text(max_size=5), max_size=25).map("".join)


@given(
    scripts, st.lists(st.sampled_from(["G*", "M*", "T*", "SET_*", "*", "m104", "G2?"]), max_size=3)
)
def test_what_passes_is_exactly_what_the_patterns_allow(script: str, patterns: list[str]) -> None:
    """Against an oracle of its own: each word that Klipper would run matches, or nothing passes."""
    try:
        passed = check_script(script, patterns)
    except Refused as reason:
        assert str(reason)
        return
    runs = klipper_runs(passed.text)
    assert runs == words_of(passed) == klipper_runs(script.replace("\r\n", "\n"))
    assert runs
    for word in runs:
        assert any(
            re.fullmatch(rf"{p[0]}[0-9]+(\.[0-9]+)?", word, re.IGNORECASE)
            if re.fullmatch(r"[A-Za-z]\*", p)
            else fnmatch.fnmatchcase(word, p.upper())
            for p in patterns
        )
        assert word != "M112"


plain_lines = st.lists(
    st.sampled_from(
        ["G28", "G1 X5", "M104 S20", "T1", "SET_PIN PIN=a", "M117 hi", "MY_MACRO", "M601"]
    ),
    min_size=1,
    max_size=10,
)


@given(plain_lines, st.lists(st.sampled_from(["G*", "M*", "T*", "SET_*", "M1*"]), max_size=3))
def test_a_script_of_plain_lines_passes_if_and_only_if_every_word_matches(
    lines: list[str], patterns: list[str]
) -> None:
    def allowed(line: str) -> bool:
        word = line.partition(" ")[0]
        letters = {p[0] for p in patterns if len(p) == 2}
        return (
            (word[0] in letters and word[1:].isdigit())
            or ("SET_*" in patterns and word.startswith("SET_"))
            or ("M1*" in patterns and word.startswith("M1"))
        )

    try:
        check_script("\n".join(lines), patterns)
        passed = True
    except Refused:
        passed = False
    assert passed == all(map(allowed, lines))


# Macros


@pytest.mark.parametrize(
    ("name", "parameters", "call"),
    [
        ("LOAD_FILAMENT", {"TEMP": 210, "LENGTH": 50}, "LOAD_FILAMENT TEMP=210 LENGTH=50"),
        ("load_filament", {"temp": "210.5"}, "LOAD_FILAMENT TEMP=210.5"),
        ("SAY", {"MSG": "two words"}, 'SAY MSG="two words"'),
        ("SAY", {"MSG": "¡Olé!", "ON": True, "OFF": False, "X": None}, "SAY MSG=¡Olé! ON=1 OFF=0"),
        ("PARK", {}, "PARK"),
        ("SAY", {"MSG": ""}, "SAY MSG="),
        ("SAY", {"MSG": "a=b"}, "SAY MSG=a=b"),
        ("PURGE2", {}, "PURGE2"),
    ],
)
def test_macro_calls(name: str, parameters: dict[str, object], call: str) -> None:
    assert build_macro_call(name, parameters) == call


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("M112", {}),
        ("LOAD_2X", {}),  # Klipper would call LOAD_2
        ("PARK\nM112", {}),
        ("PARK X", {}),
        ("", {}),
        ("N5", {}),
        ("PÄRK", {}),
        ("PARK", {"A B": 1}),
        ("PARK", {"A\nM112": 1}),
        ("PARK", {"": 1}),
        ("PARK", {"A": [1]}),
        ("PARK", {"A": {"B": 1}}),
        ("PARK", {"A": "x" * 201}),
        ("PARK", {"A": "INTERRUPT"}),
        ("PARK", {f"P{n}": n for n in range(31)}),
        *[("PARK", {"A": f"1{bad}2"}) for bad in "\n\r;#\"'\\*\t\x00\x85\u2028\u00a0\ud800"],
    ],
)
def test_macro_calls_that_could_be_read_otherwise_are_refused(
    name: str, parameters: dict[str, object]
) -> None:
    with pytest.raises(Refused):
        build_macro_call(name, parameters)


@given(
    st.text(max_size=12) | st.sampled_from(["PARK", "LOAD_FILAMENT"]),
    st.dictionaries(
        st.text(max_size=6) | st.sampled_from(["TEMP", "msg"]),
        st.text(max_size=20) | st.integers() | st.floats() | st.booleans() | st.none(),
        max_size=4,
    ),
)
def test_no_parameter_yields_a_second_command(name: str, parameters: dict[str, object]) -> None:
    try:
        call = build_macro_call(name, parameters)
    except Refused as reason:
        assert str(reason)
        return
    assert "\n" not in call
    assert klipper_runs(call) == [name.strip().upper()]
    given_values = {k.upper(): v for k, v in parameters.items() if v is not None}
    if not re.fullmatch(r"[A-Z]\d+(\.\d+)?", name.strip().upper()):
        read = klipper_parameters(call)
        assert set(read) == set(given_values)
        for key, value in given_values.items():
            if isinstance(value, str):
                assert read[key] == value


def test_macro_calls_in_gcode_form() -> None:
    assert read_macro_call('SAY MSG="two words" N=1') == ("SAY", {"MSG": "two words", "N": "1"})
    for bad in ("SAY MSG", 'SAY MSG="open', "SAY A=1\nM112"):
        with pytest.raises(Refused):
            read_macro_call(bad)


@given(scripts)
def test_reading_a_line_never_fails(text: str) -> None:
    assert isinstance(read_line(text).word, str)


@pytest.mark.parametrize("value", ["nan", "NaN", "-inf", "Infinity", "1e999", float("nan")])
def test_no_number_without_bounds_reaches_klipper(value: Any) -> None:
    """Klipper takes nan for a target within its bounds, and heats at full power for it."""
    with pytest.raises(Refused, match="send a number"):
        build_macro_call("HEAT_UP", {"TEMP": value})
    with pytest.raises(Refused, match="send a number"):
        check_script(f"M105\nSET_PIN PIN=a VALUE={value}", ("*",))
    assert check_script("SET_PIN PIN=nan_1 VALUE=1e3", ("*",)).lines
    assert check_script(f"M117 T={value}", ("*",)).lines
