"""The status body: complete, and with correct figures."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.hub.json_body import to_json
from components.hub.protocol import Generation
from components.printer.gcode_files import GcodeFile
from components.printer.history import PastJob
from components.printer.host import HostStats
from components.printer.progress import FileFacts
from components.printer.snapshot import Heater, Job, KlippyState, Snapshot
from components.runtime.messages import in_language
from components.settings.model import PrinterData, Security, Settings
from components.status.body import (
    FileRows,
    Report,
    bed_word,
    build_body,
    minutes_left,
    status_word,
    time_remaining,
)

#: The README of client v4, "Datos Enviados al Servidor", and the hub's notes: never one less.
DOCUMENTED = (
    "action",
    "token",
    "name",
    "client_version",
    "timestamp",
    "status",
    "temp_hotend",
    "temp_bed",
    "temp_hotend_target",
    "temp_bed_target",
    "print_speed",
    "fan_speed",
    "progress",
    "current_file",
    "time_remaining",
    "last_completed",
    "uptime",
    "system",
    "files",
    "tags",
    "filament",
    "bed_status",
    "location",
    "image",
)


def report(snapshot: Snapshot, **changes: Any) -> Report:
    base = Report(
        settings=Settings(
            printer_token="T",
            printer_name="🦄",
            printer_data=PrinterData(tags=("PLA",), location="Lab"),
        ),
        generation=Generation.ONE,
        name="🦄",
        version="5.0.0",
        now=1_700_000_000.0,
        snapshot=snapshot,
        host=HostStats(cpu_usage=12.34, memory_used_mb=512.46, cpu_temp=55.27, uptime=19380),
        files=FileRows().of([GcodeFile("pieza.gcode", 2621440, 1_699_999_999.7)]),
        jobs=[],
        last_completed="pieza.gcode (14:30)",
        bed_status="limpia",
        filament={"material": "PLA"},
    )
    return base._replace(**changes)


def printing(**job: Any) -> Snapshot:
    values: dict[str, Any] = {"state": "printing", "filename": "cubo.gcode", **job}
    return Snapshot(klippy=KlippyState.READY, job=Job(**values))


def test_every_documented_field_is_there_even_for_an_absent_printer() -> None:
    body = build_body(report(Snapshot()))
    assert set(DOCUMENTED) <= set(body)
    assert body["status"] == "error"
    assert (body["temp_bed"], body["fan_speed"], body["files"][0]["name"]) == (
        0.0,
        0,
        "pieza.gcode",
    )


def test_the_figures_are_rounded_not_cut() -> None:
    now = printing(progress=0.4567)._replace(
        speed_factor=3.0599,
        fan_speed=0.7451,
        heaters={"extruder": Heater("extruder", 210.46, 210.0, 0.4, 0.0, 300.0)},
    )
    body = build_body(report(now))
    assert (body["print_speed"], body["fan_speed"], body["progress"]) == (306, 75, 46)
    assert (body["temp_hotend"], body["temp_hotend_target"]) == (210.5, 210.0)
    assert body["system"] == {"cpu_usage": 12.3, "memory_usage": 512.5, "cpu_temp": 55.3}
    assert body["files"] == [{"name": "pieza.gcode", "size": "2.5 MB", "modified": 1699999999}]
    assert body["uptime"] == "5h 23m"


@pytest.mark.parametrize(
    ("klippy", "state", "word"),
    [
        # "offline" would take every button off generation 1's page, the way back among them
        (KlippyState.DISCONNECTED, "printing", "error"),
        (KlippyState.STARTUP, "", "error"),
        (KlippyState.SHUTDOWN, "printing", "error"),
        (KlippyState.ERROR, "", "error"),
        (KlippyState.READY, "standby", "idle"),
        (KlippyState.READY, "printing", "printing"),
        (KlippyState.READY, "paused", "paused"),
        (KlippyState.READY, "complete", "idle"),
        (KlippyState.READY, "cancelled", "idle"),
        (KlippyState.READY, "error", "error"),
    ],
)
def test_the_hubs_word_for_each_state(klippy: KlippyState, state: str, word: str) -> None:
    assert status_word(Snapshot(klippy=klippy, job=Job(state=state))) == word


def test_filament_that_nobody_named_is_null() -> None:
    """Generation 1's page draws an empty object as a red "N/A - N/A"."""
    assert build_body(report(Snapshot(), filament={}))["filament"] is None
    assert build_body(report(Snapshot()))["filament"] == {"material": "PLA"}


@pytest.mark.parametrize(
    ("required", "dirty", "own", "language", "word"),
    [
        (False, True, "", "es", ""),
        (False, True, "limpia", "es", "limpia"),
        (True, True, "limpia", "es", "por despejar"),
        (True, True, "", "en", "needs clearing"),
        (True, False, "", "en", "clear"),
        (True, False, "", "es", "limpia"),
        (True, False, "lista", "es", "lista"),
    ],
)
def test_the_bed_in_the_readers_language(
    required: bool, dirty: bool, own: str, language: str, word: str
) -> None:
    settings = Settings(
        security=Security(require_clear_bed=required), printer_data=PrinterData(bed_status=own)
    )
    assert in_language(bed_word(settings, dirty), language) == word


def test_the_beds_words_are_the_operators_to_choose() -> None:
    data = PrinterData(bed_needs_clearing="ocupada", bed_clear="libre")
    settings = Settings(security=Security(require_clear_bed=True), printer_data=data)
    assert [bed_word(settings, dirty) for dirty in (True, False)] == ["ocupada", "libre"]


def test_the_hub_can_tell_which_of_its_files_and_commands_a_job_is() -> None:
    past = PastJob("1", "pieza.gcode", "completed", 1.0, 2.0, 1.0, 1.0, 3.0, command_id="7")
    told = report(
        printing(filename="señal.gcode"),
        jobs=[past],
        command_id="cmd_1",
        hub_file=lambda path: f"1795_{path}" if path == "señal.gcode" else "",
    )
    body = build_body(told)
    assert (body["job"]["hub_file"], body["job"]["command_id"]) == ("1795_señal.gcode", "cmd_1")
    assert (body["history"][0]["hub_file"], body["history"][0]["command_id"]) == ("", "7")
    idle = build_body(report(Snapshot(klippy=KlippyState.READY, job=Job(state="standby"))))
    assert (idle["job"]["hub_file"], idle["job"]["command_id"]) == ("", "")


def test_filament_also_by_weight_where_the_slicer_told_it() -> None:
    file = FileFacts(filename="cubo.gcode", filament_total=4000.0, filament_weight=12.0)
    now = printing(filament_used=1000.0)
    assert build_body(report(now._replace(file=file)))["job"]["filament_used_g"] == 3.0
    assert build_body(report(now))["job"]["filament_used_g"] is None


def remaining(progress: float, print_duration: float, estimate: float) -> int:
    now = printing(progress=progress, print_duration=print_duration, total_duration=9000.0)
    now = now._replace(file=FileFacts(filename="cubo.gcode", estimated_time=estimate))
    return minutes_left(now)


def test_generation_2_reads_seconds_and_generation_1_minutes() -> None:
    now = printing(progress=0.5, print_duration=1350.0)
    assert time_remaining(now, Generation.ONE) == 23  # 22.5 min
    assert time_remaining(now, Generation.TWO) == 1350


def test_time_remaining_is_the_slicers_estimate_at_first() -> None:
    assert remaining(0.0, 0.0, 7200) == 120  # heating: 9000 s of total_duration count nothing


def test_time_remaining_follows_the_prints_own_pace_more_and_more() -> None:
    assert remaining(0.5, 3600, 7200) == 60
    assert remaining(0.5, 7200, 7200) == 75  # half at double time: between 60 and 120
    assert remaining(0.9, 12960, 7200) == 22  # of 24 by the pace, 12 by the slicer


def test_time_remaining_without_an_estimate_is_the_pace() -> None:
    assert remaining(0.25, 900, 0) == 45
    assert remaining(0.0, 0, 0) == 0


def test_a_time_that_is_not_known_is_null_only_for_a_hub_that_can_tell() -> None:
    now = printing(progress=0.0)
    for generation in (Generation.ONE, Generation.TWO):
        assert time_remaining(now, generation) == 0
        assert time_remaining(now, generation, null_times=True) is None
    idle = Snapshot(klippy=KlippyState.READY)
    assert time_remaining(idle, Generation.ONE, null_times=True) == 0


def test_the_estimate_of_another_file_counts_nothing() -> None:
    now = printing()._replace(file=FileFacts(filename="x", estimated_time=7200))
    assert minutes_left(now) == 0


def test_no_job_no_time() -> None:
    assert minutes_left(Snapshot(klippy=KlippyState.READY, job=Job(state="complete"))) == 0


def test_why_the_printer_does_not_print_is_told() -> None:
    down = Snapshot(klippy=KlippyState.SHUTDOWN, message="ADC out of range")
    assert build_body(report(down))["state_message"] == "ADC out of range"


@given(
    st.floats(allow_nan=True),
    st.floats(allow_nan=True),
    st.text(st.characters(codec=None), max_size=8),
)
def test_whatever_klipper_reports_becomes_json_for_php(a: float, b: float, name: str) -> None:
    now = printing(progress=0.5, print_duration=abs(b), filename=name)._replace(
        speed_factor=a,
        heaters={"extruder": Heater("extruder", a, b, None, 0.0, 300.0)},
    )
    rows = FileRows().of([GcodeFile(name, 3, 0.0)])
    body = json.loads(to_json(build_body(report(now, files=rows))))
    assert body["status"] == "printing"


def test_another_list_of_files_makes_other_rows() -> None:
    rows = FileRows()
    first = [GcodeFile("a.gcode", 1024, 1.5)]
    assert rows.of(first) is rows.of(first)
    assert rows.of(first) == [{"name": "a.gcode", "size": "1.0 KB", "modified": 1}]
    assert [row["name"] for row in rows.of([*first, GcodeFile("b.gcode", 1, 2.0)])] == [
        "a.gcode",
        "b.gcode",
    ]
