"""The panel as somebody opens it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.browser.chromium import Chromium, Page
from tests.rig.stack import Stack

PANEL = "/server/tecmedhub/panel"
PICTURES = Path(__file__).resolve().parents[2] / ".artefacts" / "browser"


async def open_panel(browser: Chromium, stack: Stack, **look: Any) -> Page:
    page = await browser.page(**look)
    await page.open(stack.moonraker.url + PANEL)
    await page.wait_for("!document.querySelector('#panel').hidden")
    return page
