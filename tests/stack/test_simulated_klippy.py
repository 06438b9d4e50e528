"""The simulated Klippy and Moonraker, held to the real ones: after each of the same scripts the
same states are to be seen, and at the end the same history.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.rig.gcode import make_gcode
from tests.rig.klippy_api import KlippySocket
from tests.rig.stack import Stack
from tests.rig.waiting import RigError
from tests.simulation.klippy_gcode import FILES as LINES
from tests.simulation.klippy_gcode import PARTS
from tests.simulation.story import Story, make_house
from tests.simulation.world import World

pytestmark = pytest.mark.stack

PRINT_LONG = 'SDCARD_PRINT_FILE FILENAME="long_1.gcode"'
# Names as the simulation has them, and what they hold for the real Klippy.
FILES: dict[str, bytes] = {
    "short_1.gcode": make_gcode(seconds=4).encode(),
    "long_1.gcode": make_gcode(seconds=200).encode(),
    "unreadable_1.gcode": b"G28\nG4 P1000\n\xff\xfe\xff\nG4 P1000\n",
    "ends_itself_1.gcode": b"CANCEL_PRINT\n",
    "m25_1.gcode": b"G28\nG4 P500\nM25\n" + b"G4 P1000\n" * 30,
    "fails_1.gcode": b"G28\nSET_FAN_SPEED FAN=nothing SPEED=1\nG4 P1000\n",
    "parts_1.gcode": "\n".join(
        [*(f"EXCLUDE_OBJECT_DEFINE NAME={name}" for name in PARTS), "G28", *["G4 P1000"] * 300]
    ).encode(),
}
PRINT_PARTS = "SDCARD_PRINT_FILE FILENAME=parts_1.gcode"
# Each script is sent when the one before is over and its state is reached; "&": it is not waited
# for.
STORIES: dict[str, list[str]] = {
    "a job to its end": ['SDCARD_PRINT_FILE FILENAME="short_1.gcode"'],
    "paused, resumed, cancelled": [PRINT_LONG, "PAUSE", "RESUME", "CANCEL_PRINT"],
    "paused by M25": [
        PRINT_LONG,
        "M25",
        "RESUME",
        "CANCEL_PRINT",
        "M24",
        "M25",
        "SDCARD_RESET_FILE",
    ],
    "it pauses itself by M25": [
        'SDCARD_PRINT_FILE FILENAME="m25_1.gcode"',
        "RESUME",
        "PAUSE",
        "RESUME",
        "CLEAR_PAUSE",
        "SDCARD_RESET_FILE",
    ],
    "a byte that Klipper cannot read": [
        'SDCARD_PRINT_FILE FILENAME="unreadable_1.gcode"',
        "CANCEL_PRINT",
        "SDCARD_RESET_FILE",
    ],
    "it cancels itself": ['SDCARD_PRINT_FILE FILENAME="ends_itself_1.gcode"', "CANCEL_PRINT"],
    "it fails": ['SDCARD_PRINT_FILE FILENAME="fails_1.gcode"', "CANCEL_PRINT"],
    "a pause while nothing prints": ["PAUSE", PRINT_LONG, "PAUSE", "CANCEL_PRINT", "CLEAR_PAUSE"],
    "selected, then started": ["M23 long_1.gcode", "M24", "CANCEL_PRINT"],
    "one job on top of another": [
        PRINT_LONG,
        'SDCARD_PRINT_FILE FILENAME="short_1.gcode"',
        "CANCEL_PRINT",
    ],
    "behind a long script": ["& G4 P6000", PRINT_LONG, "PAUSE", "CANCEL_PRINT"],
    "a restart in the midst of a job": [PRINT_LONG, "FIRMWARE_RESTART"],
    "objects left out of a job": [
        "EXCLUDE_OBJECT NAME=PART_1",  # of none
        PRINT_PARTS,
        "EXCLUDE_OBJECT NAME=PART_9",
        "EXCLUDE_OBJECT NAME=part_11",
        "EXCLUDE_OBJECT NAME=PART_9",  # again
        'EXCLUDE_OBJECT NAME="no such part"',
        "EXCLUDE_OBJECT",
        "EXCLUDE_OBJECT CURRENT=1",
        "CANCEL_PRINT",
    ],
    "objects taken in again, and other ones": [
        "EXCLUDE_OBJECT_DEFINE NAME=b CENTER=1,1",
        "EXCLUDE_OBJECT_DEFINE NAME=a",
        "EXCLUDE_OBJECT_DEFINE NAME=B",
        "EXCLUDE_OBJECT_DEFINE",
        "EXCLUDE_OBJECT NAME=b",
        "EXCLUDE_OBJECT NAME=a",
        "EXCLUDE_OBJECT NAME=B RESET=1",
        "EXCLUDE_OBJECT NAME=c",
        "EXCLUDE_OBJECT RESET=1",
        "EXCLUDE_OBJECT NAME=a",
        "EXCLUDE_OBJECT_DEFINE RESET=1",
    ],
    "the objects of the job before": [
        PRINT_PARTS,
        "EXCLUDE_OBJECT NAME=PART_0",
        "CANCEL_PRINT",
        PRINT_PARTS,  # the same ones, none of them left out
        "EXCLUDE_OBJECT NAME=PART_0",
        "CANCEL_PRINT",
        "M23 long_1.gcode",  # has none
    ],
    "objects of a job that is taken off the card": [
        PRINT_PARTS,
        "EXCLUDE_OBJECT NAME=PART_0",
        "PAUSE",
        "SDCARD_RESET_FILE",
        "CLEAR_PAUSE",
    ],
    "a light": [
        "SET_LED LED=case RED=1 BLUE=0.5",
        'SET_LED LED="case" GREEN=0.25',  # alone: what is not named is off
        "SET_LED LED=case RED=0.5 WHITE=0.125 SYNC=0",
        "SET_LED LED=case RED=1.1",
        "SET_LED LED=case RED=-0.1",
        "SET_LED LED=CASE RED=1",
        "SET_LED LED=none RED=1",
        "SET_LED RED=1",
        "SET_LED LED=case",
        "SET_LED LED=case RED=0 GREEN=1 BLUE=0 WHITE=1 SYNC=0",
        "FIRMWARE_RESTART",
    ],
    "a light in a job": [PRINT_LONG, "SET_LED LED=case RED=1", "CANCEL_PRINT"],
}
LOOKED_AT = ("print_stats", "pause_resume", "virtual_sdcard", "exclude_object", "led case")


class State(NamedTuple):
    job: str  # print_stats' state
    file: str
    is_paused: bool
    is_active: bool  # the virtual SD card
    objects: tuple[str, ...]
    left_out: tuple[str, ...]
    light: tuple[float, ...]  # red, green, blue, white


def simulated(scripts: list[str], folder: Path) -> tuple[list[State], list[str]]:
    """The state after each script, and the history."""
    house = {
        **make_house(random.Random(1)),
        "print_it": "short_m.gcode",
        "home": 3.0,
        "moonraker_after": 0.0,
        "cancel": 0.2,
        "pause": 0.2,
    }
    world = World(Story("held to the real one", house, ()), folder)
    klippy = world.klippy
    klippy.files = {name: LINES[name.rpartition("_")[0]] for name in FILES}
    klippy.files["parts_1.gcode"] = [*LINES["parts"], *["G1 X1"] * 210]
    klippy.on_disk = klippy.files.__contains__
    states: list[State] = []

    async def tell() -> None:
        world.moonraker.start()
        await asyncio.sleep(10.0)
        for script in scripts:
            klippy.person(script.removeprefix("& "))
            if not script.startswith("&"):
                await asyncio.sleep(25.0)
                states.append(
                    State(
                        klippy.stats_state,
                        klippy.filename,
                        klippy.is_paused,
                        klippy.work is not None,
                        tuple(klippy.objects),
                        tuple(klippy.left_out),
                        tuple(klippy.colours["case"]),
                    )
                )

    world._tell = tell  # type: ignore[method-assign]
    world.run()
    return states, [job["status"] for job in world.moonraker.jobs]


def look(stack: Stack) -> State:
    seen = stack.klippy.query_all(*LOOKED_AT)
    stats, objects = seen["print_stats"], seen["exclude_object"]
    (light,) = seen["led case"]["color_data"]
    return State(
        stats["state"],
        stats["filename"],
        seen["pause_resume"]["is_paused"],
        seen["virtual_sdcard"]["is_active"],
        tuple(part["name"] for part in objects["objects"]),
        tuple(objects["excluded_objects"]),
        tuple(light),
    )


def send(stack: Stack, script: str) -> None:
    """Until it is over; what it fails by is to be seen in the states."""
    try:
        with KlippySocket(stack.klippy.socket) as line:
            line.call("gcode/script", {"script": script}, 60.0)
    except Exception:
        pass


@pytest.mark.parametrize("name", STORIES)
def test_the_simulated_printer_behaves_as_the_real_one(
    stack: Stack, tmp_path: Path, name: str
) -> None:
    scripts = STORIES[name]
    expected, history = simulated(scripts, tmp_path)
    for file, content in FILES.items():
        (stack.gcodes / file).write_bytes(content)
    send(stack, "SET_LED LED=case")  # dark, whatever the story before has left
    states = iter(expected)
    sent: list[threading.Thread] = []
    for script in scripts:
        if script.startswith("&"):
            sent.append(threading.Thread(target=send, args=(stack, script[2:]), daemon=True))
            sent[-1].start()
            continue
        send(stack, script)
        for thread in sent:
            thread.join(60.0)
        if script == "FIRMWARE_RESTART":
            stack.klippy.wait_restarted()
        state = next(states)
        with contextlib.suppress(RigError):  # how it differs tells more than that it does
            stack.moonraker.wait(lambda state=state: look(stack) == state, 30, script)
        assert look(stack) == state, script

    def jobs() -> Any:
        listed = stack.moonraker.get("/server/history/list", order="asc")["jobs"]
        return [job["status"] for job in listed]

    stack.moonraker.wait(lambda: jobs() == history, 20, f"the history {history}")
