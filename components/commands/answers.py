"""What became of each command: written down, told to whoever listens, kept until the hub has it."""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from ..runtime.messages import in_language, say, sentence
from ..store.ledger import Entry
from ..store.life import FINAL, State
from ..store.sqlite_file import StoreUnavailable
from .tools import Tools
from .wire import Command

MAX_MESSAGE = 500  # characters of a result's message

Listener = Callable[[Dict[str, Any]], None]

# The states that a result may name, as `say(status)` shows them to people.
STATUS_WORDS = (
    sentence("running"),
    sentence("done"),
    sentence("failed"),
    sentence("refused"),
    sentence("expired"),
    sentence("interrupted"),
)
_FINAL_WORDS = frozenset(state.value for state in FINAL)


class Answers:
    """`closing`: Moonraker ends; what cannot be told any more is found in the ledger by the next
    start."""

    def __init__(self, tools: Tools) -> None:
        self._ledger = tools.ledger
        self._notices = tools.notices
        self._hub_now = tools.hub_now
        self._listeners: List[Tuple[Listener, bool]] = []
        self.closing = False

    def subscribe(self, listener: Listener, running: bool = False) -> None:
        """Call `listener(result)` for each command that has ended; with `running` also for one that
        was told to take its time."""
        self._listeners.append((listener, running))

    async def finish(self, command: Command, state: State, message: str) -> None:
        """It has ended so."""
        message, now = self._bounded(message), self._hub_now()
        if command.key:
            try:
                result = await self._ledger.finish(command.key, state, message, now)
            except StoreUnavailable:
                if not self.closing:
                    raise
                return
            self._tell(command, result)
        else:  # the disk did not take it
            self._tell(command, self._ledger.tell(entry_of(command), state, message, now))

    async def still_running(self, command: Command, message: str) -> None:
        """It takes its time."""
        message = self._bounded(message)
        if command.key:
            try:
                result = await self._ledger.running(command.key, message)
            except StoreUnavailable:
                return  # its end will be told
            self._tell(command, result)
        else:  # the disk did not take it: an emergency stop, which was sent all the same
            entry = entry_of(command)
            self._tell(command, self._ledger.tell(entry, State.RUNNING, message, self._hub_now()))

    def _bounded(self, message: str) -> str:
        """Short enough to be kept; what is too long is cut in the operator's language."""
        if len(message) <= MAX_MESSAGE:
            return message
        return in_language(message, self._notices.language)[:MAX_MESSAGE]

    def _tell(self, command: Command, result: Optional[Mapping[str, Any]]) -> None:
        if result is None:
            return
        message = result["message"]
        line = say(
            "{action} {status}",
            action=command.action or say("a command"),
            status=say(result["status"]),
        )
        if message:
            line = say("{what}: {error}", what=line, error=message)
        self._notices.console("Hub: {what}", what=line)
        self._notices.note("Command {id} of the hub: {what}", id=json.dumps(command.id), what=line)
        for listener, running in self._listeners:
            if not running and result["status"] not in _FINAL_WORDS:
                continue
            try:
                listener(dict(result))
            except Exception as error:
                self._notices.log_fault("result listener", "A listener for results failed", error)


def entry_of(command: Command, boot: str = "") -> Entry:
    """As it is first written down."""
    return Entry(
        identity=command.identity,
        id=command.id,
        action=command.action,
        summary=command.summary(),
        command=command.to_json(),
        received_at=command.received_at,
        boot=boot,
        dated=command.timestamp is not None,
    )
