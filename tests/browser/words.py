"""What a page has to say to somebody who reads Spanish."""

from __future__ import annotations

import json

from tests.browser.chromium import Page
from tests.rig import spanish

# Names and values of options, what was sent and the log stand there as they are.
TEXTS_OF_THE_PAGE = """
(() => {
  const texts = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (!node.parentElement.closest('script, style, noscript, pre, textarea, option, .path')) {
      texts.add(node.data.trim());
    }
  }
  for (const name of ['aria-label', 'alt', 'title', 'placeholder']) {
    for (const element of document.querySelectorAll(`[${name}]:not(:lang(en))`)) {
      texts.add(element.getAttribute(name));
    }
  }
  return JSON.stringify([...texts].filter(Boolean));
})()
"""
OURS_IN_ENGLISH = f"""
JSON.stringify(JSON.parse({TEXTS_OF_THE_PAGE.strip()}).filter(text =>
  Object.entries(TEXTS.en).some(([key, own]) => own === text && TEXTS.es[key] !== own)
  && !Object.values(TEXTS.es).includes(text)))
"""


async def english_on(page: Page) -> list[str]:
    """What somebody who reads Spanish finds in English, seen or read out."""
    found = []
    for text in json.loads(await page.evaluate(TEXTS_OF_THE_PAGE)):
        found += spanish.read(text).strange
    return found + json.loads(await page.evaluate(OURS_IN_ENGLISH))
