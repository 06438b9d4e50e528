"""Who signed a certificate: just so much of X.509 (RFC 5280, 4.1) as names its issuer. Pure.

Python tells nothing of a certificate that it does not trust, and the name of the authority is what
an operator behind a school's filter needs.
"""

from __future__ import annotations

from typing import Iterator, Tuple

COMMON_NAME, ORGANIZATION = b"\x55\x04\x03", b"\x55\x04\x0a"  # 2.5.4.3 and 2.5.4.10, as DER
SEQUENCE, SET, OID, VERSION = 0x30, 0x31, 0x06, 0xA0
MAX_NAME = 80  # characters shown


def issuer_of(der: bytes) -> str:
    """The common name of the authority, else its organization; "" of what is no certificate."""
    try:
        (_, certificate) = next(_elements(der))
        (_, to_be_signed) = next(_elements(certificate))
        fields = [e for e in _elements(to_be_signed) if e[0] != VERSION]
        names = dict(_names(fields[2][1]))  # behind serial number and algorithm
    except (StopIteration, IndexError, ValueError):
        return ""
    text = names.get(COMMON_NAME) or names.get(ORGANIZATION) or ""
    return "".join(c if c.isprintable() else "?" for c in text)[:MAX_NAME]


def _names(name: bytes) -> Iterator[Tuple[bytes, str]]:
    for kind, relative in _elements(name):
        for inner, pair in _elements(relative) if kind == SET else ():
            parts = list(_elements(pair)) if inner == SEQUENCE else []
            if len(parts) == 2 and parts[0][0] == OID:
                coding = "utf-16-be" if parts[1][0] == 0x1E else "utf-8"
                yield parts[0][1], parts[1][1].decode(coding, "replace")


def _elements(data: bytes) -> Iterator[Tuple[int, bytes]]:
    """Tag and content of each DER element."""
    place = 0
    while place < len(data):
        tag, length = data[place], data[place + 1]
        place += 2
        if length & 0x80:
            size = length & 0x7F
            if not 1 <= size <= 4:
                raise ValueError("no DER")
            length = int.from_bytes(data[place : place + size], "big")
            place += size
        if place + length > len(data):
            raise ValueError("cut short")
        yield tag, data[place : place + length]
        place += length
