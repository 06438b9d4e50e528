"""What is known of the line to the hub, and what pictures make of it."""

from __future__ import annotations

import pytest

from components.hub.line import AMPLE, PICTURE_SECONDS, SMALLEST_PICTURE, LineQuality
from components.hub.outcomes import Exchange, Failure


def done(seconds: float) -> Exchange:
    return Exchange(None, "", 200, seconds=seconds)


def lost(failure: Failure, seconds: float) -> Exchange:
    return Exchange(failure, "It failed.", seconds=seconds)


def narrow(rate: float = 8000.0) -> LineQuality:
    line = LineQuality()
    for _ in range(20):
        line.seen(1500, done(0.3))
        line.seen(16_000, done(0.3 + 16_000 / rate))
    return line


def test_a_good_line_spares_nothing() -> None:
    line = LineQuality()
    assert line.picture_limit(100_000) == 100_000
    line.seen(45_000, done(0.02))
    assert (line.picture_limit(100_000), line.rest_after(0.1)) == (100_000, 0.0)
    assert line.as_dict()["spared"] is False


def test_a_narrow_line_has_smaller_and_rarer_pictures() -> None:
    line = narrow()
    assert line.up == pytest.approx(8000.0)
    assert line.round_trip == pytest.approx(0.3)
    assert line.picture_limit(100_000) == pytest.approx(8000 * PICTURE_SECONDS, abs=2)
    assert line.picture_limit(40_000, 2) == pytest.approx(8000, abs=2)
    assert line.picture_limit(40_000, 8) == SMALLEST_PICTURE
    assert line.rest_after(2.0) == pytest.approx(3.0)


def test_what_did_not_go_out_in_time_tells_of_a_narrow_line() -> None:
    line = LineQuality()
    line.seen(100_000, lost(Failure.TIMED_OUT, 10.0))
    assert line.up == 5000.0
    line = LineQuality()
    line.seen(1500, lost(Failure.TIMED_OUT, 10.0))  # as of a hub that hangs
    assert line.up is None


def test_failures_halve_it_and_pass() -> None:
    line = narrow()
    limit = line.picture_limit(100_000)
    for _ in range(4):
        line.seen(1500, lost(Failure.UNREACHABLE, 1.0))
    assert line.picture_limit(100_000) == limit // 2
    for _ in range(10):
        line.seen(1500, done(0.3))
    assert line.picture_limit(100_000) == limit


def test_a_line_that_gets_better_is_found_out() -> None:
    line = narrow()
    for _ in range(20):
        line.seen(16_000, done(0.31))
    assert line.up is not None
    assert line.up > AMPLE
