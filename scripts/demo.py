"""`make demo`: a printer made of software, a real Moonraker with the plugin, and the hub.

The hub works through a queue of commands, among them a print of a file that it holds itself. On a
terminal a table shows live what the hub knows of the printer; elsewhere each change is one line.
Ends with what the hub's database holds, and with 0 only when everything in it is as it should be.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.rig.gcode import make_gcode
from tests.rig.klippy import RigError, short_folder
from tests.rig.stack import Stack

FILE = "llavero.gcode"
PRINT_SECONDS = 12
PATIENCE = 180  # seconds for all of it, on a slow machine


@dataclass(frozen=True)
class Step:
    """One command for the hub's queue. `when`: the hub queues it once it sees the printer so."""

    action: str
    expected: str = "done"
    when: str = ""
    parameters: tuple[tuple[str, Any], ...] = ()

    @property
    def text(self) -> str:
        return " ".join([self.action, *(f"{name}={value}" for name, value in self.parameters)])


def step(action: str, *, expected: str = "done", when: str = "", **parameters: Any) -> Step:
    return Step(action, expected, when, tuple(parameters.items()))


QUEUE = (
    step("home"),
    step("heat", hotend_temp=60, bed_temp=40),
    step("set_fan", speed=128),
    step("heat", hotend_temp=999, expected="refused"),
    step("print", file=FILE, when="answered"),
    step("set_speed", speed=150, when="printing"),
    step("pause", when="progress"),
    step("resume", when="paused"),
    step("home", when="resumed", expected="refused"),
    step("cool_down", when="finished"),
)


class Screen:
    """What is shown: a table that is drawn over itself on a terminal, a line a change elsewhere."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()
        self._drawn = 0
        self._said: set[str] = set()
        self._last = ""

    def say(self, text: str) -> None:
        self._drawn = 0
        print(text, flush=True)

    def show(self, status: dict[str, Any], rows: list[tuple[str, str, str]]) -> None:
        if self.live:
            self._draw(table(status, rows))
            return
        brief = summary(status)
        if brief != self._last:
            self._last = brief
            self.say(f"  {brief}")
        for name, word, message in rows:
            line = f"    {word:9} {name}" + (f": {message}" if message else "")
            if word not in ("", "queued") and line not in self._said:
                self._said.add(line)
                self.say(line)

    def _draw(self, lines: list[str]) -> None:
        width = shutil.get_terminal_size().columns - 1
        back = f"\x1b[{self._drawn}A" if self._drawn else ""
        print(back + "\n".join(f"\x1b[2K{line[:width]}" for line in lines), flush=True)
        self._drawn = len(lines)


def summary(status: dict[str, Any]) -> str:
    state = str(status.get("print_state") or "")
    shown = str(status["status"]) + (f" ({state})" if state == "paused" else "")
    return f"{shown}, {status['progress']} %" + (
        f", {status['current_file']}" if status["current_file"] else ""
    )


def table(status: dict[str, Any], rows: list[tuple[str, str, str]]) -> list[str]:
    """The live view: what a page of the hub would show of this printer."""
    done = int(status["progress"]) * 40 // 100
    lines = [
        "",
        f"  {status['name']}   {summary(status)}",
        f"  [{'#' * done}{'.' * (40 - done)}]  {status['time_remaining']} min left",
        f"  hotend {status['temp_hotend']:6.1f} / {status['temp_hotend_target']:.0f} °C"
        f"   bed {status['temp_bed']:6.1f} / {status['temp_bed_target']:.0f} °C"
        f"   speed {status['print_speed']} %   fan {status['fan_speed']} %",
        "",
    ]
    lines += [f"  {word or '-':9} {name:36} {message}" for name, word, message in rows]
    return [*lines, ""]


class Demo:
    """Queues the steps as their moment comes, and remembers which command is which."""

    def __init__(self, stack: Stack, screen: Screen) -> None:
        self.stack = stack
        self.screen = screen
        self.ids: list[Any] = []
        self.paused_seen = False

    def status(self) -> dict[str, Any]:
        return self.stack.hub.status(self.stack.token) or {}

    def reached(self, when: str, status: dict[str, Any]) -> bool:
        """Has the hub seen the printer come this far?"""
        state = status.get("print_state")
        self.paused_seen = self.paused_seen or state == "paused"
        printing = status["status"] == "printing" and state == "printing"
        return {
            "": True,
            "answered": all(self.results()),
            "printing": printing,
            "progress": printing and status["progress"] >= 20,
            "paused": state == "paused",
            "resumed": printing and self.paused_seen,
            "finished": status["status"] == "idle" and state == "complete",
        }[when]

    def results(self) -> list[Any]:
        return [self.stack.hub.result(self.stack.token, command) for command in self.ids]

    def rows(self) -> list[tuple[str, str, str]]:
        found = self.results()
        rows = []
        for index, entry in enumerate(QUEUE):
            result = found[index] if index < len(found) else None
            word = "queued" if index < len(found) else ""
            rows.append(
                (entry.text, result.status, str(result.body.get("message", "")))
                if result
                else (entry.text, word, "")
            )
        return rows

    def run(self) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            status = self.status()
            if len(self.ids) < len(QUEUE) and self.reached(QUEUE[len(self.ids)].when, status):
                entry = QUEUE[len(self.ids)]
                parameters = dict(entry.parameters)
                self.ids.append(self.stack.hub.queue(self.stack.token, entry.action, **parameters))
            self.screen.show(status, self.rows())
            if len(self.ids) == len(QUEUE) and all(self.results()):
                return
            time.sleep(0.1)
        raise RigError(f"not finished after {PATIENCE} s")

    def verdict(self) -> list[str]:
        """What is not as it should be, in the hub's database."""
        hub, token = self.stack.hub, self.stack.token
        wrong = [
            f"{entry.text} was {result.status}, not {entry.expected}: {result.body.get('message')}"
            for entry, result in zip(QUEUE, self.results(), strict=True)
            if result.status != entry.expected
        ]
        states = [state for state in hub.states(token) if state in ("idle", "printing")]
        if states[:2] != ["idle", "printing"] or states[-1] != "idle":
            wrong.append(f"the states seen were {', '.join(states)}")
        if FILE not in str(self.status().get("last_completed")):
            wrong.append(f"{FILE} is not the last completed print")
        entry = hub.file_entry(FILE, token)
        if not (entry and entry["downloaded"]):
            wrong.append(f"{FILE} was not reported as taken")
        return wrong


def main() -> int:
    screen = Screen()
    screen.say("Starting a printer, Moonraker and the hub …")
    with contextlib.ExitStack() as parts:
        folder = parts.enter_context(short_folder("demo"))
        try:
            stack = parts.enter_context(Stack(folder, name="🦄 Demo", token="DEMO_001"))
            stack.hub.add_file(FILE, make_gcode(seconds=PRINT_SECONDS).encode(), stack.token)
            screen.say(f"Hub: {stack.hub.base_url}   Moonraker: {stack.moonraker.url}")
            demo = Demo(stack, screen)
            demo.run()
        except RigError as error:
            screen.say(f"The demo could not be carried through: {error}")
            return 1
        updates = stack.hub.count(stack.token)
        wrong = demo.verdict()
        screen.say("")
        screen.say("In the hub's database:")
        screen.say(f"  states seen in order:  {' -> '.join(stack.hub.states(stack.token))}")
        screen.say(f"  last completed print:  {demo.status()['last_completed']}")
        screen.say(f"  status updates:        {updates}")
        screen.say("  commands:")
        for name, word, message in demo.rows():
            screen.say(f"    {word:9} {name:36} {message}")
        for text in wrong:
            screen.say(f"Not as it should be: {text}")
        return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
