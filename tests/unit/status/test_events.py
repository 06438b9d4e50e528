"""What is told of jobs: each begins once and ends once, whatever goes down in its midst."""

from __future__ import annotations

from typing import Any, Mapping

import pytest

from components.printer.snapshot import Job, KlippyState, Snapshot
from components.status.events import Chronicle
from tests.unit.fakes import FakeClock


class Journal:
    def __init__(self) -> None:
        self.told: list[tuple[str, Mapping[str, Any]]] = []

    def record(self, kind: str, data: Mapping[str, Any]) -> None:
        self.told.append((kind, data))

    @property
    def jobs(self) -> list[str]:
        return [kind for kind, _ in self.told if kind.startswith("job_")]


class Flags:
    """What outlives a restart."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, name: str, default: Any = None) -> Any:
        return self.values.get(name, default)

    def put(self, name: str, value: Any) -> None:
        self.values[name] = value


class House:
    """A chronicle that is told of one snapshot after the other, across restarts of Moonraker."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.flags = Flags()
        self.moonraker_starts(Snapshot())

    def moonraker_starts(self, snapshot: Snapshot) -> None:
        self.chronicle = Chronicle(self.journal, FakeClock(), self.flags)  # type: ignore[arg-type]
        self.last = snapshot
        self.chronicle.start(snapshot)

    def sees(self, *snapshots: Snapshot) -> None:
        for snapshot in snapshots:
            self.chronicle.printer_changed(self.last, snapshot)
            self.last = snapshot


def shows(state: str, filename: str = "a.gcode", **more: Any) -> Snapshot:
    return Snapshot(klippy=KlippyState.READY, job=Job(state=state, filename=filename, **more))


AWAY = Snapshot(klippy=KlippyState.DISCONNECTED)


@pytest.fixture
def house() -> House:
    return House()


def test_a_job_from_its_start_to_its_end(house: House) -> None:
    house.sees(shows("standby", ""), shows("printing"), shows("paused"), shows("printing"))
    house.sees(shows("complete", print_duration=12.34))
    assert house.journal.jobs == ["job_started", "job_paused", "job_resumed", "job_finished"]
    (_, *_, (_, data)) = house.journal.told
    assert data == {"filename": "a.gcode", "print_duration": 12.3, "message": ""}


@pytest.mark.parametrize(
    ("state", "kind"),
    [("complete", "job_finished"), ("cancelled", "job_cancelled"), ("error", "job_failed")],
)
def test_what_is_over_is_not_told_again_after_a_restart(
    house: House, state: str, kind: str
) -> None:
    house.sees(shows("standby", ""), shows("printing"), shows(state))
    for _ in range(3):
        house.moonraker_starts(Snapshot())
        house.sees(shows(state))
    house.sees(AWAY, shows("standby", ""))
    assert house.journal.jobs == ["job_started", kind]


def test_a_job_that_goes_on_across_a_restart_of_moonraker(house: House) -> None:
    house.sees(shows("standby", ""), shows("printing"))
    house.moonraker_starts(shows("printing"))  # Klippy was quicker than our own start
    house.moonraker_starts(Snapshot())
    house.sees(shows("printing"), shows("complete"))
    assert house.journal.jobs == ["job_started", "job_finished"]


def test_a_job_that_was_paused_while_moonraker_was_away(house: House) -> None:
    house.sees(shows("printing"))
    house.moonraker_starts(Snapshot())
    house.sees(shows("paused"), shows("printing"))
    assert house.journal.jobs == ["job_started", "job_paused", "job_resumed"]


@pytest.mark.parametrize(
    ("state", "kind"),
    [("complete", "job_finished"), ("cancelled", "job_cancelled"), ("error", "job_failed")],
)
def test_a_job_that_ended_while_moonraker_was_away(house: House, state: str, kind: str) -> None:
    house.sees(shows("printing"))
    house.moonraker_starts(shows(state))
    assert house.journal.jobs == ["job_started", kind]


def test_a_job_that_began_while_moonraker_was_away(house: House) -> None:
    house.moonraker_starts(Snapshot())
    house.sees(shows("paused"), shows("printing"), shows("complete"))
    assert house.journal.jobs == ["job_started", "job_paused", "job_resumed", "job_finished"]


def test_another_job_runs_when_moonraker_is_back(house: House) -> None:
    house.sees(shows("printing", "first.gcode"))
    house.moonraker_starts(shows("printing", "second.gcode"))
    told = [(kind, data["filename"]) for kind, data in house.journal.told if "job" in kind]
    assert told == [
        ("job_started", "first.gcode"),
        ("job_failed", "first.gcode"),
        ("job_started", "second.gcode"),
    ]


def test_the_power_goes_in_mid_print(house: House) -> None:
    house.sees(shows("printing"))
    house.moonraker_starts(Snapshot())
    house.sees(Snapshot(klippy=KlippyState.STARTUP), shows("standby", ""))
    assert house.journal.jobs == ["job_started", "job_failed"]
    (data,) = [data for kind, data in house.journal.told if kind == "job_failed"]
    assert data == {"filename": "a.gcode", "message": "Klippy was restarted during this job"}


def test_klippy_shuts_down_in_mid_print(house: House) -> None:
    house.sees(shows("printing"))
    down = Snapshot(klippy=KlippyState.SHUTDOWN, message="ADC out of range", job=house.last.job)
    house.sees(down, AWAY, shows("standby", ""))
    assert house.journal.jobs == ["job_started", "job_failed"]
    assert [kind for kind, _ in house.journal.told[2:4]] == ["klippy_error", "job_failed"]
    assert house.journal.told[3][1]["message"] == "ADC out of range"


def test_klippy_is_out_of_sight_and_prints_on(house: House) -> None:
    house.sees(shows("printing"), AWAY, shows("printing"), shows("complete"))
    assert house.journal.jobs == ["job_started", "job_finished"]


def test_a_job_that_is_put_away_as_it_is_cancelled(house: House) -> None:
    """CANCEL_PRINT and SDCARD_RESET_FILE in one macro: nobody sees "cancelled"."""
    house.sees(shows("standby", ""), shows("printing"), shows("standby", ""))
    assert house.journal.jobs == ["job_started", "job_cancelled"]


def test_a_job_too_short_to_be_seen(house: House) -> None:
    house.sees(shows("standby", ""), shows("complete"), shows("complete"))
    assert house.journal.jobs == ["job_started", "job_finished"]
