"""The one way out for texts that another program's page shows: Moonraker's warnings, its console,
the answers that Mainsail's and Fluidd's pages show as they are.

Mainsail takes a warning for HTML and cleans nothing. So whatever comes from elsewhere (the hub's
words, a redirect's target, names of files, cameras, webcams) must hold no markup there; and since
others show the same text as it is, it must be readable both ways. Therefore signs that mean
something to HTML give way to their look-alikes, instead of being escaped.
"""

from __future__ import annotations

import re

from .loose import printable

MAX_TEXT = 2000  # characters; a sentence for people is a tenth of it
_LOOK_ALIKE = {"<": "‹", ">": "›"}
# What a page would turn into another character; an ampersand between the values of a URL stays.
_REFERENCE = re.compile(r"&(?=#|\w{1,31};|(?:lt|gt|amp|quot)\b)", re.IGNORECASE)


def for_pages(text: str) -> str:
    """`text` as every page may show it, in one line.

    >>> for_pages('The hub refuses: "<img src=x onerror=alert(1)>"')
    'The hub refuses: "‹img src=x onerror=alert(1)›"'
    >>> for_pages("&lt;b&gt; http://cam/?action=snapshot&user=me")
    '＆lt;b＆gt; http://cam/?action=snapshot&user=me'
    """
    clean = " ".join(str(text)[: 2 * MAX_TEXT].split())
    clean = printable(clean)
    for sign, other in _LOOK_ALIKE.items():
        clean = clean.replace(sign, other)
    clean = _REFERENCE.sub("＆", clean)
    return clean if len(clean) <= MAX_TEXT else f"{clean[: MAX_TEXT - 1]}…"
