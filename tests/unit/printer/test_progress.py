"""Progress with a memory of the job: whose M73 it is, how long it counts, layers by height."""

from __future__ import annotations

from typing import Any

import pytest

from components.printer.progress import Course, FileFacts, JobMemory, layer_count, time_left

SIZE = 10000


class Job:
    """Klipper's status objects as a job goes on, four looks a second."""

    def __init__(self, **facts: Any) -> None:
        self.memory = JobMemory()
        self.facts = FileFacts(**facts)
        self.m73: float | None = None
        self.state, self.filename = "standby", ""
        self.share, self.duration, self.z = 0.0, 0.0, 0.2
        self.info: dict[str, Any] = {}
        self.look()

    def start(self, filename: str = "a.gcode") -> None:
        self.state, self.filename, self.share, self.duration = "printing", filename, 0.0, 0.0
        self.look()

    def look(self, share: float | None = None, m73: float | None = None) -> Course:
        self.share = self.share if share is None else share
        self.m73 = self.m73 if m73 is None else m73
        self.duration += 0.25 if self.state == "printing" else 0.0
        self.objects: dict[str, dict[str, Any]] = {
            "print_stats": {
                "state": self.state,
                "filename": self.filename,
                "total_duration": self.duration,
                "print_duration": self.duration,
                "info": self.info,
            },
            "virtual_sdcard": {"progress": self.share, "file_position": int(self.share * SIZE)},
            "display_status": {"progress": self.share if self.m73 is None else self.m73},
            "gcode_move": {"gcode_position": [0.0, 0.0, self.z, 0.0]},
        }
        self.memory.follow(self.objects, self.facts)
        return self.memory.course(self.objects, self.facts)

    def progress(self, share: float | None = None, m73: float | None = None) -> float:
        return self.look(share, m73).progress


def test_m73_counts_where_the_file_speaks_it() -> None:
    job = Job(gcode_start_byte=1000, gcode_end_byte=9000)
    job.start()
    assert job.progress(0.1, m73=0.01) == 0.01
    course = job.look(0.2, m73=0.42)
    assert (course.progress, course.time_share) == (0.42, 0.42)


def test_without_m73_the_place_between_first_and_last_byte_of_gcode_counts() -> None:
    job = Job(gcode_start_byte=1000, gcode_end_byte=9000)
    job.start()
    assert [job.progress(share) for share in (0.05, 0.1, 0.5, 0.99)] == [0.0, 0.0, 0.5, 1.0]
    bare = Job()
    bare.start()
    assert bare.progress(0.25) == 0.25


def test_the_m73_of_the_job_before_is_not_that_of_this_one() -> None:
    """Klipper keeps it until it idles, and the next job begins within seconds."""
    job = Job()
    job.start()
    job.look(0.99, m73=1.0)
    job.state = "complete"
    assert job.progress(1.0) == 1.0
    job.start("b.gcode")
    assert [job.progress(share) for share in (0.01, 0.5, 0.9)] == [0.01, 0.5, 0.9]
    # The very same file at once again, and its end never seen: the time has gone back.
    job.start("b.gcode")
    assert job.progress(0.02) == 0.02
    assert job.progress(0.03, m73=0.05) == 0.05  # its own first word


def test_m73_is_kept_through_a_pause() -> None:
    job = Job()
    job.start()
    job.look(0.1, m73=0.0)
    assert job.progress(0.13, m73=0.7) == 0.7
    job.state = "paused"
    job.m73 = None  # Klipper idles and drops it
    assert job.progress(0.13) == 0.7
    job.state = "printing"
    assert job.progress(0.14) == 0.7
    assert job.progress(0.15, m73=0.71) == 0.71


def test_m73_is_given_up_when_the_file_goes_on_without_a_word_of_it() -> None:
    job = Job()
    job.start()
    assert job.progress(0.01, m73=0.0) == 0.0
    assert job.progress(0.07) == 0.07  # "0 %" is believed less long than others
    assert job.progress(0.11, m73=0.1) == 0.1
    assert job.progress(0.24) == 0.1
    assert job.progress(0.26) == 0.26
    assert job.progress(0.3, m73=0.4) == 0.4  # it speaks again


def test_a_job_that_ran_when_we_came() -> None:
    for m73, share, expected in ((0.4, 0.5, 0.4), (1.0, 0.5, 0.5), (1.0, 0.95, 1.0)):
        job = Job.__new__(Job)
        job.memory, job.facts, job.info = JobMemory(), FileFacts(), {}
        job.state, job.filename, job.duration, job.z = "printing", "a.gcode", 900.0, 1.0
        assert job.look(share, m73).progress == expected


@pytest.mark.parametrize(("state", "expected"), [("complete", 1.0), ("standby", 0.0), ("", 0.0)])
def test_progress_when_no_job_runs(state: str, expected: float) -> None:
    job = Job()
    job.state = state
    assert job.progress(0.5) == expected


HEIGHTS: dict[str, Any] = {"layer_height": 0.2, "first_layer_height": 0.3, "object_height": 1.1}


def test_layers_are_reckoned_from_the_height_where_nobody_tells_them() -> None:
    job = Job(**HEIGHTS)
    job.start()
    found = []
    for z in (0.3, 0.5, 0.7, 0.9, 1.1, 15.0):  # at last the head moves up and away
        job.z = z
        job.look()
        found.append(job.look().layer)
    assert found == [1, 2, 3, 4, 5, 5]
    assert job.look().layers == 5


def test_a_hop_is_no_layer() -> None:
    job = Job(**HEIGHTS)
    job.start()
    job.z = 0.5
    job.look()
    assert job.look().layer == 2
    job.z = 0.9
    assert job.look().layer == 2
    job.z = 0.5
    assert job.look().layer == 2


def test_what_klipper_was_told_of_layers_comes_first() -> None:
    job = Job(**HEIGHTS)
    job.start()
    job.info = {"current_layer": 7, "total_layer": 20}
    course = job.look()
    assert (course.layer, course.layers) == (7, 20)


def test_no_heights_no_layers() -> None:
    job = Job()
    job.start()
    job.look()
    assert (job.look().layer, job.look().layers) == (None, None)
    assert layer_count(FileFacts(layer_count=12, layer_height=0.2, object_height=1.0)) == 12


def test_cura_s_clock_tells_the_time_that_bytes_do_not() -> None:
    job = Job(clock=((1000, 10.0), (5000, 20.0), (9000, 100.0)))
    job.start()
    course = job.look(0.5)
    assert course.progress == 0.5
    assert course.time_share == 0.2


def test_time_left() -> None:
    unknown = time_left(Course(progress=0.005), 30.0, 0.0)
    assert unknown is None
    assert time_left(Course(progress=0.005), 30.0, 1000.0) == pytest.approx(995, abs=5)
    assert time_left(Course(progress=0.5), 500.0, 0.0) == 500.0
    # What the slicer says of its time soon lets the pace count alone.
    slow = Course(progress=0.3, time_share=0.25)
    assert time_left(slow, 500.0, 1000.0) == 1500.0
    # A few seconds that went by are no pace.
    assert time_left(Course(progress=0.7, time_share=0.7), 8.0, 3600.0) == pytest.approx(1080, 0.05)
