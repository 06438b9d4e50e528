"""Two layers of what is written, and what is in force."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.runtime import steps
from components.settings import loader, problems
from components.settings.conf import ConfValues
from components.settings.json_layer import Layer
from components.settings.jsonc import Document, parse
from components.settings.loader import Loaded, merge, missing
from components.settings.memory import Memory
from components.settings.model import Origin, RemoteControl, Settings, value_of
from components.settings.options import OPTIONS
from components.settings.problems import MAX_PROBLEMS, nearest
from components.settings.values import Kind

FIXTURE = Path(__file__).parent / "printer_config_v4.json"


def loaded(tree, conf=None, *, lines=None, file_name="tecmedhub.json", last=None) -> Loaded:
    layer = Layer(file_name, Document(tree, lines or {}))
    return merge(ConfValues(conf or {}), [layer], last.memory if last else Memory())


def warned(result: Loaded) -> list[str]:
    return [problem.text for problem in result.problems if not problem.explained]


def test_client_v4_s_own_file_as_its_readme_has_it() -> None:
    """Byte for byte, comments included; only what is no longer needed is mentioned."""
    document = parse(FIXTURE.read_text(encoding="utf-8"))
    result = loaded(document.tree, lines=document.lines)
    assert warned(result) == []
    assert {p.path for p in result.problems} == {
        "moonraker_url",
        "file_management.gcode_directory",
    }
    settings = result.settings
    assert settings.complete
    assert settings.server_url == "https://tmeduca.org/printerhub/api.php"
    assert settings.printer_token == "TECMED_PRINTER_001"
    assert settings.printer_name == "🦄 Mi Impresora 3D"
    assert settings.camera.urls == ("http://localhost:8080/?action=snapshot",)
    assert settings.intervals.reconnect_attempt == 10
    assert settings.printer_data.filament == {
        "material": "PLA",
        "color": "Negro",
        "remaining": 100,
    }
    assert settings.printer_data.tags == ("Prusa", "PLA")
    assert result.origins["timeouts.file_download"] is Origin.JSON
    assert result.origins["expiry.print"] is Origin.DEFAULT


def test_json_wins_over_moonraker_conf_value_by_value() -> None:
    conf = {"intervals.status_update": "7", "printer_name": "A", "camera.enabled": "no"}
    result = loaded({"intervals": {"status_update": 9}, "printer_name": None}, conf)
    assert result.settings.intervals.status_update == 9
    assert result.settings.printer_name == "A"
    assert result.settings.camera.enabled is False
    assert result.origins["intervals.status_update"] is Origin.JSON
    assert result.origins["printer_name"] is Origin.MOONRAKER_CONF


def test_the_filament_is_joined_name_by_name() -> None:
    conf = {"printer_data.filament": {"material": "PLA", "color": "rojo"}}
    result = loaded({"printer_data": {"filament": {"color": "azul"}}}, conf)
    assert result.settings.printer_data.filament == {"material": "PLA", "color": "azul"}


def test_a_wrong_value_leaves_the_layer_below() -> None:
    tree = {"intervals": {"status_update": "soon", "command_check": 2}}
    result = loaded(tree, {"intervals.status_update": "7"})
    assert result.settings.intervals.status_update == 7
    assert result.settings.intervals.command_check == 2
    (text,) = warned(result)
    for word in ("tecmedhub.json", "intervals.status_update", '"soon"', "0.5 to 55", "7 is in"):
        assert word in text


def test_a_wrong_value_in_the_live_file_leaves_the_last_good_one() -> None:
    good = loaded({"intervals": {"status_update": 9}, "security": {"remote_control": "print"}})
    bad = {"intervals": {"status_update": 999}, "security": {"remote_control": "prnt"}}
    result = loaded(bad, last=good)
    assert result.settings.intervals.status_update == 9
    assert result.settings.security.remote_control is RemoteControl.PRINT
    assert any("9 stays in force" in text for text in warned(result))
    again = loaded(bad, last=result)
    assert again.settings == result.settings
    removed = loaded({}, last=again)
    assert removed.settings.intervals.status_update == 5


def test_an_action_that_does_not_exist_is_named_with_the_nearest_one() -> None:
    result = loaded({"security": {"denied_actions": ["rebot", "Shut-down", "apagar", "home"]}})
    assert {"home", "reboot", "shutdown"} < set(result.settings.security.denied_actions)
    assert len(warned(result)) == 4
    assert "until this is mended, denied are" in warned(result)[3]
    for text, written, hint in zip(
        warned(result),
        ('"rebot"', '"Shut-down"', '"apagar"'),
        ("did you mean reboot?", "did you mean shutdown?", "docs/commands.md lists them"),
        strict=False,
    ):
        assert text.startswith("tecmedhub.json: security.denied_actions:")
        assert written in text and hint in text


def test_what_was_denied_stays_denied_while_one_of_them_cannot_be_read() -> None:
    good = loaded({"security": {"denied_actions": ["reboot", "home"]}})
    result = loaded({"security": {"denied_actions": ["rebot", "home"]}}, last=good)
    assert set(result.settings.security.denied_actions) == {"reboot", "home"}


def test_no_action_that_exists_leaves_what_was_denied_before() -> None:
    good = loaded({"security": {"denied_actions": ["reboot"]}})
    for wrong in (["rebot"], ["rebot", "x"], "rebot, x"):
        result = loaded({"security": {"denied_actions": wrong}}, last=good)
        assert result.settings.security.denied_actions == ("reboot",)
        (text,) = warned(result)
        for words in ("security.denied_actions", '"rebot"', "did you mean reboot?"):
            assert words in text
        assert text.endswith('"reboot" stays in force')


def test_a_section_of_the_wrong_kind_leaves_what_was_in_force() -> None:
    good = loaded({"camera": {"capture_interval": 12}})
    result = loaded({"camera": "off"}, last=good)
    assert result.settings.camera.capture_interval == 12
    (text,) = warned(result)
    assert '"camera" must be an object' in text
    assert loaded({"camera": []}).problems == ()  # PHP's empty array


def test_the_last_bad_token_is_not_shown_and_the_good_one_stays() -> None:
    good = loaded({"printer_token": "TOKEN_ONE"})
    result = loaded({"printer_token": "TOKEN\nTWO"}, last=good)
    assert result.settings.printer_token == "TOKEN_ONE"
    (text,) = warned(result)
    assert "printer_token" in text
    assert "TOKEN_ONE" not in text
    assert "TWO" not in text


def test_idle_interval_follows_the_other_unless_it_is_set() -> None:
    assert loaded({"intervals": {"status_update": 9}}).settings.intervals.status_idle == 9
    both = {"intervals": {"status_update": 9, "status_idle": 30}}
    assert loaded(both).settings.intervals.status_idle == 30


def test_remarks_are_passed_over() -> None:
    tree = {"_comment": "x", "_info": {"a": 1}, "camera": {"_why": 5, "enabled": False}}
    assert loaded(tree).problems == ()
    assert loaded(tree).settings.camera.enabled is False


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"intervals": {"statusupdate": 5}}, "intervals.status_update"),
        ({"intervals_status_update": 5}, "intervals.status_update"),
        ({"status_update": 5}, "intervals.status_update"),
        ({"timeout": {"server": 5}}, "timeouts"),
        ({"camera": {"url": []}}, "camera.urls"),
        ({"printer_tokn": "x"}, "printer_token"),
        ({"Securty": {}}, "security"),
        ({"zzz": {"a": 1}}, ""),
    ],
)
def test_unknown_names_are_reported_with_the_nearest(written, meant) -> None:
    text = warned(loaded(written))[0]
    assert "there is no option" in text
    assert f"did you mean {meant}?" in text if meant else "ignored" in text


def test_nearest_in_the_words_of_each_file() -> None:
    assert nearest("camera.capture_intervall") == "camera.capture_interval"
    assert nearest("camera_capture_intervall", Origin.MOONRAKER_CONF) == "camera_capture_interval"
    assert nearest("zzzzzz") == ""


def test_the_file_s_name_and_line_stand_in_the_sentence() -> None:
    document = parse('{\n"retries": {\n"max_attempts": 0\n}}')
    result = loaded(document.tree, lines=document.lines, file_name="lab/x.json")
    assert warned(result)[0].startswith("lab/x.json, line 3: retries.max_attempts: 0 ")


def test_rubbish_is_reported_in_bounds() -> None:
    result = loaded({f"key{n}": n for n in range(5000)})
    assert len(result.problems) == MAX_PROBLEMS + 2
    assert result.settings.security.remote_control is RemoteControl.MONITOR  # what was it to be?
    assert "4980 more" in result.problems[-1].text
    assert all(len(p.text) < 700 for p in result.problems)


def test_a_file_of_rubbish_is_not_compared_with_every_known_name(monkeypatch) -> None:
    compared = []
    monkeypatch.setattr(problems, "closest", lambda wanted, names: compared.append(wanted) or "")
    result = loaded({f"rubbish_{number}": 1 for number in range(5000)})
    assert len(set(compared)) <= MAX_PROBLEMS
    assert f"and {5000 - MAX_PROBLEMS} more" in warned(result)[-1]


def test_a_file_of_rubbish_lets_the_event_loop_have_its_turn(monkeypatch) -> None:
    """The file is read in a thread, which holds the interpreter otherwise."""
    rests: list[float] = []
    monkeypatch.setattr(steps.time, "sleep", rests.append)
    loaded({f"rubbish_{n}": n for n in range(5000)})
    assert len(rests) >= 5000 // 200 + MAX_PROBLEMS // 4
    rests.clear()
    merge(ConfValues({"rubbish": "1"}))  # in the event loop, at the start
    assert rests == []


def test_a_token_of_any_length_is_no_burden(monkeypatch) -> None:
    """What could never stand whole in a sentence is not looked for in every form of it."""
    told: list[str] = []
    monkeypatch.setattr(loader.Redactor, "add", lambda _self, secret: told.append(secret))
    loaded({"printer_token": "é" * 120_000, "nonsense": 1}, {"printer_token": "T0KEN"})
    assert told == ["T0KEN", "T0KEN"]


def test_config_file_cannot_be_set_by_the_file_itself() -> None:
    (text,) = warned(loaded({"config_file": "x.json"}))
    assert "moonraker.conf only" in text


def test_what_is_missing_is_said_in_one_sentence_with_place_and_remedy() -> None:
    both = missing(Settings(), "tecmedhub.json")
    for word in ("server_url", "printer_token", "[tecmedhub]", "moonraker.conf", "tecmedhub.json"):
        assert word in both
    one = missing(Settings(server_url="https://h/api.php"))
    assert "printer_token" in one
    assert "server_url" not in one
    assert missing(Settings(server_url="https://h/api.php", printer_token="T")) == ""


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
PATHS = [option.path for option in OPTIONS]


@st.composite
def trees(draw):
    tree = draw(st.dictionaries(st.text() | st.sampled_from(["camera", "security"]), JUNK))
    for path in draw(st.lists(st.sampled_from(PATHS), max_size=6)):
        section, _, name = path.rpartition(".")
        if section and isinstance(tree.setdefault(section, {}), dict):
            tree[section][name] = draw(JUNK)
        elif not section:
            tree[name] = draw(JUNK)
    return tree


@pytest.mark.slow
@given(trees(), trees(), st.dictionaries(st.sampled_from(PATHS), st.text(), max_size=6))
def test_no_tree_raises_and_what_is_in_force_is_always_valid(first, second, conf) -> None:
    filament = conf.pop("printer_data.filament", None)
    if filament is not None:
        conf["printer_data.filament"] = {"material": filament}
    before = loaded(first, conf)
    result = loaded(second, conf, last=before)
    assert set(result.origins) == set(PATHS)
    for problem in result.problems:
        assert problem.text
        assert "\n" not in problem.text
        assert len(problem.text) < 700
    # What is in force would be taken again, value by value.
    from components.settings.model import value_of
    from components.settings.values import read

    for option in OPTIONS:
        value = value_of(result.settings, option.path) if option.in_json else ""
        if value not in ("", ()):
            assert read(option, value).value == value


@given(st.text(alphabet="abcXYZ019-_./+%é", min_size=6), st.sampled_from(PATHS))
def test_a_token_never_stands_in_a_problem(token, path) -> None:
    section, _, name = path.rpartition(".")
    tree = {"printer_token": token, "intervals": {"nosuch": 1}}
    if section:
        tree.setdefault(section, {})[name] = [token] if "urls" in path else token
    elif name != "printer_token":
        tree[name] = token
    for problem in loaded(tree).problems:
        words = re.findall(r'"([^"]*)"', problem.text)
        assert token not in words


def test_every_option_reaches_the_settings() -> None:
    """A section that the building of the settings forgets would stay at its defaults in silence."""
    for option in OPTIONS:
        if not option.in_json or option.kind not in (Kind.PATH, Kind.PROXY, Kind.TEXT):
            continue
        written = {Kind.PATH: "/a/b.pem", Kind.PROXY: "http://a:1"}.get(option.kind, "word")
        loaded = merge(ConfValues({option.path: written}))
        assert value_of(loaded.settings, option.path) == written
