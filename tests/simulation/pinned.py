"""Stories that once went wrong, each shortened to what is needed.

Times are virtual seconds. A story of this list is played on every run of the tests; to pin another,
copy what `make simulate SEED=…` prints of it after shrinking.
"""

from __future__ import annotations

import random
from typing import Any

from .story import Happening, Story, make_house


def ask(at: float, *commands: list[Any], **more: Any) -> Happening:
    """`commands`: [number, action, parameters, confirm]; they lie in one reply."""
    return Happening(at, "ask", {"commands": [*commands], **more})


def person(at: float, script: str) -> Happening:
    return Happening(at, "person", {"script": script})


def prints(n: int, kind: str = "long", **more: Any) -> list[Any]:
    return [n, "print_local", {"file": f"{kind}_{n}.gcode", **more}, False]


def gcode(n: int, script: str) -> list[Any]:
    return [n, "gcode", {"gcode": f"{script}\nM117 n{n}"}, False]


def simply(n: int, action: str, **params: Any) -> list[Any]:
    return [n, action, params, False]


def by_hand(name: str) -> str:
    return f'SDCARD_PRINT_FILE FILENAME="{name}"'


CALM = {
    "generation": 1,
    "features": {},
    "skew": 0.0,
    "delay": 0.05,
    "status_every": 5,
    "check_every": 3,
    "require_clear_bed": False,
    "home": 3.0,
    "cancel": 0.5,
    "pause": 0.5,
    "restart": 2.0,
    "attended": 20.0,
    "automatic_queue": False,
    "moonraker_after": 0.0,
    "power_device": "",
    "spoolman": 0.0,
    "print_it": "short_m.gcode",
}
LONG_POLL = {"command_results": True, "long_poll": 25, "events": True}
SECOND = {"generation": 2}

TALES: dict[str, tuple[dict[str, Any], list[Happening]]] = {
    "print_local, then home, in one reply": (
        {},
        [
            ask(20.0, prints(1), simply(2, "home"), gcode(3, "G28 X")),
            ask(60.0, simply(4, "home_x")),
        ],
    ),
    "a person begins a job while a slow card writes": (
        {},
        [
            Happening(19.0, "slow disk", {"write": 3.0, "seconds": 60}),
            ask(20.0, simply(1, "home")),
            Happening(
                20.0, "person", {"script": by_hand("long_p1.gcode")}, ("hub", "delivered", 6.5)
            ),
        ],
    ),
    "a database made anew counts its ids from 1": (
        SECOND,
        [
            ask(20.0, simply(1, "set_speed", speed=60), simply(2, "emergency_stop")),
            Happening(60.0, "new database"),
            ask(80.0, prints(3), simply(4, "emergency_stop")),
            ask(120.0, simply(5, "set_speed", speed=70)),
        ],
    ),
    "a print while Klippy is busy": (
        {},
        [person(19.0, "G4 P50000"), ask(20.0, prints(1)), ask(140.0, simply(2, "cancel"))],
    ),
    "an expired stop, left behind by a SIGKILL": (
        {},
        [
            Happening(19.0, "slow disk", {"write": 1.0, "seconds": 60}),
            ask(20.0, simply(1, "emergency_stop"), age=100.0),
            Happening(20.0, "kill", {"seconds": 2.0}, ("hub", "delivered", 1.2)),
            ask(80.0, simply(2, "set_speed", speed=61)),
        ],
    ),
    "print, then cancel; cancel, then print": (
        {},
        [
            ask(20.0, simply(1, "print", file="long_1.gcode"), simply(2, "cancel")),
            ask(60.0, prints(3)),
            ask(90.0, simply(4, "cancel"), prints(5)),
        ],
    ),
    "an old print, and a router that answers with 1970": (
        {},
        [
            Happening(19.0, "slow disk", {"write": 1.0, "seconds": 10}),
            ask(20.0, prints(1), age=480.0),
            Happening(
                20.0,
                "power",
                {"seconds": 130.0, "wrong_by": 7200.0, "right_after": 1000.0},
                ("hub", "delivered", 1.5),
            ),
            Happening(60.0, "weather", {"kind": "router", "seconds": 120.0}),
        ],
    ),
    "an old print over a SIGKILL, and the same router": (
        {},
        [
            Happening(19.0, "slow disk", {"write": 1.0, "seconds": 10}),
            ask(20.0, prints(1), age=480.0),
            Happening(20.0, "kill", {"seconds": 130.0}, ("hub", "delivered", 1.5)),
            Happening(60.0, "weather", {"kind": "router", "seconds": 120.0}),
        ],
    ),
    "a restart during a long poll": (
        {"features": LONG_POLL},
        [
            ask(20.0, simply(1, "set_speed", speed=60)),
            Happening(50.0, "restart"),
            *(ask(50.2 + 0.4 * n, simply(n, "set_speed", speed=60 + n)) for n in range(2, 8)),
        ],
    ),
    "Klippy hangs under an emergency stop": (
        {},
        [
            Happening(20.0, "hang", {"seconds": 60.0, "dead_mcu": True}),
            ask(20.5, simply(1, "emergency_stop")),
        ],
    ),
    "Retry-After on everything, and a stop behind it": (
        {},
        [
            ask(10.0, simply(1, "set_speed", speed=60)),
            Happening(20.0, "weather", {"kind": "busy", "seconds": 8.0, "retry_after": 90}),
            ask(30.0, simply(2, "emergency_stop")),
        ],
    ),
    "a crash of Klippy, and commands that wait": (
        {},
        [
            ask(20.0, gcode(1, "G4 P45000"), simply(2, "home"), prints(3, "short")),
            Happening(30.0, "crash", {"back_after": 5.0}),
        ],
    ),
    "firmware_restart while Klippy is busy": (
        {},
        [person(19.0, "G4 P40000"), ask(20.0, simply(1, "firmware_restart"))],
    ),
    "what cools, holds and slows in the midst of a job": (
        {},
        [
            person(10.0, by_hand("long_p1.gcode")),
            ask(90.0, simply(1, "heat", hotend_temp=0), gcode(2, "M104 S0"), gcode(3, "M140 S0")),
            ask(100.0, gcode(4, "G4 P15000"), gcode(5, "M109 S45"), gcode(6, "M220 S1")),
        ],
    ),
    "a calibration by hand": (
        {},
        [person(10.0, "G28\nMANUAL_PROBE"), ask(30.0, simply(1, "home"), prints(2, "short"))],
    ),
    "the hub clears the bed itself, or goes round the latch": (
        {"require_clear_bed": True},
        [
            person(10.0, by_hand("short_p1.gcode")),
            ask(60.0, simply(1, "macro", macro_name="BED_CLEAR", params={"N": 1})),
            ask(80.0, prints(2, "short")),
            ask(110.0, simply(3, "macro", macro_name="PRINT_IT", params={"N": 3})),
        ],
    ),
    "a job ran while Moonraker was away": (
        {"require_clear_bed": True},
        [
            Happening(20.0, "kill", {"seconds": 60.0}),
            person(25.0, by_hand("short_p1.gcode")),
            ask(100.0, prints(1, "short")),
        ],
    ),
    "a job ran before the plugin's first start": (
        {"require_clear_bed": True, "moonraker_after": 40.0},
        [person(5.0, by_hand("short_p1.gcode")), ask(60.0, prints(1, "short"))],
    ),
    "a job paused by M25": (
        {},
        [
            person(10.0, by_hand("m25_p1.gcode")),
            ask(60.0, simply(1, "cancel")),
            ask(120.0, prints(2, "short")),
        ],
    ),
    "a job paused by M25 after a PAUSE at another time": (
        {},
        [
            person(5.0, "PAUSE"),
            person(10.0, by_hand("m25_p1.gcode")),
            ask(60.0, simply(1, "cancel")),
            person(110.0, by_hand("m25_p2.gcode")),
            person(150.0, "PAUSE"),
            ask(160.0, simply(2, "resume")),
            ask(200.0, simply(3, "cancel")),
        ],
    ),
    "a cancel that takes 40 seconds": (
        {"cancel": 40.0},
        [person(10.0, by_hand("long_p1.gcode")), ask(60.0, simply(1, "cancel"))],
    ),
    "a refused print, then a power cut": (
        {},
        [
            person(10.0, by_hand("m25_p1.gcode")),
            ask(40.0, prints(1)),
            Happening(60.0, "power", {"seconds": 2.0, "wrong_by": 0.0, "right_after": 5.0}),
        ],
    ),
    "a print that waits, then a power cut": (
        {},
        [
            person(18.0, "G4 P900000"),
            ask(20.0, prints(1)),
            Happening(60.0, "power", {"seconds": 2.0, "wrong_by": 0.0, "right_after": 5.0}),
        ],
    ),
    "a broken settings file, and then a restart": (
        {},
        [
            Happening(10.0, "save", {"security": {"denied_actions": ["print_local"]}}),
            Happening(20.0, "save broken"),
            Happening(30.0, "kill", {"seconds": 1.0}),
            ask(60.0, prints(1, "short")),
        ],
    ),
    "a full disk, and what was done comes again": (
        {},
        [
            ask(20.0, simply(1, "home")),
            Happening(50.0, "full disk", {"seconds": 60.0}),
            Happening(51.0, "repeat"),
        ],
    ),
    "a full disk, and what was refused for it comes again": (
        {},
        [
            Happening(20.0, "full disk", {"seconds": 40.0}),
            ask(30.0, simply(1, "set_speed", speed=61)),
            Happening(90.0, "repeat"),
        ],
    ),
    "the switch at the printer, over a power cut": (
        {},
        [
            Happening(20.0, "remote off"),
            Happening(20.5, "power", {"seconds": 2.0, "wrong_by": 3600.0, "right_after": 60.0}),
            ask(40.0, simply(1, "home"), prints(2, "short")),
        ],
    ),
    "a job ran and Klippy crashed while Moonraker was away": (
        {"require_clear_bed": True},
        [
            Happening(20.0, "kill", {"seconds": 80.0}),
            person(30.0, by_hand("m25_p1.gcode")),
            Happening(60.0, "crash", {"back_after": 20.0}),
            ask(110.0, prints(1, "short")),
        ],
    ),
    "a job ran and the board was restarted while Moonraker was away": (
        {"require_clear_bed": True},
        [
            person(20.0, by_hand("long_p1.gcode")),
            Happening(20.0, "kill", {"seconds": 80.0}),
            person(30.0, "FIRMWARE_RESTART"),
            ask(110.0, prints(1, "short")),
        ],
    ),
    "what waited, over a restart and a crash of Klippy that nobody saw": (
        {},
        [
            person(19.0, "G4 P60000"),
            ask(20.0, prints(1), simply(2, "set_speed", speed=61)),
            Happening(40.0, "kill", {"seconds": 20.0}),
            Happening(45.0, "crash", {"back_after": 2.0}),
        ],
    ),
    "Klippy hangs under a stop, and the operator has a switch for it": (
        {"power_device": "works"},
        [
            Happening(20.0, "hang", {"seconds": 60.0, "dead_mcu": True}),
            ask(22.0, simply(1, "emergency_stop")),
        ],
    ),
    "Klippy takes a stop, so the switch stays": (
        {"power_device": "works"},
        [ask(22.0, simply(1, "emergency_stop"))],
    ),
    "the queue goes on after a job": (
        {"automatic_queue": True},
        [
            ask(20.0, prints(1, "short")),
            ask(25.0, prints(2, "short", queue=True)),
        ],
    ),
    "the queue does not start by itself": (
        {},
        [
            ask(20.0, prints(1, "short")),
            ask(25.0, prints(2, "short", queue=True)),
            ask(60.0, prints(3, "short", queue=True)),
        ],
    ),
    "a reply that never arrives, of a hub that hands out again": (
        {"features": {"command_results": True, "redeliver": 15}},
        [
            ask(10.0, simply(1, "set_speed", speed=61)),
            Happening(19.5, "weather", {"kind": "cut", "seconds": 8.0}),
            ask(20.0, simply(2, "set_speed", speed=62), prints(3, "short")),
        ],
    ),
    "a SIGKILL before the receipt, of a hub that hands out again": (
        {"features": {"command_results": True, "redeliver": 15}},
        [
            ask(10.0, simply(1, "set_speed", speed=61)),
            ask(20.0, simply(2, "set_speed", speed=62), prints(3, "short")),
            Happening(20.0, "kill", {"seconds": 2.0}, ("hub", "delivered", 0.004)),
        ],
    ),
    "a firmware_restart waits behind a long script when a stop comes": (
        {},
        [
            ask(20.0, gcode(1, "G4 P40000"), simply(2, "firmware_restart")),
            ask(25.0, simply(3, "emergency_stop")),
        ],
    ),
    "a stop is handed out again, since a slow card cannot tell its end": (
        {**SECOND, "features": {"command_results": True, "redeliver": 15}},
        [
            Happening(19.0, "slow disk", {"write": 8.0, "seconds": 80}),
            ask(20.0, simply(1, "emergency_stop")),
            person(27.0, "FIRMWARE_RESTART"),
        ],
    ),
    "an offset is kept, for which Klippy restarts": (
        {},
        [
            ask(10.0, simply(1, "home")),
            ask(25.0, simply(2, "z_offset", step=0.05)),
            ask(35.0, simply(3, "z_offset", save=True), simply(4, "set_speed", speed=61)),
        ],
    ),
    "what the further actions may not do": (
        {},
        [
            ask(10.0, simply(1, "home")),
            person(19.0, "M104 S200"),
            ask(90.0, simply(2, "move", x=201, speed=50), simply(3, "extrude", length=51, speed=5)),
            ask(
                100.0, simply(4, "park", x=51, tag=4), simply(5, "set_pin", pin="lamp", value=1001)
            ),
            ask(110.0, simply(6, "move", x=20, speed=50), simply(7, "extrude", length=5, speed=5)),
            person(130.0, by_hand("long_p1.gcode")),
            ask(200.0, simply(8, "move", x=30, speed=50), simply(9, "retract", length=5, speed=6)),
            ask(210.0, simply(10, "blink", x=5, tag=10), simply(11, "wave", N=11)),
            ask(
                220.0,
                simply(12, "z_offset", step=0.05),
                simply(13, "power", device="printer", state="off"),
            ),
            ask(230.0, simply(14, "park", x=5, tag=14), simply(15, "z_offset", save=True)),
        ],
    ),
    "an object of a job, and the next one calls its own the same": (
        {"attended": 1.0},
        [
            person(10.0, by_hand("parts_p1.gcode")),
            person(50.0, "PAUSE"),
            person(60.0, "G4 P8000"),
            person(60.1, by_hand("parts_p2.gcode")),
            ask(61.0, [1, "exclude_object", {"object": "part_1"}, True]),
            ask(90.0, [2, "exclude_object", {"object": "ghost_2"}, True]),
            ask(100.0, simply(3, "cancel")),
            ask(120.0, prints(4, "parts")),
            ask(140.0, [5, "exclude_object", {"object": "part_2"}, True]),
            ask(150.0, [6, "exclude_object", {"object": "part_3"}, True], age=90.0),
            ask(160.0, simply(7, "exclude_object", object="part_4")),
        ],
    ),
    "an entry is taken out of the queue as it begins": (
        {},
        [
            person(15.0, "G4 P30000"),
            Happening(18.0, "queue up", {"files": ["short_p1.gcode"] * 3}),
            ask(20.0, simply(1, "queue_start")),
            ask(30.0, simply(2, "queue_remove", job=f"{1:016X}")),
            ask(70.0, simply(3, "queue_remove", job="short_p1.gcode")),
            ask(90.0, simply(4, "queue_remove", job="nothing.gcode")),
        ],
    ),
    "a file of the hub's goes, and none but that": (
        {"fetched": ["short_p1.gcode", "long_p2.gcode", "short_p3.gcode", "long_p4.gcode"]},
        [
            person(10.0, by_hand("long_p2.gcode")),
            Happening(15.0, "queue up", {"files": ["short_p3.gcode", "short_p5.gcode"]}),
            ask(20.0, *(simply(n, "delete_file", file=f"short_p{n}.gcode") for n in (1, 3, 5))),
            ask(30.0, simply(6, "delete_file", file="long_p2.gcode")),
            Happening(40.0, "save a file", {"file": "long_p4.gcode"}),
            ask(45.0, simply(7, "delete_file", file="long_p4.gcode")),
            person(50.0, "CANCEL_PRINT"),
            Happening(60.0, "ask", {"commands": [simply(8, "delete_file", file="long_p2.gcode")]}),
            Happening(
                60.0, "person", {"script": by_hand("long_p2.gcode")}, ("hub", "delivered", 0.06)
            ),
        ],
    ),
    "a spool is chosen, and somebody chooses another": (
        {"spoolman": 3.0},
        [
            ask(20.0, simply(1, "spool", spool=3)),
            ask(40.0, simply(2, "spool", spool=4)),
            Happening(40.0, "choose a spool", {"spool": 12}, ("moonraker", "spool", 0.01)),
            ask(60.0, simply(3, "spool", spool=63), simply(4, "spool", spool=5.5)),
            ask(80.0, simply(5, "spool", spool=0)),
        ],
    ),
    "lights, and those that the operator keeps": (
        {},
        [
            ask(20.0, simply(1, "led", led="strip", red=0.001, blue=1)),
            ask(25.0, simply(2, "led", led="strip", red=0.002, blue=1.5)),
            ask(30.0, simply(3, "led", led="case", red=0.003), simply(4, "led", led="x", red=0.1)),
        ],
    ),
    "G-code that waits too long for Klippy": (
        {},
        [person(19.0, "G4 P250000"), ask(20.0, simply(1, "home"), gcode(2, "G28 X"))],
    ),
    "the same, and a router that answers with 1970": (
        {},
        [
            person(19.0, "G4 P250000"),
            ask(20.0, simply(1, "home")),
            Happening(100.0, "weather", {"kind": "router", "seconds": 220.0}),
        ],
    ),
    "a print behind G-code that waits": (
        {},
        [ask(20.0, gcode(1, "G4 P20000"), gcode(2, "G28"), gcode(3, "G28 X"), prints(4, "short"))],
    ),
    "a clock apart from the hub's, over a SIGKILL": (
        {"skew": -300.0},
        [
            person(19.0, "G4 P70000"),
            ask(20.0, simply(1, "home"), simply(2, "home_x")),
            Happening(30.0, "kill", {"seconds": 3.0}),
            Happening(33.0, "weather", {"kind": "down", "seconds": 25.0}),
        ],
    ),
    "the power goes before a slow card has the latch": (
        {"require_clear_bed": True},
        [
            Happening(19.0, "slow disk", {"write": 10.0, "seconds": 10}),
            person(20.0, by_hand("long_p1.gcode")),
            Happening(22.5, "power", {"seconds": 5.0, "wrong_by": 0.0, "right_after": 5.0}),
            ask(60.0, prints(1, "short")),
        ],
    ),
    "a restart while the disk takes nothing": (
        {"home": 20.0},
        [
            ask(20.0, simply(1, "home")),
            Happening(30.0, "full disk", {"seconds": 60.0}),
            Happening(32.0, "kill", {"seconds": 3.0}),
            Happening(60.0, "restart"),
        ],
    ),
    "the switch at the printer, on a slow card": (
        {},
        [
            Happening(19.0, "slow disk", {"write": 8.0, "seconds": 20}),
            Happening(20.0, "remote off"),
            Happening(22.0, "power", {"seconds": 2.0, "wrong_by": 0.0, "right_after": 5.0}),
            ask(40.0, simply(1, "home")),
        ],
    ),
    "the switch at the printer, twice, on a full disk": (
        {},
        [
            Happening(19.0, "full disk", {"seconds": 60.0}),
            Happening(20.0, "remote off"),
            Happening(35.0, "remote off"),
            Happening(50.0, "kill", {"seconds": 2.0}),
            ask(90.0, simply(1, "home")),
        ],
    ),
    "print, cancel, and a SIGKILL before the print was told": (
        {},
        [
            person(19.0, "M190 S90"),
            Happening(19.0, "slow disk", {"write": 1.0, "seconds": 30}),
            ask(20.0, prints(1), simply(2, "cancel")),
            Happening(20.0, "kill", {"seconds": 2.0}, ("hub", "delivered", 5.5)),
        ],
    ),
    "firmware_restart in a job, over a restart of Moonraker": (
        {"home": 20.0},
        [
            person(10.0, by_hand("long_p1.gcode")),
            ask(60.0, [1, "home", {}, True], simply(2, "firmware_restart")),
            Happening(60.0, "restart", {}, ("hub", "delivered", 0.5)),
        ],
    ),
    "a stop that comes again while the disk is full": (
        {},
        [
            Happening(20.0, "full disk", {"seconds": 40.0}),
            ask(30.0, simply(1, "home")),
            Happening(32.0, "slow disk", {"write": 4.0, "seconds": 60}),
            ask(45.0, simply(2, "emergency_stop")),
            Happening(45.0, "repeat", {}, ("hub", "delivered", 2.0)),
        ],
    ),
    "a stop under the id of an earlier one, where stops are forbidden": (
        SECOND,
        [
            ask(20.0, simply(1, "emergency_stop")),
            Happening(90.0, "new database"),
            Happening(91.0, "save", {"security": {"remote_control": "off"}}),
            person(92.0, by_hand("long_p2.gcode")),
            ask(120.0, simply(3, "emergency_stop")),
        ],
    ),
    "what was done comes again while a slow card starts": (
        {},
        [
            ask(20.0, simply(1, "home")),
            Happening(50.0, "slow disk", {"write": 6.0, "seconds": 90}),
            Happening(51.0, "kill", {"seconds": 1.0}),
            Happening(53.0, "repeat"),
        ],
    ),
    "a file of a job in a Klippy that hangs, which a full disk had forgotten": (
        {"check_every": 15, "fetched": ["heats_p4.gcode"]},
        [
            Happening(10.0, "full disk", {"seconds": 65.0}),
            person(57.0, by_hand("heats_p4.gcode")),
            Happening(77.8, "restart"),
            Happening(78.9, "hang", {"seconds": 79.0, "dead_mcu": False}),
            ask(79.4, simply(9, "delete_file", file="heats_p4.gcode")),
        ],
    ),
    "the switch is thrown while a Klippy that hangs is asked what it has open": (
        {"fetched": ["long_p8.gcode"]},
        [
            Happening(30.0, "hang", {"seconds": 4.0, "dead_mcu": False}),
            ask(29.0, simply(1, "delete_file", file="long_p8.gcode")),
            Happening(32.0, "remote off", {}),
        ],
    ),
    "the next reply comes while something in the first is refused, on a slow card": (
        {},
        [
            Happening(19.0, "slow disk", {"write": 9.0, "seconds": 60}),
            ask(20.0, simply(1, "set_speed", speed=999), gcode(2, "M105")),
            ask(23.5, gcode(3, "M105")),
        ],
    ),
    "a print waits for Klippy, and its hub is left for another one meanwhile": (
        {},
        [
            person(19.0, "G4 P30000"),
            ask(20.0, prints(1)),
            Happening(25.0, "move"),
            ask(70.0, simply(2, "home")),
        ],
    ),
    "buttons at the printer, while a slow card writes": (
        {"home": 20.0, "pause": 9.0},
        [
            person(19.0, "G28"),
            ask(20.0, prints(1, "fails")),
            person(30.0, "PAUSE"),
            Happening(30.0, "slow disk", {"write": 3.0, "seconds": 60}),
        ],
    ),
}


def pinned(name: str) -> Story:
    house, happenings = TALES[name]
    whole = {**make_house(random.Random(1)), **CALM, **house}
    return Story(name, whole, tuple(sorted(happenings, key=lambda h: h.at)))
