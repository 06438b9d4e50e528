"""The deployed servers with their drop-ins: much at once, and the real plugin at them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.rig.deployed import DeployedServer, DeployedStack
from tests.rig.gcode import make_gcode

pytestmark = pytest.mark.stack

PRINTERS, COMMANDS = 6, 100  # of each


@pytest.fixture
def running() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("generation", [1, 2])
def test_six_printers_and_six_hundred_commands(
    generation: int, folder: Path, running: ExitStack
) -> None:
    """Generation 1 without the drop-in's lock loses some of them."""
    # Nothing comes twice, however late a busy machine tells its result.
    server = DeployedServer(folder / "server", generation, LONG_POLL=3, REDELIVER=600)
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


@pytest.mark.timeout(300)
@pytest.mark.parametrize("generation", [1, 2])
def test_the_page_learns_what_became_of_its_commands(
    generation: int, folder: Path, running: ExitStack
) -> None:
    stack = running.enter_context(DeployedStack(folder, generation=generation))
    server, token = stack.server, stack.token

    def ended(number: Any) -> tuple[str, str] | None:
        if generation == 1:
            log = server.log(token, number)
            word, message = log.get("status", ""), log.get("message", "")
            return (word, message) if word in ("done", "failed", "refused") else None
        row = server.row("SELECT status FROM commands WHERE id = ?", number)
        history = server.row("SELECT * FROM command_history WHERE command_id = ?", number)
        if row is None or history is None:
            return None
        return str(row["status"]), str(history["error_message"] or "")

    if generation == 1:
        good, bad = server.send(token, "set_speed", speed="120"), server.send(token, "resume")
    else:
        good = server.send(token, "gcode", "M220 S120")
        bad = server.send(token, "basic", "RESUME")
    word, _ = server.wait_for(lambda: ended(good), 20, "the first one's end")
    assert word == ("done" if generation == 1 else "completed")
    word, message = server.wait_for(lambda: ended(bad), 20, "the second one's end")
    assert word == ("refused" if generation == 1 else "failed")
    assert "Nothing is being printed" in message


@pytest.mark.timeout(300)
def test_three_prints_fill_the_jobs_and_the_statistics(folder: Path, running: ExitStack) -> None:
    """One finished, one cancelled, one failed."""
    stack = running.enter_context(DeployedStack(folder, generation=2))
    server, token = stack.server, stack.token
    weight = "; filament used [mm] = 4000\n; filament used [g] = 12.0\n"
    texts = {
        "buena": make_gcode(seconds=3, layers=2, hotend=60, bed=0) + weight,
        "cancelada": make_gcode(seconds=60, hotend=60, bed=0) + weight,
        "mala": make_gcode(seconds=3, layers=2, hotend=0, bed=0, body="FAILING_MACRO") + weight,
    }
    printer = server.row("SELECT id FROM printers")
    assert printer is not None

    def jobs() -> list[Any]:
        return server.rows("SELECT * FROM jobs ORDER BY id")

    for number, (name, text) in enumerate(texts.items()):
        file = server.add_file(f"{name}.gcode", text.encode())
        body = {"printer_id": printer["id"], "file_id": file}
        server.post("dashboard.php?action=print", body)
        assert [row["status"] for row in jobs()][number:] == ["in_progress"]
        if name == "cancelada":
            stack.klippy.wait_print("printing", 60)
            server.wait_for(
                lambda: (server.status(token) or {}).get("status") == "printing", 30, "the print"
            )
            server.send(token, "basic", "CANCEL")
        server.wait_for(
            lambda number=number: jobs()[number]["status"] != "in_progress", 60, f"{name}'s end"
        )
    assert [row["status"] for row in jobs()] == ["completed", "cancelled", "failed"]
    assert len(jobs()) == 3
    assert jobs()[0]["filament_used"] > 0 and jobs()[0]["duration"] >= 3
    statistics = server.get("dashboard.php", action="statistics")
    assert [statistics[word] for word in ("completed", "cancelled", "failed")] == [1, 1, 1]
    assert statistics["seconds"] > 0 and statistics["grams"] > 0
