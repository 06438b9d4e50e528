"""What Klipper's console says of a script's fate."""

from __future__ import annotations

from components.printer.console import KEPT, Console, complaint, plain_words, unknown_words
from tests.unit.fakes import FakeClock


def test_what_was_said_since_a_moment() -> None:
    clock = FakeClock()
    console = Console(clock)
    console.hear("// before")
    clock.advance(1)
    moment = clock.monotonic()
    console.hear('// Unknown command:"M777"')
    console.hear("// TecMedHub: Hub: gcode M777")  # our own line is nothing that Klipper says
    console.hear(None)
    assert console.since(moment) == ['// Unknown command:"M777"']
    for number in range(2 * KEPT):
        console.hear(f"// {number} {'x' * 1000}")
    assert len(console.since(0)) == KEPT
    assert max(map(len, console.since(0))) <= 200


def test_what_complains_is_told_once() -> None:
    lines = [
        "// action:paused",
        "// Print already paused",
        "// Print already paused",
        "!! Extrude below minimum temp",
        "echo: done",
        "// RESUME aborted !!! extruder not hot enough",
    ]
    assert complaint(lines) == (
        "Print already paused; Extrude below minimum temp;"
        " RESUME aborted !!! extruder not hot enough"
    )
    assert complaint(["// B:60.0 /60.0 T0:210.0 /210.0", "ok"]) == ""


def test_unknown_commands() -> None:
    assert unknown_words(['// Unknown command:"M777"', "!! Unknown command: FOO"]) == (
        "M777",
        "FOO",
    )


def test_creality_s_json_is_read_for_people() -> None:
    text = 'Error: {"code": "key57", "msg": "Move out of range", "values": [1]} .'
    assert plain_words(text) == "Error: Move out of range (key57) ."
    for other in ('{"msg": broken', '{"code": "key1"}', "{x}"):
        assert plain_words(other) == other
