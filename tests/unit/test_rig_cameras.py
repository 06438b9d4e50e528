"""The camera server's pictures are pictures, and its faults are the faults that they are called."""

from __future__ import annotations

import hashlib
import http.client
import io
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from PIL import Image, ImageChops, ImageStat

from tests.rig.cameras import Camera, CameraServer
from tests.rig.scenes import CORNERS


@pytest.fixture
def cameras() -> Iterator[CameraServer]:
    with CameraServer(2) as server:
        yield server


@pytest.fixture
def camera(cameras: CameraServer) -> Camera:
    return cameras[0]


def get(url: str, timeout: float = 10) -> tuple[int, str, bytes]:
    """Code, content type and body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        response = connection.getresponse()
        return response.status, response.getheader("content-type") or "", response.read()
    finally:
        connection.close()


def snapshot(camera: Camera) -> bytes:
    return get(camera.snapshot_url)[2]


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def test_a_snapshot_is_a_jpeg_of_the_camera_asked(cameras: CameraServer) -> None:
    code, kind, data = get(cameras[0].snapshot_url)
    assert (code, kind) == (200, "image/jpeg")
    assert (opened(data).format, opened(data).size) == ("JPEG", (640, 480))
    assert snapshot(cameras[1]) != data
    assert [len(camera.requests()) for camera in cameras] == [1, 1]
    assert get(cameras.url("/cam3/?action=snapshot"))[0] == 404
    assert get(cameras.url("/cam1/?action=fly"))[0] == 404


def test_its_corners_tell_how_it_is_turned(camera: Camera) -> None:
    picture = opened(snapshot(camera)).convert("RGB")
    places = {
        "top_left": (10, 10),
        "top_right": (629, 10),
        "bottom_left": (10, 469),
        "bottom_right": (629, 469),
    }
    for name, place in places.items():
        pixel = picture.getpixel(place)
        assert isinstance(pixel, tuple)
        assert all(abs(a - b) < 30 for a, b in zip(pixel, CORNERS[name], strict=True)), name


def test_a_scene_changes_stands_still_or_is_noisy(camera: Camera) -> None:
    assert snapshot(camera) != snapshot(camera)
    assert [served.frame for served in camera.served] == [1, 2]
    camera.changing = False
    assert snapshot(camera) == snapshot(camera)
    assert camera.served[-1].frame == 2
    camera.progress = 0.7
    still = snapshot(camera)
    assert hashlib.sha256(still).hexdigest() == camera.served[-1].sha256
    assert camera.served[-1].sha256 != camera.served[-2].sha256
    camera.noise = True
    first, second = snapshot(camera), snapshot(camera)
    assert first != second
    difference = ImageChops.difference(opened(first), opened(second)).convert("L")
    assert 0 < ImageStat.Stat(difference).mean[0] < 3


def test_the_stream_goes_on_also_where_a_snapshot_was_asked_for(camera: Camera) -> None:
    assert_streams(camera.stream_url)
    camera.behave("multipart")
    assert_streams(camera.snapshot_url)
    assert len(camera.served) >= 6


def assert_streams(url: str) -> None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    connection.request("GET", f"{parts.path}?{parts.query}")
    response = connection.getresponse()
    assert (response.getheader("content-type") or "").startswith("multipart/x-mixed-replace")
    data = b""
    while data.count(b"\xff\xd8\xff") < 3:
        data += response.read1(65536)
    connection.close()


def test_one_camera_hangs_and_the_other_answers(cameras: CameraServer) -> None:
    cameras[0].behave("hang")
    with pytest.raises(TimeoutError):
        get(cameras[0].snapshot_url, timeout=0.2)
    assert opened(snapshot(cameras[1])).format == "JPEG"
    assert cameras[0].served == []
    assert len(cameras[0].wait_for_request()) == 1
    cameras[0].behave("ok")
    assert opened(snapshot(cameras[0])).format == "JPEG"


def test_answers_that_are_no_jpeg(camera: Camera) -> None:
    camera.behave("status", code=404, times=1)
    assert get(camera.snapshot_url)[0] == 404
    camera.behave("html", times=1)
    assert get(camera.snapshot_url)[2].startswith(b"<!DOCTYPE html>")
    camera.behave("empty", times=1)
    assert get(camera.snapshot_url)[2] == b""
    camera.behave("png", times=1)
    assert opened(snapshot(camera)).format == "PNG"


def test_a_truncated_jpeg_begins_well(camera: Camera) -> None:
    camera.behave("truncated")
    data = snapshot(camera)
    assert data.startswith(b"\xff\xd8\xff")
    with pytest.raises(OSError, match="truncated"):
        opened(data)
    camera.behave("cut")
    with pytest.raises(http.client.IncompleteRead):
        snapshot(camera)


def test_fifty_megabytes(camera: Camera) -> None:
    camera.behave("big")
    data = snapshot(camera)
    assert len(data) == 50 << 20
    assert opened(data).size == (640, 480)


def test_small_files_of_huge_dimensions(camera: Camera) -> None:
    camera.behave("bomb_jpeg", times=1)
    data = snapshot(camera)
    assert len(data) < 2000
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(data))
    camera.behave("bomb_jpeg", times=1, pixels=(12000, 14000))
    with pytest.warns(Image.DecompressionBombWarning):
        assert Image.open(io.BytesIO(snapshot(camera))).size == (12000, 14000)
    camera.behave("bomb_png", times=1, pixels=(8000, 8000))
    data = snapshot(camera)
    assert len(data) < 100_000
    assert opened(data).size == (8000, 8000)


def test_black_and_frozen_pictures(camera: Camera) -> None:
    camera.behave("black", times=1)
    assert max(ImageStat.Stat(opened(snapshot(camera))).mean) < 10
    camera.behave("frozen")
    frozen = snapshot(camera)
    assert frozen == snapshot(camera)
    camera.behave("ok")
    assert snapshot(camera) != frozen


def test_a_slow_drip_arrives_in_the_end(camera: Camera) -> None:
    camera.behave("drip", size=4000, interval=0.001)
    assert opened(snapshot(camera)).size == (640, 480)
