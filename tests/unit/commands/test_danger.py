"""What G-code could do is judged by what it comes to, not by how it is written."""

from __future__ import annotations

import pytest

from components.commands.danger import DANGER, effect_of
from components.commands.gcode import read_line
from components.printer.snapshot import Snapshot
from tests.unit.commands.support import MACROS, printing, ready


def hot() -> Snapshot:
    """A job at 210 and 60 °C."""
    job = printing()
    heaters = {
        "extruder": job.heaters["extruder"]._replace(target=210.0),
        "heater_bed": job.heaters["heater_bed"]._replace(target=60.0),
    }
    return job._replace(heaters=heaters)


def reasons(script: str, snapshot: Snapshot | None = None) -> str:
    return "; ".join(reason for _, reason in effect_of(script, snapshot or hot()).dangers)


@pytest.mark.parametrize("word", sorted(DANGER))
def test_each_word_of_the_table_is_what_klipper_reads_and_has_its_reason(word: str) -> None:
    assert read_line(word).word == word
    assert DANGER[word] in reasons(word)
    assert DANGER[word] in reasons(f"M117 first\nn5 {word.lower()} S1")


@pytest.mark.parametrize(
    "script",
    [
        "M104 S0",
        "m104",
        "N1 M104 T0 S0 ; off",
        "M140 S0",
        "M109 S45",
        "M190 S20",
        "SET_HEATER_TEMPERATURE HEATER=extruder TARGET=0",
        "SET_HEATER_TEMPERATURE HEATER=heater_bed",
        "M104 S180",
        "M140 S35",
        "TURN_OFF_HEATERS",
        "G4 P15000",
        "T1",
    ],
)
def test_what_takes_heat_from_a_job_or_holds_its_head(script: str) -> None:
    assert reasons(script)


@pytest.mark.parametrize(
    "script",
    ["M104 S200", "M104 S190", "M104 S240", "M140 S55", "M106 S0", "M107", "M220 S50", "M117 G28"],
)
def test_what_people_fine_tune_in_a_job(script: str) -> None:
    assert reasons(script) == ""


@pytest.mark.parametrize(
    ("macro", "said"),
    [
        ("PARK", ""),
        ("SAY", ""),
        ("HEAT", ""),
        ("AWAY X=5", "moves the head"),
        ("OUTER", "moves the head"),
        ("ANY CMD=G28", "works out its commands"),
        ("OFF", "turns heaters off"),
        ("WARM T=0", "turns heaters off"),
        ("GO FILE=x", "starts another"),
        ("AGAIN", "starts another"),
        ("LATER", "starts another"),
        ("_HIDDEN", "works out its commands"),
    ],
)
def test_macros_are_looked_through(macro: str, said: str) -> None:
    assert (said in reasons(macro)) if said else reasons(macro) == ""


@pytest.mark.parametrize("macro", ["GO", "AGAIN", "LATER", "ANY", "SDCARD_PRINT_FILE", "_HIDDEN"])
def test_a_macro_of_any_name_that_prints_prints(macro: str) -> None:
    assert effect_of(macro, ready()).prints
    assert effect_of(f"M117 hi\n{macro} X=1", ready()).prints


@pytest.mark.parametrize("macro", sorted(set(MACROS) - {"GO", "AGAIN", "LATER", "ANY"}))
def test_no_other_does(macro: str) -> None:
    assert effect_of(macro, ready()).prints == (macro == "SDCARD_PRINT_FILE")


def test_what_is_for_people_is_found() -> None:
    assert effect_of("BED_CLEAR", ready()).for_people == "tecmedhub_bed_clear"
    assert effect_of("PARK", ready()).for_people == ""


def test_the_jobs_own_verbs_are_as_the_actions() -> None:
    assert reasons("PAUSE\nRESUME\nCANCEL_PRINT") == ""


def test_macros_that_call_each_other_have_an_end() -> None:
    circle = ready()
    templates = circle.machine.templates._replace(macros={"A": "B", "B": "A\nG28"})
    machine = circle.machine._replace(templates=templates)
    assert "moves" in reasons("A", circle._replace(machine=machine))
