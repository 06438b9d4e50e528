"""The deployed servers with their drop-ins: much at once, and the real plugin at them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.rig.deployed import DeployedServer

pytestmark = pytest.mark.stack

PRINTERS, COMMANDS = 6, 100  # of each


@pytest.fixture
def running() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.slow
@pytest.mark.parametrize("generation", [1, 2])
def test_six_printers_and_six_hundred_commands(
    generation: int, folder: Path, running: ExitStack
) -> None:
    """Generation 1 without the drop-in's lock loses some of them."""
    server = DeployedServer(folder / "server", generation, LONG_POLL=3)
    running.enter_context(server)
    tokens = [f"T{number}" for number in range(PRINTERS)]
    sent: dict[str, list[Any]] = {token: [] for token in tokens}
    got: dict[str, list[Any]] = {token: [] for token in tokens}
    over = threading.Event()

    def printer(token: str) -> None:
        while True:
            last = over.is_set()
            server.update(token, progress=len(got[token]))
            found = server.poll(token, wait=1, redeliver=1)
            got[token] += [command["id"] for command in found]
            if found:
                results = ({"id": c["id"], "action": "home", "status": "done"} for c in found)
                server.tell(token, *results)
            if last and not found:
                return

    def page(token: str) -> None:
        for _ in range(COMMANDS):
            word = ("home",) if generation == 1 else ("gcode", "G28")
            sent[token].append(server.send(token, *word))

    for token in tokens:
        server.update(token)
    printers = [threading.Thread(target=printer, args=(token,)) for token in tokens]
    pages = [threading.Thread(target=page, args=(token,)) for token in tokens]
    for thread in (*printers, *pages):
        thread.start()
    for thread in pages:
        thread.join(120)
    over.set()
    for thread in printers:
        thread.join(60)
    assert sum(map(len, sent.values())) == PRINTERS * COMMANDS
    assert got == sent
    if generation == 2:
        rows = server.rows("SELECT status, COUNT(*) AS n FROM commands GROUP BY status")
        assert [(row["status"], row["n"]) for row in rows] == [("completed", PRINTERS * COMMANDS)]
