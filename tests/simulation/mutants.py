"""`make mutants`: leave one rule of the plugin out at a time, and see whether the stories find it.

    python -m tests.simulation.mutants                  # all, a table
    python -m tests.simulation.mutants --only "expiry"  # those whose name holds this

A mutant is a few replacements in a copy of `components/`; each text has to be there exactly once,
so that a mutant which has become stale says so instead of passing. A rule that another one covers
makes no mutant: leaving it out does no harm.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 2000  # stories within which each has to be found


class Mutant(NamedTuple):
    name: str
    changes: tuple[tuple[str, str, str], ...]  # file, text, what stands there instead


def one(name: str, file: str, text: str, instead: str) -> Mutant:
    return Mutant(name, ((file, text, instead),))


RUNNER, POLICY, LEDGER = "commands/runner.py", "commands/policy.py", "store/ledger.py"
HALT, EMERGENCY, REMOTE = "commands/halt.py", "commands/emergency.py", "commands/remote.py"
INTAKE, ANSWERS, OUTCOME = "commands/intake.py", "commands/answers.py", "commands/outcome.py"

MUTANTS: tuple[Mutant, ...] = (
    # The gate
    Mutant(
        "the last verdict is one of before, not renewed",
        (
            (
                RUNNER,
                "        order = self._verdict(job, sights)\n        if order.alone:",
                "        order = job.order or self._verdict(job, sights)\n        if order.alone:",
            ),
            (
                RUNNER,
                "                if not order.alone:\n                    return",
                "                job.order = order\n                if not order.alone:\n"
                "                    return",
            ),
        ),
    ),
    one(
        "a job that runs is not seen",
        "commands/situation.py",
        "        if self.snapshot.busy:\n            name",
        "        if False:\n            name",
    ),
    one(
        "a person who calibrates is not seen",
        "commands/situation.py",
        "        if self.snapshot.adjusting:\n",
        "        if False:\n",
    ),
    Mutant(
        "a print does not wait until Klippy has done all it was given",
        (
            (
                RUNNER,
                "                if not order.alone:\n                    return",
                "                return",
            ),
            (
                RUNNER,
                "        if order.alone:\n            self._check_alone(job)\n"
                "        if self._answers",
                "        if self._answers",
            ),
        ),
    ),
    one(
        "a busy printer may be given another print",
        POLICY,
        "    if action.name not in PRINTS or not now.snapshot.busy or print_request",
        "    if True or not now.snapshot.busy or print_request",
    ),
    one(
        "a cancel leaves the prints that wait",
        RUNNER,
        "        if order.strikes:\n",
        "        if False:\n",
    ),
    one(
        "what Klippy has not done in 30 s is told as failed",
        ANSWERS,
        "                result = await self._ledger.running(command.key, message)\n",
        "                await self.finish(command, State.FAILED, message)\n"
        "                return\n",
    ),
    one(
        "a print does not wait for the G-code that was asked before it",
        RUNNER,
        "        if job.action.lane is Lane.PRINT and self._lanes.ahead(job, PRINTS_WAIT_FOR):\n",
        "        if False:\n",
    ),
    one(
        "what is about to begin is not seen",
        "commands/lanes.py",
        "            if not other.struck\n",
        "            if False\n",
    ),
    one(
        "what its file paused is cancelled as any other",
        OUTCOME,
        "            if order.insist:\n",
        "            if False:\n",
    ),
    # Time
    one(
        "what a former run left does not wait for the hub's clock",
        RUNNER,
        "        while job.recovered and not self._tools.hub_time_known():\n",
        "        while False:\n",
    ),
    one(
        "the Date of any page is believed",
        "hub/client.py",
        '        if kind != "commands":  # which the hub may have let wait\n',
        '        self._set_clock(exchange, at_once=True)\n        if kind != "commands":\n',
    ),
    one(
        "the age is not looked at",
        RUNNER,
        "        expired = policy.expiry(job.command, ",
        '        expired = "" and policy.expiry(job.command, ',
    ),
    one(
        "G-code may be ten times as old",
        "settings/model.py",
        "    gcode: float = 120.0",
        "    gcode: float = 1200.0",
    ),
    # The disk
    one(
        "an end is told before it is synced",
        LEDGER,
        "self._told(await self._database.lasting(_way(key, status, change",
        "self._told(await self._database.run(_way(key, status, change",
    ),
    one(
        "what is about to be sent is not written down",
        RUNNER,
        "            known = await self._tools.ledger.begin(job.command.key, self._boot)\n",
        "            known = True\n",
    ),
    one(
        "a reply is not synced, nor what is about to be sent",
        "store/sqlite_file.py",
        "        if durable != self._full:",
        "        durable = False\n        if durable != self._full:",
    ),
    one(
        "what was sent before a crash is run again",
        REMOTE,
        "        for row in unfinished:\n            if row.status is not State.RECEIVED:",
        "        for row in ():\n            if row.status is not State.RECEIVED:",
    ),
    one(
        "what another hub asked for runs",
        RUNNER,
        "        self._check_hub(job)\n        self._check_age(job)\n        self._wait_for",
        "        self._check_age(job)\n        self._wait_for",
    ),
    one(
        "a known id is a repetition, whatever its content",
        "commands/wire.py",
        'return f"{command.generation}:{self._scope}:{text}|{digest}"',
        'return f"{command.generation}:{self._scope}:{text}|{digest[:0]}"',
    ),
    one(
        "nothing is ever a repetition",
        LEDGER,
        "    return entry.dated or recent or last.status not in FINAL",
        "    return False",
    ),
    # Stops and halts
    one(
        "what was asked before a stop still runs",
        HALT,
        "        if job.number <= self._stopped:",
        "        if False:",
    ),
    one(
        "what was asked before a shutdown or crash still runs",
        HALT,
        "        if job.action.needs_klippy and job.number <= self._fallen:",
        "        if False:",
    ),
    one(
        "a stop is the same for a day",
        EMERGENCY,
        "REPEATED = 10.0",
        "REPEATED = 86400.0",
    ),
    one(
        "a stop that is handed out again stops again",
        EMERGENCY,
        "UNHEARD = 600.0",
        "UNHEARD = 10.0",
    ),
    one(
        "a stop that Klippy does not take is not told",
        EMERGENCY,
        "TOLD_AFTER = 7.0",
        "TOLD_AFTER = 7000.0",
    ),
    one(
        "a stop is written down, but not sent",
        INTAKE,
        "        if fresh:\n            self._emergency.send(",
        "        if False:\n            self._emergency.send(",
    ),
    one(
        "a reply is overtaken while something in it is refused",
        INTAKE,
        "        ends = [self._enqueue(job) for job in jobs]\n"
        "        for job, end in zip(jobs, ends):\n",
        "        for job in jobs:\n            end = self._enqueue(job)\n",
    ),
    one(
        "what a cancel struck goes on after a crash",
        REMOTE,
        "            struck = row.seq < (cancelled if job.action.name in PRINTS else stopped)\n",
        "            struck = False\n",
    ),
    one(
        "what waited over an unseen start of Klippy still runs",
        HALT,
        "        self._fallen = max(self._fallen, -1)\n",
        "",
    ),
    one(
        "what may end a job does not wait until it is known",
        RUNNER,
        "        if job.action.needs_klippy or job.action.name in MINDS_A_JOB:\n",
        "        if job.action.needs_klippy:\n",
    ),
    one(
        "the power stays on",
        EMERGENCY,
        "POWER_AFTER = 3.5",
        "POWER_AFTER = 3500.0",
    ),
    one(
        "the power goes off with each stop",
        EMERGENCY,
        "            taken = await self._taken(attempt, pause)\n",
        "            await self._taken(attempt, pause)\n            taken = power is not None\n",
    ),
    # The bed
    one(
        "a job that ran unseen leaves the bed clear",
        "printer/jobs.py",
        "        if missed:\n",
        "        if False:\n",
    ),
    one(
        "a job of which only the history tells leaves the bed clear",
        "commands/bed.py",
        "        if self._jobs.open is not None or history.last_end > cleared:\n",
        "        if False:\n",
    ),
    Mutant(
        "the hub declares the bed clear by a macro",
        (
            (
                POLICY,
                "        if effect.for_people:\n",
                "        if False:\n",
            ),
            (
                "commands/bed.py",
                "        if by_macro and self.hub_acts():\n",
                "        if False:\n",
            ),
        ),
    ),
    one(
        "a macro that prints is not held back by the bed",
        POLICY,
        "        if effect.prints and security.require_clear_bed and",
        "        if False and",
    ),
    one(
        "a print is not held back by the bed",
        POLICY,
        "    if now.bed_needs_clearing:\n        return _BED",
        "    if False:\n        return _BED",
    ),
    # The operator
    one(
        "the switch at the printer is not looked at",
        POLICY,
        "    if now.switched_off_by and action.level is not RemoteControl.MONITOR:",
        "    if False:",
    ),
    one(
        "remote_control is not looked at",
        POLICY,
        "    if LEVELS.index(level) >= LEVELS.index(action.level):",
        "    if True:",
    ),
    one(
        "denied_actions is not looked at",
        POLICY,
        "    if any(fnmatch.fnmatchcase(action.name, pattern) for pattern in denied):",
        "    if False:",
    ),
    # The hub
    one(
        "a failing hub is not asked every 30 s",
        "hub/link.py",
        "LONGEST_DEAFNESS = 30.0",
        "LONGEST_DEAFNESS = 300.0",
    ),
    one(
        "a queue that does not start is said to",
        "commands/orders.py",
        '        if queue.automatic and queue.state != "paused":\n',
        "        if True:\n",
    ),
    # The further actions
    one(
        "a place beyond the axes is moved to",
        "commands/further.py",
        "        targets[index] = start + read_number(command.params, bounds)\n",
        "        targets[index] = start + float(command.params[axis])\n",
    ),
    one(
        "the operator's bounds are not held to",
        "commands/own.py",
        "        return float(read_number({wanted.name: given}, bounds))\n",
        "        return float(given)\n",
    ),
    one(
        "what the operator marked as dangerous is not",
        "commands/own.py",
        "        if action.danger\n",
        "        if False\n",
    ),
    one(
        "a light of the operator's own is set",
        "commands/further.py",
        "(short, pattern) for pattern in security.allowed_pins)",
        '(short, pattern) for pattern in ("*",))',
    ),
    one(
        "a light is brighter than it can be",
        "commands/further.py",
        'Parameter(colour, 0, 1, "")',
        'Parameter(colour, 0, 9, "")',
    ),
    one(
        "an object need not be the job's",
        "commands/further.py",
        '    wanted = next((one for one in known if one.upper() == name.upper()), "")\n',
        "    wanted = name.upper()\n",
    ),
    one(
        "an object waits in Klippy's queue, where another job may begin",
        "commands/further.py",
        "        alone=True,  # behind somebody's script",
        "        alone=False,  # behind somebody's script",
    ),
    one(
        "an object is left out of the job after the one that was meant",
        POLICY,
        " and now.age > job.total_duration - NEWS_WITHIN\n",
        " and False\n",
    ),
    one(
        "all entries of a name are taken out of the queue",
        "printer/verbs.py",
        "                await queue.delete_job([_entry(queue, job)])\n",
        "                _entry(queue, job)\n"
        "                await queue.delete_job(\n"
        "                    [i for i, one in queue.queued_jobs.items() if job in (i, str(one))]\n"
        "                )\n",
    ),
    one(
        "what is just being started is told as taken out of the queue",
        "printer/verbs.py",
        "    left = [id_ for id_ in named if id_ not in _starting(queue)[:1]]\n",
        "    left = named\n",
    ),
    one(
        "a file that somebody has saved since is deleted",
        "files/deleting.py",
        "        disk = await self._inventory.unchanged(row)\n        if disk is None:",
        "        from .gcode_root import look_up\n\n"
        "        disk = look_up(self._store.root, row.path)\n        if disk is None:",
    ),
    Mutant(
        "a file that is in use is deleted",
        (
            (
                "files/deleting.py",
                "        used = self._store.why_not_replace(row.path)\n",
                '        used = ""\n',
            ),
            (
                "files/deleting.py",
                "self._placing.remove(disk, self._store.why_not_replace, check)",
                'self._placing.remove(disk, lambda path, loaded: "", check)',
            ),
        ),
    ),
    one(
        "a file is deleted though the switch was thrown meanwhile",
        "files/placing.py",
        "            check()\n",
        "",
    ),
    one(
        "Klippy is not asked what it has open before a file is deleted",
        "files/placing.py",
        "lambda: keep(loaded)",
        "lambda: keep(None)",
    ),
    one(
        "a spool that Spoolman has not is chosen",
        "printer/spools.py",
        "        if ident and await self._ask(ident) is None:\n",
        "        if False:\n",
    ),
    one(
        "a spool is told as chosen, whatever is active by then",
        "printer/spools.py",
        "        if (self.active or 0) != ident:  # somebody",
        "        if False:  # somebody",
    ),
)


class Found(NamedTuple):
    name: str
    stories: int  # 0: not found, or stale
    told: str


def hunt(mutant: Mutant, limit: int) -> Found:
    """Play stories against a copy with this change until one is told to be wrong."""
    folder = Path(tempfile.mkdtemp(prefix="mutant-"))
    try:
        shutil.copytree(
            ROOT / "components", folder / "components", ignore=shutil.ignore_patterns("__pycache__")
        )
        (folder / "tests").symlink_to(ROOT / "tests")
        for file, text, instead in mutant.changes:
            path = folder / "components" / file
            source = path.read_text(encoding="utf-8")
            if source.count(text) != 1:
                return Found(
                    mutant.name, 0, f"STALE: {file} holds its text {source.count(text)} times"
                )
            path.write_text(source.replace(text, instead), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "tests.simulation", "--hunt", str(limit)],
            cwd=folder,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        count, _, told = done.stdout.strip().partition(" ")
        if not count.isdigit():
            return Found(mutant.name, 0, f"BROKEN: {done.stderr.strip()[-200:]}")
        return Found(mutant.name, int(count), told)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants")
    parser.add_argument("--only", default="")
    parser.add_argument("--limit", type=int, default=LIMIT)
    given = parser.parse_args()
    chosen = [m for m in MUTANTS if given.only in m.name]
    missed = 0
    with multiprocessing.Pool(os.cpu_count()) as pool:
        print(f"{'left out or changed':<58} {'stories':>7}  the first that found it", flush=True)
        for found in pool.imap_unordered(functools.partial(hunt, limit=given.limit), chosen):
            missed += not found.stories
            stories = str(found.stories) if found.stories else "-"
            print(f"{found.name:<58} {stories:>7}  {found.told[:110]}", flush=True)
    print(
        f"{len(chosen) - missed} of {len(chosen)} mutants found within {given.limit} stories each."
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
