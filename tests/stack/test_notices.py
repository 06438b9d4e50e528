"""Trouble where an open page shows it: at the console, at once, with the way to the panel."""

from __future__ import annotations

import re
import time

import pytest

from tests.rig.stack import Stack

pytestmark = pytest.mark.stack

PANEL = re.compile(r" → http://[^ ]+/server/tecmedhub/panel$")


def test_an_outage_and_its_end_are_seen_without_reloading_a_page(stack: Stack) -> None:
    with stack.moonraker.websocket() as page:

        def line(*words: str) -> str:
            def said() -> str:
                for method, params in list(page.messages):
                    text = str(params[0]) if method == "notify_gcode_response" else ""
                    if text.startswith("// TecMedHub:") and all(word in text for word in words):
                        return text
                return ""

            return str(stack.moonraker.wait(said, 15, f"a console line with {words}"))

        began = time.time()
        stack.hub.kill()
        assert PANEL.search(line("refuses connections"))
        warning = next(t for t in stack.moonraker.warnings() if "refuses connections" in t)
        since = re.search(r"\(since (\d{4}-\d\d-\d\d \d\d:\d\d)\)$", warning)
        assert since is not None
        assert abs(time.mktime(time.strptime(since[1], "%Y-%m-%d %H:%M")) - began) < 120
        page.messages.clear()
        stack.hub.restart()
        line("again")


def test_without_settings_the_warning_leads_to_the_panel(stack: Stack) -> None:
    stack.configure(server_url=None, printer_token=None)

    def found() -> list[str]:
        texts = [t for t in stack.moonraker.warnings() if "Nothing is sent" in t]
        return [match[0] for t in texts if (match := re.search(r"http://\S+/panel(?= |$)", t))]

    address = stack.moonraker.wait(found, 10, "the panel's address")[0]
    path = address.partition("/server")[2]
    for one in (f"/server{path}", "/server/tecmedhub/"):
        status, page, _ = stack.moonraker.request("GET", one)
        assert status == 200 and b"<!DOCTYPE html>" in page[:200], one
