"""A story: a house, and what happens in it, all made from one number.

`HAPPENINGS` is the table of what can happen: a name, how often, and what it is made of. A story
picks some kinds and packs them into a few crowded moments: seams show where things fall together.
Everything in a story is plain data, so that it can be printed, shortened and pinned.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from .klippy_gcode import FILES, PARTS

LENGTH = 600.0  # virtual seconds in which things happen
KINDS_OF_FILE = (
    "short",
    "long",
    "long",
    "heats",
    "ends_itself",
    "pauses_itself",
    "m25",
    "unreadable",
    "fails",
    "parts",
    "parts",
)

# What a macro of a printer's may wrap. "@name" calls a remote method of Moonraker's.
MACROS = {
    "BED_CLEAR": ["@tecmedhub_bed_clear"],
    "MOVE_AWAY": ["G1 X1"],
    "SLOW": ["G4 P45000"],
    "SHIFT_END": ["@tecmedhub_remote_off"],
}


# The operator's own actions, as tecmedhub.json has them.
_PLACES = {"x": {"min": 0, "max": 50}, "tag": {"min": 0, "max": 10_000}}
OWN: dict[str, dict[str, Any]] = {
    "park": {"gcode": "G28 X\nG1 X{x}\nM117 N{tag}", "parameters": _PLACES},
    "blink": {
        "gcode": "SET_PIN PIN=lamp VALUE={x}\nM117 N{tag}",
        "parameters": _PLACES,
        "danger": True,
        "lane": "control",
    },
    "wave": {"macro": "MOVE_AWAY", "parameters": {"N": {"min": 0, "max": 10_000}}, "expiry": 30},
}


@dataclass(frozen=True)
class Happening:
    """`on` = [who, what, seconds]: it waits for the next such fact, and comes so long after it (or
    not at all, where none comes within a minute)."""

    at: float
    kind: str
    args: dict[str, Any] = field(default_factory=dict)
    on: tuple[str, str, float] | None = None

    def __str__(self) -> str:
        told = " ".join(f"{name}={json.dumps(value)}" for name, value in self.args.items())
        after = f"{self.on[2]:g} s after {self.on[0]} {self.on[1]}" if self.on else ""
        return f"{self.at:9.3f}  {self.kind:<14}  {after}  {told}".rstrip()


@dataclass(frozen=True)
class Story:
    seed: str
    house: dict[str, Any]
    happenings: tuple[Happening, ...]

    def __str__(self) -> str:
        house = ", ".join(f"{name} {json.dumps(value)}" for name, value in self.house.items())
        lines = "\n".join(str(happening) for happening in self.happenings)
        return f"Story {self.seed}\n  {house}\n{lines}"

    def without(self, dropped: set[int]) -> Story:
        kept = tuple(h for n, h in enumerate(self.happenings) if n not in dropped)
        return replace(self, happenings=kept)

    def with_args(self, place: int, **args: Any) -> Story:
        """The same with other arguments of one happening."""
        changed = list(self.happenings)
        changed[place] = replace(changed[place], args={**changed[place].args, **args})
        return replace(self, happenings=tuple(changed))


class _Maker:
    """Makes the parts of one story; `n` numbers what the hub asks."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.n = 0
        self._once: set[str] = set()
        self.files: list[str] = []  # that may be deleted: none that `print` would fetch anew
        self.deleted: list[str] = []
        self.queued: list[str] = []

    def number(self) -> int:
        self.n += 1
        return self.n

    def once(self, *names: str) -> str:
        """One of them that was not used yet in this story; "" if none is left."""
        left = [name for name in names if name not in self._once]
        if not left:
            return ""
        name = self.rng.choice(left)
        self._once.add(name)
        return name

    # Commands, each with a number in it by which it is known again at Klippy's door

    def command(self) -> list[Any]:
        """[n, action, parameters, confirm]"""
        n, rng = self.number(), self.rng
        pick = rng.choices(
            (
                *("print", "job", "home", "heat", "set", "gcode", "macro", "stop", "restart"),
                *("further", "queue", "own", "leave_out", "delete", "spool"),
            ),
            (24, 22, 12, 8, 6, 14, 8, 6, 2, 12, 6, 8, 5, 5, 3),
        )[0]
        action, params = getattr(self, f"_{pick}")(n)
        if not action:
            action, params = "set_flow", {"flow": 75 + n * 0.5}
        often = 0.9 if action == "exclude_object" else 0.1  # which wants it always
        confirm = action not in ("emergency_stop", "set_flow") and rng.random() < often
        return [n, action, params, confirm]

    def _print(self, n: int) -> tuple[str, dict[str, Any]]:
        name = f"{self.rng.choice(KINDS_OF_FILE)}_{n}.gcode"
        if self.rng.random() < 0.25:
            return "print", {"file": name}
        self.files.append(name)
        if self.rng.random() < 0.15:
            self.queued.append(name)
            return "print_local", {"file": name, "queue": True}
        return "print_local", {"file": name}

    def _job(self, n: int) -> tuple[str, dict[str, Any]]:
        return self.rng.choice(("cancel", "cancel", "pause", "resume")), {}

    def _home(self, n: int) -> tuple[str, dict[str, Any]]:
        return self.once("home", "home_x", "home_y", "home_z"), {}

    def _heat(self, n: int) -> tuple[str, dict[str, Any]]:
        what = self.rng.choice(("hot", "bed", "off", "cool"))
        if what == "hot":
            return "heat", {"hotend_temp": 150 + n}
        if what == "bed":
            return "heat", {"bed_temp": 40 + n * 0.5}
        if what == "cool":
            return self.once("cool_down"), {}
        return ("heat", {"hotend_temp": 0}) if self.once("heat off") else ("", {})

    def _set(self, n: int) -> tuple[str, dict[str, Any]]:
        return "set_speed", {"speed": 50 + n}

    def _gcode(self, n: int) -> tuple[str, dict[str, Any]]:
        script = self.rng.choice(
            (
                "G28",
                "G1 X5",
                "M104 S0",
                "M140 S0",
                "G4 P15000",
                "M109 S45",
                "M84",
                "M220 S1",
                "M104 S210\nM140 S60",
                "G28\nG1 X5",
                "M117 hello",
                "G4 P45000",
            )
        )
        return "gcode", {"gcode": f"{script}\nM117 n{n}"}

    def _macro(self, n: int) -> tuple[str, dict[str, Any]]:
        name = self.rng.choice(("BED_CLEAR", "MOVE_AWAY", "SLOW", "PRINT_IT", "PRINT_IT"))
        return "macro", {"macro_name": name, "params": {"N": n}}

    def _stop(self, n: int) -> tuple[str, dict[str, Any]]:
        return "emergency_stop", {}

    def _restart(self, n: int) -> tuple[str, dict[str, Any]]:
        return self.once("firmware_restart"), {}

    def _further(self, n: int) -> tuple[str, dict[str, Any]]:
        """Beyond client v4's list; numbers out of their bounds among them."""
        low = round(n % 100 * 0.001 + 0.001, 3)
        return self.rng.choice(
            (
                ("move", {"x": n % 200, "speed": 50 + n % 40}),
                ("move", {"x": self.rng.choice((-1, 201, 1000)), "speed": 50 + n % 40}),
                ("move", {"z": n % 100 + 1, "relative": True, "speed": 50 + n % 40}),
                ("extrude", {"length": 1 + n % 40, "speed": 10 + n % 80}),
                ("retract", {"length": 1 + n % 40, "speed": 10 + n % 80}),
                ("extrude", {"length": 51 + n, "speed": 10}),
                ("set_pin", {"pin": "lamp", "value": n}),
                ("set_pin", {"pin": "lamp", "value": 1000 + n}),
                ("led", {"led": "strip", "red": n % 900 / 1000 + 0.001, "blue": 1}),
                ("led", {"led": "strip", "red": n % 900 / 1000 + 0.001, "blue": 1.5}),
                ("led", {"led": "strip", "red": 1.001 + n}),
                ("led", {"led": self.rng.choice(("case", "nothing")), "red": low}),
                ("z_offset", {"step": low}),
                ("z_offset", {"step": -0.2 - low}),
                ("z_offset", {"save": True}) if self.once("save offset") else ("", {}),
                ("power", {"device": "printer", "state": "off"})
                if self.once("power")
                else ("", {}),
            )
        )

    def _queue(self, n: int) -> tuple[str, dict[str, Any]]:
        rng = self.rng
        what = rng.choice(("start", "start", "pause", "clear", "remove", "remove", "remove"))
        if what == "remove":
            by_id = f"{rng.randint(1, 6):016X}"
            named = rng.choice(self.queued) if self.queued else f"nothing_{n}.gcode"
            return "queue_remove", {"job": named if rng.random() < 0.7 else by_id}
        return f"queue_{what}", {}

    def _leave_out(self, n: int) -> tuple[str, dict[str, Any]]:
        """The objects of all jobs are called the same."""
        name = self.once(*PARTS)
        if self.rng.random() < 0.15:
            name = f"ghost_{n}"
        return ("exclude_object", {"object": name}) if name else ("", {})

    def _delete(self, n: int) -> tuple[str, dict[str, Any]]:
        name = self.once(*self.files)
        if not name or self.rng.random() < 0.1:
            name = f"nothing_{n}.gcode"
        self.deleted.append(name)
        return "delete_file", {"file": name}

    def _spool(self, n: int) -> tuple[str, dict[str, Any]]:
        if self.rng.random() < 0.3:
            return "spool", {"spool": self.rng.choice((50 + n, -n, n + 0.5))}
        ident = self.once(*map(str, range(10)))
        return ("spool", {"spool": int(ident)}) if ident else ("", {})

    def _own(self, n: int) -> tuple[str, dict[str, Any]]:
        name = self.rng.choice([*OWN])
        if name == "wave":
            return name, {"N": n}
        value = self.rng.choice((0, 10, 25.5, 50, 51, -1, "nan", "7"))
        return name, {"x": value, "tag": n}

    # Happenings

    def ask(self) -> dict[str, Any]:
        rng = self.rng
        count = rng.choices((1, 2, 3), (60, 30, 10))[0]
        args: dict[str, Any] = {"commands": [self.command() for _ in range(count)]}
        if rng.random() < 0.12:
            args["age"] = float(rng.choice((20, 55, 100, 180, 500, 900)))
        if rng.random() < 0.1:
            args["stamp"] = False
        return args

    def ask_twice(self) -> dict[str, Any]:
        """Two things that meet: a print, and what must not."""
        n, m = self.number(), self.number()
        first = [n, *self._print(n), False]
        others = (self._home, self._job, self._job, self._gcode, self._leave_out, self._delete)
        second = [m, *self.rng.choice(others)(m), False]
        second[3] = second[1] == "exclude_object"
        if not second[1]:
            second[1:4] = ["cancel", {}, False]
        commands = [first, second] if self.rng.random() < 0.7 else [second, first]
        return {"commands": commands}

    def person(self) -> dict[str, Any]:
        rng = self.rng
        script = rng.choice(
            (
                "START",
                "START",
                "START",
                "PAUSE",
                "RESUME",
                "CANCEL_PRINT",
                "CANCEL_PRINT",
                "G28",
                "M25",
                "M24",
                "G4 P20000",
                "G4 P50000",
                "M190 S90",
                "SDCARD_RESET_FILE",
                "CLEAR_PAUSE",
                "M84",
                "MANUAL_PROBE",
                "ABORT",
                "FIRMWARE_RESTART",
                "BED_CLEAR",
            )
        )
        if script == "START":
            name = f"{rng.choice(KINDS_OF_FILE)}_p{self.number()}.gcode"
            self.files.append(name)
            script = f'SDCARD_PRINT_FILE FILENAME="{name}"'
        return {"script": script}

    def queue_up(self) -> dict[str, Any]:
        name = f"short_p{self.number()}.gcode"
        self.files.append(name)
        self.queued.append(name)
        return {"files": [name] * self.rng.choice((1, 2, 2))}

    def choose_spool(self) -> dict[str, Any]:
        return {"spool": self.rng.randint(11, 14)}

    def save_file(self) -> dict[str, Any]:
        own = [name for name in self.files if "_p" in name]
        return {"file": self.rng.choice(own) if own else "nothing.gcode"}

    def settings(self) -> dict[str, Any]:
        security = self.rng.choice(
            (
                {},
                {},
                {"remote_control": "print"},
                {"remote_control": "monitor"},
                {"remote_control": "off"},
                {"denied_actions": ["home", "heat"]},
                {"denied_actions": ["print_local"]},
                {"require_clear_bed": True},
            )
        )
        return {"security": security}

    def weather(self) -> dict[str, Any]:
        rng = self.rng
        kind = rng.choice(("cut", "down", "router", "busy", "silent", "broken"))
        args: dict[str, Any] = {
            "kind": kind,
            "seconds": round(rng.choice((1, 4, 20, 60)) * rng.uniform(0.5, 1.5), 1),
        }
        if kind == "busy":
            args["retry_after"] = rng.choice((1, 30, 90))
        return args

    def nothing(self) -> dict[str, Any]:
        return {}

    def crash(self) -> dict[str, Any]:
        return {"back_after": round(self.rng.choice((0.5, 3, 20)) * self.rng.uniform(0.5, 1.5), 2)}

    def hang(self) -> dict[str, Any]:
        return {
            "seconds": round(self.rng.choice((2, 15, 60)) * self.rng.uniform(0.5, 1.5), 1),
            "dead_mcu": self.rng.random() < 0.7,
        }

    def down(self) -> dict[str, Any]:
        return {
            "seconds": round(self.rng.choice((0.2, 2, 20, 120)) * self.rng.uniform(0.5, 1.5), 2)
        }

    def power(self) -> dict[str, Any]:
        return {
            **self.down(),
            "wrong_by": self.rng.choice((0.0, 3600.0, 40_000_000.0)),
            "right_after": self.rng.choice((5.0, 60.0, 1000.0)),
        }

    def slow_disk(self) -> dict[str, Any]:
        return {"write": self.rng.choice((0.3, 1.0, 4.0)), "seconds": self.rng.choice((10, 60))}

    def full_disk(self) -> dict[str, Any]:
        return {"seconds": round(self.rng.uniform(5, 90), 1)}


Make = Callable[[_Maker], dict[str, Any]]

# name → how often, what it is made of. To add to the world: a line here, and its deed in world.py.
HAPPENINGS: dict[str, tuple[float, Make]] = {
    "ask": (22, _Maker.ask),
    "ask print and": (5, _Maker.ask_twice),
    "person": (14, _Maker.person),
    "bed clear": (3, _Maker.nothing),
    "remote off": (1.2, _Maker.nothing),
    "remote on": (1.2, _Maker.nothing),
    "start queue": (1, _Maker.nothing),
    "queue up": (2, _Maker.queue_up),
    "choose a spool": (1, _Maker.choose_spool),
    "save a file": (1, _Maker.save_file),
    "save": (2, _Maker.settings),
    "save broken": (1, _Maker.nothing),
    "weather": (4, _Maker.weather),
    "repeat": (2.5, _Maker.nothing),
    "new database": (1.5, _Maker.nothing),
    "move": (0.7, _Maker.nothing),
    "shutdown": (1.5, _Maker.nothing),
    "crash": (1.5, _Maker.crash),
    "hang": (1.5, _Maker.hang),
    "kill": (3, _Maker.down),
    "power": (1.2, _Maker.power),
    "restart": (2, _Maker.nothing),
    "slow disk": (2, _Maker.slow_disk),
    "full disk": (0.7, _Maker.full_disk),
}
ALWAYS = ("ask", "ask print and", "person")
# What others may wait for, to fall into the midst of it; and who does so.
MOMENTS = (
    ("hub", "delivered"),
    ("hub", "delivered"),
    ("klippy", "gets"),
    ("klippy", "ended"),
    ("klippy", "job begins"),
    ("klippy", "job ends"),
    ("hub", "is told"),
)
TIMED = (
    "person",
    "bed clear",
    "shutdown",
    "crash",
    "hang",
    "kill",
    "power",
    "restart",
    "weather",
    "slow disk",
    "new database",
    "repeat",
    "queue up",
    "choose a spool",
    "save a file",
)


def make_house(rng: random.Random) -> dict[str, Any]:
    """What differs between houses."""
    generation = rng.choice((1, 2))
    features: dict[str, Any] = rng.choice(
        (
            {},
            {"command_results": True},
            {"command_results": True, "long_poll": 25, "events": True},
            {"long_poll": 25},
            {"command_results": True, "redeliver": 15},
        )
    )
    return {
        "generation": generation,
        "features": features,
        "skew": rng.choice((0.0, 0.0, -300.0, 7200.0)),
        "status_every": rng.choice((5, 20, 40)),
        "check_every": rng.choice((2, 5, 15)),
        "delay": rng.choice((0.01, 0.05, 0.4)),
        "require_clear_bed": rng.random() < 0.4,
        "home": rng.choice((3.0, 9.0, 20.0)),
        "cancel": rng.choice((0.5, 0.5, 5.0, 40.0)),
        "pause": rng.choice((0.5, 3.0)),
        "restart": rng.choice((1.0, 4.0)),
        "attended": rng.choice((3.0, 20.0, 20.0, 100.0)),
        "automatic_queue": rng.random() < 0.3,
        "power_device": rng.choice(("", "", "works", "broken")),
        "spoolman": rng.choice((0.0, 0.02, 0.3, 3.0)),
        "moonraker_after": rng.choice((0.0, 0.0, 0.0, 40.0)),
    }


def make_story(seed: str) -> Story:
    rng = random.Random(f"story {seed}")
    maker = _Maker(rng)
    house = make_house(rng)
    kinds = [k for k in HAPPENINGS if k in ALWAYS or rng.random() < 0.5]
    weights = [HAPPENINGS[k][0] * rng.choice((0.5, 1.0, 2.0)) for k in kinds]
    total = rng.randint(20, 60)
    happenings: list[Happening] = []
    at = rng.uniform(0.0, 30.0)
    while len(happenings) < total and at < LENGTH:
        for _ in range(rng.randint(2, 9)):
            kind = rng.choices(kinds, weights)[0]
            on = None
            if kind in TIMED and rng.random() < 0.4:
                after = rng.choice((0.0, 0.003, 0.02, 0.1, 0.5, 2.0)) * rng.uniform(0.5, 1.5)
                on = (*rng.choice(MOMENTS), round(after, 4))
            happenings.append(Happening(round(at, 3), kind, HAPPENINGS[kind][1](maker), on))
            at += rng.choice((0.0, 0.0, 0.05, 0.3, 1.0, 3.0, 9.0)) * rng.uniform(0.5, 1.5)
        at += rng.uniform(5.0, 70.0)
    house["print_it"] = f"{rng.choice(('short', 'long'))}_m.gcode"
    there = files_in(happenings[:total])
    house["fetched"] = [n for n in sorted(maker.deleted) if n in there and rng.random() < 0.75]
    return Story(seed, house, tuple(happenings[:total]))


def files_in(happenings: Iterable[Happening]) -> set[str]:
    """All that anybody will want to print."""
    names = set()
    for happening in happenings:
        for _n, action, params, _confirm in happening.args.get("commands", ()):
            if action in ("print", "print_local"):
                names.add(params["file"])
        if "FILENAME=" in happening.args.get("script", ""):
            names.add(happening.args["script"].split('"')[1])
        names.update(happening.args.get("files", ()))
    return names


def files_of(story: Story) -> dict[str, list[str]]:
    """The printer's files by name; what a story was shortened by stays on the disk."""
    names = {story.house["print_it"], *story.house.get("fetched", ())}
    names |= files_in(story.happenings)
    return {name: FILES[name.rpartition("_")[0]] for name in sorted(names)}
