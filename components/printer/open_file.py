"""Which G-code file Klippy has open, or may have: for whoever would replace or delete one."""

from __future__ import annotations

from typing import NamedTuple

from ..runtime.messages import say
from .jobs import Jobs
from .klippy import Printer
from .snapshot import Snapshot
from .verbs import PrinterError


class LoadedFile(NamedTuple):
    """What Klipper has in hand: `path` and `state` of print_stats, and whether its virtual_sdcard
    holds a file open.
    """

    path: str = ""
    state: str = ""
    open_path: str = ""  # absolute, of virtual_sdcard.file_path

    @property
    def over(self) -> bool:
        """The job is finished and the file closed: nothing reads it any more."""
        return self.state in ("standby", "complete", "cancelled") and not self.open_path


class OpenFile:
    def __init__(self, printer: Printer, jobs: Jobs) -> None:
        self._printer = printer
        self._jobs = jobs

    def heard(self) -> LoadedFile:
        """By what was heard last. A Klippy that is away may hang in the midst of a job: one that is
        not known to be over has its file."""
        snapshot, job = self._printer.snapshot, self._jobs.open
        if not snapshot.objects and job is not None:
            return LoadedFile(path=job.filename, state=job.state)
        return _loaded(snapshot)

    async def asked(self) -> LoadedFile:
        """By Klippy's own answer, where it is there to give one. Raises `PrinterError` where nobody
        can know."""
        if self._printer.snapshot.ready:
            try:
                return _loaded(await self._printer.look())
            except PrinterError as error:
                raise PrinterError(
                    say("Klippy did not answer ({error})", error=str(error))
                ) from None
        if not (self._jobs.met or self._printer.snapshot.objects):
            raise PrinterError(
                say("Klippy, which may have it open, was not met since Moonraker's start")
            )
        return self.heard()


def _loaded(snapshot: Snapshot) -> LoadedFile:
    card = snapshot.objects.get("virtual_sdcard", {})
    return LoadedFile(
        path=snapshot.job.filename,
        state=snapshot.job.state,
        open_path=str(card.get("file_path") or ""),
    )
