"""The benchmark of downloads can still be run: it is made of this room's test bench."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from bench.download import part, run_plugin
from tests.unit.files.bench import FileServer


@pytest.mark.slow
async def test_a_small_file_can_be_measured(tmp_path: Path) -> None:
    body = part(100_000)
    async with FileServer(body=body).running() as server:
        url = f"{server.origin}/large.gcode"
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
        cost = await asyncio.to_thread(run_plugin, url, tmp_path / "plugin", len(body), md5)
    assert set(cost) == {"seconds", "cpu", "growth", "held"}
