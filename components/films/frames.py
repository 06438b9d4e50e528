"""Frames of prints on disk, one folder a print with a manifest that survives anything. Blocking:
call in a thread.

    <data_path>/tecmedhub/timelapse/20261122_143005_benchy/
        manifest.json
        frame000001.jpg …

A frame is written beside its place and renamed into it, so a crash leaves no half of one; a power
cut may leave an empty one, which `ready_frames` passes over.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import zipfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import List, Optional

from ..printer.snapshot import Job
from ..runtime.disk import discard, free_space, write_whole
from ..runtime.loose import as_dict, as_float, as_int, as_text

MANIFEST = "manifest.json"
FRAME = "frame{:06d}.jpg"
MAX_MANIFEST = 64 << 10  # bytes; ours have some hundred
MAX_RECORDINGS = 50  # folders looked at; more means that rendering has failed for weeks
START_TOLERANCE = 120.0  # seconds by which a print's start may differ and still be the same print's

RECORDING = "recording"
WAITING = "waiting"  # for its video
GIVEN_UP = "given_up"  # its video could not be made; asked for, it is tried again
VIDEO = "video.mp4"
ARCHIVE = "frames.zip"


@dataclass(frozen=True)
class Manifest:
    """What is known of one print being filmed; times are unix seconds."""

    filename: str
    started: float  # the print's start
    camera: str
    state: str = RECORDING
    ended: float = 0.0
    outcome: str = ""  # Klipper's word: complete, cancelled, error; "" when it was not seen
    thinned: int = 1  # every which frame is kept: 1, 2, 4, …
    attempts: int = 0  # at making the video
    rendered: int = 0  # bytes of a finished video that has yet to be put in its place; 0: none


@dataclass
class Recording:
    """A folder of frames. Only the thread that `FrameStore` is called in changes one."""

    folder: Path
    manifest: Manifest
    frames: int = 0
    bytes: int = 0
    next_number: int = field(default=1)


class FrameStore:
    """All folders of frames below `root`. Raises OSError where the disk does."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def scan(self) -> List[Recording]:
        """What former lives left behind, oldest first; folders without a readable manifest are
        passed over.
        """
        if not self.root.is_dir():
            return []
        found = []
        for folder in sorted(entry for entry in self.root.iterdir() if entry.is_dir())[
            -MAX_RECORDINGS:
        ]:
            manifest = _read_manifest(folder / MANIFEST)
            if manifest is not None:
                recording = Recording(folder, manifest)
                self._count(recording)
                found.append(recording)
        return found

    def begin(self, manifest: Manifest) -> Recording:
        stamp = time.strftime("%Y%m%d_%H%M%S", time.localtime(manifest.started))
        base = self.root / f"{stamp}_{plain_name(Path(manifest.filename).stem, 60)}"
        folder, number = base, 1
        while folder.exists():
            number += 1
            folder = base.with_name(f"{base.name}_{number}")
        folder.mkdir(parents=True)
        recording = Recording(folder, manifest)
        self.save(recording, manifest)
        return recording

    def save(self, recording: Recording, manifest: Manifest) -> None:
        """Put a new manifest in force, on disk before in memory."""
        data = json.dumps(asdict(manifest)).encode("utf-8")
        write_whole(recording.folder / MANIFEST, data, durable=True)
        recording.manifest = manifest

    def add(self, recording: Recording, jpeg: bytes) -> None:
        """Append a frame."""
        write_whole(recording.folder / FRAME.format(recording.next_number), jpeg)
        recording.next_number += 1
        recording.frames += 1
        recording.bytes += len(jpeg)

    def thin(self, recording: Recording) -> None:
        """Remove every second frame, evenly, the newest staying; the caller takes half as many from
        now on.
        """
        self.save(recording, replace(recording.manifest, thinned=recording.manifest.thinned * 2))
        for path in frame_paths(recording.folder)[-2::-2]:
            path.unlink()
        self._count(recording)

    def ready_frames(self, recording: Recording) -> int:
        """Remove damaged frames and number the rest 1, 2, 3, … as ffmpeg wants them; how many there
        are.

        Each is renamed to a number at most its own, in order, so that a crash between two of them
        loses nothing.
        """
        number = 0
        for path in frame_paths(recording.folder):
            if not _whole(path):
                path.unlink()
                continue
            number += 1
            path.rename(recording.folder / FRAME.format(number))
        self._count(recording)
        return number

    def zip(self, recording: Recording, target: Path) -> None:
        """All frames in one file, stored as they are: JPEGs do not shrink. Nothing is left of one
        that could not be finished.
        """
        try:
            with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                for path in frame_paths(recording.folder):
                    archive.writestr(_entry(path), path.read_bytes())
        except BaseException:
            discard(target)
            raise

    def finished(self, recording: Recording) -> Optional[Path]:
        """The video that a former attempt has made of it, if it is whole."""
        made = recording.folder / VIDEO
        try:
            size = made.stat().st_size
        except OSError:
            return None
        return made if size and size == recording.manifest.rendered else None

    def last_frame(self, recording: Recording) -> Optional[Path]:
        paths = frame_paths(recording.folder)
        return paths[-1] if paths else None

    def drop(self, recording: Recording) -> None:
        shutil.rmtree(recording.folder, ignore_errors=True)
        recording.frames = recording.bytes = 0

    def free(self) -> int:
        """Bytes free on the disk of the frames."""
        return free_space(self.root)

    def _count(self, recording: Recording) -> None:
        paths = frame_paths(recording.folder)
        recording.frames = len(paths)
        recording.bytes = sum(path.stat().st_size for path in paths)
        recording.next_number = _number(paths[-1]) + 1 if paths else 1


def same_print(manifest: Manifest, job: Job, now: float) -> bool:
    """Whether `job`, at unix time `now`, is the print that `manifest` began to film."""
    if job.state not in ("printing", "paused") or job.filename != manifest.filename:
        return False
    # total_duration counts from the start, pauses included; by it a wrong wall clock shows too.
    return abs(now - job.total_duration - manifest.started) <= START_TOLERANCE


def frame_paths(folder: Path) -> List[Path]:
    """The frames of a folder in the order in which they were taken."""
    return sorted(path for path in folder.glob("frame*.jpg") if _number(path) > 0)


def plain_name(text: str, longest: int) -> str:
    """A file name of `text` that no file system, web page or shell minds; at most `longest` bytes.

    >>> plain_name("Búho #2 (v1)/../x", 20)
    'Búho_2_v1_.._x'
    """
    clean = re.sub(r"[^\w.-]+", "_", text).strip("._-")
    return clean.encode("utf-8", "ignore")[:longest].decode("utf-8", "ignore") or "print"


def _number(path: Path) -> int:
    match = re.match(r"^frame(\d{6,9})\.jpg$", path.name)
    return int(match.group(1)) if match else 0


def _whole(path: Path) -> bool:
    """Whether a frame begins and ends as the JPEGs do that we write."""
    if path.stat().st_size < 4:
        return False
    with path.open("rb") as file:
        head = file.read(2)
        file.seek(-2, os.SEEK_END)
        return head == b"\xff\xd8" and file.read(2) == b"\xff\xd9"


def _entry(path: Path) -> zipfile.ZipInfo:
    """A ZIP knows no time before 1980, which a computer without a clock has."""
    written = time.localtime(path.stat().st_mtime)[:6]
    entry = zipfile.ZipInfo(path.name, max(written, (1980, 1, 1, 0, 0, 0)))
    entry.external_attr = 0o644 << 16
    return entry


def _read_manifest(path: Path) -> Optional[Manifest]:
    try:
        if path.stat().st_size > MAX_MANIFEST:
            return None
        data = as_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return None
    started = as_float(data.get("started"))
    filename = as_text(data.get("filename"))
    if started is None or not filename:
        return None
    state = as_text(data.get("state"))
    return Manifest(
        filename=filename,
        started=started,
        camera=as_text(data.get("camera")),
        state=state if state in (RECORDING, WAITING, GIVEN_UP) else WAITING,
        ended=as_float(data.get("ended"), 0.0),
        outcome=as_text(data.get("outcome")),
        thinned=max(as_int(data.get("thinned"), 1), 1),
        attempts=max(as_int(data.get("attempts"), 0), 0),
        rendered=max(as_int(data.get("rendered"), 0), 0),
    )


def over_budget(recordings: List[Recording], budget: int) -> Optional[Recording]:
    """The recording to thin so that all together fit into `budget` bytes; None if they do."""
    worth = [recording for recording in recordings if recording.frames > 2]
    if not worth or sum(recording.bytes for recording in recordings) <= budget:
        return None
    return max(worth, key=lambda recording: recording.bytes)
