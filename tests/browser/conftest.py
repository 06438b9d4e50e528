from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from .chromium import Chromium


@pytest.fixture
async def browser() -> AsyncIterator[Chromium]:
    async with Chromium() as chromium:
        yield chromium
