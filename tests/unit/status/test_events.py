"""What is told of jobs and of Klippy."""

from __future__ import annotations

from typing import Any, Mapping

from components.printer.history import past_job
from components.printer.jobs import News, Watched
from components.printer.snapshot import Job, KlippyState
from components.status.events import Chronicle
from tests.unit.fakes import FakeClock


class Journal:
    def __init__(self) -> None:
        self.told: list[tuple[str, Mapping[str, Any]]] = []

    def record(self, kind: str, data: Mapping[str, Any]) -> None:
        self.told.append((kind, data))


def make() -> tuple[Chronicle, Journal]:
    journal = Journal()
    return Chronicle(journal, FakeClock()), journal  # type: ignore[arg-type]


JOB = Watched("a.gcode", "printing", "", 0.0, 100.0, 20.0, 12.34, 5.0, "00000A")


def test_a_job() -> None:
    chronicle, journal = make()
    for kind in ("begun", "paused", "resumed"):
        chronicle.job_told(News(kind, JOB, "no filament" if kind == "paused" else ""))
    end = News("ended", JOB, "", "completed", 120.0)
    chronicle.job_told(end)
    chronicle.job_listed(past_job(end, {}))
    assert journal.told[:4] == [
        ("job_started", {"filename": "a.gcode"}),
        ("job_paused", {"filename": "a.gcode", "message": "no filament"}),
        ("job_resumed", {"filename": "a.gcode"}),
        ("job_finished", {"filename": "a.gcode", "print_duration": 12.3, "message": ""}),
    ]
    ((kind, data),) = journal.told[4:]
    assert kind == "job_record"
    assert data["job_id"] == "00000A"
    assert (data["start_time"], data["end_time"], data["status"]) == (100.0, 120.0, "completed")


def test_every_other_end_is_a_failure() -> None:
    chronicle, journal = make()
    for word in ("cancelled", "error", "klippy_shutdown", "klippy_disconnect", "interrupted"):
        chronicle.job_told(News("ended", JOB, "why", word, 120.0))
    kinds = [kind for kind, _ in journal.told if kind != "job_record"]
    assert kinds == ["job_cancelled"] + 4 * ["job_failed"]


def test_klippy() -> None:
    chronicle, journal = make()
    for state in (KlippyState.STARTUP, KlippyState.READY, KlippyState.READY):
        chronicle.klippy_looked(state, "", Job(), 0.0)
    chronicle.klippy_looked(KlippyState.SHUTDOWN, "ADC out of range", Job(), 0.0)
    chronicle.klippy_looked(KlippyState.DISCONNECTED, "", Job(), 0.0)
    assert journal.told == [
        ("klippy_ready", {}),
        ("klippy_error", {"state": "shutdown", "message": "ADC out of range"}),
        ("klippy_disconnected", {}),
    ]
