"""Moonraker's job queue, as it is now: what waits to be printed, and whether it will be."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

from ..runtime.loose import as_dict, as_text

SHOWN = 50  # jobs, the next first


class JobQueue:
    """Reads the component's own fields: its event leaves the list out when only the state changes,
    and none comes when somebody moves a job up.
    """

    def __init__(self, server: Any) -> None:
        self._server = server
        self._listeners: List[Callable[[], None]] = []

    def register(self) -> None:
        self._server.register_event_handler("job_queue:job_queue_changed", self._on_change)

    def subscribe(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    def as_dict(self) -> Dict[str, Any]:
        """`state` is Moonraker's word: ready | loading | starting | paused; "" where it has no
        queue.
        """
        queue = self._server.lookup_component("job_queue", None)
        waiting = as_dict(getattr(queue, "queued_jobs", None))
        return {
            "state": as_text(getattr(queue, "queue_state", "")),
            "jobs": [
                {"id": as_text(ident), "filename": as_text(str(job))}
                for ident, job in list(waiting.items())[:SHOWN]
            ],
        }

    def _on_change(self, _event: Any) -> None:
        for listener in self._listeners:
            listener()
