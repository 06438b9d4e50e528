"""Frames to an MP4 that browsers play, by ffmpeg: at the lowest priority, in one thread, within a
time limit.

A print must never share the processor with this: whoever calls `render` cancels it the moment one
starts.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Optional

from ..runtime.disk import discard, reason_of
from ..runtime.messages import say
from ..runtime.worker import Worker

START_TIME = 60.0  # seconds before a frame is expected: ffmpeg itself loads slowly from an SD card
FRAME_TIME = 2.0  # seconds for a frame of a megapixel; a Pi Zero 2 needs 0.2
KILL_WAIT = 2.0  # seconds until a killed ffmpeg must be gone
LOG = "ffmpeg.log"
SAID = 300  # characters of ffmpeg's own words in a sentence


@dataclass(frozen=True)
class Film:
    """What to make: `frames` pictures `frame%06d.jpg` from 1, at `fps`, into `output`."""

    folder: Path
    frames: int
    width: int
    height: int
    fps: int
    output: Path


def command(nice: Optional[str], ffmpeg: str, film: Film) -> List[str]:
    """The command line, to be run in the film's folder. yuv420p, even dimensions and the index in
    front are what browsers ask for.
    """
    width, height = film.width // 2 * 2, film.height // 2 * 2
    fit = (
        f"scale={width}:{height}:force_original_aspect_ratio=decrease,"
        f"pad={width}:{height}:(ow-iw)/2:(oh-ih)/2,format=yuv420p"
    )
    prefix = [nice, "-n", "19"] if nice else []
    return [
        *prefix, ffmpeg, "-nostdin", "-hide_banner", "-loglevel", "error", "-y",
        "-threads", "1", "-framerate", str(film.fps), "-start_number", "1",
        "-i", "frame%06d.jpg",
        "-frames:v", str(film.frames), "-filter_threads", "1", "-vf", fit,
        "-c:v", "libx264", "-preset", "ultrafast", "-crf", "23", "-threads", "1",
        "-movflags", "+faststart", "-an", "-f", "mp4", str(film.output),
    ]  # fmt: skip


def time_limit(film: Film) -> float:
    """Seconds after which ffmpeg hangs rather than works.

    >>> time_limit(Film(Path(), 100, 1000, 1000, 15, Path()))
    260.0
    """
    return START_TIME + film.frames * FRAME_TIME * max(film.width * film.height / 1e6, 0.5)


class Renderer:
    """`find(program)` gives a program's path or None (`shutil.which`)."""

    def __init__(self, worker: Worker, find: Callable[[str], Optional[str]] = shutil.which) -> None:
        self._worker = worker
        self._find = find

    async def ffmpeg(self) -> Optional[str]:
        """Where ffmpeg is, or None; asked anew each time, for it may be installed meanwhile."""
        return await self._worker.run(self._find, "ffmpeg")

    async def render(self, ffmpeg: str, film: Film) -> str:
        """Make the film; "" if it is there, else why not, without a full stop. Cancelled, it kills
        ffmpeg and leaves no output.
        """
        nice = await self._worker.run(self._find, "nice")
        log = film.folder / LOG
        said = await self._worker.run(log.open, "wb")
        try:
            process = await asyncio.create_subprocess_exec(
                *command(nice, ffmpeg, film),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                cwd=str(film.folder),
            )
        except OSError as error:
            return say("ffmpeg cannot be started ({reason})", reason=reason_of(error))
        finally:
            said.close()
        done = False
        try:
            code = await asyncio.wait_for(process.wait(), time_limit(film))
            done = code == 0
        except asyncio.TimeoutError:
            return say(
                "ffmpeg was not done after {seconds:.0f} s and was stopped",
                seconds=time_limit(film),
            )
        finally:
            if not done:
                await self._end(process, film)
        if done:
            return ""
        last = await self._worker.run(_last_words, log)
        said_last = last.rstrip(".") or say("it said nothing")
        return say("ffmpeg failed (exit code {code}): {said}", code=code, said=said_last)

    async def _end(self, process: "asyncio.subprocess.Process", film: Film) -> None:
        if process.returncode is None:
            try:
                process.kill()
            except ProcessLookupError:
                pass
            await asyncio.wait({asyncio.ensure_future(process.wait())}, timeout=KILL_WAIT)
        await self._worker.run(discard, film.output)


def _last_words(log: Path) -> str:
    try:
        with log.open("rb") as file:
            text = file.read(64 << 10).decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:SAID] if lines else ""
