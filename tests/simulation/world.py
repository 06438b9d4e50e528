"""Builds the world of a story, lets it happen, and tells what was seen.

A story ends well: everybody is mended, the hub asks one last thing, and two quiet minutes are left
in which whatever was promised must have come about.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import json
import logging
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from components.runtime import steps
from components.store.downloads import SCHEMA as DOWNLOADS

from .hub import TOKEN, Asked, Hub
from .klippy import Klippy
from .klippy_gcode import Habits
from .loop import Process, Spinning, VirtualLoop
from .machine import EPOCH, Machine
from .moonraker import Moonraker, write_file
from .story import LENGTH, MACROS, OWN, Happening, Story, files_of
from .witness import Fact, Witness

MEND_FOR = 20.0  # virtual seconds
QUIET_FOR = 100.0
LAST_FOR = 45.0
ROOT = "/dev/shm" if Path("/dev/shm").is_dir() else None
SETTINGS = "tecmedhub.json"


class Seen(NamedTuple):
    """All that the invariants look at."""

    story: Story
    facts: list[Fact]
    asked: list[Asked]
    probe: Asked
    ended: float
    last_status: float


class World:
    def __init__(self, story: Story, folder: Path) -> None:
        self.story = story
        self.loop = VirtualLoop()
        asyncio.set_event_loop(self.loop)
        house = story.house

        def chance(name: str) -> random.Random:
            return random.Random(f"{name} {story.seed}")

        self.witness = Witness(self.loop)
        self.folder = folder
        for name in ("gcodes", "config", "logs"):
            (folder / name).mkdir()
        self.machine = Machine(self.loop, chance("disk"), folder)
        self.machine.disk.track = any(h.kind == "power" for h in story.happenings)
        habits = Habits(
            home=house["home"],
            pause=house["pause"],
            cancel=house["cancel"],
            restart=house["restart"],
            macros={**MACROS, "PRINT_IT": [f'SDCARD_PRINT_FILE FILENAME="{house["print_it"]}"']},
        )
        self.klippy = Klippy(self.loop, chance("klippy"), self.witness, habits)
        self.klippy.files = files_of(story)
        self.klippy.gcodes = str(folder / "gcodes")
        self.klippy.on_disk = lambda name: (folder / "gcodes" / name).is_file()
        self.hub = Hub(
            self.loop,
            chance("hub"),
            self.witness,
            house["generation"],
            house["features"],
            house["skew"],
        )
        self.hub.weather.delay = house["delay"]
        self._lay_files()
        self.saved: dict[str, Any] = {"actions": OWN}  # what tecmedhub.json says
        write_file(folder / "config" / SETTINGS, json.dumps(self.saved), EPOCH - 1000)
        self.moonraker = Moonraker(
            self.loop,
            self.machine,
            self.klippy,
            self.witness,
            folder,
            {
                "server_url": self.hub.url,
                "printer_token": TOKEN,
                "printer_name": "Sim",
                "logging_level": "CRITICAL",  # no line, no thread that writes it
                "camera_enabled": "False",
                "intervals_status_update": str(house["status_every"]),
                "intervals_command_check": str(house["check_every"]),
                "intervals_command_check_active": str(min(house["check_every"], 3)),
                "security_require_clear_bed": str(house["require_clear_bed"]),
                "security_allowed_pins": "lamp, strip",
                "security_allowed_power_devices": "*",
            },
            chance("plugin"),
            self.hub,
        )
        if house["power_device"]:
            self.moonraker.options["security_emergency_power_device"] = "printer"
        self.machine.outlet.works = house["power_device"] != "broken"
        self.machine.outlet.on_off = self._power_off
        self.moonraker.queue_options["automatic_transition"] = house["automatic_queue"]
        self.moonraker.spoolman = house.get("spoolman", 0.0)
        self._patience = chance("people")
        self._mended = False  # nothing happens any more but by everybody's wish
        self.probe = Asked(999, "set_flow", {"flow": 124.5}, False)

    def _lay_files(self) -> None:
        for name in self.klippy.files:
            text = f"; {name}\nG28\n"
            write_file(self.folder / "gcodes" / name, text, EPOCH - 1000)
            sums = hashlib.md5(text.encode()).hexdigest()
            self.hub.listing.append(
                {"name": name, "size_bytes": len(text), "md5": sums, "exists": True}
            )
        self._lie_there = {path.name for path in (self.folder / "gcodes").iterdir()}
        self.machine.disk.after_work = self._look_at_files
        fetched = self.story.house.get("fetched", ())
        if fetched:
            self._record(fetched)

    def _record(self, names: Iterable[str]) -> None:
        """These files came from the hub, in a run before this story."""
        (self.folder / "tecmedhub").mkdir()
        path = str(self.folder / "tecmedhub" / "tecmedhub.db")
        database = self.machine.disk.connect(path, isolation_level=None)
        database.executescript(DOWNLOADS)
        database.execute("PRAGMA synchronous=FULL")
        database.execute("BEGIN")
        for name in names:
            file = self.folder / "gcodes" / name
            stat, sums = file.stat(), hashlib.md5(file.read_bytes()).hexdigest()
            database.execute(
                "INSERT INTO downloads (name, hub_name, source, command_id, state, path, size, md5,"
                " disk_size, disk_mtime_ns, started, finished)"
                " VALUES (?, ?, 'hub', '', 'done', ?, ?, ?, ?, ?, ?, ?)",
                (
                    name,
                    name,
                    name,
                    stat.st_size,
                    sums,
                    stat.st_size,
                    stat.st_mtime_ns,
                    EPOCH,
                    EPOCH,
                ),
            )
        database.execute("COMMIT")
        database.close()

    def _look_at_files(self) -> None:
        now = {path.name for path in (self.folder / "gcodes").iterdir()}
        for name in sorted(self._lie_there - now):
            self.witness.note("machine", "file gone", file=name)
        for name in sorted(now - self._lie_there):
            self.witness.note("machine", "file back", file=name)
        self._lie_there = now

    def run(self) -> Seen:
        task = self.loop.create_task(self._tell(), context=Process("world").context)
        try:
            self.loop.run_until_complete(task)
        except Spinning as error:
            self.witness.note("moonraker", "fault", text="The event loop is held", error=str(error))
        finally:
            self.moonraker.kill()
            self.klippy.crash(None)
            logging.disable(logging.CRITICAL)  # of what is said while coroutines are torn down
            self.loop.bury()
            logging.disable(logging.NOTSET)
            asyncio.set_event_loop(None)
        if self.loop.mistake is not None:
            raise self.loop.mistake
        return Seen(
            self.story,
            self.witness.facts,
            self.hub.asked,
            self.probe,
            self.loop.time(),
            self.hub.last_status,
        )

    async def _tell(self) -> None:
        self.loop.call_later(self.story.house["moonraker_after"], self.moonraker.start)
        self.klippy.on_shutdown = self._attend
        self.klippy.on_ready = self._power_on
        for happening in self.story.happenings:
            await self._until(happening.at)
            self._let(happening)
        await self._until(max(LENGTH, self.loop.time()))
        await self._mend()
        await asyncio.sleep(QUIET_FOR)
        self.hub.ask([self.probe])
        await asyncio.sleep(LAST_FOR)

    async def _until(self, at: float) -> None:
        if at > self.loop.time():
            await asyncio.sleep(at - self.loop.time())

    def _power_on(self) -> None:
        """Somebody has, where Klippy finds its board."""
        self.machine.outlet.state = "on"

    def _power_off(self) -> None:
        self.witness.note("machine", "power off")
        self.loop.call_later(
            1.0, lambda: self.klippy.shut_down("Lost communication with MCU 'mcu'")
        )

    def _attend(self) -> None:
        """Somebody sees that the printer has stopped, and presses the button."""
        after = self.story.house["attended"] * self._patience.uniform(0.5, 1.5)
        if self._mended:  # the hub may have kept a stop until now
            after = min(after, 5.0)

        def press() -> None:
            self.machine.outlet.state = "on"
            if self.klippy.state == "shutdown":
                self.klippy.person("FIRMWARE_RESTART")

        self.loop.call_later(after, press)

    def _let(self, happening: Happening) -> None:
        def deed() -> None:
            if not self._mended:
                DEEDS[happening.kind](self, **happening.args)

        if happening.on is None:
            deed()
            return
        who, what, after = happening.on
        context = contextvars.copy_context()  # the world's: what is waited for is somebody else's
        off = self.witness.when(
            who, what, lambda: self.loop.call_later(after, deed, context=context)
        )
        self.loop.call_later(60.0, off)

    async def _mend(self) -> None:
        self.witness.note("people", "mend everything")
        self._mended = True
        self.hub.turn("fair", 0.0)
        self.machine.disk.mend()
        self.machine.outlet.state = "on"
        self.klippy.wake(False)
        self.moonraker.start()
        self.klippy._start_if_off()
        self._save({})
        await asyncio.sleep(MEND_FOR / 2)
        if self.klippy.state != "ready":
            self.klippy.person("FIRMWARE_RESTART")
        await asyncio.sleep(MEND_FOR / 2)
        self.klippy.person("ABORT\nSDCARD_RESET_FILE\nCLEAR_PAUSE\nTURN_OFF_HEATERS")
        self.request("/server/tecmedhub/remote_on")
        self.request("/server/tecmedhub/bed_clear")

    # Deeds

    def request(self, path: str, kind: str = "POST", note: str = "", **args: Any) -> None:
        """A person at Mainsail."""
        server = self.moonraker.server
        if server is None or not server.running:
            return

        async def ask() -> None:
            try:
                reply = await server.request(path, kind, **args)
            except Exception as error:
                self.witness.note("people", "was refused", path=path, error=repr(error))
                return
            # An answer that it may be undone is one as well; whether it is, nobody promised.
            doubtful = "disk has not stored" in (reply or {}).get("message", "")
            self.witness.note(
                "people",
                note or path.rpartition("/")[2],
                **({"doubtful": True} if doubtful else {}),
            )

        self.loop.create_task(ask(), context=server.process.context.copy())

    def ask(self, commands: list[Any], age: float = 0.0, stamp: bool = True) -> None:
        asked = [Asked(n, action, params, confirm) for n, action, params, confirm in commands]
        self.hub.ask(asked, age, stamp)

    def person(self, script: str) -> None:
        self.klippy.person(script)

    def queue_up(self, files: list[str]) -> None:
        self.request("/server/job_queue/job", note="queue up", filenames=files)

    def choose_spool(self, spool: int) -> None:
        if self.story.house.get("spoolman"):
            self.request("/server/spoolman/spool_id", note="choose a spool", spool_id=spool)

    def save_file(self, file: str) -> None:
        """Somebody's slicer sends a file of the same name, if it is there."""
        path = self.folder / "gcodes" / file
        if path.is_file():
            path.unlink()
            write_file(path, f"; mine, {file}\nG28\n", self.machine.wall())
            self.witness.note("people", "save a file", file=file)

    def save(self, security: dict[str, Any]) -> None:
        self._save(security)

    def _save(self, security: dict[str, Any]) -> None:
        # Everything is written: what was tightened once is not loosened by being left out.
        calm = {
            "remote_control": "full",
            "denied_actions": [],
            "require_clear_bed": self.story.house["require_clear_bed"],
        }
        self.saved = {"security": {**calm, **security}, "actions": OWN}
        if self.hub.url != self.moonraker.options["server_url"]:
            self.saved["server_url"] = self.hub.url
        self._write(json.dumps(self.saved))
        self.witness.note("people", "save", security=security)

    def save_broken(self) -> None:
        self._write('{"security": {"remote_control": "full", }, ')
        self.witness.note("people", "save broken")

    def _write(self, text: str) -> None:
        write_file(self.folder / "config" / SETTINGS, text, self.machine.wall())
        if self.moonraker.server is not None and self.moonraker.server.running:
            files = self.moonraker.server.components["file_manager"]
            context = self.moonraker.server.process.context
            self.loop.call_soon(files.saved, "config", SETTINGS, context=context)

    def weather(self, kind: str, seconds: float, retry_after: int = 0) -> None:
        self.hub.turn(kind, seconds, retry_after)

    def move(self) -> None:
        """The hub goes to another machine; the printer's settings follow."""
        self.hub.move()
        self._save(self.saved.get("security", {}))

    def hang(self, seconds: float, dead_mcu: bool) -> None:
        self.klippy.hang()
        process = self.klippy.process
        self.loop.call_later(
            seconds, lambda: self.klippy.process is process and self.klippy.wake(dead_mcu)
        )

    def crash(self, back_after: float) -> None:
        self.klippy.crash(back_after)

    def kill(self, seconds: float) -> None:
        self.moonraker.kill()
        self.loop.call_later(seconds, self.moonraker.start)

    def power(self, seconds: float, wrong_by: float, right_after: float) -> None:
        self.moonraker.kill()
        self.klippy.crash(seconds)
        self.machine.cut_power(wrong_by, right_after)
        self.witness.note("machine", "power cut", seconds=seconds)
        self.loop.call_later(seconds, self.moonraker.start)

    def restart(self) -> None:
        self.loop.create_task(self.moonraker.restart())

    def slow_disk(self, write: float, seconds: float) -> None:
        self.witness.note("machine", "disk slow", write=write, seconds=seconds)
        self.machine.disk.slow(write, self.loop.time() + seconds)

    def full_disk(self, seconds: float) -> None:
        self.witness.note("machine", "disk full", seconds=seconds)
        self.machine.disk.full = True
        self.loop.call_later(seconds, lambda: setattr(self.machine.disk, "full", False))


DEEDS: dict[str, Callable[..., None]] = {
    "ask": World.ask,
    "ask print and": World.ask,
    "person": World.person,
    "bed clear": lambda world: world.request("/server/tecmedhub/bed_clear"),
    "remote off": lambda world: world.request("/server/tecmedhub/remote_off"),
    "remote on": lambda world: world.request("/server/tecmedhub/remote_on"),
    "start queue": lambda world: world.request("/server/job_queue/start", note="start queue"),
    "queue up": World.queue_up,
    "choose a spool": World.choose_spool,
    "save a file": World.save_file,
    "save": World.save,
    "save broken": World.save_broken,
    "weather": World.weather,
    "repeat": lambda world: world.hub.repeat(),
    "new database": lambda world: world.hub.begin_anew(),
    "move": World.move,
    "shutdown": lambda world: world.klippy.shut_down("MCU 'mcu' shutdown: Timer too close"),
    "crash": World.crash,
    "hang": World.hang,
    "kill": World.kill,
    "power": World.power,
    "restart": World.restart,
    "slow disk": World.slow_disk,
    "full disk": World.full_disk,
}


_NO_TIME = SimpleNamespace(sleep=lambda seconds: None)


def play(story: Story) -> Seen:
    """Let a story happen, in a folder of its own that is gone afterwards."""
    steps.time = _NO_TIME  # type: ignore[attr-defined]  # pauses for other threads: there are none
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers, root.level = [logging.NullHandler()], logging.ERROR
    folder = Path(tempfile.mkdtemp(prefix="story-", dir=ROOT))
    try:
        return World(story, folder).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        root.handlers, root.level = handlers, level
