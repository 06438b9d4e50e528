"""What is made of a picture's bytes, hostile ones included."""

from __future__ import annotations

import random
import resource
from collections.abc import Callable

import pytest
from PIL import Image

from components.cameras.cadence import changed_cells, difference
from components.cameras.pictures import PictureError, Shape, glance, is_black, prepare
from tests.rig import scenes
from tests.unit.cameras.support import encoded, jpeg, opened

PLAIN = Shape(max_width=None, max_bytes=1 << 20)


def corner_colors(data: bytes) -> dict[str, str]:
    """Which of the drawn corners is found in which corner of a picture."""
    picture = opened(data).convert("RGB")
    width, height = picture.size
    places = {
        "top_left": (4, 4),
        "top_right": (width - 5, 4),
        "bottom_left": (4, height - 5),
        "bottom_right": (width - 5, height - 5),
    }

    def nearest(color: tuple[int, ...]) -> str:
        def distance(name: str) -> int:
            return sum(abs(a - b) for a, b in zip(color, scenes.CORNERS[name], strict=True))

        return min(scenes.CORNERS, key=distance)

    return {place: nearest(picture.getpixel(at)) for place, at in places.items()}


@pytest.mark.parametrize(
    ("shape", "top_left_goes_to", "top_right_goes_to"),
    [
        (PLAIN, "top_left", "top_right"),
        (Shape(None, 1 << 20, flip_horizontal=True), "top_right", "top_left"),
        (Shape(None, 1 << 20, flip_vertical=True), "bottom_left", "bottom_right"),
        (Shape(None, 1 << 20, rotation=90), "top_right", "bottom_right"),
        (Shape(None, 1 << 20, rotation=180), "bottom_right", "bottom_left"),
        (Shape(None, 1 << 20, rotation=270), "bottom_left", "top_left"),
        (Shape(None, 1 << 20, flip_horizontal=True, rotation=90), "top_left", "bottom_left"),
    ],
)
def test_turning_is_clockwise_and_comes_before_flipping(
    shape: Shape, top_left_goes_to: str, top_right_goes_to: str
) -> None:
    picture = prepare(scenes.draw((320, 240), "x", 1, 0.5), shape)
    found = corner_colors(picture.jpeg)
    assert found[top_left_goes_to] == "top_left"
    assert found[top_right_goes_to] == "top_right"
    sideways = shape.rotation in (90, 270)
    assert (picture.width, picture.height) == ((240, 320) if sideways else (320, 240))


@pytest.mark.parametrize(
    ("size", "rotation", "expected"),
    [
        ((1920, 1080), 0, (1280, 720)),
        ((1920, 1080), 90, (1080, 1920)),
        ((640, 480), 0, (640, 480)),
        ((4000, 3000), 0, (1280, 960)),
    ],
)
def test_wide_pictures_are_scaled_and_small_ones_left(
    size: tuple[int, int], rotation: int, expected: tuple[int, int]
) -> None:
    picture = prepare(jpeg(size), Shape(1280, 1 << 20, rotation=rotation))
    assert (picture.width, picture.height) == expected == opened(picture.jpeg).size


@pytest.mark.parametrize("limit", [100_000, 40_000, 20_000])
def test_the_byte_limit_holds_for_the_noisiest_picture(limit: int) -> None:
    picture = prepare(jpeg((1280, 720), noise=1), Shape(1280, limit))
    assert len(picture.jpeg) <= limit
    assert opened(picture.jpeg).size == (picture.width, picture.height)


def test_an_easy_picture_keeps_its_size_under_the_limit() -> None:
    picture = prepare(scenes.draw((1280, 720), "x", 1, 0.5), Shape(1280, 100_000))
    assert picture.width == 1280


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1", "I;16"])
def test_png_of_every_mode_becomes_a_jpeg(mode: str) -> None:
    picture = prepare(encoded(Image.new(mode, (64, 48)), "PNG"), PLAIN)
    assert opened(picture.jpeg).format == "JPEG"


def test_transparency_is_shown_on_white() -> None:
    picture = prepare(encoded(Image.new("RGBA", (64, 48), (0, 0, 0, 0)), "PNG"), PLAIN)
    assert min(opened(picture.jpeg).getpixel((30, 20))) > 240


def test_webp_and_cmyk_become_rgb_jpegs() -> None:
    for data in (
        encoded(Image.new("RGB", (64, 48), "red"), "WEBP"),
        encoded(Image.new("CMYK", (64, 48))),
    ):
        assert opened(prepare(data, PLAIN).jpeg).mode == "RGB"


def test_place_and_time_in_exif_do_not_leave_the_printer() -> None:
    exif = Image.Exif()
    exif[0x010E] = "Lab of Ms Garcia"
    data = encoded(Image.new("RGB", (64, 48)), exif=exif)
    assert b"Garcia" in data
    assert b"Garcia" not in prepare(data, PLAIN).jpeg


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"\xff\xd8\xff" + bytes(100),
        jpeg((640, 480), noise=2)[:20_000],
        scenes.bomb_jpeg(),
        scenes.bomb_jpeg((12_000, 4_000)),
        lambda: scenes.bomb_png((30_000, 30_000)),  # not while tests are collected: it takes long
        lambda: scenes.bomb_png((5_000, 5_000)),
        encoded(Image.new("RGB", (64, 48)), "GIF"),
        encoded(Image.new("RGB", (64, 48)), "BMP"),
        encoded(Image.new("RGB", (64, 48)), "TIFF"),
    ],
    ids=["empty", "html", "head", "cut", "bomb", "wide bomb", "png bomb", "25 MP png", "gif", "bmp",
         "tiff"],
)  # fmt: skip
def test_what_is_no_picture_is_refused_with_a_sentence(data: bytes | Callable[[], bytes]) -> None:
    data = data() if callable(data) else data
    for work in (lambda: prepare(data, PLAIN), lambda: glance(data)):
        with pytest.raises(PictureError) as caught:
            work()
        assert str(caught.value).endswith(".")


@pytest.mark.slow
def test_refusing_a_bomb_costs_no_memory() -> None:
    bomb = scenes.bomb_png((30_000, 30_000))  # 900 MB unpacked
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3):
        with pytest.raises(PictureError):
            prepare(bomb, PLAIN)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_hundreds_of_damaged_pictures_raise_nothing_else() -> None:
    good = jpeg((160, 120), noise=3)
    source = random.Random(1)
    for _ in range(300):
        data = bytearray(good)
        for _ in range(source.randrange(1, 30)):
            data[source.randrange(len(data))] = source.randrange(256)
        try:
            assert len(prepare(bytes(data), Shape(64, 20_000)).jpeg) <= 20_000
        except PictureError:
            pass


def test_a_scene_is_recognised_whatever_the_noise_and_the_exposure() -> None:
    def signature(**scene: float) -> bytes:
        return glance(scenes.draw((640, 480), "x", 1, scene["progress"], noise=int(scene["noise"])))

    first, again = signature(progress=0.3, noise=1), signature(progress=0.3, noise=2)
    grown = signature(progress=0.6, noise=3)
    brighter = bytes(min(value + 20, 255) for value in again)
    assert difference(first, again) < 2.0 and changed_cells(first, again) == 0
    assert difference(first, brighter) < 2.0 and changed_cells(first, brighter) == 0
    assert changed_cells(first, grown) >= 12


def test_a_glance_sees_what_the_full_picture_shows() -> None:
    data = scenes.draw((1920, 1080), "x", 1, 0.5)
    assert difference(glance(data), prepare(data, Shape(1280, 100_000)).signature) < 4.0


def test_black_is_told_from_dark() -> None:
    assert is_black(glance(scenes.black((640, 480))))
    dark = Image.new("RGB", (640, 480), (3, 3, 3))
    dark.paste((90, 90, 90), (300, 200, 360, 260))  # a display that is on
    assert not is_black(glance(encoded(dark)))
    assert not is_black(glance(scenes.draw((640, 480), "x", 1, 0.5)))
