"""The way to the hub: how it is, how the last status went, and a try of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, Mapping, Sequence

from ...hub.outcomes import host_of
from ...runtime.messages import say
from ...settings.loader import missing
from ..doctor.doctor import Check
from .base import Args, Pages, Refused, Request, Row

if TYPE_CHECKING:
    from ...hub.client import HubClient, Reply
    from ...hub.link import Link
    from ...net.connect import Connector
    from ...runtime.clock import Clock
    from ...settings.model import LiveSettings
    from ...settings.override import Override
    from ...status.reporter import Reporter
    from ..notifications import Notifier


@dataclass(eq=False)
class HubPages(Pages):
    live: LiveSettings
    override: Override
    client: HubClient
    link: Link
    reporter: Reporter
    connector: Connector
    clock: Clock
    _sent: Dict[str, Any] = field(default_factory=dict, init=False)

    def rows(self) -> Sequence[Row]:
        return (Row("test_connection", ["POST"], self._test),)

    def checks(self) -> Sequence[Check]:
        from ..doctor.hub import HubChecks  # noqa: PLC0415  (read late: `Doctor`)

        checks = HubChecks(
            self.live, self.client, self.link, self.reporter, self.connector, self.clock
        )
        return (Check("hub", checks.run, 45.0),)  # three sockets of 5 s, three exchanges

    def overview(self) -> Args:
        return {"hub": self._view(), "last_sent": self._sent or None}

    def status(self) -> Args:
        return {"last_body": self.reporter.last_body}

    def follow(self, changes: Notifier) -> None:
        self.reporter.subscribe(self._status_sent)
        self.reporter.subscribe(changes.on())
        self.link.subscribe(changes.on("events"))

    def _status_sent(self, body: Mapping[str, Any], reply: Reply) -> None:
        now = self.clock.time()
        self._sent = {
            "at": now,
            "taken_at": now if reply.ok else self._sent.get("taken_at"),  # by the hub
            "ok": reply.ok,
            "sentence": reply.sentence,
            "bytes": reply.sent_bytes,
            "seconds": round(reply.seconds, 4),
            "reasons": sorted(self.reporter.last_reasons or {"heartbeat"}),
        }

    def _view(self) -> Args:
        link, client, settings = self.link, self.client, self.live.now
        if not settings.complete:
            name = self.override.file_name
            return {
                "state": "unconfigured",
                "sentence": missing(settings, name),
                "file": name,
                "stages": link.stages,
            }
        worst, latest, skew = link.failing, link.latency, client.clock_skew
        states = {None: "connecting", True: "connected", False: "disconnected"}
        return {
            "state": states[link.connected],
            "since": link.since,
            "host": host_of(settings.server_url),
            "encrypted": settings.server_url.lower().startswith("https:"),
            "generation": int(client.generation),
            "failure": None if worst is None or worst.failure is None else worst.failure.value,
            "sentence": "" if worst is None else worst.sentence,
            "http_status": 0 if worst is None else worst.status,
            "stages": link.stages,
            "retry_in": round(link.retry_in("status"), 1),
            "latency_ms": None if latest is None else round(latest * 1000, 1),
            "clock_skew": None if skew is None else round(skew, 1),
            "reconnections": link.reconnections,
            "line": client.line.as_dict(),
            "features": client.features._asdict(),
        }

    async def _test(self, request: Request) -> Args:
        """Send a status now, whatever the back-off says, and tell how it went."""
        client, settings = self.client, self.live.now
        if not settings.complete:
            raise Refused(missing(settings, self.override.file_name))
        reply = await self.reporter.send()
        self.link.ended("status", reply)
        skew = client.clock_skew
        return {
            "ok": reply.ok,
            "message": reply.sentence or say("The hub took a status."),
            "failure": None if reply.failure is None else reply.failure.value,
            "http_status": reply.status,
            "milliseconds": round(reply.seconds * 1000, 1),
            "sent_bytes": reply.sent_bytes,
            "generation": int(client.generation),
            "clock_skew": None if skew is None or not math.isfinite(skew) else round(skew, 1),
            "features": client.features._asdict(),
        }
