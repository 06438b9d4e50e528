"""Which addresses a file may be fetched from: the hub's own origin, and hosts that the operator
allows. Pure.

Origins are compared parsed (scheme, host, port), never as text. Nothing is resolved here: what
decides is the name that the operator wrote down.
"""

from __future__ import annotations

import urllib.parse
from typing import Sequence, Tuple

from ..runtime.messages import say
from .names import Refused

MAX_URL = 2000  # characters
DEFAULT_PORTS = {"http": 80, "https": 443}

Origin = Tuple[str, str, int]  # scheme, host (lower case, IDNA), port


def check_url(url: str, hub_url: str, allowed_hosts: Sequence[str]) -> str:
    """`url` if it may be fetched for the hub at `hub_url`; raises `Refused` with the reason.

    `allowed_hosts` entries are a host ("files.example.org": both schemes on their usual ports), a
    host with a port, or a whole origin ("https://files.example.org:8443").
    """
    origin = origin_of(url)
    if origin == origin_of(hub_url) or any(_allows(entry, origin) for entry in allowed_hosts):
        return url
    scheme, host, port = origin
    raise Refused(
        "The file's address is at {scheme}://{host}:{port}, which is not the hub's: add "
        "the host to file_management.allowed_hosts if files may come from there.",
        scheme=scheme,
        host=_bracket(host),
        port=port,
    )


def origin_of(url: str) -> Origin:
    """Scheme, host and port of an http(s) address without credentials; raises `Refused`."""
    if len(url) > MAX_URL:
        raise Refused(
            "The file's address is longer than {max} characters: shorten it.", max=MAX_URL
        )
    if any(ord(c) <= 0x20 or ord(c) == 0x7F or c == "\\" for c in url):
        raise Refused(
            "The file's address holds a space, a control character or a backslash: encode "
            "it properly."
        )
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
        port = parts.port
    except ValueError:
        raise Refused("The file's address cannot be read: give a full http or https URL.") from None
    if parts.scheme not in DEFAULT_PORTS:
        scheme = parts.scheme[:20] or say("no scheme")
        raise Refused(
            "The file's address has {scheme}: only http and https are fetched.", scheme=scheme
        )
    if "@" in parts.netloc:
        raise Refused("The file's address holds a user name or password: give it without.")
    if not host:
        raise Refused("The file's address names no host: give a full http or https URL.")
    return parts.scheme, _ascii_host(host), DEFAULT_PORTS[parts.scheme] if port is None else port


def split_target(url: str) -> Tuple[Origin, str]:
    """The origin of a checked URL, and the request target (path and query) in plain ASCII."""
    origin = origin_of(url)
    parts = urllib.parse.urlsplit(url)
    path = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    query = urllib.parse.quote(parts.query, safe="/%:@!$&'()*+,;=~?[]")
    return origin, f"{path}?{query}" if query else path


def host_header(origin: Origin) -> str:
    scheme, host, port = origin
    name = _bracket(host)
    return name if port == DEFAULT_PORTS[scheme] else f"{name}:{port}"


def _allows(entry: str, origin: Origin) -> bool:
    scheme, host, port = origin
    wanted_scheme, separator, rest = entry.strip().rpartition("://")
    try:
        parts = urllib.parse.urlsplit(f"//{rest.rstrip('/')}")
        wanted_host, wanted_port = _ascii_host(parts.hostname or ""), parts.port
    except (ValueError, Refused):
        return False
    if "@" in parts.netloc or parts.path or not wanted_host:
        return False
    if separator and wanted_scheme.lower() != scheme:
        return False
    return (
        wanted_host == host
        and (DEFAULT_PORTS[scheme] if wanted_port is None else wanted_port) == port
    )


def _ascii_host(host: str) -> str:
    lower = host.lower()
    if lower.isascii():
        return lower
    try:
        return lower.encode("idna").decode("ascii")
    except UnicodeError:
        raise Refused("The file's address names a host that cannot be one: check it.") from None


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host
