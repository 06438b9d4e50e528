"""Delivery that cannot lose: replies that are cut, and a Moonraker that is killed just then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.rig.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

Made = Callable[..., Stack]

COMMANDS, KILLS = 200, 20
CROWD = 30  # commands under way: the plugin refuses what comes while 50 wait
FEATURES = {"command_results": True, "events": True, "redeliver": 3}
OPTIONS = {
    "intervals_command_check": 0.5,
    "intervals_command_check_active": 0.5,
    "security_rate_limit_seconds": 0,
    "retries_base_delay": 0.2,
    "retries_exponential_backoff": False,
    "retries_max_attempts": 100,
    "expiry_gcode": 3600,  # how old a command gets here is the test's doing
}


@pytest.mark.parametrize("generation", [1, 2])
def test_each_command_runs_exactly_once(make_stack: Made, generation: int) -> None:
    """Every fifth reply breaks off, and twenty times nobody is left to hear the next."""
    stack = make_stack(generation=generation, features=FEATURES, options=OPTIONS)
    hub, klippy = stack.hub, stack.klippy
    hub.fault("commands", "short", every=5)
    ids: list[Any] = []

    def ended() -> dict[str, str]:
        found = hub.results(stack.token)
        return {str(r.id): r.status for r in found if r.status not in ("received", "running")}

    for number in range(COMMANDS):
        if generation == 1:
            params = {"NAME": f"n{number}"}
            ids.append(hub.queue(stack.token, "macro", macro_name="COUNT", params=params))
        else:
            ids.append(hub.queue2(stack.token, "macro", f"COUNT NAME=n{number}"))
        hub.wait_for(lambda: len(ids) - len(ended()) < CROWD, 120, "fewer under way")
        if number % (COMMANDS // KILLS) == 0:
            hub.wait_for(lambda: not hub.waiting(stack.token), 60, "all to be handed out")
            stack.moonraker.kill()
            stack.moonraker.start()
    hub.clear_faults()

    hub.wait_for(lambda: len(ended()) == COMMANDS, 200, "the end of each command")
    words = ended()
    ran = {number: klippy.count(f"n{number}") for number in range(COMMANDS)}
    assert len(hub.delivered(stack.token)) > COMMANDS  # some were handed out again
    # A kill between the order and Klippy's answer leaves it unknown, and says so.
    unknown = [number for number in ran if words[str(ids[number])] == "interrupted"]
    assert len(unknown) <= KILLS
    assert {n: times for n, times in ran.items() if n not in unknown and times != 1} == {}
    assert all(ran[number] <= 1 for number in unknown)
    assert {words[str(ids[n])] for n in ran if n not in unknown} == {"done"}
