"""One camera: asked for a picture by one caller at a time, rested when it fails, watched for
pictures that do not move.

What is wrong with it is said once through `Notices`, under the camera's name, and taken back when a
picture comes.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from typing import Callable, List, Optional

from ..runtime.clock import Clock
from ..runtime.messages import say, sentence
from ..runtime.notices import Notices
from .fetch import Fetcher
from .reply import Fetched, Trouble
from .sources import Source, guesses, shown

BACKOFF = (5.0, 10.0, 30.0, 60.0, 120.0, 300.0)  # seconds between attempts at a camera that fails
# identical to the last byte: sensor noise makes that impossible for a camera that lives
FROZEN_PICTURES = 5
FROZEN_SECONDS = 120.0
DIGESTED = 64 << 10  # bytes at the end of a picture
TELL_AFTER = 2  # attempts, for troubles that may pass by themselves


class Camera:
    def __init__(
        self,
        source: Source,
        *,
        fetcher: Fetcher,
        notices: Notices,
        clock: Clock,
        timeout: Callable[[], float],
    ) -> None:
        self.source = source
        self._fetcher = fetcher
        self._notices = notices
        self._clock = clock
        self._timeout = timeout
        self._url = source.candidates[0] if source.candidates else ""
        self._guesses: List[str] = []
        self._flight: Optional["asyncio.Task[Fetched]"] = None
        self._digest = b""
        self._same = 0
        self._same_since = 0.0
        self.attempts = 0
        self.failures = 0  # in a row
        self.failed_at: Optional[float] = None  # monotonic, of the first of them
        self.retry_at = 0.0  # monotonic
        self.trouble = Fetched()  # of the last attempt; `trouble` is None when it went well
        self.frozen = False
        self.black = False

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def state(self) -> str:
        """For people and the hub: ok, failing, frozen or black."""
        if self.failures or not self._url:
            return "failing"
        return "frozen" if self.frozen else "black" if self.black else "ok"

    @property
    def asking(self) -> bool:
        """Whether a request to it is under way."""
        return self._flight is not None

    async def grab(self, *, urgent: bool = False) -> Fetched:
        """The camera's picture of this moment. Callers at the same time share one request, so that
        it is never two.

        While the camera rests after a failure, only an `urgent` caller reaches it.
        """
        if self._flight is None:
            if not urgent and self._clock.monotonic() < self.retry_at:
                return Fetched(trouble=Trouble.RESTING, sentence=self.trouble.sentence)
            self._flight = asyncio.ensure_future(self._attempt())
            self._flight.add_done_callback(self._landed)
        flight = self._flight
        try:
            return await asyncio.shield(flight)
        except asyncio.CancelledError:
            if not flight.cancelled():
                raise  # the caller is cancelled, not the request
            return Fetched(
                trouble=Trouble.RESTING,
                sentence=say("it has just been removed from the configuration."),
            )

    def damaged(self, sentence: str) -> None:
        """What came could not be decoded: counts as a failed attempt."""
        self._fail(Fetched(trouble=Trouble.DAMAGED, sentence=sentence, url=self._url))

    def decoded(self, black: bool, *, watched: bool) -> None:
        """A picture came and could be decoded. Blackness is only worth a warning while somebody
        wants to see a print.
        """
        if self.failures:
            self._notices.clear(self._key(), "{camera} works again.", camera=self._title())
        self.failures = 0
        self.failed_at = None
        self.retry_at = 0.0
        self.black = black
        frozen = sentence(
            "{camera} has sent the very same picture for minutes: it is frozen. Restart its "
            "service."
        )
        if self.frozen:
            self._notices.show(self._key("frozen"), frozen, camera=self._title())
        else:
            moves = say("{camera} moves again.", camera=self._title())
            self._notices.clear(self._key("frozen"), moves)
        dark = sentence("{camera} sends black pictures: look for a covered lens or a dark room.")
        if black:
            self._notices.show(self._key("black"), dark, camera=self._title(), warning=watched)
        else:
            self._notices.clear(self._key("black"))

    def close(self) -> None:
        """Forget it: the request under way ends, and what stands about it is taken back. Stop its
        users first.
        """
        if self._flight is not None:
            self._flight.cancel()
        for about in ("", "frozen", "black"):
            self._notices.clear(self._key(about))

    async def _attempt(self) -> Fetched:
        self.attempts += 1
        if not self._url:
            self._fail(Fetched(trouble=Trouble.BAD_URL, sentence=self.source.problem))
            return self.trouble
        fetched = Fetched()
        waiting = list(dict.fromkeys((self._url, *self.source.candidates, *self._guesses)))
        for url in waiting:  # which grows
            result = await self._fetcher.fetch(url, self._timeout())
            if result.trouble is None:
                if fetched.trouble is Trouble.STREAM:
                    self._notices.log_once(
                        f"{self._key()} stream",
                        "{camera}: {stream} is a stream; its snapshot {snapshot} is used instead.",
                        camera=self._title(),
                        stream=shown(self._url),
                        snapshot=shown(url),
                        level=logging.INFO,
                    )
                self._url = url
                self._watch_for_freezing(result.data)
                return result
            if not fetched.trouble:
                # the first address is the one that was meant: its trouble is what people hear
                fetched = result
            if result.trouble is Trouble.STREAM and not self._guesses:
                self._guesses = list(guesses(url))
                waiting.extend(guess for guess in self._guesses if guess not in waiting)
        self._fail(fetched)
        return fetched

    def _fail(self, fetched: Fetched) -> None:
        now = self._clock.monotonic()
        if self.failed_at is None:
            self.failed_at = now
        self.retry_at = now + BACKOFF[min(self.failures, len(BACKOFF) - 1)]
        self.failures += 1
        self.trouble = fetched
        passing = fetched.trouble is not None and fetched.trouble.passing
        if self.failures >= (TELL_AFTER if passing else 1):
            self._notices.show(
                self._key(), "{camera}: {trouble}", camera=self._title(), trouble=fetched.sentence
            )

    def _watch_for_freezing(self, data: bytes) -> None:
        # Noise is everywhere in a picture, so its end tells two of them apart as well as the whole
        # would, which can be ten megabytes and hold the event loop for long.
        digest = hashlib.blake2b(data[-DIGESTED:] + b"%d" % len(data), digest_size=16).digest()
        now = self._clock.monotonic()
        if digest != self._digest:
            self._digest, self._same, self._same_since = digest, 0, now
        self._same += 1
        self.frozen = self._same >= FROZEN_PICTURES and now - self._same_since >= FROZEN_SECONDS

    def _landed(self, flight: "asyncio.Task[Fetched]") -> None:
        self._flight = None
        if not flight.cancelled():
            flight.exception()  # seen; whoever waited has it too

    def _title(self) -> str:
        return say("Camera '{name}'", name=self.name)

    def _key(self, about: str = "") -> str:
        return f"camera{about}/{self.name}"
