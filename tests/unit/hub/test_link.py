"""Who may ask the hub, when, and what people see of its state."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from components.hub.backoff import LONGEST, Backoff
from components.hub.client import Reply
from components.hub.link import LONGEST_DEAFNESS, Link
from components.hub.outcomes import Failure
from components.settings.model import Intervals, LiveSettings, Retries, Settings
from tests.unit.fakes import Board, FakeClock

OK = Reply(True, "")
SETTINGS = Settings(server_url="http://h/api.php", printer_token="T")


def failed(failure: Failure, **more: Any) -> Reply:
    return Reply(False, f"It failed: {failure.value}.", failure=failure, **more)


class Bench:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.board = Board(self.clock)
        self.live = LiveSettings(SETTINGS)
        self.link = Link(self.live, self.board.notices, self.clock, random.Random(7))
        self.changes: list[tuple[bool, float]] = []
        self.link.subscribe(lambda connected, seconds: self.changes.append((connected, seconds)))


def test_the_documented_retries_come_first() -> None:
    settings = Settings(retries=Retries(max_attempts=3, base_delay=2.0))
    backoff = Backoff(lambda: settings, random.Random(1))
    for expected in (2.0, 4.0, 8.0):
        assert 0.75 * expected <= backoff.failed() <= expected


def test_without_doubling_each_wait_is_the_base() -> None:
    settings = Settings(retries=Retries(max_attempts=3, exponential_backoff=False, base_delay=4.0))
    backoff = Backoff(lambda: settings, random.Random(1))
    assert all(3.0 <= backoff.failed() <= 4.0 for _ in range(3))


def test_then_for_ever_at_random_moments_up_to_a_minute() -> None:
    settings = Settings(
        retries=Retries(max_attempts=2), intervals=Intervals(reconnect_attempt=10.0)
    )
    backoff = Backoff(lambda: settings, random.Random(1))
    waits = [backoff.failed() for _ in range(1000)][2:]
    assert all(10.0 <= wait <= LONGEST for wait in waits)
    assert max(waits) - min(waits) > 45.0  # spread, or a fleet would return in step


def test_one_success_starts_from_the_beginning() -> None:
    backoff = Backoff(lambda: Settings(retries=Retries(base_delay=1.0)), random.Random(1))
    for _ in range(20):
        backoff.failed()
    backoff.succeeded()
    assert backoff.failed() <= 1.0


def test_a_stuck_endpoint_holds_back_only_itself() -> None:
    bench = Bench()
    bench.link.ended("commands", failed(Failure.TIMED_OUT))
    assert bench.link.retry_in("commands") > 0
    assert bench.link.retry_in("status") == 0


@pytest.mark.parametrize("failure", [Failure.DNS, Failure.UNREACHABLE, Failure.TLS])
def test_a_dead_network_holds_back_all(failure: Failure) -> None:
    bench = Bench()
    bench.link.ended("status", failed(failure))
    assert bench.link.retry_in("commands") == bench.link.retry_in("status") > 0


async def test_all_go_on_at_once_when_the_network_is_back() -> None:
    bench = Bench()
    for _ in range(8):
        bench.link.ended("status", failed(Failure.UNREACHABLE))
        bench.clock.advance(bench.link.retry_in("status"))
    bench.link.ended("status", failed(Failure.UNREACHABLE))
    waiting = asyncio.ensure_future(bench.link.ready("commands"))
    await asyncio.sleep(0)
    assert not waiting.done()
    bench.link.ended("status", OK)
    await asyncio.wait_for(waiting, 5)


def test_both_channels_of_one_round_count_once() -> None:
    one, two = Bench(), Bench()
    one.link.ended("status", failed(Failure.DNS))
    two.link.ended("status", failed(Failure.DNS))
    two.link.ended("commands", failed(Failure.DNS))
    assert one.link.retry_in("status") == two.link.retry_in("status")


@pytest.mark.parametrize("seconds", [1.0, 60.0, 900.0])
def test_retry_after_is_never_undercut_and_holds_back_its_own_channel(seconds: float) -> None:
    bench = Bench()
    bench.link.ended("status", failed(Failure.BUSY, retry_after=seconds))
    assert seconds <= bench.link.retry_in("status") <= seconds * 1.25 + 15
    assert bench.link.retry_in("commands") == 0


@pytest.mark.parametrize("failure", [Failure.BUSY, Failure.UNREACHABLE, Failure.STATUS])
def test_commands_are_asked_for_every_half_minute_whatever_fails(failure: Failure) -> None:
    bench = Bench()
    for _ in range(20):
        bench.link.ended("status", failed(failure, retry_after=900.0))
        bench.link.ended("commands", failed(failure, retry_after=900.0))
        assert 0 < bench.link.retry_in("commands") <= LONGEST_DEAFNESS
        bench.clock.advance(bench.link.retry_in("commands"))


def test_new_settings_begin_anew_and_what_is_told_of_the_old_ones_counts_no_more() -> None:
    bench = Bench()
    for _ in range(8):
        for channel in ("status", "commands"):
            bench.link.ended(channel, failed(Failure.UNREACHABLE))
            bench.link.ended(channel, failed(Failure.STATUS))
            bench.clock.advance(bench.link.retry_in(channel))
    bench.live.replace(SETTINGS._replace(printer_token="T2", retries=Retries(base_delay=1.0)))
    assert [bench.link.retry_in(channel) for channel in ("status", "commands")] == [0.0, 0.0]
    bench.link.ended("status", failed(Failure.REFUSED, stale=True))
    assert bench.link.retry_in("status") == 0.0
    bench.link.ended("status", failed(Failure.STATUS))
    assert bench.link.retry_in("status") <= 1.0
    bench.link.ended("commands", failed(Failure.UNREACHABLE))
    assert bench.link.retry_in("commands") <= 1.0


async def test_generation_2_is_asked_for_commands_once_it_knows_the_printer() -> None:
    bench = Bench()
    bench.live.replace(SETTINGS._replace(server_url="http://h/update.php"))
    waiting = asyncio.ensure_future(bench.link.ready("commands"))
    await asyncio.sleep(0)
    assert not waiting.done()
    bench.link.ended("status", failed(Failure.STATUS))
    await asyncio.sleep(0)
    assert not waiting.done()
    bench.link.ended("status", OK)
    await asyncio.wait_for(waiting, 5)
    for _ in range(8):
        bench.link.ended("commands", failed(Failure.REFUSED))
    bench.live.replace(SETTINGS._replace(server_url="http://other/update.php"))
    assert bench.link.retry_in("commands") > 0
    bench.link.ended("status", OK)
    assert bench.link.retry_in("commands") == 0


def test_a_hub_whose_status_script_is_broken_may_still_hold_a_stop() -> None:
    bench = Bench()
    bench.live.replace(SETTINGS._replace(server_url="http://h/update.php"))
    assert 0 < bench.link.retry_in("commands") <= LONGEST_DEAFNESS


async def test_nothing_is_asked_while_the_settings_are_incomplete() -> None:
    bench = Bench()
    bench.live.replace(Settings())
    waiting = asyncio.ensure_future(bench.link.ready("status"))
    await asyncio.sleep(0)
    assert not waiting.done()
    bench.live.replace(SETTINGS)
    await asyncio.wait_for(waiting, 5)


def test_one_lost_packet_is_no_warning_two_are_and_it_clears_itself() -> None:
    bench = Bench()
    bench.link.ended("status", failed(Failure.TIMED_OUT))
    assert bench.board.warnings == {}
    bench.link.ended("status", failed(Failure.TIMED_OUT))
    assert bench.board.warnings == {"tecmedhub_hub": "TecMedHub: It failed: timed_out."}
    bench.link.ended("status", OK)
    assert bench.board.warnings == {}


def test_of_several_failures_the_worst_is_shown() -> None:
    bench = Bench()
    for _ in range(2):
        bench.link.ended("commands", failed(Failure.REFUSED))
        bench.link.ended("status", failed(Failure.NOT_JSON))
    assert "not_json" in bench.board.warnings["tecmedhub_hub"]
    assert bench.link.stages == {
        "dns": True, "tcp": True, "tls": None, "http": True, "json": False, "token": None,
    }  # fmt: skip


def test_the_length_of_an_outage_is_told() -> None:
    bench = Bench()
    bench.link.ended("status", OK)
    bench.link.ended("status", failed(Failure.DNS))
    bench.clock.advance(71.0)
    bench.link.ended("status", OK)
    assert bench.changes == [(True, 0.0), (False, 0.0), (True, 71.0)]
    assert bench.link.reconnections == 1


async def test_what_mends_one_channel_lets_the_others_try_at_once() -> None:
    bench = Bench()
    for _ in range(8):
        bench.link.ended("status", failed(Failure.STATUS))
        bench.link.ended("commands", failed(Failure.STATUS))
    assert bench.link.retry_in("commands") > 0
    waiting = asyncio.ensure_future(bench.link.ready("commands"))
    await asyncio.sleep(0)
    bench.link.ended("status", OK)
    await asyncio.wait_for(waiting, 5)
    bench.link.ended("commands", failed(Failure.STATUS))
    bench.link.ended("status", OK)  # as before: commands alone are stuck, and must not hammer
    assert bench.link.retry_in("commands") > 0


def test_a_hub_that_is_busy_for_long_is_a_warning_with_one_sentence() -> None:
    bench = Bench()
    for seconds in (3.0, 17.0, 900.0):
        bench.link.ended("status", failed(Failure.BUSY, retry_after=seconds))
    assert bench.board.warnings == {"tecmedhub_hub": "TecMedHub: It failed: busy."}
    bench.link.ended("status", OK)
    assert bench.board.warnings == {}
