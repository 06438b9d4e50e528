"""`make simulate`: play thousands of stories, or one of them with its trace.

    python -m tests.simulation --seeds 20000     # the next 20000 that this code has not played yet
    python -m tests.simulation --seed 123        # one, shrunk if it fails, with what was seen

Played seeds are remembered for each state of the code in `.artefacts/simulation/`.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from pathlib import Path

from .invariants import judge
from .pinned import TALES, pinned
from .shrink import shrink
from .story import make_story
from .world import play

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / ".artefacts" / "simulation"
SHOWN = 12  # failing stories told of one by one


def code() -> str:
    """What tells this state of plugin and simulation from any other."""
    digest = hashlib.sha256()
    for folder in ("components", "tests/simulation"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.relative_to(ROOT).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def no_rubbish() -> None:
    """Each story is buried by hand: the collector would only look for nothing."""
    gc.disable()


def try_story(seed: str) -> tuple[str, list[tuple[str, str]]]:
    try:
        return seed, [tuple(v) for v in judge(play(make_story(seed)))]
    except BaseException as error:
        return seed, [("world", f"{type(error).__name__}: {error}")]


def play_many(count: int, first: int) -> int:
    KEPT.mkdir(parents=True, exist_ok=True)
    book = KEPT / f"{code()}.jsonl"
    done = (
        {json.loads(line)[0] for line in book.read_text().splitlines()} if book.exists() else set()
    )
    seeds = [str(n) for n in range(first, first + count) if str(n) not in done]
    print(f"{count} stories from {first}: {count - len(seeds)} were played before by this code.")
    rules: Counter[str] = Counter()
    failed = shown = 0
    began = time.monotonic()
    with (
        multiprocessing.Pool(os.cpu_count(), no_rubbish, maxtasksperchild=100) as pool,
        book.open("a") as log,
    ):
        for number, (seed, found) in enumerate(pool.imap_unordered(try_story, seeds, 4), 1):
            log.write(json.dumps([seed, found]) + "\n")
            log.flush()
            for rule in {rule for rule, _ in found}:
                rules[rule] += 1
            if found:
                failed += 1
                if shown < SHOWN:
                    shown += 1
                    for rule, text in found[:4]:
                        print(f"  seed {seed}: {rule}: {text}")
            if number % 500 == 0:
                print(f"  {number} played, {failed} with a violation {dict(rules)}", flush=True)
    played = [json.loads(line) for line in book.read_text().splitlines()]
    wanted = {str(n) for n in range(first, first + count)}
    bad = sorted({seed for seed, found in played if found and seed in wanted}, key=int)
    seconds = time.monotonic() - began
    print(
        f"{count} stories, {len(seeds)} of them now in {seconds:.0f} s:"
        f" {len(bad)} with a violation."
    )
    if bad:
        print(f"  {' '.join(bad[:40])}")
        print("  make simulate SEED=… tells one of them.")
    return 1 if bad else 0


def tell_one(seed: str, whole: bool) -> int:
    story = make_story(seed)
    seen = play(story)
    violations = judge(seen)
    if violations and not whole:
        rule = violations[0].rule
        print(f"{len(violations)} violations; shrinking for {rule} …", flush=True)
        story = shrink(story, rule)
        seen = play(story)
        violations = judge(seen)
    print(story)
    print()
    for fact in seen.facts:
        print(fact)
    print()
    for violation in violations:
        print(violation)
    print(f"{len(violations)} violations.")
    return 1 if violations else 0


def hunt(limit: int) -> int:
    """For `mutants`: how many stories it took to find something, and what. The pinned ones come
    first."""
    no_rubbish()
    for number in range(limit):
        if number < len(TALES):
            name = [*TALES][number]
            found = [tuple(violation) for violation in judge(play(pinned(name)))]
        else:
            name, found = try_story(str(number))
        if found:
            rule, text = found[0]
            print(f"{number + 1} {rule}: {text} ({name})")
            return 0
    print("0 nothing was found")
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="make simulate")
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", default="")
    parser.add_argument("--whole", action="store_true", help="do not shrink a failing story")
    parser.add_argument("--hunt", type=int, default=0, help="until the first violation")
    given = parser.parse_args()
    if given.hunt:
        return hunt(given.hunt)
    if given.seed:
        return tell_one(given.seed, given.whole)
    return play_many(given.seeds, given.first)


if __name__ == "__main__":
    sys.exit(main())
