"""What a Klippy does with G-code: one script at a time behind a mutex, heaters, the virtual SD
card, print_stats, pause_resume.

A transcription of what klippy/gcode.py, extras/virtual_sdcard.py, print_stats.py and
pause_resume.py do as seen from outside; `tests/stack/test_simulated_klippy.py` holds it to the real
one. Whatever a client could not tell apart is left out.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .loop import Process, VirtualLoop
from .witness import Witness

_WORD = re.compile("([A-Z_]+|[A-Z*])")
MAX_TEMP = {"extruder": 280.0, "heater_bed": 130.0}
LAMP_SCALE = 1000.0  # of [output_pin lamp]
LEDS = {"strip": "neopixel strip", "case": "led case"}
PARTS = tuple(f"PART_{n}" for n in range(12))  # of each file of that kind
WARMING, COOLING = 4.0, 1.0  # °C a second

# Files that a story may print: lines as Klipper reads them; "~" is a byte that it cannot read.
FILES: dict[str, list[str]] = {
    "short": ["G28", *["G1 X1"] * 12],
    "long": ["M140 S60", "M104 S200", "G28", *["G1 X1"] * 240],
    "heats": ["M190 S90", "M109 S200", *["G1 X1"] * 60],
    "ends_itself": ["CANCEL_PRINT"],
    "pauses_itself": ["G28", *["G1 X1"] * 5, "PAUSE", *["G1 X1"] * 30],
    "m25": ["G28", *["G1 X1"] * 5, "M25", *["G1 X1"] * 30],
    "unreadable": ["G28", *["G1 X1"] * 8, "~", *["G1 X1"] * 30],
    "fails": ["G28", "G1 X1", "FAIL", "G1 X1"],
    "parts": [*(f"EXCLUDE_OBJECT_DEFINE NAME={name}" for name in PARTS), "G28", *["G1 X1"] * 90],
}


class GcodeError(Exception):
    pass


class Unreadable(Exception):
    pass


@dataclass
class Run:
    """One script, by whom it was sent; `n` tells runs apart."""

    n: int
    by: str  # plugin | queue | person | job
    script: str


@dataclass
class Habits:
    """What differs from printer to printer."""

    home: float = 6.0  # seconds
    pause: float = 1.0  # of the macro around it
    cancel: float = 1.0
    restart: float = 2.0
    macros: dict[str, list[str]] = field(default_factory=dict)


class Mutex:
    """The reactor's: first come, first served."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._waiting: list[asyncio.Future[None]] = []
        self.held = False

    def test(self) -> bool:
        return self.held

    async def acquire(self) -> None:
        if self.held:
            future = self._loop.create_future()
            self._waiting.append(future)
            await future
        self.held = True

    def release(self) -> None:
        self.held = False
        if self._waiting:
            self.held = True
            self._waiting.pop(0).set_result(None)


class Heater:
    def __init__(self, now: float) -> None:
        self.target = 0.0
        self._from, self._at = 22.0, now

    def temperature(self, now: float) -> float:
        gone = now - self._at
        if self.target > self._from:
            return min(self._from + WARMING * gone, self.target)
        return max(self._from - COOLING * gone, self.target, 22.0)

    def set(self, target: float, now: float) -> None:
        self._from, self._at = self.temperature(now), now
        self.target = target

    def settled(self, now: float) -> bool:
        return abs(self.temperature(now) - max(self.target, 22.0)) < 0.5


class GCode:
    """The state that G-code changes. What knows of processes and connections is `klippy.Klippy`."""

    state = "off"
    message = ""

    def __init__(
        self, loop: VirtualLoop, rng: random.Random, witness: Witness, habits: Habits
    ) -> None:
        self._loop = loop
        self._rng = rng
        self._note = witness.note
        self.habits = habits
        self.files: dict[str, list[str]] = {}
        self.on_disk: Callable[[str], bool] = lambda name: True
        self.process: Process | None = None
        self._runs = 0
        self.endstop = 0.0  # of z, as printer.cfg has it
        self.fresh()

    def fresh(self) -> None:
        """As after the start of the process."""
        now = self._loop.time()
        self.hung = False
        self._backlog: list[Callable[[], None]] = []
        self._resumed: asyncio.Future[None] | None = None
        self.mutex = Mutex(self._loop)
        self.heaters = {name: Heater(now) for name in MAX_TEMP}
        self.speed = self.flow = 1.0
        self.fan = 0.0
        self.homed = ""
        self.probing = False
        self.position = [0.0, 0.0, 0.0, 0.0]  # as G-code counts
        self.offset = 0.0  # of z, mm
        self.lamp = 0.0  # of its scale
        self.colours = {name: [0.0, 0.0, 0.0, 0.0] for name in LEDS}
        # exclude_object
        self.objects: list[str] = []
        self.left_out: list[str] = []
        # virtual_sdcard
        self.file: str | None = None
        self.line = 0
        self.work: asyncio.Task[None] | None = None
        self.must_pause = self.from_sd = False
        # print_stats
        self._reset_stats()
        # pause_resume
        self.is_paused = self.sd_paused = self.pause_sent = False

    # For whoever knows of connections

    def _mark(self) -> None:
        """Something changed that a client may have subscribed to."""

    def _respond(self, line: str) -> None:
        """To the console."""

    def _call_remote(self, method: str) -> None:
        """As `action_call_remote_method` of a macro."""

    def _begin_again(self) -> None:
        """RESTART, FIRMWARE_RESTART."""

    # print_stats

    def _reset_stats(self) -> None:
        self.stats_state, self.filename, self.error = "standby", "", ""
        self._began: float | None = None
        self._paused_at: float | None = None
        self._total = 0.0

    def _stats(self) -> dict[str, Any]:
        if self._began is not None:
            self._total = self._loop.time() - self._began
        return {
            "filename": self.filename,
            "total_duration": round(self._total, 3),
            "print_duration": round(self._total, 3),
            "filament_used": round(self._total * 2, 3),
            "state": self.stats_state,
            "message": self.error,
            "info": {"total_layer": None, "current_layer": None},
        }

    def _note_start(self) -> None:
        if self._began is None:
            self._began = self._loop.time()
            self._note(
                "klippy", "job begins", file=self.filename, run=self._starter.n, by=self._starter.by
            )
        self._paused_at = None
        self.stats_state, self.error = "printing", ""
        self._mark()

    def _note_pause(self) -> None:
        if self._paused_at is None:
            self._paused_at = self._loop.time()
        if self.stats_state != "error":
            self.stats_state = "paused"
            self._note("klippy", "job paused", file=self.filename)
        self._mark()

    def _finish(self, state: str, error: str = "") -> None:
        if self._began is None:
            return
        self.stats_state, self.error = state, error
        self._total = self._loop.time() - self._began
        self._began = None
        self._note("klippy", "job ends", file=self.filename, state=state)
        self._mark()

    # virtual_sdcard

    async def _do_pause(self) -> None:
        if self.work is not None:
            self.must_pause = True
            while self.work is not None and not self.from_sd:
                await self._sleep(0.01)

    def _do_resume(self, run: Run) -> None:
        if self.work is not None:
            raise GcodeError("SD busy")
        self.must_pause = False
        self._starter = run
        self.work = self._spawn(self._print())

    async def _do_cancel(self) -> None:
        if self.file is not None:
            await self._do_pause()
            self.file = None
            self._finish("cancelled")
        self.line = 0

    async def _reset_file(self) -> None:
        if self.file is not None:
            await self._do_pause()
            self.file = None
        self.line = 0
        if self.stats_state in ("printing", "paused"):
            self._note("klippy", "job ends", file=self.filename, state="reset")
        self._reset_stats()
        self.objects, self.left_out = [], []
        self._mark()

    async def _load(self, name: str) -> None:
        await self._reset_file()
        name = name.lstrip("/")
        if name not in self.files or not self.on_disk(name):
            raise GcodeError("Unable to open file")
        self.file, self.line = name, 0
        self.filename = name

    async def _print(self) -> None:
        await asyncio.sleep(0)
        if self.file is None:
            self.work = None
            return
        self._note_start()
        lines = self.files[self.file]
        run = Run(0, "job", "")
        error: str | None = None
        while not self.must_pause:
            if self.line >= len(lines):
                self.file = None
                break
            if self.mutex.test():
                await self._sleep(0.1)
                continue
            self.from_sd = True
            await self.mutex.acquire()
            try:
                await self._line(lines[self.line], run)
            except GcodeError as failed:
                error = str(failed)
                for heater in self.heaters.values():
                    heater.set(0.0, self._loop.time())
                break
            except Unreadable:
                break
            finally:
                self.mutex.release()
            self.from_sd = False
            if self.file is None:
                break
            self.line += 1
        self.work = None
        self.from_sd = False
        if error is not None:
            self._finish("error", error)
        elif self.file is not None:
            self._note_pause()
        else:
            self._finish("complete") if self.stats_state == "printing" else None
        self._mark()

    # G-code

    def _arrive(self, by: str, script: str) -> Run:
        self._runs += 1
        run = Run(self._runs, by, script)
        self._note(
            "klippy",
            "gets",
            run=run.n,
            by=by,
            script=script,
            job=self.stats_state,
            file=self.filename,
            **({"probing": True} if self.probing else {}),
        )
        return run

    def person(self, script: str) -> None:
        """Somebody at the screen of the printer, or in Mainsail."""
        if self.process is None:
            return
        if self.hung:
            self._backlog.append(lambda: self.person(script))
            return
        run = self._arrive("person", script)

        async def quietly() -> None:
            try:
                await self._run(run)
            except GcodeError:
                pass

        self._spawn(quietly())

    async def _run(self, run: Run) -> None:
        await self.mutex.acquire()
        self._note("klippy", "begins", run=run.n)
        self._mark()  # idle_timeout says "Printing"
        try:
            for line in run.script.split("\n"):
                await self._line(line, run)
        except GcodeError as error:
            self._note("klippy", "ended", run=run.n, error=str(error))
            self._respond(f"!! {error}")
            raise
        finally:
            self.mutex.release()
            self._mark()
        self._note("klippy", "ended", run=run.n)

    async def _line(self, text: str, run: Run) -> None:
        line = text.partition(";")[0].strip()
        if not line:
            return
        if line.startswith("@"):
            self._call_remote(line[1:])
            return
        if line == "~":
            raise Unreadable
        parts = _WORD.split(line.upper())
        word = "".join(parts[:3]).strip()
        if not word[1:2].isdigit():
            word = line.split()[0].upper()
        if self.state != "ready" and word not in ("FIRMWARE_RESTART", "RESTART"):
            raise GcodeError(self.message)
        if word in self.habits.macros:
            for inner in self.habits.macros[word]:
                await self._line(inner, run)
            return
        handler = _COMMANDS.get(word.removesuffix("_BASE"))
        if handler is None:
            self._respond(f'// Unknown command:"{word}"')
            return
        await handler(self, line, run)
        self._mark()

    def _does(self, run: Run, what: str, **data: Any) -> None:
        if run.by not in ("job", "person"):
            self._note("klippy", "does", run=run.n, deed=what, **data)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        while self.hung and self._resumed is not None:
            await self._resumed

    async def _busy(self, seconds: float, fails: bool) -> None:
        """Takes its time; a shutdown ends it, with an error or (dwells, waits for a heater)
        without."""
        end = self._loop.time() + seconds
        while self.state == "ready" and self._loop.time() < end:
            await self._sleep(min(0.5, end - self._loop.time()))
        if fails and self.state != "ready":
            raise GcodeError(self.message)

    async def _home(self, line: str, run: Run) -> None:
        axes = "".join(a for a in "xyz" if a.upper() in line.upper()[3:]) or "xyz"
        self._does(run, "homes", axes=axes)
        await self._busy(self.habits.home * len(axes) / 3, True)
        self.homed = "".join(sorted(set(self.homed + axes)))

    async def _move(self, line: str, run: Run) -> None:
        if not self.homed and run.by != "job":
            raise GcodeError("Must home axis first")
        place = [_number(line, axis, at) for axis, at in zip("XYZ", self.position[:3], strict=True)]
        self._does(run, "moves", x=place[0], e=_number(line, "E"))
        await self._busy(1.0 if run.by == "job" else 0.3, True)
        self.position = [*place, self.position[3] + _number(line, "E")]

    async def _dwell(self, line: str, run: Run) -> None:
        seconds = _number(line, "P") / 1000 + _number(line, "S")
        self._does(run, "dwells", seconds=seconds)
        await self._busy(seconds, False)

    async def _temperature(self, line: str, run: Run) -> None:
        upper = line.upper()
        if upper.startswith("SET_HEATER_TEMPERATURE"):
            named = dict(p.split("=", 1) for p in upper.split()[1:] if "=" in p)
            name, target = named.get("HEATER", "").lower(), float(named.get("TARGET", 0))
        else:
            name = "heater_bed" if upper[:4] in ("M140", "M190") else "extruder"
            target = _number(line, "S")
        if name not in self.heaters:
            raise GcodeError(f"The value '{name}' is not valid for HEATER")
        if target > MAX_TEMP[name]:
            raise GcodeError(f"Requested temperature ({target}) out of range")
        heater = self.heaters[name]
        self._does(run, "heats", heater=name, target=target, before=heater.target)
        heater.set(target, self._loop.time())
        if upper[:4] in ("M109", "M190") and target > 0:
            while not heater.settled(self._loop.time()) and self.state == "ready":
                await self._sleep(0.5)

    async def _off(self, line: str, run: Run) -> None:
        for name, heater in self.heaters.items():
            self._does(run, "heats", heater=name, target=0.0, before=heater.target)
            heater.set(0.0, self._loop.time())

    async def _factor(self, line: str, run: Run) -> None:
        value = _number(line, "S", 100.0) / 100
        if line.upper().startswith("M220"):
            self.speed = value
        else:
            self.flow = value
        self._does(run, "factor", of=line[:4].upper(), value=value)

    async def _set_pin(self, line: str, run: Run) -> None:
        self.lamp = float(line.upper().partition("VALUE=")[2]) / LAMP_SCALE
        self._does(run, "lights", value=self.lamp)

    async def _set_led(self, line: str, run: Run) -> None:
        name = _given(line, "LED")  # as it is spelt in printer.cfg
        if name not in self.colours:
            raise GcodeError(f"The value '{name}' is not valid for LED")
        colours = [float(_given(line, c) or 0) for c in ("RED", "GREEN", "BLUE", "WHITE")]
        self._does(run, "glows", led=name, colours=colours)
        if not all(0 <= value <= 1 for value in colours):
            raise GcodeError(f"Error on '{line}': must be between 0 and 1")
        self.colours[name] = colours

    async def _define_object(self, line: str, run: Run) -> None:
        if _given(line, "RESET"):
            self.objects, self.left_out = [], []
        elif name := _given(line, "NAME").upper():
            self.objects = sorted([*self.objects, name])

    async def _leave_out(self, line: str, run: Run) -> None:
        """Any name is taken, as by Klipper's own, whatever the job has."""
        name = _given(line, "NAME").upper()
        if _given(line, "RESET"):
            self.left_out = [other for other in self.left_out if name and other != name]
            return
        if not name:
            if _given(line, "CURRENT"):
                raise GcodeError("There is no current object to cancel")
            return  # lists them
        self._does(run, "leaves out", object=name, job=self.filename, known=name in self.objects)
        if name not in self.left_out:
            self.left_out = sorted([*self.left_out, name])

    async def _set_offset(self, line: str, run: Run) -> None:
        step = float(line.upper().partition("Z_ADJUST=")[2].split()[0])
        self._does(run, "lifts", step=step)
        self.offset += step

    async def _save_config(self, line: str, run: Run) -> None:
        self._does(run, "saves")
        self.endstop = round(self.endstop - self.offset, 3)
        await self._restart(line, run)

    async def _set_fan(self, line: str, run: Run) -> None:
        self.fan = 0.0 if line.upper().startswith("M107") else min(_number(line, "S", 255) / 255, 1)

    async def _nothing(self, line: str, run: Run) -> None:
        pass

    async def _motors_off(self, line: str, run: Run) -> None:
        self._does(run, "lets go")
        self.homed = ""

    async def _fail(self, line: str, run: Run) -> None:
        raise GcodeError("Extrude below minimum temp")

    async def _probe(self, line: str, run: Run) -> None:
        self.probing = line.upper().startswith("MANUAL_PROBE")

    async def _select(self, line: str, run: Run) -> None:
        if self.work is not None:
            raise GcodeError("SD busy")
        await self._load(line[3:].strip())

    async def _start(self, line: str, run: Run) -> None:
        if self.work is not None:
            raise GcodeError("SD busy")
        match = re.search(r'FILENAME=("([^"]*)"|\S+)', line, re.IGNORECASE)
        if match is None:
            raise GcodeError("Error on 'SDCARD_PRINT_FILE': missing FILENAME")
        await self._load(match.group(2) or match.group(1))
        self._do_resume(run)

    async def _reset_card(self, line: str, run: Run) -> None:
        if self.from_sd:
            raise GcodeError("SDCARD_RESET_FILE cannot be run from the sdcard")
        await self._reset_file()

    async def _m24(self, line: str, run: Run) -> None:
        self._do_resume(run)

    async def _m25(self, line: str, run: Run) -> None:
        await self._do_pause()

    async def _pause(self, line: str, run: Run) -> None:
        if self.is_paused:
            self._respond("// Print already paused")
            return
        if not self.pause_sent:
            self.sd_paused = self.work is not None
            if self.sd_paused:
                await self._do_pause()
            self.pause_sent = True
        self.is_paused = True
        await self._busy(self.habits.pause, False)

    async def _resume(self, line: str, run: Run) -> None:
        if not self.is_paused:
            self._respond("// Print is not paused, resume aborted")
            return
        await self._busy(self.habits.pause, False)
        if self.sd_paused:
            self._do_resume(run)
            self.sd_paused = False
        self.pause_sent = self.is_paused = False

    async def _cancel(self, line: str, run: Run) -> None:
        await self._busy(self.habits.cancel, False)
        if self.work is not None or self.sd_paused:
            await self._do_cancel()
        self.is_paused = self.pause_sent = False

    async def _clear_pause(self, line: str, run: Run) -> None:
        self.is_paused = self.pause_sent = False

    async def _restart(self, line: str, run: Run) -> None:
        if self.state == "ready":
            await self._busy(0.5, False)
        self._begin_again()
        await self._loop.create_future()  # this process will not hear of it

    # Inside

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        assert self.process is not None
        return self._loop.play(work, self.process)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        assert self.process is not None
        self._loop.call_later(seconds, call, context=self.process.context)


def _number(line: str, letter: str, default: float = 0.0) -> float:
    match = re.search(rf"(?<![A-Z0-9_]){letter}(-?[\d.]+)", line[1:].upper())
    return float(match.group(1)) if match else default


def _given(line: str, name: str) -> str:
    """The value of `NAME=value` or `NAME="a value"`; "" if there is none."""
    match = re.search(rf'(?<!\S){name}=(?:"([^"]*)"|(\S+))', line, re.IGNORECASE)
    return (match.group(1) or match.group(2) or "") if match else ""


_COMMANDS: dict[str, Callable[[GCode, str, Run], Any]] = {
    "G28": GCode._home,
    **dict.fromkeys(("G0", "G1", "G2", "G3"), GCode._move),
    "G4": GCode._dwell,
    **dict.fromkeys(("M104", "M140", "M109", "M190", "SET_HEATER_TEMPERATURE"), GCode._temperature),
    "TURN_OFF_HEATERS": GCode._off,
    **dict.fromkeys(("M220", "M221"), GCode._factor),
    **dict.fromkeys(("M106", "M107"), GCode._set_fan),
    **dict.fromkeys(
        ("M117", "M118", "RESPOND", "M105", "M400", "G90", "G91", "G92", "M83"), GCode._nothing
    ),
    **dict.fromkeys(("M84", "M18"), GCode._motors_off),
    **dict.fromkeys(
        ("SAVE_GCODE_STATE", "RESTORE_GCODE_STATE", "Z_OFFSET_APPLY_ENDSTOP"), GCode._nothing
    ),
    "SET_PIN": GCode._set_pin,
    "SET_LED": GCode._set_led,
    "EXCLUDE_OBJECT_DEFINE": GCode._define_object,
    "EXCLUDE_OBJECT": GCode._leave_out,
    "SET_GCODE_OFFSET": GCode._set_offset,
    "SAVE_CONFIG": GCode._save_config,
    "FAIL": GCode._fail,
    **dict.fromkeys(("MANUAL_PROBE", "ABORT", "ACCEPT"), GCode._probe),
    "M23": GCode._select,
    "M24": GCode._m24,
    "M25": GCode._m25,
    "SDCARD_PRINT_FILE": GCode._start,
    "SDCARD_RESET_FILE": GCode._reset_card,
    "PAUSE": GCode._pause,
    "RESUME": GCode._resume,
    "CANCEL_PRINT": GCode._cancel,
    "CLEAR_PAUSE": GCode._clear_pause,
    **dict.fromkeys(("FIRMWARE_RESTART", "RESTART"), GCode._restart),
}
