"""The newest G-code files, kept by events: a root of 10,000 files is walked once, in a thread,
never at an update.
"""

import os
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional

from ..runtime.loose import as_dict, as_float, as_int, as_text
from ..runtime.steps import breathe
from ..runtime.supervisor import Supervisor
from ..runtime.worker import Worker

SHOWN = 50  # files in the status body (hub protocol)
KEPT = 200  # so that deleting some of the newest does not need a new walk
EXTENSIONS = (".gcode", ".g", ".gco", ".ufp", ".nc")  # Moonraker's VALID_GCODE_EXTS


class GcodeFile(NamedTuple):
    """A file of the gcodes root; `name` is relative to it."""

    name: str
    size: int  # bytes
    modified: float  # unix seconds


class GcodeFiles:
    def __init__(self, server: Any, root: Path, worker: Worker, supervisor: Supervisor) -> None:
        self._server = server
        self._root = root
        self._worker = worker
        self._supervisor = supervisor
        self._newest: Dict[str, GcodeFile] = {}
        self._complete = False  # every file there is, is in `_newest`
        self._walking = False
        self._again = False
        self._shown: Optional[List[GcodeFile]] = None
        self._listeners: List[Callable[[], None]] = []

    @property
    def root(self) -> Path:
        return self._root

    def register(self) -> None:
        self._server.register_event_handler("file_manager:filelist_changed", self._on_change)

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener()` when the list of the newest files has changed."""
        self._listeners.append(listener)

    def start(self) -> None:
        self._walk_soon()

    def newest(self) -> List[GcodeFile]:
        """At most `SHOWN` files, newest first."""
        if self._shown is None:
            ordered = sorted(self._newest.values(), key=lambda f: (-f.modified, f.name))
            self._shown = ordered[:SHOWN]
        return self._shown

    def find(self, name: str) -> Optional[GcodeFile]:
        """A file of the root as it is on disk now, or None; `name` is relative and has been
        checked.
        """
        path = self._root / name
        try:
            stat = path.stat()
        except (OSError, ValueError):
            return None
        if not path.is_file():
            return None
        return GcodeFile(name, stat.st_size, stat.st_mtime)

    def _on_change(self, info: Mapping[str, Any]) -> None:
        """Moonraker's `filelist_changed`: one file, or something larger that only a walk can
        tell.
        """
        item, source = as_dict(info.get("item")), as_dict(info.get("source_item"))
        if item.get("root") != "gcodes" and source.get("root") != "gcodes":
            return
        action = as_text(info.get("action"))
        if action in ("create_file", "modify_file"):
            self._put(item)
        elif action == "delete_file":
            self._drop(as_text(item.get("path")))
        elif action == "move_file":
            if source.get("root") == "gcodes":
                self._drop(as_text(source.get("path")))
            if item.get("root") == "gcodes":
                self._put(item)
        else:
            self._walk_soon()
            return
        self._tell()

    def _put(self, item: Mapping[str, Any]) -> None:
        name = as_text(item.get("path"))
        if not name.lower().endswith(EXTENSIONS):
            return
        size = as_int(item.get("size"), 0)
        modified = as_float(item.get("modified"), 0.0)
        self._newest[name] = GcodeFile(name, size, modified)
        if len(self._newest) > KEPT:
            oldest = min(self._newest.values(), key=lambda f: f.modified)
            del self._newest[oldest.name]
            self._complete = False

    def _drop(self, name: str) -> None:
        self._newest.pop(name, None)
        if len(self._newest) < SHOWN and not self._complete:
            self._walk_soon()

    def _tell(self) -> None:
        self._shown = None
        for listener in self._listeners:
            listener()

    def _walk_soon(self) -> None:
        if self._walking:
            self._again = True
            return
        self._walking = True
        self._supervisor.spawn("file list", self._walk())

    async def _walk(self) -> None:
        try:
            while True:
                self._again = False
                found, total = await self._worker.run(walk, self._root, KEPT)
                if not self._again:
                    break
        finally:
            self._walking = False
        self._newest = {f.name: f for f in found}
        self._complete = total == len(found)
        self._tell()


def walk(root: Path, keep: int) -> "tuple[List[GcodeFile], int]":
    """The `keep` newest G-code files under `root`, and how many there are. Hidden files and
    folders are left out.
    """
    found: List[GcodeFile] = []
    total = 0
    seen = set()
    folders = [str(root)]
    while folders:
        folder = folders.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        for index, entry in enumerate(entries):
            breathe(index, 100)
            try:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    stat = entry.stat()
                    if (stat.st_dev, stat.st_ino) not in seen:  # links can make rings
                        seen.add((stat.st_dev, stat.st_ino))
                        folders.append(entry.path)
                elif entry.name.lower().endswith(EXTENSIONS):
                    stat = entry.stat()
                    total += 1
                    found.append(
                        GcodeFile(
                            os.path.relpath(entry.path, str(root)), stat.st_size, stat.st_mtime
                        )
                    )
            except OSError:
                continue
        if len(found) > 20 * keep:
            found = _newest(found, keep)
    return _newest(found, keep), total


def _newest(files: List[GcodeFile], keep: int) -> List[GcodeFile]:
    return sorted(files, key=lambda f: -f.modified)[:keep]
