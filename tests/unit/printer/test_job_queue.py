"""What the hub is told of Moonraker's queue."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Callable

from components.printer.job_queue import SHOWN, JobQueue


class Server:
    def __init__(self, queue: Any) -> None:
        self.queue = queue
        self.handlers: dict[str, Callable[..., Any]] = {}

    def register_event_handler(self, name: str, handler: Callable[..., Any]) -> None:
        self.handlers[name] = handler

    def lookup_component(self, name: str, default: Any) -> Any:
        assert name == "job_queue"
        return self.queue or default


def test_state_and_jobs_the_next_first() -> None:
    jobs = {f"{number:016X}": f"labs/{number}.gcode" for number in range(SHOWN + 10)}
    queue = JobQueue(Server(SimpleNamespace(queue_state="paused", queued_jobs=jobs)))
    told = queue.as_dict()
    assert told["state"] == "paused"
    assert told["jobs"][1] == {"id": "0000000000000001", "filename": "labs/1.gcode"}
    assert len(told["jobs"]) == SHOWN


def test_a_moonraker_without_a_queue() -> None:
    assert JobQueue(Server(None)).as_dict() == {"state": "", "jobs": []}


def test_a_change_is_news() -> None:
    server, news = Server(None), []  # type: ignore[var-annotated]
    queue = JobQueue(server)
    queue.register()
    queue.subscribe(lambda: news.append(True))
    server.handlers["job_queue:job_queue_changed"]({"action": "jobs_added"})
    assert news == [True]
