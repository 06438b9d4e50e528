"""What the rooms know, as dictionaries for people: the overview that is pushed, the status, the
configuration in force.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Set

from ..hub.outcomes import host_of
from ..hub.protocol import Features
from ..runtime.messages import in_language, say
from ..settings.loader import missing
from ..status.body import minutes_left

if TYPE_CHECKING:
    from ..hub.client import Reply
    from ..printer.snapshot import Snapshot
    from .rooms import Rooms

TOPICS = ("commands", "events", "pictures", "settings", "downloads", "videos")


class Views:
    """Reads rooms only; the single thing kept here is how the last status went and what has changed
    how often.
    """

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._sent: Dict[str, Any] = {}
        self._newest: List[Any] = []  # commands and their states, as last told
        self.revisions: Dict[str, int] = dict.fromkeys(TOPICS, 0)

    def status_sent(self, body: Mapping[str, Any], reply: Reply) -> None:
        """A listener for `Reporter.subscribe`."""
        now = self._rooms.clock.time()
        self._sent = {
            "at": now,
            "taken_at": now if reply.ok else self._sent.get("taken_at"),  # by the hub
            "ok": reply.ok,
            "sentence": reply.sentence,
            "bytes": reply.sent_bytes,
            "seconds": round(reply.seconds, 4),
            "reasons": sorted(_words(self._rooms.reporter.last_reasons)),
        }

    def overview(self) -> Dict[str, Any]:
        """All that changes while one watches, in some two kilobytes."""
        rooms = self._rooms
        snapshot = rooms.printer.snapshot
        settings = rooms.live.now
        newest = [(row.get("id"), row.get("status")) for row in rooms.commands.recent(10)]
        if newest != self._newest:  # one that came or began, which nobody announces
            self._newest = newest
            self.revisions["commands"] += 1
        return {
            "version": rooms.version,
            "time": rooms.clock.time(),
            "printer_name": rooms.shown_name(),
            "hub": self.hub(),
            "last_sent": self._sent or None,
            "printer": printer_view(snapshot),
            "remote": {
                "on": rooms.commands.remote_on,
                "level": settings.security.remote_control.value,
            },
            "bed": {
                "status": rooms.bed_word(),
                "required": settings.security.require_clear_bed,
                "needs_clearing": rooms.commands.bed_needs_clearing,
            },
            "download": rooms.transfers.progress,
            "downloads_waiting": rooms.transfers.waiting,
            "cameras": rooms.cameras.overview(),
            "notices": self.notices(),
            "revisions": dict(self.revisions),
        }

    def status(self) -> Dict[str, Any]:
        """The overview, and what is worth a look when one asks for it."""
        rooms = self._rooms
        return dict(
            self.overview(),
            last_body=rooms.reporter.last_body,
            statistics=rooms.statistics.as_dict(),
            tasks=rooms.supervisor.running,
            task_failures=dict(rooms.supervisor.failures),
            undelivered={
                "events": rooms.journal.undelivered,
                "command_results": len(rooms.commands.results_due()),
            },
            jobs=[job.as_dict() for job in rooms.job_history.recent],
            timelapse=rooms.timelapse.overview(),
        )

    def hub(self) -> Dict[str, Any]:
        rooms = self._rooms
        link, client, settings = rooms.link, rooms.client, rooms.live.now
        if not settings.complete:
            name = rooms.override.file_name
            return {
                "state": "unconfigured",
                "sentence": missing(settings, name),
                "file": name,
                "stages": link.stages,
            }
        worst = link.failing
        host = host_of(settings.server_url)
        latest = link.latency
        return {
            "state": _link_word(link.connected),
            "since": link.since,
            "host": host,
            "encrypted": settings.server_url.lower().startswith("https:"),
            "generation": int(client.generation),
            "failure": None if worst is None or worst.failure is None else worst.failure.value,
            "sentence": "" if worst is None else worst.sentence,
            "sentence_es": "" if worst is None else spanish(worst),
            "http_status": 0 if worst is None else worst.status,
            "stages": link.stages,
            "retry_in": round(link.retry_in("status"), 1),
            "latency_ms": None if latest is None else round(latest * 1000, 1),
            "clock_skew": None if client.clock_skew is None else round(client.clock_skew, 1),
            "reconnections": link.reconnections,
            "line": client.line.as_dict(),
            "features": features_view(client.features),
        }

    def notices(self) -> List[Dict[str, Any]]:
        return [
            dict(asdict(notice), text_es=in_language(notice.text, "es"))
            for notice in self._rooms.notices.standing
        ]


def spanish(reply: Reply) -> str:
    """Why the hub cannot be talked to, for a technician who reads no English."""
    if reply.failure is None:
        return ""
    from .doctor.texts import TEXTS  # noqa: PLC0415  (large, and only for what fails)

    remedy = TEXTS[f"reply_{reply.failure.value}"].remedy
    return f"{in_language(reply.sentence, 'es')} {in_language(say(remedy), 'es')}"


def printer_view(snapshot: Snapshot) -> Dict[str, Any]:
    job = snapshot.job
    return {
        "klippy": snapshot.klippy.value,
        "message": snapshot.message,
        "state": job.state,
        "filename": job.filename,
        "progress": round(job.progress, 4),
        "layer": job.layer,
        "layers": job.layers,
        "print_duration": round(job.print_duration, 1),
        "minutes_left": minutes_left(snapshot),
        "heaters": {
            name: {"temperature": heater.temperature, "target": heater.target}
            for name, heater in snapshot.heaters.items()
        },
        "sensors": dict(snapshot.sensors),
        "fan_speed": snapshot.fan_speed,
        "speed_factor": snapshot.speed_factor,
        "extrude_factor": snapshot.extrude_factor,
    }


def features_view(features: Features) -> Dict[str, Any]:
    return dict(features._asdict())


def _link_word(connected: Optional[bool]) -> str:
    if connected is None:
        return "connecting"
    return "connected" if connected else "disconnected"


def _words(reasons: Set[str]) -> Set[str]:
    return reasons or {"heartbeat"}
