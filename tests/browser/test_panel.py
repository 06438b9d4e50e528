"""The panel in a real browser, on the real stack: what a teacher and a technician see and do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator

import pytest

from tests.browser.chromium import Chromium, Page, find_chromium
from tests.browser.panel import PANEL, PICTURES, open_panel
from tests.browser.words import english_on
from tests.rig.cameras import CameraServer
from tests.rig.stack import Stack

pytestmark = [
    pytest.mark.stack,
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed"),
]

STRANGER = "203.0.113.9"  # an address that nobody trusts, as a web server passes it on
SEEN = "!document.querySelector('#panel').hidden"


@pytest.fixture
def cameras() -> Iterator[CameraServer]:
    with CameraServer(2) as server:
        yield server


def assert_kept_to_itself(page: Page, stack: Stack) -> None:
    """No error in the console, nothing asked for from anywhere else."""
    assert page.errors == []
    own = (stack.moonraker.url, stack.moonraker.url.replace("http", "ws", 1), "blob:", "data:")
    assert [url for url in page.requests if not url.startswith(own)] == []


async def width_of(page: Page) -> int:
    return int(await page.evaluate("document.documentElement.scrollWidth"))


async def test_connected_lost_and_back_in_both_languages_and_sizes(
    browser: Chromium, cameras: CameraServer, make_stack: Callable[..., Stack]
) -> None:
    urls = "\n".join(camera.snapshot_url for camera in cameras)
    stack = await asyncio.to_thread(make_stack, options={"camera_urls": urls})
    desk = await open_panel(browser, stack, width=1280, language="en-GB")
    phone = await open_panel(browser, stack, width=360, height=740, language="es-ES")
    await desk.wait_for_text("#hub-state", "Connected")
    await phone.wait_for_text("#hub-state", "Conectado")
    await desk.wait_for_text("#live", "Live")
    assert await desk.evaluate("document.documentElement.lang") == "en"
    assert await phone.evaluate("document.documentElement.lang") == "es"
    assert await width_of(phone) <= 360
    assert await width_of(desk) <= 1280
    chain = "[...document.querySelectorAll('#hub-chain li')].map(li => li.className).join(' ')"
    assert await desk.evaluate(chain) == "ok ok ok ok ok"

    # A command sent at the hub appears with its result.
    await asyncio.to_thread(stack.do, "heat", hotend_temp=70)
    await asyncio.to_thread(stack.do, "set_speed", speed=900)
    await desk.wait_for_text("#commands", "refused")
    await desk.wait_for_text("#commands li:first-child", "set_speed")
    await desk.wait_for_text("#commands", "done")
    await phone.wait_for_text("#commands", "rechazado")

    # Pictures.
    await desk.click("#snapshot")
    shown = "[...document.querySelectorAll('#pictures img')].filter(i => i.naturalWidth > 0).length"
    await desk.wait_for(f"{shown} === 2", 25)

    # A chart is drawn: lines with more than one point, in temperatures and in latency.
    for chart in ("temperatures", "latency"):
        await desk.wait_for(
            f"document.querySelector('#{chart} svg path.line')?.getTotalLength() > 1", 40
        )
        await phone.wait_for(
            f"document.querySelector('#{chart} svg path.line')?.getTotalLength() > 1", 40
        )
    await desk.picture(PICTURES / "connected-en-1280.png")
    await phone.picture(PICTURES / "connected-es-360.png")

    # The hub goes; why, in words, within ten seconds; it comes back.
    await asyncio.to_thread(stack.hub.kill)
    await desk.wait_for_text("#hub-state", "Not connected", 10)
    await desk.wait_for_text("#hub-reason", "refuses connections", 10)
    await phone.wait_for_text("#hub-state", "Sin conexión", 10)
    await phone.wait_for_text("#hub-reason", "rechaza conexiones", 10)
    assert await desk.evaluate(chain) == "ok bad   "
    await desk.click("#examine")
    await desk.wait_for_text("#doctor-line", "Something is wrong", 40)
    await desk.wait_for_text("#findings", "refuses connections on port")
    assert "did not work" not in await desk.text("#toasts")
    await desk.picture(PICTURES / "lost-en-1280.png")
    await phone.picture(PICTURES / "lost-es-360.png")
    await asyncio.to_thread(stack.hub.restart)
    await desk.wait_for_text("#hub-state", "Connected", 30)
    await phone.wait_for_text("#hub-state", "Conectado", 30)
    await desk.wait_for_text("#events", "Hub back")
    await phone.wait_for_text("#events", "Volvió el hub")
    for page in (desk, phone):
        assert_kept_to_itself(page, stack)


async def test_the_buttons_do_what_they_say(browser: Chromium, stack: Stack) -> None:
    page = await open_panel(browser, stack, language="es-ES", dark=True)
    assert await page.evaluate("document.querySelector('#bed-control').hidden") is True
    await page.click("#test")
    await page.wait_for_text("#toasts", "El hub respondió")

    async def remote_on() -> bool:
        status = await asyncio.to_thread(stack.moonraker.get, "/server/tecmedhub/status")
        return bool(status["remote"]["on"])

    await page.click("#remote")
    await page.wait_for(
        "document.querySelector('#remote').getAttribute('aria-checked') === 'false'"
    )
    assert await remote_on() is False
    assert (await asyncio.to_thread(stack.do, "home")).status == "refused"
    await page.click("#remote")  # switching on asks first
    await page.wait_for("document.querySelector('#ask').open")
    await page.click("#ask-no")
    await page.wait_for("!document.querySelector('#ask').open")
    assert await remote_on() is False
    await page.click("#remote")
    await page.wait_for("document.querySelector('#ask').open")
    await page.click("#ask-yes")
    await page.wait_for("document.querySelector('#remote').getAttribute('aria-checked') === 'true'")
    assert await remote_on() is True

    # The bed is asked for where the latch is on, and after a job.
    stack.override.write_text(json.dumps({"security": {"require_clear_bed": True}}))
    await page.wait_for("!document.querySelector('#bed-control').hidden", 30)
    await asyncio.to_thread(stack.put, "pieza.gcode", "G4 P500\nM400\n")
    await asyncio.to_thread(stack.print, "pieza.gcode")
    await page.wait_for("!document.querySelector('#bed').hidden", 30)
    await page.click("#bed")
    await page.wait_for("document.querySelector('#ask').open")
    await page.picture(PICTURES / "ask-es-1280-dark.png")
    await page.click("#ask-yes")
    await page.wait_for_text("#toasts", "declarada libre")

    await page.click("#cleanup")
    await page.wait_for_text("#cleanup-list", "Nada")

    await page.click("#examine")
    await page.wait_for("document.querySelectorAll('#findings li').length > 10", 40)
    await page.wait_for_text("#findings", "Klipper está listo")
    await page.click("#config-all + span")
    await page.wait_for_text("#config", "intervals.status_idle")
    await page.picture(PICTURES / "doctor-es-1280-dark.png")
    assert await english_on(page) == []
    await page.click("#sent-details summary")
    await page.wait_for_text("#sent-body", "update_printer")
    assert_kept_to_itself(page, stack)


async def test_a_first_start_asks_for_two_things(
    browser: Chromium, make_stack: Callable[..., Stack]
) -> None:
    """As somebody sees it who has just run install.sh: nothing is set."""
    nothing = {"server_url": None, "printer_token": None, "printer_name": None}
    stack = await asyncio.to_thread(make_stack, options=nothing, connected=False)
    page = await open_panel(browser, stack, width=360, height=740, language="es-ES")
    await page.wait_for("!document.querySelector('#setup').hidden")
    assert await width_of(page) <= 360
    await page.picture(PICTURES / "setup-es-360.png")
    assert await english_on(page) == []

    async def enter(url: str) -> None:
        await page.evaluate(f"document.querySelector('#setup-url').value = '{url}'")
        await page.evaluate("document.querySelector('#setup-token').value = 'T1'")
        await page.click("#setup button[type=submit]")

    # A slip, and the way back from it.
    await enter("http://127.0.0.1:9/api.php")
    await page.wait_for_text("#hub-state", "Sin conexión", 30)
    await page.wait_for_text("#hub-reason", "rechaza conexiones")
    await page.wait_for_text("#findings", "Comprueba que el servidor web", 40)
    assert await english_on(page) == []
    await page.click("#hub-change")
    await page.wait_for("document.activeElement.name === 'server_url'")
    await page.evaluate(f"document.activeElement.value = '{stack.server_url}'")
    await page.click("#config-form button[type=submit]")
    await page.wait_for("document.querySelector('#ask').open")
    await page.click("#ask-yes")
    await page.wait_for_text("#hub-state", "Conectado", 30)
    assert await page.evaluate("document.querySelector('#setup').hidden") is True
    await page.wait_for_text("#findings", "Token", 40)
    assert json.loads(stack.override.read_text(encoding="utf-8"))["printer_token"] == "T1"
    assert_kept_to_itself(page, stack)


async def test_an_option_is_changed_in_the_form_and_nothing_else(
    browser: Chromium, stack: Stack
) -> None:
    page = await open_panel(browser, stack, language="es-ES")
    await page.wait_for_text("#config", "server_url")
    before = stack.override.read_text(encoding="utf-8")
    await page.click("#config-edit")
    await page.evaluate("document.getElementById('set-security.remote_control').value = 'print'")
    await page.click("#config-form button[type=submit]")
    await page.wait_for("document.querySelector('#ask').open")
    await page.wait_for_text("#ask-text", '+     "remote_control": "print"')
    await page.picture(PICTURES / "settings-es-1280.png")
    assert stack.override.read_text(encoding="utf-8") == before
    await page.click("#ask-yes")
    await page.wait_for_text("#remote-text", "imprimir, pausar, cancelar", 20)
    after = stack.override.read_text(encoding="utf-8").splitlines()
    assert len(set(after) - set(before.splitlines())) == 1
    assert (await asyncio.to_thread(stack.do, "home")).status == "refused"
    assert_kept_to_itself(page, stack)


async def test_a_command_is_tried_and_nothing_is_run(browser: Chromium, stack: Stack) -> None:
    """By the keyboard alone, as somebody does who sees no page."""
    own = {"blow": {"gcode": "M106 S{power}", "parameters": {"power": {"min": 0, "max": 255}}}}
    stack.override.write_text(json.dumps({"actions": own}))
    page = await open_panel(browser, stack, width=320, height=740, language="es-ES")
    await page.wait_for_text("#config", "actions", 30)
    await page.evaluate("document.querySelector('#trial-details summary').focus()")
    await page.press("Enter")
    await page.wait_for("document.querySelectorAll('#trial-action option').length > 20", 20)

    async def choose(action: str, **fields: object) -> None:
        await page.evaluate(
            f"{{ const all = document.querySelector('#trial-action'); all.value = '{action}';"
            " all.dispatchEvent(new Event('change')); }"
        )
        for name, value in fields.items():
            await page.evaluate(f"document.getElementById('try-{name}').focus()")
            await page.write(str(value))
        await page.evaluate("document.querySelector('#trial button[type=submit]').focus()")
        await page.press("Enter")

    await choose("set_speed", speed=120)
    await page.wait_for_text("#trial-verdict", "M220 S120", 20)
    await page.wait_for_text("#trial-verdict", "se ejecutaría")
    await page.wait_for_text("#trial-verdict", "G-code, uno tras otro")
    await choose("set_speed", speed=900)
    await page.wait_for_text("#trial-verdict", "speed 900 está fuera de rango")
    await choose("blow", power=200)
    await page.wait_for_text("#trial-verdict", "M106 S200")
    assert await width_of(page) <= 320
    await page.picture(PICTURES / "trial-es-320.png")
    assert await english_on(page) == []

    await page.evaluate("document.querySelector('#trial-json').value = '{\"action\"'")
    await page.evaluate("document.querySelector('#trial button[type=submit]').click()")
    await page.wait_for_text("#trial-error", "no es JSON")
    commands = await asyncio.to_thread(stack.moonraker.get, "/server/tecmedhub/commands")
    assert commands["commands"] == []
    assert stack.klippy.query("gcode_move")["speed_factor"] == 1.0
    assert_kept_to_itself(page, stack)


async def test_why_it_is_paused_and_how_good_the_line_is(browser: Chromium, stack: Stack) -> None:
    page = await open_panel(browser, stack, language="es-ES")
    await asyncio.to_thread(stack.put, "pieza.gcode", "G4 P500\n" * 200)
    await asyncio.to_thread(stack.print, "pieza.gcode")
    await page.wait_for_text("#job", "pieza.gcode", 20)
    assert (await asyncio.to_thread(stack.do, "pause")).status == "done"
    await page.wait_for_text("#printer-state", "En pausa", 20)
    await page.wait_for_text("#job", "Pausada por el hub", 20)
    await page.wait_for_text("#hub-facts", "Línea\nestable", 30)
    await page.click("[data-lang=en]")
    await page.wait_for_text("#job", "Paused by the hub")
    await page.wait_for_text("#hub-facts", "Waiting for the hub\nnothing", 30)
    assert (await asyncio.to_thread(stack.do, "cancel")).status == "done"
    assert_kept_to_itself(page, stack)


async def test_a_print_that_is_over_tells_its_pauses(browser: Chromium, stack: Stack) -> None:
    """When, for how long and why, in both languages; of a job of before as well."""
    await asyncio.to_thread(stack.put, "pieza.gcode", "G4 P500\n" * 12)
    page = await open_panel(browser, stack, language="es-ES")
    await page.wait_for_text("#jobs", "Todavía no se ha impreso nada")
    await asyncio.to_thread(stack.print, "pieza.gcode")
    await page.wait_for_text("#printer-state", "Imprimiendo", 20)
    assert (await asyncio.to_thread(stack.do, "pause")).status == "done"
    await page.wait_for_text("#printer-state", "En pausa", 20)
    assert (await asyncio.to_thread(stack.do, "resume")).status == "done"
    await page.wait_for_text("#jobs", "terminada", 60)
    await page.wait_for_text("#jobs", " s · pausada por el hub")
    assert "Pausa a las " in await page.text("#jobs")
    await page.click("[data-lang=en]")
    await page.wait_for_text("#jobs", " s · paused by the hub")
    await page.picture(PICTURES / "last-prints.png")
    assert_kept_to_itself(page, stack)


async def test_the_language_can_be_changed_and_is_kept(browser: Chromium, stack: Stack) -> None:
    page = await open_panel(browser, stack, language="de-DE")
    await page.wait_for_text("#hub-title", "Connection to the hub")
    await page.click("[data-lang=es]")
    await page.wait_for_text("#hub-title", "Conexión con el hub")
    await page.wait_for_text("#hub-state", "Conectado")
    await page.open(stack.moonraker.url + PANEL)
    await page.wait_for_text("#hub-title", "Conexión con el hub")
    assert_kept_to_itself(page, stack)


async def test_what_others_wrote_stays_text(browser: Chromium, stack: Stack) -> None:
    """Names and messages from the hub, the printer and the operator are never markup."""
    evil = "<img src=x onerror=\"document.title='owned'\">"
    stack.override.write_text(json.dumps({"printer_name": evil, "printer_data": {"tags": [evil]}}))
    await asyncio.to_thread(stack.hub.queue, stack.token, "macro", macro_name=evil)
    await asyncio.to_thread(stack.hub.queue, stack.token, evil)
    page = await open_panel(browser, stack)
    await page.wait_for_text("#printer-name", evil)
    await page.wait_for_text("#commands", "refused")
    await page.wait_for_text("#config", "printer_data.tags")
    assert await page.evaluate("document.querySelectorAll('img').length") == 0
    assert await page.evaluate("document.title.startsWith('<img')") is True
    assert_kept_to_itself(page, stack)


async def test_the_policy_lets_nothing_else_run(browser: Chromium, stack: Stack) -> None:
    page = await open_panel(browser, stack)
    await page.evaluate(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        " document.body.append(s); })()"
    )
    assert await page.evaluate("window.ran === undefined") is True
    assert any("Content Security Policy" in error for error in page.errors)


async def test_a_stranger_logs_in_first(browser: Chromium, stack: Stack) -> None:
    await asyncio.to_thread(
        stack.moonraker.post, "/access/user", {"username": "ana", "password": "secreto-123"}
    )
    page = await browser.page(language="es-ES")
    await page.send("Network.setExtraHTTPHeaders", {"headers": {"X-Real-Ip": STRANGER}})
    await page.open(stack.moonraker.url + PANEL)
    await page.wait_for("!document.querySelector('#login').hidden")
    assert await page.evaluate("document.querySelector('#panel').hidden") is True
    await page.picture(PICTURES / "login-es-1280.png")
    assert await english_on(page) == []

    async def enter(password: str) -> None:
        await page.evaluate("document.querySelector('#login-user').value = 'ana'")
        await page.evaluate(f"document.querySelector('#login-password').value = '{password}'")
        await page.click("#login button[type=submit]")

    await enter("wrong")
    await page.wait_for_text("#login-error", "Moonraker no lo aceptó")
    await enter("secreto-123")
    await page.wait_for(SEEN)
    await page.wait_for_text("#hub-state", "Conectado")
    await page.click("#test")
    await page.wait_for_text("#toasts", "El hub respondió")
    refusals = ("401 (Unauthorized)", "400 (Invalid Password)")  # the browser's own lines
    assert [e for e in page.errors if not any(refusal in e for refusal in refusals)] == []


async def test_moonraker_goes_and_comes_back(browser: Chromium, stack: Stack) -> None:
    page = await open_panel(browser, stack)
    await page.wait_for_text("#live", "Live")
    await asyncio.to_thread(stack.moonraker.stop)
    await page.wait_for_text("#banner", "Moonraker does not answer", 15)
    await asyncio.to_thread(stack.moonraker.start)
    await page.wait_for("document.querySelector('#banner').innerText === ''", 30)
    await page.wait_for_text("#hub-state", "Connected", 30)
    await page.wait_for_text("#live", "Live", 30)
