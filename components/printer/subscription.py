"""The subscription at Klippy: made at each `klippy_ready`, made again when it fails, and watched.

Klippy looks four times a second, and tells what has changed: of a printer at rest, nothing. (Its
clock always changes, so nobody subscribes to that: each of its messages wakes all of Moonraker.)
But whoever believes the last figures of a Klippy that cannot be heard tells the hub of an idle
printer that heats. So what is silent is asked for all of it. It answers what is known: all is well.
It does not, or something else: it is asked anew, object by object.

- all answer: the subscription was lost, and is made again;
- some do not: Moonraker with its speed-ups (msgspec) throws away each message that holds a NaN,
  which Python's own JSON reads. The object is named, the others are asked for once a second until
  messages come through again;
- none does: the figures are old, and are said to be.
"""

import asyncio
from typing import Any, Awaitable, Callable, Dict, List, NamedTuple, Optional, Set, TypeVar

from ..runtime.clock import Clock
from ..runtime.loose import as_dict
from ..runtime.messages import say
from ..runtime.notices import Notices
from ..runtime.supervisor import Supervisor
from ..settings.model import LiveSettings
from . import moonraker_compat
from .machine import Machine, read_machine
from .snapshot import Objects, subscription

SUBSCRIBE_RETRY = 5.0  # seconds
TOLD_AFTER = 2  # failures in a row; one alone may be a Klippy that is just leaving
SILENT_AFTER = 3.0  # seconds without a message of Klippy's, after which it is asked
RESTING_AFTER = 8.0  # the same of a printer at rest, where silence is the rule and harms nobody
ON_ITS_WAY = 1.0  # seconds within which a message comes of what has just changed
ANSWER_WITHIN = 1.5  # seconds for one object; a Klippy at work answers in milliseconds
POLL_EVERY = 1.0  # seconds between questions while no message comes through
TOLD_SILENT_AFTER = 5.0  # seconds; one that thinks hard for a while is no fault yet
TOLD_AGAIN_AT = (SILENT_AFTER, 10.0, 60.0, 600.0, 3600.0)  # seconds of silence; each is a log line
LOOK_AGAIN = 10.0  # seconds between questions for what did not come through

T = TypeVar("T")


class Told(NamedTuple):
    """Whom the subscription tells. `begun(status, machine)`: all there is to know; `changed(diff)`:
    some of it; `lost(names)`: objects that nothing is known of any more; `doubt(reason)`: all that
    was told is old, or "" for no longer. `known(status)`: whether it was told all of that already;
    `at_rest()`: whether, by all that was told, there is no job and nothing is hot on purpose.
    """

    begun: Callable[[Objects, Machine], None]
    changed: Callable[[Objects], None]
    known: Callable[[Objects], bool]
    at_rest: Callable[[], bool]
    lost: Callable[[Set[str]], None]
    doubt: Callable[[str], None]


class Subscription:
    def __init__(
        self,
        server: Any,
        supervisor: Supervisor,
        notices: Notices,
        clock: Clock,
        live: LiveSettings,
        told: Told,
    ) -> None:
        self._server = server
        self._supervisor = supervisor
        self._notices = notices
        self._clock = clock
        self._live = live
        self._told = told
        self._subscriber = moonraker_compat.make_subscriber(server, self._on_diff)
        self._generation = 0  # of the subscription that is being made or in place
        # Diffs that came before we had the answer which they follow; None while nothing was asked.
        self._early: Optional[List[Objects]] = None
        self._wanted: Dict[str, Optional[List[str]]] = {}
        self._made = False  # else what Klippy says is of a former one, which knew less
        self._made_not_at = 0.0  # Klippy's last message before that, monotonic
        self._lost: Set[str] = set()  # objects of which nothing is known: a diff is no whole
        self._heard = 0.0  # monotonic, of Klippy's last message
        self._failures = 0  # in a row
        self.asked = 0.0  # monotonic, when it was made; nothing goes unheard from then on

    def begin(self) -> None:
        """Subscribe, and keep it so until `end`."""
        self._generation += 1
        self._supervisor.spawn("subscription", self._run(self._generation))

    def end(self) -> None:
        """Klippy is gone, and with it what was subscribed to."""
        self._generation += 1
        self._early = None
        self._failures = 0
        self._wanted = {}
        self._lost = set()
        for key in ("subscription", "klippy_silent", "klippy_nan"):
            self._notices.clear(key)

    async def _run(self, generation: int) -> None:
        while generation == self._generation:
            try:
                await self._make(generation)
                await self._watch(generation)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # whatever it is: nobody else would begin it again
                self._report(error)
                await self._clock.sleep(SUBSCRIBE_RETRY)

    def _report(self, error: Exception) -> None:
        said = str(error) or type(error).__name__
        if isinstance(error, asyncio.TimeoutError):
            said = say("no answer within {seconds:g} s", seconds=self._live.now.timeouts.moonraker)
        text = say(
            "Klipper's status could not be subscribed to, so the hub cannot be told what the"
            " printer does; it is tried again every {seconds:g} s: {said}",
            seconds=SUBSCRIBE_RETRY,
            said=said,
        )
        if not isinstance(error, (asyncio.TimeoutError, self._server.error)):
            self._notices.log_fault("subscription", "Subscribing at Klippy failed", error)
        self._failures += 1
        if self._failures >= TOLD_AFTER:
            self._notices.show("subscription", text)
            self._told.doubt(text)
        else:
            self._notices.log_once(f"subscription: {said}", text)

    async def _make(self, generation: int) -> None:
        apis = self._server.lookup_component("klippy_apis")
        available = await self._answer(apis.get_object_list())
        asked = await self._answer(
            apis.query_objects(
                {
                    "configfile": ["settings"],
                    "heaters": None,
                    "toolhead": ["estimated_print_time"],
                }
            )
        )
        machine = read_machine(available, as_dict(asked), self._live.now.printer.part_fan)
        wanted = subscription(available, machine)
        for action in self._live.now.actions.values():
            if action.confirmation is not None and action.confirmation.object in available:
                wanted[action.confirmation.object] = None
        if generation != self._generation:
            return
        self._wanted = wanted
        early: List[Objects] = []
        self._early = early
        self.asked = self._clock.monotonic()
        try:
            status = await self._answer(
                moonraker_compat.subscribe(self._server, wanted, self._subscriber)
            )
        except asyncio.TimeoutError:
            answers = await self._ask_each()
            if not answers or generation != self._generation:
                raise
            self._begin_without(answers, machine)
            return
        if generation != self._generation:
            return
        self._early = None
        self._made = True
        self._lost = set()
        self._failures = 0
        self._heard = self._clock.monotonic()
        self._notices.clear("subscription", "Klipper's status is subscribed to again.")
        self._take_back()
        self._told.begun(status, machine)
        for diff in early:
            self._told.changed(diff)

    def _begin_without(self, answers: Dict[str, Any], machine: Machine) -> None:
        """Klippy answers, but not for all that was asked: go on with what there is."""
        self._early = None
        self._failures = 0
        self._made = False
        self._made_not_at = self._heard = self._clock.monotonic() - RESTING_AFTER
        self._told.begun({name: answers.get(name) or {} for name in self._wanted}, machine)
        self._take(answers)

    async def _answer(self, question: Awaitable[T]) -> T:
        """Klippy's answer, within `timeouts.moonraker` seconds."""
        return await asyncio.wait_for(question, self._live.now.timeouts.moonraker)

    def _on_diff(self, diff: Objects, _eventtime: float) -> None:
        """Take one of Klippy's diffs. Called in the middle of Moonraker's own work with it, which
        an exception would end.
        """
        self._heard = self._clock.monotonic()
        if not diff:
            return  # it was of what others subscribed to
        if self._early is not None:
            self._early.append(diff)
        try:
            self._told.changed({name: diff[name] for name in diff if name not in self._lost})
        except Exception as error:
            self._notices.log_fault("diff", "A status of Klippy's could not be read", error)

    # Silence

    async def _watch(self, generation: int) -> None:
        """Return when there was silence and is none any more: what was missed is asked for anew."""
        while generation == self._generation:
            if not self._made and self._heard != self._made_not_at:
                return  # it speaks again, but not of all that is wanted
            silent_after = RESTING_AFTER if self._told.at_rest() else SILENT_AFTER
            left = self._heard + silent_after - self._clock.monotonic()
            if left > 0:
                await self._clock.sleep(left)
            elif not await self._is_well(generation):
                await self._ask_while_silent(generation)
                return

    async def _is_well(self, generation: int) -> bool:
        """Whether Klippy is silent because there is nothing to tell."""
        heard = self._heard
        status = await self._query(set(self._wanted))
        if self._heard != heard:
            return True  # it speaks, and what it says may be newer than that answer
        if status is None or generation != self._generation:
            return False
        if not self._told.known(status):
            self._told.changed(status)
            await self._clock.sleep(ON_ITS_WAY)
            if self._heard == heard:
                return False
        self._heard = max(self._heard, self._clock.monotonic())
        return True

    async def _ask_while_silent(self, generation: int) -> None:
        """Ask in place of listening, until messages come again or everything answers."""
        since = self._heard
        mute: Optional[Set[str]] = None  # objects without an answer; None: not known
        looked = 0.0
        while generation == self._generation and self._heard == since:
            now = self._clock.monotonic()
            if mute is None or now - looked >= LOOK_AGAIN:
                looked = now
                answers = await self._ask_each()
                if generation != self._generation:
                    return
                if self._heard != since:
                    break  # it speaks again
                mute = self._take(answers)
                if answers and not mute:
                    break  # all answer: only the subscription was lost
            elif await self._ask(set(self._wanted) - mute) is None:
                mute = None
                continue
            await self._clock.sleep(POLL_EVERY)
        if generation == self._generation:
            self._said_mended()

    async def _ask_each(self) -> Dict[str, Any]:
        """Ask for each object by itself; the answers, {} if Klippy answers nothing at all."""
        if await self._ask({"webhooks"}) is None:
            return {}
        names = sorted(self._wanted)
        found = await asyncio.gather(*(self._ask({name}) for name in names))
        return {name: answer.get(name) for name, answer in zip(names, found) if answer is not None}

    def _take(self, answers: Dict[str, Any]) -> Optional[Set[str]]:
        """Tell what `_ask_each` found; the objects that did not answer, None if none did."""
        if not answers:
            if self._clock.monotonic() - self._heard >= TOLD_SILENT_AFTER:
                self._say_silent()
            return None
        self._told.doubt("")
        self._notices.clear("klippy_silent", "Klippy answers again.")
        self._lost = mute = set(self._wanted) - set(answers)
        if mute:
            self._told.lost(mute)
            self._say_mute(mute)
        return mute

    def _said_mended(self) -> None:
        self._told.doubt("")
        self._take_back()

    def _take_back(self) -> None:
        self._notices.clear("klippy_silent", "Klippy answers again.")
        self._notices.clear("klippy_nan", "Klipper's status comes through again.")

    async def _ask(self, names: Set[str]) -> Optional[Dict[str, Any]]:
        """Ask Klippy for these objects, and pass its answer on, unless news has overtaken it; None
        if there is none.
        """
        heard = self._heard
        status = await self._query(names)
        if status is not None and self._heard == heard:
            self._told.changed(status)
        return status

    async def _query(self, names: Set[str]) -> Optional[Dict[str, Any]]:
        apis = self._server.lookup_component("klippy_apis")
        wanted = {name: self._wanted.get(name) for name in names}
        try:
            answer = await asyncio.wait_for(apis.query_objects(wanted), ANSWER_WITHIN)
        except (asyncio.TimeoutError, self._server.error):
            return None
        return as_dict(answer)

    def _say_silent(self) -> None:
        seconds = self._clock.monotonic() - self._heard
        text = say(
            "Klippy has sent nothing and answered nothing for more than {seconds:.0f} s: what is"
            " known of the printer is old. If it does not come back by itself, restart Klipper, and"
            " use the switch if the printer is hot.",
            seconds=max(at for at in TOLD_AGAIN_AT if at <= max(seconds, SILENT_AFTER)),
        )
        self._notices.show("klippy_silent", text)
        self._told.doubt(text)

    def _say_mute(self, mute: Set[str]) -> None:
        names = ", ".join(sorted(mute))
        self._notices.show(
            "klippy_nan",
            "Klipper's messages do not get through Moonraker: {names} gives something that is"
            " no number (NaN), and Moonraker with its speed-ups throws away every message that"
            " holds one. Check that sensor, or take it out of printer.cfg. All other values"
            " are asked for once a second meanwhile.",
            names=names,
        )
