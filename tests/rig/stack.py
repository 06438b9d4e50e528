"""The whole chain: real Klippy on the software board, real Moonraker with the plugin, the PHP hub.

    with Stack(folder) as stack:                 # returns once the hub has heard of the printer
        command = stack.hub.queue(stack.token, "heat", hotend_temp=210)
        stack.hub.wait_for(lambda: stack.hub.result(stack.token, command), 10)
        stack.klippy.query("extruder")["target"]     # 210

    stack.configure(intervals_command_check=1)   # other options of [tecmedhub], and a restart
    stack.reset()                                # as new

In a test, ask for the fixture `stack` (one for the whole session, reset before each test) or
`make_stack` (new ones with arguments of your own). All calls block; use ``asyncio.to_thread`` in
async tests.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .hazards import Hazards
from .hub import PhpHub
from .klippy import KlippyError, KlippyRig, RigError, short_folder
from .moonraker import MoonrakerRig

# Quicker than a user would have it: no test should have to wait for a period.
QUICK = {
    "intervals_status_update": 2,
    "intervals_command_check": 1,
    "retries_base_delay": 1,
    "language": "en",  # the hub speaks Spanish, and so would the plugin
}


class Stack:
    """Three rigs that know each other: `hub`, `klippy`, `moonraker`.

    `generation` chooses the hub's endpoint, `options` further options of [tecmedhub] (`server_url`,
    `printer_token`, `printer_name` and QUICK are given), `features` what the hub announces,
    `python` the interpreter that Moonraker runs in, `checkout` one of Moonraker's repository,
    `sections` more text for moonraker.conf, `neighbours` further components of Moonraker (see
    `MoonrakerRig`), `extra_config` more text for printer.cfg, `template`
    another printer.cfg, `speed` that of the heaters (1.0: 210 °C in a few seconds).
    `connected=False` starts without waiting for the hub to hear of the printer.
    """

    def __init__(
        self,
        folder: Path,
        *,
        generation: int = 1,
        token: str = "T1",
        name: str = "Bench",
        options: dict[str, Any] | None = None,
        features: dict[str, Any] | None = None,
        python: str | None = None,
        checkout: Path | None = None,
        sections: str = "",
        extra_config: str = "",
        template: str = "",
        speed: float = 1.0,
        connected: bool = True,
        neighbours: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.token = token
        self.name = name
        self.generation = generation
        self.features = features
        self.connected = connected
        self.hub = PhpHub(folder / "hub")
        self.klippy = KlippyRig(
            folder / "data", speed=speed, extra_config=extra_config, template=template
        )
        self.moonraker = MoonrakerRig(
            folder / "data",
            python=python,
            checkout=checkout,
            sections=sections,
            klippy_socket=self.klippy.socket,
            neighbours=neighbours,
        )
        self._options = options or {}

    @property
    def server_url(self) -> str:
        return self.hub.gen1_url if self.generation == 1 else self.hub.gen2_url

    @property
    def gcodes(self) -> Path:
        return self.klippy.gcodes

    @property
    def override(self) -> Path:
        """The JSON override (default name), which the plugin follows live."""
        return self.moonraker.config_folder / "tecmedhub.json"

    def options(self, **more: Any) -> dict[str, Any]:
        """What stands under [tecmedhub]."""
        given = {
            "server_url": self.server_url,
            "printer_token": self.token,
            "printer_name": self.name,
        }
        options = {**given, **QUICK, **self._options, **more}
        return {name: value for name, value in options.items() if value is not None}

    # -- life ----------------------------------------------------------------------------------

    def start(self) -> Stack:
        """Start all three, side by side; return when the printer is ready and the hub knows it."""
        if not self.hub.running:
            self.hub.start()
        if self.features:
            self.hub.set(features=self.features)
        self.klippy.launch()
        self.moonraker.tecmedhub = self.options()
        self.moonraker.launch()
        self.klippy.wait_ready()
        self.moonraker.wait_started()
        failed = self.moonraker.get("/server/info")["failed_components"]
        if failed:
            raise RigError(f"Moonraker could not load {failed}")
        self.moonraker.wait_klippy()
        if self.connected:
            self.wait_connected()
        return self

    def stop(self) -> None:
        """End everything, whatever state it is in."""
        with contextlib.ExitStack() as all_of_them:
            all_of_them.callback(self.hub.stop)
            all_of_them.callback(self.klippy.stop)
            all_of_them.callback(self.moonraker.stop)

    def __enter__(self) -> Stack:
        try:
            return self.start()
        except RigError as error:
            self.stop()
            raise RigError(f"{error}\n{self.log_tail()}") from error
        except BaseException:
            self.stop()
            raise

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            print(self.log_tail())
        self.stop()

    def wait_connected(self, timeout: float = 90) -> None:
        """Until the hub has a status of this printer, and in it Klippy is there."""

        def online() -> bool:
            status = self.hub.status(self.token)
            return status is not None and status.get("klippy_state") in (
                "ready",
                "shutdown",
                "error",
            )

        self.moonraker.wait(online, timeout, "the first status at the hub")

    def configure(self, **options: Any) -> None:
        """Restart Moonraker in process with other options; None leaves one out."""
        self.moonraker.write_config(self.options(**options))
        self.moonraker.restart_in_process()
        self.moonraker.wait_klippy()

    def reset(self) -> None:
        """As at the start: printer idle, hub empty, no files, no history, the plugin's memory and
        options new.

        Takes about two seconds, Moonraker's restart most of them: only a new process with an empty
        state folder is sure to remember nothing of the last test.
        """
        self.moonraker.stop()
        shutil.rmtree(self.moonraker.state_folder, ignore_errors=True)
        shutil.rmtree(self.moonraker.data_path / "database", ignore_errors=True)
        self.override.unlink(missing_ok=True)
        self._calm_klippy()
        for path in self.gcodes.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.hub.thaw() if self.hub.running else self.hub.restart()
        self.hub.reset()
        if self.features:
            self.hub.set(features=self.features)
        self.moonraker.write_config(self.options())
        self.moonraker.start()
        self.moonraker.wait_klippy()
        if self.connected:
            self.wait_connected()

    def _calm_klippy(self) -> None:
        self.klippy.launch()
        if self.klippy.state() != "ready":
            self.klippy.mcu.talk()
            self.klippy.mcu.revive()
            self.klippy.firmware_restart()
        elif self.klippy.query("print_stats")["state"] in ("printing", "paused"):
            self.klippy.gcode("CANCEL_PRINT")
        with contextlib.suppress(KlippyError):
            self.klippy.gcode("SDCARD_RESET_FILE")
        with contextlib.suppress(KlippyError):
            # A cancelled PAUSE of a card's print leaves `sd_paused` behind (pause_resume.py), with
            # which CANCEL_PRINT says "cancelled" also of what a wrong line has paused.
            self.klippy.gcode("CLEAR_PAUSE\nPAUSE\nCLEAR_PAUSE")
        self.klippy.gcode("TURN_OFF_HEATERS\nM107\nM220 S100\nM221 S100\nM84")

    # -- conveniences --------------------------------------------------------------------------

    def put(self, name: str, gcode: str) -> None:
        """A file on the printer, as a web interface uploads it."""
        self.moonraker.upload(name, gcode)

    def print(self, name: str) -> None:
        """Start printing a file that is there, as a person at the printer does."""
        self.moonraker.post("/printer/print/start", {"filename": name})

    def do(self, action: str, timeout: float = 60, **params: Any) -> Any:
        """Queue a generation 1 command at the hub and wait for its result."""
        command = self.hub.queue(self.token, action, **params)
        what = f"the result of {action}"
        return self.moonraker.wait(lambda: self.final_result(command), timeout, what)

    def final_result(self, command: Any) -> Any:
        """What became of it; None before that (that it came, or takes its time, is no end)."""
        result = self.hub.result(self.token, command)
        return None if result and result.status in ("received", "running") else result

    def log_tail(self) -> str:
        """The last lines of every log: for the message of a failed test."""
        texts = []
        for name, count in (("klippy.log", 5), ("mcu.log", 5), ("moonraker.log", 60)):
            path = self.moonraker.logs / name
            if path.exists():
                lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
                texts += [f"--- {name}", *(line[:300] for line in lines[-count:])]
        return "\n".join(texts)


@contextlib.contextmanager
def dangerous_stack(**arguments: Any) -> Iterator[tuple[Stack, Hazards]]:
    """A stack whose Moonraker, and all that it starts, may meet a full disk or a jumping clock."""
    with short_folder("s") as folder:
        hazards = Hazards(folder / "hazards")
        stack = Stack(folder, **arguments)
        stack.moonraker.environment.update(hazards.environment)
        with stack:
            yield stack, hazards
