"""Whether the hub can be reached, and who may try it when: the state that all conversations with
it share.

Each kind of request is a channel with a back-off of its own, so that one stuck endpoint delays
nothing else; so is a hub's Retry-After. When no word with the server is possible at all (name,
connection, TLS), all channels wait together and go on together. But an emergency stop may wait at
the hub at any time: commands are asked for every `LONGEST_DEAFNESS` seconds, whatever fails.
"""

from __future__ import annotations

import logging
import random
from typing import Callable, Dict, List, Optional

from ..runtime.alarm import Alarm
from ..runtime.clock import Clock
from ..runtime.notices import Notices
from ..settings.model import LiveSettings, Settings
from .backoff import Backoff
from .client import Reply, same_hub
from .outcomes import Failure
from .protocol import Generation, endpoints

WARN_AFTER = 2  # failures in a row: one lost packet is no news
LONGEST_DEAFNESS = 30.0  # seconds between two requests for commands

STAGES = ("dns", "tcp", "tls", "http", "json", "token")
_STAGE_OF: Dict[Failure, str] = {
    Failure.BAD_URL: "dns",
    Failure.DNS: "dns",
    Failure.PROXY: "tcp",
    Failure.UNREACHABLE: "tcp",
    Failure.TLS: "tls",
    Failure.TIMED_OUT: "http",
    Failure.REDIRECT: "http",
    Failure.BUSY: "http",
    Failure.STATUS: "http",
    Failure.TOO_LARGE: "http",
    Failure.INTERNAL: "http",
    Failure.NOT_JSON: "json",
    Failure.REFUSED: "token",
}


class _Channel:
    def __init__(self, backoff: Backoff) -> None:
        self.backoff = backoff
        self.until = 0.0  # monotonic
        self.at_most = float("inf")  # monotonic; it is tried by then whatever holds it back
        self.failing: Optional[Reply] = None

    def begin_anew(self) -> None:
        self.backoff.succeeded()
        self.until = 0.0
        self.at_most = float("inf")
        self.failing = None


class Link:
    def __init__(
        self, live: LiveSettings, notices: Notices, clock: Clock, rng: random.Random
    ) -> None:
        self._live = live
        self._notices = notices
        self._clock = clock
        self._rng = rng
        self._channels: Dict[str, _Channel] = {}
        self._network = Backoff(lambda: live.now, rng)
        self._until = 0.0  # monotonic; of all channels
        self._known = False  # to the hub, by a status that it accepted
        self._unknown_since = clock.monotonic()
        self._alarm = Alarm(clock)
        self._listeners: List[Callable[[bool, float], None]] = []
        self.connected: Optional[bool] = None  # None before the first exchange
        self.since = clock.time()  # of the present state, unix seconds
        self._down_at: Optional[float] = None  # monotonic
        self.reconnections = 0
        self.latency: Optional[float] = None  # seconds, of the last status that succeeded
        live.subscribe(self._settings_changed)

    def subscribe(self, listener: Callable[[bool, float], None]) -> None:
        """Call `listener(connected, seconds)` at each change; `seconds` is how long the outage
        was.
        """
        self._listeners.append(listener)

    async def ready(self, channel: str) -> None:
        """Wait until `channel` may send its next request."""
        while True:
            left = self.retry_in(channel)
            if left <= 0 and self._live.now.complete:
                return
            await self._alarm.wait(left if left > 0 else None)

    def ended(self, channel: str, reply: Reply) -> None:
        """Book how a request of `channel` ended."""
        if reply.stale:  # of a hub that is no longer ours: nothing follows from it
            self._notices.note(reply.sentence, level=logging.WARNING)
            return
        if reply.unheard:  # a kept connection had ended, which says nothing of the hub
            return
        own = self._channel(channel)
        if channel == "commands":
            self._commands_ended(own)
        if reply.ok and self.connected and self._known:  # nothing was failing, and nothing is
            own.backoff.succeeded()
            if channel == "status":
                self.latency = reply.seconds
            return
        if reply.ok:
            self._succeeded(channel, own, reply)
        else:
            self._failed(own, reply)
        self._tell()

    @property
    def failing(self) -> Optional[Reply]:
        """The worst of what fails now: the earliest stage of a connection comes first."""
        replies = [c.failing for c in self._channels.values() if c.failing is not None]
        if not replies:
            return None
        order = list(Failure)
        replies.sort(key=lambda r: order.index(r.failure or Failure.INTERNAL))
        return replies[0]

    @property
    def stages(self) -> Dict[str, Optional[bool]]:
        """The connection as a tree: each stage True (works), False (fails) or None (not reached,
        or not part of it, as TLS of a plain http:// hub).
        """
        worst = self.failing
        broken = len(STAGES)
        if worst is not None:
            broken = STAGES.index(_STAGE_OF[worst.failure or Failure.INTERNAL])
        elif not self.connected:
            broken = -1
        found = {
            stage: True if place < broken else (False if place == broken else None)
            for place, stage in enumerate(STAGES)
        }
        if not self._live.now.server_url.lower().startswith("https:"):
            found["tls"] = None
        return found

    def retry_in(self, channel: str) -> float:
        """Seconds until `channel` tries again."""
        own = self._channel(channel)
        until = max(own.until, self._until)
        if channel == "commands":
            until = max(until, self._introduced_by())
        return max(0.0, min(until, own.at_most) - self._clock.monotonic())

    def _introduced_by(self) -> float:
        """Until when (monotonic) commands wait for a first status that the hub accepts: generation
        2 refuses a token before that.

        Not for ever: a hub whose status script is broken may hold an emergency stop.
        """
        if self._known or endpoints(self._live.now).generation is Generation.ONE:
            return 0.0
        return self._unknown_since + LONGEST_DEAFNESS

    def _commands_ended(self, own: _Channel) -> None:
        longest = self._rng.uniform(0.75 * LONGEST_DEAFNESS, LONGEST_DEAFNESS)
        own.at_most = self._clock.monotonic() + longest

    def _channel(self, name: str) -> _Channel:
        if name not in self._channels:
            self._channels[name] = _Channel(Backoff(lambda: self._live.now, self._rng))
        return self._channels[name]

    def _succeeded(self, name: str, own: _Channel, reply: Reply) -> None:
        recovered = own.failing is not None
        own.backoff.succeeded()
        own.until = 0.0
        own.failing = None
        if name == "status":
            self.latency = reply.seconds
            if not self._known:  # what was refused to a stranger is asked for at once
                self._known = True
                self._channel("commands").begin_anew()
                self._alarm.ring()
        for other in self._channels.values():
            if (
                other.failing is not None
                and other.failing.failure is not None
                and other.failing.failure.network
            ):
                other.failing = None
        if recovered:  # what mended this may have mended the others: let each try once, now
            for other in self._channels.values():
                other.until = 0.0
            self._alarm.ring()
        if self._network.failures:
            self._network.succeeded()
            self._until = 0.0
            self._alarm.ring()

    def _failed(self, own: _Channel, reply: Reply) -> None:
        own.failing = reply
        now = self._clock.monotonic()
        if reply.retry_after is not None and reply.failure is Failure.BUSY:
            # Everyone was told the same number: a little later each, so as not to come back as one.
            wait = reply.retry_after + self._rng.uniform(0.0, min(reply.retry_after / 4, 15.0))
            own.until = now + wait
            own.backoff.failures += 1  # which shows, once it is more than one
        elif reply.failure is not None and reply.failure.network:
            if now >= self._until:  # the second channel of the same round does not count again
                self._until = now + self._network.failed()
        else:
            own.until = now + own.backoff.failed()

    def _tell(self) -> None:
        worst = self.failing
        was = self.connected
        self.connected = worst is None
        if worst is None:
            self._notices.clear("hub", "The hub answers again.")
        elif self._rounds() >= WARN_AFTER:
            self._notices.show("hub", worst.sentence)
        if was == self.connected:
            return
        self.since = self._clock.time()
        seconds = 0.0
        if self.connected:
            if self._down_at is not None:
                seconds = self._clock.monotonic() - self._down_at
                self.reconnections += 1
            self._down_at = None
        else:
            self._down_at = self._clock.monotonic()
        for listener in self._listeners:
            listener(self.connected, seconds)

    def _rounds(self) -> int:
        return max([self._network.failures] + [c.backoff.failures for c in self._channels.values()])

    def _settings_changed(self, old: Settings, new: Settings) -> None:
        """What failed by the old settings says nothing of the new ones."""
        for channel in self._channels.values():
            channel.begin_anew()
        self._network.succeeded()
        self._until = 0.0
        if not same_hub(old, new):
            self._known = False
            self._unknown_since = self._clock.monotonic()
        self._alarm.ring()
