"""What goes along when it has changed, and once a minute."""

from __future__ import annotations

from typing import Any

from components.status.seldom import EVERY, OFFERS_EVERY, Seldom
from tests.unit.fakes import FakeClock

BODY: dict[str, Any] = {
    "status": "idle",
    "files": [],
    "history": [{"job": 1}],
    "client": {"updates_sent": 1},
    "disk": {"free": 5},
}
ALWAYS = {"status", "files"}


def test_what_the_hub_has_taken_is_left_out_until_it_changes_or_a_minute_is_over() -> None:
    clock = FakeClock()
    seldom = Seldom(clock)
    sent = seldom.without(BODY, "hub")
    assert sent == BODY
    assert seldom.without(BODY, "hub") == BODY  # it has not arrived yet
    seldom.delivered(sent)
    assert set(seldom.without(BODY, "hub")) == ALWAYS
    clock.advance(EVERY / 2)
    changed = {**BODY, "history": [], "client": {"updates_sent": 9}, "disk": {"free": 4}}
    sent = seldom.without(changed, "hub")
    assert set(sent) == {*ALWAYS, "history"}
    seldom.delivered(sent)
    clock.advance(EVERY / 2)
    sent = seldom.without(changed, "hub")
    assert set(sent) == {*ALWAYS, "client", "disk"}
    seldom.delivered(sent)
    clock.advance(EVERY / 2)
    assert set(seldom.without(changed, "hub")) == {*ALWAYS, "history"}


def test_another_hub_is_told_all_of_it() -> None:
    seldom = Seldom(FakeClock())
    seldom.delivered(seldom.without(BODY, "hub"))
    assert seldom.without(BODY, "another") == BODY


def test_what_the_printer_can_do_goes_along_every_ten_minutes_or_when_it_has_changed() -> None:
    clock = FakeClock()
    seldom = Seldom(clock)
    body = {**BODY, "client": {"updates_sent": 1, "actions": ["home"]}}
    sent = seldom.without(body, "hub")
    assert sent == body
    seldom.delivered(sent)
    clock.advance(EVERY)
    sent = seldom.without(body, "hub")
    assert sent["client"] == {"updates_sent": 1}
    seldom.delivered(sent)
    clock.advance(EVERY)
    more = {**body, "client": {"updates_sent": 1, "actions": ["home", "move"]}}
    assert seldom.without(more, "hub")["client"] == more["client"]
    clock.advance(OFFERS_EVERY)
    assert seldom.without(body, "hub")["client"] == body["client"]
