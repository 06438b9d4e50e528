"""The status body: everything the hub is told about the printer, complete at every update. Pure.

Each field of client v4's README is a line of `_documented`; an update replaces all of them at the
hub, so none is ever left out. What the hub does not know it ignores (`_further`).
"""

import datetime
import math
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ..hub.protocol import Generation
from ..printer.filament import job_grams
from ..printer.gcode_files import GcodeFile
from ..printer.history import PastJob
from ..printer.host import HostStats
from ..printer.progress import Course, time_left
from ..printer.snapshot import Snapshot
from ..runtime.messages import all_in_language, in_language, say
from ..settings.model import Settings


class Report(NamedTuple):
    """All that one status body is made of."""

    settings: Settings
    generation: Generation
    name: str
    version: str
    now: float  # unix seconds
    snapshot: Snapshot
    host: HostStats
    files: Sequence[Mapping[str, Any]]  # of `FileRows`
    jobs: Sequence[PastJob]
    last_completed: str
    bed_status: str
    job_id: str = ""
    command_id: str = ""  # of the hub's command that began the job
    hub_file: Callable[[str], str] = lambda path: ""  # what the hub calls the file at a path
    image: str = ""
    filament: Mapping[str, Any] = {}  # the operator's word, or the active spool
    reason: str = ""  # of a pause
    language: str = "en"  # of our own words in `state_message`
    null_times: bool = False  # the hub wants null for a time that is not known
    extras: Mapping[str, Any] = {}  # what other rooms add under names of their own


def status_word(snapshot: Snapshot) -> str:
    """The hub's word for what the printer does.

    "paused" is in no list of generation 1, but its page knows it, and offers "resume" only for what
    is not "printing". Klippy that is away is an "error", with the reason in `state_message`: at
    "offline" the page takes away every button, the one that would bring it back among them.
    """
    if not snapshot.ready or snapshot.doubt:
        return "error"
    state = snapshot.job.state
    return state if state in ("printing", "paused", "error") else "idle"


def bed_word(settings: Settings, needs_clearing: bool) -> str:
    """What the hub is told of the bed: the operator's own word, or, where
    `security.require_clear_bed` watches it, whether it needs clearing.
    """
    data, watched = settings.printer_data, settings.security.require_clear_bed
    if watched and needs_clearing:
        return data.bed_needs_clearing or say("needs clearing")
    if watched:
        return data.bed_status or data.bed_clear or say("clear")
    return data.bed_status


def seconds_left(snapshot: Snapshot) -> Optional[float]:
    """Until the job ends; None when there is no job or nothing is known."""
    job, file = snapshot.job, snapshot.file
    if not snapshot.busy:
        return None
    estimate = file.estimated_time if file.filename == job.filename else 0.0
    course = Course(job.progress, job.time_share)
    return time_left(course, job.print_duration, estimate)


def minutes_left(snapshot: Snapshot) -> int:
    return _round((seconds_left(snapshot) or 0.0) / 60.0)


def time_remaining(
    snapshot: Snapshot, generation: Generation, null_times: bool = False
) -> Optional[int]:
    """As the generation's page reads it: generation 1 in minutes, generation 2 in seconds. While it
    is not known, 0, or None for a hub that announced `null_times`.
    """
    left = seconds_left(snapshot)
    if left is None:
        return None if null_times and snapshot.busy else 0
    return _round(left if generation is Generation.TWO else left / 60.0)


def uptime_text(seconds: float) -> str:
    """As client v4 wrote it.

    >>> uptime_text(19380), uptime_text(59), uptime_text(90000)
    ('5h 23m', '0h 0m', '25h 0m')
    """
    minutes = int(seconds) // 60
    return f"{minutes // 60}h {minutes % 60}m"


def size_text(size: int) -> str:
    """Bytes for people, with a dot as client v4 wrote it.

    >>> size_text(2621440), size_text(512), size_text(2048)
    ('2.5 MB', '512 B', '2.0 KB')
    """
    if size < 1024:
        return f"{size} B"
    value = float(size)
    for unit in ("KB", "MB"):
        value /= 1024
        if value < 1024:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} GB"


def iso_time(now: float) -> str:
    """ISO 8601 in local time with its offset."""
    return (
        datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
        .astimezone()
        .isoformat(timespec="seconds")
    )


def percent(share: Optional[float]) -> int:
    """A share as a whole percent, rounded half up."""
    return _round((share or 0.0) * 100.0)


def _round(value: float) -> int:
    return math.floor(value + 0.5) if math.isfinite(value) else 0


def _celsius(value: Optional[float]) -> float:
    return round(value, 1) if value is not None and math.isfinite(value) else 0.0


def _system(host: HostStats) -> Dict[str, Any]:
    return {
        "cpu_usage": round(host.cpu_usage or 0.0, 1),
        "memory_usage": round(host.memory_used_mb or 0.0, 1),
        "cpu_temp": _celsius(host.cpu_temp),
    }


class FileRows:
    """The rows of `files`, made anew for another list only: fifty of them at each update would cost
    as much as the rest of the body.
    """

    def __init__(self) -> None:
        self._files: Optional[Sequence[GcodeFile]] = None
        self._rows: List[Dict[str, Any]] = []

    def of(self, files: Sequence[GcodeFile]) -> List[Dict[str, Any]]:
        if files is not self._files:
            self._files = files
            self._rows = [
                {"name": f.name, "size": size_text(f.size), "modified": int(f.modified)}
                for f in files
            ]
        return self._rows


def _current_file(s: Snapshot) -> str:
    return s.job.filename if s.job.state in ("printing", "paused", "complete") else ""


def _documented(r: Report) -> Dict[str, Any]:
    now = r.snapshot
    hotend, bed = now.extruder, now.bed
    return {
        "action": "update_printer",
        "token": r.settings.printer_token,
        "name": r.name,
        "client_version": r.version,
        "timestamp": iso_time(r.now),
        "status": status_word(now),
        "temp_hotend": _celsius(hotend.temperature if hotend else None),
        "temp_bed": _celsius(bed.temperature if bed else None),
        "temp_hotend_target": _celsius(hotend.target if hotend else None),
        "temp_bed_target": _celsius(bed.target if bed else None),
        "print_speed": percent(now.speed_factor),
        "fan_speed": percent(now.fan_speed),
        "progress": percent(now.job.progress),
        "current_file": _current_file(now),
        "time_remaining": time_remaining(now, r.generation, r.null_times),
        "last_completed": in_language(r.last_completed, r.language),
        "uptime": uptime_text(r.host.uptime),
        "system": _system(r.host),
        "files": list(r.files),
        "tags": list(r.settings.printer_data.tags),
        "filament": dict(r.filament) or None,  # {} is drawn as "N/A - N/A"
        "bed_status": r.bed_status,
        "location": r.settings.printer_data.location,
        "image": r.image,
    }


def _job(r: Report) -> Dict[str, Any]:
    job = r.snapshot.job
    return {
        "id": r.job_id,
        "filename": job.filename,
        "hub_file": r.hub_file(job.filename) if job.filename else "",
        "command_id": r.command_id,
        "estimate": _round(r.snapshot.file.estimated_time),
        "print_duration": _round(job.print_duration),
        "total_duration": _round(job.total_duration),
        "filament_used": round(job.filament_used, 1),
        "filament_used_g": job_grams(r.snapshot),
        "filament_total": round(r.snapshot.file.filament_total, 1),
        "layer": job.layer,
        "layers": job.layers,
    }


def _heaters(r: Report) -> Dict[str, Dict[str, float]]:
    return {
        name: {
            "temperature": _celsius(heater.temperature),
            "target": _celsius(heater.target),
            "power": round(heater.power or 0.0, 2),
        }
        for name, heater in r.snapshot.heaters.items()
    }


def _further(r: Report) -> Dict[str, Any]:
    now = r.snapshot
    return {
        "print_state": now.job.state,
        "klippy_state": now.klippy.value,
        "state_message": in_language(state_message(now, r.reason), r.language),
        "print_flow": percent(now.extrude_factor),
        "heaters": _heaters(r),
        "fans": {name: percent(speed) for name, speed in now.fans.items()},
        "pins": {name: round(value, 2) for name, value in now.pins.items()},
        "sensors": {name: _celsius(value) for name, value in now.sensors.items()},
        "filament_sensors": dict(now.filament_sensors),
        "position": [round(place, 2) for place in now.position],
        "homed_axes": now.homed_axes,
        "job": _job(r),
        "history": all_in_language(
            [dict(job.as_dict(), hub_file=r.hub_file(job.filename)) for job in r.jobs], r.language
        ),
        "network": {name: dict(card) for name, card in r.host.network.items()},
        "disk": {"total": r.host.disk_total, "free": r.host.disk_free},
    }


def state_message(snapshot: Snapshot, reason: str = "") -> str:
    """Why the printer is as it is: Klippy's words when it is not ready, else the job's, else
    `reason` while it is paused, else what M117 shows.
    """
    if snapshot.doubt:
        return snapshot.doubt
    if not snapshot.ready:
        return snapshot.message
    paused = reason if snapshot.paused else ""
    return snapshot.job.message or paused or snapshot.display_message


def build_body(report: Report) -> Dict[str, Any]:
    """The whole body, ready for JSON."""
    return {**_documented(report), **_further(report), **report.extras}
