"""The sleep between two rounds, and the ring that ends it."""

from __future__ import annotations

import asyncio

from components.runtime.alarm import Alarm
from tests.unit.fakes import FakeClock, settle


async def test_it_sleeps_for_its_time() -> None:
    clock = FakeClock()
    waiting = asyncio.ensure_future(Alarm(clock).wait(5.0))
    await settle()
    clock.advance(4.9)
    await settle()
    assert not waiting.done()
    clock.advance(0.1)
    assert await waiting is False


async def test_a_ring_wakes_everybody_and_is_over_then() -> None:
    clock = FakeClock()
    alarm = Alarm(clock)
    sleepers = [asyncio.ensure_future(alarm.wait(seconds)) for seconds in (5.0, None, 7.0)]
    await settle()
    alarm.ring()
    assert await asyncio.gather(*sleepers) == [True, True, True]
    assert not clock.sleeping
    again = asyncio.ensure_future(alarm.wait(1.0))
    await settle()
    assert not again.done()
    clock.advance(1.0)
    assert await again is False


async def test_a_ring_that_nobody_heard_ends_the_next_wait_unless_it_is_hushed() -> None:
    alarm = Alarm(FakeClock())
    alarm.ring()
    assert await alarm.wait(60.0) is True
    alarm.ring()
    alarm.hush()
    waiting = asyncio.ensure_future(alarm.wait())
    await settle()
    assert not waiting.done()
    waiting.cancel()


async def test_a_wait_given_up_leaves_nothing_behind() -> None:
    clock = FakeClock()
    alarm = Alarm(clock)
    waiting = asyncio.ensure_future(alarm.wait(60.0))
    await settle()
    waiting.cancel()
    await settle()
    assert not clock.sleeping
    alarm.ring()
    assert await alarm.wait() is True, "nobody heard it, so it is kept"
