"""`make demo` itself: what it shows is true, and it says so with its exit code."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.demo import verdict
from tests.rig.hub_records import Status
from tests.rig.klippy import ROOT

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("generation", ["1", "2"])
def test_it_ends_well(generation: str) -> None:
    command = [sys.executable, "-m", "tests.demo", "--generation", generation]
    environment = {**os.environ, "TERM": "dumb"}
    ran = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=350, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "\x1b" not in ran.stdout, "no colours where there is no terminal"
    assert "All as it should be." in ran.stdout
    assert "✘" not in ran.stdout
    assert "/server/tecmedhub/panel" in ran.stdout
    assert "idle → printing → paused → printing → idle" in ran.stdout
    assert "hotend_temp 500 is out of range" in ran.stdout


def statuses(*words: str) -> list[Status]:
    return [
        Status(number, 0.0, 1, word, {"status": word, "print_state": word})
        for number, word in enumerate(words)
    ]


def test_its_verdict_can_be_bad() -> None:
    paused = ("idle", "printing", "printing", "paused", "printing", "idle")
    assert verdict.check_states(statuses(*paused)).ok
    assert not verdict.check_states(statuses("idle", "printing", "error", "idle")).ok
    assert not verdict.check_states(statuses("idle", "printing", "idle")).ok
    assert verdict.check_pause(statuses("printing", "paused")).ok
    assert not verdict.check_pause(statuses("printing")).ok
