"""The C library's heap."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Give what is free back to the system. Reading the plugin leaves holes of a third of a
    megabyte, a large answer or picture more, and glibc would keep them for good (malloc_trim(3);
    musl has none). It takes a tenth of a millisecond.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):
        pass
