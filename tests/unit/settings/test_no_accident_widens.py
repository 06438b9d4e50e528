"""Whatever happens to a settings file by accident, live and across a restart: nothing that it kept
the hub from doing is allowed for that.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from components.runtime import disk, steps
from components.runtime.supervisor import Supervisor
from components.settings.caution import GUARDED, cautious, wider
from components.settings.conf import ConfValues
from components.settings.loader import Loaded, merge
from components.settings.model import LiveSettings, Origin, RemoteControl, value_of
from components.settings.options import BY_PATH
from components.settings.override import Override
from tests.unit.fakes import Board
from tests.unit.settings.accidents import accidents, good_files, written_anew
from tests.unit.settings.test_override import Hasty

CASES = 100_000 if hypothesis_settings().max_examples >= 5000 else 400


class InLine:
    """A thread that is none."""

    async def run(self, function: Any, *args: Any) -> Any:
        return function(*args)


class Life:
    """The settings of a Moonraker, from its start to its end."""

    def __init__(self, folder: Path, conf: dict[str, str] | None = None) -> None:
        self.board = Board()
        self.folder = folder
        values = ConfValues(conf or {})
        self.override = Override(
            live=LiveSettings(merge(values).settings),
            conf=values,
            folder=folder,
            memory=folder / "state" / "memory.json",
            notices=self.board.notices,
            worker=InLine(),  # type: ignore[arg-type]
            supervisor=Supervisor(self.board.notices, Hasty()),
            clock=Hasty(),
        )

    async def save(self, data: bytes | str, name: str = "tecmedhub.json") -> Loaded:
        path = self.folder / name
        path.with_suffix(".new").write_bytes(data.encode() if isinstance(data, str) else data)
        path.with_suffix(".new").rename(path)  # another inode: seen, however quick
        return await self.look()

    async def look(self) -> Loaded:
        await self.override.look()
        return self.override.loaded

    @property
    def told(self) -> str:
        return "\n".join(self.board.warnings.values())


def in_force(loaded: Loaded) -> dict[str, Any]:
    return {path: value_of(loaded.settings, path) for path in GUARDED}


def widened(now: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """What is wider than before and wider than the cautious value."""
    return [
        path
        for path, value in now.items()
        if wider(path, value, before[path])
        and wider(path, value, cautious(BY_PATH[path], BY_PATH[path].default))
    ]


@pytest.fixture(scope="module")
def hasty() -> Iterator[None]:
    """Nobody else wants the interpreter, and no power fails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps.time, "sleep", lambda seconds: None)
        patch.setattr(disk.os, "fsync", lambda handle: None)
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("hasty")
@hypothesis_settings(
    max_examples=CASES, suppress_health_check=list(HealthCheck), deadline=None, database=None
)
@given(st.data())
def test_no_accident_widens_anything(tmp_path_factory, data) -> None:
    folder = tmp_path_factory.mktemp("c") if CASES < 1000 else shared(tmp_path_factory)
    good = data.draw(good_files())
    spoilt = data.draw(accidents(good))

    async def live_and_again() -> list[tuple[str, Loaded]]:
        for path in (folder / "tecmedhub.json", folder / "state" / "memory.json"):
            path.unlink(missing_ok=True)
        life = Life(folder)
        seen = [("good", await life.save(good))]
        assert not life.told, life.told
        seen.append(("live", await life.save(spoilt)))
        seen.append(("after a restart", await Life(folder).look()))
        (folder / "state" / "memory.json").unlink()
        new = Life(folder)
        nothing_known = await new.look()
        if new.override.error:
            seen.append(("with nothing remembered", nothing_known))
        return seen

    (_, first), *later = asyncio.run(live_and_again())
    before = in_force(first)
    for when, loaded in later:
        now = in_force(loaded)
        note(f"{when}: {now}\n{[problem.text for problem in loaded.problems]}")
        text = spoilt.replace(b"\0", b"").decode("utf-8", "replace")  # of whatever encoding
        wrong = [path for path in widened(now, before) if not written_anew(path, good, text)]
        assert wrong == [], when


_FOLDERS: list[Path] = []


def shared(factory: pytest.TempPathFactory) -> Path:
    """One folder for all cases: a hundred thousand are a burden to a file system."""
    if not _FOLDERS:
        _FOLDERS.append(factory.mktemp("shared"))
    return _FOLDERS[0]


STRICT = '{\n"security": {\n"remote_control": "off",\n"require_clear_bed": true\n}\n}'


@pytest.mark.parametrize(
    "spoilt",
    [
        STRICT.replace('"off",', '"off"'),
        STRICT[:-1],
        "",
        "\0" * 60,
        "{}",
        '{"security": "monitor"}',
        '{"security": {"remote_control": "moniter", "require_clear_bed": "si"}}',
        STRICT.replace("security", "securty"),
        STRICT.replace('"security": {', '"camera": {'),
        '{"remote_control": "off", "require_clear_bed": true}',
        STRICT.replace("{\n", '{\n"security": "x",\n', 1),
        STRICT.replace("}\n}", '},\n"security": {}\n}'),
        STRICT.replace("}\n}", '},\n"security": {"remote_control": "full"}\n}'),
        STRICT.replace('"off",', '"off", "remote_control": null,'),
        STRICT.replace('"off",', '"off", // ').replace("remote_control", "_remote_control"),
        f"/* {STRICT} */ {{}}",
    ],
)
async def test_what_was_off_stays_off(tmp_path, spoilt) -> None:
    assert (await Life(tmp_path).save(STRICT)).settings.security.require_clear_bed
    for loaded in (await Life(tmp_path).save(spoilt), await Life(tmp_path).look()):
        assert loaded.settings.security.remote_control is RemoteControl.OFF
        assert loaded.settings.security.require_clear_bed is True


async def test_a_letter_saved_as_ansi_changes_nothing_else(tmp_path) -> None:
    text = STRICT.replace("{\n", '{\n"printer_name": "Ñandú",\n', 1)
    life = Life(tmp_path)
    loaded = await life.save(text.encode("cp1252"))
    assert loaded.settings.printer_name == "Ñandú"
    assert loaded.settings.security.remote_control is RemoteControl.OFF
    assert not life.told


@pytest.mark.parametrize(
    "broken",
    [STRICT.replace('"off",', '"off"'), '{"security": "monitor"}', '{"securty": {}}', ""],
)
async def test_with_nothing_remembered_the_cautious_values_are_in_force(tmp_path, broken) -> None:
    life = Life(tmp_path)
    security = (await life.save(broken)).settings.security
    assert security.remote_control is RemoteControl.MONITOR
    assert security.require_clear_bed is True
    assert security.allowed_gcode_patterns == () == security.allowed_macros
    assert "monitor" in life.told
    mended = await life.save("{}")
    assert mended.settings.security.remote_control is RemoteControl.FULL
    assert not life.told


async def test_what_is_no_longer_written_is_told_and_one_written_word_loosens_it(tmp_path) -> None:
    life = Life(tmp_path)
    await life.save(STRICT)
    kept = await life.save("{}")
    assert kept.origins["security.remote_control"] is Origin.KEPT
    assert "security.remote_control is no longer written in tecmedhub.json; off stays" in life.told
    again = Life(tmp_path)
    await again.look()
    assert "off stays in force" in again.told
    loose = '{"security": {"remote_control": "full", "require_clear_bed": false}}'
    loosened = await again.save(loose)
    assert loosened.settings.security.remote_control is RemoteControl.FULL
    assert not again.told
    await again.save("{}")
    assert not again.told


async def test_the_moonraker_conf_that_was_edited_since_counts(tmp_path) -> None:
    await Life(tmp_path, {"security.remote_control": "full"}).save(STRICT)
    (tmp_path / "tecmedhub.json").unlink()
    same = await Life(tmp_path, {"security.remote_control": "full"}).look()
    assert same.settings.security.remote_control is RemoteControl.OFF
    edited = await Life(tmp_path, {"security.remote_control": "print"}).look()
    assert edited.settings.security.remote_control is RemoteControl.PRINT
    assert edited.settings.security.require_clear_bed is True


async def test_sections_given_twice_are_both_read_and_the_narrowest_of_a_value_counts(
    tmp_path,
) -> None:
    life = Life(tmp_path)
    loaded = await life.save(
        '{"security": {"remote_control": "monitor"},\n'
        '"security": {"remote_control": "full", "denied_actions": ["print"]},\n'
        '"security": {"denied_actions": ["home"]}}'
    )
    assert loaded.settings.security.remote_control is RemoteControl.MONITOR
    assert set(loaded.settings.security.denied_actions) == {"print", "home"}
    assert "security.remote_control stands in lines 1, 2; line 1 counts" in life.told
    assert "security.denied_actions stands in lines 2, 3; what all of them allow" in life.told


async def test_pasted_above_the_file_that_was_laid_down(tmp_path) -> None:
    life = Life(tmp_path)
    await life.override.start()
    laid_down = (tmp_path / "tecmedhub.json").read_text(encoding="utf-8")
    pasted = laid_down.replace("{", '{\n"security": {"remote_control": "monitor"},', 1)
    loaded = await life.save(pasted)
    assert loaded.settings.security.remote_control is RemoteControl.MONITOR
    assert not life.told
    await life.override.stop()


async def test_v4_s_restrictions_stay_while_its_file_is_broken_too(tmp_path) -> None:
    life = Life(tmp_path)
    await life.save('{"server_url": "https://h/api.php", "printer_token": "T"}')
    await life.save(STRICT, "printer_config.json")
    loaded = await Life(tmp_path).save(STRICT[:-1], "printer_config.json")
    assert loaded.settings.security.remote_control is RemoteControl.OFF
    assert loaded.settings.server_url == "https://h/api.php"


async def test_the_copy_is_for_moonraker_s_user_only_and_rubbish_in_it_is_nothing(tmp_path) -> None:
    await Life(tmp_path).save(STRICT)
    copy = tmp_path / "state" / "memory.json"
    assert copy.stat().st_mode & 0o777 == 0o600
    for rubbish in (
        "",
        "[]",
        '{"layers": 5}',
        "\0",
        '{"layers": {}, "held": {"x": 1}, "conf": {}}',
    ):
        copy.write_text(rubbish)
        loaded = await Life(tmp_path).look()
        assert loaded.settings.security.remote_control is RemoteControl.OFF
        assert loaded.problems == ()
