"""Hours that pass in seconds, for every way in which Moonraker waits (tests/rig/hazards.py)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig.hazards import Hazards

# An hour of each; without the tempo this would last until the test's time limit.
WAITS = """
import asyncio, json, select, socket, threading, time

def locked():
    lock = threading.Lock()
    lock.acquire()
    assert not lock.acquire(timeout=3600)

def received():
    here, there = socket.socketpair()
    here.settimeout(3600)
    try:
        here.recv(1)
    except TimeoutError:
        return
    raise AssertionError("something came")

def event():
    asyncio.run(asyncio.sleep(3600))

waits = {
    "sleep": lambda: time.sleep(3600),
    "lock": locked,
    "socket": received,
    "select": lambda: select.select([], [], [], 3600),
    "event loop": event,
}
for name, wait in waits.items():
    before, began = time.time(), time.monotonic()
    wait()
    print(json.dumps([name, before, time.time(), time.monotonic() - began]), flush=True)
"""
COUNT_AND_SLEEP = """
import threading, time
stop = []
def count():
    while not stop:
        pass
busy = threading.Thread(target=count)
busy.start()
for _ in range(50):
    time.sleep(60)  # the interpreter must still be handed from one to the other
stop.append(True)
busy.join()
"""


def _python(hazards: Hazards, code: str) -> str:
    command = [sys.executable, "-c", code]
    environment = {**os.environ, **hazards.environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_every_wait_is_as_long_as_it_says_by_the_clocks_of_the_process(tmp_path: Path) -> None:
    hazards = Hazards(tmp_path)
    hazards.tempo(7200)
    began = hazards.time()
    said = [json.loads(line) for line in _python(hazards, WAITS).splitlines()]
    ended = hazards.time()
    assert [name for name, *_ in said] == ["sleep", "lock", "socket", "select", "event loop"]
    for name, before, after, lasted in said:
        assert lasted >= 3599.9, name
        assert after - before >= 3599.9, name
        assert began <= before <= after <= ended, name


@pytest.mark.slow
def test_threads_still_take_turns(tmp_path: Path) -> None:
    hazards = Hazards(tmp_path)
    hazards.tempo(600)
    _python(hazards, COUNT_AND_SLEEP)


def test_the_clock_goes_on_from_where_it_was_when_the_tempo_changes(tmp_path: Path) -> None:
    hazards = Hazards(tmp_path)
    hazards.tempo(1_000_000)
    before = float(_python(hazards, "import time; print(time.monotonic())"))
    hazards.tempo(1)
    after = float(_python(hazards, "import time; print(time.monotonic())"))
    assert before <= after <= hazards.monotonic()
    assert hazards.time() > before
