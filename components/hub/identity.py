"""Which hub is meant, where ids, names of files and receipts are kept beside each other: each hub
counts its ids from 1, and generation 2 hands out small integers.
"""

import hashlib
import urllib.parse
from typing import Tuple

from ..settings.model import Settings


def scope(settings: Settings) -> str:
    """Tells hubs apart, and printers of one hub: 12 hexadecimal digits."""
    return _digits(f"{settings.server_url}\n{settings.printer_token}")


def scopes(settings: Settings) -> Tuple[str, str]:
    """`scope`, and what stood in its place in the keys of versions before 5.1."""
    host = urllib.parse.urlsplit(settings.server_url).hostname or ""
    return scope(settings), _digits(f"{host}\n{settings.printer_token}")


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]
