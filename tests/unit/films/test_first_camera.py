"""A printer without a camera has nothing of all this; with the first one, whichever way it comes,
everything is there.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.films.timelapse_page import NAME, TimelapsePage
from tests.unit.cameras.support import OldCameras, Room, cameras, webcam
from tests.unit.fakes import settle
from tests.unit.films.support import FakeFiles, FakeRenderer, FakeServer, timelapse_of


class Desk:
    """Cameras and timelapse as they are joined in the plugin."""

    def __init__(self, path: Path, **camera: Any) -> None:
        self.room = Room(**camera)
        self.clock = self.room.clock
        self.cameras = self.room.cameras
        self.changes: list[str] = []
        self.files = FakeFiles()
        self.timelapse = timelapse_of(self.room, path, FakeRenderer(self.room))
        self.timelapse.on_change(self.changes.append)
        self.page = FakeServer()
        TimelapsePage(self.page, self.timelapse, self.room.live).attach()

    async def __aenter__(self) -> Desk:
        await self.room.__aenter__()
        self.timelapse.attach(self.files)
        await self.timelapse.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.room.__aexit__(*error)

    async def picture(self) -> None:
        """Wait until the hub has one and the status body names it."""
        await self.clock.until(lambda: self.cameras.image_fields().get("image"), step=1.0)

    async def page_says(self, call: str) -> Any:
        return await self.page.endpoints[f"/machine/timelapse/{call}"](None)


@pytest.fixture
def server() -> Iterator[OldCameras]:
    with cameras() as served:
        yield served


async def test_without_a_camera_everything_answers_and_nothing_is_laid_down(
    tmp_path: Path,
) -> None:
    async with Desk(tmp_path) as desk:
        found, videos = desk.cameras, desk.timelapse
        found.hub_changed(True, 5.0)
        assert (found.image_fields(), found.picture(), found.names) == ({}, None, ())
        assert found.overview() == []
        assert await found.snapshot() == await videos.render_now() == found.why_none
        assert videos.status_fields() == {"timelapses": []}
        assert videos.overview()["folder"] == str(tmp_path / "timelapse")
        assert list(tmp_path.iterdir()) == [] and desk.files.roots == {}


async def test_a_webcam_of_moonraker_is_there_from_the_start(
    tmp_path: Path, server: OldCameras
) -> None:
    async with Desk(tmp_path, webcams=[webcam("Front", server[0].snapshot_url)]) as desk:
        assert desk.cameras.names == ("Front",)
        await desk.picture()
        assert desk.files.roots == {"timelapse": str(tmp_path / "timelapse")}


async def test_settings_bring_a_camera_in_and_its_listeners_hear_of_it(
    tmp_path: Path, server: OldCameras
) -> None:
    async with Desk(tmp_path, capture_interval=5.0) as desk:
        desk.room.configure(capture_interval=6.0)  # no camera yet
        await settle()
        assert desk.cameras.names == () and desk.files.roots == {}
        desk.room.configure(urls=(server[0].snapshot_url,))
        await desk.picture()
        assert len(desk.room.news) == 1
        assert desk.cameras.picture() is not None
        assert (await desk.cameras.snapshot()).startswith("Pictures taken")
        assert desk.files.roots == {"timelapse": str(tmp_path / "timelapse")}


async def test_a_webcam_added_in_the_web_interface_brings_it_in(
    tmp_path: Path, server: OldCameras
) -> None:
    async with Desk(tmp_path) as desk:
        desk.cameras.webcams_changed({"webcams": []})
        assert desk.cameras.names == ()
        desk.room.webcams.append(webcam("Front", server[0].snapshot_url))
        desk.cameras.webcams_changed({"webcams": []})
        await desk.picture()
        assert desk.cameras.names == ("Front",)
        desk.room.webcams.append(webcam("Top", server[0].snapshot_url))
        desk.cameras.webcams_changed({"webcams": []})
        assert desk.cameras.names == ("Front", "Top")
        await desk.clock.until(
            lambda: [c["state"] for c in desk.cameras.overview()] == ["ok", "ok"], step=1.0
        )


@pytest.mark.slow
async def test_a_camera_enabled_where_it_was_switched_off(
    tmp_path: Path, server: OldCameras
) -> None:
    async with Desk(tmp_path, urls=(server[0].snapshot_url,), enabled=False) as desk:
        desk.cameras.webcams_changed()
        assert desk.cameras.names == ()
        desk.room.configure(enabled=True)
        await desk.picture()
        looks = server[0].requests
        await desk.clock.until(lambda: not any(c["asking"] for c in desk.cameras.overview()))
        desk.room.configure(enabled=False)
        assert desk.cameras.names == ()
        assert desk.cameras.image_fields() == {}
        before = len(looks())
        desk.clock.advance(600.0)
        await settle()
        assert len(looks()) == before  # and nobody looks any more
        desk.room.configure(enabled=True)
        assert len(desk.cameras.names) == 1
        await desk.picture()


async def test_a_print_under_way_is_filmed_from_the_moment_there_is_a_camera(
    tmp_path: Path, server: OldCameras
) -> None:
    async with Desk(tmp_path, timelapse_interval=10.0) as desk:
        desk.room.printer.set(state="printing", filename="a.gcode", total_duration=5.0)
        desk.room.configure(urls=(server[0].snapshot_url,))

        def filmed() -> bool:
            recording = desk.timelapse.overview()["recording"]
            return recording is not None and recording["frames"] > 0

        await desk.clock.until(filmed, step=1.0)
        assert await desk.page_says("lastframeinfo") == {"framecount": 1, "lastframefile": ""}


async def test_frames_of_a_former_life_are_found_without_a_camera(
    tmp_path: Path, server: OldCameras
) -> None:
    async with Desk(tmp_path, urls=(server[0].snapshot_url,), timelapse_interval=5.0) as desk:
        desk.room.printer.set(state="printing", filename="a.gcode", total_duration=0.0)

        def several() -> bool:
            recording = desk.timelapse.overview()["recording"]
            return recording is not None and recording["frames"] >= 12

        await desk.clock.until(several, step=1.0)
    async with Desk(tmp_path, enabled=False) as desk:
        assert desk.files.roots == {"timelapse": str(tmp_path / "timelapse")}
        desk.room.printer.set(state="complete", filename="a.gcode")
        await desk.clock.until(lambda: desk.timelapse.overview()["waiting"])
        (waiting,) = desk.timelapse.overview()["waiting"]
        assert waiting["filename"] == "a.gcode"
        assert "recorded" in desk.changes


async def test_webcams_that_cannot_be_listed_are_reported_and_stop_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(tmp_path)
    desk.room.webcams_trouble = RuntimeError("the database is gone")
    async with desk:
        assert "the database is gone" in caplog.text
        assert await desk.cameras.snapshot() == desk.cameras.why_none


async def test_pillow_that_cannot_be_read_is_told_stops_nothing_and_is_tried_again(
    tmp_path: Path, server: OldCameras, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def broken(name: str, space: Any = None, *more: Any) -> Any:
        if name == "PIL" and (space or {}).get("__package__") == "components.cameras":
            raise ImportError("libjpeg.so.62: cannot open shared object file")
        return real(name, space, *more)

    monkeypatch.setattr(builtins, "__import__", broken)
    async with Desk(tmp_path, urls=(server[0].snapshot_url,)) as desk:
        await desk.clock.until(lambda: desk.room.board.warnings, step=1.0)
        (text,) = desk.room.board.warnings.values()
        assert "libjpeg" in text and "install.sh" in text
        monkeypatch.setattr(builtins, "__import__", real)
        await desk.picture()
        await desk.clock.until(lambda: not desk.room.board.warnings, step=1.0)


async def test_after_leaving_nothing_is_brought_in(tmp_path: Path, server: OldCameras) -> None:
    async with Desk(tmp_path) as desk:
        await desk.cameras.stop()
        desk.room.configure(urls=(server[0].snapshot_url,))
        await settle()
        assert desk.cameras.names == ()


async def test_the_timelapse_page_is_there_before_a_camera_and_fed_after(
    tmp_path: Path, server: OldCameras
) -> None:
    async with Desk(tmp_path) as desk:
        assert NAME in desk.page.components
        assert await desk.page_says("lastframeinfo") == {"framecount": 0, "lastframefile": ""}
        assert (await desk.page_says("render"))["msg"] == desk.cameras.why_none
        desk.room.configure(urls=(server[0].snapshot_url,))
        await desk.clock.until(lambda: "timelapse videos" in desk.room.supervisor.running)
        assert (await desk.page_says("render"))["msg"] == "There are no frames to make a video of."
