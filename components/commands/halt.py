"""Emergency stops, and Klippy's shutdowns and ends, as the commands see them: what was asked before
one is not run after it.

Without this, a `home` that waited its turn would run as soon as somebody had restarted the
firmware.
"""

from __future__ import annotations

import asyncio
from typing import Callable, List, Optional, Set

from ..printer.snapshot import KlippyState, Snapshot
from ..runtime.messages import say
from .lanes import Job, Lanes

_DOWN = (KlippyState.SHUTDOWN, KlippyState.ERROR, KlippyState.DISCONNECTED)


class Halts:
    """Knows up to which command each reaches, and wakes whoever waits for Klippy's answer to
    something that can no longer succeed."""

    def __init__(self, lanes: Lanes, note_fall: Callable[[str], None]) -> None:
        """`note_fall(key)` as `Ledger.note_fall`: Moonraker may end before what a fall strikes is
        refused."""
        self._lanes = lanes
        self._note_fall = note_fall
        self._stopped = self._fallen = float("-inf")  # the newest command that it strikes
        self._restarting: Optional[Job] = None  # the command that restarts Klippy now
        self._stop_came = False  # since Klippy was last up
        self._waiting: Set["asyncio.Future[None]"] = set()
        self.falls = 0  # how often Klippy has left
        self.ended = False  # the last time it was gone altogether: nobody knows what it did
        self.reason = ""  # why, the last time: a clause
        self._why = ""  # the same, as a sentence begins

    def note_stop(self, number: int) -> None:
        """An emergency stop: nothing up to this command runs any more."""
        self._stopped = max(self._stopped, number)
        self._stop_came = True
        self._lanes.stir()

    def expect_restart(self, job: Job) -> None:
        """This command restarts Klippy: what was asked behind it runs after that."""
        self._restarting = job

    def restart_over(self, job: Job) -> None:
        if self._restarting is job:
            self._restarting = None

    def note_change(self, old: Snapshot, new: Snapshot) -> None:
        """A listener for `Printer.subscribe`."""
        if new.ready and not old.ready:
            self._stop_came = False
        if new.klippy not in _DOWN or new.klippy is old.klippy:
            return
        gone = new.klippy is KlippyState.DISCONNECTED
        if gone or old.klippy not in _DOWN:
            self.falls += 1
            self.ended = gone
            if self._stop_came:
                self.reason = say("an emergency stop came")
                self._why = say("An emergency stop came")
            elif gone:
                self.reason = self._why = say("Klippy ended")
            else:
                said = new.message or new.klippy.value
                self.reason = self._why = say('Klippy stopped: "{said}"', said=said)
        if gone and self._restarting is not None:
            self._fallen = max(self._fallen, self._restarting.number - 1)
            self._note_fall(self._restarting.command.key)
        elif gone or old.klippy not in _DOWN:  # one that was down and is started anew, too
            self._fallen = self._lanes.newest
            self._note_fall("")
        self._wake()

    def note_unseen(self) -> None:
        """Klippy is another than before our start: what a former run left was for that one."""
        self._fallen = max(self._fallen, -1)
        if self._lanes.last_recovered:
            self._note_fall(self._lanes.last_recovered)
        self._why = say("Klippy was started anew")
        self._lanes.stir()

    @property
    def stopping(self) -> bool:
        """Whether an emergency stop has come since Klippy was last up."""
        return self._stop_came

    def objection(self, job: Job) -> str:
        """Why it must not run any more; "" if it may."""
        if job.number <= self._stopped:
            return say(
                "An emergency stop came before its turn: send it again if it is still wanted."
            )
        if job.action.needs_klippy and job.number <= self._fallen:
            return say(
                "{why}, before its turn: send it again if it is still wanted.", why=self._why
            )
        return ""

    def waiter(self, falls: int) -> "asyncio.Future[None]":
        """Done when Klippy leaves the next time, or at once if it did since `falls`."""
        future: "asyncio.Future[None]" = asyncio.get_event_loop().create_future()
        if falls != self.falls:
            future.set_result(None)
            return future
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        return future

    def _wake(self) -> None:
        waiting: List["asyncio.Future[None]"] = list(self._waiting)
        for future in waiting:
            if not future.done():
                future.set_result(None)
        self._lanes.stir()
