"""What Mainsail and Fluidd make of our texts: what they show, and when."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.chromium import Chromium, find_chromium
from tests.rig import spanish
from tests.rig.gcode import make_gcode
from tests.rig.stack import Stack

pytestmark = [
    pytest.mark.stack,
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed"),
]

IMAGE = '<img src=x onerror="window.harmed = true">'
# As its notification entry does: addresses become links, then all of it the page's HTML.
SHOW = r"""(text => {
  window.harmed = false;
  const links = text.replace(/(\bhttps?:\/\/[-A-Z0-9+&@#/%?=~_|!:,.;]*[-A-Z0-9+&@#/%=~_|])/gim,
    '<a href="$1">$1</a>');
  document.body.innerHTML = links;
  const names = [...document.body.querySelectorAll('*')].map(e => e.localName);
  return new Promise(done => setTimeout(() => done({
    strange: names.filter(name => name !== 'a'), harmed: window.harmed,
    text: document.body.textContent}), 50));
})(TEXT)"""


async def test_no_word_of_the_hub_is_markup_in_mainsail(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack()
    texts: list[str] = []

    async def told(words: str) -> None:
        def found() -> bool:
            mine = [text for text in stack.moonraker.warnings() if words in text]
            texts.extend(mine)
            return bool(mine)

        await stack.hub.until(found, 30, f"a warning with {words!r}")

    stack.hub.fault("status", "wrong_token", message=f"Token no válido {IMAGE}")
    await told("img src=x")
    stack.hub.clear_faults()
    stack.hub.fault(
        "status", "answer", code=302, body="", headers={"Location": f"http://a.invalid/{IMAGE}"}
    )
    await told("a.invalid")
    stack.hub.clear_faults()
    stack.hub.queue(stack.token, "print", file=f"{IMAGE}.gcode")
    stack.hub.queue(stack.token, "macro", macro_name=IMAGE)
    name = "<b onmouseover=alert(1)>x.gcode"
    stack.put(name, make_gcode(seconds=2))
    stack.print(name)

    def console() -> list[str]:
        store = stack.moonraker.get("/server/gcode_store?count=1000")["gcode_store"]
        return [row["message"] for row in store if row["message"].startswith("// TecMedHub")]

    await stack.hub.until(lambda: sum("img src=x" in line for line in console()) >= 3, 30)
    texts += console()
    async with Chromium() as browser:
        page = await browser.page()
        for text in set(texts):
            seen: dict[str, Any] = await page.evaluate(SHOW.replace("TEXT", json.dumps(text)))
            assert seen["strange"] == [] and not seen["harmed"], text
            assert seen["text"] == text
        # The page does what Mainsail's does: what is not cleaned harms it.
        assert (await page.evaluate(SHOW.replace("TEXT", json.dumps(IMAGE))))["harmed"]


# As Mainsail and Fluidd do: warnings are read with server.info when they connect, console lines
# from gcode_store then and from notify_gcode_response as they come; a lost socket is opened anew.
WEB_INTERFACE = """
(() => {
  document.body.innerHTML = '<ul id="warnings"></ul><pre id="console"></pre><p id="state"></p>';
  const write = line => { document.querySelector('#console').append(line + '\\n'); };
  const connect = () => {
    const socket = new WebSocket(`ws://${location.host}/websocket`);
    const asked = {};
    let last = 0;
    const ask = (method, params, then) => {
      asked[++last] = then;
      socket.send(JSON.stringify({jsonrpc: '2.0', method, params, id: last}));
    };
    socket.onopen = () => ask('server.connection.identify',
      {client_name: 'mainsail', version: '2', type: 'web', url: location.origin}, () => {
        ask('server.info', {}, info => {
          document.querySelector('#warnings').replaceChildren(...info.warnings.map(text =>
            Object.assign(document.createElement('li'), {textContent: text})));
          document.querySelector('#state').textContent = 'connected';
        });
        ask('server.gcode_store', {}, store => {
          store.gcode_store.forEach(row => write(row.message));
        });
      });
    socket.onmessage = event => {
      const message = JSON.parse(event.data);
      if (message.id in asked) asked[message.id](message.result);
      else if (message.method === 'notify_gcode_response') write(message.params[0]);
    };
    socket.onclose = () => {
      document.querySelector('#state').textContent = 'away';
      setTimeout(connect, 500);
    };
  };
  connect();
})()
"""


async def test_an_open_page_of_mainsail_or_fluidd_shows_that_the_hub_goes_and_comes_back(
    browser: Chromium, make_stack: Callable[..., Stack]
) -> None:
    """Nobody reloads it; the plugin is as it is installed, in Spanish."""
    own = ("intervals_status_update", "intervals_command_check", "retries_base_delay")
    stack = await asyncio.to_thread(make_stack, options={**dict.fromkeys(own), "language": "es"})
    page = await browser.page(language="es-MX")
    await page.open(f"{stack.moonraker.url}/server/info")
    await page.evaluate(WEB_INTERFACE)
    await page.wait_for_text("#state", "connected")
    assert "rechaza conexiones" not in await page.text("body")

    await asyncio.to_thread(stack.hub.kill)
    await page.wait_for_text("#console", "rechaza conexiones", 15)
    assert "/server/tecmedhub/panel" in await page.text("#console")  # where it is explained
    await asyncio.to_thread(stack.hub.restart)
    await page.wait_for_text("#console", "El hub responde otra vez", 30)

    # Whoever connects while it lasts has it as a warning, too.
    await asyncio.to_thread(stack.hub.kill)
    await asyncio.to_thread(
        stack.moonraker.wait,
        lambda: any("rechaza conexiones" in text for text in stack.moonraker.warnings()),
        30,
        "the warning",
    )
    await page.open(f"{stack.moonraker.url}/server/info")
    await page.evaluate(WEB_INTERFACE)
    await page.wait_for_text("#warnings", "rechaza conexiones")
    assert spanish.read(await page.text("#warnings li:last-child")).strange == ()
