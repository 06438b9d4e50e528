"""The camera rooms come in with the first camera, whichever way it comes, and only then."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.films.on_demand import NO_CAMERA, CamerasOnDemand
from components.films.timelapse_page import NAME, TimelapsePage
from components.runtime.worker import Worker
from tests.unit.cameras.support import OldCameras, Room, cameras, webcam
from tests.unit.fakes import settle
from tests.unit.films.test_timelapse import FakeFiles


class Page:
    """Moonraker as its timelapse page knows it."""

    def __init__(self) -> None:
        self.components: dict[str, Any] = {}
        self.endpoints: dict[str, Any] = {}

    def lookup_component(self, name: str, default: Any) -> Any:
        return self.components.get(name, default)

    def register_component(self, name: str, component: Any) -> None:
        self.components[name] = component

    def register_endpoint(self, path: str, kinds: list[str], handler: Any) -> None:
        self.endpoints[path] = handler

    def register_notification(self, name: str) -> None:
        pass


class Desk:
    """The rooms on demand, with the surroundings of `Room`, whose own cameras stay unused."""

    def __init__(self, path: Path, **camera: Any) -> None:
        self.path = path
        self.room = Room(**camera)
        self.clock = self.room.clock
        self.news: list[Any] = []
        self.changes: list[str] = []
        self.files = FakeFiles()
        self.reader = Worker("test-reader")
        self.trouble: Exception | None = None
        self.demand = CamerasOnDemand(
            data_path=path,
            file_manager=self.files,
            live=self.room.live,
            printer=self.room.printer,  # type: ignore[arg-type]
            hub=self.room.hub,  # type: ignore[arg-type]
            webcams=self._webcams,
            notices=self.room.board.notices,
            supervisor=self.room.supervisor,
            clock=self.clock,
            reader=self.reader,
            pictures=self.room.worker,
            user_agent="test",
        )
        self.demand.cameras.on_new(self.news.append)
        self.demand.timelapse.on_change(self.changes.append)
        self.page = Page()
        TimelapsePage(self.page, self.demand.timelapse, self.room.live).attach()
        self.clock.busy = lambda: (
            bool(self.room.worker.pending)
            or any(c["asking"] for c in self.demand.cameras.overview())
        )

    def _webcams(self) -> list[Any]:
        if self.trouble is not None:
            raise self.trouble
        return self.room.webcams

    async def __aenter__(self) -> Desk:
        await self.demand.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.demand.stop()
        await self.room.supervisor.stop()
        self.reader.close()
        self.room.worker.close()
        assert self.room.supervisor.failures == {}

    @property
    def there(self) -> bool:
        return self.demand.cameras.room is not None and self.demand.timelapse.room is not None

    async def picture(self) -> None:
        """Wait until the hub has one and the status body names it."""
        await self.clock.until(lambda: self.demand.cameras.image_fields().get("image"), step=1.0)

    async def page_says(self, call: str) -> Any:
        return await self.page.endpoints[f"/machine/timelapse/{call}"](None)


@pytest.fixture
def server() -> Iterator[OldCameras]:
    with cameras() as served:
        yield served


async def test_without_a_camera_nothing_is_brought_in_and_everything_answers(
    tmp_path: Path,
) -> None:
    async with Desk(tmp_path) as desk:
        assert not desk.there
        assert desk.room.supervisor.running == {}
        found, videos = desk.demand.cameras, desk.demand.timelapse
        found.hub_changed(True, 5.0)
        assert (found.image_fields(), found.picture(), found.names) == ({}, None, ())
        assert found.overview() == []
        assert await found.snapshot() == await videos.render_now() == NO_CAMERA
        assert videos.status_fields() == {"timelapses": []}
        assert videos.overview()["folder"] == str(tmp_path / "timelapse")
        assert not (tmp_path / "timelapse").exists()


async def test_the_timelapse_overview_is_the_same_with_and_without_the_rooms(
    tmp_path: Path, server: OldCameras
) -> None:
    async with Desk(tmp_path) as desk:
        empty = desk.demand.timelapse.overview()
        desk.room.configure(urls=(server[0].snapshot_url,))
        await desk.clock.until(lambda: desk.there)
        assert desk.demand.timelapse.overview() == empty


async def test_a_camera_of_the_configuration_is_there_from_the_start(
    tmp_path: Path, server: OldCameras
) -> None:
    async with Desk(tmp_path, urls=(server[0].snapshot_url,)) as desk:
        assert desk.there
        await desk.picture()
        assert desk.news


async def test_a_webcam_of_moonraker_is_there_from_the_start(
    tmp_path: Path, server: OldCameras
) -> None:
    async with Desk(tmp_path, webcams=[webcam("Front", server[0].snapshot_url)]) as desk:
        assert desk.demand.cameras.names == ("Front",)


async def test_settings_bring_a_camera_in_and_its_listeners_hear_of_it(
    tmp_path: Path, server: OldCameras
) -> None:
    async with Desk(tmp_path, capture_interval=5.0) as desk:
        desk.room.configure(capture_interval=6.0)  # no camera yet
        await settle()
        assert not desk.there
        desk.room.configure(urls=(server[0].snapshot_url,))
        desk.room.configure(capture_interval=7.0)  # in the meantime
        await desk.clock.until(lambda: desk.there)
        await desk.picture()
        assert len(desk.news) == 1
        assert desk.demand.cameras.picture() is not None
        assert (await desk.demand.cameras.snapshot()).startswith("Pictures taken")


async def test_a_webcam_added_in_the_web_interface_brings_it_in(
    tmp_path: Path, server: OldCameras
) -> None:
    async with Desk(tmp_path) as desk:
        desk.demand.webcams_changed({"webcams": []})
        await settle()
        assert not desk.there
        desk.room.webcams.append(webcam("Front", server[0].snapshot_url))
        desk.demand.webcams_changed({"webcams": []})
        await desk.clock.until(lambda: desk.there)
        assert desk.demand.cameras.names == ("Front",)
        await desk.picture()
        desk.room.webcams.append(webcam("Top", server[0].snapshot_url))  # and now the room is told
        desk.demand.webcams_changed({"webcams": []})
        assert desk.demand.cameras.names == ("Front", "Top")
        await desk.clock.until(
            lambda: [c["state"] for c in desk.demand.cameras.overview()] == ["ok", "ok"], step=1.0
        )


async def test_a_camera_enabled_where_it_was_switched_off(
    tmp_path: Path, server: OldCameras
) -> None:
    async with Desk(tmp_path, urls=(server[0].snapshot_url,), enabled=False) as desk:
        desk.demand.webcams_changed()
        await settle()
        assert not desk.there
        desk.room.configure(enabled=True)
        await desk.clock.until(lambda: desk.there)
        await desk.picture()
        looks = server[0].requests
        desk.room.configure(enabled=False)
        assert desk.demand.cameras.names == ()
        assert desk.demand.cameras.image_fields() == {}
        before = len(looks())
        desk.clock.advance(600.0)
        await settle()
        assert len(looks()) == before  # and nobody looks any more
        desk.room.configure(enabled=True)  # the same rooms go on
        assert len(desk.demand.cameras.names) == 1
        await desk.picture()


async def test_a_print_under_way_is_filmed_from_the_moment_there_is_a_camera(
    tmp_path: Path, server: OldCameras
) -> None:
    async with Desk(tmp_path, timelapse_interval=10.0) as desk:
        desk.room.printer.set(state="printing", filename="a.gcode", total_duration=5.0)
        desk.room.configure(urls=(server[0].snapshot_url,))

        def filmed() -> bool:
            recording = desk.demand.timelapse.overview()["recording"]
            return recording is not None and recording["frames"] > 0

        await desk.clock.until(filmed, step=1.0)
        assert await desk.page_says("lastframeinfo") == {"framecount": 1, "lastframefile": ""}


async def test_frames_of_a_former_life_are_found_without_a_camera(
    tmp_path: Path, server: OldCameras
) -> None:
    async with Desk(tmp_path, urls=(server[0].snapshot_url,), timelapse_interval=5.0) as desk:
        desk.room.printer.set(state="printing", filename="a.gcode", total_duration=0.0)

        def several() -> bool:
            recording = desk.demand.timelapse.overview()["recording"]
            return recording is not None and recording["frames"] >= 12

        await desk.clock.until(several, step=1.0)
    async with Desk(tmp_path, enabled=False) as desk:
        assert desk.there
        desk.room.printer.set(state="complete", filename="a.gcode")
        await desk.clock.until(lambda: desk.demand.timelapse.overview()["waiting"])
        (waiting,) = desk.demand.timelapse.overview()["waiting"]
        assert waiting["filename"] == "a.gcode"
        assert "recorded" in desk.changes


async def test_webcams_that_cannot_be_listed_are_the_room_s_to_report(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.trouble = RuntimeError("the database is gone")
    async with desk:
        assert desk.there


async def test_rooms_that_cannot_be_read_stop_nothing_and_are_tried_again(
    tmp_path: Path, server: OldCameras, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ImportError("libjpeg.so.62: cannot open shared object file")

    with monkeypatch.context() as patch:
        patch.setattr(importlib, "import_module", broken)
        desk = Desk(tmp_path, urls=(server[0].snapshot_url,))
        await desk.demand.start()
        assert not desk.there
        (text,) = desk.room.board.warnings.values()
        assert "libjpeg" in text and "install.sh" in text
    desk.demand.webcams_changed()
    await desk.clock.until(lambda: desk.there)
    assert desk.room.board.warnings == {}
    await desk.__aexit__()


async def test_after_leaving_nothing_is_brought_in(tmp_path: Path, server: OldCameras) -> None:
    async with Desk(tmp_path) as desk:
        await desk.demand.stop()
        desk.room.configure(urls=(server[0].snapshot_url,))
        await desk.reader.run(int)  # whatever was asked of the thread before this is done
        await settle()
        assert not desk.there


async def test_the_timelapse_page_is_there_before_a_camera_and_fed_after(
    tmp_path: Path, server: OldCameras
) -> None:
    async with Desk(tmp_path) as desk:
        assert NAME in desk.page.components
        assert await desk.page_says("lastframeinfo") == {"framecount": 0, "lastframefile": ""}
        assert (await desk.page_says("render"))["msg"] == NO_CAMERA
        desk.room.configure(urls=(server[0].snapshot_url,))
        await desk.clock.until(lambda: desk.there)
        assert desk.files.roots == {"timelapse": str(tmp_path / "timelapse")}
        assert (await desk.page_says("render"))["msg"] == "There are no frames to make a video of."
