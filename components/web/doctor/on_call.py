"""The doctor, fetched with the first examination: on most days nobody asks for one, and it is
large.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from ..rooms import Rooms
    from .doctor import Doctor
    from .report import Report


class DoctorOnCall:
    """See `doctor.Doctor`. Its modules are read in a thread: an import holds up the event loop."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._doctor: Optional[Doctor] = None

    async def examine(self) -> Report:
        await self._rooms.worker.run(importlib.import_module, ".doctor", __package__)
        if self._doctor is None:
            from .doctor import Doctor  # noqa: PLC0415  (read already, in the thread)

            self._doctor = Doctor(self._rooms)
        return await self._doctor.examine()

    def close(self) -> None:
        if self._doctor is not None:
            self._doctor.close()
