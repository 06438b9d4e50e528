"""The pages of both deployed servers, each button pressed by mouse, and what Klippy made of it.

The servers are as published, without the drop-ins; the printer is the real stack.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.browser.chromium import Chromium, Page, find_chromium
from tests.rig.cameras import CameraServer
from tests.rig.deployed import DeployedStack
from tests.rig.gcode import make_gcode
from tests.rig.klippy import short_folder

pytestmark = [
    pytest.mark.stack,
    pytest.mark.browser,
    pytest.mark.timeout(400),
    pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed"),
]

COMPUTER = socket.gethostname().split(".", 1)[0]
JOB = {"seconds": 40, "layers": 20, "hotend": 60, "bed": 0}
# It outlasts all that is pressed in it, and shows its whole estimate for some seconds.
LONG_JOB: dict[str, Any] = {**JOB, "seconds": 300, "m73": False, "estimate": 2700}


@pytest.fixture
def running() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class Bench:
    """A deployed stack with a camera, and its page in the browser."""

    def __init__(self, stack: DeployedStack, page: Page) -> None:
        self.stack = stack
        self.page = page
        self.klippy = stack.klippy

    async def seen(self, look: Callable[[], Any], what: str, timeout: float = 60) -> Any:
        return await asyncio.to_thread(self.stack.moonraker.wait, look, timeout, what)

    async def press(self, selector: str, **values: str) -> None:
        """The page draws itself anew twice a second: it is held for as long as a hand is on it."""
        await self.page.wait_for(f"document.querySelector('.card {selector}')", 30)
        await self.page.evaluate("window.hold = true")
        await self.page.evaluate("drawn")
        for name, value in values.items():
            field = f"document.querySelector('.card .{name.replace('_', '-')}')"
            await self.page.evaluate(f"{field}.value = {value!r}")
        # A picture that comes now would move the button away under the hand.
        await self.page.wait_for("[...document.images].every((image) => image.complete)")
        await self.page.click(f".card {selector}")
        await self.page.evaluate("window.hold = false")

    async def slide(self, value: int) -> None:
        await self.page.evaluate("window.hold = true")
        await self.page.evaluate("drawn")
        await self.page.evaluate(
            f"(() => {{ const s = document.querySelector('.card .speed'); s.value = {value};"
            " s.dispatchEvent(new Event('change')); })()"
        )
        await self.page.evaluate("window.hold = false")

    async def shows(self, status: str, timeout: float = 60) -> None:
        await self.page.wait_for(
            f"document.querySelector('.card')?.dataset.status === '{status}'", timeout
        )

    def state(self) -> str:
        return str(self.klippy.query("print_stats")["state"])

    def target(self, heater: str) -> float:
        return float(self.klippy.query(heater)["target"])

    def homed(self) -> str:
        return str(self.klippy.query("toolhead")["homed_axes"])

    def factor(self) -> int:
        return round(self.klippy.query("gcode_move")["speed_factor"] * 100)


async def make_bench(
    browser: Chromium, running: ExitStack, generation: int, query: str = ""
) -> Bench:
    folder = running.enter_context(short_folder("d"))
    camera = running.enter_context(CameraServer(1, size=(320, 240)))[0]
    options = {"camera_urls": camera.snapshot_url, "printer_name": None}
    stack = await asyncio.to_thread(
        lambda: running.enter_context(
            DeployedStack(folder, generation=generation, drop_in=False, options=options)
        )
    )
    page = await browser.page(language="es-MX", height=1200)
    await page.open(stack.server.url(f"index.html{query}"))
    return Bench(stack, page)


async def see_the_card(bench: Bench) -> None:
    await bench.shows("idle")
    assert await bench.page.text(".card .title") == COMPUTER
    picture = "document.querySelector('.card img')?.naturalWidth"
    await bench.page.wait_for(f"{picture} === 320", 40)


async def test_generation_1(browser: Chromium, running: ExitStack) -> None:
    bench = await make_bench(browser, running, 1)
    stack, page = bench.stack, bench.page
    await see_the_card(bench)
    assert await page.evaluate("document.querySelector('.card .filament')") is None
    assert await page.evaluate("document.querySelectorAll('.card button').length") == 8

    await bench.press(".home")
    await bench.seen(lambda: bench.homed() == "xyz", "the axes homed")
    await bench.press(".heat")  # without any parameter
    await bench.seen(lambda: bench.target("extruder") == 200, "the preset")
    assert bench.target("heater_bed") == 60
    await bench.press(".fan")
    await bench.seen(lambda: bench.klippy.query("fan")["speed"] == 1, "the fan")
    await bench.press(".fan")
    await bench.seen(lambda: bench.klippy.query("fan")["speed"] == 0, "the fan off")

    # From the printer's list: a sub-folder, ñ, an emoji, quotes.
    name = "taller/señal 🦄 'dos'.gcode"
    (stack.gcodes / "taller").mkdir()
    text = make_gcode(**LONG_JOB)
    (stack.gcodes / name).write_text(text, encoding="utf-8")
    await page.wait_for("document.querySelector('.card .local-file option')", 30)
    await bench.press(".print-local")
    await bench.seen(lambda: bench.state() == "printing", "the print")
    assert bench.klippy.query("print_stats")["filename"] == name
    await bench.shows("printing")
    assert await page.text(".card .file") == name
    await page.wait_for_text(".card .left", "45 min", 30)
    assert await page.evaluate("document.querySelectorAll('#printing progress').length") == 1

    await page.wait_for("document.querySelector('.card .speed')")
    await bench.slide(150)
    await bench.seen(lambda: bench.factor() == 150, "the speed")
    await bench.press(".pause")
    await bench.seen(lambda: bench.state() == "paused", "the pause")
    await bench.shows("paused")
    assert await page.text(".card .badge") == "Pausada"
    assert await page.text(".card .file") == name
    assert await page.text(".card .pause") == "Reanudar"
    await page.wait_for("document.querySelector('#free .card')")
    await bench.press(".pause")  # the same button
    await bench.seen(lambda: bench.state() == "printing", "it going on")
    await bench.shows("printing")
    await asyncio.to_thread(stack.moonraker.post, "/printer/print/cancel")
    await bench.shows("idle")

    # From the server's list, without an address.
    stack.server.add_file("pieza ñ.gcode", make_gcode(**JOB).encode())
    await bench.press(".print", server_file="pieza ñ.gcode")
    await bench.seen(lambda: bench.state() == "printing", "the print from the server", 60)
    assert bench.klippy.query("print_stats")["filename"] == "pieza ñ.gcode"
    gone = stack.server.folder / "uploads" / "pieza ñ.gcode"
    await bench.seen(lambda: not gone.exists(), "the server to know that it was taken")
    await bench.shows("printing")

    await bench.press(".stop")
    await bench.seen(lambda: bench.klippy.state() == "shutdown", "the stop")
    await bench.shows("error")
    assert await page.evaluate("document.querySelectorAll('.card button').length") == 8
    await bench.press(".reboot")
    commands = "/server/tecmedhub/commands"

    def asked_to_reboot() -> bool:
        rows = stack.moonraker.get(commands)["commands"]
        return any(row["action"] == "reboot" for row in rows)

    await bench.seen(asked_to_reboot, "the reboot to arrive")

    # Klippy gone altogether: the ways back stay; Moonraker gone: none is left.
    await asyncio.to_thread(stack.klippy.kill)
    await bench.shows("error")
    assert await page.evaluate("document.querySelectorAll('.card .reboot').length") == 1
    await asyncio.to_thread(stack.moonraker.stop)
    await bench.shows("offline")
    assert await page.evaluate("document.querySelectorAll('.card button').length") == 0
    assert page.errors == []


async def test_generation_2(browser: Chromium, running: ExitStack) -> None:
    bench = await make_bench(browser, running, 2)
    stack, page, klippy = bench.stack, bench.page, bench.klippy

    # As it is deployed, the page parses the tags twice, and stays at loading.
    await page.wait_for("window.failed")
    assert await page.text("#dashboard") == "Cargando…"
    await page.evaluate("window.hold = true; window.drawn.catch(() => null)")  # it draws no more
    page.errors.clear()
    await page.open(stack.server.url("index.html?repaired"))
    await see_the_card(bench)

    await bench.press(".home-x")
    await bench.seen(lambda: bench.homed() == "x", "X homed")
    await bench.press(".home")
    await bench.seen(lambda: bench.homed() == "xyz", "all homed")
    await bench.press(".home-xyz")
    await bench.press(".heat", hot="205", warm="55")
    await bench.seen(lambda: bench.target("extruder") == 205, "the hot end")
    await bench.seen(lambda: bench.target("heater_bed") == 55, "the bed")
    await bench.slide(150)
    await bench.seen(lambda: bench.factor() == 150, "the speed")
    await bench.press(".send", gcode="m104 s100 ; a comment\n; nothing\n\nm106 s255")
    await bench.seen(lambda: bench.target("extruder") == 100, "the G-code")
    await bench.seen(lambda: klippy.query("fan")["speed"] == 1, "its last line")
    await bench.press(".send", gcode="COUNT NAME=caja")  # a visible macro: by allowed_macros
    await bench.seen(lambda: klippy.count("caja") == 1, "the macro")

    # A file of the server's, kept under its own name.
    text = make_gcode(**LONG_JOB)
    number = stack.server.add_file("señal 🦄.gcode", text.encode())
    await bench.press(f".print-{number}")
    await bench.seen(lambda: bench.state() == "printing", "the print", 60)
    assert klippy.query("print_stats")["filename"] == "señal 🦄.gcode"
    await bench.shows("printing")
    await page.wait_for("/^4[45]m/.test(document.querySelector('.card .left').innerText)", 30)
    await bench.press(".pause")
    await bench.seen(lambda: bench.state() == "paused", "the pause")
    await bench.shows("paused")
    await bench.press(".resume")
    await bench.seen(lambda: bench.state() == "printing", "it going on")
    await bench.shows("printing")
    await bench.press(".cancel")
    await bench.seen(lambda: bench.state() == "cancelled", "the end")
    await bench.shows("idle")

    # After an emergency stop the G-code box is the only way back.
    await bench.press(".emergency")
    await bench.seen(lambda: klippy.state() == "shutdown", "the stop")
    await bench.shows("error")
    await bench.press(".send", gcode="FIRMWARE_RESTART")
    await bench.seen(lambda: klippy.state() == "ready", "Klippy back", 60)
    await bench.shows("idle", 60)

    # The administrator's name stays his.
    stack.server.rows("UPDATE printers SET name = 'Aula 3'")
    await page.wait_for_text(".card .title", "Aula 3", 10)
    seen = stack.server.row("SELECT last_seen FROM printers")
    await bench.seen(
        lambda: tuple(stack.server.row("SELECT last_seen FROM printers")) != tuple(seen or ()),
        "another status",
    )
    assert await page.text(".card .title") == "Aula 3"
    await asyncio.to_thread(stack.moonraker.stop)
    await bench.shows("offline")
    assert page.errors == []
