"""The finished videos: where they lie, which of them are ours, and how many stay.

They lie in the file root `timelapse`, which Mainsail and Fluidd show: moonraker-timelapse's folder
where that is installed, else `<data_path>/timelapse`. Other programs write there, too, so a video
is ours only as long as size and time are those that our index has for it: what somebody has put in
its place is never removed, replaced or sent.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
import urllib.parse
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from ..runtime import moves
from ..runtime.disk import discard, free_space, reason_of, same_file_system, write_whole
from ..runtime.identity import Identity, identity_of
from ..runtime.loose import as_bool, as_dict, as_float, as_int, as_list, as_text
from ..runtime.messages import say
from .frames import plain_name
from .timelapse import ROOT

INDEX = "videos.json"
MAX_INDEX = 1 << 20  # bytes
MAX_NUMBER = 100  # videos of one name and minute
COARSE = 2.0  # seconds, in which a FAT disk counts


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
    refused: bool = False  # by the hub, for good
    written: float = 0.0  # unix seconds: the time of the file
    poster_size: int = 0  # bytes
    poster_written: float = 0.0

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
        self._loaded = False  # else there may be more, on a disk that could not be read
        self.trouble = ""  # why the index is not on the disk

    def load(self) -> None:
        """Read the index, and forget what somebody has deleted or replaced."""
        listed = _read_index(self._index)
        if self.folder.is_dir():  # else its disk is not there, and says nothing of them
            moves.bring_back(self.folder, self.folder)
            listed = [video for video in listed if self._video(video) is not None]
        self.videos, self._loaded = tuple(listed), True

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
        """Move a finished file in, under a name of our own that nobody else has:
        `tecmedhub_<file>_<date>.mp4`.
        """
        if not self._loaded:
            self.load()
        self.folder.mkdir(parents=True, exist_ok=True)
        stamp = time.strftime("%Y%m%d_%H%M", time.localtime(now))
        base = f"tecmedhub_{plain_name(Path(printed).name, 100)}_{stamp}"
        path, size, written = self._place(file, base, file.suffix)
        video = Video(path.name, "", printed, size, now, seconds, frames, written=written)
        if poster:
            video = self._with_poster(video, path.with_suffix(".jpg"), poster)
        self._save((video, *self.videos))
        return video

    def mark(self, name: str, *, sent: bool = False, refused: bool = False) -> None:
        """What has become of the hub's copy."""
        self._save(
            tuple(
                replace(v, sent=sent or v.sent, refused=refused or v.refused)
                if v.name == name
                else v
                for v in self.videos
            )
        )

    def trim(self, keep: int, budget: int) -> List[Video]:
        """Remove our oldest videos beyond `keep` in number or `budget` bytes; the newest always
        stays.
        """
        try:
            self.load()
        except OSError:
            return []  # the next film finds it readable, or tells
        stay: List[Video] = []
        gone: List[Video] = []
        total = 0
        for video in self.videos:
            total += video.size
            fits = len(stay) < max(keep, 1) and (total <= budget or not stay)
            (stay if fits else gone).append(video)
        for video in gone:
            self._remove(video.name, self._video(video))
            if video.poster:
                self._remove(video.poster, self._poster(video))
        if gone:
            self._save(tuple(stay))
        return gone

    def read(self, video: Video, at_most: int) -> Optional[bytes]:
        """The bytes of one of our videos, or None where it is not ours any more or larger than
        `at_most`.
        """
        found = self._video(video)
        if found is None or found.size > at_most:
            return None
        return (self.folder / video.name).read_bytes()

    def free(self) -> int:
        """Bytes free on the disk of the videos."""
        return free_space(self.folder)

    # Inside

    def _video(self, video: Video) -> Optional[Identity]:
        return self._known(video.name, video.size, video.written)

    def _poster(self, video: Video) -> Optional[Identity]:
        return self._known(video.poster, video.poster_size, video.poster_written)

    def _known(self, name: str, size: int, written: float) -> Optional[Identity]:
        """The file of that name, if it is the one that was put there."""
        found = identity_of(self.folder / name)
        if found is None or found.size != size or abs(found.mtime_ns / 1e9 - written) > COARSE:
            return None
        return found

    def _remove(self, name: str, expected: Optional[Identity]) -> None:
        if expected is not None:
            moves.take_away(self.folder / name, expected, self.folder, lambda: False)

    def _place(self, file: Path, base: str, suffix: str) -> Tuple[Path, int, float]:
        """Rename, or where that crosses disks, copy beside the target first: nobody sees half a
        video. Where it is, its size and its time, taken before: afterwards it may be another's.
        """
        source = file
        if not same_file_system(file, self.folder):
            source = self.folder / f".{secrets.token_hex(4)}.part"
        try:
            if source != file:
                shutil.copyfile(str(file), str(source))
            size, written = _size_and_time(source)
            for number in range(1, MAX_NUMBER):
                name = f"{base}_{number}{suffix}" if number > 1 else base + suffix
                try:
                    moves.place(source, self.folder / name)
                except FileExistsError:
                    continue
                if source != file:
                    discard(file)
                return self.folder / name, size, written
            raise FileExistsError(17, say("too many videos of that name"))
        except BaseException:
            if source != file:
                discard(source)
            raise

    def _with_poster(self, video: Video, path: Path, poster: bytes) -> Video:
        """A video without its picture is still a video."""
        beside = path.with_name(f".{secrets.token_hex(4)}.part")
        try:
            beside.write_bytes(poster)
            size, written = _size_and_time(beside)
            moves.place(beside, path)
        except OSError:
            discard(beside)
            return video
        return replace(video, poster=path.name, poster_size=size, poster_written=written)

    def _save(self, videos: Tuple[Video, ...]) -> None:
        """Never raises: a video that is not in the index is no longer ours after a restart, but it
        is there.
        """
        self.videos = videos
        text = json.dumps({"videos": [asdict(video) for video in videos]})
        try:
            self._index.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._index, text.encode("utf-8"))
            self.trouble = ""
        except OSError as error:
            self.trouble = reason_of(error)


def _size_and_time(path: Path) -> Tuple[int, float]:
    found = path.lstat()
    return found.st_size, found.st_mtime_ns / 1e9


def _read_index(path: Path) -> List[Video]:
    """Raises OSError where it is there and cannot be read."""
    try:
        if path.stat().st_size > MAX_INDEX:
            return []
        data = as_dict(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
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
                size=as_int(entry.get("size"), 0),
                created=as_float(entry.get("created"), 0.0),
                duration=as_float(entry.get("duration"), 0.0),
                frames=as_int(entry.get("frames"), 0),
                sent=as_bool(entry.get("sent")),
                refused=as_bool(entry.get("refused")),
                written=as_float(entry.get("written"), 0.0),
                poster_size=as_int(entry.get("poster_size"), 0),
                poster_written=as_float(entry.get("poster_written"), 0.0),
            )
        )
    return sorted(found, key=lambda video: video.created, reverse=True)
