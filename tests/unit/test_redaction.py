"""What the redactor masks by its looks, and what it must leave readable."""

from __future__ import annotations

from components.runtime.redaction import MASK, Redactor
from components.settings.loader import missing
from components.settings.model import Settings


def test_the_help_for_a_newcomer_stays_readable() -> None:
    sentence = missing(Settings())
    assert '"printer_token": "…"' in sentence
    assert Redactor()(sentence) == sentence


def test_a_token_that_begins_like_the_help_is_masked() -> None:
    assert Redactor()('{"printer_token": "…abc"}') == f'{{"printer_token": "{MASK}"}}'
