"""A file to be fetched, and one that is there."""

from typing import Mapping, NamedTuple, Optional

from ..runtime.messages import Told


class TransferError(Told):
    """The file cannot be had."""


class Wanted(NamedTuple):
    """What to fetch, and what is known of it beforehand; an empty text or None is not known."""

    name: str  # as people know it
    url: str = ""  # checked; "" is the hub's own download
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


class Arrived(NamedTuple):
    """A file that may be printed."""

    path: str  # below the gcodes root
    note: str = ""  # for people: which copy this is, or what was put right, where that is news
