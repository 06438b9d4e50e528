"""Both generations' forms, and PHP's habits, become commands; nothing that a hub sends raises."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.commands.actions import ACTIONS
from components.commands.wire import (
    Command,
    Reader,
    entries,
    from_json,
    looks_like_stop,
    print_request,
)

NOW = 1_700_000_000.0


def reader(token: str = "T") -> Reader:
    counter = itertools.count(1)
    return Reader("scope", token, lambda: f"no-id-{next(counter)}")


def read(item: Any, generation: int = 1) -> Command:
    return reader().read(item, generation, NOW)


def test_generation_1() -> None:
    command = read(
        {
            "id": "cmd_1",
            "token": "T",
            "action": "heat",
            "hotend_temp": "210",
            "timestamp": "1699999990",
        }
    )
    assert (command.id, command.action, command.problem) == ("cmd_1", "heat", "")
    assert command.params == {"hotend_temp": "210"}
    assert command.age(NOW) == 10.0
    assert not command.foreign
    assert "token" not in command.to_json()


@pytest.mark.parametrize(
    ("type_", "text", "action", "params"),
    [
        ("basic", "PAUSE", "pause", {}),
        ("basic", "RESUME", "resume", {}),
        ("basic", "CANCEL", "cancel", {}),
        ("basic", "EMERGENCY_STOP", "emergency_stop", {}),
        ("basic", "PRINT_FILE:part one, v2=3.gcode", "print", {"file": "part one, v2=3.gcode"}),
        ("basic", "PRINT_LOCAL:labs/x.gcode", "print_local", {"file": "labs/x.gcode"}),
        ("basic", "HOME_X", "home_x", {}),
        ("basic", "SET_SPEED:120", "set_speed", {"speed": "120"}),
        ("basic", "SET_FLOW 90", "set_flow", {"flow": "90"}),
        (
            "basic",
            "HEAT:hotend_temp=210 bed_temp=60",
            "heat",
            {"hotend_temp": "210", "bed_temp": "60"},
        ),
        ("gcode", "M104 S210\nM140 S60", "gcode", {"gcode": "M104 S210\nM140 S60"}),
        ("macro", "LOAD TEMP=210", "macro", {"macro_name": "LOAD", "params": {"TEMP": "210"}}),
        ("BASIC", "COOL_DOWN", "cool_down", {}),
    ],
)
def test_generation_2(type_: str, text: str, action: str, params: dict[str, Any]) -> None:
    command = read({"id": 7, "type": type_, "command": text, "priority": 3}, 2)
    assert (command.action, dict(command.params), command.problem) == (action, params, "")
    assert command.age(NOW + 30) == 30.0  # counted from its delivery


def test_confirmation_in_either_form() -> None:
    assert read({"id": 1, "action": "home", "confirm": "1"}).confirm
    assert read({"id": 1, "type": "basic", "command": "HOME:confirm=true"}, 2).confirm
    assert read({"id": 1, "type": "basic", "command": "HOME", "confirm": True}, 2).confirm
    assert not read({"id": 1, "action": "home", "confirm": "0"}).confirm


@pytest.mark.parametrize("params", [[], None, {}, "", {"TEMP": 210}, '{"TEMP": 210}'])
def test_params_as_php_writes_them(params: Any) -> None:
    command = read({"id": 1, "action": "macro", "macro_name": "LOAD", "params": params})
    assert command.params["params"] == ({"TEMP": 210} if params else {})
    command = read({"id": 1, "action": "set_speed", "params": {"speed": 120} if params else params})
    assert command.params == ({"speed": 120} if params else {})


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (7, "7", True),
        (7, 7.0, True),
        ("7", " 7 ", True),
        (7, 8, False),
        ("a", "A", False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        (True, 1, False),
    ],
)
def test_ids_of_any_type(first: Any, second: Any, same: bool) -> None:
    one, other = read({"id": first, "action": "home"}), read({"id": second, "action": "home"})
    assert (one.identity == other.identity) == same


def test_the_same_id_at_another_hub_or_generation_is_another_command() -> None:
    item = {"id": 7, "action": "home"}
    assert read(item, 1).identity != read(item, 2).identity
    assert read(item).identity != Reader("other", "T", lambda: "x").read(item, 1, NOW).identity


@pytest.mark.parametrize("id_", [None, "", "  "])
def test_without_an_id_it_gets_one(id_: Any) -> None:
    same = reader()
    first, second = (same.read({"id": id_, "action": "home"}, 1, NOW) for _ in range(2))
    assert first.id and first.identity != second.identity


def test_a_huge_id_is_shortened_but_still_tells_commands_apart() -> None:
    one, other = (
        read({"id": "x" * 5000 + "a", "action": "home"}),
        read({"id": "x" * 5000 + "b", "action": "home"}),
    )
    assert one.identity != other.identity
    assert len(one.id) <= 200
    assert read({"id": 10**6000, "action": "home"}).id


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"id": 1}, "names no action"),
        ({"id": 1, "action": ""}, "names no action"),
        ({"id": 1, "action": None, "command": None}, "names no action"),
        ({"id": 1, "type": "shell", "command": "rm"}, "unknown type"),
        ({"id": 1, "type": "basic", "command": "!!"}, "no basic command"),
        ({"id": 1, "type": "macro", "command": "SAY MSG"}, "NAME=value"),
        ({"id": 1, "action": "gcode", "gcode": "G1 " * 10_000}, "larger than"),
        ({"id": 1, "action": "home", "params": {str(n): n for n in range(501)}}, "more than 500"),
        ({"id": 1, "action": "home", **{str(n): n for n in range(501)}}, "more than 500"),
        ({"id": 1, "action": "home", "params": "{" + " " * 17_000 + "}"}, "larger than"),
        ({"id": 1, "type": "basic", "command": "HEAT:" + "a=1 " * 5000}, "larger than"),
        ({"id": 1, "type": "basic", "command": "HEAT:" + "a=1 " * 2000}, "longer than"),
        ({"id": 1, "type": "macro", "command": "SAY " + "A=1 " * 2000}, "longer than"),
        ("home", "not an object"),
        (42, "not an object"),
    ],
)
def test_what_cannot_be_read_says_why(item: Any, said: str) -> None:
    command = read(item, 2)
    assert said in command.problem
    assert command.id == (1 if isinstance(item, dict) else command.id)


def test_another_printers_command_is_marked() -> None:
    assert read({"id": 1, "token": "OTHER", "action": "home"}).foreign
    assert not read({"id": 1, "action": "home"}).foreign


@pytest.mark.parametrize(
    ("raw", "count"),
    [
        (None, 0),
        ([], 0),
        ({}, 0),
        ("", 1),
        ([{"id": 1, "action": "home"}], 1),
        ({"0": {"id": 1, "action": "home"}, "2": {"id": 2, "action": "home"}}, 2),
        ({"id": 1, "action": "home"}, 1),
        ([[{"id": 1, "action": "home"}]], 1),
        ([None, {"id": 1, "action": "home"}], 1),
    ],
)
def test_lists_as_php_writes_them(raw: Any, count: int) -> None:
    assert len(list(entries(raw))) == count


def test_stops_are_seen_in_every_form() -> None:
    assert looks_like_stop({"action": "emergency_stop"})
    assert looks_like_stop({"action": " Emergency_Stop "})
    assert looks_like_stop({"type": "basic", "command": "EMERGENCY_STOP"})
    assert not looks_like_stop({"action": "gcode", "gcode": "emergency_stop"})
    assert not looks_like_stop({"type": "macro", "command": "SAY MSG=emergency_stop"})
    assert not looks_like_stop({"type": "gcode", "command": "EMERGENCY_STOP"})


def test_a_command_survives_the_ledger() -> None:
    command = read(
        {"id": "a", "action": "print", "file": "x.gcode", "md5": "A" * 32, "size": "12", "queue": 1}
    )
    again = from_json("k", command.id, command.action, NOW, command.to_json())
    assert again == command._replace(identity="", key="k")
    request = print_request(again)
    assert (request.file, request.md5, request.size, request.queue) == (
        "x.gcode",
        "a" * 32,
        12,
        True,
    )
    assert from_json("k", 1, "home", NOW, "{broken").problem


def test_the_summary_shows_no_address() -> None:
    command = read(
        {"id": 1, "action": "print", "file": "x.gcode", "download_url": "https://h/?token=S"}
    )
    assert "x.gcode" in command.summary()
    assert "token" not in command.summary()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
commandish = st.dictionaries(
    st.sampled_from(
        ["id", "action", "type", "command", "params", "timestamp", "confirm", "token", "speed"]
    ),
    json_values
    | st.sampled_from([*ACTIONS, "basic", "macro", "gcode", "EMERGENCY_STOP", "HOME:x=1"]),
    max_size=6,
)
replies = json_values | commandish | st.lists(commandish | json_values, max_size=5)


@given(replies, st.sampled_from([1, 2]))
def test_no_reply_of_any_shape_raises(raw: Any, generation: int) -> None:
    for item in entries(raw):
        command = reader().read(item, generation, NOW)
        assert command.identity
        assert command.id not in (None, "")
        assert command.age(NOW) >= 0
        assert isinstance(command.summary(), str)
        assert (
            from_json("k", command.id, command.action, NOW, command.to_json()).action
            == command.action
        )
        if looks_like_stop(item):
            assert command.is_stop
        print_request(command)
