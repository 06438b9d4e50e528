"""A hub that answers nonsense: one clear line in the log, nothing stops, and all is well again when
the hub is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.rig.klippy import short_folder
from tests.rig.stack import Stack
from tests.stack.watching import seen, updated

pytestmark = pytest.mark.stack

# What PHP does at times and what is still an answer: no failure, no line, nothing lost.
HABITS: dict[str, dict[str, Any]] = {
    "warning": {},  # a PHP warning before the JSON
    "bom": {},
    "strings": {},  # every number as a string, booleans as 0 and 1
    "null_commands": {},
}

# What is none: the sentence must say what is wrong and where to look.
FAILURES: dict[str, tuple[dict[str, Any], str]] = {
    "html_200": ({}, "a web page instead of JSON: check that server_url"),
    "empty_200": ({}, "an empty answer: look into the server's PHP error log"),
    "truncated": ({}, "cut short or damaged: look into the server's PHP error log"),
    "answer": ({"body": "hola"}, "not the hub's JSON: check that server_url"),
    "html_500": ({}, "HTTP 500: look into the server's PHP error log"),
    "not_found": ({}, "HTTP 404: check the path in server_url"),
    "wrong_token": ({}, 'refuses: "Token no válido". Check printer_token'),
    "database_error": ({}, "database is locked\". That is for the server's side"),
    "huge": ({}, "more than 256 KiB"),
}


@pytest.fixture(scope="module")
def chain() -> Iterator[Stack]:
    options = {
        "intervals_status_update": 0.5,
        "intervals_command_check": 0.5,
        "retries_base_delay": 0.3,
        "retries_max_attempts": 100,
        "retries_exponential_backoff": False,
    }
    with short_folder("b") as folder, Stack(folder, options=options) as running:
        yield running


@pytest.fixture
def stack(chain: Stack) -> Iterator[Stack]:
    """The hub in good order before and after."""
    yield chain
    chain.hub.restart() if not chain.hub.running else chain.hub.clear_faults()
    chain.moonraker.wait(lambda: chain.moonraker.warnings() == [], 30, "no warning left")


def log_lines(stack: Stack) -> list[str]:
    """Those of our log from WARNING on, and what Moonraker's holds of errors."""
    ours = (stack.moonraker.logs / "tecmedhub.log").read_text(encoding="utf-8")
    lines = [line for line in ours.splitlines() if " INFO " not in line and " DEBUG " not in line]
    return lines + [line for line in stack.moonraker.log_text().splitlines() if "Traceback" in line]


def works(stack: Stack) -> None:
    """Status and commands go all the way."""
    speed = 100 + len(stack.hub.results(stack.token)) % 50
    assert stack.do("set_speed", speed=speed).status == "done"
    assert round(stack.klippy.query("gcode_move")["speed_factor"] * 100) == speed
    seen(stack, f"{speed} %", lambda status: status["print_speed"] == speed)


@pytest.mark.parametrize("habit", HABITS)
def test_habits_of_php_are_understood(stack: Stack, habit: str) -> None:
    before = log_lines(stack)
    for endpoint in ("status", "commands"):
        stack.hub.fault(endpoint, habit, **HABITS[habit])
    updated(stack, 3)
    if habit != "null_commands":  # which gives none
        works(stack)
    stack.hub.clear_faults()
    works(stack)
    assert log_lines(stack) == before
    assert stack.moonraker.warnings() == []


@pytest.mark.parametrize("fault", FAILURES)
def test_each_failure_is_one_clear_line(stack: Stack, fault: str) -> None:
    params, sentence = FAILURES[fault]
    before = log_lines(stack)
    stack.hub.fault("*", fault, **params)

    def warned() -> bool:
        return any(sentence in text for text in stack.moonraker.warnings())

    stack.moonraker.wait(warned, 30, f"a warning with {sentence!r}")
    tried = len(stack.hub.requests())
    stack.hub.wait_for(lambda: len(stack.hub.requests()) > tried + 4, 30, "further attempts")
    assert stack.moonraker.get("/server/info")["klippy_state"] == "ready"
    stack.hub.clear_faults()
    works(stack)
    new = log_lines(stack)[len(before) :]
    assert len(new) == 1 and sentence in new[0], new
    assert stack.token not in new[0]


def test_a_hub_that_is_absent(stack: Stack) -> None:
    before = log_lines(stack)
    stack.hub.kill()

    def warned() -> bool:
        return any("refuses connections" in text for text in stack.moonraker.warnings())

    stack.moonraker.wait(warned, 30, "the warning")
    stack.klippy.gcode("M104 S60")  # the printer is as usable as ever
    stack.hub.restart()
    seen(stack, "the newest status", lambda status: status["temp_hotend_target"] == 60)
    works(stack)
    new = log_lines(stack)[len(before) :]
    assert len(new) == 1 and "check that the web server runs" in new[0], new


def test_a_second_outage_is_news_again(stack: Stack) -> None:
    for _ in range(2):
        before = log_lines(stack)
        stack.hub.fault("*", "html_200")
        stack.moonraker.wait(lambda: stack.moonraker.warnings() != [], 30, "the warning")
        stack.hub.clear_faults()
        stack.moonraker.wait(lambda: stack.moonraker.warnings() == [], 30, "its end")
        new = log_lines(stack)[len(before) :]
        assert len(new) == 1 and "a web page instead of JSON" in new[0], new
