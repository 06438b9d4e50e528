"""The last jobs, from Moonraker's history and, where it knows nothing, from Klipper's figures."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

from components.printer.jobs import Jobs, PastJob
from components.printer.snapshot import Job, KlippyState, Snapshot
from tests.unit.fakes import FakeClock


class Server:
    error = RuntimeError

    def __init__(self) -> None:
        self.handlers: Dict[str, Callable[..., Any]] = {}

    def register_event_handler(self, name: str, handler: Callable[..., Any]) -> None:
        self.handlers[name] = handler


def snapshot(state: str, klippy: KlippyState = KlippyState.READY) -> Snapshot:
    return Snapshot(klippy=klippy, job=Job(state=state, filename="a.gcode", total_duration=90.0))


def history(action: str, **job: Any) -> Dict[str, Any]:
    return {"action": action, "job": {"job_id": "000001", "filename": "a.gcode", **job}}


def make() -> "tuple[Jobs, Server, List[PastJob]]":
    server, ended = Server(), []  # type: ignore[var-annotated]
    jobs = Jobs(server, FakeClock())
    jobs.register()
    jobs.subscribe(ended.append)
    return jobs, server, ended


def test_a_job_of_the_history_is_taken_once() -> None:
    jobs, server, ended = make()
    tell = server.handlers["history:history_changed"]
    jobs.printer_changed(Snapshot(), snapshot("standby"))
    jobs.printer_changed(snapshot("standby"), snapshot("printing"))
    tell(history("added"))
    assert jobs.current_id == "000001"
    jobs.printer_changed(snapshot("printing"), snapshot("complete"))
    tell(history("finished", status="completed", end_time=1000.0))
    assert [job.status for job in ended] == ["completed"]
    assert jobs.current_id == ""


def test_the_history_may_be_first_to_tell_of_the_end() -> None:
    jobs, server, ended = make()
    tell = server.handlers["history:history_changed"]
    jobs.printer_changed(Snapshot(), snapshot("standby"))
    tell(history("added"))
    jobs.printer_changed(snapshot("standby"), snapshot("printing"))
    tell(history("finished", status="completed", end_time=1000.0))
    jobs.printer_changed(snapshot("printing"), snapshot("complete"))
    assert len(ended) == 1


def test_a_job_older_than_moonraker_is_taken_from_klipper() -> None:
    jobs, _server, ended = make()
    jobs.printer_changed(Snapshot(), snapshot("printing"))
    jobs.printer_changed(snapshot("printing"), snapshot("paused"))
    jobs.printer_changed(snapshot("paused"), snapshot("complete"))
    jobs.printer_changed(snapshot("complete"), snapshot("standby"))
    (job,) = ended
    assert (job.filename, job.status, job.total_duration) == ("a.gcode", "completed", 90.0)
    assert job.end_time - job.start_time == 90.0
    assert jobs.last_completed.startswith("a.gcode (")


def test_a_job_older_than_moonraker_that_klippy_took_along() -> None:
    jobs, _server, ended = make()
    jobs.printer_changed(Snapshot(), snapshot("printing"))
    gone = Snapshot(klippy=KlippyState.DISCONNECTED)
    jobs.printer_changed(snapshot("printing"), gone)
    jobs.printer_changed(gone, snapshot("standby"))
    assert ended == []
