"""Middleboxes that forget, servers that hang: hours of them, in virtual time (`virtual.py`)."""

from __future__ import annotations

import asyncio
import gc
import random
import statistics
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.rig.line import Line
from tests.unit.hub.virtual import LoopClock, Plugin, SmallHub, VirtualLoop, open_sockets

COMMANDS = 60


def play(work: Coroutine[Any, Any, None], loop: VirtualLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(work)
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        asyncio.set_event_loop(None)
        loop.close()


@pytest.mark.slow
@pytest.mark.parametrize("redeliver", [0, 15], ids=["forgetful hub", "hub that redelivers"])
@pytest.mark.parametrize("long_poll", [0, 25], ids=["polled", "long-polled"])
@pytest.mark.parametrize("forget", [20.0, 60.0])
def test_sixty_commands_through_a_middlebox_that_forgets(
    forget: float, long_poll: int, redeliver: int
) -> None:
    """Polled (here every 30 s, so that what is kept has been silent for longer than the middlebox
    remembers), none is lost. Long-polled, the first long silence may cost one (it is how the
    plugin learns of the middlebox), but for a hub that hands out again.
    """
    loop = VirtualLoop()

    async def evening() -> None:
        clock = LoopClock(loop)
        announced = {"long_poll": long_poll, "redeliver": redeliver, "command_results": True}
        hub = SmallHub(clock, {"features": announced})
        await hub.listen()
        async with Line(hub.port) as line:
            line.set(forget=forget, delay=0.02)
            plugin = Plugin(clock, line.port, command_check=3.0 if long_poll else 30.0)
            rng = random.Random(int(forget) + long_poll + redeliver)
            queued = {}
            for number in range(COMMANDS):
                await asyncio.sleep(rng.choice((0.1, 2.0, 7.0, 19.0, 28.0, 95.0)))
                queued[f"c{number}"] = clock.monotonic()
                hub.queue(f"c{number}")
            await asyncio.sleep(90.0)
            lost = queued.keys() - plugin.when.keys()
            assert len(lost) <= (1 if long_poll and not redeliver else 0)
            if not redeliver:
                assert len(plugin.arrived) == len(set(plugin.arrived))
            waits = [plugin.when[name] - queued[name] for name in queued if name not in lost]
            assert statistics.median(waits) <= (1.0 if long_poll else 30.0)
            gaps = [b - a for a, b in zip(hub.statuses, hub.statuses[1:], strict=False)]
            assert max(gaps) <= 10.0
            assert statistics.mean(gaps) <= 1.2 * 5.0
            assert plugin.board.warnings == {}
            if long_poll and forget < long_poll:
                assert 0 < line.counters.forgotten <= 3
            await plugin.close()
        hub.close()

    play(evening(), loop)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["hang_accept", "hang", "refuse", "reset", "cut"])
def test_an_hour_of_a_broken_server_leaves_no_socket_open(mode: str) -> None:
    """`hang_accept` is met by https: a handshake that never ends."""
    loop = VirtualLoop()

    async def hour() -> None:
        clock = LoopClock(loop)
        hub = SmallHub(clock, {})
        await hub.listen()
        hub.mode = mode
        if mode == "refuse":
            hub.refuse()
        gc.collect()  # what earlier tests have left
        before = open_sockets()
        plugin = Plugin(clock, hub.port, "https" if mode == "hang_accept" else "http")
        most = 0
        for _ in range(1200):
            await asyncio.sleep(3.0)
            most = max(most, open_sockets() - before)
        assert most <= 6  # three, with both of their ends
        assert plugin.link.connected is False
        if mode != "refuse":
            assert hub.connections >= 120
        await plugin.close()
        await asyncio.sleep(1.0)
        assert open_sockets() == before
        hub.close()

    play(hour(), loop)
