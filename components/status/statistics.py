"""The figures of client v4's `printer_state.json`: counted here, kept across restarts, written
atomically.

A damaged or missing file begins the totals anew; a disk that cannot be written costs the totals,
nothing else.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, Mapping

from ..runtime.clock import Clock
from ..runtime.disk import reason_of, write_whole
from ..runtime.loose import as_dict, as_int
from ..runtime.notices import Notices
from ..runtime.worker import Worker

FILE_NAME = "printer_state.json"
MAX_FILE = 65536  # bytes read back
TOTALS = (
    "updates_sent",
    "updates_failed",
    "commands_executed",
    "files_downloaded",
    "errors",
    "reconnections",
    "bytes_sent",
)


class Statistics:
    def __init__(
        self, folder: Path, worker: Worker, notices: Notices, clock: Clock, version: str
    ) -> None:
        self._path = folder / FILE_NAME
        self._worker = worker
        self._notices = notices
        self._clock = clock
        self._version = version
        self._started = clock.monotonic()
        self._totals: Dict[str, int] = dict.fromkeys(TOTALS, 0)
        self._session: Dict[str, int] = dict.fromkeys(TOTALS, 0)
        self._seconds_before = 0
        self.last_update: float = 0.0  # unix seconds

    async def load(self) -> None:
        """Read the totals of former runs."""
        known = await self._worker.run(_read, self._path)
        totals = as_dict(known.get("totals"))
        for name in TOTALS:
            self._totals[name] += max(as_int(totals.get(name), 0), 0)
        self._seconds_before = max(as_int(totals.get("uptime_seconds"), 0), 0)

    def follow(self, reporter: Any, link: Any, commands: Any) -> None:
        """Count what these rooms tell of (a `Reporter`, a `Link` and the `Commands`)."""
        reporter.subscribe(self._status_sent)
        link.subscribe(self._link_changed)
        commands.on_result(self._command_ended)

    def _status_sent(self, body: Mapping[str, Any], reply: Any) -> None:
        self.count("bytes_sent", reply.sent_bytes)
        if reply.ok:
            self.count("updates_sent")
            self.last_update = self._clock.time()
        else:
            self.count("updates_failed")
            self.count("errors")

    def _link_changed(self, connected: bool, seconds: float) -> None:
        if connected and seconds > 0:
            self.count("reconnections")

    def _command_ended(self, result: Mapping[str, Any]) -> None:
        if result.get("status") == "done":
            self.count("commands_executed")
        elif result.get("status") == "failed":
            self.count("errors")

    def count(self, name: str, amount: int = 1) -> None:
        self._totals[name] += amount
        self._session[name] += amount

    def as_dict(self) -> Dict[str, Any]:
        """Since this start at the top (v4's names), since the first start under `totals`."""
        uptime = int(self._clock.monotonic() - self._started)
        totals: Dict[str, int] = dict(self._totals, uptime_seconds=self._seconds_before + uptime)
        return {
            "client_version": self._version,
            **self._session,
            "uptime_seconds": uptime,
            "last_update": self.last_update,
            "totals": totals,
        }

    async def save(self) -> None:
        error = await self._worker.run(_write, self._path, self.as_dict())
        if error:
            self._notices.show(
                "statistics",
                "{path} cannot be written ({error}): free some space or fix its rights.",
                path=self._path,
                error=error,
            )
        else:
            self._notices.clear("statistics")


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as source:
            return as_dict(json.loads(source.read(MAX_FILE).decode("utf-8", "replace")))
    except (OSError, ValueError, RecursionError):
        return {}


def _write(path: Path, content: Mapping[str, Any]) -> str:
    """ "" or what went wrong."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(content, indent=2).encode("utf-8"), durable=True)
    except OSError as error:
        return reason_of(error)
    return ""
