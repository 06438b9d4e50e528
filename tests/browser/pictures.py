"""The pictures of the panel in docs/images, made anew on the real stack: `make pictures`.

Some four minutes: a print, commands, the hub away for a while and back.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from tests.browser.chromium import Chromium, Page
from tests.browser.panel import open_panel
from tests.rig.cameras import CameraServer
from tests.rig.gcode import make_gcode
from tests.rig.stack import Stack

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
FILE = "engranaje_helicoidal.gcode"
OPTIONS = {
    "printer_name": "Prusa MK3",
    "printer_data_location": "Aula 3",
    "security_require_clear_bed": True,
    "camera_timelapse_interval": 2,
    "retries_base_delay": 5,
    "language": "es",
}


async def rest(seconds: float) -> None:
    """Let it be seen in the charts: there is nothing to wait for but time."""
    await asyncio.sleep(seconds)


async def take(page: Page, name: str, below: str) -> None:
    """The page down to the card that holds `below`, in 256 colours."""
    end = await page.evaluate(
        f"document.querySelector('{below}').closest('.card').getBoundingClientRect().bottom"
        " + scrollY"
    )
    taken = io.BytesIO()
    file = IMAGES / name
    await page.picture(file)
    taken.write(file.read_bytes())
    with Image.open(taken) as whole:
        shown = whole.convert("RGB").crop((0, 0, whole.width, round(end)))
    shown.quantize(256).save(file, optimize=True)


async def do(stack: Stack, action: str, **params: Any) -> None:
    await asyncio.to_thread(stack.do, action, **params)


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="pictures-") as folder, CameraServer(2) as cameras:
        urls = "\n".join(camera.snapshot_url for camera in cameras)
        stack = Stack(Path(folder) / "stack", options={**OPTIONS, "camera_urls": urls})
        await asyncio.to_thread(stack.start)
        try:
            async with Chromium() as browser:
                await story(browser, stack)
        finally:
            await asyncio.to_thread(stack.stop)


async def story(browser: Chromium, stack: Stack) -> None:
    await rest(20)
    stack.hub.add_file(
        FILE, make_gcode(seconds=400, layers=60, hotend=210, bed=60).encode(), stack.token
    )
    await do(stack, "print", file=FILE)
    await do(stack, "set_speed", speed=110)
    await do(stack, "set_speed", speed=900)
    await do(stack, "set_fan", speed=200)
    await rest(90)

    await asyncio.to_thread(stack.hub.kill)
    desk = await open_panel(browser, stack, width=1280, height=585, language="en-GB")
    phone = await open_panel(browser, stack, width=360, height=740, language="es-MX")
    await desk.wait_for_text("#hub-reason", "refuses connections", 20)
    await phone.wait_for_text("#hub-reason", "rechaza conexiones", 20)
    await rest(20)
    await take(desk, "panel-lost-en.png", "#hub-state")
    await take(phone, "panel-lost-es-360.png", "#hub-state")
    await rest(15)
    await asyncio.to_thread(stack.hub.restart)
    await desk.wait_for_text("#hub-state", "Connected", 70)
    await do(stack, "home")
    await do(stack, "gcode", gcode="M117 Hola")
    await rest(60)

    dark = await open_panel(browser, stack, width=1280, language="es-MX", dark=True)
    for page, name in ((desk, "panel-en.png"), (dark, "panel-es-dark.png")):
        loaded = "[...document.querySelectorAll('#pictures img')].filter(i => i.naturalWidth > 0)"
        await page.wait_for(f"{loaded}.length === 2", 30)
        await page.wait_for("document.querySelector('#latency svg path.line')", 40)
        await page.click("#trial-details summary")
        await page.wait_for("document.querySelectorAll('#trial-action option').length > 20", 20)
        await take(page, name, "#trial-details")


if __name__ == "__main__":
    asyncio.run(main())
