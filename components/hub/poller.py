"""When the hub is asked for commands."""

from __future__ import annotations

from ..runtime.alarm import Alarm
from ..runtime.clock import Clock
from ..settings.model import LiveSettings, Settings
from .client import HubClient, Reply, same_hub
from .link import Link
from .outcomes import Failure
from .waiting import SHORTEST_WAIT, LongPoll

ACTIVE_FOR = 60.0  # seconds of quicker polling: whoever sent one command often sends the next
SHORTEST_PAUSE = 0.05  # seconds between two requests, whatever the hub does


class CommandPoller:
    """Asks for commands: every `intervals.command_check`, sooner after a command, at once again
    where the hub can wait.

    What a reply carries is delivered by `HubClient` itself.
    """

    def __init__(
        self,
        live: LiveSettings,
        client: HubClient,
        link: Link,
        clock: Clock,
    ) -> None:
        self._live = live
        self._client = client
        self._link = link
        self._clock = clock
        self._active_until = 0.0  # monotonic
        self._alarm = Alarm(clock)
        self.long_poll = LongPoll(clock)
        self._lost_before = False  # the long wait before this one
        self.stopped = False
        live.subscribe(self._settings_changed)

    def stir(self) -> None:
        """A command came: ask more often for a while.

        Not with what the printer does by itself: generation 1 rewrites its file of commands at
        each request, without a lock, and loses now and then what another one wrote meanwhile.
        """
        self._active_until = self._clock.monotonic() + ACTIVE_FOR
        self._alarm.ring()

    async def run(self) -> None:
        while True:
            await self._link.ready("commands")
            if self.stopped:
                return
            wait = self.long_poll.wait(self._client.features.long_poll)
            started = self._clock.monotonic()
            reply = await self._client.fetch_commands(wait)
            took = self._clock.monotonic() - started
            if not self._lost_in_silence(reply, wait, took):
                self._link.ended("commands", reply)
            if reply.unheard and wait <= 0:
                await self._alarm.wait(self._interval())  # it is not repeated: the hub may have it
            if not reply.ok:
                continue
            waited_truly = wait > 0 and (took >= min(wait, 1.0) / 2 or reply.data.get("commands"))
            if not waited_truly and not self.stopped:
                pause = self._interval() - (took if wait <= 0 else 0.0)
                self._alarm.hush()  # what it rang for while we asked is seen in the interval
                await self._alarm.wait(max(pause, SHORTEST_PAUSE))

    def _settings_changed(self, old: Settings, new: Settings) -> None:
        if not same_hub(old, new):
            self.long_poll = LongPoll(self._clock)
        self._alarm.ring()  # the interval may be another one

    def _lost_in_silence(self, reply: Reply, wait: float, took: float) -> bool:
        """Whether a long wait has ended without an answer, which says more of the line than of the
        hub; a second one in a row is a failure as any other.
        """
        if wait <= 0:
            return False
        if reply.ok:
            self.long_poll.answered(wait, took)
            self._lost_before = False
            return False
        silent = reply.failure in (Failure.TIMED_OUT, Failure.UNREACHABLE)
        if not silent or reply.stale or took < SHORTEST_WAIT or self.stopped:
            return False
        self.long_poll.lost(wait, took)
        first, self._lost_before = not self._lost_before, True
        return first

    def _interval(self) -> float:
        intervals = self._live.now.intervals
        if self._clock.monotonic() < self._active_until:
            return min(intervals.command_check_active, intervals.command_check)
        return intervals.command_check

    def stop(self) -> None:
        """Ask no more. A request that is under way still delivers what it brings, but none is left
        waiting at the hub, which would hand the next command to nobody.
        """
        self.stopped = True
        self._client.hang_up()
        self._alarm.ring()
