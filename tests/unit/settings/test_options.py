"""The table, the model, the example, the JSON template and the documents say the same."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from components.commands.actions import ACTIONS
from components.runtime.messages import in_language, say
from components.settings.caution import GUARDED
from components.settings.conf import ConfValues
from components.settings.json_layer import Layer
from components.settings.jsonc import parse
from components.settings.loader import merge
from components.settings.model import Origin, Settings, value_of
from components.settings.options import BY_PATH, NO_LONGER_NEEDED, OPTIONS, SECTIONS, section_of
from components.settings.template import json_template
from components.settings.values import UNITS, Kind, allowed, read

ROOT = Path(__file__).resolve().parents[3]


def model_paths() -> set[str]:
    paths = set()
    for name, part in Settings()._asdict().items():
        inner = getattr(part, "_fields", None)
        paths |= {f"{name}.{field}" for field in inner} if inner else {name}
    return paths


def test_every_setting_of_the_model_is_an_option_and_the_reverse() -> None:
    assert {option.path for option in OPTIONS if option.in_json} == model_paths()


def test_options_have_unique_names_in_moonraker_conf_all_lower_case() -> None:
    names = [option.name for option in OPTIONS]
    assert len(set(names)) == len(names)
    assert all(name == name.lower() for name in names)


def test_every_text_exists_in_spanish_too() -> None:
    texts = [option.text for option in OPTIONS]
    for text in (*texts, *SECTIONS.values(), *NO_LONGER_NEEDED.values()):
        assert in_language(say(text), "es") != text
    assert {option.unit for option in OPTIONS if option.unit} == set(UNITS)
    assert {section_of(option) for option in OPTIONS} == set(SECTIONS)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.path)
def test_defaults_and_cautious_values_lie_within_their_own_bounds(option) -> None:
    if option.default not in ("",):
        assert read(option, option.default).value == option.default
    if option.cautious is not None:
        assert read(option, option.cautious).value == option.cautious
    assert allowed(option)


def test_with_nothing_written_the_model_s_defaults_are_in_force() -> None:
    loaded = merge(ConfValues({}))
    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {Origin.DEFAULT}
    assert loaded.problems == ()


def test_example_and_documents_are_in_step_with_the_table() -> None:
    ran = subprocess.run(
        [sys.executable, ROOT / "scripts" / "options-doc"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stdout) == (0, "")


def test_the_new_json_file_is_plain_json_and_sets_nothing() -> None:
    names: list[str] = []

    def unique(pairs):
        assert len({name for name, _ in pairs}) == len(pairs)
        names.extend(name for name, _ in pairs)
        return dict(pairs)

    json.loads(json_template(), object_pairs_hook=unique)
    assert {name for name in names if not name.startswith("_")} == {
        *(set(SECTIONS) - {""}),
        *BY_PATH["printer_data.filament"].keys,
    }
    loaded = merge(ConfValues({}), [Layer("tecmedhub.json", parse(json_template()))])
    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {Origin.DEFAULT}
    assert loaded.problems == ()


def test_every_example_of_the_new_json_file_is_set_by_deleting_one_character() -> None:
    text = re.sub(r'(?m)^(\s*)"_([a-z]\w*": )', r'\1"\2', json_template())
    loaded = merge(ConfValues({}), [Layer("tecmedhub.json", parse(text))])
    assert loaded.problems == ()
    for option in OPTIONS:
        if option.in_json:
            assert loaded.origins[option.path] is Origin.JSON, option.path
            if option.default not in ("", (), {}):
                assert value_of(loaded.settings, option.path) == option.default


def test_the_new_json_file_speaks_both_languages() -> None:
    text = json_template()
    for option in OPTIONS:
        if option.in_json:
            assert option.text in text
            assert in_language(say(option.text), "es") in text


def test_only_the_token_is_a_secret_of_the_table() -> None:
    assert [option.path for option in OPTIONS if option.secret] == ["printer_token"]
    assert BY_PATH["printer_token"].kind is Kind.TOKEN
    assert "T0KEN" not in repr(Settings(printer_token="T0KEN"))


def test_the_actions_that_can_be_denied_are_those_there_are() -> None:
    assert set(BY_PATH["security.denied_actions"].choices) == set(ACTIONS)


def test_every_option_of_security_is_guarded_or_limits_nobody() -> None:
    security = {option.path for option in OPTIONS if section_of(option) == "security"}
    # What is switched off at an emergency stop is no limit of the hub's.
    assert security - set(GUARDED) <= {"security.emergency_power_device"}
    assert all(BY_PATH[path].cautious is not None for path in GUARDED)
