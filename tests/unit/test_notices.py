"""What people are told, and how often the log says so."""

from __future__ import annotations

import logging

import pytest

from components.runtime.notices import NEWS_AN_HOUR
from tests.unit.fakes import Board, FakeClock

GOOD = "It is back. (it had been reported 10 times)"


def test_a_notice_stands_until_it_is_mended_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "test.tecmedhub")
    board = Board()
    for _ in range(100):
        board.notices.show("hub", "It is away.")
    assert board.warnings == {"tecmedhub_hub": "TecMedHub: It is away."}
    (standing,) = board.notices.standing
    assert standing.count == 100
    board.notices.clear("hub", "It is back.")
    assert board.warnings == {} and board.notices.standing == []
    assert caplog.messages == ["It is away.", "It is back. (it had been reported 100 times)"]


def test_its_return_is_news_but_a_flapping_line_fills_no_disk(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "test.tecmedhub")
    clock = FakeClock()
    board = Board(clock)
    for _ in range(1000):  # an hour and a half of two lost packets every five seconds
        board.notices.show("hub", "It is away.")
        clock.advance(5.0)
        board.notices.clear("hub", "It is back.")
    away = [line for line in caplog.messages if line == "It is away."]
    assert NEWS_AN_HOUR < len(away) <= 2 * NEWS_AN_HOUR
    assert len(caplog.messages) == 2 * len(away)  # good news of nothing else
    clock.advance(3600.0)
    board.notices.show("hub", "It is away.")
    board.notices.clear("hub", "It is back.")
    assert len(caplog.messages) == 2 * len(away) + 2
    assert board.warnings == {}


def test_every_text_of_an_outage_is_news_in_the_next(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "test.tecmedhub")
    board = Board()
    for _ in range(2):
        for _ in range(5):
            board.notices.show("hub", "It refuses.")
            board.notices.show("hub", "It answers nonsense.")
        board.notices.clear("hub", "It is back.")
    assert caplog.messages == ["It refuses.", "It answers nonsense.", GOOD] * 2


def test_a_figure_that_changes_makes_no_other_fault(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "test.tecmedhub")
    board = Board()
    for second in range(10, 60):
        board.notices.show("hub", f'It refuses: "locked at 12:30:{second}".')
    board.notices.show("hub", "It answers HTTP 500.")
    board.notices.show("hub", "It answers HTTP 404.")
    assert len(caplog.messages) == 3
    assert board.warnings == {"tecmedhub_hub": "TecMedHub: It answers HTTP 404."}
