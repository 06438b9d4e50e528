"""The hub's copies: each video goes to a hub that has announced that it takes them, between the
prints; one that the hub does not take holds up no other.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Callable, Dict, Optional, Tuple

from ..hub.outcomes import Failure
from ..printer.snapshot import Snapshot
from ..runtime.alarm import Alarm
from ..runtime.clock import Clock
from ..runtime.messages import sentence
from ..runtime.notices import Notices
from ..runtime.worker import Worker
from ..settings.model import LiveSettings
from .gallery import Gallery, Video

if TYPE_CHECKING:
    from ..hub.client import HubClient, Reply

LARGEST = 32 << 20  # bytes of a video; it is held in memory twice while it is sent
RETRY = (60.0, 300.0, 1800.0, 3600.0)  # seconds
ATTEMPTS = 8  # of one video at a hub that answers

NOT_TAKEN = sentence(
    "The hub does not take the timelapse {video}, which stays on the printer. {reason}"
)
NOT_YET = sentence("The hub did not take the timelapse {video} yet. {reason}")


class Uploads:
    def __init__(
        self,
        *,
        live: LiveSettings,
        look: Callable[[], Snapshot],
        hub: "HubClient",
        gallery: Gallery,
        notices: Notices,
        clock: Clock,
        worker: Worker,
    ) -> None:
        self._live = live
        self._look = look
        self._hub = hub
        self._gallery = gallery
        self._notices = notices
        self._clock = clock
        self._worker = worker
        self._alarm = Alarm(clock)
        self._unsent: Dict[str, Tuple[int, float]] = {}  # video → failures, monotonic

    def gallery_changed(self) -> None:
        self._alarm.ring()

    async def run(self) -> None:
        while True:
            video = self._next()
            if video is None:
                await self._alarm.wait(RETRY[0])
                continue
            failures, _ = self._unsent.get(video.name, (0, 0.0))
            if await self._send(video, failures + 1 >= ATTEMPTS):
                self._unsent.pop(video.name, None)
            else:
                pause = RETRY[min(failures, len(RETRY) - 1)]
                self._unsent[video.name] = (failures + 1, self._clock.monotonic() + pause)

    def _next(self) -> Optional[Video]:
        """The oldest that the hub should have, and that does not rest after a failure."""
        if not (self._live.now.complete and self._hub.features.timelapse_upload):
            return None
        if self._look().busy:
            return None
        now = self._clock.monotonic()
        for video in reversed(self._gallery.videos):
            settled = video.sent or video.refused or not video.name.endswith(".mp4")
            rests = self._unsent.get(video.name, (0, 0.0))[1] > now
            if not settled and not rests and video.size <= LARGEST:
                return video
        return None

    async def _send(self, video: Video, last: bool) -> bool:
        """Whether nothing is left to be done about it. `last`: a hub that answers, but does not
        take it, is not asked again.
        """
        try:
            data = await self._worker.run(self._gallery.read, video, LARGEST)
        except OSError:
            data = None
        if data is None:  # it is gone, or not ours any more
            await self._mark(video, refused=True)
            return True
        reply = await self._hub.upload_timelapse(data, video.name)
        if reply.ok:
            await self._mark(video, sent=True)
            self._notices.clear("timelapse upload", "The hub takes timelapses again.")
            return True
        final = _is_final(reply) or (last and reply.status != 0)
        template = NOT_TAKEN if final else NOT_YET
        self._notices.show(
            "timelapse upload", template, video=video.name, reason=reply.sentence, warning=False
        )
        if final:
            await self._mark(video, refused=True)
        return final

    async def _mark(self, video: Video, *, sent: bool = False, refused: bool = False) -> None:
        mark = partial(self._gallery.mark, video.name, sent=sent, refused=refused)
        await self._worker.run(mark)


def _is_final(reply: "Reply") -> bool:
    """Whether the hub would answer the same to the same video tomorrow: too large, refused."""
    if reply.failure is Failure.REFUSED:
        return True
    return 400 <= reply.status < 500 and reply.status not in (401, 403, 408, 425, 429)
