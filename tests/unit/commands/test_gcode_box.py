"""Generation 2's page has a box for G-code and nothing else: no button for macros, none to bring
Klippy back.
"""

from __future__ import annotations

from typing import Any

import pytest

from components.commands import policy
from components.commands.gcode import Refused
from components.commands.situation import Situation
from components.commands.wire import Command, Reader
from components.printer.snapshot import KlippyState
from components.settings.model import Security
from tests.unit.commands.support import printing, ready

NOW = 1_700_000_000.0
MACROS = frozenset({"LOAD_FILAMENT", "_HIDDEN", "PARK"})


def box(text: str) -> Command:
    item = {"id": 1, "type": "gcode", "command": text, "priority": 5}
    return Reader("s", "T", lambda: "x").read(item, 2, NOW)


def judge(text: str, security: Security | None = None, **snapshot: Any) -> str:
    """What it comes to: "verb: script", or why it is refused."""
    now = ready(macros=MACROS, **snapshot)
    try:
        order = policy.judge(box(text), Situation(security or Security(), now))
    except Refused as reason:
        return str(reason)
    return f"{order.verb}: {order.script}"


@pytest.mark.parametrize(
    ("text", "verb"),
    [
        ("FIRMWARE_RESTART", "firmware_restart: "),
        ("; back\r\n  firmware_restart ; please\r\n", "firmware_restart: "),
        ("restart", "restart: "),
    ],
)
def test_a_script_that_only_restarts_is_that_action(text: str, verb: str) -> None:
    assert box(text).action == "firmware_restart"
    assert judge(text) == verb
    assert judge(text, klippy=KlippyState.SHUTDOWN) == verb  # the way back after a stop
    assert "denied" in judge(text, Security(denied_actions=("firmware_restart",)))
    busy = Situation(Security(), printing())
    with pytest.raises(Refused, match="would disturb"):
        policy.judge(box(text), busy)


@pytest.mark.parametrize("action", ["firmware_restart", "reboot", "shutdown"])
def test_the_way_back_waits_for_no_klippy_that_is_down(action: str) -> None:
    """Nothing comes through its queue, so waiting for that would be for ever."""
    asked = Reader("s", "T", lambda: "x").read({"id": 1, "action": action}, 1, NOW)

    def alone(klippy: KlippyState) -> bool:
        return policy.judge(asked, Situation(Security(), ready(klippy=klippy))).alone

    assert alone(KlippyState.READY)
    assert not any(map(alone, (KlippyState.SHUTDOWN, KlippyState.ERROR, KlippyState.DISCONNECTED)))


def test_a_restart_among_other_lines_is_refused_as_ever() -> None:
    assert "allowed_gcode_patterns" in judge("G28\nFIRMWARE_RESTART")


@pytest.mark.parametrize(
    "line", ["LOAD_FILAMENT", 'load_filament TEMP=210 MSG="dos palabras"', "PARK ; to the side"]
)
def test_the_call_of_a_visible_macro_passes(line: str) -> None:
    assert judge(line) == f"gcode: {line}"
    assert judge(f"G90\n{line}") == f"gcode: G90\n{line}"
    for security in (
        Security(allowed_macros=()),
        Security(allowed_macros=("OTHER*",)),
        Security(denied_actions=("macro",)),
    ):
        assert "allowed_gcode_patterns" in judge(line, security)


@pytest.mark.parametrize(
    "line",
    ["_HIDDEN", "UNKNOWN_MACRO", "SAVE_CONFIG", "LOAD_FILAMENT 210", "LOAD_FILAMENT MSG='a"],
)
def test_anything_else_does_not(line: str) -> None:
    said = judge(line)
    assert "allowed_gcode_patterns" in said or "no command that Klipper knows" in said
