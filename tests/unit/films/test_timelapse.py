"""From a print to its video: filmed, interrupted, restarted, thinned, rendered, sent."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from components.films.frames import FrameStore
from components.films.render import Renderer
from components.films.timelapse_page import TimelapsePage
from components.hub.protocol import Features
from components.printer.snapshot import FileFacts, KlippyState
from tests.unit.cameras.support import OldCameras, Room, cameras, webcam
from tests.unit.films.support import FakeFiles, FakeRenderer, FakeServer, timelapse_of
from tests.unit.films.test_render import probed

needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")


class Print:
    """A room with one camera, a timelapse and a print to film."""

    def __init__(
        self,
        server: OldCameras,
        path: Path,
        *,
        real: bool = False,
        yields: Callable[[], bool] = lambda: False,
        **camera: Any,
    ) -> None:
        self.server = server
        self.path = path
        options: dict[str, Any] = {
            "urls": (server[0].snapshot_url,),
            "timelapse_interval": 60.0,
            "timelapse_fps": 10,
            "timelapse_seconds": 0.0,
        }
        self.room = Room(**{**options, **camera})
        self.clock = self.room.clock
        self.printer = self.room.printer
        self.renderer = FakeRenderer(self.room)
        self.files = FakeFiles()
        self.changes: list[str] = []
        renderer = Renderer(self.room.worker) if real else self.renderer
        self.timelapse = timelapse_of(self.room, path, renderer, yields)
        self.timelapse.on_change(self.changes.append)

    async def __aenter__(self) -> Print:
        await self.room.__aenter__()
        self.timelapse.attach(self.files)
        await self.timelapse.start()
        await self.clock.until(lambda: self.room.hub.uploads)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.room.__aexit__(*error)

    def start(self, filename: str = "benchy.gcode") -> None:
        self.started = self.clock.wall
        self.printer.set(state="printing", filename=filename, total_duration=0.0)

    def end(self, state: str = "complete") -> None:
        self.printer.set(state=state)

    @property
    def overview(self) -> dict[str, Any]:
        return self.timelapse.overview()

    @property
    def frames(self) -> int:
        recording = self.overview["recording"]
        return recording["frames"] if recording else 0

    async def film(self, frames: int) -> None:
        """Print until the recording has so many frames."""

        def enough() -> bool:
            if self.printer.snapshot.printing:
                self.printer.quietly(total_duration=self.clock.wall - self.started)
            return self.frames >= frames

        await self.clock.until(enough, step=3.0)

    async def filmed(
        self, frames: int, filename: str = "benchy.gcode", state: str = "complete"
    ) -> None:
        """A whole print of so many frames."""
        self.start(filename)
        await self.film(frames)
        self.end(state)

    async def videos(self, count: int = 1) -> list[dict[str, Any]]:
        await self.clock.until(lambda: len(self.overview["videos"]) >= count, step=1.0)
        return self.overview["videos"]

    def on_disk(self) -> list[Path]:
        found = os.walk(self.path / "tecmedhub" / "timelapse")  # minds no folder that just goes
        return sorted(Path(at, name) for at, _, names in found for name in names if ".jpg" in name)


@pytest.fixture
def server() -> Iterator[OldCameras]:
    with cameras(1, size=(320, 240)) as server:
        yield server


@pytest_asyncio.fixture
async def job(server: OldCameras, tmp_path: Path) -> AsyncIterator[Print]:
    async with Print(server, tmp_path) as job:
        yield job


@pytest.mark.slow
@needs_ffmpeg
async def test_a_print_becomes_a_video_with_all_its_frames(
    server: OldCameras, tmp_path: Path
) -> None:
    async with Print(server, tmp_path, real=True) as job:
        job.start("sub/Búho 1.gcode")
        await job.film(25)
        assert "videos" in job.overview and job.overview["videos"] == []
        job.end()
        (video,) = await job.videos()
        path = tmp_path / "timelapse" / video["name"]
        found = probed(path)
        (stream,) = found["streams"]
        assert int(stream["nb_read_frames"]) == 25
        assert (stream["width"], stream["height"]) == (320, 240)
        assert float(found["format"]["duration"]) == pytest.approx(2.5) == video["duration"]
        assert video["size"] == path.stat().st_size
        assert path.with_suffix(".jpg").read_bytes().startswith(b"\xff\xd8")
        assert job.files.roots["timelapse"] == str(tmp_path / "timelapse")
        await job.clock.until(lambda: "video" in job.changes)
        assert job.on_disk() == []
        assert job.timelapse.status_fields() == {"timelapses": [video]}


@pytest.mark.slow
async def test_frames_come_at_their_interval_and_not_in_a_pause(job: Print) -> None:
    job.start()
    begun = job.clock.mono
    await job.film(10)
    assert 9 * 60 <= job.clock.mono - begun < 11 * 60
    job.printer.set(state="paused")
    paused = job.frames
    await job.clock.until(lambda: job.clock.mono > begun + 7200, step=30.0)
    assert job.frames == paused
    job.printer.set(state="printing")
    await job.film(paused + 3)
    job.end("cancelled")
    await job.videos()
    assert [film.frames for film in job.renderer.films] == [paused + 3]


async def test_a_restart_in_mid_print_goes_on_with_the_same_video(
    server: OldCameras, tmp_path: Path
) -> None:
    async with Print(server, tmp_path) as before:
        before.start()
        await before.film(6)
        kept, started, wall = len(before.on_disk()), before.started, before.clock.wall
    after = Print(server, tmp_path)
    after.clock.wall, after.started = wall + 300.0, started
    after.printer.snapshot = before.printer.snapshot._replace(klippy=KlippyState.STARTUP)
    async with after:
        await after.clock.until(lambda: after.clock.mono > 1100.0, step=5.0)
        assert len(after.on_disk()) == kept  # nothing is decided while Klippy is not there
        after.printer.set(total_duration=after.clock.wall - started)
        await after.film(kept + 4)
        after.end()
        (video,) = await after.videos()
        assert [film.frames for film in after.renderer.films] == [kept + 4]
        assert video["duration"] == round((kept + 4) / 10, 2)


async def test_a_print_that_ended_while_moonraker_was_away_has_its_video_too(
    server: OldCameras, tmp_path: Path
) -> None:
    async with Print(server, tmp_path) as before:
        before.start()
        await before.film(6)
    async with Print(server, tmp_path) as after:  # its printer stands by
        await after.videos()
        assert [film.frames for film in after.renderer.films] == [6]


async def test_another_print_of_the_same_file_is_another_video(job: Print) -> None:
    await job.filmed(6, state="cancelled")
    await job.filmed(7)
    await job.videos(2)
    assert sorted(film.frames for film in job.renderer.films) == [6, 7]


async def test_a_job_begun_anew_between_two_looks_is_told_by_its_duration(job: Print) -> None:
    job.start()
    await job.film(6)
    job.started = job.clock.wall
    job.printer.quietly(total_duration=0.0)
    await job.clock.until(lambda: job.frames == 1, step=2.0)
    await job.film(5)
    job.end()
    await job.videos(2)


async def test_klippy_lost_for_good_ends_the_film_and_klippy_away_does_not(job: Print) -> None:
    job.start()
    await job.film(6)
    known = job.printer.snapshot
    job.printer.vanish()
    await job.clock.until(lambda: job.clock.mono > 2000.0, step=5.0)
    assert job.frames == 6
    job.printer._become(known)
    job.printer.quietly(total_duration=job.clock.wall - job.started)
    await job.film(8)
    job.printer.set(klippy=KlippyState.SHUTDOWN)
    await job.videos()
    assert [film.frames for film in job.renderer.films] == [8]


async def test_a_clock_that_ntp_turns_does_not_split_a_print(job: Print) -> None:
    job.start()
    await job.film(3)
    job.clock.wall += 1e8
    job.started += 1e8
    await job.film(6)
    job.end()
    await job.videos()
    assert [film.frames for film in job.renderer.films] == [6]


async def test_a_handful_of_frames_is_no_video(job: Print) -> None:
    await job.filmed(4, state="cancelled")
    await job.clock.until(lambda: job.overview["recording"] is None, step=1.0)
    await job.clock.until(lambda: job.on_disk() == [], step=1.0)
    assert job.overview["waiting"] == [] and job.renderer.films == []


async def test_a_print_that_starts_stops_the_rendering_which_is_made_up_for_later(
    job: Print,
) -> None:
    job.renderer.seconds = 1e6
    await job.filmed(6)
    await job.clock.until(lambda: job.renderer.films, step=1.0)
    assert job.overview["rendering"] == "benchy.gcode"
    job.start("next.gcode")
    await job.clock.until(lambda: job.renderer.cancelled == 1)
    await job.film(6)
    assert job.overview["interrupted"] == 1 and len(job.renderer.films) == 1
    job.renderer.seconds = 0.0
    job.end()
    await job.videos(2)
    assert not job.room.board.warnings


async def test_rendering_waits_until_the_printer_has_settled_unless_hurried(job: Print) -> None:
    assert "no frames" in await job.timelapse.render_now()
    job.start()
    await job.film(6)
    assert "6 frames so far" in await job.timelapse.render_now()
    job.end()
    await job.clock.until(lambda: job.overview["waiting"])
    ended = job.clock.mono
    await job.clock.until(lambda: job.clock.mono > ended + 8.0, step=0.1)
    assert job.renderer.films == []
    assert "is being made" in await job.timelapse.render_now()
    await job.clock.until(lambda: job.overview["videos"])


async def test_without_ffmpeg_the_frames_are_kept_as_a_zip_with_a_hint(
    server: OldCameras, tmp_path: Path
) -> None:
    async with Print(server, tmp_path) as job:
        job.renderer.missing = True
        await job.filmed(6)
        (video,) = await job.videos()
        with zipfile.ZipFile(tmp_path / "timelapse" / video["name"]) as archive:
            assert len(archive.namelist()) == 6 and archive.testzip() is None
        hints = [n.text for n in job.room.board.notices.standing if n.key == "ffmpeg"]
        assert len(hints) == 1 and "apt install ffmpeg" in hints[0]
        job.renderer.missing = False
        await job.filmed(6)
        await job.videos(2)
        assert "ffmpeg" not in [n.key for n in job.room.board.notices.standing]


async def test_a_rendering_that_fails_for_good_still_leaves_the_frames(job: Print) -> None:
    job.renderer.trouble = "ffmpeg failed (exit code 1): Unknown encoder 'libx264'"
    await job.filmed(6)
    (video,) = await job.videos()
    assert video["name"].endswith(".zip") and len(job.renderer.films) == 2
    assert any("libx264" in text for text in job.room.board.warnings.values())


async def filmed_for_nothing(job: Print, tmp_path: Path) -> Path:
    """Film a print whose video finds no folder: what stands in its place, to be removed."""
    place = tmp_path / "timelapse"
    place.rmdir()
    place.write_text("no folder")
    await job.filmed(6)
    return place


@pytest.mark.slow
async def test_a_finished_video_that_cannot_be_stored_is_not_rendered_again(
    server: OldCameras, tmp_path: Path
) -> None:
    async with Print(server, tmp_path) as job:
        folder = await filmed_for_nothing(job, tmp_path)
        await job.clock.until(lambda: job.room.board.warnings, step=1.0)
        begun = job.clock.mono
        await job.clock.until(lambda: job.clock.mono > begun + 1000.0, step=5.0)
        assert len(job.renderer.films) == 1
        folder.unlink()
        (video,) = await job.videos()
        assert (folder / video["name"]).read_bytes() == b"mp4"
        assert len(job.renderer.films) == 1


@pytest.mark.slow
async def test_a_video_that_can_never_be_stored_is_given_up_with_a_sentence(
    server: OldCameras, tmp_path: Path
) -> None:
    async with Print(server, tmp_path) as job:
        folder = await filmed_for_nothing(job, tmp_path)

        def given_up() -> bool:
            return any("given up after 5" in t for t in job.room.board.warnings.values())

        await job.clock.until(given_up, step=30.0)
        assert len(job.on_disk()) == 6 and job.overview["waiting"] == []
        folder.unlink()
        assert "is being made" in await job.timelapse.render_now()
        await job.videos()
        assert len(job.renderer.films) == 1


@pytest.mark.slow
async def test_without_room_nothing_is_written_and_others_wait_their_turn(
    server: OldCameras, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [10**12]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free[0]))
    async with Print(server, tmp_path) as job:
        job.renderer.missing = True
        job.start()
        await job.film(6)
        free[0] = 150 << 20
        job.end()

        def waits() -> bool:
            return any("waits for room" in t for t in job.room.board.warnings.values())

        await job.clock.until(waits, step=1.0)
        begun = job.clock.mono
        await job.clock.until(lambda: job.clock.mono > begun + 7200.0, step=30.0)
        assert not list((tmp_path / "tecmedhub").rglob("*.zip")) and len(job.on_disk()) == 6
        free[0] = 10**12
        (video,) = await job.videos()
        assert video["name"].endswith(".zip") and not waits()


async def test_frames_of_a_computer_without_a_clock_become_a_zip(job: Print) -> None:
    """A ZIP knows no time before 1980."""
    job.renderer.missing = True
    job.start()
    await job.film(6)
    for frame in job.on_disk():
        os.utime(frame, (3600.0, 3600.0))
    job.end()
    (video,) = await job.videos()
    assert video["name"].endswith(".zip")


async def test_a_film_whose_end_the_disk_does_not_take_is_made_all_the_same(
    job: Print, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.start()
    await job.film(6)
    refused: list[bool] = []

    def full(self: FrameStore, *args: Any) -> None:
        refused.append(True)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(FrameStore, "save", full)
        job.end()
        await job.clock.until(lambda: refused, step=1.0)
    await job.videos()


async def test_half_a_zip_does_not_stay(
    server: OldCameras, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: zipfile.ZipFile, *args: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    async with Print(server, tmp_path) as job:
        job.renderer.missing = True
        with monkeypatch.context() as patch:
            patch.setattr(zipfile.ZipFile, "writestr", full)
            await job.filmed(6)
            await job.clock.until(lambda: job.room.board.warnings, step=1.0)
            assert not list((tmp_path / "tecmedhub").rglob("*.zip"))
        await job.videos()


@pytest.mark.slow
async def test_one_video_that_the_hub_refuses_holds_up_no_other(job: Print) -> None:
    hub = job.room.hub
    hub.too_large = ("large",)
    for name in ("large.gcode", "small.gcode"):
        job.start(name)
        await job.film(6)
        job.end()
        count = len(job.overview["videos"]) + 1
        await job.videos(count)
    hub.features = Features(timelapse_upload=True)
    await job.clock.until(lambda: hub.timelapses, step=5.0)
    assert ["small.gcode" in name for name, _ in hub.timelapses] == [True]
    begun = job.clock.mono
    await job.clock.until(lambda: job.clock.mono > begun + 20_000.0, step=30.0)
    assert ["large" in name for name in hub.asked].count(True) == 1, "not asked again"


async def test_a_short_print_is_filmed_more_often(server: OldCameras, tmp_path: Path) -> None:
    async with Print(server, tmp_path, timelapse_seconds=10.0) as job:
        facts = FileFacts("benchy.gcode", estimated_time=600.0)
        job.printer.snapshot = job.printer.snapshot._replace(file=facts)
        job.start()
        begun = job.clock.mono
        await job.film(21)
        assert 20 * 6 <= job.clock.mono - begun < 20 * 6 + 60, "600 s, 10 s of 10 frames each"


async def test_where_moonraker_timelapse_films_ours_is_off_unless_asked_for(
    server: OldCameras, tmp_path: Path
) -> None:
    others = [True]
    async with Print(server, tmp_path, yields=lambda: others[0]) as job:
        job.start()
        begun = job.clock.mono
        await job.clock.until(lambda: job.clock.mono > begun + 300.0, step=5.0)
        assert job.overview["recording"] is None and job.on_disk() == []
        (notice,) = [n for n in job.room.board.notices.standing if n.key == "timelapse other"]
        assert "moonraker-timelapse films" in notice.text and not notice.warning
        others[0] = False  # camera.timelapse_enabled: true was written
        job.room.configure(timelapse_fps=11)
        await job.film(5)
        assert "timelapse other" not in [n.key for n in job.room.board.notices.standing]


@pytest.mark.slow
async def test_a_full_share_of_the_disk_thins_the_film_evenly(
    server: OldCameras, tmp_path: Path
) -> None:
    server[0].size = (1280, 720)
    server[0].noise = True
    async with Print(server, tmp_path, timelapse_max_mb=2) as job:
        job.start()
        await job.clock.until(
            lambda: job.overview["recording"] and job.overview["recording"]["thinned"] > 1,
            step=10.0,
        )
        await job.clock.until(lambda: job.overview["recording"]["bytes"] <= 1 << 20)
        half = job.overview["recording"]
        begun = job.clock.mono
        await job.film(half["frames"] + 3)
        assert job.clock.mono - begun >= 2 * 2 * 60  # half as many from now on
        await job.clock.until(lambda: sum(path.stat().st_size for path in job.on_disk()) <= 1 << 20)


async def test_only_so_many_videos_are_kept(server: OldCameras, tmp_path: Path) -> None:
    async with Print(server, tmp_path, timelapse_keep=2) as job:
        for number in range(4):
            job.start(f"{number}.gcode")
            await job.film(5)
            job.end()
            done = job.changes.count("video") + 1
            await job.clock.until(lambda n=done: job.changes.count("video") >= n, step=1.0)
        names = [video["name"] for video in job.overview["videos"]]
        assert len(names) == 2 and "_3.gcode_" in names[0]
        job.room.configure(timelapse_keep=1)
        await job.clock.until(lambda: len(job.overview["videos"]) == 1)


async def test_a_camera_that_fails_leaves_a_gap_and_no_more(
    server: OldCameras, tmp_path: Path
) -> None:
    async with Print(server, tmp_path) as job:
        job.start()
        await job.film(3)
        server[0].behave("html")
        await job.clock.until(lambda: job.overview["frames_missed"] >= 3, step=10.0)
        assert job.frames == 3
        server[0].behave("ok")
        await job.film(6)


async def test_the_last_frame_shows_the_print_before_the_head_parks(job: Print) -> None:
    job.start()
    await job.film(6)
    job.printer.quietly(progress=0.99, print_duration=3600.0, filament_used=10.0)
    near = job.clock.mono
    await job.clock.until(lambda: job.clock.mono > near + 12.0, step=1.0)
    await job.clock.until(lambda: not job.clock.busy())
    frames = job.frames
    job.printer.quietly(filament_used=20.0)
    job.end()
    await job.videos()
    assert [film.frames for film in job.renderer.films] == [frames + 1]


async def test_a_camera_renamed_in_mid_print_goes_on_filming(
    server: OldCameras, tmp_path: Path
) -> None:
    job = Print(server, tmp_path, urls=())
    job.room.webcams = [webcam("Bed", server[0].snapshot_url)]
    async with job:
        job.start()
        await job.film(3)
        job.room.webcams = [webcam("Top", server[0].snapshot_url)]
        job.room.cameras.webcams_changed()
        await job.film(6)
        assert job.overview["recording"]["camera"] == "Bed"


async def test_switched_off_nothing_is_filmed(server: OldCameras, tmp_path: Path) -> None:
    async with Print(server, tmp_path, timelapse_enabled=False) as job:
        job.start()
        begun = job.clock.mono
        await job.clock.until(lambda: job.clock.mono > begun + 600, step=5.0)
        assert job.on_disk() == [] and job.overview["recording"] is None
        job.room.configure(timelapse_enabled=True)
        await job.film(2)


async def test_the_folder_of_moonraker_timelapse_is_used_where_there_is_one(
    server: OldCameras, tmp_path: Path
) -> None:
    theirs = tmp_path / "home" / "timelapse"
    theirs.mkdir(parents=True)
    job = Print(server, tmp_path)
    job.files.roots["timelapse"] = str(theirs)
    async with job:
        await job.filmed(5)
        (video,) = await job.videos()
        assert (theirs / video["name"]).is_file()


async def test_a_hub_that_takes_timelapses_is_sent_each_once(
    server: OldCameras, tmp_path: Path
) -> None:
    async with Print(server, tmp_path) as job:
        hub = job.room.hub
        await job.filmed(5)
        (video,) = await job.videos()
        job.clock.advance(100.0)
        assert hub.timelapses == []  # not announced
        hub.features = Features(timelapse_upload=True)
        hub.failing = "The hub is away."
        await job.clock.until(
            lambda: "timelapse upload" in [n.key for n in job.room.board.notices.standing],
            step=10.0,
        )
        hub.failing = ""
        await job.clock.until(lambda: hub.timelapses, step=30.0)
        assert hub.timelapses == [(video["name"], b"mp4")]
        job.clock.advance(4000.0)
        job.start()
        await job.film(5)
        assert len(hub.timelapses) == 1
    again = Print(server, tmp_path)
    again.room.hub.features = Features(timelapse_upload=True)
    async with again:
        again.clock.advance(4000.0)
        await again.videos(2)
        await again.clock.until(lambda: again.room.hub.timelapses, step=30.0)
        assert video["name"] not in [name for name, _ in again.room.hub.timelapses]


async def test_a_disk_that_cannot_be_written_is_told_and_stops_nothing(
    server: OldCameras, tmp_path: Path
) -> None:
    (tmp_path / "tecmedhub").write_text("a file where the folder should be")
    async with Print(server, tmp_path) as job:
        job.start()
        await job.clock.until(
            lambda: any("disk" in text for text in job.room.board.warnings.values()), step=5.0
        )
        (tmp_path / "tecmedhub").unlink()
        await job.film(2)
        assert not job.room.board.warnings


async def test_a_disk_nearly_full_is_left_to_the_system(
    server: OldCameras, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 1 << 30
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=free))
    async with Print(server, tmp_path) as job:
        job.start()
        await job.film(2)
        free = 100 << 20
        await job.clock.until(lambda: job.overview["frames_missed"] >= 3, step=5.0)
        assert job.frames == 2
        assert any("100 MiB left" in text for text in job.room.board.warnings.values())
        free = 1 << 30
        await job.film(3)
        assert not job.room.board.warnings


async def test_the_web_interfaces_find_a_timelapse_component_to_show(job: Print) -> None:
    moonraker = FakeServer()
    page = TimelapsePage(moonraker, job.timelapse, job.room.live)
    assert page.attach() and "timelapse" in moonraker.components
    call = moonraker.endpoints
    settings = await call["/machine/timelapse/settings"](None)
    assert settings["enabled"] and set(settings) - {"blockedsettings"} == set(
        settings["blockedsettings"]
    )
    job.start()
    await job.film(5)
    assert (await call["/machine/timelapse/lastframeinfo"](None))["framecount"] == 5
    job.end()
    (video,) = await job.videos()
    await job.clock.until(lambda: len(moonraker.events) == 2)
    assert [data["status"] for _, data in moonraker.events] == ["started", "success"]
    assert moonraker.events[-1][1]["filename"] == video["name"]
    assert "no frames" in (await call["/machine/timelapse/render"](None))["msg"]


async def test_the_web_interfaces_show_it_in_the_language_of_the_operator(job: Print) -> None:
    moonraker = FakeServer()
    TimelapsePage(moonraker, job.timelapse, job.room.live, lambda: "es").attach()
    for call, told in (
        ("render", "No hay fotogramas con los que hacer un video."),
        ("saveframes", "TecMedHub guarda los fotogramas solo hasta que su video está hecho."),
    ):
        answer = await moonraker.endpoints[f"/machine/timelapse/{call}"](None)
        assert answer["msg"] == told


async def test_the_real_timelapse_component_is_left_alone(job: Print) -> None:
    moonraker = FakeServer()
    moonraker.components["timelapse"] = real = object()
    assert not TimelapsePage(moonraker, job.timelapse, job.room.live).attach()
    assert moonraker.components["timelapse"] is real and moonraker.endpoints == {}
