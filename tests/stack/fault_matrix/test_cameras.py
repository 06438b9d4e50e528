"""Rows of the fault matrix: a camera misbehaves, and nothing else takes notice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.rig.cameras import CameraServer
from tests.stack.fault_matrix.bench import FaultyStack

pytestmark = pytest.mark.stack

Begin = Callable[[CameraServer], None]


def behaves(mode: str, **params: object) -> Begin:
    return lambda server: server[0].behave(mode, **params)


ROWS: dict[str, tuple[Begin, str]] = {
    "refuses": (lambda server: server.refuse(), "refuses connections"),
    "drops packets": (lambda server: server.blackhole(), "sent no picture within 0.5 s"),
    "hangs at accept": (behaves("hang_accept"), "sent no picture within 0.5 s"),
    "hangs": (behaves("hang"), "sent no picture within 0.5 s"),
    "hangs in the picture": (behaves("hang_body"), "sent no picture within 0.5 s"),
    "closes without a word": (behaves("close"), "closed the connection without a picture"),
    "answers 500": (behaves("status", code=500), "answered HTTP 500"),
    "answers 404": (behaves("status", code=404), "check the path of the snapshot"),
    "answers HTML": (behaves("html"), "is a web page, not a picture"),
    "answers nothing": (behaves("empty"), "sent nothing"),
    "breaks off": (behaves("cut"), "without a picture"),
    "sends half a picture": (behaves("truncated"), "it breaks off or is damaged"),
    "drips": (behaves("drip", size=50), "sent no picture within 0.5 s"),
    "sends without end": (behaves("endless_chunks"), "JPEG, PNG or WebP"),
    "sends far too much": (behaves("big", size=50 << 20), "sent more than 10 MiB"),
    "sends a stream": (behaves("multipart"), "is a stream; enter the address of its snapshot"),
    "sends a bomb": (behaves("bomb_png"), "picture"),
    "speaks no HTTP": (behaves("garbage"), "Camera 'camera 1'"),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_camera(stack: FaultyStack, row: str) -> None:
    begin, words = ROWS[row]
    healthy = stack.cameras[1]
    before = len(stack.log_text())
    begin(stack.camera_servers[0])
    for _ in range(2):  # what may pass by itself is told after the second attempt
        told = stack.do("snapshot")
        assert "No picture from camera 1; 1 of 2 cameras gave one." in told.message
    warning = stack.wait_warning("Camera 'camera 1'")
    assert words in warning
    # Everything else goes on, and the hub knows what it looks at.
    seen = len(healthy.requests())
    name = f"camera_{row.replace(' ', '_')}"
    stack.count_once(name)
    stack.wait_counted(name)
    (*_, last) = stack.wait_statuses(2, stack.time())
    assert last.body["image_state"] == "failing"
    healthy.wait_for_request(seen + 2)
    # And it is well again.
    stack.camera_servers[0].clear_behaviour()
    stack.camera_servers[0].drop_connections()
    stack.camera_servers[0].listen()
    assert "Pictures taken: camera 1, camera 2." in stack.do("snapshot").message
    stack.wait_no_warning("Camera")
    (*_, last) = stack.wait_statuses(2, stack.time())
    assert "image_state" not in last.body
    said = stack.log_text()[before:].count(warning.removeprefix("TecMedHub: "))
    assert said <= 1
