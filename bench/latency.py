"""How long a command takes from the hub's queue to Klippy, and a change from Klippy to the hub; and
an emergency stop, while Klippy waits in an M109.

All in one run, the ways alternating: polled at v4's interval, adaptive, long-polled.
"""

from __future__ import annotations

import contextlib
import random
import time
from pathlib import Path

from bench.figures import Figure, spread
from tests.rig.klippy import short_folder
from tests.rig.stack import Stack

PART = "latency"
INTERVAL = 3.0  # seconds: client v4's and our default `intervals.command_check`
# Seconds, median and p95: before anything is handed to Klippy it is asked anew how it is, and it
# answers with its news, four times a second (webhooks.py).
ASKED_FIRST = (0.2, 0.35)
AT_ONCE = 0.2  # seconds that a stop may take once the hub has handed it out
# Of the moments, not of the machine: commands must not keep step with the polls.
RANDOM = random.Random(1)


def measure(quick: bool) -> list[Figure]:
    rounds = 6 if quick else 30
    ways: dict[str, list[float]] = {"polled": [], "adaptive": [], "long-polled": []}
    changes: list[float] = []
    stops: list[tuple[float, float]] = []
    with contextlib.ExitStack() as running:
        stacks = {way: running.enter_context(_stack(running, way)) for way in ways}
        for moment in _moments(rounds):
            for way, stack in stacks.items():
                ways[way].append(_command(stack, way, moment))
                changes.append(_change(stack))
        for _ in range(3 if quick else 8):
            stops.append(_stop(stacks["polled"]))
    waited, handed_out = (max(times) for times in zip(*stops, strict=True))
    stop = "emergency stop, polled every 3 s, slowest"
    polled = INTERVAL / 2 + ASKED_FIRST[0], None
    return [
        *spread(PART, "command, polled every 3 s", ways["polled"], polled),
        *spread(PART, "command, adaptive", ways["adaptive"], (None, None)),
        *spread(PART, "command, long-polled", ways["long-polled"], ASKED_FIRST),
        *spread(PART, "change of state at the hub", changes, (None, 0.4)),
        Figure(PART, stop, waited, "s", INTERVAL + AT_ONCE),
        Figure(PART, f"{stop}, from its hand-out", handed_out, "s", AT_ONCE),
    ]


def _stack(running: contextlib.ExitStack, way: str) -> Stack:
    folder: Path = running.enter_context(short_folder("b"))
    options = {
        "intervals_status_update": 5,
        "intervals_command_check": INTERVAL,
        "intervals_command_check_active": 1 if way == "adaptive" else INTERVAL,
        "security_rate_limit_seconds": 0,
        "camera_enabled": "false",
    }
    features = {"long_poll": 20} if way == "long-polled" else None
    return Stack(folder, options=options, features=features)


def _moments(rounds: int) -> list[float]:
    """Random moments between two polls (0 to 1), one from each of `rounds` equal parts of that
    time: the median of a few draws from the whole says more of the draws than of the plugin.
    """
    moments = [(part + RANDOM.random()) / rounds for part in range(rounds)]
    RANDOM.shuffle(moments)
    return moments


def _command(stack: Stack, way: str, moment: float) -> float:
    """Seconds until Klippy has run a command that the hub queued at that moment between polls."""
    hub, klippy = stack.hub, stack.klippy
    if way == "adaptive":
        # Somebody works at the hub: an earlier command has just been seen.
        first = hub.queue(stack.token, "set_speed", speed=100)
        hub.wait_for(lambda: hub.result(stack.token, first), 20, "the first command's result")
    if way != "long-polled":
        _polled(stack)
    time.sleep(moment * (1.0 if way == "adaptive" else INTERVAL))
    # Klippy echoes it on its console at once; its status answers only four times a second.
    mark = f"bench-{RANDOM.getrandbits(40):x}"
    with klippy.console() as console:
        started = time.monotonic()
        hub.queue(stack.token, "gcode", gcode=f"M118 {mark}")
        console.wait_for(f"echo: {mark}", 30.0)
        return time.monotonic() - started


def _polled(stack: Stack) -> None:
    """Until the plugin asks for commands again."""
    hub, now = stack.hub, time.time()
    hub.wait_for(
        lambda: hub.requests(endpoint="commands", token=stack.token, since=now),
        20,
        "the next poll",
    )


def _change(stack: Stack) -> float:
    """Seconds until the hub has a target that somebody set at the printer."""
    hub = stack.hub
    target = float(RANDOM.randrange(30, 50))
    if hub.status(stack.token)["temp_bed_target"] == target:
        target += 0.5
    started = time.monotonic()
    stack.klippy.gcode(f"M140 S{target}")
    hub.wait_for(lambda: hub.status(stack.token)["temp_bed_target"] == target, 20, "the target")
    return time.monotonic() - started


def _stop(stack: Stack) -> tuple[float, float]:
    """Seconds until Klippy has shut down, from the hub's queue and from the hub's hand-out."""
    hub, klippy = stack.hub, stack.klippy
    hub.queue(stack.token, "gcode", gcode="M109 S250")
    hub.wait_for(lambda: klippy.query("extruder")["target"] == 250, 20, "the M109 to begin")
    time.sleep(RANDOM.uniform(0.0, INTERVAL))
    with klippy.console() as console:
        started = time.time()
        hub.queue(stack.token, "emergency_stop")
        console.wait_for("Klipper state: Shutdown", 30.0)
        ended = time.time()
    handed_out = hub.delivered(stack.token)[-1].time
    klippy.firmware_restart()
    stack.moonraker.wait_klippy()
    return ended - started, ended - handed_out
