"""How the rig reads what the plugin says in Spanish: by the catalogue, and by nothing else."""

from __future__ import annotations

import re
from typing import Any

import polib
import pytest

from tests.rig import spanish

PLACE = re.compile(r"\{(\w+)(?:!r)?(:[^}]*)?\}")


def filled(template: str) -> str:
    if re.search("[{}]", PLACE.sub("", template)):
        return template  # its braces are no places
    values: dict[str, Any] = {
        place[1]: 3 if place[2] else f"zq{place[1]}" for place in PLACE.finditer(template)
    }
    return template.format(**values)


@pytest.mark.slow
def test_every_sentence_is_read_back_as_the_one_it_is() -> None:
    seen = 0
    for entry in polib.pofile(str(spanish.PO)):
        if sum(map(str.isalpha, PLACE.sub("", entry.msgstr))) < spanish.WORD:
            continue
        seen += 1
        reading = spanish.read(filled(entry.msgstr))
        assert (reading.english, reading.strange) == (filled(entry.msgid), ()), entry.msgstr
    assert seen > 900


def test_one_within_another_is_read_too() -> None:
    told = "No se puede llegar a a.example (No hay más espacio): revisa la red y el servidor."
    assert spanish.read(f"{told} (desde 2026-11-29 02:30)").english == (
        "a.example cannot be reached (No hay más espacio): check the network and the server."
        " (since 2026-11-29 02:30)"
    )


@pytest.mark.parametrize(
    "text",
    [
        "a.example cannot be reached (no route): check the network and the server.",
        "El disco de /tmp es tan lento que se dejan registros sin guardar: check the SD of it.",
        "Comando 5 del hub: home rechazado: The bed is not clear, and nobody was asked.",
    ],
)
def test_english_is_found_wherever_it_stands(text: str) -> None:
    assert spanish.read(text).strange


@pytest.mark.parametrize(
    "text",
    [
        "Lost communication with MCU 'mcu'",
        "macro fallido: MCU 'mcu' shutdown: ADC out of range This is the fault of it",
        "Klippy no está listo (error: \"Section 'x' is not a valid config section\"): arranca"
        " Klipper en la impresora.",
        "pieza de la impresora (2).gcode",
    ],
)
def test_words_of_others_are_let_be(text: str) -> None:
    assert spanish.read(text).strange == ()
