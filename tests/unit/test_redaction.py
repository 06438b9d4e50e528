"""What the redactor masks by its looks, and what it must leave readable."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from components.runtime.redaction import MASK, Redactor
from components.settings.loader import missing
from components.settings.model import Settings


def test_the_help_for_a_newcomer_stays_readable() -> None:
    sentence = missing(Settings())
    assert '"printer_token": "…"' in sentence
    assert Redactor()(sentence) == sentence


def test_a_token_that_begins_like_the_help_is_masked() -> None:
    assert Redactor()('{"printer_token": "…abc"}') == f'{{"printer_token": "{MASK}"}}'


TOKEN = "TéCMED_Printer/001"


@pytest.mark.parametrize("changed", [str.lower, str.upper, str.swapcase, str.title])
@pytest.mark.parametrize("form", [str, quote, json.dumps], ids=lambda form: form.__name__)
def test_a_token_whose_letter_case_the_hub_changed_is_masked(form, changed) -> None:
    redactor = Redactor()
    redactor.add(TOKEN)
    text = changed(form(TOKEN).strip('"'))
    assert redactor.known(f"No printer {text}.") == f"No printer {MASK}."


def test_a_short_secret_is_masked_in_its_own_case_only() -> None:
    redactor = Redactor()
    redactor.add("Okay")
    assert redactor.known("Okay, it is OKAY.") == f"{MASK}, it is OKAY."


@pytest.mark.parametrize("secret", ["5", "PLA", "Ok"])
def test_a_secret_of_a_few_letters_is_masked_beside_its_name_only(secret) -> None:
    redactor = Redactor()
    redactor.add(secret)
    assert redactor.known(f"fan {secret} %, bed {secret}.") == f"fan {secret} %, bed {secret}."
    for form in ("?a=1&token={}", '{{"printer_token": "{}"}}', "{{'token': '{}'}}", "pwd={}&x"):
        text = form.format(secret)
        assert redactor.known(text) == text.replace(secret, MASK), form
    assert redactor.sealed(f'{{"speed": {secret}}}') == f'{{"speed": {secret}}}'


def test_what_goes_to_the_disk_comes_back_in_its_letter_case() -> None:
    redactor = Redactor()
    redactor.add("TECMED_PRINTER_001")
    text = '{"file": "tecmed_printer_001.gcode", "url": "http://h/?t=TECMED_PRINTER_001"}'
    sealed = redactor.sealed(text)
    assert "TECMED_PRINTER_001" not in sealed
    assert redactor.opened(sealed) == text


def test_a_secret_is_found_though_folding_the_case_depends_on_its_neighbours() -> None:
    redactor = Redactor()
    redactor.add("ΟΔΥΣΣΕΥΣ")
    assert redactor.known("ΟΔΥΣΣΕΥΣΑ") == f"{MASK}Α"


def test_what_is_in_force_is_masked_however_many_came_and_went() -> None:
    redactor = Redactor()
    for number in range(100):
        redactor.add("TECMED_PRINTER_001", "ab", f"a camera's password {number}")
    assert redactor("TECMED_PRINTER_001 pwd=ab") == "******** pwd=********"
    assert "99" not in redactor("a camera's password 99")
