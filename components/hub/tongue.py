"""Whether a hub speaks Spanish, by the messages of its replies. Pure."""

from __future__ import annotations

import re

LOOKED_AT = 500  # characters of a message

_LETTERS = re.compile("[áéíóúñ¿¡]", re.IGNORECASE)
_WORDS = frozenset(
    ("impresora", "impresoras", "actualizada", "actualizado", "correctamente", "datos", "archivo")
    + ("archivos", "imagen", "comando", "comandos", "guardado", "enviado", "ninguna", "requerido")
)


def is_spanish(message: str) -> bool:
    """By its letters, and by what such servers say.

    >>> is_spanish("Impresora actualizada"), is_spanish("Token inválido"), is_spanish("saved")
    (True, True, False)
    """
    text = message[:LOOKED_AT].lower()
    return bool(_LETTERS.search(text)) or not _WORDS.isdisjoint(re.findall("[a-z]+", text))
