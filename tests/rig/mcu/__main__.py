"""The board as a process: ``python -m tests.rig.mcu --link PATH --control SOCKET``.

Opens a pseudo-terminal, puts a symbolic link to Klippy's end at PATH, and listens at SOCKET for
faults and questions: one JSON object a line, answered by one. Every answer has ``ok``; a refusal
has ``error``. Requests (``zone``: hotend, hotend1, bed, chamber; absent = all of them):

    {"op": "state"}                                  pins, axes, zones, link, shutdown, boots
    {"op": "ambient", "celsius": 18, "zone": "bed"}
    {"op": "temperature", "celsius": 60, "zone": "bed"}   as if it had been heated before
    {"op": "sensor", "zone": "hotend", "fault": "open"}   or "short", or "" to mend it
    {"op": "heater", "zone": "bed", "strength": 0.0}      a broken heater; 1.0 mends it
    {"op": "switch", "pin": "spare5", "closed": true}     a filament sensor, say
    {"op": "silent"}   the cable is cut: nothing arrives, nothing is sent; the board runs on
    {"op": "talk"}     the cable is mended
    {"op": "dead"}     no power: the serial port is gone
    {"op": "revive"}   power again: a new serial port, a fresh boot
    {"op": "reboot"}   the board restarts by itself
    {"op": "shutdown", "reason": "Timer too close"}
    {"op": "guard", "pid": 123}   end that process too, should the one that started us vanish
    {"op": "quit"}
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import socket
import sys
import termios
import time
import tty
from typing import Any, Dict, List, Optional

from .dictionary import REASONS
from .firmware import Firmware
from .machine import Machine, Zone, pin_names

PARENT_CHECK_SECONDS = 1.0
MAX_REQUEST = 64 * 1024


class Refused(Exception):
    """A request that cannot be carried out."""


class Board:
    def __init__(self, link: str, control: str, speed: float) -> None:
        self.running = True
        self._link = link
        self._control = control
        self._parent = os.getppid()
        self._guarded: List[int] = []
        self._master: Optional[int] = None
        self._slave: Optional[int] = None
        self._silent = False
        self._dropped = 0
        self._selector = selectors.DefaultSelector()
        self._buffers: Dict[socket.socket, bytes] = {}
        self._machine = Machine(time.monotonic(), speed)
        self._firmware = Firmware(self._machine, self._write, time.monotonic)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if os.path.exists(control):
            os.unlink(control)
        self._listener.bind(control)
        self._listener.listen(8)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._open()

    # -- serial port -----------------------------------------------------------------------

    def _open(self) -> None:
        # Klippy's side stays open here too: else reading fails while Klippy is away.
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave, termios.TCSANOW)
        os.set_blocking(self._master, False)
        self._selector.register(self._master, selectors.EVENT_READ, self._read)
        temporary = self._link + ".new"
        if os.path.lexists(temporary):
            os.unlink(temporary)
        os.symlink(os.ttyname(self._slave), temporary)
        os.replace(temporary, self._link)

    def _close(self) -> None:
        if self._master is None or self._slave is None:
            return
        self._selector.unregister(self._master)
        os.close(self._slave)
        os.close(self._master)
        self._master = self._slave = None
        if os.path.lexists(self._link):
            os.unlink(self._link)

    def _read(self, _: Any) -> None:
        if self._master is None:
            return
        try:
            data = os.read(self._master, 4096)
        except (BlockingIOError, InterruptedError):
            return
        if not self._silent:
            self._firmware.receive(data)

    def _write(self, data: bytes) -> None:
        if self._master is None or self._silent:
            return
        try:
            os.write(self._master, data)
        except BlockingIOError:
            # Nobody reads: a real serial line loses the bytes as well.
            self._dropped += 1

    # -- control ---------------------------------------------------------------------------

    def _accept(self, _: Any) -> None:
        connection, _address = self._listener.accept()
        connection.setblocking(True)
        self._buffers[connection] = b""
        self._selector.register(connection, selectors.EVENT_READ, self._request)

    def _request(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(4096)
            self._buffers[connection] += data
            while b"\n" in self._buffers[connection]:
                line, self._buffers[connection] = self._buffers[connection].split(b"\n", 1)
                answer = json.dumps(self._answer(line)).encode() + b"\n"
                connection.sendall(answer)
        except OSError:
            data = b""
        if not data or len(self._buffers[connection]) > MAX_REQUEST:
            self._selector.unregister(connection)
            del self._buffers[connection]
            connection.close()

    def _answer(self, line: bytes) -> Dict[str, Any]:
        try:
            request = json.loads(line.decode())
            method = getattr(self, "_op_" + str(request.pop("op", "")), None)
            if method is None:
                raise Refused("unknown op")
            answer = method(**request) or {}
        except (Refused, TypeError, ValueError, AttributeError) as exc:
            return {"ok": False, "error": str(exc)}
        answer["ok"] = True
        return answer

    def _zones(self, zone: Optional[str]) -> List[Zone]:
        if zone is None:
            return list(self._machine.zones.values())
        if zone not in self._machine.zones:
            raise Refused("no zone %r: there are %s" % (zone, ", ".join(self._machine.zones)))
        return [self._machine.zones[zone]]

    def _op_state(self) -> Dict[str, Any]:
        self._firmware.settle()
        state = self._machine.describe(time.monotonic())
        state["link"] = "dead" if self._master is None else "silent" if self._silent else "alive"
        state["shutdown"] = self._firmware.shutdown_reason
        state["configured"] = self._firmware.configured
        state["boots"] = self._firmware.boots
        state["frames"] = self._firmware.receiver.frames
        state["rejected"] = self._firmware.receiver.rejected
        state["dropped"] = self._dropped
        state["cpu_seconds"] = time.process_time()
        return state

    def _op_ambient(self, celsius: float, zone: Optional[str] = None) -> None:
        for each in self._zones(zone):
            each.set_ambient(float(celsius), time.monotonic())

    def _op_temperature(self, celsius: float, zone: Optional[str] = None) -> None:
        for each in self._zones(zone):
            each.set_temperature(float(celsius), time.monotonic())

    def _op_sensor(self, zone: str, fault: str = "open") -> None:
        if fault not in ("", "open", "short"):
            raise Refused("fault is open, short or empty")
        for each in self._zones(zone):
            each.fault = fault

    def _op_heater(self, zone: str, strength: float) -> None:
        for each in self._zones(zone):
            each.set_strength(float(strength), time.monotonic())

    def _op_switch(self, pin: str, closed: bool) -> None:
        if pin not in pin_names():
            raise Refused("there is no such pin")
        self._machine.inputs[pin] = bool(closed)

    def _op_silent(self) -> None:
        self._silent = True

    def _op_talk(self) -> None:
        self._silent = False

    def _op_dead(self) -> None:
        # The motors and heaters lose their power with the board.
        self._close()
        self._firmware.reboot()

    def _op_revive(self) -> None:
        self._silent = False
        if self._master is None:
            self._open()
            self._firmware.reboot()

    def _op_reboot(self) -> None:
        self._firmware.reboot()

    def _op_shutdown(self, reason: str) -> None:
        if reason not in REASONS:
            raise Refused("the reason is one of: %s" % (", ".join(REASONS),))
        self._firmware.stop(reason)

    def _op_guard(self, pid: int) -> None:
        self._guarded.append(int(pid))

    def _op_unguard(self, pid: int) -> None:
        if pid in self._guarded:
            self._guarded.remove(pid)

    def _op_quit(self) -> None:
        self.running = False

    # -- life ------------------------------------------------------------------------------

    def run(self) -> None:
        check_at = time.monotonic() + PARENT_CHECK_SECONDS
        while self.running:
            timeout = min(self._firmware.run_timers(), PARENT_CHECK_SECONDS)
            for key, _ in self._selector.select(timeout):
                key.data(key.fileobj)
            if time.monotonic() >= check_at:
                check_at = time.monotonic() + PARENT_CHECK_SECONDS
                if os.getppid() != self._parent:
                    self._end_guarded()
                    break

    def _end_guarded(self) -> None:
        for pid in self._guarded:
            try:
                os.kill(pid, signal.SIGTERM)
            except OSError:
                pass

    def close(self) -> None:
        self._close()
        self._listener.close()
        if os.path.exists(self._control):
            os.unlink(self._control)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.rig.mcu", description=__doc__)
    parser.add_argument("--link", required=True, help="where Klippy finds the serial port")
    parser.add_argument("--control", required=True, help="Unix socket for faults and questions")
    parser.add_argument("--speed", type=float, default=1.0, help="how fast heaters heat and cool")
    options = parser.parse_args()
    board = Board(options.link, options.control, options.speed)

    def terminate(*_: Any) -> None:
        board.running = False

    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGINT, terminate)
    try:
        board.run()
    finally:
        board.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
