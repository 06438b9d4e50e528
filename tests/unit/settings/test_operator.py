"""The operator's own actions, as they are read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.settings.conf import ConfValues
from components.settings.json_layer import Layer
from components.settings.jsonc import parse
from components.settings.loader import merge
from components.settings.model import BadValue
from components.settings.operator import read_actions

GOOD = {"gcode": "M117 {x}", "parameters": {"x": {"min": 0, "max": 5}}}


def test_a_good_one_is_taken_and_a_bad_one_named() -> None:
    found, told = read_actions({"good": GOOD, "bad": {"gcode": 5}, "_comment": "x"}, ())
    assert list(found) == ["good"]
    assert found["good"].danger and found["good"].lane == "gcode"
    (reason,) = told
    assert '"bad"' in reason and "gcode or macro" in reason


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ({}, "either gcode or macro"),
        ({"gcode": "G28", "macro": "X"}, "either gcode or macro"),
        ({"gcode": "M117 {x}"}, "names the parameter x"),
        ({"gcode": "G28", "parameters": {"x": {"min": 0, "max": 1}}}, "stands nowhere"),
        ({"gcode": "{% if x %}G28"}, "braces only"),
        ({"macro": "A B"}, "name of a macro"),
        ({"gcode": "G28", "lane": "stop"}, "lane is gcode"),
        ({"gcode": "G28", "danger": "yes"}, "danger is true or false"),
        ({"gcode": "G28", "expiry": 0}, "expiry is a number"),
        ({"gcode": "G28", "colour": "red"}, '"colour" is none of'),
        ({**GOOD, "parameters": {"x": {"min": 5, "max": 0}}}, "max of x"),
        ({**GOOD, "parameters": {"x": {"min": 0, "max": 5, "default": 6}}}, "default of x"),
        ({**GOOD, "parameters": {"x": {"choices": ["a;b"]}}}, "choices of x"),
        ({**GOOD, "parameters": {"x": {"type": "colour"}}}, "type of x"),
        ({"gcode": "G28", "confirmation": {"object": "x"}}, "confirmation names an object"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_reason(action: Any, reason: str) -> None:
    found, told = read_actions({"one": action}, ())
    assert found == {}
    assert reason in told[0]


def test_names() -> None:
    found, told = read_actions({"pause": GOOD, "Ñ": GOOD, "a" * 41: GOOD}, ("pause",))
    assert found == {}
    assert "of that name" in told[0]
    assert len(told) == 3
    with pytest.raises(BadValue):
        read_actions([1], ())
    assert read_actions('{"one": {"gcode": "G28"}}', ())[0]["one"].gcode == "G28"


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["gcode", "macro", "parameters", "x", "min", "max", "choices", "type"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["one", "two"]), _JSON, max_size=2))
def test_whatever_is_written_is_read_or_refused(raw: Any) -> None:
    found, told = read_actions(raw, ())
    assert len(found) + len(told) == len(raw)


@pytest.mark.parametrize(
    "twice",
    [
        '"a": {"gcode": "M117", "danger": true}, "a": {"gcode": "G28", "danger": false}',
        '"a": {"gcode": "M117", "danger": true, "danger": false}',
        '"a": {"gcode": "M117 {x}", "parameters": {"x": {"min": 0, "max": 5, "max": 5000}}}',
    ],
)
def test_an_action_in_which_something_stands_twice_is_left_out_and_named(twice: str) -> None:
    text = '{"actions": {%s, "b": {"gcode": "M117"}}}' % twice
    loaded = merge(ConfValues({}), [Layer("tecmedhub.json", parse(text))])
    assert list(loaded.settings.actions) == ["b"]
    (problem,) = loaded.problems
    assert "the action a is left out" in problem.text
    good = '{"actions": {"a": {"gcode": "M117"}, "b": {"gcode": "M117"}}}'
    mended = merge(ConfValues({}), [Layer("tecmedhub.json", parse(good))], loaded.memory)
    assert list(mended.settings.actions) == ["a", "b"]
    assert not mended.problems
