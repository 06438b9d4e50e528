from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.unit.files.bench import Bench, FileServer


@pytest_asyncio.fixture
async def server() -> AsyncIterator[FileServer]:
    async with FileServer().running() as running:
        yield running


@pytest_asyncio.fixture
async def bench(tmp_path: Path, server: FileServer) -> AsyncIterator[Bench]:
    async with Bench(tmp_path, server) as ready:
        yield ready
