"""By what a hub is known to speak Spanish."""

from __future__ import annotations

import pytest

from components.hub.tongue import is_spanish


@pytest.mark.parametrize(
    "said", ["Impresora actualizada", "Token no válido", "Comandos enviados", "ACCIÓN desconocida"]
)
def test_a_hub_that_answers_in_spanish(said: str) -> None:
    assert is_spanish(said)


@pytest.mark.parametrize("said", ["", "printer updated", "data saved", "OK", "no error"])
def test_a_hub_that_does_not(said: str) -> None:
    assert not is_spanish(said)
