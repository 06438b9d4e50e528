"""No secret leaves by way of a text: known ones in every form they take, and what looks like one.

Masking what is *known* (the token) is cheap and runs over everything that Moonraker logs; masking
what *looks* like a secret (credentials in a URL, `token=…`) runs over our own texts only.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import List, Optional, Pattern, Tuple
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

MASK = "********"
MAX_SECRETS = 32  # the oldest goes: a token replaced long ago is no secret any more
# A shorter one is masked as a whole word and in its own case only, or "5" would blacken figures.
PLAIN_LENGTH = 8
# One shorter still says nothing by itself ("5", "PLA"): it is masked beside its name only.
SHORTEST = 4

_CREDENTIALS = re.compile(r"(\w://)[^/?#\s@\"'<>]+@")
_NAMES = r"(?:[a-z]+[_-])?token|api[_-]?key|passw(?:or)?d|passwd|pwd|secret|authorization"
_SECRET_NAME = re.compile(r"(?i)(?:%s)\Z" % _NAMES)
_QUERY = re.compile(r"(?i)\b(%s)(=|%%3d)[^&\s\"'<>\\]+" % _NAMES)
_MARK = re.compile("\x01[0-9a-f]{12}\x01")
# Not in the sentences that tell what to write where: "printer_token": "…"
_FIELD = re.compile(
    r"(?i)([\"'](?:%s)\\*[\"']\s*:\s*\\*)([\"'])(?!…[\"'])(?:[^\"'\\]|\\.)*" % _NAMES
)


def forms(secret: str) -> Tuple[str, ...]:
    """Every way in which `secret` may stand in a log: plain, percent-encoded, JSON, repr()."""
    encoded = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    encoded.update(text.replace("/", "\\/") for text in list(encoded))  # as PHP writes JSON
    encoded.add(repr(secret)[1:-1])
    encoded.add(repr(secret.encode("utf-8", "replace"))[2:-1])
    for percent in (quote(secret, ""), quote(secret), quote_plus(secret)):
        encoded.add(percent)
        encoded.add(re.sub(r"%[0-9A-F]{2}", lambda match: match.group().lower(), percent))
    return tuple(sorted(encoded, key=len, reverse=True))


def mask_url(text: str) -> str:
    """Any text with the user names, passwords and secret query values of its URLs masked.

    >>> mask_url("GET http://me:pw@cam/?action=get&token=abc")
    'GET http://********@cam/?action=get&token=********'
    """
    if "@" in text:
        text = _CREDENTIALS.sub(r"\g<1>%s@" % MASK, text)
    if "=" in text or "%3" in text:
        text = _QUERY.sub(r"\g<1>\g<2>%s" % MASK, text)
    return text


def secrets_in(url: str) -> Tuple[str, ...]:
    """The password of a URL and the values of its query that are secret by their names.

    >>> secrets_in("http://me:p%40ss@cam/?user=me&pwd=abc")
    ('p%40ss', 'p@ss', 'abc')
    """
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        return ()
    found = [password, unquote(password)] if password else []
    found += [value for name, value in parse_qsl(parts.query) if _SECRET_NAME.match(name)]
    return tuple(dict.fromkeys(found))


class Redactor:
    """Masks the secrets it was told, also where somebody changed their letter case; safe to call
    from any thread.
    """

    def __init__(self) -> None:
        self._secrets: List[str] = []
        self._named: Optional[Pattern[str]] = None
        self._any_case: Optional[Pattern[str]] = None
        self._exact: Optional[Pattern[str]] = None
        self._folded: Tuple[str, ...] = ()
        self._needles: Tuple[str, ...] = ()

    def add(self, *secrets: str) -> None:
        """Mask these from now on, and the latest of those before."""
        if set(secrets) <= {"", *self._secrets}:
            return
        before = [known for known in self._secrets if known not in secrets]
        self._secrets = [*before, *filter(None, dict.fromkeys(secrets))][-MAX_SECRETS:]
        needles = {
            form for known in self._secrets if len(known) >= SHORTEST for form in forms(known)
        }
        short = {form for known in self._secrets if len(known) < SHORTEST for form in forms(known)}
        if needles:
            ordered = sorted(needles, key=len, reverse=True)
            self._any_case = re.compile("|".join(_in_any_case(needle) for needle in ordered))
            self._exact = re.compile("|".join(_whole(needle) for needle in ordered))
            self._folded = tuple({needle.casefold() for needle in ordered})
            self._needles = tuple(ordered)
        if short:
            self._named = re.compile(
                r"(?i)(\b(?:%s)[\"']?\s?(?:=|%%3d|:)\s?[\"']?)(?-i:%s)"
                % (_NAMES, "|".join(_whole(form) for form in sorted(short, key=len, reverse=True)))
            )

    def known(self, text: str) -> str:
        """`text` without the secrets we were told; costs a substring search where there is none."""
        if self._named is not None:
            text = self._named.sub(lambda match: match.group(1) + MASK, text)
        pattern = self._any_case
        if pattern is None:
            return text
        folded = text.casefold()  # character by character: whatever `text` holds, this does too
        if not any(needle in folded for needle in self._folded):
            return text
        return pattern.sub(MASK, text)

    def sealed(self, text: str) -> str:
        """JSON text for the disk: known secrets replaced by marks that `opened` can undo, which
        another letter case would be lost in.
        """
        pattern = self._exact
        if pattern is None or not any(needle in text for needle in self._needles):
            return text
        return pattern.sub(lambda match: _mark(match.group()), text)

    def opened(self, text: str) -> str:
        """What `sealed` was given, if the secrets are still the same; else masked."""
        if "\x01" not in text:
            return text
        marks = {_mark(needle): needle for needle in self._needles}
        return _MARK.sub(lambda match: marks.get(match.group(), MASK), text)

    def __call__(self, text: str) -> str:
        """`text` without known secrets and without anything that looks like one."""
        text = mask_url(self.known(text))
        if ":" in text:
            text = _FIELD.sub(r"\g<1>\g<2>%s" % MASK, text)
        return text


def _mark(form: str) -> str:
    """Between control characters, which JSON text never holds: no text from outside is a mark."""
    return f"\x01{hashlib.sha256(form.encode('utf-8', 'replace')).hexdigest()[:12]}\x01"


def _whole(needle: str) -> str:
    escaped = re.escape(needle)
    if len(needle) >= PLAIN_LENGTH:
        return escaped
    return r"(?<![^\W_])%s(?![^\W_])" % escaped


def _in_any_case(needle: str) -> str:
    whole = _whole(needle)
    return f"(?i:{whole})" if len(needle) >= PLAIN_LENGTH else whole
