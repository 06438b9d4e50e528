"""A Klippy as Moonraker meets it: a process that starts, hangs, crashes and restarts, with an API
that answers and tells of what changed (klippy/webhooks.py). What it does with G-code stands in
`klippy_gcode`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from .klippy_gcode import LAMP_SCALE, LEDS, MAX_TEMP, GCode, GcodeError, Habits, Run
from .loop import Process, VirtualLoop
from .witness import Witness

REFRESH = 0.25  # seconds between two looks at what is subscribed to (webhooks.py)
# Its clock changes at each look; here it is told less often, which saves half of a story's work.
CALM, BUSY = 2.4, 1.0  # seconds

_SCRIPTS = {
    "pause_resume/pause": "PAUSE",
    "pause_resume/resume": "RESUME",
    "pause_resume/cancel": "CANCEL_PRINT",
    "emergency_stop": "emergency_stop",
}


class Klippy(GCode):
    def __init__(
        self, loop: VirtualLoop, rng: random.Random, witness: Witness, habits: Habits
    ) -> None:
        super().__init__(loop, rng, witness, habits)
        self.latency = rng.uniform(0.001, 0.01)
        self.gcodes = "/gcodes"  # the folder of its virtual SD card
        self.broken = False  # its printer.cfg cannot be read
        self._conn: Any = None
        self._number = 77  # the process's
        self._board_since = 0.0  # its clock began to run
        self.on_ready: Callable[[], None] = lambda: None
        self.on_shutdown: Callable[[], None] = lambda: None
        self.start()

    # Life

    def start(self) -> None:
        """The process begins; ready some seconds later."""
        self._fresh()
        self.process = Process("klippy")
        self._board_since = self._loop.time()
        self.state, self.message = "startup", "Printer is not ready"
        self._later(self.habits.restart * 0.6, self._get_ready)
        self._note("klippy", "starts")

    def _fresh(self) -> None:
        self.fresh()
        # webhooks
        self._subscribed: dict[str, list[str] | None] = {}
        self._last: dict[str, dict[str, Any]] = {}
        self._tick_at: float | None = None
        self._again_at = 0.0
        self._methods: set[str] = set()
        self._console = False

    def _get_ready(self) -> None:
        if self.hung:
            self._backlog.append(self._get_ready)
        elif self.state != "startup":
            return
        elif self.broken:
            self._set_state("error", "Option 'pin' in section 'fan' must be specified")
        else:
            self.on_ready()
            self._set_state("ready", "Printer is ready")

    def crash(self, back_after: float | None) -> None:
        """The process is gone, and begins anew; None: nobody starts it."""
        self._end("crashes")
        self._number += 1
        if back_after is not None:
            self._loop.call_later(back_after, self._start_if_off)

    def _start_if_off(self) -> None:
        if self.state == "off":
            self.start()

    def _end(self, how: str) -> None:
        if self.process is None:
            return
        lost = {"job": self.filename} if self.stats_state in ("printing", "paused") else {}
        self._note("klippy", how, **lost)
        self._loop.kill(self.process)
        self.process = None
        self.state = "off"
        conn, self._conn = self._conn, None
        if conn is not None:
            self._loop.call_later(self.latency, conn.lost, context=conn.process.context)

    def hang(self) -> None:
        if not self.hung and self.process is not None:
            self.hung = True
            self._resumed = self._loop.create_future()
            self._note("klippy", "hangs")

    def wake(self, dead_mcu: bool) -> None:
        """SIGCONT; the board has often given up on it meanwhile."""
        if not self.hung or self.process is None:
            return
        self.hung = False
        self._note("klippy", "goes on")
        backlog, self._backlog = self._backlog, []
        if self._resumed is not None:
            self._resumed.set_result(None)
        for call in backlog:
            self._loop.call_soon(call, context=self.process.context)
        if dead_mcu:
            self.shut_down("Lost communication with MCU 'mcu'")
        self._mark()

    def shut_down(self, why: str) -> None:
        if self.hung:
            self._backlog.append(lambda: self.shut_down(why))
            return
        if self.state in ("shutdown", "off"):
            return
        self.must_pause = True
        for heater in self.heaters.values():
            heater.set(0.0, self._loop.time())
        self._set_state("shutdown", f"{why}\nOnce it is corrected, use FIRMWARE_RESTART")
        self.on_shutdown()

    def _set_state(self, state: str, message: str) -> None:
        self.state, self.message = state, message
        self._note("klippy", "is", state=state, message=message.split("\n", maxsplit=1)[0])
        self._mark()

    def _begin_again(self) -> None:
        self._end("restarts")
        self._loop.call_later(self.habits.restart, self._start_if_off)

    # Webhooks

    def accept(self, conn: Any) -> bool:
        """Moonraker connects; one connection is all there is."""
        if self.process is None or self.hung:
            return False
        self._conn = conn
        self._subscribed, self._last = {}, {}
        self._methods, self._console = set(), False
        return True

    def leave(self, conn: Any) -> None:
        if self._conn is conn:
            self._conn = None

    def receive(self, conn: Any, request: dict[str, Any], by: str) -> None:
        if conn is self._conn and self.process is not None:
            self._later(self.latency, lambda: self._handle(conn, request, by))

    def _handle(self, conn: Any, request: dict[str, Any], by: str) -> None:
        """It has come over the socket: from now on nobody can take it back."""
        method, params = request["method"], request["params"]
        script = _SCRIPTS.get(method) or (
            params.get("script") if method == "gcode/script" else None
        )
        run = None if script is None else self._arrive(by, script)
        if self.hung:
            self._backlog.append(lambda: self._process(conn, request, run))
        else:
            self._process(conn, request, run)

    def _process(self, conn: Any, request: dict[str, Any], run: Run | None) -> None:
        method, params = request["method"], request["params"]
        if method == "emergency_stop":
            self.shut_down("Shutdown due to webhooks request")
            self._answer(conn, request, {})
            return
        if run is not None:
            self._spawn(self._serve_script(conn, request, run))
            return
        if method == "objects/subscribe":
            self._subscribed = dict(params.get("objects") or {})
            self._last = self._query(self._subscribed)
            self._answer(conn, request, {"status": self._last, "eventtime": self._loop.time()})
            self._mark()
            return
        self._answer(conn, request, self._simple(method, params))

    def _simple(self, method: str, params: dict[str, Any]) -> Any:
        if method == "info":
            return {
                "state": self.state,
                "state_message": self.message,
                "process_id": self._number,
                "klipper_path": "/home/pi/klipper",
                "python_path": "/home/pi/klippy-env/bin/python",
                "software_version": "v0.12.0",
                "hostname": "printer",
            }
        if method == "objects/list":
            return {"objects": sorted(self._objects())}
        if method == "objects/query":
            objects = params.get("objects") or {}
            return {"status": self._query(objects), "eventtime": self._loop.time()}
        if method == "register_remote_method":
            self._methods.add(params["remote_method"])
        if method == "gcode/subscribe_output":
            self._console = True
        if method == "list_endpoints":
            return {"endpoints": []}
        return {}

    def _answer(self, conn: Any, request: dict[str, Any], result: Any) -> None:
        self._send(conn, {"id": request["id"], "result": result})

    def _send(self, conn: Any, message: dict[str, Any]) -> None:
        if conn is not None and conn is self._conn:
            self._loop.call_later(self.latency, conn.heard, message, context=conn.process.context)

    async def _serve_script(self, conn: Any, request: dict[str, Any], run: Run) -> None:
        try:
            await self._run(run)
        except GcodeError as error:
            self._send(conn, {"id": request["id"], "error": {"message": str(error)}})
        else:
            self._answer(conn, request, {})

    def _respond(self, line: str) -> None:
        if self._console:
            params = {"response": line}
            self._send(self._conn, {"method": "process_gcode_response", "params": params})

    def _call_remote(self, method: str) -> None:
        if method in self._methods:
            self._send(self._conn, {"method": method, "params": {}})

    # Status

    def _objects(self) -> dict[str, Callable[[], dict[str, Any]]]:
        objects: dict[str, Callable[[], dict[str, Any]]] = {
            "webhooks": lambda: {"state": self.state, "state_message": self.message},
            "print_stats": self._stats,
            "virtual_sdcard": self._sdcard,
            "pause_resume": lambda: {"is_paused": self.is_paused},
            "gcode_move": self._gcode_move,
            "toolhead": lambda: {
                "extruder": "extruder",
                "homed_axes": self.homed,
                "axis_minimum": [0.0, 0.0, 0.0, 0.0],
                "axis_maximum": [200.0, 200.0, 200.0, 0.0],
                "estimated_print_time": self._loop.time() - self._board_since,
            },
            "display_status": lambda: {"progress": self._progress(), "message": None},
            "fan": lambda: {"speed": self.fan, "rpm": None},
            "idle_timeout": self._idle,
            "manual_probe": lambda: {"is_active": self.probing},
            "configfile": self._config,
            "heaters": lambda: {"available_heaters": [*MAX_TEMP], "available_sensors": [*MAX_TEMP]},
            "gcode": lambda: {"commands": {}},
            "output_pin lamp": lambda: {"value": self.lamp},
            "exclude_object": lambda: {
                "objects": [{"name": name} for name in self.objects],
                "excluded_objects": list(self.left_out),
                "current_object": None,
            },
        }
        for short, name in LEDS.items():
            objects[name] = lambda short=short: {"color_data": [list(self.colours[short])]}  # type: ignore[misc]
        for name in MAX_TEMP:
            objects[name] = lambda name=name: self._heater(name)  # type: ignore[misc]
        for name in self.habits.macros:
            objects[f"gcode_macro {name}"] = dict
        return objects

    def _query(self, wanted: dict[str, Any]) -> dict[str, dict[str, Any]]:
        objects, found = self._objects(), {}
        for name, fields in wanted.items():
            if name in objects:
                status = objects[name]()
                found[name] = status if fields is None else {f: status.get(f) for f in fields}
        return found

    def _heater(self, name: str) -> dict[str, Any]:
        heater = self.heaters[name]
        temperature = round(heater.temperature(self._loop.time()), 2)
        return {
            "temperature": temperature,
            "target": heater.target,
            "power": 1.0 if temperature < heater.target else 0.0,
            "can_extrude": temperature > 170,
        }

    def _gcode_move(self) -> dict[str, Any]:
        return {
            "speed_factor": self.speed,
            "extrude_factor": self.flow,
            "gcode_position": list(self.position),
            "position": [*self.position[:2], self.position[2] + self.offset, self.position[3]],
            "homing_origin": [0.0, 0.0, self.offset, 0.0],
            "absolute_coordinates": True,
        }

    def _sdcard(self) -> dict[str, Any]:
        return {
            "file_path": f"{self.gcodes}/{self.file}" if self.file is not None else None,
            "progress": self._progress(),
            "is_active": self.work is not None,
            "file_position": self.line * 10,
            "file_size": len(self.files.get(self.file or "", ())) * 10,
        }

    def _progress(self) -> float:
        lines = self.files.get(self.file or "")
        return round(self.line / len(lines), 3) if lines else 0.0

    def _idle(self) -> dict[str, Any]:
        busy = self.mutex.held or self.work is not None
        return {"state": "Printing" if busy else "Ready", "printing_time": 0.0}

    def _config(self) -> dict[str, Any]:
        settings = {
            name: {"min_temp": 0.0, "max_temp": most, "control": "pid"}
            for name, most in MAX_TEMP.items()
        }
        return {
            "settings": {
                **settings,
                "virtual_sdcard": {"path": self.gcodes},
                "printer": {},
                **{
                    f"gcode_macro {name.lower()}": {"gcode": "\n".join(map(_template, lines))}
                    for name, lines in self.habits.macros.items()
                },
                "stepper_z": {"position_endstop": self.endstop, "position_min": -5.0},
                "output_pin lamp": {"pwm": True, "scale": LAMP_SCALE},
                **{name: {} for name in LEDS.values()},
            },
            "config": {},
            "save_config_pending": False,
        }

    def _mark(self) -> None:
        """Something changed: it is told at the next look."""
        if self.process is None or self._tick_at is not None:
            return
        self._tick_at = (int(self._loop.time() / REFRESH) + 1) * REFRESH
        self._loop.call_at(self._tick_at, self._tick, context=self.process.context)

    def _tick(self) -> None:
        self._tick_at = None
        if self.hung or self._conn is None:
            return
        if self._subscribed:
            now, diff = self._query(self._subscribed), {}
            for name, status in now.items():
                last = self._last.get(name, {})
                changed = {f: v for f, v in status.items() if f not in last or last[f] != v}
                if changed:
                    diff[name] = changed
            self._last = now
            if diff:
                params = {"eventtime": self._loop.time(), "status": diff}
                self._send(self._conn, {"method": "process_status_update", "params": params})
        now_at = self._loop.time()
        calm = self.work is None and all(h.settled(now_at) for h in self.heaters.values())
        self._again_at = now_at + (CALM if calm else BUSY)
        self._loop.call_at(self._again_at, self._look_again, context=self.process.context)

    def _look_again(self) -> None:
        if self._loop.time() >= self._again_at:  # else something was told meanwhile
            self._mark()


def _template(line: str) -> str:
    """A line of a macro as printer.cfg has it."""
    return f'{{action_call_remote_method("{line[1:]}")}}' if line.startswith("@") else line
