"""What is G-code that Klipper can read, however the bytes are cut into blocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.files.gcode_look import Look, Mends, NotGcode, hub_message


def looks(body: bytes, size: int) -> bool:
    look = Look()
    try:
        for at in range(0, len(body), size):
            look.feed(body[at : at + size])
        look.finish()
    except NotGcode:
        return False
    return True


@pytest.mark.parametrize("size", [1, 3, 7, 1000, 1 << 20])
@pytest.mark.parametrize(
    ("body", "good"),
    [
        (b"G28\n", True),
        (b"G28", True),
        (b"; thumbnail begin 16x16\n; abc\n  N10 G1 X1\n", True),
        (b"\xef\xbb\xbf; BOM\nG28\n", True),
        (b"START_PRINT BED=60\n", True),
        (b"M117 pi\xc3\xb1\xc3\xb3n \xf0\x9f\xa6\x84\nG28\n", True),
        (b"; only comments G1 X1\n", False),
        (b"GARBAGE\nTEXT\n", False),
        (b"G28\nM117 pi\xf1on\n", False),
        (b"G28\n\xf0\x9f\xa6", False),
        (b"G28\n\0", False),
        (b"  \n\t<html>", False),
        (b'{"success": true}', False),
        (b"", False),
    ],
)
def test_kinds_of_bytes(body: bytes, good: bool, size: int) -> None:
    assert looks(body, size) is good


@pytest.mark.parametrize("size", [1000, 1 << 19])
def test_a_command_after_megabytes_of_comments_counts(size: int) -> None:
    assert looks(b"; thumbnail AAAAAAAAAAAAAAAA\n" * 50_000 + b"G28\n", size)
    assert looks(b";" + b"A" * 300_000 + b"\nG28\n", size)
    assert not looks(b";" + b"A" * 300_000 + b"G28\n", size)


@given(st.binary(max_size=300), st.integers(1, 50))
def test_the_verdict_does_not_depend_on_the_blocks(body: bytes, size: int) -> None:
    assert looks(body, size) is looks(body, 1 << 20)


def test_the_hubs_own_words() -> None:
    assert hub_message(b'Warning: x\n{"success": false, "message": "No  existe\\n"}') == "No existe"
    assert hub_message(b"G28\n") is None
    assert hub_message(b'{"other": 1}') is None


def mends(body: bytes, size: int) -> Mends:
    look = Look()
    for at in range(0, len(body), size):
        look.feed(body[at : at + size])
    return look.finish()


@pytest.mark.parametrize("size", [1, 2, 5, 1 << 20])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"g28\nend_print\n", Mends()),
        (b"g28\nend_print", Mends(newline=True)),
        (b"G28\r\nG1 X1\r", Mends(newline=True)),
        (b"G28\r\r\nG1 X1\r\n", Mends()),
        (b"G28\n  ; the end", Mends()),
        (b"G28\n   ", Mends()),
        (b"\xef\xbb\xbfG28\n", Mends(bom=True)),
        (b"\xef\xbb\xbf; made by\nG28\n", Mends()),
        (b"\xef\xbb\xbf\nG28\nM84", Mends(newline=True)),
    ],
)
def test_what_klipper_would_not_run(size: int, body: bytes, expected: Mends) -> None:
    assert mends(body, size) == expected


@pytest.mark.parametrize("size", [1, 2, 5, 1 << 20])
@pytest.mark.parametrize("body", [b"G28\rG1 X1\r", b"G28\nG1 X1\rM104 S0\n", b"; x\rG28\nG1 X1\n"])
def test_lines_that_end_in_cr_alone_are_refused_with_the_remedy(size: int, body: bytes) -> None:
    with pytest.raises(NotGcode, match="save it with the line ends LF or CRLF"):
        mends(body, size)


def run_by_klipper(text: bytes) -> list[str]:
    """What virtual_sdcard hands to the G-code parser, and the parser takes for a command."""
    lines = text.decode("utf-8").split("\n")[:-1]  # a rest without its line end is never run
    return [line for line in (entry.split(";")[0].strip() for entry in lines) if line]


def meant(text: bytes) -> list[str]:
    """What any text editor shows as the lines of the file."""
    plain = text.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    return [line for line in (entry.split(";")[0].strip() for entry in plain.split("\n")) if line]


PIECES = st.sampled_from(
    [b"G28", b"g1 x1 y2", b"END_PRINT", b"; note", b"M117 \xc3\xb1", b" ", b"\n", b"\r\n", b"\r"]
)


@given(bom=st.booleans(), pieces=st.lists(PIECES, max_size=12), size=st.integers(1, 9))
def test_klipper_runs_every_line_of_what_is_let_through(
    bom: bool, pieces: list[bytes], size: int
) -> None:
    text = (b"\xef\xbb\xbf" if bom else b"") + b"".join(pieces)
    try:
        found = mends(text, size)
    except NotGcode:
        return
    mended = text + (b"\n" if found.newline else b"")
    if found.bom:
        mended = b"   " + mended[3:]
    # A mark that stands alone in its line, or before a comment, is no command to Klipper either.
    assert [line for line in run_by_klipper(mended) if line != "\ufeff"] == meant(text)
