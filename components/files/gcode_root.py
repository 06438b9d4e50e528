"""The printer's own G-code files, through Moonraker's file manager: the only module here that
touches Moonraker.

The file manager is duck-typed (`get_directory`, `get_file_metadata`), likewise the job queue
(`queued_jobs`); history and metadata scans are a `call_method` of Moonraker's internal transport.
All paths are relative to the gcodes root unless they say otherwise.

Moonraker's own upload and deletion wait their turn and then replace or remove whatever has the
name by then. So both are done here by `moves`, and Moonraker sees them as it sees what other
programs do in its folders.
"""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any, Awaitable, Callable, Dict, List, NamedTuple, Optional, Sequence, Set

from ..printer.open_file import LoadedFile
from ..printer.verbs import PrinterError
from ..runtime.identity import Identity, identity, identity_of
from ..runtime.loose import as_dict, as_float, as_list, as_text
from ..runtime.messages import say

EXTENSIONS = (".gcode", ".g", ".gco", ".ufp", ".nc")  # Moonraker's VALID_GCODE_EXTS
HISTORY_PAGE = 100  # jobs a call: Moonraker looks for each job's file on the event loop


class StoreFailed(Exception):
    """Moonraker refused, in its own words."""


class OnDisk(NamedTuple):
    """A plain file of the gcodes root as it is now."""

    path: str
    identity: Identity

    @property
    def size(self) -> int:
        """Bytes."""
        return self.identity.size

    @property
    def mtime_ns(self) -> int:
        return self.identity.mtime_ns


class GcodeStore:
    def __init__(
        self,
        file_manager: Any,
        job_queue: Any,
        loaded: Callable[[], LoadedFile],
        ask: Callable[[], Awaitable[LoadedFile]],
        call_method: Callable[..., Awaitable[Any]],
        send_event: Callable[..., Any],
    ) -> None:
        """`loaded()` is what was heard of Klipper last; `ask()` asks it (`printer.open_file`).
        `call_method(name, arguments)` is Moonraker's internal transport,
        for history and metadata; `send_event` is the server's.
        """
        self._file_manager = file_manager
        self._job_queue = job_queue
        self._loaded = loaded
        self._ask = ask
        self._call_method = call_method
        self._send_event = send_event

    @property
    def root(self) -> Path:
        return Path(self._file_manager.get_directory("gcodes"))

    async def look(self) -> LoadedFile:
        """What Klipper has in hand now; raises `StoreFailed` where nobody can know."""
        try:
            return await self._ask()
        except PrinterError as error:
            raise StoreFailed(error.args[0]) from None

    def check_writable(self) -> None:
        """Raises `StoreFailed` while Moonraker lets nobody write into its folders."""
        check = getattr(self._file_manager, "check_write_enabled", None)
        if check is None:
            return
        try:
            check()
        except Exception as error:
            raise StoreFailed(_words(error)) from None

    async def scan(self, path: str) -> None:
        """Let Moonraker read the metadata of a file that has just come; returns when it has. Raises
        `StoreFailed`; the file is in place all the same.
        """
        self._announce("create_file", path)
        await self._call("server.files.metascan", {"filename": path})

    async def _call(self, name: str, arguments: Dict[str, Any]) -> Any:
        try:
            return await self._call_method(name, arguments)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            raise StoreFailed(_words(error)) from None

    @property
    def rewrites(self) -> bool:
        """Whether Moonraker writes into new files (`enable_object_processing`, processors)."""
        try:
            metadata = self._file_manager.get_metadata_storage()
        except AttributeError:
            return False
        return bool(
            getattr(metadata, "enable_object_proc", False) or getattr(metadata, "processors", None)
        )

    def removed(self, path: str) -> None:
        """A file has gone: where Moonraker watches its folders, it sees that within a second, and
        forgets metadata and thumbnails.
        """
        self._announce("delete_file", path)

    def _announce(self, action: str, path: str) -> None:
        """Tell the web interfaces where Moonraker does not watch its folders
        (`[file_manager] file_system_observer: none`).
        """
        observer = getattr(self._file_manager, "fs_observer", None)
        if getattr(observer, "has_fast_observe", True):
            return
        item: Dict[str, Any] = {"root": "gcodes", "path": path, "size": 0, "modified": 0.0}
        disk = look_up(self.root, path)
        if disk is not None:
            item.update(size=disk.size, modified=disk.mtime_ns / 1e9)
        item["permissions"] = "rw" if disk is not None else ""
        self._send_event("file_manager:filelist_changed", {"action": action, "item": item})

    def why_not_replace(self, path: str, seen: Optional[LoadedFile] = None) -> str:
        """Why other bytes must not appear under this name now; "" if they may. `seen` is what a
        `look` has found.
        """
        if path in self.queued():
            return say("it waits in the job queue")
        loaded = seen or self._loaded()
        if self._is_open(path, loaded) or (loaded.path == path and not loaded.over):
            return say("it is loaded")
        return ""

    def why_not_delete(self, path: str, seen: Optional[LoadedFile] = None) -> str:
        """Why the file must stay; "" if it may go. A job that is over can be started again, so its
        file stays too.
        """
        loaded = seen or self._loaded()
        if loaded.path == path or self._is_open(path, loaded):
            return say("it is loaded")
        return self.why_not_replace(path, seen)

    def queued(self) -> Set[str]:
        jobs = getattr(self._job_queue, "queued_jobs", None) or {}
        return {_relative(str(job)) for job in list(jobs.values())}  # a copy: threads ask, too

    def printed_at(self, path: str) -> float:
        """Unix seconds of its last print as its metadata has it; 0 if never."""
        metadata = as_dict(self._file_manager.get_file_metadata(path))
        return as_float(metadata.get("print_start_time"), 0.0)

    async def printed_since(self, moment: float) -> Dict[str, float]:
        """Files printed since `moment` by Moonraker's history → unix seconds of the last time.
        Raises `StoreFailed`.
        """
        printed: Dict[str, float] = {}
        start = 0
        while True:
            arguments = {"since": moment, "limit": HISTORY_PAGE, "start": start, "order": "desc"}
            reply = await self._call("server.history.list", arguments)
            jobs = as_list(as_dict(reply).get("jobs"))
            for entry in jobs:
                job = as_dict(entry)
                path = _relative(as_text(job.get("filename")))
                ended = as_float(job.get("end_time")) or as_float(job.get("start_time"), 0.0)
                printed[path] = max(printed.get(path, 0.0), ended)
            start += len(jobs)
            if len(jobs) < HISTORY_PAGE:
                return printed

    def _is_open(self, path: str, loaded: LoadedFile) -> bool:
        if not loaded.open_path:
            return False
        return os.path.normpath(loaded.open_path) in (
            os.path.normpath(str(self.root / path)),
            os.path.realpath(str(self.root / path)),
        )


# What follows blocks: for a thread.


def look_up(root: Path, path: str) -> Optional[OnDisk]:
    """The file at `path`, or None; links, folders and devices are none of ours."""
    found = identity_of(root / path)
    return None if found is None else OnDisk(path, found)


def look_up_all(root: Path, paths: Sequence[str]) -> Dict[str, OnDisk]:
    """Those of `paths` that are plain files."""
    found = {}
    for path in paths:
        file = look_up(root, path)
        if file is not None:
            found[path] = file
    return found


def is_gone(root: Path, path: str) -> bool:
    """Whether it is not there any more. A disk that does not answer, or is not mounted, says
    nothing of what is on it."""
    try:
        os.lstat(str(root / path))
    except (FileNotFoundError, NotADirectoryError):
        with contextlib.suppress(OSError), os.scandir(str(root)) as entries:
            return any(True for _ in entries)
        return False
    except OSError:
        return False
    return True  # something else has its name


def is_taken(root: Path, path: str) -> bool:
    """Whether anything at all has this name, a broken link included."""
    return os.path.lexists(str(root / path))


def walk(root: Path) -> List[OnDisk]:
    """Every plain G-code file under `root`; hidden names and links, to files or folders, are left
    out.
    """
    found: List[OnDisk] = []
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(str(root / folder)) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or entry.is_symlink():
                        continue
                    path = os.path.join(folder, entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                    elif entry.is_file(follow_symlinks=False) and entry.name.lower().endswith(
                        EXTENSIONS
                    ):
                        stat = entry.stat(follow_symlinks=False)
                        found.append(OnDisk(path, identity(stat)))
        except OSError:
            continue
    return found


def _relative(name: str) -> str:
    """As Moonraker itself reads a file name: a leading slash or "gcodes/" is nothing."""
    name = name.lstrip("/")
    return name[len("gcodes/") :] if name.startswith("gcodes/") else name


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
