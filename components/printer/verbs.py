"""What Klippy and Moonraker can be told to do; each verb raises `PrinterError`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, NamedTuple, Tuple

from ..runtime.loose import as_dict, as_text
from ..runtime.messages import say
from .console import plain_words

if TYPE_CHECKING:
    from ..runtime.clock import Clock
    from .snapshot import Snapshot

ENDED = "Klippy Disconnected"  # Moonraker's answer to whatever was asked when Klippy ended
FENCE = ""  # an empty script: Klippy answers it when those before it are over
LONGEST_MESSAGE = 1000  # characters of Klippy's message; printer.cfg errors run to some hundred


class PrinterError(Exception):
    """What Klippy or Moonraker said when it refused, in its own words."""


class KlippyEnded(PrinterError):
    """Klippy went away before it answered: whether it did what it was asked, nobody knows."""


class JobQueue(NamedTuple):
    """Moonraker's job queue."""

    state: str = "paused"  # Moonraker's word: ready | loading | starting | paused
    waiting: int = 0
    automatic: bool = False  # [job_queue] automatic_transition: it goes on by itself


class Verbs:
    """Through Moonraker's components."""

    def __init__(self, server: Any, clock: Clock) -> None:
        self._server = server
        self._clock = clock
        self.pause_asked = float("-inf")  # monotonic, of the hub's last pause

    @property
    def snapshot(self) -> Snapshot:
        raise NotImplementedError

    async def fence(self) -> None:
        """Return when Klippy has done all that it was given before: scripts wait for each other
        there, and an empty one for those before it.
        """
        await self._ask("run_gcode", FENCE)

    @property
    def script_asked(self) -> bool:
        """Whether a script that any client of Moonraker's has sent is not answered yet."""
        connection = self._server.lookup_component("klippy_connection")
        return any(
            as_text(getattr(request, "rpc_method", "")).startswith(("gcode/", "pause_resume/"))
            and as_dict(getattr(request, "params", None)).get("script") != FENCE
            for request in list(getattr(connection, "pending_requests", {}).values())
        )

    @property
    def job_queue(self) -> JobQueue:
        queue = self._server.lookup_component("job_queue")
        return JobQueue(
            as_text(getattr(queue, "queue_state", "")),
            len(getattr(queue, "queued_jobs", ())),
            bool(getattr(queue, "automatic", False)),
        )

    async def gcode(self, script: str) -> None:
        """Run a script; returns when Klippy has finished it, however long that takes."""
        await self._ask("run_gcode", script)

    async def save_config(self, script: str) -> None:
        """Run a script, then keep what it changed in printer.cfg, for which Klippy restarts: as
        one, so that nobody's print comes between.
        """
        try:
            await self.gcode(f"{script}\nSAVE_CONFIG")
        except KlippyEnded:
            pass  # it restarts: that is how it answers

    async def emergency_stop(self) -> None:
        """Stop at once, past every queue, through Klippy's own endpoint (never M112, which would
        wait its turn).
        """
        await self._ask("emergency_stop")

    async def pause(self) -> None:
        self.pause_asked = self._clock.monotonic()
        await self._ask("pause_print")

    async def resume(self) -> None:
        await self._ask("resume_print")

    async def cancel(self) -> None:
        await self._ask("cancel_print")

    async def firmware_restart(self) -> None:
        await self._ask("do_restart", "FIRMWARE_RESTART")

    async def restart(self) -> None:
        """Klippy's host part anew, without the board."""
        await self._ask("do_restart", "RESTART")

    async def start_print(self, filename: str) -> None:
        """Start a file of the gcodes root; its name has been checked, since Klippy's call escapes
        only quotes.
        """
        if any(ord(c) < 32 or c == '"' for c in filename):
            raise PrinterError(
                say("The name {name!r} cannot be printed: rename the file.", name=filename)
            )
        await self._ask("start_print", filename)

    async def queue_print(self, filename: str, start: bool) -> JobQueue:
        """Put a file into Moonraker's job queue, and start that if asked to; what it is then."""
        queue = self._server.lookup_component("job_queue")
        with self._refusing():
            await queue.queue_job(filename)
            if start:
                await queue.start_queue()
        return self.job_queue

    @property
    def power_devices(self) -> List[str]:
        """The names of Moonraker's [power] devices."""
        return sorted(self._devices)

    @property
    def power_feeds(self) -> Dict[str, bool]:
        """Of each of Moonraker's [power] devices, whether it is the printer's own."""
        return {name: _feeds_printer(name, device) for name, device in self._devices.items()}

    @property
    def switched_off(self) -> str:
        """The device of Moonraker's [power] that feeds this printer and is off; "" if none is."""
        for name, device in self._devices.items():
            if _feeds_printer(name, device) and getattr(device, "state", "") == "off":
                return name
        return ""

    async def power_off(self, name: str) -> None:
        """Switch a device of Moonraker's [power] off, also while it is locked by a print."""
        await self._switch(name, "off", force=True)

    async def power(self, name: str, on: bool) -> str:
        """Switch a device of Moonraker's [power]; never off, in a job, what feeds this printer."""
        if not on and self.power_feeds.get(name) and self.snapshot.busy:
            raise PrinterError(
                say("[power {name}] feeds the printer, and a job is not over.", name=name)
            )
        state = "on" if on else "off"
        await self._switch(name, state)
        return say("{device} is {state}", device=name, state=state)

    @property
    def _devices(self) -> Dict[str, Any]:
        power = self._server.lookup_component("power", None)
        return {str(name): one for name, one in dict(getattr(power, "devices", {})).items()}

    async def _switch(self, name: str, wanted: str, **how: bool) -> None:
        device = self._devices.get(name)
        if device is None:
            known = ", ".join(self.power_devices) or say("none")
            raise PrinterError(
                say("Moonraker has no [power {name}]: it has {known}.", name=name, known=known)
            )
        with self._refusing():
            state = await device.process_request(wanted, **how)
        if state != wanted:
            raise PrinterError(say("[power {name}] is {state}", name=name, state=state))

    async def queue(self, verb: str, job: str = "") -> str:
        """`start`, `pause`, `clear` Moonraker's job queue, or `remove` a job of it (its id or its
        file); what it is then."""
        queue = self._server.lookup_component("job_queue")
        begins = _starting(queue)
        with self._refusing():
            if verb == "start":
                await queue.start_queue()
                if self.job_queue.state == "paused":
                    raise PrinterError(say("Moonraker has not started the job queue"))
            elif verb == "pause":
                await queue.pause_queue()
            elif verb == "clear":
                await queue.delete_job([], all=True)
            else:
                await queue.delete_job([_entry(queue, job)])
        now = self.job_queue
        told = say(
            "the job queue is {state}, {count} jobs wait", state=now.state, count=now.waiting
        )
        if not begins or verb not in ("pause", "clear"):
            return told
        return say(
            "{told}; {file} was just being started: send cancel if it prints and shall not",
            told=told,
            file=begins[1],
        )

    async def machine(self, action: str) -> None:
        """`reboot` or `shutdown` of the computer, which refuses where it cannot (containers)."""
        transport = self._server.lookup_component("internal_transport")
        with self._refusing():
            await transport.call_method(f"machine.{action}")

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        """What Moonraker refuses is told as it says it."""
        try:
            yield
        except self._server.error as error:
            raise PrinterError(str(error)) from None

    async def _ask(self, method: str, *args: Any) -> None:
        apis = self._server.lookup_component("klippy_apis")
        try:
            await getattr(apis, method)(*args)
        except self._server.error as error:
            said = plain_words(" ".join(str(error).split()))[:LONGEST_MESSAGE]
            raise (KlippyEnded if said == ENDED else PrinterError)(said) from None


def _entry(queue: Any, job: str) -> str:
    """The id of the entry that `job` names, by its id or its file: of several the first that can
    still be taken out. Raises `PrinterError`."""
    waiting = dict(getattr(queue, "queued_jobs", {}))
    named = [job] if job in waiting else [id_ for id_, one in waiting.items() if str(one) == job]
    if not named:
        raise PrinterError(say("{job} is not in the job queue", job=job))
    left = [id_ for id_ in named if id_ not in _starting(queue)[:1]]
    if not left:
        raise PrinterError(say("{job} is just being started: send cancel when it prints", job=job))
    return left[0]


def _starting(queue: Any) -> Tuple[str, ...]:
    """(id, file) of the first entry while Moonraker starts it: it holds the queue meanwhile, and
    does not ask again whether the entry is still there. () while it does not.
    """
    waiting = dict(getattr(queue, "queued_jobs", {}))
    lock = getattr(queue, "lock", None)
    if not waiting or lock is None or not lock.locked():
        return ()
    first = next(iter(waiting))
    return first, as_text(str(waiting[first]))


def _feeds_printer(name: str, device: Any) -> bool:
    """Whether a device of Moonraker's [power] is the printer's own."""
    services = [str(one).lower() for one in getattr(device, "bound_services", ())]
    return name.lower() == "printer" or any(one.startswith("klipper") for one in services)
