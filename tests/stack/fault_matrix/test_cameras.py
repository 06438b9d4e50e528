"""Rows of the fault matrix: a camera misbehaves, and nothing else takes notice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from tests.rig.cameras import CameraServer
from tests.rig.faults import UNKNOWN_HOST, FaultServer
from tests.rig.hazards import HANGING_HOST
from tests.rig.klippy import wait_until
from tests.stack.fault_matrix.bench import CAMERA_TIMEOUT, PATIENCE, FaultyStack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

Begin = Callable[[CameraServer], None]


def behaves(mode: str, **params: object) -> Begin:
    return lambda server: server[0].behave(mode, **params)


SILENT = f"sent no picture within {CAMERA_TIMEOUT:g} s"
ROWS: dict[str, tuple[Begin, str]] = {
    "refuses": (lambda server: server.refuse(), "refuses connections"),
    "drops packets": (lambda server: server.blackhole(), SILENT),
    "hangs at accept": (behaves("hang_accept"), SILENT),
    "hangs": (behaves("hang"), SILENT),
    "hangs in the picture": (behaves("hang_body"), SILENT),
    "closes without a word": (behaves("close"), "closed the connection without a picture"),
    "answers 500": (behaves("status", code=500), "answered HTTP 500"),
    "answers 404": (behaves("status", code=404), "check the path of the snapshot"),
    "is there, but not its service": (
        behaves("status", code=502),
        "the camera's service behind it",
    ),
    "asks for a password": (behaves("status", code=401), "enter user and password"),
    "redirects in a circle": (
        behaves("redirect", to="/cam1/?action=snapshot", code=302),
        "is redirected without end",
    ),
    "resets": (behaves("reset"), "Camera 'camera 1'"),
    "answers HTML": (behaves("html"), "is a web page, not a picture"),
    "answers nothing": (behaves("empty"), "sent nothing"),
    "breaks off": (behaves("cut"), "broke off in the middle"),
    "sends half a picture": (behaves("truncated"), "it breaks off or is damaged"),
    "drips": (behaves("drip", size=50), SILENT),
    "sends without end": (behaves("endless_chunks"), "JPEG, PNG or WebP"),
    "sends far too much": (behaves("big", size=50 << 20), "sent more than 10 MiB"),
    "sends a stream": (behaves("multipart"), "is a stream; enter the address of its snapshot"),
    "sends a bomb": (behaves("bomb_png"), "picture"),
    "speaks no HTTP": (behaves("garbage"), "Camera 'camera 1'"),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_camera(stack: FaultyStack, row: str) -> None:
    begin, words = ROWS[row]
    before = len(stack.log_text())
    begin(stack.camera_servers[0])
    warning = goes_on_beside_it(stack, words, f"camera_{row}")
    # And it is well again.
    stack.camera_servers[0].clear_behaviour()
    stack.camera_servers[0].drop_connections()
    stack.camera_servers[0].listen()
    is_well_again(stack)
    sentence = re.sub(r"^TecMedHub: | \(since [^()]*\)$", "", warning)
    said = stack.log_text()[before:].count(sentence)
    assert said <= 1


def goes_on_beside_it(stack: FaultyStack, words: str, name: str, *, known: bool = True) -> str:
    """One camera of two fails: a warning says why, and nothing else takes notice. The warning."""
    healthy = stack.cameras[1]
    for _ in range(2):  # what may pass by itself is told after the second attempt
        told = stack.do("snapshot", PATIENCE)
        assert "No picture from camera 1; 1 of 2 cameras gave one." in told.message
    warning = stack.wait_warning("Camera 'camera 1'")
    assert words in warning
    seen = len(healthy.requests())
    name = re.sub(r"\W", "_", name)
    stack.count_once(name)
    stack.wait_counted(name)
    (*_, last) = stack.wait_statuses(2, stack.time())
    # Of the one that fails there is an old picture, marked as such, or none, and then the other's.
    assert last.body["image_state"] == "failing" if known else last.body["image"]
    healthy.wait_for_request(seen + 2, PATIENCE)
    return warning


def is_well_again(stack: FaultyStack) -> None:
    stack.wait_no_warning("Camera")
    assert "Pictures taken: camera 1, camera 2." in stack.do("snapshot", PATIENCE).message
    (*_, last) = stack.wait_statuses(2, stack.time())
    assert "image_state" not in last.body


def test_a_camera_has_a_certificate_that_nobody_trusts(stack: FaultyStack) -> None:
    with FaultServer(tls="self_signed") as secure:
        look_at(stack, secure.url("/cam1/?action=snapshot"))
        goes_on_beside_it(
            stack, "has no certificate that can be trusted", "camera_tls", known=False
        )
        assert secure.requests() == []
    stack.configure_live("")
    is_well_again(stack)


def test_the_name_of_a_camera_is_unknown(stack: FaultyStack) -> None:
    look_at(stack, f"http://{UNKNOWN_HOST}/?action=snapshot")
    goes_on_beside_it(stack, "cannot be found; enter its number", "camera_name", known=False)
    stack.configure_live("")
    is_well_again(stack)


def test_the_name_server_hangs_over_a_camera(stack: FaultyStack) -> None:
    stack.hazards.hang_names()
    look_at(stack, f"http://{HANGING_HOST}/?action=snapshot")
    goes_on_beside_it(stack, SILENT, "camera_name_hangs", known=False)
    stack.configure_live("")
    is_well_again(stack)


def look_at(stack: FaultyStack, url: str) -> None:
    """The first camera is at this address from now on."""
    urls = [url, stack.cameras[1].snapshot_url]
    stack.configure_live(json.dumps({"camera": {"urls": urls}}))

    def in_force() -> bool:
        settings = stack.moonraker.get("/server/tecmedhub/config")
        return url in json.dumps(settings)

    wait_until(in_force, PATIENCE, "the new address")
