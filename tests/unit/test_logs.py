"""The log: what reaches which file, what never does, and that nothing is left behind."""

from __future__ import annotations

import io
import json
import logging
import logging.handlers
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO
from unittest.mock import MagicMock
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.building import log_as_set
from components.hub.outcomes import Exchange, Failure
from components.runtime.logs import IMPORTANT, LOG_FILE, LOGGER, Logs, logs_folder
from components.runtime.redaction import MASK, Redactor, forms, mask_url, secrets_in
from components.settings.model import Camera, LiveSettings, Logging, Settings
from components.tecmedhub import load_component
from tests.unit.fakes import WITHIN, Board

TOKEN = 'TÉC_s3cr3t/+ "1"'  # everything that some encoding changes
BASE = Settings(server_url="https://h/api.php", printer_token=TOKEN)


class Moonraker(logging.Handler):
    """Moonraker's own log: a handler on the root logger, formatting in its own way."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(
            logging.Formatter("%(asctime)s [%(filename)s:%(funcName)s()] - %(message)s")
        )

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture
def moonraker() -> Iterator[Moonraker]:
    handler = Moonraker()
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def live() -> LiveSettings:
    return LiveSettings(BASE)


def logs_of(folder: Path, live: LiveSettings, terminal: TextIO | None = None) -> Logs:
    logs = Logs(folder, terminal)
    log_as_set(logs, live)
    return logs


@pytest.fixture
def logs(tmp_path: Path, live: LiveSettings, moonraker: Moonraker) -> Iterator[Logs]:
    made = logs_of(tmp_path, live)
    yield made
    made.close()


def written(logs: Logs, folder: Path) -> str:
    """All that stands in the file once everything is written."""
    logs.close()
    path = folder / LOG_FILE
    return path.read_text(encoding="utf-8") if path.exists() else ""


def with_logging(**changes) -> Settings:
    return BASE._replace(logging=Logging(**changes))


def boom(text: str) -> None:
    raise ValueError(text)


def test_each_file_gets_what_belongs_there(logs, tmp_path, moonraker) -> None:
    logs.logger.debug("a detail")
    logs.logger.info("an everyday line")
    logs.logger.info("plugin started", extra=IMPORTANT)
    logs.logger.warning("a warning with %s", "an argument")
    text = written(logs, tmp_path)
    assert "a detail" not in text
    for line in ("an everyday line", "plugin started", "a warning with an argument"):
        assert text.count(line) == 1
    assert "everyday" not in moonraker.text
    assert moonraker.text.count("TecMedHub: plugin started") == 1
    assert moonraker.text.count("TecMedHub: a warning with an argument") == 1


def test_the_level_bounds_our_own_file_and_changes_live(logs, tmp_path, live, moonraker) -> None:
    live.replace(with_logging(level="ERROR"))
    logs.logger.warning("only for Moonraker")
    logs.logger.info("started", extra=IMPORTANT)
    live.replace(with_logging(level="DEBUG"))
    logs.logger.debug("now a detail")
    text = written(logs, tmp_path)
    assert "only for Moonraker" not in text
    assert "now a detail" in text
    assert "only for Moonraker" in moonraker.text
    assert "TecMedHub: started" in moonraker.text


@pytest.mark.parametrize(
    "form",
    [
        TOKEN,
        quote(TOKEN, safe=""),
        re.sub("%..", lambda match: match.group().lower(), quote(TOKEN, safe="")),
        json.dumps(TOKEN),
        json.dumps(TOKEN, ensure_ascii=False),
        json.dumps(TOKEN).replace("/", "\\/"),
        repr(TOKEN),
        repr(TOKEN.encode()),
    ],
)
def test_the_token_is_masked_in_each_form_everywhere(logs, tmp_path, moonraker, form) -> None:
    secret = form.strip("'\"")
    logs.logger.warning("said %s", form)
    logs.logger.error(f"said {form}")
    logging.getLogger("tornado.general").warning("Uncaught: %s", {"url": form})
    for logger in (logs.logger, logging.getLogger("asyncio")):
        try:
            boom(f"cannot fetch {form}")
        except ValueError:
            logger.exception("it failed")
    text = written(logs, tmp_path)
    for log in (text, moonraker.text):
        assert secret not in log
        assert "Traceback" in log
        assert log.count(MASK) >= 3


def test_a_chained_trace_is_masked_too(logs, tmp_path, moonraker) -> None:
    try:
        try:
            boom(TOKEN)
        except ValueError as error:
            raise RuntimeError(f"and {TOKEN}") from error
    except RuntimeError:
        logs.logger.exception("twice")
        logging.error("root", exc_info=True)
    logs.logger.info("stack", stack_info=True, extra=IMPORTANT)
    text = written(logs, tmp_path)
    assert TOKEN not in text + moonraker.text
    assert "direct cause" in text


def test_a_later_token_is_masked_and_so_is_the_one_before(logs, tmp_path, live) -> None:
    live.replace(BASE._replace(printer_token="THE_SECOND_ONE"))
    logs.redactor.add("THE_THIRD_ONE")
    logs.logger.info("%s %s %s", TOKEN, "THE_SECOND_ONE", "THE_THIRD_ONE")
    assert written(logs, tmp_path).count(MASK) == 3


def test_camera_passwords_are_secrets_for_moonraker_s_log_too(logs, live, moonraker) -> None:
    camera = Camera(urls=("http://me:cam%40pw12@c/?usr=me&pwd=other_pw",))
    live.replace(BASE._replace(camera=camera))
    logging.warning("fetch of %s failed: cam@pw12 other_pw", camera.urls[0])
    for secret in ("cam%40pw12", "cam@pw12", "other_pw"):
        assert secret not in moonraker.text


def test_what_looks_like_a_secret_is_masked_in_our_own_lines(logs, tmp_path) -> None:
    logs.logger.info("GET http://me:pw1@c/?action=x&token=abc1&n=2")
    logs.logger.info('{"token": "abc2", "name": "x"}')
    logs.logger.info("{'printer_token': 'abc3'}")
    text = written(logs, tmp_path)
    for secret in ("pw1", "abc1", "abc2", "abc3"):
        assert secret not in text
    for rest in ("action=x", "&n=2", '"name": "x"'):
        assert rest in text


def test_records_without_a_secret_pass_moonraker_s_handlers_unchanged(logs, moonraker) -> None:
    seen = []
    moonraker.emit = seen.append
    logging.warning("%s and %d", "text", 5)
    assert seen[0].msg == "%s and %d"
    assert seen[0].args == ("text", 5)


def test_wrong_arguments_still_make_a_line_and_no_leak(logs, tmp_path, capsys) -> None:
    logs.logger.warning("%d", TOKEN)
    logging.getLogger("other").warning("%d", TOKEN)
    assert TOKEN not in written(logs, tmp_path) + capsys.readouterr().err


def test_no_line_can_be_forged_and_no_terminal_be_steered(
    logs, tmp_path, moonraker, caplog
) -> None:
    for handler in list(logs.logger.handlers):  # half a character in a report ends pytest-xdist
        if isinstance(handler, type(caplog.handler)):
            logs.logger.removeHandler(handler)
    logs.logger.warning("hub says: x\n2026-01-01 00:00:00 ERROR forged\r\x1b[31m\x07\u2028")
    logs.logger.warning("half \ud83e")
    text = written(logs, tmp_path)
    assert [line for line in text.splitlines() if line.startswith("2026-01-01")] == []
    assert "\x1b" not in text
    assert "\x1b" not in moonraker.text
    assert "\\x1b" in text
    assert "half" in text


def test_verbose_shows_each_exchange_masked_at_any_level(logs, tmp_path, live) -> None:
    ended = Exchange(
        None, "", 200, body=json.dumps({"token": TOKEN, "n": 1}).encode(), seconds=0.25
    )
    logs.observe("GET", "https://h/api.php?token=one", ended)
    live.replace(with_logging(level="ERROR", verbose=True))
    logs.observe("GET", f"https://h/api.php?token={quote(TOKEN)}", ended)
    failed = Exchange(Failure.UNREACHABLE, "No connection to h.")
    logs.observe("POST", "https://h/api.php", failed)
    picture = b'{"image": "data:image/jpeg;base64,' + b"A" * 500_000 + b'"}'
    logs.observe("GET", "https://h/x", Exchange(None, "", 200, body=picture))
    text = written(logs, tmp_path)
    assert "token=one" not in text
    assert TOKEN not in text
    assert quote(TOKEN) not in text
    assert "HTTP 200 (250 ms" in text
    assert "no reply: No connection to h." in text
    assert "AAAA" not in text
    assert len(text) < 10_000


def test_the_file_is_rotated_by_size_and_the_surplus_deleted(logs, tmp_path, live) -> None:
    live.replace(with_logging(max_size_mb=0.1, backup_count=4))
    for number in range(40):
        logs.logger.info("%d %s", number, "x" * 15_000)
    logs.logger.info("last")
    logs.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [LOG_FILE, *(f"{LOG_FILE}.{n}" for n in (1, 2, 3, 4))]
    assert all(path.stat().st_size <= 110_000 for path in tmp_path.iterdir())

    again = logs_of(tmp_path, LiveSettings(with_logging(max_size_mb=0.1, backup_count=1)))
    for _ in range(8):
        again.logger.info("x" * 15_000)
    again.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == [LOG_FILE, f"{LOG_FILE}.1"]


def test_a_deleted_file_is_begun_anew(logs, tmp_path) -> None:
    logs.logger.info("one")
    wait_for(lambda: (tmp_path / LOG_FILE).exists() and (tmp_path / LOG_FILE).stat().st_size)
    (tmp_path / LOG_FILE).unlink()
    logs.logger.info("two")
    text = written(logs, tmp_path)
    assert "two" in text
    assert "one" not in text


def test_an_unwritable_folder_stops_nothing_and_is_told(tmp_path, live, moonraker, capsys) -> None:
    (tmp_path / "file").write_text("in the way")
    logs = logs_of(tmp_path / "file", live)
    board = Board()
    logs.logger.warning("still reaches Moonraker")
    wait_for(lambda: logs.problem)
    logs.report(board.notices)
    (text,) = board.warnings.values()
    assert LOG_FILE in text
    assert "cannot be written" in text
    assert "still reaches Moonraker" in moonraker.text
    (tmp_path / "file").unlink()
    logs.logger.info("back")
    wait_for(lambda: not logs.problem)
    logs.report(board.notices)
    assert board.warnings == {}
    assert "back" in written(logs, tmp_path / "file")
    assert "Logging error" not in capsys.readouterr().err


def test_a_hanging_disk_blocks_nobody(tmp_path, live, moonraker) -> None:
    """A pipe that nobody reads stands in for it."""
    os.mkfifo(tmp_path / LOG_FILE)
    logs = logs_of(tmp_path, live)
    for number in range(5000):
        logs.logger.info("line %d", number)
    logs.logger.warning("said all the same")
    assert "said all the same" in moonraker.text
    drained = threading.Thread(target=(tmp_path / LOG_FILE).read_bytes)
    drained.start()
    logs.close()
    drained.join(10)
    assert not drained.is_alive()


def test_in_a_terminal_there_are_colours(tmp_path, live, moonraker) -> None:
    screen = io.StringIO()
    logs = logs_of(tmp_path, live, terminal=screen)
    logs.logger.warning("careful, %s", TOKEN)
    logs.logger.info("plain")
    text = written(logs, tmp_path)
    assert "\x1b[33m" in screen.getvalue()
    assert "careful" in screen.getvalue()
    assert TOKEN not in screen.getvalue()
    assert "\x1b" not in text + moonraker.text


def test_closing_leaves_nothing_behind(tmp_path, live, moonraker) -> None:
    logger = logging.getLogger(LOGGER)
    before = (list(logger.handlers), list(moonraker.filters), logger.propagate, logger.level)
    threads = threading.enumerate()  # of other tests, which may end at any time
    for _ in range(3):
        logs = logs_of(tmp_path, live)
        logs.logger.info("x")
        (running,) = [thread for thread in threading.enumerate() if thread not in threads]
        logs.close()
        logs.close()
        running.join(WITHIN)
        assert not running.is_alive()
    assert (logger.handlers, moonraker.filters, logger.propagate, logger.level) == before
    assert (tmp_path / LOG_FILE).read_text().count(" x\n") == 3


def test_the_last_lines_before_closing_are_written(logs, tmp_path) -> None:
    for number in range(300):
        logs.logger.info("line %d.", number)
    text = written(logs, tmp_path)
    assert all(f"line {number}." in text for number in range(300))


def test_with_moonraker_s_own_queue_handler_the_trace_is_masked(logs, moonraker) -> None:
    """It formats later and elsewhere: the record itself must be clean."""
    records = []
    moonraker.emit = records.append
    try:
        boom(TOKEN)
    except ValueError:
        logs.logger.exception("ours")
        logging.getLogger("tornado.application").exception("theirs")
    for record in records:
        assert TOKEN not in logging.Formatter().format(record)
        assert TOKEN not in str(record.__dict__.get("exc_info"))
    assert len(records) == 2


def test_logs_folder_is_moonraker_s() -> None:
    assert logs_folder({"log_file": "/p/logs/moonraker.log", "data_path": "/p"}) == Path("/p/logs")
    assert logs_folder({"log_file": "", "data_path": "/p"}) == Path("/p/logs")


def wait_for(condition) -> None:
    """Until the log's thread has done it."""
    end = time.monotonic() + WITHIN
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


# Redaction


@given(st.text(min_size=8), st.text(), st.text())
@settings(deadline=None)
def test_no_form_of_a_secret_survives(secret, before, after) -> None:
    redactor = Redactor()
    redactor.add(secret)
    for form in forms(secret):
        masked = redactor.known(before + form + after)
        assert masked.count(MASK) >= 1 or form in MASK
        if secret not in MASK and MASK not in secret:
            assert form not in masked.replace(MASK, "\x00\x00")


@given(st.text())
@settings(deadline=None)
def test_any_text_is_masked_without_an_error(text) -> None:
    redactor = Redactor()
    redactor.add("T" * 10)
    redactor(text)
    mask_url(text)
    secrets_in(text)


def test_a_short_secret_is_masked_as_a_word_only() -> None:
    redactor = Redactor()
    redactor.add("5678")
    assert redactor.known("token 5678, 15678 s, 5678.") == f"token {MASK}, 15678 s, {MASK}."
    redactor.add("")
    assert redactor.known("x") == "x"


def test_a_component_that_cannot_be_built_leaves_nothing(tmp_path: Path, moonraker) -> None:
    config = MagicMock(error=RuntimeError)
    server = config.get_server()
    server.get_app_args.return_value = {"data_path": str(tmp_path), "log_file": ""}
    server.lookup_component().get_directory.side_effect = OSError("no folder")
    before = threading.enumerate()  # threads of other tests may still be about to end
    with pytest.raises(RuntimeError, match="TecMedHub cannot start"):
        load_component(config)
    logger = logging.getLogger(LOGGER)
    assert (logger.handlers, logger.propagate, moonraker.filters) == ([], True, [])
    for thread in [thread for thread in threading.enumerate() if thread not in before]:
        thread.join(20.0)
        assert not thread.is_alive()
