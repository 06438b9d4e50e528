"""Sends the status: makes a body when one is due, and books what its reply acknowledged.

A retry never carries an old body: after a failure the next one is made anew as soon as the link
allows it.
"""

import asyncio
from typing import (
    Any,
    Awaitable,
    Callable,
    Dict,
    Iterable,
    List,
    NamedTuple,
    Optional,
    Set,
    TypeVar,
)

from ..hub.client import HubClient, Reply
from ..hub.link import Link
from ..runtime.clock import Clock
from ..runtime.messages import all_in_language
from ..store.journal import Journal
from .cadence import Cadence
from .seldom import Seldom

EVENTS_AT_ONCE = 50
RESULTS_AT_ONCE = 50
DISK_PATIENCE = 0.5  # seconds that a status waits for the journal

T = TypeVar("T")
Body = Dict[str, Any]


class ResultBox(NamedTuple):
    """Where results wait until the hub has them, as two methods of the commands room."""

    due: Callable[[int], List[Dict[str, Any]]]
    delivered: Callable[[Iterable[Any]], Awaitable[None]]


class Reporter:
    def __init__(
        self,
        client: HubClient,
        link: Link,
        cadence: Cadence,
        journal: Journal,
        make_body: Callable[[], Body],
        results: ResultBox,
        clock: Clock,
        language: Callable[[], str] = lambda: "en",
    ) -> None:
        """`language()` is what the hub is told our own sentences in."""
        self._language = language
        self._client = client
        self._link = link
        self._cadence = cadence
        self._journal = journal
        self._make_body = make_body
        self._results = results
        self._seldom = Seldom(clock)
        self._new_results = asyncio.Event()
        self._met = False  # the hub, since our start
        self._looking: "Optional[asyncio.Future[List[Dict[str, Any]]]]" = None
        self._slow: "Set[asyncio.Future[Any]]" = set()
        self._listeners: List[Callable[[Body, Reply], None]] = []
        self.last_body: Optional[Body] = None
        self.last_reasons: Set[str] = set()

    def subscribe(self, listener: Callable[[Body, Reply], None]) -> None:
        """Call `listener(body, reply)` after each status that was sent, successfully or not."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Send a status whenever one is due, for ever."""
        while True:
            await self._link.ready("status")
            self.last_reasons = await self._cadence.due()
            await self._link.ready("status")
            reply = await self.send()
            self._link.ended("status", reply)
            if not reply.ok:
                self._cadence.news("retry")  # due again as soon as the link lets us

    async def send(self, **changes: Any) -> Reply:
        """Send one status now; `changes` replace fields of the body (the last words before
        leaving).
        """
        events = await self._events()
        storing = self._client.features.events  # as known before the answer
        results = self._results.due(RESULTS_AT_ONCE)
        self._cadence.taken()
        body = self._make_body()
        body["command_results"] = all_in_language(results, self._language())
        body["events"] = all_in_language(events, self._language())
        body.update(changes)
        sent = body
        if not self._client.features.full_status:
            sent = self._seldom.without(body, (self._client.where.status, body.get("token")))
        reply = await self._client.send_status(sent)
        self.last_body = body
        if reply.ok:
            self._seldom.delivered(sent)
            if events:
                await self._patiently(self._journal.delivered(events, storing))
            if results:
                await self._patiently(self._results.delivered(results))
            if len(events) == EVENTS_AT_ONCE or (not self._met and self._journal.undelivered):
                self._cadence.news("more events")
            self._met = True
        for listener in self._listeners:
            listener(body, reply)
        return reply

    # A disk that stalls must not silence the printer: what it holds follows when it answers

    async def _events(self) -> List[Dict[str, Any]]:
        """None in the first status: after a boot without a clock it is its reply that tells the
        time, by which events get theirs.
        """
        if not self._met or self._journal.undelivered <= 0:
            return []
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._journal.due(EVENTS_AT_ONCE))
        return await self._patiently(self._looking) or []

    async def _patiently(self, work: "Awaitable[T]") -> "Optional[T]":
        """The result of `work`, or None if the disk takes its time; it goes on all the same."""
        task = asyncio.ensure_future(work)
        self._slow.add(task)
        task.add_done_callback(self._answered)
        done, _ = await asyncio.wait([task], timeout=DISK_PATIENCE)
        return task.result() if done else None

    def _answered(self, task: "asyncio.Future[Any]") -> None:
        self._slow.discard(task)
        if not task.cancelled():
            task.exception()  # seen; who waited for it has it too

    # Results at once, where the hub takes them

    def new_result(self) -> None:
        """A command has a result: tell the hub at once if it announced that, else with a status
        soon.
        """
        if self._client.features.command_results:
            self._new_results.set()
        else:
            self._cadence.news("command result")

    async def run_results(self) -> None:
        """Post new results as they come, for ever; what fails travels in the next status."""
        while True:
            await self._new_results.wait()
            self._new_results.clear()
            if not self._results.due(1):
                continue
            await self._link.ready("results")
            if not self._client.features.command_results:  # another hub by now
                self._cadence.news("command result")
                continue
            results = self._results.due(RESULTS_AT_ONCE)
            if not results:
                continue
            told = all_in_language(results, self._language())
            reply = await self._client.post_results(told)
            self._link.ended("results", reply)
            if reply.ok:
                await self._results.delivered(results)
                if self._results.due(1):
                    self._new_results.set()
            else:
                self._cadence.news("command result")
