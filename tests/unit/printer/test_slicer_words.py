"""What slicers write of time and height, each in its own words."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.printer.slicer_words import END, read_words, share_of_time, words_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("; estimated printing time (normal mode) = 1d 2h 3m 4s", 93784),
        ("; estimated printing time = 12m 5s", 725),
        ("; model printing time: 1h 0m 0s; total estimated time: 1h 5m 0s", 3900),
        (";TIME:6666", 6666),
        (";FLAVOR:Marlin\n;TIME:120.5\n;Filament used: 1m", 120.5),
        (";   Build time: 1 hour 3 minutes", 3780),
        ("; Estimated Build Time:   12.5 minutes", 750),
        (";PRINT_TIME: 5400", 5400),
        ("M73 P0 R57\nG28", 3420),
        ("; nothing of the kind", 0),
        ("M73 P0 R99999999999", 0),
    ],
)
def test_estimates(text: str, seconds: float) -> None:
    assert words_of(text).estimate == seconds


def test_heights() -> None:
    words = words_of("; layer_height = 0.24\n; first_layer_height = 0.32\n;MAXZ:12.4")
    assert (words.layer_height, words.first_layer_height, words.object_height) == (0.24, 0.32, 12.4)
    assert words_of(";Layer height: 0.16\n").layer_height == 0.16


@given(st.text(alphabet=";=: .0123456789dhmsTIMEPRLayer_\n", max_size=200))
def test_text_of_any_kind_is_read(text: str) -> None:
    assert words_of(text).estimate >= 0


def test_the_clock_of_a_large_file_is_read_in_samples(tmp_path: Path) -> None:
    path = tmp_path / "large.gcode"
    with path.open("w", encoding="ascii") as file:
        file.write(";FLAVOR:Marlin\n;TIME:2000\n;Layer height: 0.2\n")
        for layer in range(1, 1001):
            file.write("G1 X10 Y10 E1\n" * (400 if layer < 500 else 100))
            file.write(f";TIME_ELAPSED:{layer * 2}.0\n")
    words = read_words(path)
    assert words.estimate == 2000
    size = path.stat().st_size
    assert size > 20 * END
    # Half of the time lies in four fifths of the bytes.
    share = share_of_time(words.clock, int(size * 0.8))
    assert share == pytest.approx(0.5, abs=0.02)


def test_a_file_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert read_words(tmp_path / "none.gcode") == () + type(read_words(tmp_path))()


def moves(fast: int, slow: int) -> str:
    """Ten-millimetre moves, so many a second long, then so many of a tenth of that speed."""
    lines = ["G1 X0 Y0 F600"]
    lines += [f"G1 X{10 * (n % 2)}" for n in range(1, fast + 1)]
    lines += ["G1 F60", *(f"G1 X{10 * (n % 2)}" for n in range(fast + 1, fast + slow + 1))]
    return "\n".join([*lines, ""])


def test_how_the_time_of_a_file_passes_is_seen_by_its_moves(tmp_path: Path) -> None:
    path = tmp_path / "a.gcode"
    path.write_text(moves(9000, 9000), encoding="utf-8")
    words = read_words(path)
    half = share_of_time(words.clock, path.stat().st_size // 2)
    assert half == pytest.approx(1 / 11, abs=0.01)
    assert words.clock[-1] == (path.stat().st_size, pytest.approx(99000, rel=0.02))


def test_a_small_file_has_too_few_moves_to_judge_by(tmp_path: Path) -> None:
    path = tmp_path / "a.gcode"
    path.write_text(moves(90, 90), encoding="utf-8")
    assert share_of_time(read_words(path).clock, 500) is None


@pytest.mark.parametrize("told", ["M73 P0 R60\n", ";TIME_ELAPSED:5.5\n"])
def test_what_the_slicer_tells_of_its_time_counts_more(tmp_path: Path, told: str) -> None:
    path = tmp_path / "a.gcode"
    path.write_text("G28\n" + told + moves(900, 900), encoding="utf-8")
    assert len(read_words(path).clock) < 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"G4 P500\n" * 99,
        b"G1 X F\nG1 X- F-600\nG1 X1..2 F0\n",
        b"\xff\xfeG1 X5\n" * 9,
        b"G1 X0 F9\nG1 X" + b"9" * 999 + b"\n",
    ],
)
def test_a_file_without_moves_that_can_be_read_has_no_clock(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.gcode"
    path.write_bytes(content)
    assert share_of_time(read_words(path).clock, 5) is None
