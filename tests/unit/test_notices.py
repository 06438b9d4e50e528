"""What people are told, and how often the log says so."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from components.runtime.notices import NEWS_AN_HOUR, Notices
from tests.unit.fakes import Board, FakeClock

COMPONENTS = Path(__file__).parents[2] / "components"
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


def test_a_later_outage_is_another_warning_to_who_dismissed_the_first() -> None:
    """Mainsail remembers a hash of the text."""
    shown: list[str] = []
    clock = FakeClock()
    notices = Notices(logging.getLogger("test"), clock, lambda text, warn_id: shown.append(text))
    for _ in range(2):
        notices.show("hub", "It is away.")
        clock.advance(60)
        notices.clear("hub")
    assert all(text.startswith("TecMedHub: It is away. (since 2023-11-1") for text in shown)
    assert len(set(shown)) == 2


def test_what_rises_and_falls_is_said_at_the_console_as_often_as_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "test.tecmedhub")
    board = Board()
    for _ in range(30):
        board.notices.show("hub", "It is away.")
        board.notices.clear("hub", "It is back.")
        board.notices.show("log", "No room.")
        board.notices.clear("log")
    assert board.console[:4] == [
        "// TecMedHub: It is away.",
        "// TecMedHub: It is back.",
        "// TecMedHub: No room.",
        "// TecMedHub: This is over: No room.",
    ]
    assert len(board.console) == len(caplog.messages) < 40


def test_trouble_at_the_console_names_the_page_that_explains_it() -> None:
    lines: list[str] = []
    notices = Notices(
        logging.getLogger("test"),
        FakeClock(),
        console=lines.append,
        panel=lambda: "http://10.0.0.5:7125/server/tecmedhub/panel",
    )
    notices.show("hub", "It is away.")
    assert lines == [
        "// TecMedHub: It is away. → http://10.0.0.5:7125/server/tecmedhub/panel",
    ]


HOSTILE = '<img src=x onerror="alert(1)">&lt;b&gt;\n&#60;script&#62;\x1b[31m\u202e' + "x" * 9000


def test_no_text_takes_markup_to_other_programs_pages() -> None:
    board = Board()
    board.notices.show("hub", f"It refuses: {HOSTILE}")
    board.notices.console(HOSTILE)
    for text in (*board.warnings.values(), *board.console):
        assert "img src=x" in text  # still to be read
        assert not set(text) & set("<>\n\x1b\u202e")
        assert "&lt" not in text and "&#" not in text
        assert len(text) <= 2000


def test_there_is_one_way_out_to_other_programs_pages() -> None:
    """Who calls Moonraker's own functions for them puts the text through `for_pages`."""
    found = {}
    for path in COMPONENTS.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if re.search(r'\badd_warning\(|send_event\(\s*"server:gcode|timelapse_event', source):
            found[path.relative_to(COMPONENTS).as_posix()] = source.count("for_pages(")
    assert found == {
        "runtime/notices.py": 2,
        "printer/moonraker_compat.py": 0,  # what is called
        "building.py": 0,  # hands them to the notices
        "tecmedhub.py": 2,
        "films/timelapse_page.py": 2,
    }
