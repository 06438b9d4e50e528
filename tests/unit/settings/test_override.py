"""The JSON file, live: what a save changes, what it does not, and what people are told."""

import asyncio
import json
import os
import resource
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from components.runtime.clock import Clock
from components.runtime.supervisor import Supervisor
from components.runtime.worker import Worker
from components.settings import override
from components.settings.conf import ConfValues
from components.settings.loader import merge
from components.settings.model import LiveSettings, Origin, RemoteControl
from components.settings.override import POLL, SETTLE, Override
from components.settings.saving import Saved, SaveRefused
from tests.unit.fakes import Board, FakeClock

TOKEN = "TECMED_s3cr3t_1"
CONF = {
    "server_url": "https://h/api.php",
    "printer_token": TOKEN,
    "intervals.status_update": "7",
}


class Hasty(Clock):
    """Only the test looks at the file, and what it looks at stands still at once."""

    async def sleep(self, seconds: float) -> None:
        if seconds == POLL:
            await asyncio.Event().wait()
        await asyncio.sleep(0)


class Bench:
    def __init__(
        self,
        folder: Path | None,
        clock: Clock,
        conf: dict[str, Any],
        memory: Path | None = None,
    ) -> None:
        self.folder = folder or Path("/nonexistent")
        self.board = Board()
        self.worker = Worker("test")
        self.supervisor = Supervisor(self.board.notices, clock)
        values = ConfValues(conf)
        self.live = LiveSettings(merge(values).settings)
        self.override = Override(
            live=self.live,
            conf=values,
            folder=folder,
            memory=(memory or self.folder) / "kept" / "memory.json",
            notices=self.board.notices,
            worker=self.worker,
            supervisor=self.supervisor,
            clock=clock,
        )

    def write(self, text: str | dict[str, Any], name: str = "tecmedhub.json") -> None:
        text = text if isinstance(text, str) else json.dumps(text)
        (self.folder / name).write_text(text, encoding="utf-8")

    async def save(self, text: str | dict[str, Any], name: str = "tecmedhub.json") -> None:
        """As an editor over SSH does, then the next look."""
        self.write(text, name)
        await self.override.look()

    @property
    def warnings(self) -> str:
        return "\n".join(self.board.warnings.values())

    async def close(self) -> None:
        await self.override.stop()
        await self.supervisor.stop()
        self.worker.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, Hasty(), CONF)
    yield made
    await made.close()


async def until(condition) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


def event(action: str, path: str, root: str = "config", **more: Any) -> dict[str, Any]:
    return {"action": action, "item": {"root": root, "path": path}, **more}


async def test_at_the_first_start_an_explained_file_is_laid_down_that_changes_nothing(
    bench,
) -> None:
    before = bench.live.now
    await bench.override.look()
    await bench.override.start()
    text = (bench.folder / "tecmedhub.json").read_text(encoding="utf-8")
    assert json.loads(text)["security"]["_remote_control"] == "full"
    await bench.override.look()
    assert bench.live.now == before
    assert bench.board.warnings == {}


async def test_no_file_is_laid_down_beside_v4_s_own(bench) -> None:
    bench.write({"intervals": {"status_update": 9}}, "printer_config.json")
    await bench.override.start()
    assert bench.live.now.intervals.status_update == 9
    assert bench.override.file_name == "printer_config.json"
    assert not (bench.folder / "tecmedhub.json").exists()


async def test_v4_s_own_file_stays_in_force_beneath_ours(bench) -> None:
    await bench.override.start()
    v4 = {"intervals": {"status_update": 9}, "security": {"remote_control": "print"}}
    await bench.save(v4, "printer_config.json")
    assert bench.live.now.intervals.status_update == 9
    await bench.save({"intervals": {"status_update": 11}})
    assert bench.live.now.intervals.status_update == 11
    assert bench.live.now.security.remote_control is RemoteControl.PRINT
    assert bench.override.file_name == "tecmedhub.json"
    origins = bench.override.loaded.origins
    assert origins["intervals.status_update"] is Origin.JSON
    assert origins["security.remote_control"] is Origin.V4
    assert origins["server_url"] is Origin.MOONRAKER_CONF


async def test_an_existing_file_is_never_touched(bench) -> None:
    bench.write("{ broken")
    await bench.override.start()
    assert (bench.folder / "tecmedhub.json").read_text() == "{ broken"


async def test_a_save_applies_and_tells_the_rooms(bench) -> None:
    heard = []
    bench.live.subscribe(lambda old, new: heard.append(new.intervals.status_update))
    await bench.override.start()
    await bench.save('{\n// faster\n"intervals": {"status_update": 2,},\n}')
    assert bench.live.now.intervals.status_update == 2
    assert heard == [2]
    assert bench.override.loaded.origins["intervals.status_update"] is Origin.JSON
    (bench.folder / "tecmedhub.json").unlink()
    await bench.override.look()
    assert bench.live.now.intervals.status_update == 7
    assert heard == [2, 7]


async def test_a_file_is_understood_in_the_thread(bench, monkeypatch) -> None:
    where = []

    def noting(*args: Any, **more: Any) -> Any:
        where.append(threading.current_thread().name)
        return merge(*args, **more)

    monkeypatch.setattr(override, "merge", noting)
    await bench.save({"intervals": {"status_update": 9}})
    assert bench.live.now.intervals.status_update == 9
    assert where == ["tecmedhub-test"]


async def test_a_bad_field_keeps_its_last_good_value_while_the_others_apply(bench) -> None:
    await bench.override.start()
    await bench.save({"intervals": {"status_update": 2, "command_check": 4}})
    await bench.save({"intervals": {"status_update": -1, "command_check": 6}})
    assert bench.live.now.intervals.status_update == 2
    assert bench.live.now.intervals.command_check == 6
    for word in ("intervals.status_update", "-1", "0.5 to 55", "2 stays in force"):
        assert word in bench.warnings
    await bench.save({"intervals": {"status_update": 3, "command_check": 6}})
    assert bench.live.now.intervals.status_update == 3
    assert bench.board.warnings == {}


async def test_a_broken_file_changes_nothing_and_says_where(bench) -> None:
    await bench.override.start()
    await bench.save({"intervals": {"status_update": 2}})
    await bench.save('{\n  "intervals": {"status_update": 3}\n  "camera": {}\n}')
    assert bench.live.now.intervals.status_update == 2
    assert "tecmedhub.json is not applied: line 2, column 36: a comma is missing" in bench.warnings
    assert bench.override.describe()["error"]
    await bench.save('{\n  "intervals": {"status_update": 3},\n  "camera": {}\n}')
    assert bench.live.now.intervals.status_update == 3
    assert bench.board.warnings == {}
    assert bench.override.describe()["error"] == ""


async def test_broken_at_the_start_moonraker_conf_is_in_force(bench) -> None:
    bench.write("{")
    await bench.override.start()
    assert bench.live.now.intervals.status_update == 7
    assert "tecmedhub.json is not applied" in bench.warnings


async def test_names_given_twice_are_told(bench) -> None:
    await bench.override.start()
    await bench.save('{"printer_name": "a",\n"printer_name": "b"}')
    assert bench.live.now.printer_name == "b"
    assert "printer_name stands in lines 1, 2; line 2 counts" in bench.warnings


async def test_what_was_wrong_in_moonraker_conf_is_told_too(tmp_path) -> None:
    made = Bench(tmp_path, Hasty(), {**CONF, "retries.max_attempts": "0"})
    await made.override.start()
    assert "retries_max_attempts" in made.warnings
    await made.save("{")
    assert "retries_max_attempts" in made.warnings
    await made.close()


async def test_without_a_config_folder_moonraker_conf_alone_counts() -> None:
    made = Bench(None, Hasty(), {**CONF, "retries.max_attempts": "0"})
    await made.override.start()
    assert made.live.now.intervals.status_update == 7
    assert "retries_max_attempts" in made.warnings
    await made.close()


@pytest.mark.parametrize(
    "seen",
    [
        event("create_file", "tecmedhub.json"),
        event("modify_file", "tecmedhub.json"),
        event("move_file", "tecmedhub.json", source_item={"root": "config", "path": "x"}),
        event("move_file", "x", source_item={"root": "config", "path": "tecmedhub.json"}),
        event("delete_file", "tecmedhub.json"),
        event("create_file", "printer_config.json"),
        event("root_update", ""),
    ],
    ids=lambda seen: f"{seen['action']}-{seen['item']['path']}",
)
async def test_file_events_apply_a_save_at_once(tmp_path, seen) -> None:
    made = Bench(tmp_path, Hasty(), CONF)  # whose next look by itself never comes
    await made.override.start()
    made.write({"intervals": {"status_update": 2}})
    made.override.on_file_changed(seen)
    await until(lambda: made.live.now.intervals.status_update == 2)
    await made.close()


@pytest.mark.parametrize(
    "seen",
    [
        event("create_file", "tecmedhub.json", "gcodes"),
        event("create_file", "printer.cfg"),
        event("create_dir", "tecmedhub"),
        {},
        None,
        {"item": 5, "source_item": []},
    ],
    ids=str,
)
async def test_other_events_are_none_of_ours(tmp_path, seen) -> None:
    clock = FakeClock()
    made = Bench(tmp_path, clock, CONF)
    await made.override.start()
    made.write({"intervals": {"status_update": 2}})
    made.override.on_file_changed(seen)
    for _ in range(50):
        await asyncio.sleep(0.001)
        clock.advance(POLL / 100)
    assert made.live.now.intervals.status_update == 7
    await made.close()


async def test_an_edit_that_no_event_tells_of_is_found_at_the_next_look(tmp_path) -> None:
    clock = FakeClock()
    made = Bench(tmp_path, clock, CONF)
    await made.override.start()
    await until(lambda: clock.sleeping)
    made.write({"intervals": {"status_update": 2}})
    started = clock.monotonic()
    clock.advance(POLL)
    await until(lambda: clock.sleeping)  # it has seen the change and waits
    assert made.live.now.intervals.status_update == 7
    clock.advance(SETTLE)
    await until(lambda: made.live.now.intervals.status_update == 2)
    assert clock.monotonic() - started < POLL + 2 * SETTLE
    await made.close()


async def test_a_file_written_in_pieces_is_read_when_it_stands_still(tmp_path) -> None:
    class Slow(Hasty):
        """While somebody waits, the editor writes the next piece."""

        pieces: tuple[str, ...] = ()

        async def sleep(self, seconds: float) -> None:
            if seconds == SETTLE and self.pieces:
                made.write(self.pieces[0])
                self.pieces = self.pieces[1:]
            await super().sleep(seconds)

    clock = Slow()
    made = Bench(tmp_path, clock, CONF)
    made.write({"intervals": {"status_update": 2}})
    await made.override.start()
    heard = []
    made.live.subscribe(lambda old, new: heard.append(new.intervals.status_update))
    clock.pieces = ('{"intervals"', '{"intervals": {"sta', '{"intervals": {"status_update": 3}}')
    await made.save("")
    assert heard == [3]
    assert made.board.warnings == {}
    assert made.board.console == []
    await made.close()


async def test_what_is_no_file_or_cannot_be_read_is_told(bench) -> None:
    os.mkfifo(bench.folder / "tecmedhub.json")
    await bench.override.start()
    assert "not a regular file" in bench.warnings
    os.unlink(bench.folder / "tecmedhub.json")
    (bench.folder / "tecmedhub.json").mkdir()
    await bench.override.look()
    assert "tecmedhub.json is not applied: it cannot be read" in bench.warnings
    (bench.folder / "tecmedhub.json").rmdir()
    await bench.save("{" + " " * 300_000 + "}")
    assert "larger than 256 KiB" in bench.warnings
    await bench.save("{}")
    assert bench.board.warnings == {}


async def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path) -> None:
    made = Bench(tmp_path / "file" / "below", Hasty(), CONF)
    (tmp_path / "file").write_text("in the way")
    await made.override.start()
    assert made.live.now.intervals.status_update == 7
    assert made.board.warnings == {}
    await made.close()


async def test_a_disk_that_takes_only_half_of_the_first_file_leaves_none(bench) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        await bench.override.start()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(bench.folder.iterdir()) == []
    await bench.override.look()
    assert bench.board.warnings == {}
    assert bench.live.now.security.remote_control is RemoteControl.FULL


async def test_a_file_that_would_grow_too_large_to_be_read_is_not_written(bench) -> None:
    text = json.dumps({"_note": "x" * (256 * 1024 - 20)})
    await bench.save(text)
    with pytest.raises(SaveRefused, match="larger than 256 KiB"):
        await bench.override.save({"printer_name": "Ana"})
    assert (bench.folder / "tecmedhub.json").read_text() == text


async def test_after_stop_nothing_applies(bench) -> None:
    await bench.override.start()
    await bench.override.stop()
    await bench.save({"intervals": {"status_update": 2}})
    assert bench.live.now.intervals.status_update == 7


async def test_everything_in_force_is_described_without_secrets(bench) -> None:
    bench.write(
        {
            "camera": {"urls": ["http://me:camera_pw@c/?token=abc123"]},
            "printer_name": f"is {TOKEN}",
            "nosuch": TOKEN,
        }
    )
    await bench.override.start()
    described = bench.override.describe()
    text = json.dumps(described)
    for secret in (TOKEN, "camera_pw", "abc123"):
        assert secret not in text
    rows = {row["path"]: row for row in described["options"]}
    assert rows["printer_token"]["value"] == "********"
    assert rows["printer_token"]["origin"] == "moonraker.conf"
    status = rows["intervals.status_update"]
    assert (status["value"], status["default"], status["origin"]) == (7, 5, "moonraker.conf")
    assert (status["minimum"], status["maximum"], status["unit"]) == (0.5, 55, "seconds")
    assert rows["camera.urls"]["origin"] == "json"
    assert rows["security.remote_control"]["choices"] == ["full", "print", "monitor", "off"]
    assert rows["config_file"]["value"] == "tecmedhub.json"
    assert described["complete"] is True
    assert any("nosuch" in problem["text"] for problem in described["problems"])


async def test_changes_are_logged_with_both_values_but_no_secret(bench, caplog) -> None:
    caplog.set_level("INFO")
    await bench.override.start()
    await bench.save({"intervals": {"status_update": 2}, "printer_token": "ANOTHER_ONE"})
    assert "intervals.status_update = 2 (was 7)" in caplog.text
    assert "printer_token is new" in caplog.text
    assert "ANOTHER_ONE" not in caplog.text
    assert TOKEN not in caplog.text


async def test_what_v4_needed_is_explained_in_the_log_without_a_warning(bench, caplog) -> None:
    caplog.set_level("INFO")
    await bench.override.start()
    await bench.save({"moonraker_url": "http://localhost:7125", "auto_update": {"enabled": True}})
    assert bench.board.warnings == {}
    assert "moonraker_url is no longer needed" in caplog.text
    assert "auto_update is no longer needed" in caplog.text


async def test_what_two_people_save_at_once_is_saved_both(bench) -> None:
    await bench.override.start()
    await asyncio.gather(
        bench.override.save({"security.remote_control": "off"}),
        bench.override.save({"printer_name": "Ana"}),
    )
    now = bench.live.now
    assert (now.security.remote_control, now.printer_name) == (RemoteControl.OFF, "Ana")


@pytest.mark.parametrize("edit", ['{"security": {"remote_control": "off"}}', "{", None])
async def test_an_edit_in_the_midst_of_a_save_is_not_overwritten(bench, monkeypatch, edit) -> None:
    await bench.override.start()
    file = bench.folder / "tecmedhub.json"
    await bench.save({"intervals": {"status_update": 9}})
    real = override.replace

    def edited_just_before(path: Path, saved: Saved) -> None:
        if edit is None:
            file.unlink()
        else:
            file.write_text(edit)
        real(path, saved)

    monkeypatch.setattr(override, "replace", edited_just_before)
    with pytest.raises(SaveRefused, match="changed by somebody else meanwhile"):
        await bench.override.save({"printer_name": "Ana"})
    assert (file.read_text() if file.exists() else None) == edit


async def test_what_is_in_force_is_remembered_also_where_a_listener_failed(bench, tmp_path) -> None:
    bench.write({"security": {"remote_control": "off"}})
    faults = [RuntimeError("no memory left")]

    def listener(_old: Any, _new: Any) -> None:
        if faults:
            raise faults.pop()

    bench.live.subscribe(listener)
    with pytest.raises(RuntimeError):
        await bench.override.start()
    await bench.override.start()
    bench.write("{")
    again = Bench(tmp_path, Hasty(), CONF)
    await again.override.start()
    assert again.override.loaded.settings.security.remote_control is RemoteControl.OFF
    assert again.override.loaded.origins["security.remote_control"] is not Origin.CAUTIOUS
    await again.close()


async def test_what_could_not_be_applied_is_applied_at_the_next_attempt(bench, monkeypatch) -> None:
    bench.write({"security": {"remote_control": "off"}})
    real = override.merge

    def fails_once(*args: Any) -> Any:
        monkeypatch.setattr(override, "merge", real)
        raise RuntimeError("no memory left")

    monkeypatch.setattr(override, "merge", fails_once)
    with pytest.raises(RuntimeError):
        await bench.override.start()
    await bench.override.start()
    assert bench.live.now.security.remote_control is RemoteControl.OFF


@hypothesis_settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.binary(max_size=80) | st.text(alphabet='{}[]:,"/* \n1ae_', max_size=40))
def test_no_content_raises(tmp_path, content) -> None:
    async def look() -> None:
        made = Bench(tmp_path, Hasty(), CONF)
        try:
            data = content.encode() if isinstance(content, str) else content
            (tmp_path / "tecmedhub.json").write_bytes(data)
            await made.override.start()
            assert made.live.now.complete
            assert made.supervisor.failures == {}
        finally:
            await made.close()

    asyncio.run(look())
