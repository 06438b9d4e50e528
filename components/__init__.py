"""TecMedHub for Moonraker: the folder that Moonraker sees as `moonraker.components.tecmedhub`."""

from .tecmedhub import load_component

__all__ = ["load_component"]
