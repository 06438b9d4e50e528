"""The C library's heap."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Give what is free back to the system: reading the plugin leaves holes of a third of a
    megabyte, which glibc would keep for good (malloc_trim(3); musl has none). Call it in a thread.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):
        pass
