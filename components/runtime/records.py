"""The plain values of the house: `typing.NamedTuple`, under one name."""

from typing import NamedTuple

__all__ = ["NamedTuple"]
