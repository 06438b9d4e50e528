"""Which cameras there are, and where a single picture of each is looked for."""

from __future__ import annotations

import doctest
import importlib
from typing import Any

import pytest

from components.cameras.sources import Source, absolute, find_sources, guesses, shown
from tests.unit.cameras.support import webcam

SNAPSHOT = "http://127.0.0.1:8080/?action=snapshot"


@pytest.mark.parametrize(
    "module",
    [
        *("cameras.sources", "cameras.fetch", "cameras.pictures", "cameras.publish"),
        *("cameras.digest", "films.frames", "films.render", "films.gallery"),
    ],
)
def test_the_examples_in_docstrings_hold(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"components.{module}"))
    assert result.failed == 0


def test_urls_of_the_settings_come_before_the_web_interface() -> None:
    found = find_sources([SNAPSHOT], [webcam("Lab", "http://10.0.0.9/snap.jpg")])
    assert found == (Source("camera 1", (SNAPSHOT,)),)


def test_all_enabled_webcams_are_taken_with_their_orientation() -> None:
    found = find_sources(
        [],
        [
            webcam("Bed", SNAPSHOT, rotation=90, flip_horizontal=True),
            webcam("Off", SNAPSHOT, enabled=False),
            webcam("Nozzle", "http://10.0.0.9/snap.jpg", flip_vertical=True),
        ],
    )
    assert [(s.name, s.rotation, s.flip_horizontal, s.flip_vertical) for s in found] == [
        ("Bed", 90, True, False),
        ("Nozzle", 0, False, True),
    ]


def test_a_url_of_the_settings_takes_over_what_the_web_interface_knows_of_it() -> None:
    (found,) = find_sources(
        ["http://127.0.0.1/webcam/?action=snapshot"],
        [webcam("Lab", "/webcam/?action=snapshot", rotation=180)],
    )
    assert (found.name, found.rotation) == ("Lab", 180)


@pytest.mark.parametrize(
    ("snapshot_url", "stream_url", "first"),
    [
        ("/webcam/?action=snapshot", "/webcam/?action=stream", "http://127.0.0.1/webcam/?action=snapshot"),
        ("webcam/snapshot", "", "http://127.0.0.1/webcam/snapshot"),
        ("http://cam/?action=stream", "", "http://cam/?action=snapshot"),
        ("http://cam/?action=stream_0", "", "http://cam/?action=snapshot"),
        ("", "http://cam:8080/stream", "http://cam:8080/snapshot"),
        ("", "/webcam/webrtc", "http://127.0.0.1/webcam/snapshot"),
        ("http://cam/video", "", "http://cam/shot.jpg"),
        ("rtsp://cam/live", "http://cam/?action=stream", "http://cam/?action=snapshot"),
        ("http://cam/a b.jpg?x=ñ", "", "http://cam/a%20b.jpg?x=%C3%B1"),
    ],
)  # fmt: skip
def test_a_snapshot_is_looked_for_at(snapshot_url: str, stream_url: str, first: str) -> None:
    (found,) = find_sources([], [webcam("x", snapshot_url, stream_url=stream_url)])
    assert found.candidates[0] == first
    assert found.problem == ""
    assert not any("action=stream" in url or url.endswith("/stream") for url in found.candidates)


def test_the_cameras_own_port_is_tried_where_nginx_is_not_on_port_80() -> None:
    (found,) = find_sources([], [webcam("x", "/webcam2/?action=snapshot")])
    assert "http://127.0.0.1:8081/?action=snapshot" in found.candidates


@pytest.mark.parametrize(
    "url",
    ["rtsp://cam/live", "http://", "http://[::1/x", "http://cam:port/", "file:///etc/passwd",
     "http://cam/\r\nHost: x", "http://cam/" + "x" * 5000],
)  # fmt: skip
def test_an_unusable_url_has_a_reason_and_no_candidate(url: str) -> None:
    (found,) = find_sources([url], [])
    assert found.candidates == ()
    assert found.problem.endswith(".")


def test_a_webcam_without_snapshot_whose_stream_is_unknown_is_never_asked_for() -> None:
    (found,) = find_sources([], [webcam("x", "", stream_url="http://cam/live.m3u8")])
    assert found.candidates == ()
    assert "snapshot URL" in found.problem


def test_repeated_and_ugly_names_are_told_apart_and_cleaned() -> None:
    entries = [webcam("Cam", SNAPSHOT), webcam("Cam", SNAPSHOT), webcam("a\x00\nb" * 50, SNAPSHOT)]
    names = [source.name for source in find_sources([], entries)]
    assert names[1:] == ["Cam", "Cam (2)"]
    assert names[2].isprintable() and len(names[2]) <= 60


def test_entries_with_wrong_types_do_no_harm() -> None:
    entry = {"name": 7, "snapshot_url": None, "stream_url": [], "rotation": "90", "enabled": True}
    (found,) = find_sources([], [entry])
    assert found.name == "camera 1" and found.rotation == 0 and found.problem


def test_no_more_cameras_than_can_be_shown() -> None:
    assert len(find_sources([f"http://cam{n}/x.jpg" for n in range(50)], [])) == 8


def test_guesses_for_a_stream_that_does_not_look_like_one() -> None:
    assert "http://cam/live/?action=snapshot" in guesses("http://cam/live/")
    assert "http://cam/snapshot" in guesses("http://cam/feed")


def test_secrets_in_addresses_are_not_shown() -> None:
    text = shown("https://user:geheim@cam:8443/snap?token=abc&action=snapshot")
    assert text == "https://cam:8443/snap?action=snapshot"


def test_a_relative_address_becomes_absolute_on_this_machine() -> None:
    assert absolute("/webcam/?action=snapshot") == "http://127.0.0.1/webcam/?action=snapshot"


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("192.168.1.20/snap.jpg", "http://192.168.1.20/snap.jpg"),
        ("cam.local:8080/?action=snapshot", "http://cam.local:8080/?action=snapshot"),
        ("cam:8080/x", "http://cam:8080/x"),
        ("user:pw@cam.local/x", "http://user:pw@cam.local/x"),
        ("[fe80::1]:81/x", "http://[fe80::1]:81/x"),
        ("webcam/?action=snapshot", "http://127.0.0.1/webcam/?action=snapshot"),
        ("/webcam2/?action=snapshot", "http://127.0.0.1/webcam2/?action=snapshot"),
    ],
)
def test_an_address_without_http_is_one_all_the_same(written: str, asked: str) -> None:
    assert absolute(written) == asked


def test_cameras_come_by_name_and_as_wished() -> None:
    entries = [webcam(name, SNAPSHOT) for name in ("Side", "bed", "Top", "Nozzle")]

    def names(**wished: Any) -> list[str]:
        return [source.name for source in find_sources([], entries, **wished)]

    assert names() == ["bed", "Nozzle", "Side", "Top"]
    entries.reverse()
    assert names() == ["bed", "Nozzle", "Side", "Top"], "however Moonraker lists them"
    assert names(primary="Top") == ["Top", "bed", "Nozzle", "Side"]
    assert names(order=["Side", "gone", "bed"]) == ["Side", "bed", "Nozzle", "Top"]
    assert names(primary="Nozzle", order=["Side", "Nozzle"])[:2] == ["Nozzle", "Side"]
