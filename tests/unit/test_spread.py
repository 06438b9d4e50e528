"""How the tests are spread over workers: all of them, the longest first."""

from __future__ import annotations

import random

from tests.spread import ALONE, PIECE, SECONDS, pieces, seconds

NAMES = [
    *(f"tests/stack/test_files.py::test_{number}" for number in range(40)),
    *(f"tests/unit/store/test_ledger.py::test_{number}" for number in range(60)),
    "tests/stack/test_redeliver.py::test_each_command_runs_exactly_once[1]",
    "tests/soak/test_soak.py::test_hours",
]


def test_every_test_is_in_one_piece_whatever_the_order() -> None:
    found = pieces(NAMES)
    assert sorted(found) == sorted(NAMES)
    shuffled = random.Random(1).sample(NAMES, len(NAMES))
    assert pieces(shuffled) == found


def test_what_takes_longest_begins_first_and_the_unit_tests_come_last() -> None:
    found = pieces(NAMES)
    first = sorted(NAMES, key=lambda name: found[name])
    assert first[:2] == [NAMES[-1], NAMES[-2]]
    assert all(name.startswith("tests/unit/") for name in first[-60:])
    weights = {n: sum(seconds(name) for name in NAMES if found[name] == n) for n in found.values()}
    assert [weights[n] for n in sorted(weights)] == sorted(weights.values(), reverse=True)
    assert max(weights[n] for n in sorted(weights)[2:]) < PIECE + ALONE


def test_the_longest_name_that_fits_counts() -> None:
    whole, part = (
        "tests/simulation/",
        "tests/simulation/test_stories.py::test_the_stories_of_the_day",
    )
    assert seconds(f"{whole}test_world.py::test_x") == SECONDS[whole]
    assert seconds(part) == SECONDS[part]
