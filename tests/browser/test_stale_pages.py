"""A page that is older than what it shows: a phone that slept, two tabs, a line that broke, a login
that ran out.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from tests.browser.chromium import Chromium, Page, find_chromium
from tests.browser.panel import PANEL, open_panel
from tests.rig.stack import Stack

pytestmark = [
    pytest.mark.stack,
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed"),
]

ASKED = "document.querySelector('#ask').open"
STRANGER = "203.0.113.9"  # an address that nobody trusts, as a web server passes it on


async def printed(stack: Stack, page: Page, name: str) -> None:
    """A person's print, which leaves its part on the bed."""
    await asyncio.to_thread(stack.put, name, "G4 P300\nM400\n")
    await asyncio.to_thread(stack.print, name)
    await page.wait_for_text("#jobs li:first-child", name, 30)


async def test_another_print_s_bed_is_not_cleared_by_an_old_answer(
    browser: Chromium, stack: Stack
) -> None:
    stack.override.write_text(json.dumps({"security": {"require_clear_bed": True}}))
    page = await open_panel(browser, stack)
    await printed(stack, page, "first.gcode")
    await page.wait_for("!document.querySelector('#bed').hidden", 30)
    await page.click("#bed")
    await page.wait_for(ASKED)
    await printed(stack, page, "second.gcode")  # while the question lies on the table
    await page.wait_for("!document.querySelector('#bed').hidden", 30)
    await page.click("#ask-yes")
    await page.wait_for_text("#toasts", "Not done")
    status = await asyncio.to_thread(stack.moonraker.get, "/server/tecmedhub/status")
    assert status["bed"]["needs_clearing"] is True
    await page.click("#bed")  # of what lies there now
    await page.wait_for(ASKED)
    await page.click("#ask-yes")
    await page.wait_for_text("#toasts", "declared clear")


async def test_no_print_is_ended_by_an_old_question_about_the_firmware(
    browser: Chromium, stack: Stack
) -> None:
    page = await open_panel(browser, stack)
    await asyncio.to_thread(stack.moonraker.post, "/printer/emergency_stop")
    await page.wait_for("!document.querySelector('#firmware-restart').hidden", 30)
    await page.click("#firmware-restart")
    await page.wait_for(ASKED)
    await asyncio.to_thread(stack.klippy.firmware_restart)
    await asyncio.to_thread(stack.moonraker.wait_klippy)
    await asyncio.to_thread(stack.put, "pieza.gcode", "G4 P500\n" * 200)
    await asyncio.to_thread(stack.print, "pieza.gcode")
    await page.wait_for_text("#job", "pieza.gcode", 30)
    await page.click("#ask-yes")
    await page.wait_for_text("#toasts", "Not done")
    assert stack.klippy.query("print_stats")["state"] == "printing"


async def test_a_moonraker_that_hangs_is_not_shown_as_live(browser: Chromium, stack: Stack) -> None:
    """No socket is closed, and nothing more comes: so it is with a line that broke, too."""
    page = await open_panel(browser, stack, language="es-ES")
    await page.wait_for_text("#live", "En vivo")
    stack.moonraker.freeze()
    try:
        await page.wait_for_text("#live", "Sin respuesta", 75)
        await page.wait_for_text("#banner", "Moonraker no responde")
    finally:
        stack.moonraker.thaw()
    await page.wait_for_text("#live", "En vivo", 60)
    assert await page.text("#banner") == ""
    await asyncio.to_thread(stack.moonraker.stop)
    await page.click("#remote")  # whoever switches it off has to know
    await page.wait_for_text("#toasts", "no se sabe si eso se hizo")


async def test_what_was_not_saved_is_not_told_as_saved(browser: Chromium, stack: Stack) -> None:
    page = await open_panel(browser, stack)
    await page.wait_for_text("#config", "server_url")
    await page.click("#config-edit")
    await page.evaluate("document.getElementById('set-security.remote_control').value = 'print'")
    await page.click("#config-form button[type=submit]")
    await page.wait_for(ASKED)
    await asyncio.to_thread(stack.moonraker.stop)
    await page.click("#ask-yes")
    await page.wait_for_text("#toasts", "not known whether")
    assert "Saved" not in await page.text("#toasts")


async def test_what_moonraker_conf_says_after_a_restart_is_shown(
    browser: Chromium, make_stack: Callable[..., Stack]
) -> None:
    stack = await asyncio.to_thread(make_stack, options={"camera_resolution": "original"})
    page = await open_panel(browser, stack)
    await page.wait_for_text("#config", "original")
    await asyncio.to_thread(lambda: stack.configure(camera_resolution="low"))
    await page.wait_for("!document.querySelector('#config').innerText.includes('original')", 30)
    await page.wait_for_text("#config", "low")


async def test_the_folder_s_own_address_shows_the_panel(browser: Chromium, stack: Stack) -> None:
    page = await browser.page()
    await page.open(stack.moonraker.url + "/server/tecmedhub/")
    await page.wait_for_text("#hub-state", "Connected")
    await page.wait_for_text("#live", "Live")


async def test_a_page_of_the_plugin_of_before_an_update_is_loaded_anew(
    browser: Chromium, stack: Stack
) -> None:
    page = await open_panel(browser, stack)
    await page.evaluate("window.old = true; take({ ...known.overview, version: '5.3.0' })")
    await page.wait_for("window.old === undefined")
    await page.wait_for_text("#hub-state", "Connected")


async def test_a_login_that_ran_out_is_renewed_once_for_all(
    browser: Chromium, stack: Stack
) -> None:
    person = {"username": "ana", "password": "secreto-123"}
    await asyncio.to_thread(stack.moonraker.post, "/access/user", person)
    page = await browser.page()
    await page.send("Network.setExtraHTTPHeaders", {"headers": {"X-Real-Ip": STRANGER}})
    await page.open(stack.moonraker.url + PANEL)
    await page.wait_for("!document.querySelector('#login').hidden")
    await page.evaluate("document.querySelector('#login-user').value = 'ana'")
    await page.evaluate("document.querySelector('#login-password').value = 'secreto-123'")
    await page.click("#login button[type=submit]")
    await page.wait_for("!document.querySelector('#panel').hidden")

    # No answer to the renewal is no end of the login.
    run_out = "moonraker.token = moonraker.token.slice(0, -6) + 'AAAAAA';"
    away = (
        "const real = window.fetch; window.fetch = (address, ...more) => /refresh/.test(address)"
        " ? Promise.reject(new TypeError('offline')) : real(address, ...more);"
    )
    asked = "moonraker.get('status').then(() => 'answered', (error) => error.constructor.name)"
    said = await page.evaluate(
        f"(async () => {{ {run_out} {away} const said = await {asked};"
        " window.fetch = real; return said; })()"
    )
    assert said == "Unreachable"
    assert await page.evaluate(asked) == "answered"

    # Several requests at the same moment, as with two cameras.
    several = f"Promise.all([{asked}, {asked}, {asked}]).then((all) => all.join(' '))"
    assert await page.evaluate(f"{run_out} {several}") == "answered answered answered"
    assert await page.evaluate("document.querySelector('#login').hidden") is True


async def test_what_stands_under_the_finger_stays(browser: Chromium, stack: Stack) -> None:
    page = await open_panel(browser, stack)
    await page.wait_for_text("#hub-state", "Connected")

    # One question at a time.
    await page.evaluate("{ ask('First', 'of this', 'Yes'); ask('Second', 'of that', 'Yes'); }")
    assert await page.text("#ask-title") == "First"
    await page.click("#ask-no")

    # Clean-up deletes what was looked at, not what is old by the time of the answer.
    await page.evaluate(
        "{ const post = moonraker.post; moonraker.post = (name, args) => {"
        " moonraker.post = post; window.posted = [name, args];"
        " return Promise.resolve({ ok: true, message: '', files: [{}] }); };"
        " known.plan = [{ path: 'old.gcode', size: 5000 }]; showPlan(); }"
    )
    await page.click("#cleanup-list button")
    await page.wait_for(ASKED)
    await page.click("#ask-yes")
    await page.wait_for_text("#toasts", "1 files deleted")
    posted = await page.evaluate("window.posted")
    assert posted == ["cleanup", {"confirm": True, "files": ["old.gcode"]}]

    # A button that is drawn anew each second could not be held by a key.
    assert await page.evaluate(
        "(() => { const draw = (percent) => { known.overview.download = { file: 'a.gcode', percent,"
        " bytes: percent, size: 100, speed: 1, eta: 1 }; showDownload(); }; draw(10);"
        " const held = [...document.querySelectorAll('button')].find(b => b.innerText ==="
        " 'Cancel download'); held.focus(); draw(20);"
        " return document.activeElement === held; })()"
    )
    assert await page.evaluate(
        "(() => { const draw = (data) => fill(document.querySelector('#videos'), data,"
        " () => h('a', { href: '#' }, 'film')); draw(1);"
        " document.querySelector('#videos a').focus(); draw(2);"
        " return document.activeElement.textContent === 'film'; })()"
    )

    # Why it shows nothing new is on the page, not in the console alone.
    await page.evaluate("moonraker.get = () => Promise.reject(new Error('HTTP 404'))")
    await page.evaluate("update()")
    await page.wait_for_text("#banner", "HTTP 404")
