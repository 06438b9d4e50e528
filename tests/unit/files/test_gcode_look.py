"""What is G-code that Klipper can read, however the bytes are cut into blocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.files.gcode_look import Look, NotGcode, hub_message


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
