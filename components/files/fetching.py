"""One file into the staging folder, by as many attempts as `retries` allows; what is worth keeping
between two of them is kept. What downloads is read with the first file that the hub has for us.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Awaitable, Callable, Optional

from ..hub.backoff import Backoff
from ..net.connect import Connector
from ..runtime.clock import Clock
from ..runtime.messages import say
from ..runtime.notices import Notices
from ..runtime.worker import Worker
from ..settings.model import LiveSettings
from .staging_file import DISK, Disk, Sealed
from .wanted import TransferError, Wanted

if TYPE_CHECKING:
    from .failures import DownloadFailed

STEP = 1024 * 1024  # bytes further than ever before: then a bad line is not given up yet
LONGEST_RETRY_AFTER = 120.0  # seconds


class Fetching:
    """`make_room(bytes)` is asked to delete what may go when the disk is too full."""

    def __init__(
        self,
        *,
        live: LiveSettings,
        connector: Connector,
        user_agent: str,
        worker: Worker,
        notices: Notices,
        clock: Clock,
        rng: random.Random,
        make_room: Callable[[int], Awaitable[int]],
        disk: Disk = DISK,
    ) -> None:
        self._live = live
        self._connector = connector
        self._user_agent = user_agent
        self._worker = worker
        self._notices = notices
        self._clock = clock
        self._rng = rng
        self._make_room = make_room
        self._disk = disk

    async def fetch(
        self,
        wanted: Wanted,
        part: Path,
        resume: bool,
        on_bytes: Callable[[int, Optional[int]], None],
    ) -> Sealed:
        """The file, whole and verified in `part`; raises `TransferError`. `resume`: what is there
        already is its beginning. `on_bytes(done, size)` hears how far it is.
        """
        await self._worker.run(_read)
        from .download import Download, Limits  # noqa: PLC0415  (read already, in the thread)
        from .failures import DownloadFailed  # noqa: PLC0415

        limits = Limits.of(self._live.now)
        if (wanted.size or 0) <= limits.max_size:  # what is refused needs no room
            await self._make_room(wanted.size or 0)
        download = Download(
            wanted,
            part,
            worker=self._worker,
            limits=limits,
            user_agent=self._user_agent,
            connector=self._connector,
            disk=self._disk,
            on_bytes=on_bytes,
        )
        backoff = Backoff(lambda: self._live.now, self._rng)
        failures = damaged = furthest = 0
        while True:
            try:
                return await download.attempt(resume)
            except DownloadFailed as error:
                resume = error.keep and download.resumable
                grown = resume and download.size >= furthest + STEP
                furthest = max(furthest, download.size)
                failures = 1 if grown else failures + 1
                damaged += error.damaged
                attempts = self._live.now.retries.max_attempts
                if not error.again or damaged > 1 or failures >= attempts:
                    raise TransferError(_given_up(error, failures)) from None
                if failures == 1:
                    backoff.succeeded()
                delay = max(backoff.failed(), min(error.retry_after or 0.0, LONGEST_RETRY_AFTER))
                self._notices.note(
                    "{error} Next attempt in {delay:.0f} s.", error=error.args[0], delay=delay
                )
                await self._clock.sleep(delay)


def _read() -> None:
    from . import download  # noqa: F401, PLC0415


def _given_up(error: DownloadFailed, failures: int) -> str:
    if failures == 1:
        return str(error)
    return say("{trouble} Given up after {count} attempts.", trouble=str(error), count=failures)
