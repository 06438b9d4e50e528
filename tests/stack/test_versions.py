"""The whole of the plugin in brief, on every Moonraker of the bench with its own Python."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import pytest
from PIL import Image

from tests.rig.cameras import CameraServer
from tests.rig.gcode import make_gcode
from tests.rig.stack import Stack
from tests.stack.watching import seen, state, updated

pytestmark = [pytest.mark.stack, pytest.mark.versions]


@pytest.fixture
def cameras() -> Iterator[CameraServer]:
    with CameraServer(1, size=(1600, 900)) as running:  # to be made smaller by each Pillow
        yield running


def complaints(stack: Stack) -> list[str]:
    """What any log holds that is worse than information and has to do with us."""
    ours = (stack.moonraker.logs / "tecmedhub.log").read_text(encoding="utf-8").splitlines()
    bad = [line for line in ours if " WARNING " in line or " ERROR " in line]
    marks = ("Traceback", "was never awaited", "was destroyed", "never retrieved", "Unparsed")
    errors = (stack.moonraker.logs / "moonraker.err").read_text(encoding="utf-8")
    theirs = stack.moonraker.log_text().splitlines() + errors.splitlines()
    return bad + [line for line in theirs if any(mark in line for mark in marks)]


def test_from_the_start_to_the_end(
    moonraker_python: str, make_stack: Callable[..., Stack], cameras: CameraServer
) -> None:
    (camera,) = cameras
    options = {"camera_urls": camera.snapshot_url, "camera_capture_interval": 1}
    stack = make_stack(python=moonraker_python, options=options)
    assert stack.moonraker.warnings() == []

    # A command, confirmed by Klippy and seen in the status.
    assert stack.do("heat", hotend_temp=62, bed_temp=41).status == "done"
    assert stack.klippy.query("extruder")["target"] == 62
    seen(stack, "the targets", lambda s: s["temp_hotend_target"] == 62)
    assert stack.do("gcode", gcode="M117 hola\nM104 S0").status == "done"
    assert stack.do("heat", hotend_temp=999).status == "refused"

    # A file of the hub's, with a checksum, printed to its end.
    data = make_gcode(seconds=4, layers=2, hotend=60, bed=40, thumbnail=True, estimate=600)
    stack.hub.add_file("pieza ñ.gcode", data.encode(), stack.token)
    result = stack.do("print", file="pieza ñ.gcode", timeout=40)
    assert result.status == "done", result.message
    printing = seen(stack, "the estimate", lambda s: s["job"]["estimate"] == 600)
    assert 0 < printing["time_remaining"] <= 10  # by its own pace it would be 0
    metadata = stack.moonraker.get("/server/files/metadata", filename="pieza ñ.gcode")
    assert {16, 64} <= {thumbnail["width"] for thumbnail in metadata["thumbnails"]}
    assert stack.hub.file_entry("pieza ñ.gcode", stack.token) == {
        "downloaded": True,
        "exists": False,
    }
    over = seen(stack, "the end", lambda s: s["status"] == "idle" and s["history"], 60)
    assert over["last_completed"].startswith("pieza ñ.gcode (")
    assert stack.hub.states(stack.token)[-3:] == ["idle", "printing", "idle"]
    picture = Image.open(io.BytesIO(stack.hub.images(stack.token)[-1].data))
    assert picture.size == (1280, 720)

    # The pages.
    code, page, headers = stack.moonraker.request("GET", "/server/tecmedhub/panel")
    assert code == 200 and b"<html" in page and headers["Content-Type"].startswith("text/html")
    assert stack.moonraker.get("/server/tecmedhub/status")["hub"]["state"] == "connected"
    assert complaints(stack) == []

    # The other generation, in the same process.
    stack.configure(server_url=stack.hub.gen2_url)
    updated(stack)
    state(stack, "idle")
    number = stack.hub.queue2(stack.token, "macro", "COUNT NAME=seen")
    stack.hub.wait_for(lambda: stack.hub.result(stack.token, number), 20)
    assert stack.klippy.count("seen") == 1
    assert stack.moonraker.warnings() == []

    # The end.
    assert stack.moonraker.sigterm() == 0
    assert stack.hub.states(stack.token)[-1] == "offline"
    assert complaints(stack) == []
