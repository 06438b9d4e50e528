"""One soak: warm-up, hours with faults, a long outage; and what it must have cost at the most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.rig.waiting import RigError, wait_until
from tests.soak.house import HOUR, MIB, House, Size, Written
from tests.soak.life import Life, check_counts, lost_commands, missing_numbers, unknown_jobs

#: What may come of it, whatever its length. Seen in 24 hours: see docs/robustness.md.
GROWTH = MIB  # of the resident memory after the warm-up, a bare Moonraker's growth taken off
OBJECTS = 1000  # more Python objects than after the warm-up
LOG_OF_OUTAGE = 100_000  # bytes a day while the hub is away
LOG_OF_STORM = 1_000_000  # bytes a day with a fault every eight minutes and 700 commands
HURRY = 4  # how much faster an outage goes by: there is little to do
JOB_EVERY = 2 * HOUR  # in the outage


@dataclass(frozen=True)
class Found:
    warm: Size
    after_storm: Size
    after_outage: Size
    storm: Written
    outage: Written
    life: Life

    def __str__(self) -> str:
        return "\n".join(
            (
                f"after the warm-up: {self.warm}",
                f"after the faults:  {self.after_storm}",
                f"after the outage:  {self.after_outage}",
                f"growth: {self.grown(self.after_storm) / MIB:.2f} MiB, after the outage "
                f"{self.grown(self.after_outage) / MIB:.2f} MiB",
                f"log with faults: {self.storm}",
                f"log of the outage: {self.outage}",
                f"commands: {len(self.life.queued)}, of which the way to the printer was doubtful: "
                f"{len(self.life.house.faults.doubtful)}; {self.life.done}",
            )
        )

    def grown(self, later: Size) -> float:
        """Bytes, Moonraker's own growth taken off."""
        own = max(later.bare - self.warm.bare, 0.0)
        return later.resident - self.warm.resident - own


def soak(
    folder: Path,
    *,
    tempo: float,
    warm_up: float,
    hours: float,
    outage: float,
    seed: int,
    tell: Callable[[str], None] | None = None,
) -> Found:
    """Live through it, and check it. The durations are hours; the warm-up is that many of either.

    Raises AssertionError with all that was measured.
    """
    say = tell or (lambda text: None)
    with House(folder, tempo=tempo) as house:
        life = Life(house, seed)
        life.prepare()
        life.live(warm_up, tell=tell)
        house.peace()
        _outage(house, life, warm_up)
        house.peace()
        warm = house.size()
        say(f"after the warm-up: {warm}")
        with house.writing() as storm:
            life.live(hours, tell=tell)
            house.peace()
        after_storm = house.size()
        say(f"after the faults: {after_storm}")
        with house.writing() as away:
            _outage(house, life, outage)
        house.peace()
        after_outage = house.size()
        found = Found(warm, after_storm, after_outage, storm[0], away[0], life)
        say(str(found))
        _check(house, found)
        return found


def _outage(house: House, life: Life, hours: float) -> None:
    """The hub is away; jobs are printed all the same."""
    tempo = house.tempo
    house.faults.refuse()
    house.hurry(tempo * HURRY)
    end = house.now() + hours * HOUR
    while house.now() < end:
        life.print_one()
        house.pass_time(min(JOB_EVERY, max(end - house.now(), 0.0)))
    house.hurry(tempo)


def _check(house: House, found: Found) -> None:
    text = str(found)
    life = found.life
    for later in (found.after_storm, found.after_outage):
        assert found.grown(later) < GROWTH, text
        assert later.objects - found.warm.objects < OBJECTS, text
        _check_belongings(house, found.warm.belongings, later.belongings)
    for written, limit in ((found.outage, LOG_OF_OUTAGE), (found.storm, LOG_OF_STORM)):
        assert written.a_day < limit, f"{text}\n{written.own}\n{written.moonraker}"
    # Nothing was lost, nothing done twice.
    lost = lost_commands(life)
    assert not lost, f"{lost}\n{text}"
    check_counts(life)
    unknown = unknown_jobs(life)
    assert not unknown, f"{unknown}\n{text}"
    missing = missing_numbers(life)
    assert not missing, f"{missing}\n{text}"
    faults = house.faults_in_log()
    assert not faults, faults[0]
    failures = house.status()["task_failures"]
    assert not failures, failures


def _check_belongings(house: House, before: dict[str, Any], after: dict[str, Any]) -> None:
    """No more of anything than after the warm-up; what is under way at a moment may end first."""

    def more(now: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, held in now.items():
            if isinstance(held, list):
                left = list(held)
                for one in before[name]:
                    if one in left:
                        left.remove(one)
                if left:
                    found[name] = left
            elif held > before[name]:
                found[name] = f"{held} instead of {before[name]}"
        return found

    if not more(after):
        return
    try:
        wait_until(lambda: not more(house.probe()), 30, "what was begun to end")
    except RigError:
        raise AssertionError(f"left behind: {more(house.probe())}") from None


__all__ = ["GROWTH", "LOG_OF_OUTAGE", "LOG_OF_STORM", "Found", "soak"]
