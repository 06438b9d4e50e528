"""JSON as people write it: what is taken, and what is said about what is not."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.settings.jsonc import MAX_BYTES, MAX_DEPTH, JsoncError, decode, parse, read_bytes

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**30), max_value=10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["http://a//b/* c */", '// "', "/*", "*/", ",]", '\\"', "a,}"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
TREES = st.dictionaries(st.text(), VALUES, max_size=5)
BLANKS = st.sampled_from(["", " ", "\n", "\t", "// x \"'{ \n", "/* } */", "/* a\n*b // */", "\r\n"])
TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s"{}\[\]:,]+')


@given(TREES)
def test_plain_json_is_read_as_json(tree) -> None:
    assert parse(json.dumps(tree)).tree == tree
    assert parse(json.dumps(tree, ensure_ascii=False, indent=2)).tree == tree


@given(TREES, st.data())
def test_comments_and_trailing_commas_between_tokens_change_nothing(tree, data) -> None:
    """Strings, whatever comment marks they hold, come out as they went in."""
    pieces = TOKENS.findall(json.dumps(tree))
    text = data.draw(BLANKS)
    for index, piece in enumerate(pieces):
        opened = index > 0 and pieces[index - 1] in "{["
        if piece in ("}", "]") and not opened and data.draw(st.booleans()):
            text += "," + data.draw(BLANKS)
        text += piece + data.draw(BLANKS)
    assert parse(text).tree == tree


@given(st.text() | st.text(alphabet='{}[]:,"/*\\ \n1aet-.', max_size=60))
def test_no_text_raises_anything_but_its_own_error(text) -> None:
    try:
        parse(text)
    except JsoncError as error:
        lines = text.split("\n")
        assert 1 <= error.line <= len(lines)
        assert 1 <= error.column <= len(lines[error.line - 1]) + 1
        assert str(error).startswith(f"line {error.line}, column {error.column}: ")


@given(st.binary())
def test_no_bytes_raise_anything_but_its_own_error(data) -> None:
    try:
        decode(data)
    except JsoncError:
        pass


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ('{\n  "a": 1\n  "b": 2\n}', 2, 9, "a comma is missing"),
        ('{"a" 1}', 1, 5, "a colon is missing"),
        ('{"a": }', 1, 6, "a value is missing"),
        ('{"a": 1', 1, 8, "the { of line 1 is not closed by }"),
        ('{\n"a": [1, 2\n', 2, 11, "the [ of line 2 is not closed by ]"),
        ('{"a": [1, 2}', 1, 12, "should be ]"),
        ('{"a": {"b": 1,\n"c": {"d": [}}', 2, 13, "should be ]"),
        ('{"a": {"b": 1 "c": 2}\n"d": {\n', 1, 14, "a comma is missing"),
        ('{"a": 1]', 1, 8, "should be }"),
        ('{"a": 1}}', 1, 9, "after the closing }"),
        ('{"a": 1,, "b": 2}', 1, 9, "a comma too many"),
        ('{"a": "x', 1, 7, "not closed by"),
        ('{"a": "x\ny"}', 1, 7, "not closed by"),
        ("{/* a", 1, 2, "not closed by */"),
        ("{a: 1}", 1, 2, "a name in double quotes"),
        ("{'a': 1}", 1, 2, "a name in double quotes"),
        ('{"a": True}', 1, 7, "write true"),
        ('{"a": None}', 1, 7, "write null"),
        ("{\"a\": 'x'}", 1, 7, "double quotes"),
        ('{"a": NaN}', 1, 7, "NaN"),
        ('{"a": 5s}', 1, 7, "not a number"),
        ('{"a": 010}', 1, 7, "not a number"),
        ('{"a": "C:\\path"}', 1, 10, "backslash"),
        ("{ # x\n}", 1, 3, "begins with //"),
        ("[1]", 1, 1, "one object"),
        ("printer: 1", 1, 1, "one object"),
        ('{"a": ' + "1" * 50 + "}", 1, 7, "too many digits"),
    ],
)
def test_errors_say_where_and_what(text, line, column, words) -> None:
    with pytest.raises(JsoncError) as caught:
        parse(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert words in str(caught.value)


def test_ever_so_many_comments_that_are_not_closed_are_read_once() -> None:
    with pytest.raises(JsoncError, match="not closed by"):
        parse('{"a": 1}' + "/* " * MAX_BYTES)


def test_lines_of_names_are_known() -> None:
    lines = parse('{\n// x\n"a": {"b": 1,\n "c": [\n{"d": 1}]}}').lines
    assert lines == {"a": 3, "a.b": 3, "a.c": 4, "a.c..d": 5}


def test_what_is_given_twice_is_kept_with_its_lines_and_the_last_one_stands() -> None:
    document = parse('{"a": {"b": 1,\n"b": 2}}')
    assert document.tree == {"a": {"b": 2}}
    assert document.repeated == {"a.b": [(1, 1), (2, 2)]}


def test_objects_given_twice_are_merged_and_no_other_value_takes_their_place() -> None:
    document = parse('{"a": {"b": 1},\n"a": {"c": 2},\n"a": "x",\n"a": {"b": 3}}')
    assert document.tree == {"a": {"b": 3, "c": 2}}
    assert [line for line, value in document.repeated["a"]] == [1, 2, 3, 4]
    assert document.repeated["a.b"] == [(1, 1), (4, 3)]


@pytest.mark.parametrize("text", ["", " \n", "// only\n/* comments */", "\ufeff"])
def test_nothing_is_an_empty_object(text) -> None:
    assert parse(text).tree == {}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_that_editors_write(encoding) -> None:
    assert read_bytes('{"a": "ñ🦄"}'.encode(encoding)).tree == {"a": "ñ🦄"}


def test_what_an_editor_saved_as_ansi_is_read_and_said() -> None:
    document = read_bytes('{\n"a": "AÑO",\n"b": "🦄"}'.encode().replace("Ñ".encode(), b"\xd1"))
    assert document.tree == {"a": "AÑO", "b": "🦄"}
    assert "line 2 is not UTF-8" in document.remark
    assert read_bytes('{"a": "ñ"}'.encode("latin-1")).tree == {"a": "ñ"}


def test_no_text_and_too_much_of_it_are_refused() -> None:
    with pytest.raises(JsoncError, match="save the file as UTF-8"):
        decode('{"a": 1}'.encode("utf-16")[:-1])
    with pytest.raises(JsoncError, match="256 KiB"):
        decode(b" " * (MAX_BYTES + 1))
    assert decode(b" " * MAX_BYTES)


def test_depth_is_bounded() -> None:
    def nested(depth: int) -> str:
        return '{"a":' * depth + "1" + "}" * depth

    assert parse(nested(MAX_DEPTH)).tree
    with pytest.raises(JsoncError, match="brackets within each other"):
        parse(nested(MAX_DEPTH + 1))
    with pytest.raises(JsoncError, match="brackets within each other"):
        parse('{"a":' + "[" * 100_000)
