"""TecMedHub for Moonraker: the folder that Moonraker sees as `moonraker.components.tecmedhub`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .tecmedhub import TecMedHub


def load_component(config: Any) -> TecMedHub:
    """Moonraker's entry point; imports the wiring here, so that a room can be imported alone."""
    from .tecmedhub import load_component as load  # noqa: PLC0415

    return load(config)
