"""Pictures for the camera server: a printer drawn by Pillow, and files that only look so."""

from __future__ import annotations

import io
import random
import struct
import zlib

from PIL import Image, ImageDraw

#: Colours of the squares in the corners, so that flips and rotations can be told apart.
CORNERS = {
    "top_left": (220, 30, 30),
    "top_right": (30, 200, 30),
    "bottom_left": (40, 60, 230),
    "bottom_right": (240, 240, 240),
}
_CORNER = 12  # a square's side is the picture's height divided by this


def draw(
    size: tuple[int, int], title: str, frame: int, progress: float, *, noise: int | None = None
) -> bytes:
    """A JPEG of a printer whose part has grown to `progress` (0–1); `noise` seeds sensor noise."""
    width, height = size
    picture = Image.new("RGB", size, (58, 64, 72))
    pen = ImageDraw.Draw(picture)
    bed, part = height * 0.8, height * 0.45 * progress
    pen.rectangle((width * 0.2, bed, width * 0.8, bed + height * 0.04), fill=(25, 25, 28))
    pen.rectangle((width * 0.35, bed - part, width * 0.65, bed), fill=(225, 130, 40))
    head = width * (0.35 + 0.3 * (progress * 17 % 1))
    pen.rectangle((head - 20, bed - part - 50, head + 20, bed - part - 8), fill=(140, 150, 160))
    pen.text((width * 0.3, 8), f"{title}  #{frame:06d}", fill=(255, 255, 255))
    side = height // _CORNER
    places = {
        "top_left": (0, 0),
        "top_right": (width - side, 0),
        "bottom_left": (0, height - side),
        "bottom_right": (width - side, height - side),
    }
    for name, (x, y) in places.items():
        pen.rectangle((x, y, x + side - 1, y + side - 1), fill=CORNERS[name])
    if noise is not None:
        grain = Image.frombytes("L", size, random.Random(noise).randbytes(width * height))
        picture = Image.blend(picture, Image.merge("RGB", (grain, grain, grain)), 0.02)
    return encode(picture)


def encode(picture: Image.Image, kind: str = "JPEG") -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, quality=80)
    return out.getvalue()


def black(size: tuple[int, int]) -> bytes:
    """What a covered lens sends."""
    return encode(Image.new("RGB", size, (2, 2, 2)))


def png(size: tuple[int, int]) -> bytes:
    return encode(Image.new("RGB", size, (58, 64, 72)), "PNG")


def bomb_jpeg(size: tuple[int, int] = (65500, 65500)) -> bytes:
    """A few hundred bytes whose header promises a picture of this size."""
    data = bytearray(encode(Image.new("L", (16, 16), 128)))
    frame = data.index(b"\xff\xc0")  # start of frame: length, precision, height, width
    data[frame + 5 : frame + 9] = struct.pack(">HH", size[1], size[0])
    return bytes(data)


def bomb_png(size: tuple[int, int] = (30000, 30000)) -> bytes:
    """A valid picture of one grey, some kilobytes long, that unpacks to width × height bytes."""
    width, height = size
    packer = zlib.compressobj(9)
    row = b"\0" * (width + 1)  # filter byte and pixels
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(name, data) for name, data in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
