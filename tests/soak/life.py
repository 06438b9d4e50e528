"""What goes on in a lab, and what goes wrong there: at random, from a seed.

`Life.live(hours)` goes on from where it was: commands are queued all the time, jobs are printed and
cancelled, Klippy is restarted and killed, the settings are saved, and the hub and the cameras
misbehave for minutes at a time. It writes down what must have come of it.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from typing import Any

from tests.rig.faults import FaultServer
from tests.rig.klippy import KlippyError
from tests.rig.moonraker import MoonrakerError
from tests.soak.house import HOUR, MIB, House

JOBS = 6  # files
CONSOLE = 1000  # lines that Moonraker keeps (data_store.py)
TICK = 0.1  # true seconds between two looks at what is due

# Modes that answer before the hub has heard of the request: right for any endpoint.
_EARLY: list[tuple[str, dict[str, Any]]] = [
    ("hang", {}),
    ("html", {}),
    ("empty", {}),
    ("status", {}),
    ("busy", {"retry_after": "30"}),
    ("busy", {"retry_after": "120", "code": 503}),
    ("redirect", {"to": "http://127.0.0.1:1/"}),
    ("close", {}),
    ("reset", {}),
    ("garbage", {}),
    ("huge", {"size": 4 << 20}),
    ("gzip_bomb", {"size": 8 << 20}),
]
# These damage a reply of a hub that has done its work: the commands in it would be gone.
_LATE: list[tuple[str, dict[str, Any]]] = [
    ("hang_body", {}),
    ("cut", {}),
    ("truncated", {}),
    ("drip", {"size": 40, "interval": 0.01}),
    ("close", {"after": True}),
    ("status", {"after": True}),
]
_CAMERA: list[tuple[str, dict[str, Any]]] = [
    ("hang", {}),
    ("hang_body", {}),
    ("status", {"code": 404}),
    ("html", {}),
    ("empty", {}),
    ("reset", {}),
    ("cut", {}),
    ("truncated", {}),
    ("big", {"size": 12 << 20}),
    ("multipart", {}),
    ("png", {}),
    ("black", {}),
    ("frozen", {}),
]
_COMMANDS: list[tuple[str, dict[str, Any]]] = [
    ("set_speed", {"speed": 110}),
    ("set_speed", {"speed": 100}),
    ("set_flow", {"flow": "95"}),
    ("set_fan", {"speed": 128}),
    ("fan_off", {}),
    ("toggle_fan", {}),
    ("heat", {"hotend_temp": 45}),
    ("heat", {"bed_temp": 35}),
    ("cool_down", {}),
    ("pause", {}),
    ("resume", {}),
    ("snapshot", {}),
    ("gcode", {"gcode": "M117 hola\nM220 S100"}),
    ("macro", {"macro_name": "FAILING_MACRO"}),
    ("macro", {"macro_name": "NO_SUCH_MACRO"}),
    ("gcode", {"gcode": "SAVE_CONFIG"}),
    ("set_speed", {"speed": 10_000}),
    ("no_such_action", {}),
]
_SETTINGS = [
    '{"printer_name": "Aula 3"}',
    '{"intervals": {"status_update": 20}, "camera": {"capture_interval": 45}}',
    '{"logging": {"verbose": false}, "no_such_option": 1}',
    '{"intervals": {"status_update": "mucho"}}',
    "{ this is no JSON",
    "",
]

Deed = Callable[[], None]


class Life:
    """See the module. `queued` are the ids of all commands; `counted` those of the macro COUNT."""

    def __init__(self, house: House, seed: int) -> None:
        self.house = house
        self.rng = random.Random(seed)
        self.queued: list[Any] = []
        self.counted: list[Any] = []
        self.done: dict[str, int] = {}  # how often, by name: proof that something went on
        self._job = 0
        now = house.now()
        #: What, how often (s on average), when next.
        self._plan: list[list[Any]] = [
            [self._hub_fault, 8 * 60.0, now],
            [self._camera_fault, 15 * 60.0, now],
            [self._command, 2 * 60.0, now],
            [self._count, 5 * 60.0, now],
            [self._print, 12 * 60.0, now],
            [self._cancel, 45 * 60.0, now],
            [self._restart, 90 * 60.0, now + HOUR / 4],
            [self._kill, 4 * HOUR, now + HOUR / 2],
            [self._settings, 25 * 60.0, now],
        ]
        self._mending: list[tuple[float, Deed]] = []

    def prepare(self) -> None:
        """The files to print; and Moonraker's memory of the console filled to its bound."""
        self.house.klippy.gcode("M118 hola\n" * CONSOLE, 60)
        for number in range(JOBS):
            text = f"COUNT NAME=jobs\nG4 P{300 + 200 * number}\nM400\n"
            self.house.put(f"soak_{number}.gcode", text)

    def live(self, hours: float, *, tell: Callable[[str], None] | None = None) -> None:
        """For that long, with faults of every kind; `tell` gets a line an hour."""
        house = self.house
        end = house.now() + hours * HOUR
        hour, told = 0, house.now()
        while house.now() < end:
            now = house.now()
            for row in self._plan:
                deed, every, at = row
                if now >= at:
                    row[2] = now + self.rng.uniform(0.3, 1.7) * every
                    self._do(deed)
            for at, mend in list(self._mending):
                if now >= at:
                    self._mending.remove((at, mend))
                    mend()
            if now - told >= HOUR:
                hour, told = hour + 1, told + HOUR
                house.faults.clear()
                if tell is not None:
                    tell(self._line(hour))
            time.sleep(TICK)
        for _, mend in self._mending:
            mend()
        self._mending.clear()

    def _line(self, hour: int) -> str:
        memory = self.house.weight(self.house.moonraker)
        bare = self.house.weight(self.house.bare)["resident"] / MIB
        return (
            f"  hour {hour}: {memory['resident'] / MIB:.2f} MiB (bare {bare:.2f}), "
            f"{memory['objects']:,} objects, {memory['blocks']:,} blocks, "
            f"{self.done.get('command', 0)} commands, {self.done.get('hub_fault', 0)} faults of "
            f"the hub, {self.done.get('print', 0)} prints"
        )

    def _do(self, deed: Deed) -> None:
        name = deed.__name__.strip("_")
        self.done[name] = self.done.get(name, 0) + 1
        # What a person does at the printer may fail while Klippy is away.
        with contextlib.suppress(KlippyError, MoonrakerError, OSError):
            deed()

    def _later(self, deed: Deed, low: float, high: float) -> None:
        self._mending.append((self.house.now() + self.rng.uniform(low, high), deed))

    # -- what goes wrong -----------------------------------------------------------------------

    def _hub_fault(self) -> None:
        faults = self.house.faults
        kind = self.rng.random()
        if kind < 0.2:
            faults.refuse()
            self._later(faults.listen, 60.0, 1200.0)
            return
        if kind < 0.5:
            mode, params = self.rng.choice(_LATE)
            target = self.rng.choice(("upload_image", "/api.php"))
            self._misbehave(faults, mode, "upload_image" if mode == "drip" else target, params)
        else:
            mode, params = self.rng.choice(_EARLY)
            self._misbehave(faults, mode, self.rng.choice(("", "get_commands", "/api.php")), params)
        self._later(faults.clear_behaviour, 30.0, 360.0)

    @staticmethod
    def _misbehave(faults: FaultServer, mode: str, target: str, params: dict[str, Any]) -> None:
        faults.clear_behaviour()
        faults.behave(mode, target, **params)

    def _camera_fault(self) -> None:
        server = self.rng.choice(self.house.camera_servers)
        mode, params = self.rng.choice(_CAMERA)
        server[0].behave(mode, **params)
        self._later(server.clear_behaviour, 120.0, 900.0)

    def _restart(self) -> None:
        script = self.rng.choice(("FIRMWARE_RESTART", "RESTART"))
        with contextlib.suppress(KlippyError, OSError):
            self.house.klippy.gcode(script, 10)
        self._klippy_back()

    def _kill(self) -> None:
        self.house.klippy.kill()
        self.house.calm()
        self._klippy_back()

    def _klippy_back(self) -> None:
        self.house.klippy.wait_restarted()
        self.house.moonraker.wait_klippy(timeout=60)

    # -- what goes on --------------------------------------------------------------------------

    def _queue(self, action: str, **params: Any) -> Any:
        stamp = int(self.house.hazards.time())
        command = self.house.hub.queue(self.house.token, action, timestamp=stamp, **params)
        self.queued.append(command)
        return command

    def _command(self) -> None:
        action, params = self.rng.choice(_COMMANDS)
        self._queue(action, **params)

    def _count(self) -> None:
        params = {"macro_name": "COUNT", "params": {"NAME": "soak"}}
        self.counted.append(self._queue("macro", **params))

    def print_one(self) -> None:
        """As a person at the printer does."""
        self._job = (self._job + 1) % JOBS
        self.house.print(f"soak_{self._job}.gcode")

    def _print(self) -> None:
        if self.house.klippy.state() != "ready" or self.house.busy():
            return
        self._job = (self._job + 1) % JOBS
        name = f"soak_{self._job}.gcode"
        if self.rng.random() < 0.5:
            self.house.print(name)
        else:
            self._queue("print_local", file=name)

    def _cancel(self) -> None:
        self._print()
        self._queue("cancel")

    def _settings(self) -> None:
        self.house.configure_live(self.rng.choice(_SETTINGS))


# -- what must have come of it -----------------------------------------------------------------


def lost_commands(life: Life) -> list[str]:
    """Those with no result at the hub, or with more than one; each with what there is of it."""
    house = life.house
    results: dict[str, list[str]] = {}
    for result in house.hub.results(house.token):
        if result.status in ("received", "running"):
            continue  # no end
        results.setdefault(str(result.id), []).append(f"{result.status}: {result.message}")
    wrong = []
    for command in map(str, life.queued):
        found = results.get(command, [])
        if len(found) != 1 and (found or command not in house.faults.doubtful):
            wrong.append(f"{command}: {found or _trail(house, command)}")
    return wrong


def _trail(house: House, command: str) -> str:
    """How far a command without a result has come."""
    delivered = [d for d in house.hub.delivered(house.token) if d.command.get("id") == command]
    known = house.moonraker.get("/server/tecmedhub/commands", limit=200)["commands"]
    rows = [row for row in known if command in str(row)]
    return f"no result; handed out: {delivered}; in the plugin's ledger: {rows}"


def check_counts(life: Life) -> None:
    """The printer has run each counted command once, as its result says."""
    house = life.house
    words: dict[str, int] = {}
    for command in life.counted:
        result = house.hub.result(house.token, command)
        word = result.status if result else "lost"
        words[word] = words.get(word, 0) + 1
    ran, done = house.klippy.count("soak"), words.get("done", 0)
    unsure = words.get("failed", 0) + words.get("interrupted", 0)
    assert done <= ran <= done + unsure, (ran, words)
    assert done >= 1, words


def unknown_jobs(life: Life) -> list[str]:
    """The ended jobs of Moonraker's history of which the hub does not know the end."""
    house = life.house
    jobs = house.moonraker.get("/server/history/list", limit=10_000)["jobs"]
    told: dict[str, str] = {}
    nameless: list[tuple[str, str]] = []  # over before Moonraker gave them a number
    for event in house.hub.events(house.token):
        if event.body["kind"] == "job_record":
            data = event.body["data"]
            if data.get("job_id"):
                told[str(data["job_id"])] = str(data.get("status"))
            else:
                nameless.append((str(data.get("filename")), str(data.get("status"))))
    unknown = []
    heard = [event.body for event in house.hub.events(house.token)]
    for job in jobs:
        if job["status"] == "in_progress" or job["job_id"] in told:
            continue
        same = next((one for one in nameless if one[0] == job["filename"]), None)
        if same is not None:
            nameless.remove(same)
            continue
        of_it = [b for b in heard if (b.get("data") or {}).get("filename") == job["filename"]]
        unknown.append(
            f"{job['job_id']}: {job['status']}, told {told.get(job['job_id'])}; {job}; {of_it}"
        )
    return unknown


def missing_numbers(life: Life) -> list[int]:
    """Gaps in the numbers of the events that the hub has."""
    house = life.house
    seen = sorted(int(event.body["seq"]) for event in house.hub.events(house.token))
    return sorted(set(range(seen[0], seen[-1] + 1)).difference(seen))


__all__ = ["JOBS", "Life", "check_counts", "lost_commands", "missing_numbers", "unknown_jobs"]
