"""Three hundred evenings of today's own, and those that once went wrong."""

from __future__ import annotations

import datetime
import multiprocessing
import os

import pytest

from tests.simulation.__main__ import no_rubbish, try_story
from tests.simulation.invariants import judge
from tests.simulation.pinned import TALES, pinned
from tests.simulation.world import play

STORIES = 300


@pytest.mark.parametrize("name", TALES)
def test_what_once_went_wrong(name: str) -> None:
    assert [str(violation) for violation in judge(play(pinned(name)))] == []


@pytest.mark.timeout(900)  # half a minute on a machine that does nothing else
def test_the_stories_of_the_day() -> None:
    today = datetime.date.today().isoformat()
    seeds = [f"{today}-{n}" for n in range(STORIES)]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count(), no_rubbish) as pool:
        played = pool.map(try_story, seeds, 10)
    failed = [f"{seed}: {rule}: {text}" for seed, found in played for rule, text in found]
    assert len(played) == STORIES
    assert not failed, "\n".join(
        [*failed[:10], f"make simulate SEED={failed[0].split(': ')[0]} tells the first of them"]
    )
