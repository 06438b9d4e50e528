"""What is done to the bytes of a picture, all of it blocking: call these in a thread.

The bytes come from a camera server, so they are untrusted: only JPEG, PNG and WebP are opened, the
dimensions in the header are judged before anything is decoded, and whatever Pillow raises becomes a
`PictureError` with one sentence.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Tuple

from ..runtime.messages import Told

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_PIXELS = 40_000_000  # of a baseline JPEG, which is scaled while it is decoded
MAX_DECODED = 16_000_000  # pixels in memory at once: 48 MB as RGB, which a Pi with 1 GB can spare
MAX_SIDE = 16_000  # pixels; no camera has more, and x264 takes no more
SIGNATURE = (32, 24)  # pixels of the tiny grey picture that two scenes are compared by
# mean of 0..255: a lens cap gives 0 to 8, a room at night with a lamp on more than 20
BLACK_BELOW = 12.0
BLACK_SPREAD = 14  # brightest minus darkest cell; a dark room with one lit display has more
# JPEG; below 40 blocks show, so the picture is made smaller instead
QUALITIES = (80, 70, 60, 50, 40)
SHRINK = 0.75
SMALLEST_WIDTH = 160


def _pillow() -> Any:
    """Pillow, loaded by the thread that first needs it: where there is no camera, its 2 MB are
    not spent.
    """
    try:
        from PIL import Image as pillow  # noqa: PLC0415, N813
    except ImportError as error:
        raise PictureError(
            "pictures cannot be read here ({error}): run TecMedHub's install.sh again, then "
            "restart Moonraker.",
            error=str(error),
        ) from error
    return pillow


class PictureError(Told):
    """These bytes are no usable picture; the text says why, in one sentence."""


@dataclass(frozen=True)
class Shape:
    """What a picture is to be made into. `max_width` counts after turning; None leaves the size."""

    max_width: Optional[int]
    max_bytes: int
    flip_horizontal: bool = False
    flip_vertical: bool = False
    rotation: int = 0  # degrees clockwise


@dataclass(frozen=True)
class Picture:
    """A finished JPEG. `signature` is `SIGNATURE`-sized grey, one byte a cell, for `is_black` and
    `cadence.difference`.
    """

    jpeg: bytes
    width: int
    height: int
    signature: bytes


def glance(data: bytes) -> bytes:
    """The signature of a scene, for a fraction of the cost of `prepare` (a JPEG is decoded at an
    eighth of its size).
    """
    image = _open(data)
    try:
        if image.format == "JPEG":
            image.draft("L", SIGNATURE)
        _load(image)
        return _signature(image)
    finally:
        image.close()


def prepare(data: bytes, shape: Shape) -> Picture:
    """Decode, turn, scale and encode as `shape` says; never more than `shape.max_bytes` (a few
    hundred at least).
    """
    pillow = _pillow()
    image = _open(data)
    try:
        sideways = shape.rotation in (90, 270)
        wanted = _scaled(image.size, shape.max_width, sideways)
        if image.format == "JPEG":
            image.draft("RGB", wanted)
        _load(image)
        signature = _signature(image)
        rgb = _flatten(image)
        if rgb.size != wanted:
            rgb = rgb.resize(wanted, pillow.Resampling.BILINEAR, reducing_gap=2.0)
        rgb = _turn(rgb, shape)
        jpeg, size = _encode(rgb, shape.max_bytes)
        return Picture(jpeg, size[0], size[1], signature)
    except PictureError:
        raise
    except Exception as error:  # Pillow raises nearly everything on hostile bytes
        raise PictureError("it cannot be decoded ({kind}).", kind=type(error).__name__) from error
    finally:
        image.close()


def size_of(path: Path) -> Tuple[int, int]:
    """Width and height of a JPEG of ours, by its header. Raises OSError."""
    pillow = _pillow()
    with pillow.open(path, formats=("JPEG",)) as image:
        return image.size


def is_black(signature: bytes) -> bool:
    """Whether nothing can be seen: a cap on the lens, or no light at all."""
    mean = sum(signature) / max(len(signature), 1)
    return (
        mean < BLACK_BELOW and max(signature, default=0) - min(signature, default=0) < BLACK_SPREAD
    )


def _open(data: bytes) -> Image.Image:
    """Read the header only, and refuse by it what would take too much memory."""
    pillow = _pillow()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pillow.DecompressionBombWarning)
            image = pillow.open(io.BytesIO(data), formats=FORMATS)
    except pillow.DecompressionBombError:
        raise PictureError(
            "its header claims hundreds of megapixels; no camera makes such a picture."
        ) from None
    except Exception as error:
        raise PictureError(
            "it is no JPEG, PNG or WebP that can be read ({kind}).", kind=type(error).__name__
        ) from error
    width, height = image.size
    pixels = width * height
    # Only a baseline JPEG is scaled while decoding; all else stands in memory whole.
    scalable = image.format == "JPEG" and not image.info.get("progressive")
    limit = MAX_PIXELS if scalable else MAX_DECODED
    if width < 2 or height < 2 or max(width, height) > MAX_SIDE or pixels > limit:
        image.close()
        raise PictureError(
            "its header claims {width} x {height} pixels; at most {limit} megapixels are taken.",
            width=width,
            height=height,
            limit=limit // 1000000,
        )
    return image


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except Exception as error:
        raise PictureError(
            "it breaks off or is damaged ({kind}).", kind=type(error).__name__
        ) from error


def _scaled(size: Tuple[int, int], max_width: Optional[int], sideways: bool) -> Tuple[int, int]:
    """The size before turning at which the turned picture is at most `max_width` wide, and fits
    into memory.

    >>> _scaled((1920, 1080), 1280, False), _scaled((1920, 1080), 640, True)
    ((1280, 720), (1138, 640))
    """
    width, height = size
    factor = min(1.0, (MAX_DECODED / (width * height)) ** 0.5)
    across = height if sideways else width
    if max_width is not None:
        factor = min(factor, max_width / across)
    return max(round(width * factor), 1), max(round(height * factor), 1)


def _flatten(image: Image.Image) -> Image.Image:
    """RGB without transparency: what lets light through is shown on white."""
    pillow = _pillow()
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        clear = image.convert("RGBA")
        white = pillow.new("RGB", clear.size, (255, 255, 255))
        white.paste(clear, mask=clear.getchannel("A"))
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _turn(image: Image.Image, shape: Shape) -> Image.Image:
    """First rotate, then flip: the order in which Mainsail shows a camera."""
    pillow = _pillow()
    turn = {
        90: pillow.Transpose.ROTATE_270,
        180: pillow.Transpose.ROTATE_180,
        270: pillow.Transpose.ROTATE_90,
    }
    if shape.rotation in turn:  # Pillow counts the other way round
        image = image.transpose(turn[shape.rotation])
    if shape.flip_horizontal:
        image = image.transpose(pillow.Transpose.FLIP_LEFT_RIGHT)
    if shape.flip_vertical:
        image = image.transpose(pillow.Transpose.FLIP_TOP_BOTTOM)
    return image


def _encode(image: Image.Image, max_bytes: int) -> Tuple[bytes, Tuple[int, int]]:
    """The best JPEG of at most `max_bytes`: first a lower quality, then a smaller picture."""
    pillow = _pillow()
    while True:
        jpeg = b""
        for quality in QUALITIES:
            out = io.BytesIO()
            image.save(out, "JPEG", quality=quality)
            jpeg = out.getvalue()
            if len(jpeg) <= max_bytes:
                return jpeg, image.size
        width, height = image.size
        if width <= SMALLEST_WIDTH:
            return jpeg, image.size
        factor = max(SHRINK, SMALLEST_WIDTH / width)
        image = image.resize(
            (round(width * factor), max(round(height * factor), 1)), pillow.Resampling.BILINEAR
        )


def _signature(image: Image.Image) -> bytes:
    pillow = _pillow()
    try:
        grey = image if image.mode == "L" else image.convert("L")
        return grey.resize(SIGNATURE, pillow.Resampling.BOX, reducing_gap=2.0).tobytes()
    except Exception as error:
        raise PictureError("it cannot be decoded ({kind}).", kind=type(error).__name__) from error
