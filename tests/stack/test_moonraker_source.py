"""Moonrakers that no package index has: MOONRAKER_SRC is a checkout of Moonraker's repository (at
v0.8.0, say), MOONRAKER_SRC_PYTHON an interpreter with what that one needs.

    git clone -b v0.8.0 https://github.com/Arksine/moonraker /tmp/moonraker-0.8.0
    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install -r …/scripts/moonraker-requirements.txt
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rig.gcode import make_gcode
from tests.rig.stack import Stack
from tests.stack.watching import seen

SOURCE = os.environ.get("MOONRAKER_SRC", "")
PYTHON = os.environ.get("MOONRAKER_SRC_PYTHON") or None

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(not SOURCE, reason="MOONRAKER_SRC names no checkout of Moonraker"),
]


def test_it_works_from_the_start_to_the_end(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack(python=PYTHON, checkout=Path(SOURCE))
    assert stack.moonraker.warnings() == []
    assert stack.do("heat", hotend_temp=62, bed_temp=41).status == "done"
    seen(stack, "the targets", lambda s: s["temp_hotend_target"] == 62)
    assert stack.do("heat", hotend_temp=999).status == "refused"
    stack.put("a.gcode", make_gcode(seconds=4, layers=2, hotend=60, bed=40))
    stack.moonraker.wait((stack.gcodes / "a.gcode").exists, 10, "the file")
    assert stack.do("print_local", file="a.gcode").status == "done"
    seen(stack, "the end", lambda s: s["print_state"] == "complete", 60)
    code, page, headers = stack.moonraker.request("GET", "/server/tecmedhub/panel")
    assert code == 200 and b"<html" in page and headers["Content-Type"].startswith("text/html")
    assert stack.moonraker.get("/server/tecmedhub/status")["hub"]["state"] == "connected"
    assert "Traceback" not in stack.moonraker.log_text()
    assert stack.moonraker.sigterm() == 0
    assert stack.hub.states(stack.token)[-1] == "offline"


def test_a_tree_without_a_version_works_too(make_stack: Callable[..., Stack], folder: Path) -> None:
    shutil.copytree(Path(SOURCE) / "moonraker", folder / "moonraker")
    stack = make_stack(python=PYTHON, checkout=folder)
    assert stack.moonraker.warnings() == []
    assert stack.do("heat", hotend_temp=62).status == "done"


def test_a_fork_that_asks_a_transport_for_more_is_served(
    make_stack: Callable[..., Stack], folder: Path
) -> None:
    """As Snapmaker's does: its connection reads an attribute of each subscriber."""
    shutil.copytree(Path(SOURCE) / "moonraker", folder / "moonraker")
    (path,) = (folder / "moonraker").rglob("klippy_connection.py")
    text = path.read_text(encoding="utf-8")
    line = "            conn.send_status(conn_status, eventtime)\n"
    assert text.count(line) == 1
    asks = "            logging.debug(str(conn.transport_type))\n"
    path.write_text(text.replace(line, asks + line), encoding="utf-8")
    if "transport_type" not in text and "def transport_type" not in "".join(
        p.read_text(encoding="utf-8") for p in (folder / "moonraker").glob("common.py")
    ):
        pytest.skip("this Moonraker's own transports have no such attribute")
    stack = make_stack(python=PYTHON, checkout=folder)
    assert stack.do("heat", hotend_temp=62).status == "done"
    seen(stack, "the target", lambda s: s["temp_hotend_target"] == 62)
