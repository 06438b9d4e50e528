"""Timelapses on the real stack: a print, its frames, its video; Moonraker killed meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rig.cameras import CameraServer
from tests.rig.faults import FaultServer
from tests.rig.gcode import make_gcode
from tests.rig.stack import Stack, dangerous_stack

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(not shutil.which("ffprobe"), reason="ffmpeg is not installed"),
]

FFMPEG = shutil.which("ffmpeg")
FPS = 10
SIZE = (640, 360)


@pytest.fixture
def cameras() -> Iterator[CameraServer]:
    with CameraServer(1, size=SIZE) as server:
        yield server


def options(cameras: CameraServer, **more: Any) -> dict[str, Any]:
    return {
        "camera_urls": cameras[0].snapshot_url,
        "camera_timelapse_interval": 1,
        "camera_timelapse_fps": FPS,
        **more,
    }


def timelapse(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = stack.moonraker.get("/server/tecmedhub/status")["timelapse"]
    return found


def files_below(folder: Path) -> list[Path]:
    found = os.walk(folder)  # minds no folder that just goes
    return sorted(Path(at, name) for at, _, names in found for name in names)


def frames_on_disk(stack: Stack) -> list[Path]:
    # Those that a kill left half written end otherwise.
    found = files_below(stack.moonraker.state_folder / "timelapse")
    return [path for path in found if path.suffix == ".jpg"]


def begin_cube(stack: Stack, seconds: int, frames: int = 0) -> None:
    """Begin a print of so many seconds, until that many frames of it are there."""
    stack.put("cube.gcode", make_gcode(seconds=seconds, hotend=0, bed=0))
    stack.print("cube.gcode")
    stack.moonraker.wait(lambda: len(frames_on_disk(stack)) >= frames, 40, "frames on the disk")


def folders_of(stack: Stack) -> tuple[Path, Path]:
    """Where films are while they are made, and then."""
    return (
        stack.moonraker.state_folder / "timelapse",
        stack.moonraker.data_path / "timelapse",
    )


def videos(stack: Stack) -> list[dict[str, Any]]:
    return (stack.hub.status(stack.token) or {}).get("timelapses") or []


def wait_for_video(stack: Stack) -> tuple[dict[str, Any], Path]:
    """The one video, in the status body and in the folder that the web interfaces show."""
    (video,) = stack.moonraker.wait(lambda: videos(stack), 90, "the video in the status")
    folder = Path(timelapse(stack)["folder"])
    return video, folder / video["name"]


def film(stack: Stack, name: str) -> None:
    """Print it to its end; its video is made at once."""
    stack.print(name)
    stack.klippy.wait_print("complete", 60)
    stack.moonraker.wait(lambda: timelapse(stack)["waiting"], 20, "the end of the recording")
    stack.do("timelapse_now")


def noticed(stack: Stack) -> str:
    """All that stands in the panel."""
    found = stack.moonraker.get("/server/tecmedhub/status")["notices"]
    return "\n".join(notice["text"] for notice in found)


def where_films_are(folders: tuple[Path, ...]) -> list[Path]:
    return [path for folder in folders for path in files_below(folder)]


def probed(path: Path) -> dict[str, Any]:
    command = ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-show_format",
               "-of", "json", str(path)]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, timeout=60)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def frames_in(path: Path) -> int:
    (stream,) = probed(path)["streams"]
    return int(stream["nb_read_frames"])


@pytest.mark.versions
def test_a_print_becomes_a_video_that_browsers_play(
    moonraker_python: str, cameras: CameraServer, make_stack: Callable[..., Stack]
) -> None:
    stack = make_stack(python=moonraker_python, options=options(cameras))
    begin_cube(stack, 15, frames=5)
    assert timelapse(stack)["rendering"] == ""
    stack.klippy.wait_print("complete", 60)
    stack.moonraker.wait(lambda: timelapse(stack)["waiting"], 20, "the end of the recording")
    frames = timelapse(stack)["waiting"][0]["frames"]
    assert 5 <= frames == len(frames_on_disk(stack))

    video, path = wait_for_video(stack)
    found = probed(path)
    (stream,) = found["streams"]
    assert int(stream["nb_read_frames"]) == frames
    assert float(found["format"]["duration"]) == pytest.approx(frames / FPS, abs=0.01)
    assert (stream["width"], stream["height"]) == SIZE
    assert (stream["codec_name"], stream["pix_fmt"]) == ("h264", "yuv420p")
    assert video["size"] == path.stat().st_size and video["duration"] == frames / FPS
    assert frames_on_disk(stack) == []

    # Where Mainsail and Fluidd look: the root, the poster beside it, the component of that name.
    listed = stack.moonraker.get("/server/files/list?root=timelapse")
    assert {entry["path"] for entry in listed} == {video["name"], path.stem + ".jpg"}
    assert "timelapse" in stack.moonraker.get("/server/info")["components"]
    assert stack.moonraker.get("/machine/timelapse/settings")["enabled"] is True
    assert stack.moonraker.warnings() == []


def test_moonraker_killed_in_mid_print_costs_the_gap_and_no_more(
    cameras: CameraServer, make_stack: Callable[..., Stack]
) -> None:
    stack = make_stack(options=options(cameras))
    begin_cube(stack, 30, frames=6)
    stack.moonraker.kill()
    before = len(frames_on_disk(stack))
    stack.moonraker.start()
    stack.moonraker.wait(lambda: len(frames_on_disk(stack)) > before, 30, "more frames")
    assert len({path.parent for path in frames_on_disk(stack)}) == 1
    stack.klippy.wait_print("complete", 90)
    stack.moonraker.wait(lambda: timelapse(stack)["waiting"], 20, "the end of the recording")
    frames = timelapse(stack)["waiting"][0]["frames"]
    assert frames > before
    _, path = wait_for_video(stack)
    assert frames_in(path) == frames


def test_a_print_that_ends_while_moonraker_is_dead_has_its_video(
    cameras: CameraServer, make_stack: Callable[..., Stack]
) -> None:
    stack = make_stack(options=options(cameras))
    begin_cube(stack, 12, frames=6)
    stack.moonraker.kill()
    before = len(frames_on_disk(stack))
    stack.klippy.wait_print("complete", 60)
    stack.moonraker.start()
    _, path = wait_for_video(stack)
    assert frames_in(path) == before


def test_a_print_that_starts_kills_the_rendering_which_is_made_up_for(
    cameras: CameraServer,
    make_stack: Callable[..., Stack],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # An ffmpeg as slow as a Raspberry Pi's.
    slow = folder / "ffmpeg"
    slow.write_text(f'#!/bin/sh\ntouch {folder}/begun\nsleep 15\nexec {FFMPEG} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    stack = make_stack(options=options(cameras))
    for name in ("first.gcode", "second.gcode"):
        stack.put(name, make_gcode(seconds=8, hotend=0, bed=0))
    stack.print("first.gcode")
    stack.klippy.wait_print("complete", 60)
    stack.moonraker.wait(lambda: timelapse(stack)["waiting"], 20, "the end of the recording")
    assert "is being made" in stack.do("timelapse_now").message
    stack.moonraker.wait((folder / "begun").exists, 20, "ffmpeg to start")
    stack.print("second.gcode")
    stack.moonraker.wait(lambda: timelapse(stack)["interrupted"] == 1, 20, "the rendering's end")
    stack.klippy.wait_print("complete", 60)
    slow.write_text(f'#!/bin/sh\nexec {FFMPEG} "$@"\n')
    stack.moonraker.wait(lambda: len(videos(stack)) == 2, 90, "both videos")
    assert {video["name"].split("_")[1] for video in videos(stack)} == {
        "first.gcode",
        "second.gcode",
    }
    assert stack.moonraker.warnings() == []


def test_a_hub_that_takes_timelapses_is_sent_the_video(
    cameras: CameraServer, make_stack: Callable[..., Stack]
) -> None:
    stack = make_stack(options=options(cameras), features={"timelapse_upload": True})
    begin_cube(stack, 8)
    stack.klippy.wait_print("complete", 60)
    video, path = wait_for_video(stack)
    (sent,) = stack.hub.wait_for(lambda: stack.hub.timelapses(stack.token), 30, "the upload")
    assert sent.name == video["name"]
    assert sent.path.read_bytes() == path.read_bytes()


def test_a_video_that_the_hub_finds_too_large_is_given_up_and_holds_up_no_other(
    cameras: CameraServer, make_stack: Callable[..., Stack]
) -> None:
    stack = make_stack(options=options(cameras), features={"timelapse_upload": True})
    with FaultServer(stack.hub.port) as front:
        stack.configure(server_url=front.url("/api.php"))
        front.behave("status", "upload_timelapse", code=413)
        for name in ("first.gcode", "second.gcode"):
            stack.put(name, make_gcode(seconds=8, hotend=0, bed=0))
        film(stack, "first.gcode")
        stack.moonraker.wait(lambda: "does not take the timelapse" in noticed(stack), 90)
        assert "413" in noticed(stack)
        assert len(front.requests("upload_timelapse")) == 1
        front.clear_behaviour()
        film(stack, "second.gcode")
        (sent,) = stack.hub.wait_for(lambda: stack.hub.timelapses(stack.token), 90, "the upload")
        assert "second.gcode" in sent.name
        assert len(front.requests("upload_timelapse")) == 2
        folder = Path(timelapse(stack)["folder"])
        assert len(list(folder.glob("*.mp4"))) == 2  # both are on the printer


@pytest.fixture
def without_ffmpeg(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every program of the machine but ffmpeg."""
    programs = folder / "programs"
    programs.mkdir()
    for place in reversed(os.environ["PATH"].split(":")):
        for program in Path(place).glob("*"):
            if program.name != "ffmpeg":
                link = programs / program.name
                link.unlink(missing_ok=True)
                link.symlink_to(program)
    monkeypatch.setenv("PATH", str(programs))


def test_a_disk_that_fills_up_costs_frames_and_a_while_but_never_the_film(
    cameras: CameraServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = folder / "ffmpeg"
    slow.write_text(
        f"#!/bin/sh\ntouch {folder}/begun\n"
        f'while [ ! -e {folder}/go ]; do sleep 0.1; done\nexec {FFMPEG} "$@"\n'
    )
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    with dangerous_stack(options=options(cameras)) as (stack, hazards):
        films = folders_of(stack)
        begin_cube(stack, 90, frames=5)  # it must outlast the full disk
        hazards.disk("full", *films)
        stack.moonraker.wait(lambda: "0 MiB left" in noticed(stack), 20, "the warning")
        missed = timelapse(stack)["frames_missed"]
        kept = len(frames_on_disk(stack))
        stack.moonraker.wait(lambda: timelapse(stack)["frames_missed"] > missed + 1, 20)
        assert len(frames_on_disk(stack)) == kept
        hazards.clear()
        stack.moonraker.wait(lambda: len(frames_on_disk(stack)) > kept, 20, "frames again")
        stack.klippy.gcode("M220 S1000")  # nobody needs the rest of it
        stack.klippy.wait_print("complete", 60)
        stack.moonraker.wait(lambda: timelapse(stack)["waiting"], 20, "the end of the recording")

        hazards.disk("full", *films)
        stack.do("timelapse_now")
        stack.moonraker.wait(lambda: "waits for room" in noticed(stack), 20, "the warning")
        assert not (folder / "begun").exists()  # not even tried
        hazards.clear()
        stack.do("timelapse_now")
        stack.moonraker.wait((folder / "begun").exists, 20, "ffmpeg to start")
        hazards.disk("full", *films)  # while it works
        (folder / "go").touch()
        stack.moonraker.wait(lambda: "was not made" in noticed(stack), 30, "the warning")
        assert {path.suffix for path in where_films_are(films)} <= {".jpg", ".json", ".log"}
        hazards.clear()
        frames = len(frames_on_disk(stack))
        stack.do("timelapse_now")
        _, path = wait_for_video(stack)
        assert frames_in(path) == frames
        stack.moonraker.wait(lambda: not stack.moonraker.warnings(), 20, "the warnings to go")


@pytest.mark.usefixtures("without_ffmpeg")
def test_a_disk_that_fills_up_under_the_zip_leaves_no_half_of_one(cameras: CameraServer) -> None:
    with dangerous_stack(options=options(cameras)) as (stack, hazards):
        films = folders_of(stack)
        begin_cube(stack, 10)
        stack.klippy.wait_print("complete", 60)
        stack.moonraker.wait(lambda: timelapse(stack)["waiting"], 20, "the end of the recording")
        frames = len(frames_on_disk(stack))

        def zips() -> list[Path]:
            return [path for path in where_films_are(films) if path.suffix == ".zip"]

        hazards.disk("slow", *films, delay=0.5)
        stack.do("timelapse_now")
        stack.moonraker.wait(zips, 30, "a ZIP that is being written")
        hazards.disk("full", *films)
        stack.moonraker.wait(lambda: "No space left" in noticed(stack), 30, "the warning")
        assert zips() == [] and len(frames_on_disk(stack)) == frames
        hazards.clear()
        stack.do("timelapse_now")
        _, path = wait_for_video(stack)
        with zipfile.ZipFile(path) as archive:
            assert len(archive.namelist()) == frames and archive.testzip() is None
        assert zips() == [path]
        stack.moonraker.wait(lambda: not stack.moonraker.warnings(), 20, "the warnings to go")
