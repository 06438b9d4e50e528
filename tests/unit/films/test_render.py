"""ffmpeg: its command line by its results, and its failures."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from components.films.frames import FrameStore, Manifest
from components.films.render import Film, Renderer
from components.runtime.worker import Worker
from tests.unit.cameras.support import jpeg

FFMPEG = shutil.which("ffmpeg") or ""
needs_ffmpeg = pytest.mark.skipif(not FFMPEG, reason="ffmpeg is not installed")


@pytest_asyncio.fixture
async def renderer() -> AsyncIterator[Renderer]:
    worker = Worker("test-render")
    yield Renderer(worker)
    worker.close()


def film(folder: Path, frames: int, size: tuple[int, int]) -> Film:
    store = FrameStore(folder / "50% off 'x'")  # a name that a shell or a pattern would stumble on
    recording = store.begin(Manifest("a.gcode", 1_700_000_000.0, "Bed"))
    for number in range(frames):
        store.add(recording, jpeg(size, (number * 5 % 255, 100, 200)))
    output = recording.folder / "video.mp4"
    return Film(recording.folder, frames, size[0], size[1], 15, output)


def probed(path: Path) -> dict[str, Any]:
    command = ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-show_format",
               "-of", "json", str(path)]  # fmt: skip
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def program(folder: Path, script: str) -> str:
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@needs_ffmpeg
@pytest.mark.parametrize("size", [(320, 240), (321, 241)])
async def test_the_video_has_every_frame_and_what_browsers_ask_for(
    renderer: Renderer, tmp_path: Path, size: tuple[int, int]
) -> None:
    wanted = film(tmp_path, 45, size)
    assert await renderer.render(FFMPEG, wanted) == ""
    found = probed(wanted.output)
    (stream,) = found["streams"]
    assert int(stream["nb_read_frames"]) == 45
    assert float(found["format"]["duration"]) == pytest.approx(3.0, abs=0.01)
    assert (stream["codec_name"], stream["pix_fmt"]) == ("h264", "yuv420p")
    assert (stream["width"], stream["height"]) == (320, 240)
    data = wanted.output.read_bytes()
    assert 0 <= data.find(b"moov") < data.find(b"mdat")  # plays before it is all there


@needs_ffmpeg
async def test_frames_of_another_size_fit_into_the_same_video(
    renderer: Renderer, tmp_path: Path
) -> None:
    wanted = film(tmp_path, 10, (320, 240))
    (wanted.folder / "frame000004.jpg").write_bytes(jpeg((640, 360)))
    assert await renderer.render(FFMPEG, wanted) == ""
    (stream,) = probed(wanted.output)["streams"]
    assert (int(stream["nb_read_frames"]), stream["width"], stream["height"]) == (10, 320, 240)


async def test_it_runs_at_the_lowest_priority(renderer: Renderer, tmp_path: Path) -> None:
    wanted = film(tmp_path, 1, (64, 48))
    ffmpeg = program(tmp_path, f"nice > {tmp_path}/nice")
    assert await renderer.render(ffmpeg, wanted) == ""
    assert (tmp_path / "nice").read_text().strip() == "19"


async def test_a_failure_is_told_in_ffmpegs_own_words(renderer: Renderer, tmp_path: Path) -> None:
    wanted = film(tmp_path, 1, (64, 48))
    said = await renderer.render(program(tmp_path, "echo Unknown encoder >&2; exit 3"), wanted)
    assert "exit code 3" in said and "Unknown encoder" in said


async def test_chatter_without_end_neither_blocks_nor_grows_a_sentence(
    renderer: Renderer, tmp_path: Path
) -> None:
    wanted = film(tmp_path, 1, (64, 48))
    script = "head -c 3000000 /dev/zero | tr '\\0' 'x' >&2; exit 1"
    said = await renderer.render(program(tmp_path, script), wanted)
    assert len(said) < 400


async def test_a_program_that_cannot_be_started_is_told(renderer: Renderer, tmp_path: Path) -> None:
    wanted = replace(film(tmp_path, 1, (64, 48)))
    renderer = Renderer(Worker("test-nonice"), find=lambda name: None)
    assert "cannot be started" in await renderer.render(str(tmp_path / "missing"), wanted)


async def test_cancelling_kills_ffmpeg_and_leaves_no_output(
    renderer: Renderer, tmp_path: Path
) -> None:
    wanted = film(tmp_path, 1, (64, 48))
    script = f"echo half > {wanted.output.name}; echo $$ > {tmp_path}/pid; exec sleep 600"
    task = asyncio.ensure_future(renderer.render(program(tmp_path, script), wanted))
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        await asyncio.sleep(0.01)
    pid = int((tmp_path / "pid").read_text())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not wanted.output.exists()
