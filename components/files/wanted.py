"""A file to be fetched."""

from __future__ import annotations

from typing import Mapping, NamedTuple, Optional


class Wanted(NamedTuple):
    """What to fetch, and what is known of it beforehand; an empty checksum or None is not known."""

    name: str  # as people know it
    url: str  # checked
    headers: Mapping[str, str] = {}
    size: Optional[int] = None  # bytes
    md5: str = ""
    sha256: str = ""

    @property
    def has_checksum(self) -> bool:
        return bool(self.md5 or self.sha256)

    @property
    def tells_apart(self) -> bool:
        """Whether two files of one name can be told apart by what is known."""
        return self.has_checksum or self.size is not None
