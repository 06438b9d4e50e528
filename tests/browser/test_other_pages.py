"""What Mainsail makes of our texts: it takes a warning for HTML and cleans nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.chromium import Chromium, find_chromium
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
