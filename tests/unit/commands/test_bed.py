"""Which prints `security.require_clear_bed` keeps off an uncleared bed, and who can clear it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from components.printer.snapshot import Job
from components.store.database import Database
from tests.unit.commands.support import Lab, one, printing, ready, until


@pytest_asyncio.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    lab = await Lab(tmp_path, require_clear_bed=True).start()
    lab.local.add("x.gcode")
    yield lab
    await lab.kill()


async def may_print(lab: Lab, number: int) -> bool:
    (result,) = await lab.run(one("print_local", number, file="x.gcode"))
    assert result["status"] == "done" or "tecmedhub_bed_clear" in result["message"]
    return bool(result["status"] == "done")


@pytest.mark.parametrize("end", ["complete", "cancelled", "error"])
async def test_after_a_job_the_bed_must_be_declared_clear(lab: Lab, end: str) -> None:
    assert not lab.commands.bed_needs_clearing
    assert await may_print(lab, 1)
    lab.printer.put(ready(job=Job(state=end, filename="x.gcode")))
    assert lab.commands.bed_needs_clearing
    await until(lambda: lab.flags.get("bed_needs_clearing"))
    await lab.restart()
    assert lab.commands.bed_needs_clearing
    assert not await may_print(lab, 2)
    assert lab.commands.bed_clear("Ana") == ""
    await lab.restart()
    assert not lab.commands.bed_needs_clearing
    assert await may_print(lab, 3)


async def test_a_job_that_ended_while_moonraker_was_down_left_its_part_too(lab: Lab) -> None:
    lab.printer.put(printing())
    assert lab.bed.needs_clearing
    assert not lab.bed.left_uncleared  # it runs
    await lab.restart()
    assert lab.commands.bed_needs_clearing


@pytest.mark.parametrize(
    ("command", "held", "may_print_unseen"),
    [
        (one("print_local", 1, file="x.gcode"), "start", True),
        (one("gcode", 1, gcode="M105"), "M105", True),  # who knows what its macros call
        (one("set_speed", 1, speed=90), "M220", False),
    ],
)
async def test_a_print_of_which_nobody_saw_what_became_needs_clearing(
    lab: Lab, command: dict[str, Any], held: str, may_print_unseen: bool
) -> None:
    lab.printer.hold(held)
    await lab.begin(command)
    assert not lab.commands.bed_needs_clearing
    await lab.restart()
    await until(lambda: lab.results)
    assert lab.result(1)["status"] == "interrupted"
    assert lab.commands.bed_needs_clearing is may_print_unseen
    assert await may_print(lab, 2) is not may_print_unseen


async def test_klippy_went_in_its_midst(lab: Lab) -> None:
    lab.printer.put(printing())
    await lab.printer.firmware_restart()
    await until(lambda: lab.printer.snapshot.ready)
    assert lab.commands.bed_needs_clearing
    assert not await may_print(lab, 1)


async def test_nothing_is_known_before_the_flags_are(tmp_path: Path) -> None:
    lab = Lab(tmp_path, require_clear_bed=True)
    lab.database = Database(tmp_path, lab.board.notices, lab.clock)
    lab.make()
    assert lab.bed.needs_clearing
    assert not lab.bed.left_uncleared


async def test_a_job_that_ran_before_the_first_start_and_one_that_nobody_watched(
    lab: Lab,
) -> None:
    assert lab.commands.bed_clear("Ana") == ""
    lab.bed.look_back(lab.history)
    assert not lab.commands.bed_needs_clearing
    for ended, closed in ((lab.clock.time() - 1, False), (lab.clock.time() + 1, True)):
        lab.bed.look_back(SimpleNamespace(last_end=ended))  # type: ignore[arg-type]
        assert lab.commands.bed_needs_clearing is closed


async def test_it_is_not_cleared_under_a_job(lab: Lab) -> None:
    lab.printer.put(printing())
    for by_macro in (True, False):
        assert "when the job has ended" in lab.commands.bed_clear("Ana", by_macro)
    lab.printer.put(ready(job=Job(state="paused", filename="x.gcode")))
    assert "when the job has ended" in lab.commands.bed_clear("Ana")
    lab.printer.put(ready(job=Job(state="complete", filename="x.gcode")))
    assert lab.commands.bed_needs_clearing
    assert lab.commands.bed_clear("Ana") == ""
    assert not lab.commands.bed_needs_clearing


async def test_the_hub_cannot_clear_it_by_a_macro(lab: Lab) -> None:
    lab.printer.put(printing())
    lab.printer.put(ready(job=Job(state="complete", filename="x.gcode")))
    lab.secure(allowed_macros=("PARK",))
    lab.printer.hold("PARK")
    await lab.take(one("macro", 1, macro_name="PARK"))
    await until(lambda: "PARK" in lab.printer.sent)
    assert "only a person" in lab.commands.bed_clear("a macro", by_macro=True)
    lab.printer._held["PARK"].set()
    await until(lambda: lab.results)
    assert "only a person" in lab.commands.bed_clear("a macro", by_macro=True)
    assert lab.commands.bed_needs_clearing
    lab.clock.advance(11)
    assert lab.commands.bed_clear("a macro", by_macro=True) == ""
    assert not lab.commands.bed_needs_clearing


async def test_a_person_may_while_a_script_of_the_hub_runs(lab: Lab) -> None:
    lab.printer.put(printing())
    lab.printer.put(ready(job=Job(state="complete", filename="x.gcode")))
    await lab.run(one("set_speed", 1, speed=100))
    assert lab.commands.bed_clear("Ana") == ""
