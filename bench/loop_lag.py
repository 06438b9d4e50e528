"""How long the plugin holds Moonraker's event loop at the worst, while everything goes wrong.

The real stack of the fault matrix, with a probe inside Moonraker's process (tests/rig/probe.py):
it measures every callback of the loop, looks at the stack of those that take long, and measures how
late the loop comes back from waiting. Time spent waiting for a processor does not count, nor passes
of the garbage collector (which are told apart); time blocked on a disk, a lock or another thread of
the plugin does.

What a virtual machine's host takes away cannot always be told from that, but it does not come at
the same place again: trouble that held the loop for longer than the limit is gone through twice
more, and the middle one of the three counts.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.figures import Figure
from bench.process import machine_seconds
from components.hub.json_body import MAX_VALUES
from tests.rig.gcode import make_gcode
from tests.rig.klippy import short_folder, wait_until
from tests.rig.probe import WORTH_NOTING
from tests.stack.fault_matrix.bench import FaultyStack

PART = "loop_lag"
LIMIT = 0.010  # seconds; the project's promise
REPEATED = 3  # times, of what took longer

Kind = Callable[[FaultyStack, float], None]


def measure(quick: bool) -> list[Figure]:
    seconds = 2.0 if quick else 8.0
    longest, collection, callbacks = WORTH_NOTING, 0.0, 0
    with short_folder("l") as folder, FaultyStack(folder) as stack:
        _fill(stack, folder)
        before = machine_seconds()
        for name, kind in KINDS.items():
            passes: list[dict[str, Any] | None] = []
            while not passes or (len(passes) < REPEATED and _seconds(passes[0]) > LIMIT):
                stack.whole()
                with _measured(stack) as seen:
                    kind(stack, seconds)
                callbacks += seen["callbacks"]
                collection = max(collection, seen["collection"])
                ours = [stall for stall in seen["seen"] if stall["ours"]]
                passes.append(max(ours, key=_seconds, default=None))
                print(f"  {name}: {_told(passes[-1])}", flush=True)
            longest = max(longest, statistics.median(map(_seconds, passes)))
        taken, wanted = (now - then for now, then in zip(machine_seconds(), before, strict=True))
    return [
        Figure(PART, "longest stall of the event loop by the plugin", longest, "s", LIMIT),
        Figure(PART, "longest pass of Python's garbage collector meanwhile", collection, "s"),
        Figure(PART, "callbacks looked at", float(callbacks), ""),
        Figure(PART, "taken away by the machine's host meanwhile", 100 * taken / wanted, "%"),
    ]


def _seconds(stall: dict[str, Any] | None) -> float:
    return 0.0 if stall is None else float(stall["seconds"])


def _told(stall: dict[str, Any] | None) -> str:
    if stall is None:
        return f"none of {WORTH_NOTING * 1000:g} ms"
    where = " < ".join(stall["stack"][:4]) or stall["what"].rpartition("/")[2]
    text = f"{float(stall['seconds']) * 1000:.1f} ms in {where}"
    if stall["blocked"] > stall["seconds"] / 2:
        text += f", {stall['blocked'] * 1000:.1f} ms of it blocked"
        if stall["at_work"]:
            text += " beside " + "; ".join(stall["at_work"])
    return text


def _fill(stack: FaultyStack, folder: Path) -> None:
    """What a printer in use has: hundreds of files, a job in the history."""
    for number in range(300):
        (stack.gcodes / f"part_{number:03d}.gcode").write_text("G4 P1\n")
    stack.print_job()


@contextmanager
def _measured(stack: FaultyStack) -> Iterator[dict[str, Any]]:
    seen: dict[str, Any] = {}
    stack.moonraker.post("/server/probe/stalls", {"begin": True})
    yield seen
    seen.update(stack.moonraker.post("/server/probe/stalls"))


# What happens meanwhile


def _live(stack: FaultyStack, seconds: float) -> None:
    """Time goes by with commands, panels and doctors."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        stack.count_once("lag")
        stack.status()
        time.sleep(0.25)


def _behaves(mode: str, **params: Any) -> Kind:
    def kind(stack: FaultyStack, seconds: float) -> None:
        stack.faults.behave(mode, **params)
        _live(stack, seconds)
        stack.faults.clear_behaviour()
        stack.faults.drop_connections()
        stack.wait_quiet()

    return kind


def _camera(mode: str, **params: Any) -> Kind:
    def kind(stack: FaultyStack, seconds: float) -> None:
        stack.cameras[0].behave(mode, **params)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            stack.do("snapshot")
        stack.camera_servers[0].clear_behaviour()
        stack.do("snapshot")

    return kind


def _large_reply(entries: Callable[[], Any]) -> Kind:
    """A whole, honest reply of nearly 1 MiB to every request."""

    def kind(stack: FaultyStack, seconds: float) -> None:
        reply = {"success": True, "message": "", "commands": entries()}
        stack.faults.behave("answer", reply=reply, times=6)
        _live(stack, seconds)
        stack.faults.clear_behaviour()
        stack.wait_quiet(60)

    return kind


def _file_list(stack: FaultyStack, seconds: float) -> None:
    """As many files as are read of a list, for the doctor who asks for it."""
    name = "a file of the ordinary kind"
    files = [
        {"name": f"{n}.gcode", "original_name": f"{name} {n}.gcode", "size": n, "md5": "0" * 32}
        for n in range(1000)
    ]
    stack.faults.behave("answer", reply={"success": True, "files": files})
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        stack.moonraker.get("/server/tecmedhub/doctor")
    stack.faults.clear_behaviour()
    stack.wait_quiet(60)


def _burst(stack: FaultyStack, seconds: float) -> None:
    """Two hundred commands in one reply."""
    with stack.hub.transaction():
        for _ in range(200):
            last = stack.hub.queue(stack.token, "macro", macro_name="COUNT", params={"NAME": "b"})
    stack.wait_result(last, 120)


def _print(stack: FaultyStack, seconds: float) -> None:
    stack.put("lag.gcode", make_gcode(seconds=seconds, layers=10))
    stack.print("lag.gcode")
    wait_until(lambda: stack.klippy.query("print_stats")["state"] == "complete", 180, "the print")


def _download(stack: FaultyStack, seconds: float) -> None:
    data = b"G4 P1\n" + b";" + b"x" * (60 << 20) + b"\n"
    stack.hub.add_file("big.gcode", data, stack.token)
    stack.do("print", timeout=120, file="big.gcode")


def _klippy(stack: FaultyStack, seconds: float) -> None:
    stack.klippy.kill()
    _live(stack, seconds / 2)
    stack.calm()
    stack.wait_quiet()


def _disk(state: str, delay: float = 0.0) -> Kind:
    def kind(stack: FaultyStack, seconds: float) -> None:
        stack.hazards.disk(state, stack.moonraker.state_folder, stack.moonraker.logs, delay=delay)
        _live(stack, seconds)
        stack.hazards.clear()
        stack.wait_no_warning("cannot be written", 60)

    return kind


def _backlog(stack: FaultyStack, seconds: float) -> None:
    """An outage full of events, and their delivery."""
    stack.faults.refuse()
    stack.wait_warning("refuses")
    for _ in range(int(seconds)):
        stack.print_job()
        stack.moonraker.post("/printer/gcode/script", {"script": "M220 S110\nM220 S100"})
    stack.faults.listen()
    stack.wait_quiet()


def _settings(written: Callable[[int], Any]) -> Kind:
    """The JSON file is saved again and again; `written` makes its content of a number."""

    def kind(stack: FaultyStack, seconds: float) -> None:
        end = time.monotonic() + seconds
        number = 0
        while time.monotonic() < end:
            number += 1
            stack.configure_live(json.dumps(written(number)))
            time.sleep(0.5)
        stack.configure_live("")
        stack.wait_no_warning("not", 20)
        stack.wait_no_warning("only the first", 20)

    return kind


def _unknown_names(number: int) -> Any:
    rubbish = {f"rubbish_{n}": n for n in range(5000)}
    return {"printer_name": f"name {number}", "x" * 1000: [1] * 5000, **rubbish}


def _wrong_lists(number: int) -> Any:
    return {
        "printer_name": f"name {number}",
        "security": {
            "denied_actions": ["self destruct"] * 3000,
            "allowed_macros": "a b," * 10_000,
            "allowed_gcode_patterns": ["M117"] * 3000,
        },
        "file_management": {"allowed_hosts": ["a b"] * 3000},
    }


def _panels(stack: FaultyStack, seconds: float) -> None:
    """Somebody looks at everything."""
    end = time.monotonic() + seconds
    pages = ("status", "config", "history", "commands", "events", "panel", "image", "doctor")
    while time.monotonic() < end:
        for page in (*pages, "support"):
            stack.moonraker.request("GET", f"/server/tecmedhub/{page}")


KINDS: dict[str, Kind] = {
    "nothing wrong": _live,
    "a print": _print,
    "panel, doctor and every endpoint": _panels,
    "hub refuses": _backlog,
    "hub hangs": _behaves("hang"),
    "hub hangs in the body": _behaves("hang_body"),
    "hub answers HTML": _behaves("html"),
    "hub answers 500": _behaves("status"),
    "hub sends 50 MiB": _behaves("huge"),
    "hub sends without end": _behaves("endless_chunks"),
    "hub sends headers without end": _behaves("endless_headers"),
    "hub sends a gzip bomb": _behaves("gzip_bomb"),
    "hub drips": _behaves("drip", interval=0.001),
    "hub sends a million values": _large_reply(lambda: [7] * 340_000),
    "hub sends as many numbers as are read": _large_reply(lambda: [7] * (MAX_VALUES - 100)),
    "hub sends as many brackets as are read": _large_reply(lambda: [[[[]]]] * 740),
    "hub sends as many commands as are read": _large_reply(
        lambda: [{"id": f"c{n}", "action": "home", "timestamp": 1} for n in range(2_900)]
    ),
    "hub sends one command of 1 MiB": _large_reply(
        lambda: [{"id": 1, "action": "gcode", "gcode": "G1 X1\n" * 150_000}]
    ),
    "hub sends 200,000 words in one command": _large_reply(
        lambda: [{"id": 1, "type": "macro", "command": "LOAD " + "A=1 " * 200_000}]
    ),
    "hub sends one command of as many parameters as are read": _large_reply(
        lambda: [{"id": 1, "action": "home", **{f"p{n}": n for n in range(MAX_VALUES - 100)}}]
    ),
    "hub sends 2,900 emergency stops": _large_reply(
        lambda: [{"id": f"s{n}", "action": "emergency_stop"} for n in range(2_900)]
    ),
    "hub lists 1,000 files": _file_list,
    "hub sends JSON that is cut short behind a notice": _behaves(
        "answer", body=b"Notice: " + b'{"success":' * 8 + b"[" + b"7," * (MAX_VALUES - 100)
    ),
    "hub sends 1 MiB that is no text": _behaves("answer", body=b"\xff" * (1 << 20)),
    "200 commands at once": _burst,
    "a file of 60 MiB": _download,
    "camera sends 50 MiB": _camera("big"),
    "camera sends a stream": _camera("multipart"),
    "camera sends a bomb": _camera("bomb_png"),
    "camera hangs": _camera("hang"),
    "Klippy is killed": _klippy,
    "disk full": _disk("full"),
    "disk read-only": _disk("read-only"),
    "disk slow": _disk("slow", 0.2),
    "settings of unknown names, again and again": _settings(_unknown_names),
    "settings of wrong lists, again and again": _settings(_wrong_lists),
}
