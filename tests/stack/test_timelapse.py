"""Timelapses on the real stack: a print, its frames, its video; Moonraker killed meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rig.cameras import CameraServer
from tests.rig.gcode import make_gcode
from tests.rig.stack import Stack

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


def frames_on_disk(stack: Stack) -> list[Path]:
    found = os.walk(stack.moonraker.state_folder / "timelapse")  # minds no folder that just goes
    return sorted(Path(at, name) for at, _, names in found for name in names if ".jpg" in name)


def videos(stack: Stack) -> list[dict[str, Any]]:
    return (stack.hub.status(stack.token) or {}).get("timelapses") or []


def wait_for_video(stack: Stack) -> tuple[dict[str, Any], Path]:
    """The one video, in the status body and in the folder that the web interfaces show."""
    (video,) = stack.moonraker.wait(lambda: videos(stack), 90, "the video in the status")
    folder = Path(timelapse(stack)["folder"])
    return video, folder / video["name"]


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
    stack.put("cube.gcode", make_gcode(seconds=15, hotend=0, bed=0))
    stack.print("cube.gcode")
    stack.moonraker.wait(lambda: len(frames_on_disk(stack)) >= 5, 40, "frames on the disk")
    assert timelapse(stack)["rendering"] == ""
    stack.klippy.wait_print("complete", 60)
    stack.moonraker.wait(lambda: timelapse(stack)["waiting"], 20, "the end of the recording")
    frames = timelapse(stack)["waiting"][0]["frames"]
    assert 10 <= frames == len(frames_on_disk(stack))

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
    stack.put("cube.gcode", make_gcode(seconds=30, hotend=0, bed=0))
    stack.print("cube.gcode")
    stack.moonraker.wait(lambda: len(frames_on_disk(stack)) >= 6, 40, "frames on the disk")
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
    stack.put("cube.gcode", make_gcode(seconds=12, hotend=0, bed=0))
    stack.print("cube.gcode")
    stack.moonraker.wait(lambda: len(frames_on_disk(stack)) >= 6, 40, "frames on the disk")
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
    stack.put("cube.gcode", make_gcode(seconds=8, hotend=0, bed=0))
    stack.print("cube.gcode")
    stack.klippy.wait_print("complete", 60)
    video, path = wait_for_video(stack)
    (sent,) = stack.hub.wait_for(lambda: stack.hub.timelapses(stack.token), 30, "the upload")
    assert sent.name == video["name"]
    assert sent.path.read_bytes() == path.read_bytes()
