"""What stands beside the hub: cameras, ffmpeg, disk, permissions, the link into Moonraker,
Moonraker itself, Klipper.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ...printer.host import read_disk
from ...runtime.worker import aside
from .report import Finding, State

if TYPE_CHECKING:
    from ...cameras.cameras import Cameras
    from ...printer.klippy import Printer
    from ...runtime.supervisor import Supervisor
    from ...settings.model import LiveSettings
    from ...store.database import Database

LOW_DISK = 500 * 1024 * 1024  # bytes; the clean-up begins here
NO_DISK = 200 * 1024 * 1024  # bytes; no download begins below
OLDEST_MOONRAKER = (0, 8, 0)
OLDEST_PYTHON = (3, 7)
FFMPEG_WITHIN = 5.0  # seconds
DISK_WITHIN = 5.0  # seconds; a dying card can take minutes


async def cameras(cameras: Cameras, live: LiveSettings) -> List[Finding]:
    if not live.now.camera.enabled:
        return [Finding("cameras", State.SKIPPED, "cameras_disabled")]
    if not cameras.names:
        return [Finding("cameras", State.SKIPPED, "cameras_none")]
    await cameras.snapshot()
    return [camera_finding(view) for view in cameras.overview()]


async def ffmpeg(live: LiveSettings) -> List[Finding]:
    if not live.now.camera.timelapse_enabled:
        return [Finding("ffmpeg", State.SKIPPED, "ffmpeg_unneeded")]
    path = shutil.which("ffmpeg")
    if path is None:
        return [Finding("ffmpeg", State.WARNING, "ffmpeg_missing")]
    found = await aside(ffmpeg_encoders, path)
    if found is None:
        return [Finding("ffmpeg", State.WARNING, "ffmpeg_broken", {"path": path})]
    code = "ffmpeg_ok" if " libx264 " in found else "ffmpeg_no_h264"
    state = State.OK if code == "ffmpeg_ok" else State.WARNING
    return [Finding("ffmpeg", state, code, {"path": path})]


async def disk(root: Path) -> List[Finding]:
    _, free = await asyncio.wait_for(aside(read_disk, root), DISK_WITHIN)
    values = {"free": _megabytes(free), "folder": str(root)}
    if free < NO_DISK:
        return [Finding("disk", State.FAILED, "disk_full", values)]
    if free < LOW_DISK:
        return [Finding("disk", State.WARNING, "disk_low", values)]
    return [Finding("disk", State.OK, "disk_ok", values)]


async def permissions(folders: Sequence[Path], database: Database) -> List[Finding]:
    refused = await asyncio.wait_for(aside(unwritable, folders), DISK_WITHIN)
    if refused:
        values = {"folder": str(refused[0])}
        return [Finding("permissions", State.FAILED, "folder_unwritable", values)]
    if not database.writable:
        values = {"folder": str(database.path.parent)}
        return [Finding("permissions", State.FAILED, "database_unwritable", values)]
    return [Finding("permissions", State.OK, "permissions_ok")]


async def link() -> List[Finding]:
    """Of the plugin as Moonraker imported it: the link is not followed."""
    package = Path(sys.modules[__name__.rsplit(".", 3)[0]].__file__ or "").parent
    return [await asyncio.wait_for(aside(link_finding, package), DISK_WITHIN)]


async def moonraker(server: Any, version: str) -> List[Finding]:
    told = str(server.get_app_args().get("software_version", "?"))
    values = {
        "version": told,
        "plugin": version,
        "python": "{}.{}.{}".format(*sys.version_info[:3]),
    }
    known = version_of(told)
    if known is not None and known < OLDEST_MOONRAKER:
        return [Finding("moonraker", State.FAILED, "moonraker_old", values)]
    if sys.version_info < OLDEST_PYTHON:
        return [Finding("moonraker", State.FAILED, "python_old", values)]
    code = "moonraker_ok" if known is not None else "moonraker_unknown"
    return [Finding("moonraker", State.OK, code, values)]


async def klipper(printer: Printer) -> List[Finding]:
    snapshot = printer.snapshot
    message = snapshot.message
    if message.endswith("."):  # else untouched: what `rstrip` gives is no Message any more
        message = message.rstrip(".")
    values = {"state": snapshot.klippy.value, "message": message}
    if snapshot.ready:
        return [Finding("klipper", State.OK, "klipper_ready", values)]
    return [Finding("klipper", State.WARNING, "klipper_not_ready", values)]


async def power(printer: Printer, live: LiveSettings) -> List[Finding]:
    """Whether an emergency stop that Klippy does not take could cut the power."""
    device = live.now.security.emergency_power_device
    known = printer.power_devices
    values = {"device": device, "known": ", ".join(known)}
    if device:
        state, code = (State.OK, "ok") if device in known else (State.FAILED, "missing")
        return [Finding("power", state, f"power_{code}", values)]
    return [Finding("power", State.SKIPPED, "power_offered" if known else "power_none", values)]


async def tasks(supervisor: Supervisor) -> List[Finding]:
    dead = sorted(name for name, running in supervisor.running.items() if not running)
    if dead:
        return [Finding("tasks", State.FAILED, "tasks_dead", {"names": ", ".join(dead)})]
    failed = sorted(supervisor.failures)
    if failed:
        return [Finding("tasks", State.WARNING, "tasks_failed", {"names": ", ".join(failed)})]
    return [Finding("tasks", State.OK, "tasks_ok", {"count": len(supervisor.running)})]


def camera_finding(view: Mapping[str, Any]) -> Finding:
    """Of a row of `Cameras.overview()`."""
    values: Dict[str, Any] = {"name": view["name"], "message": str(view.get("message", ""))}
    word = view["state"]
    code = f"camera_{word}" if word in ("ok", "frozen", "black") else "camera_failing"
    state = {"camera_ok": State.OK, "camera_failing": State.FAILED}.get(code, State.WARNING)
    return Finding("cameras", state, code, values)


def ffmpeg_encoders(path: str) -> Optional[str]:
    """What it can write, or None if it does not run. Blocks."""
    try:
        ended = subprocess.run(  # noqa: S603 - the path is what `which` found
            [path, "-hide_banner", "-loglevel", "error", "-encoders"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=FFMPEG_WITHIN,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return ended.stdout.decode("utf-8", "replace")


def unwritable(folders: Sequence[Path]) -> List[Path]:
    """Those that are there and cannot be written. Blocks."""
    return [f for f in folders if f.is_dir() and not os.access(str(f), os.W_OK | os.X_OK)]


def link_finding(package: Path) -> Finding:
    """How the plugin stands in Moonraker's folder, and whether Moonraker's git was told to overlook
    it. Blocks.
    """
    values = {"link": str(package), "target": os.path.realpath(str(package))}
    if not package.is_symlink():
        return Finding("link", State.WARNING, "link_copied", values)
    repository = _repository_of(package.parent)
    if repository is None:
        return Finding("link", State.OK, "link_ok_no_git", values)
    exclude = repository / ".git" / "info" / "exclude"
    values["exclude"] = str(exclude)
    try:
        lines = exclude.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    if any(package.name in line and not line.lstrip().startswith("#") for line in lines):
        return Finding("link", State.OK, "link_ok", values)
    return Finding("link", State.WARNING, "link_not_excluded", values)


def version_of(text: str) -> Optional[Tuple[int, ...]]:
    """The numbers of a version as git describes it, or None where there are none ("?", a bare
    hash).

    >>> version_of("v0.9.3-128-gdeadbee"), version_of("0.11.0"), version_of("?")
    ((0, 9, 3), (0, 11, 0), None)
    """
    match = re.match(r"v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", text)
    return None if match is None else tuple(int(part or 0) for part in match.groups())


def _repository_of(folder: Path) -> Optional[Path]:
    for candidate in (folder, *folder.parents):
        if (candidate / ".git").is_dir():
            return candidate
    return None


def _megabytes(count: int) -> str:
    return f"{count / 1024**3:.1f} GB" if count >= 1024**3 else f"{count // 1024**2} MB"
