"""The deployed servers with their drop-ins, asked as the plugin asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.rig.deployed import DeployedServer
from tests.rig.php_server import php_available

collect_ignore_glob = [] if php_available() else ["test_*.py"]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., DeployedServer]]:
    with ExitStack() as running:

        def make(generation: int, **arguments: Any) -> DeployedServer:
            server = DeployedServer(tmp_path / f"server{generation}", generation, **arguments)
            return running.enter_context(server)

        yield make
