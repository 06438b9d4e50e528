"""The finished videos: where they lie, which of them are ours, and how many stay.

They lie in the file root `timelapse`, which Mainsail and Fluidd show: moonraker-timelapse's folder
where that is installed, else `<data_path>/timelapse`. An index of our own tells our videos from
other people's, so that only ours are ever removed.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.parse
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from ..runtime.loose import as_bool, as_dict, as_float, as_int, as_list, as_text
from .frames import plain_name

ROOT = "timelapse"
INDEX = "videos.json"
MAX_INDEX = 1 << 20  # bytes
LISTED = 20  # videos in the status body


@dataclass(frozen=True)
class Video:
    """One video, or the ZIP of frames that stands in for it."""

    name: str  # of the file
    poster: str  # file name of its picture, or ""
    printed: str  # the G-code file
    size: int  # bytes
    created: float  # unix seconds
    duration: float  # seconds; 0 for a ZIP
    frames: int
    sent: bool = False  # to the hub

    def listed(self) -> Dict[str, Any]:
        """As it stands in the status body."""
        return {
            "name": self.name,
            "size": self.size,
            "created": int(self.created),
            "duration": round(self.duration, 2),
            "path": f"/server/files/{ROOT}/{urllib.parse.quote(self.name)}",
        }


class Gallery:
    """Blocking, but for `videos`: call in a thread. Raises OSError where the disk does."""

    def __init__(self, folder: Path, index_folder: Path) -> None:
        self.folder = folder
        self._index = index_folder / INDEX
        self.videos: Tuple[Video, ...] = ()  # newest first

    def load(self) -> None:
        """Read the index, and forget what somebody has deleted in the web interface."""
        self.videos = tuple(v for v in _read_index(self._index) if (self.folder / v.name).is_file())

    def add(
        self,
        file: Path,
        poster: Optional[bytes],
        *,
        printed: str,
        now: float,
        seconds: float,
        frames: int,
    ) -> Video:
        """Move a finished file in, under moonraker-timelapse's naming:
        `timelapse_<file>_<date>.mp4`.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        stamp = time.strftime("%Y%m%d_%H%M", time.localtime(now))
        base = f"timelapse_{plain_name(Path(printed).name, 100)}_{stamp}"
        name, number = base + file.suffix, 1
        while (self.folder / name).exists():
            number += 1
            name = f"{base}_{number}{file.suffix}"
        picture = ""
        if poster:
            picture = str(Path(name).with_suffix("")) + ".jpg"
            _write(self.folder / picture, poster)
        _move(file, self.folder / name)
        size = (self.folder / name).stat().st_size
        video = Video(name, picture, printed, size, now, seconds, frames)
        self._save((video, *self.videos))
        return video

    def mark_sent(self, name: str) -> None:
        self._save(tuple(replace(v, sent=True) if v.name == name else v for v in self.videos))

    def trim(self, keep: int, budget: int) -> List[Video]:
        """Remove our oldest videos beyond `keep` in number or `budget` bytes; the newest always
        stays.
        """
        self.load()
        stay: List[Video] = []
        gone: List[Video] = []
        total = 0
        for video in self.videos:
            total += video.size
            fits = len(stay) < max(keep, 1) and (total <= budget or not stay)
            (stay if fits else gone).append(video)
        for video in gone:
            for name in filter(None, (video.name, video.poster)):
                path = self.folder / name
                if path.is_file():
                    path.unlink()
        if gone:
            self._save(tuple(stay))
        return gone

    def read(self, name: str, at_most: int) -> Optional[bytes]:
        """The bytes of one of our videos, or None where it is gone or larger than `at_most`."""
        path = self.folder / name
        if not path.is_file() or path.stat().st_size > at_most:
            return None
        return path.read_bytes()

    def _save(self, videos: Tuple[Video, ...]) -> None:
        text = json.dumps({"videos": [asdict(video) for video in videos]})
        self._index.parent.mkdir(parents=True, exist_ok=True)
        _write(self._index, text.encode("utf-8"))
        self.videos = videos


def _write(path: Path, data: bytes) -> None:
    beside = path.with_name(f".{path.name}.part")
    beside.write_bytes(data)
    os.replace(beside, path)


def _move(source: Path, target: Path) -> None:
    """Rename, or where that crosses file systems, copy beside the target first: nobody sees half a
    video.
    """
    try:
        os.replace(source, target)
    except OSError:
        beside = target.with_name(f".{target.name}.part")
        shutil.copyfile(source, beside)
        os.replace(beside, target)
        source.unlink()


def _read_index(path: Path) -> List[Video]:
    try:
        if path.stat().st_size > MAX_INDEX:
            return []
        data = as_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return []
    found = []
    for item in as_list(data.get("videos")):
        entry = as_dict(item)
        name = as_text(entry.get("name"))
        poster = as_text(entry.get("poster"))
        if not name or any("/" in part or part.startswith(".") for part in (name, poster)):
            continue  # never a path out of the folder: what is listed here is deleted one day
        found.append(
            Video(
                name=name,
                poster=poster,
                printed=as_text(entry.get("printed")),
                size=as_int(entry.get("size"), 0) or 0,
                created=as_float(entry.get("created"), 0.0) or 0.0,
                duration=as_float(entry.get("duration"), 0.0) or 0.0,
                frames=as_int(entry.get("frames"), 0) or 0,
                sent=as_bool(entry.get("sent")),
            )
        )
    return sorted(found, key=lambda video: video.created, reverse=True)
