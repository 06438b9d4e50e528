"""News with measure: at once after rest, and never more than one status in two seconds."""

from __future__ import annotations

import pytest

from components.printer.news import MEASURE, Measure
from tests.unit.fakes import FakeClock


class Bench:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.later: list[float] = []
        self.measure = Measure(self.clock, lambda: self.later.append(self.clock.monotonic()))
        self.speed = 0.0

    def fan(self, speed: float) -> bool:
        before, self.speed = {"speed": self.speed}, speed
        return self.measure.at_once("fan", before, {"speed": speed})


async def test_a_fan_is_news_when_it_goes_on_and_off() -> None:
    bench = Bench()
    assert bench.fan(0.5)
    bench.clock.advance(MEASURE)
    assert bench.fan(0.0)


async def test_a_slicer_that_changes_the_fan_all_the_time_sends_nothing_until_it_rests() -> None:
    bench = Bench()
    assert bench.fan(0.5)
    for number in range(20):
        bench.clock.advance(0.3)
        assert not bench.fan(0.3 + number / 100)
    assert bench.later == []
    bench.clock.advance(MEASURE)
    assert len(bench.later) == 1


async def test_flapping_is_told_once_in_two_seconds() -> None:
    bench = Bench()
    told = 0
    for number in range(20):
        told += bench.fan(float(number % 2))
        bench.clock.advance(0.5)
    assert told + len(bench.later) <= 20 * 0.5 / MEASURE + 1
    assert told + len(bench.later) >= 3


@pytest.mark.parametrize(
    ("name", "field"), [("print_stats", "state"), ("extruder1", "target"), ("webhooks", "state")]
)
async def test_states_and_targets_are_always_news(name: str, field: str) -> None:
    bench = Bench()
    assert all(bench.measure.at_once(name, {field: n}, {field: n + 1}) for n in range(5))


async def test_a_gone_klippys_news_is_forgotten() -> None:
    bench = Bench()
    bench.fan(0.5)
    bench.fan(0.6)
    bench.measure.forget()
    bench.clock.advance(10)
    assert bench.later == []
    assert not bench.clock.sleeping
