"""Other programs in the same folders on the real stack: a second Moonraker with the same gcodes
folder, and moonraker-timelapse (a stand-in that writes as the real one does).
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rig import timelapse_stand_in
from tests.rig.cameras import CameraServer
from tests.rig.gcode import make_gcode
from tests.rig.klippy import short_folder
from tests.rig.stack import Stack
from tests.rig.timelapse_stand_in import THEIRS

pytestmark = pytest.mark.stack

MIB = 2**20
NEIGHBOURS = {"timelapse": timelapse_stand_in.__file__}


def pair(folder: Path, gcodes: Path) -> Stack:
    """A printer whose gcodes folder is a link to a shared one, as one to a USB disk is."""
    (folder / "data").mkdir()
    (folder / "data" / "gcodes").symlink_to(gcodes)
    return Stack(folder)


def test_two_moonrakers_with_one_gcodes_folder_keep_their_files_apart() -> None:
    with contextlib.ExitStack() as all_of_them:
        disk = Path(all_of_them.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        shared = disk / "gcodes"
        shared.mkdir()
        bodies = [
            make_gcode(seconds=seconds, layers=1, hotend=0, bed=0, head=3 * MIB).encode()
            for seconds in (1, 2)
        ]
        stacks = [
            all_of_them.enter_context(pair(all_of_them.enter_context(short_folder("n")), shared))
            for _ in bodies
        ]
        for stack, body in zip(stacks, bodies, strict=True):
            stack.hub.add_file("pieza.gcode", body, stack.token)
            stack.hub.fault("download_file", "download", rate=MIB // 4)  # they are to meet
        commands = [s.hub.queue(s.token, "print", file="pieza.gcode") for s in stacks]

        def staged() -> list[Path]:
            return list(disk.glob(".tecmedhub-staging-*/*.part"))

        stacks[0].moonraker.wait(lambda: len(staged()) == 2, 30, "both downloads at once")
        for stack, command, body in zip(stacks, commands, bodies, strict=True):
            result = stack.moonraker.wait(
                lambda s=stack, c=command: s.hub.result(s.token, c), 60, "the result"
            )
            assert result.status == "done", result
            stack.klippy.wait_print("complete", 60)
            printed = stack.klippy.query("print_stats")["filename"]
            assert (shared / printed).read_bytes() == body, "its own file, whole"
        assert {p.name for p in shared.glob("*.gcode")} == {"pieza.gcode", "pieza (2).gcode"}
        assert staged() == []


@pytest.fixture
def cameras() -> Iterator[CameraServer]:
    with CameraServer(1, size=(640, 360)) as server:
        yield server


def options(cameras: CameraServer, **more: Any) -> dict[str, Any]:
    return {
        "camera_urls": cameras[0].snapshot_url,
        "camera_timelapse_interval": 1,
        "camera_timelapse_fps": 10,
        **more,
    }


def film(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = stack.moonraker.get("/server/tecmedhub/status")["timelapse"]
    return found


def print_once(stack: Stack, name: str) -> None:
    stack.put(name, make_gcode(seconds=8, hotend=0, bed=0))
    stack.print(name)
    stack.klippy.wait_print("complete", 60)


def test_beside_moonraker_timelapse_there_is_one_video_of_each_print(
    cameras: CameraServer, make_stack: Callable[..., Stack]
) -> None:
    stack = make_stack(options=options(cameras), sections="[timelapse]", neighbours=NEIGHBOURS)
    print_once(stack, "cube.gcode")
    folder = Path(film(stack)["folder"])
    stack.moonraker.wait(lambda: list(folder.glob("*.mp4")), 20, "its video")
    assert film(stack)["frames_taken"] == 0 and film(stack)["recording"] is None
    assert stack.moonraker.get("/machine/timelapse/settings")["stand_in"] is True
    said = [n["text"] for n in stack.moonraker.get("/server/tecmedhub/status")["notices"]]
    assert any("moonraker-timelapse" in text for text in said), said
    assert [path.name.split("_")[0] for path in folder.glob("*.mp4")] == ["timelapse"]
    stack.override.write_text('{"camera": {"timelapse_enabled": true}}', encoding="utf-8")

    def chosen() -> bool:
        options = stack.moonraker.get("/server/tecmedhub/config")["options"]
        return any(
            o["path"] == "camera.timelapse_enabled" and o["origin"] != "default" for o in options
        )

    stack.moonraker.wait(chosen, 20, "the setting")
    print_once(stack, "cube.gcode")
    stack.moonraker.wait(lambda: list(folder.glob("tecmedhub_*.mp4")), 90, "ours, asked for")
    assert len(list(folder.glob("timelapse_*.mp4"))) >= 1


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
def test_a_video_that_moonraker_timelapse_put_in_the_place_of_ours_is_never_deleted(
    cameras: CameraServer, make_stack: Callable[..., Stack]
) -> None:
    stack = make_stack(
        options=options(cameras, camera_timelapse_enabled=True, camera_timelapse_keep=1),
        sections="[timelapse]\noverwrite: tecmedhub_first*.mp4",
        neighbours=NEIGHBOURS,
    )
    print_once(stack, "first.gcode")
    folder = Path(film(stack)["folder"])

    def replaced() -> list[Path]:
        return [p for p in folder.glob("tecmedhub_first*.mp4") if p.read_bytes() == THEIRS]

    (theirs,) = stack.moonraker.wait(replaced, 60, "their video under our name")
    for name in ("second.gcode", "third.gcode"):
        print_once(stack, name)
        part = f"tecmedhub_{name}_"
        stack.moonraker.wait(lambda p=part: list(folder.glob(f"{p}*.mp4")), 60, f"the {name} film")
    stack.moonraker.wait(
        lambda: not list(folder.glob("tecmedhub_second*.mp4")), 20, "ours to be cleaned up"
    )
    assert theirs.read_bytes() == THEIRS
    for path in folder.glob("timelapse_*.mp4"):
        assert path.read_bytes() == THEIRS
