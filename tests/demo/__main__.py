"""`make demo`: prints a short file on a printer made of software, ordered by the hub, for all to
watch.

    python -m tests.demo [--generation 2] [--stay] [--keep FOLDER]

Everything is real but the printer's electronics: Klippy, Moonraker with the plugin that install.sh
linked into it, the hub in PHP. Ends with 0 only if the hub's database holds what it should.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.rig.cameras import CameraServer
from tests.rig.klippy import short_folder
from tests.rig.stack import Stack
from tests.rig.waiting import RigError

from . import story, verdict
from .screen import Screen, pad
from .story import Order
from .watch import Watch

TOKEN = "TECMED_DEMO"
NAME = "🦄 Impresora Demo"
LOOK_EVERY = 0.1  # seconds
LONGEST_WAIT = 60.0  # seconds for any single step; a busy machine prints no slower, but starts so


class Demo:
    def __init__(self, stack: Stack, cameras: CameraServer, screen: Screen) -> None:
        self._stack = stack
        self._camera = next(iter(cameras))
        self._screen = screen
        self._orders: list[verdict.Done] = []
        self._file = story.demo_file()
        self.panel_url = f"{stack.moonraker.url}/server/tecmedhub/panel"
        self.watch = Watch(stack.hub, TOKEN, stack.generation, screen, self.panel_url)

    def run(self) -> list[verdict.Check]:
        """The whole story; what came of it."""
        hub = self._stack.hub
        begin = self._last_id()
        hub.add_file(story.FILE, self._file, TOKEN)
        self._order(story.PRINT)
        self._until(lambda: self._status()["progress"] >= 10, "the print to be on its way")
        self._order(*story.BURST)
        self._answered()
        self._order(story.PAUSE)
        self._until(lambda: self._status()["print_state"] == "paused", "the hub to see the pause")
        self._order(*story.WHILE_PAUSED)
        self._answered()
        self._order(story.RESUME)
        self._until(lambda: self._status()["print_state"] == "printing", "the print to go on")
        self._order(*story.AT_THE_END)
        self._until(self._finished, "the end of the print")
        self._order(story.COOL_DOWN)
        self._answered()
        history = [status for status in hub.history(TOKEN) if status.id >= begin]
        on_disk = (self._stack.gcodes / story.FILE).read_bytes()
        return [
            verdict.check_print(hub, TOKEN, self._stack.generation),
            verdict.check_states(history),
            verdict.check_pause(history),
            verdict.check_figures(history),
            verdict.check_file(hub, TOKEN, on_disk, self._file),
            verdict.check_pictures(hub, TOKEN),
            *verdict.check_orders(hub, TOKEN, self._orders),
        ]

    def goodbye(self) -> verdict.Check:
        """What systemd does at a shutdown: the plugin has the last word."""
        code = self._stack.moonraker.sigterm()
        self.watch.look()
        word = self._status()["status"]
        ok = code == 0 and word == "offline"
        return verdict.Check("the last words", ok, f"{word}: {self._status()['state_message']}")

    def stay(self) -> None:
        """Keep everything running until Ctrl-C."""
        self.watch.tell("demo", "everything keeps running; Ctrl-C ends it", "bold")
        while True:
            self._step()

    # Steps

    def _order(self, *orders: Order) -> None:
        """Queue them at one stroke."""
        with self._stack.hub.transaction():
            for order in orders:
                command = order.queue(self._stack.hub, TOKEN, self._stack.generation)
                self._orders.append(verdict.Done(order, command))
                self.watch.name(command, order.label)

    def _answered(self) -> None:
        """Until the hub has a result of every order so far (of a print, that it began)."""
        hub = self._stack.hub

        def all_told() -> bool:
            return all(hub.result(TOKEN, done.command) for done in self._orders)

        self._until(all_told, "the results of all orders")

    def _finished(self) -> bool:
        status = self._status()
        jobs = status.get("history", [])
        return status["status"] == "idle" and any(job["filename"] == story.FILE for job in jobs)

    def _until(self, probe: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + LONGEST_WAIT
        while not probe():
            if time.monotonic() > deadline:
                raise RigError(f"waited {LONGEST_WAIT:.0f} s in vain for {what}")
            self._step()

    def _step(self) -> None:
        self.watch.look()
        self._camera.progress = self._status()["progress"] / 100
        time.sleep(LOOK_EVERY)

    def _status(self) -> dict[str, Any]:
        return self._stack.hub.status(TOKEN) or {}

    def _last_id(self) -> int:
        last = self._stack.hub.last(TOKEN)
        return 0 if last is None else last.id


def report(screen: Screen, checks: Sequence[verdict.Check], hub_words: str) -> bool:
    """Tell the verdict; whether all is well."""
    screen.drop_panel()
    screen.say()
    screen.say(screen.paint(hub_words, "bold"))
    column = max(len(check.what) for check in checks) + 1
    for check in checks:
        mark = screen.paint("✔", "green") if check.ok else screen.paint("✘", "bold", "red")
        screen.say(f"  {mark} {pad(check.what, column)} {check.found}")
    screen.say()
    return all(check.ok for check in checks)


@contextlib.contextmanager
def working_folder(keep: str) -> Iterator[Path]:
    if not keep:
        with short_folder("demo") as folder:
            yield folder
        return
    folder = Path(keep).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    yield folder


def show(arguments: argparse.Namespace, screen: Screen) -> int:
    screen.say(screen.paint("TecMedHub for Moonraker: the demo", "bold"))
    screen.say("Starting a printer (Klippy on a board of software), Moonraker with the plugin, and")
    screen.say("the hub (PHP) …")
    began = time.monotonic()
    with working_folder(arguments.keep) as folder, CameraServer(1) as cameras:
        stack = Stack(
            folder,
            generation=arguments.generation,
            token=TOKEN,
            name=NAME,
            options={
                "camera_urls": next(iter(cameras)).snapshot_url,
                "camera_capture_interval": 3,
                "camera_timelapse_enabled": False,
                "printer_data_location": "Lab Principal",
                "printer_data_tags": "Demo, PLA",
            },
        )
        with stack:
            moonraker = stack.moonraker.get("/server/info")["moonraker_version"]
            klippy = stack.moonraker.get("/printer/info")["software_version"]
            screen.say(
                f"Ready after {time.monotonic() - began:.0f} s: Moonraker {moonraker}, "
                f"Klippy {klippy}, a hub of generation {arguments.generation}."
            )
            demo = Demo(stack, cameras, screen)
            screen.say(f"Panel: {screen.paint(demo.panel_url, 'blue')}")
            screen.say()
            try:
                checks = demo.run()
            except RigError as error:
                screen.drop_panel()
                screen.say(screen.paint(f"The demo failed: {error}", "bold", "red"))
                screen.say(stack.log_tail())
                return 1
            if arguments.stay:
                with contextlib.suppress(KeyboardInterrupt):
                    demo.stay()
            checks.append(demo.goodbye())
            count = stack.hub.count(TOKEN)
            well = report(screen, checks, f"What the hub's database holds after {count} updates:")
            text = "All as it should be." if well else "Not as it should be: see ✘ above."
            screen.say(screen.paint(text, "bold", "green" if well else "red"))
            if not well:
                screen.say(stack.log_tail())
            return 0 if well else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--generation", type=int, choices=(1, 2), default=1, help="of the hub")
    parser.add_argument("--stay", action="store_true", help="keep running after the print")
    parser.add_argument("--keep", default="", metavar="FOLDER", help="work there, delete nothing")
    arguments = parser.parse_args()
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace", line_buffering=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with Screen() as screen:
            return show(arguments, screen)
    except KeyboardInterrupt:
        print("\nStopped.")
        return 130
    except RigError as error:
        print(f"The demo could not start: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
