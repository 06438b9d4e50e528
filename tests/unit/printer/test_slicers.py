"""Progress and time left of twenty slicers' files, compared with what is true."""

from __future__ import annotations

import itertools

import pytest

from tests.rig.slicers import LAYERS, SLICERS, errors, play, write


@pytest.mark.parametrize("name", SLICERS)
def test_the_time_left_is_near_the_truth(name: str) -> None:
    progress, left, _ = errors(SLICERS[name])
    assert progress <= 0.04
    assert left <= 0.08


@pytest.mark.parametrize("name", ["PrusaSlicer, M73", "PrusaSlicer", "Cura", "BambuStudio"])
def test_where_the_slicer_tells_its_time_the_pace_is_soon_known(name: str) -> None:
    assert errors(SLICERS[name])[1] <= 0.02


def test_progress_never_falls_but_when_m73_is_given_up() -> None:
    for name, slicer in SLICERS.items():
        told = [course.progress for _, course, _ in play(slicer)]
        falls = [b - a for a, b in itertools.pairwise(told) if b < a - 0.06]
        assert not falls, name


def test_the_files_are_what_they_say() -> None:
    data, truth = write(SLICERS["Cura, CR LF"])
    assert data.count(b";TIME_ELAPSED:") == LAYERS
    assert data.count(b"\n") == data.count(b"\r\n")
    assert truth[-1][1] == pytest.approx(5400)
