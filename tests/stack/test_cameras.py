"""Cameras on the real stack: pictures at the hub, whatever one of the cameras does."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.rig.cameras import CameraServer
from tests.rig.gcode import make_gcode
from tests.rig.stack import Stack

pytestmark = pytest.mark.stack

QUICK = {"camera_capture_interval": 1}
GROWTH = 30_000  # KiB: three times what one refused picture may hold while it is read


@pytest.fixture
def cameras() -> Iterator[CameraServer]:
    with CameraServer(2, size=(1280, 720)) as server:
        yield server


def with_cameras(*urls: str, **more: Any) -> dict[str, Any]:
    return {**QUICK, "camera_urls": "\n    ".join(("", *urls)), **more}


def pictures(stack: Stack) -> list[bytes]:
    return [image.data for image in stack.hub.images(stack.token)]


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def resident(pid: int) -> int:
    """KiB of memory that a process holds."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def log_lines(stack: Stack, word: str) -> list[str]:
    text = "".join(
        path.read_text(encoding="utf-8", errors="replace")
        for path in stack.moonraker.logs.glob("tecmedhub.log*")
    )
    return [line for line in text.splitlines() if word in line]


def test_a_camera_that_hangs_for_ever_delays_nothing(
    cameras: CameraServer, make_stack: Callable[..., Stack]
) -> None:
    hanging, good = cameras
    hanging.behave("hang")
    # A minute's patience with the camera: whatever waited for it would not be done by the end.
    options = with_cameras(hanging.snapshot_url, good.snapshot_url, timeouts_camera=60)
    stack = make_stack(options=options)
    hanging.wait_for_request()
    asked = time.monotonic()
    stack.do("heat", hotend_temp=50)  # heating: a picture each second
    count, seen = stack.hub.count(stack.token), len(pictures(stack))
    stack.moonraker.wait(
        lambda: stack.hub.count(stack.token) >= count + 4 and len(pictures(stack)) >= seen + 2,
        30,
        "statuses, and pictures of the other camera",
    )
    for action in ("set_speed", "cool_down"):
        assert stack.do(action, speed=90).status == "done"
    assert time.monotonic() - asked < 60
    assert len(hanging.requests()) == 1  # still the same one, and never a second beside it
    body = stack.hub.status(stack.token)
    assert body is not None and body["image"].startswith("printer_images/")


def test_generation_one_gets_the_picture_and_the_status_its_address(
    cameras: CameraServer, make_stack: Callable[..., Stack]
) -> None:
    stack = make_stack(options=with_cameras(cameras[0].snapshot_url))
    stack.moonraker.wait(lambda: (stack.hub.status(stack.token) or {}).get("image"), 20)
    picture = opened(pictures(stack)[0])
    assert picture.format == "JPEG" and picture.size == (1280, 720)
    assert len(pictures(stack)[0]) <= 100_000


def test_generation_two_gets_the_picture_within_every_status(
    cameras: CameraServer, make_stack: Callable[..., Stack]
) -> None:
    stack = make_stack(
        generation=2, options=with_cameras(*(camera.snapshot_url for camera in cameras))
    )

    def both() -> Any:
        body = stack.hub.status(stack.token) or {}
        return body.get("image") and body.get("images") and body

    body = stack.moonraker.wait(both, 20, "a status with both pictures")
    for uri in (body["image"], body["images"][0]["url"]):
        assert opened(base64.b64decode(uri.partition(",")[2])).format == "JPEG"
    count = stack.hub.count(stack.token)
    stack.hub.wait_for(lambda: stack.hub.count(stack.token) >= count + 2, 20)
    assert all(
        status.body["image"].startswith("data:image/jpeg;base64,")
        for status in stack.hub.history(stack.token)[-2:]
    )
    assert max(r.size for r in stack.hub.requests("status")) < 1 << 20


def test_a_camera_written_into_the_json_file_gives_pictures_at_once(
    cameras: CameraServer, stack: Stack
) -> None:
    assert stack.moonraker.get("/server/tecmedhub/status")["cameras"] == []
    wanted: dict[str, Any] = {"urls": [cameras[0].snapshot_url], "capture_interval": 1}
    stack.moonraker.upload(stack.override.name, json.dumps({"camera": wanted}), root="config")
    stack.moonraker.wait(lambda: (stack.hub.status(stack.token) or {}).get("image"), 30)
    assert opened(pictures(stack)[0]).size == (1280, 720)
    assert "timelapse" in [root["name"] for root in stack.moonraker.get("/server/files/roots")]

    wanted["enabled"] = False
    stack.moonraker.upload(stack.override.name, json.dumps({"camera": wanted}), root="config")
    stack.moonraker.wait(lambda: not stack.hub.status(stack.token).get("image"), 30)
    assert stack.moonraker.get("/server/tecmedhub/status")["cameras"] == []


def test_the_cameras_of_the_web_interface_are_followed(
    cameras: CameraServer, make_stack: Callable[..., Stack]
) -> None:
    stack = make_stack(options=QUICK)
    assert pictures(stack) == []
    entry = {
        "name": "Bed",
        "stream_url": cameras[0].stream_url,
        "snapshot_url": "",  # Fluidd's users often leave it empty
        "rotation": 180,
    }
    stack.moonraker.post("/server/webcams/item", entry)
    stack.hub.wait_for(lambda: pictures(stack), 20, "the new camera's picture")
    picture = opened(pictures(stack)[0]).convert("RGB")
    red, green, _ = picture.getpixel((picture.width - 5, picture.height - 5))
    assert red > 150 > green  # the red corner, top left at the camera, is upside down
    assert all("stream" not in seen.target for seen in cameras[0].requests())
    stack.moonraker.delete("/server/webcams/item?name=Bed")
    stack.hub.wait_for(lambda: not (stack.hub.status(stack.token) or {}).get("image"), 20)


def test_every_event_of_a_print_has_its_picture(
    cameras: CameraServer, make_stack: Callable[..., Stack]
) -> None:
    """With an interval that no print lasts: what comes, comes for the event."""
    options = with_cameras(cameras[0].snapshot_url, camera_capture_interval=3600)
    stack = make_stack(options=options)
    stack.hub.wait_for(lambda: len(pictures(stack)) == 1, 20, "the first picture")
    stack.put("cube.gcode", make_gcode(seconds=12, hotend=0, bed=0))

    def count() -> int:
        return len(pictures(stack))

    stack.print("cube.gcode")
    stack.hub.wait_for(lambda: count() == 2, 20, "the picture of the start")
    stack.moonraker.post("/printer/print/pause")
    stack.hub.wait_for(lambda: count() == 3, 20, "the picture of the pause")
    stack.moonraker.post("/printer/print/resume")
    stack.klippy.wait_print("complete", 60)
    stack.hub.wait_for(lambda: count() == 4, 20, "the picture of the end")
    stack.print("cube.gcode")
    stack.hub.wait_for(lambda: count() == 5, 20, "the picture of the second start")
    stack.moonraker.post("/printer/print/cancel")
    stack.hub.wait_for(lambda: count() == 6, 20, "the picture of the failure")
    stack.do("snapshot")
    stack.hub.wait_for(lambda: count() == 7, 20, "the picture asked for")


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("html", {}, "web page"),
    ("truncated", {}, "damaged"),
    ("big", {}, "10 MiB"),
    ("multipart", {}, "stream"),
    ("bomb_jpeg", {}, "hundreds of megapixels"),
    ("bomb_png", {"pixels": (9000, 9000)}, "9000 x 9000"),
    ("endless_chunks", {}, "no JPEG"),
]


def test_bad_pictures_are_refused_cost_no_memory_and_one_log_line_each(
    cameras: CameraServer, make_stack: Callable[..., Stack]
) -> None:
    camera = cameras[0]
    stack = make_stack(options=with_cameras(camera.snapshot_url))
    stack.hub.wait_for(lambda: pictures(stack), 20, "the first picture")
    stack.do("heat", bed_temp=60)  # a look each second where the camera is well
    for _ in range(3):
        stack.do("snapshot")
    before = resident(stack.moonraker.pid)

    def warning(word: str) -> list[str]:
        return [text for text in stack.moonraker.warnings() if word in text]

    for mode, params, word in BAD:
        camera.behave(mode, **params)
        for _ in range(4):
            stack.do("snapshot")  # at once, whatever the back-off says
        stack.moonraker.wait(lambda w=word: warning(w), 20, f"the warning about {mode}")
        camera.behave("ok")
        seen = len(pictures(stack))
        stack.do("snapshot")
        stack.hub.wait_for(lambda n=seen: len(pictures(stack)) > n, 20, f"pictures after {mode}")
        stack.moonraker.wait(lambda w=word: not warning(w), 20, "the warning to go")
        assert len(log_lines(stack, word)) == 1, mode
    assert resident(stack.moonraker.pid) - before < GROWTH
    assert all(opened(picture).format == "JPEG" for picture in pictures(stack))

    seen = len(pictures(stack))
    camera.behave("png")
    stack.do("snapshot")
    stack.hub.wait_for(lambda: len(pictures(stack)) > seen, 20, "the converted PNG")
    assert opened(pictures(stack)[-1]).format == "JPEG"
    assert stack.moonraker.warnings() == []


def test_a_camera_that_asks_by_digest_gets_the_password_s_proof_and_never_the_password(
    cameras: CameraServer, make_stack: Callable[..., Stack]
) -> None:
    camera = cameras[0]
    wrong = camera.asks_for("aula", "wr0ng!").replace("wr0ng", "wr1ng")
    stack = make_stack(options=with_cameras(wrong))
    (told,) = stack.moonraker.wait(stack.moonraker.warnings, 30, "a warning of the password")
    assert "does not take the user and the password" in told
    stack.configure(**with_cameras(camera.asks_for("aula", "s3cr:et@")))
    stack.hub.wait_for(lambda: pictures(stack), 30, "a picture")
    assert opened(pictures(stack)[-1]).format == "JPEG"
    stack.moonraker.wait(lambda: not stack.moonraker.warnings(), 20, "the warning to go")
    lines = [seen.headers.get("authorization", "") for seen in camera.requests()]
    assert lines[0].startswith("Basic ") and lines[-1].startswith("Digest ")
    for secret in ("wr1ng", "s3cr"):
        assert secret not in told and log_lines(stack, secret) == []


def test_a_camera_whose_certificate_nobody_signed_is_taken_where_the_operator_says_so(
    make_stack: Callable[..., Stack],
) -> None:
    with CameraServer(1, size=(1280, 720), tls="self_signed") as secure:
        stack = make_stack(options=with_cameras(secure[0].snapshot_url))
        (told,) = stack.moonraker.wait(stack.moonraker.warnings, 30, "a warning")
        assert "no certificate that can be trusted" in told and "camera.verify_tls" in told
        assert secure[0].requests() == [] == pictures(stack)
        settings = json.dumps({"camera": {"verify_tls": False}})
        stack.moonraker.upload(stack.override.name, settings, root="config")
        stack.hub.wait_for(lambda: pictures(stack), 30, "a picture")
        assert opened(pictures(stack)[0]).size == (1280, 720)
        stack.moonraker.wait(lambda: not stack.moonraker.warnings(), 20, "the warning to go")
