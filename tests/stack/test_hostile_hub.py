"""A hub that means harm, for some hundreds of replies: nothing comes of it. `python -m
tests.rig.hostile_hub` is the same for ten thousand.
"""

from __future__ import annotations

import pytest

from tests.rig import hostile_hub

pytestmark = pytest.mark.stack


def test_nothing_that_a_hostile_hub_says_reaches_anything() -> None:
    shown = hostile_hub.run(500, 2.5)
    assert any("img src=x" in text for text in shown)  # its words are told, as words
