"""The panel on every screen, in both languages, with more of everything, and the hub away."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import Chromium, Page, find_chromium
from tests.browser.panel import PANEL, PICTURES
from tests.browser.words import english_on
from tests.rig.cameras import CameraServer
from tests.rig.gcode import make_gcode
from tests.rig.stack import Stack

pytestmark = [
    pytest.mark.stack,
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed"),
]

WIDTHS = (320, 768, 1280, 1920)
LONG = "x" * 190 + ".gcode"  # bytes, without anywhere to break
SENSOR = """
[temperature_sensor sensor_{index}]
sensor_type: temperature_host
sensor_path: {path}
"""
# What the page does of itself: axe runs in it, so that its policy needs no exception.
AXE = """
axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})
  .then(found => JSON.stringify(found.violations.map(v => [v.id, v.nodes.map(n => n.html)])))
"""


def axe_source() -> str:
    spec = importlib.util.find_spec("axe_core_python")
    assert spec is not None and spec.submodule_search_locations
    folder = Path(next(iter(spec.submodule_search_locations)))
    return (folder / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture
def cameras() -> Iterator[CameraServer]:
    with CameraServer(3) as server:
        for camera in server:
            camera.noise = True
        yield server


@pytest.fixture
async def crowded(cameras: CameraServer, make_stack: Callable[..., Stack], folder: Path) -> Stack:
    """Printing a file with an endless name, three cameras, sixteen sensors; the hub has gone."""
    celsius = folder / "celsius"
    celsius.write_text("31500\n")
    sensors = "".join(SENSOR.format(index=index, path=celsius) for index in range(14))
    urls = "\n".join(camera.snapshot_url for camera in cameras)
    stack = await asyncio.to_thread(make_stack, options={"camera_urls": urls}, extra_config=sensors)
    await asyncio.to_thread(stack.put, LONG, make_gcode(seconds=1800, layers=20, hotend=0, bed=0))
    await asyncio.to_thread(stack.print, LONG)
    await asyncio.to_thread(stack.klippy.wait_print, "printing", 60)
    await asyncio.to_thread(stack.hub.queue, stack.token, "print_local", file=LONG)
    await asyncio.to_thread(stack.do, "macro", macro_name="N" * 60)
    await asyncio.to_thread(stack.hub.kill)
    return stack


async def shown(page: Page, stack: Stack) -> None:
    await page.open(stack.moonraker.url + PANEL)
    await page.wait_for("!document.querySelector('#panel').hidden")
    await page.wait_for_text("#job", LONG)
    await page.wait_for("document.querySelectorAll('#heaters li').length >= 16", 20)
    loaded = "[...document.querySelectorAll('#pictures img')].filter(i => i.naturalWidth).length"
    await page.wait_for(f"{loaded} === 3", 30)
    await page.evaluate("document.querySelector('#config-edit').click()")
    await page.wait_for("!document.querySelector('#config-form').hidden")
    await page.click("#trial-details summary")
    await page.wait_for("document.querySelectorAll('#trial-action option').length > 20", 20)
    await page.evaluate("document.querySelector('#trial button[type=submit]').click()")
    await page.wait_for_text("#trial-verdict", LONG, 20)
    await page.evaluate("document.querySelector('#examine').click()")
    await page.wait_for("document.querySelectorAll('#findings li').length > 10", 60)


@pytest.mark.timeout(900)
async def test_every_screen_has_room_for_it_and_axe_finds_nothing(
    browser: Chromium, crowded: Stack
) -> None:
    axe = axe_source()
    for dark in (False, True):
        for language in ("en-GB", "es-MX"):
            for width in WIDTHS:
                look: dict[str, Any] = {"width": width, "height": 800, "dark": dark}
                page = await browser.page(language=language, **look)
                await shown(page, crowded)
                where = f"{width} px, {language}, {'dark' if dark else 'light'}"
                wide = await page.evaluate("document.documentElement.scrollWidth")
                assert int(wide) <= width, where
                await page.evaluate(axe + ";undefined")
                assert await page.evaluate(AXE) == "[]", where
                assert page.errors == [], where
                if language == "es-MX":
                    assert await english_on(page) == [], where
                name = f"crowded-{language[:2]}-{width}{'-dark' if dark else ''}.png"
                await page.picture(PICTURES / name)
                await page.close()


async def test_pictures_are_of_now_while_the_hub_is_away(
    browser: Chromium, crowded: Stack, cameras: CameraServer
) -> None:
    page = await browser.page(width=1280, language="es-MX")
    await shown(page, crowded)
    sources = "JSON.stringify([...document.querySelectorAll('#pictures img')].map(i => i.src))"
    before = await page.evaluate(sources)
    asked = [len(camera.requests()) for camera in cameras]
    each = " && ".join(
        f"JSON.parse({before!r})[{i}] !== JSON.parse({sources})[{i}]" for i in range(3)
    )
    await page.wait_for(each, 20)
    for camera, was in zip(cameras, asked, strict=True):
        await asyncio.to_thread(camera.wait_for_request, was + 1, 20)
