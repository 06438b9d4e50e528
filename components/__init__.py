"""TecMedHub for Moonraker: the folder that Moonraker sees as `moonraker.components.tecmedhub`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .tecmedhub import TecMedHub


def load_component(config: Any) -> TecMedHub:
    """Moonraker's entry point. The wiring is imported here, so that a single room can be imported without the others."""
    from .tecmedhub import load_component as load

    return load(config)
