"""Every action the hub may ask for, as data: parameters with their bounds, lane, age limit.

Source of names and bounds: the documentation of client v4 and the hub's protocol notes. What an
action does is told in `orders`, what may disturb a job in `danger`.
"""

from enum import Enum
from typing import Dict, Mapping, NamedTuple, Optional, Tuple

from ..settings.model import OperatorAction, RemoteControl


class Lane(str, Enum):
    """Commands of one lane run one after the other; lanes do not wait for each other."""

    STOP = "stop"  # at once, past everything
    CONTROL = "control"  # the running job
    GCODE = "gcode"  # whatever needs Klippy's queue, spaced by rate_limit_seconds
    PRINT = "print"  # files: fetch one and start it, delete one
    CAMERA = "camera"
    MACHINE = "machine"  # reboot and shutdown, once the G-code before them is over


class Parameter(NamedTuple):
    """A number with its bounds, both included; `high` None is set by the heater's own max_temp."""

    name: str
    low: float
    high: float
    unit: str


class Action(NamedTuple):
    name: str
    lane: Lane
    expiry: str  # the field of settings.Expiry
    needs_klippy: bool = True
    level: RemoteControl = RemoteControl.FULL  # the least `remote_control` that allows it
    numbers: Tuple[Parameter, ...] = ()
    seconds: Optional[float] = None  # an age limit of its own
    main: str = ""  # the parameter that generation 2 writes behind a colon: SET_SPEED:120


SPEED = Parameter("speed", 50, 200, "%")
FLOW = Parameter("flow", 75, 125, "%")
FAN = Parameter("speed", 0, 255, "")
SPOOL = Parameter("spool", 0, 999_999, "")  # Spoolman's id; 0 is none

_JOB = RemoteControl.PRINT
_ALL = (
    Action("emergency_stop", Lane.STOP, "emergency_stop", False, RemoteControl.MONITOR),
    Action("pause", Lane.CONTROL, "control", level=_JOB),
    Action("resume", Lane.CONTROL, "control", level=_JOB),
    Action("cancel", Lane.CONTROL, "control", level=_JOB),
    Action("cancel_download", Lane.CONTROL, "control", False, _JOB, main="file"),
    Action("home", Lane.GCODE, "gcode"),
    Action("home_x", Lane.GCODE, "gcode"),
    Action("home_y", Lane.GCODE, "gcode"),
    Action("home_z", Lane.GCODE, "gcode"),
    Action("heat", Lane.GCODE, "gcode", main="hotend_temp"),
    Action("cool_down", Lane.GCODE, "gcode"),
    Action("set_speed", Lane.GCODE, "gcode", numbers=(SPEED,), main="speed"),
    Action("set_flow", Lane.GCODE, "gcode", numbers=(FLOW,), main="flow"),
    Action("toggle_fan", Lane.GCODE, "gcode"),
    Action("set_fan", Lane.GCODE, "gcode", numbers=(FAN,), main="speed"),
    Action("fan_off", Lane.GCODE, "gcode"),
    Action("gcode", Lane.GCODE, "gcode", main="gcode"),
    Action("macro", Lane.GCODE, "gcode", main="macro_name"),
    Action("move", Lane.GCODE, "gcode"),
    Action("extrude", Lane.GCODE, "gcode", main="length"),
    Action("retract", Lane.GCODE, "gcode", main="length"),
    Action("set_pin", Lane.GCODE, "gcode"),
    Action("led", Lane.GCODE, "gcode"),
    Action("z_offset", Lane.GCODE, "gcode", main="step"),
    Action("exclude_object", Lane.GCODE, "gcode", main="object"),
    Action("power", Lane.CONTROL, "control", False),
    Action("spool", Lane.CONTROL, "control", False, numbers=(SPOOL,), main="spool"),
    Action("queue_start", Lane.CONTROL, "print", False, _JOB),
    Action("queue_pause", Lane.CONTROL, "control", False, _JOB),
    Action("queue_clear", Lane.CONTROL, "control", False, _JOB),
    Action("queue_remove", Lane.CONTROL, "control", False, _JOB, main="job"),
    Action("firmware_restart", Lane.GCODE, "control", False),
    Action("print", Lane.PRINT, "print", level=_JOB, main="file"),
    Action("print_local", Lane.PRINT, "print", level=_JOB, main="file"),
    Action("delete_file", Lane.PRINT, "print", False, main="file"),
    Action("snapshot", Lane.CAMERA, "control", False),
    Action("timelapse_now", Lane.CAMERA, "control", False),
    Action("reboot", Lane.MACHINE, "control", False),
    Action("shutdown", Lane.MACHINE, "control", False),
)
ACTIONS: Dict[str, Action] = {action.name: action for action in _ALL}
Own = Mapping[str, OperatorAction]


def find_action(name: str, own: Own) -> Optional[Action]:
    """The plugin's action of that name, or the operator's."""
    known = ACTIONS.get(name)
    mine = own.get(name) if known is None else None
    if mine is None:
        return known
    return Action(name, Lane(mine.lane), "gcode", seconds=mine.expiry)


EMERGENCY_STOP = "emergency_stop"
PRINTS = ("print", "print_local")
# What may have a job begin, beside the operator's own actions: what a script calls, nobody knows.
MAY_PRINT = (*PRINTS, "queue_start", "macro", "gcode")
# What needs no Klippy, and could end a job: where there is one, it is asked before.
MAY_END_A_JOB = ("firmware_restart", "power", "reboot", "shutdown")
# What is judged by whether there is a job at all: it waits until that is known.
MINDS_A_JOB = (*MAY_END_A_JOB, "queue_start", "delete_file")
