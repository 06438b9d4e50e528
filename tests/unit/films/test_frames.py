"""Frames on disk: what survives, what is thinned, what is passed over."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from components.films.frames import (
    WAITING,
    FrameStore,
    Manifest,
    Recording,
    over_budget,
    same_print,
)
from components.printer.snapshot import Job
from tests.unit.cameras.support import jpeg

MANIFEST = Manifest(filename="sub/Búho ñ.gcode", started=1_700_000_000.0, camera="Bed")


@pytest.fixture
def store(tmp_path: Path) -> FrameStore:
    return FrameStore(tmp_path / "timelapse")


def filled(store: FrameStore, frames: int) -> Recording:
    recording = store.begin(MANIFEST)
    for number in range(frames):
        store.add(recording, jpeg(color=(number, number, number)))
    return recording


def names(recording: Recording) -> list[str]:
    return sorted(path.name for path in recording.folder.glob("*.jpg"))


def test_a_recording_is_found_again_as_it_was_left(store: FrameStore) -> None:
    recording = filled(store, 3)
    store.save(recording, replace(MANIFEST, state=WAITING, outcome="complete", attempts=1))
    (found,) = FrameStore(store.root).scan()
    assert found.manifest == recording.manifest
    assert (found.frames, found.bytes) == (3, recording.bytes)
    store.add(found, jpeg())
    assert names(found) == [f"frame{n:06d}.jpg" for n in (1, 2, 3, 4)]


def test_prints_of_the_same_second_have_folders_of_their_own(store: FrameStore) -> None:
    assert store.begin(MANIFEST).folder != store.begin(MANIFEST).folder


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"filename": 3}', '{"started": 1}', '{"filename": "", "started": 1}',
     '{"filename": "a", "started": "x"}', "[" * 100_000],
)  # fmt: skip
def test_folders_without_a_readable_manifest_are_passed_over(store: FrameStore, text: str) -> None:
    filled(store, 1)
    folder = store.root / "00000000_bad"
    folder.mkdir()
    (folder / "manifest.json").write_text(text)
    (store.root / "a_file").write_text("x")
    assert len(store.scan()) == 1


def test_odd_values_of_a_manifest_are_taken_for_their_best(store: FrameStore) -> None:
    recording = filled(store, 1)
    (recording.folder / "manifest.json").write_text(
        json.dumps({"filename": "a", "started": 5, "state": "?", "thinned": -3, "attempts": "x"})
    )
    (found,) = store.scan()
    assert found.manifest == Manifest("a", 5.0, "", state=WAITING, thinned=1, attempts=0)


def test_nothing_is_scanned_where_nothing_is(tmp_path: Path) -> None:
    assert FrameStore(tmp_path / "none").scan() == []


def test_thinning_keeps_every_second_frame_and_the_newest(store: FrameStore) -> None:
    recording = filled(store, 9)
    before = recording.bytes
    store.thin(recording)
    assert names(recording) == [f"frame{n:06d}.jpg" for n in (1, 3, 5, 7, 9)]
    assert recording.manifest.thinned == 2 and recording.frames == 5 and recording.bytes < before
    store.add(recording, jpeg())
    assert names(recording)[-1] == "frame000010.jpg"
    store.thin(recording)
    assert names(recording)[-1] == "frame000010.jpg" and recording.manifest.thinned == 4
    assert FrameStore(store.root).scan()[0].manifest.thinned == 4


def test_damaged_frames_are_left_out_and_the_rest_numbered_without_gaps(store: FrameStore) -> None:
    recording = filled(store, 6)
    whole = (recording.folder / "frame000001.jpg").read_bytes()
    (recording.folder / "frame000002.jpg").write_bytes(b"")  # a power cut
    (recording.folder / "frame000004.jpg").write_bytes(whole[: len(whole) // 2])
    (recording.folder / "frame000099.part").write_bytes(b"x")
    assert store.ready_frames(recording) == 4
    assert names(recording) == [f"frame{n:06d}.jpg" for n in (1, 2, 3, 4)]
    assert (recording.folder / "frame000001.jpg").read_bytes() == whole


def test_the_fullest_recording_is_thinned_and_two_frames_are_always_left() -> None:
    small = Recording(Path("a"), MANIFEST, frames=10, bytes=1000)
    large = Recording(Path("b"), MANIFEST, frames=100, bytes=9000)
    assert over_budget([small, large], 10_000) is None
    assert over_budget([small, large], 9_999) is large
    assert over_budget([replace(large, frames=2)], 1) is None


@pytest.mark.parametrize(
    ("job", "same"),
    [
        (Job(state="printing", filename="a", total_duration=600.0), True),
        (Job(state="paused", filename="a", total_duration=650.0), True),
        (Job(state="complete", filename="a", total_duration=600.0), False),
        (Job(state="printing", filename="b", total_duration=600.0), False),
        (Job(state="printing", filename="a", total_duration=10.0), False),  # begun anew
    ],
)
def test_the_same_print_is_known_by_its_file_and_its_start(job: Job, same: bool) -> None:
    manifest = Manifest(filename="a", started=1_700_000_000.0, camera="")
    assert same_print(manifest, job, 1_700_000_600.0) is same
