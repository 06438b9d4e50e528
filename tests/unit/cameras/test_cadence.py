"""When a picture is worth its bytes."""

from __future__ import annotations

from typing import Any

import pytest

from components.cameras.cadence import (
    KEEPALIVE,
    Allowance,
    Reason,
    active,
    event_between,
    is_change,
    worth_sending,
)
from components.printer.snapshot import Heater, Job, KlippyState, Snapshot

IDLE = Snapshot(klippy=KlippyState.READY, job=Job(state="standby"))
PRINTING = Snapshot(klippy=KlippyState.READY, job=Job(state="printing", filename="a.gcode"))
PAUSED = PRINTING._replace(job=PRINTING.job._replace(state="paused"))
HOT = IDLE._replace(heaters={"extruder": Heater("extruder", 40.0, 210.0, 1.0)})


def job(state: str) -> Snapshot:
    return PRINTING._replace(job=PRINTING.job._replace(state=state))


def sending(**given: Any) -> Reason | None:
    facts: dict[str, Any] = {
        "is_active": False,
        "now": 1000.0,
        "sent_at": 990.0,
        "scene_differs": False,
        "allowance": Allowance(at=1000.0),
    }
    return worth_sending(**{**facts, **given})


def test_the_first_picture_is_always_sent() -> None:
    assert sending(sent_at=None) is Reason.FIRST


def test_an_idle_scene_that_stays_the_same_is_sent_every_ten_minutes_only() -> None:
    assert sending(now=1000.0, sent_at=1000.0 - KEEPALIVE + 1) is None
    assert sending(now=1000.0, sent_at=1000.0 - KEEPALIVE) is Reason.KEEPALIVE


def test_a_changed_scene_is_sent_at_once_while_the_allowance_lasts() -> None:
    allowance = Allowance(at=1000.0)
    assert sending(scene_differs=True, allowance=allowance) is Reason.CHANGED
    allowance = allowance.spent(1000.0).spent(1000.0)
    assert sending(scene_differs=True, allowance=allowance) is None
    assert sending(scene_differs=True, allowance=allowance, is_active=True) is Reason.INTERVAL


def test_even_a_scene_that_never_rests_costs_a_tenth_of_one_picture_each_thirty_seconds() -> None:
    sent, last, allowance = 0, 0.0, Allowance(at=0.0)
    for now in range(30, 3601, 30):
        reason = worth_sending(
            is_active=False, now=now, sent_at=last, scene_differs=True, allowance=allowance
        )
        if reason is not None:
            sent += 1
            last = now
            if reason is Reason.CHANGED:
                allowance = allowance.spent(now)
    assert 6 < sent <= 3600 / 30 / 10


def test_a_jump_back_of_the_clock_earns_nothing() -> None:
    spent = Allowance(at=1000.0).spent(1000.0).spent(1000.0)
    assert not spent.allows(500.0)


@pytest.mark.parametrize(
    ("snapshot", "changed_ago", "expected"),
    [
        (IDLE, None, False),
        (IDLE, 10.0, True),
        (IDLE, 61.0, False),
        (PRINTING, None, True),
        (PAUSED, None, False),
        (HOT, None, True),
        (HOT._replace(klippy=KlippyState.SHUTDOWN), None, False),
    ],
)
def test_active_is_printing_heating_or_just_changed(
    snapshot: Snapshot, changed_ago: float | None, expected: bool
) -> None:
    changed_at = None if changed_ago is None else 500.0 - changed_ago
    assert active(snapshot, 500.0, changed_at) is expected


@pytest.mark.parametrize(
    ("old", "new", "event"),
    [
        (IDLE, PRINTING, Reason.STARTED),
        (job("complete"), PRINTING, Reason.STARTED),
        (PRINTING, PAUSED, Reason.PAUSED),
        (PAUSED, PRINTING, None),
        (PRINTING, job("complete"), Reason.FINISHED),
        (PRINTING, job("cancelled"), Reason.FAILED),
        (PAUSED, job("cancelled"), Reason.FAILED),
        (PRINTING, job("error"), Reason.FAILED),
        (PRINTING, PRINTING._replace(klippy=KlippyState.SHUTDOWN), Reason.FAILED),
        (PRINTING, Snapshot(), Reason.FAILED),
        (IDLE, Snapshot(), None),
        (Snapshot(), PRINTING, None),  # Moonraker has just found it under way
        (job("complete"), IDLE, None),
        (PRINTING, PRINTING, None),
    ],
)
def test_events_that_deserve_a_picture(old: Snapshot, new: Snapshot, event: Reason | None) -> None:
    assert event_between(old, new) is event


def test_what_counts_as_a_change() -> None:
    assert is_change(IDLE, HOT)
    assert is_change(IDLE, PRINTING)
    assert not is_change(PRINTING, PRINTING._replace(fan_speed=0.5, speed_factor=1.2))
