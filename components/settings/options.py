"""The table of every option; reading, bounds, example, JSON template and documents follow from it.

`path` is the place in the JSON file; the option of the same meaning in moonraker.conf has `_` for
`.`. Defaults come from `model`, the Spanish of all texts from the catalogue.
"""

from __future__ import annotations

from typing import Any, Dict, Tuple

from ..runtime.messages import sentence
from .model import RemoteControl, Settings
from .values import Kind, Option

SECTION = "tecmedhub"
CONFIG_FILE = "tecmedhub.json"
V4_CONFIG_FILE = "printer_config.json"

_S = "seconds"
# Named once more, since this room lies below `commands`; a test holds them in step.
_ACTIONS = (
    *("emergency_stop", "pause", "resume", "cancel", "cancel_download"),
    *("home", "home_x", "home_y", "home_z", "heat", "cool_down", "set_speed", "set_flow"),
    *("toggle_fan", "set_fan", "fan_off", "gcode", "macro", "firmware_restart"),
    *("move", "extrude", "retract", "set_pin", "led", "z_offset", "exclude_object", "power"),
    *("queue_start", "queue_pause", "queue_clear", "queue_remove"),
    *("spool", "delete_file"),
    *("print", "print_local", "snapshot", "timelapse_now", "reboot", "shutdown"),
)
# Those that a hub of which nobody knows what it may do can still ask for.
_HARMLESS = ("emergency_stop", "pause", "cancel", "cancel_download", "snapshot")
_HEARTBEAT = 55.0  # the hub lists a printer as offline after 60 s without a status


def _seconds(path: str, low: float, high: float, text: str, **more: Any) -> Option:
    return Option(path, Kind.NUMBER, text, unit=_S, low=low, high=high, **more)


def _default(path: str) -> Any:
    value: Any = Settings()
    for name in path.split("."):
        value = getattr(value, name)
    return value.value if isinstance(value, RemoteControl) else value


_CONFIG_FILE = Option(
    "config_file",
    Kind.FILE,
    "The JSON file in Moonraker's config folder: applied live, it wins over moonraker.conf.",
    default=CONFIG_FILE,
    in_json=False,
)

_TABLE: Tuple[Option, ...] = (
    Option(
        "server_url",
        Kind.URL,
        "Address of the hub: …/api.php (generation 1) or …/update.php (generation 2). "
        "Without it nothing is sent.",
        example="https://tmeduca.org/printerhub/api.php",
    ),
    Option(
        "printer_token",
        Kind.TOKEN,
        "The token by which the hub knows this printer; unique. Best kept in moonraker.secrets.",
        limit=512,
        example="{secrets.tecmedhub.token}",
    ),
    Option(
        "printer_name",
        Kind.TEXT,
        "The name shown at the hub; empty: the computer's name (at generation 2 only until the "
        "hub has one).",
        example="🦄 Mi Impresora 3D",
    ),
    Option(
        "protocol",
        Kind.CHOICE,
        "Generation of the hub; auto tells it from server_url.",
        choices=("auto", "1", "2"),
    ),
    Option(
        "language",
        Kind.CHOICE,
        "Language of warnings, console, results and log; auto: Spanish where the hub's replies "
        "are, else the computer's.",
        choices=("auto", "es", "en"),
    ),
    Option("commands_url", Kind.URL, "Where commands are fetched; empty: derived from server_url."),
    Option(
        "files_url", Kind.URL, "Where G-code files are fetched; empty: derived from server_url."
    ),
    Option(
        "image_url",
        Kind.URL,
        "Where pictures are uploaded; empty: derived from server_url at generation 1, within the "
        "status at generation 2.",
    ),
    # Cameras and timelapse
    Option("camera.enabled", Kind.BOOLEAN, "Send camera pictures."),
    Option(
        "camera.urls",
        Kind.URLS,
        "Snapshot addresses, one a line; empty: the webcams set up in Mainsail or Fluidd.",
        items=8,
        example="http://127.0.0.1:8080/?action=snapshot",
    ),
    _seconds("camera.capture_interval", 1, 3600, "Between two pictures while printing or heating."),
    Option("camera.timelapse_enabled", Kind.BOOLEAN, "Make a timelapse video of each print."),
    _seconds("camera.timelapse_interval", 1, 3600, "Between two frames of the timelapse."),
    Option(
        "camera.resolution",
        Kind.CHOICE,
        "Width of the pictures: low 640 px, high 1280 px, original as the camera gives them.",
        choices=("low", "high", "original"),
    ),
    Option(
        "camera.timelapse_keep",
        Kind.INTEGER,
        "Timelapse videos kept; older ones are deleted.",
        unit="videos",
        low=1,
        high=1000,
    ),
    Option(
        "camera.timelapse_max_mb",
        Kind.INTEGER,
        "Disk space for timelapse frames and videos together.",
        unit="MB",
        low=50,
        high=1048576,
    ),
    Option(
        "camera.timelapse_fps",
        Kind.INTEGER,
        "Speed of the timelapse video.",
        unit="frames a second",
        low=1,
        high=60,
    ),
    _seconds(
        "camera.timelapse_seconds",
        0,
        120,
        "Length of a timelapse at least, by taking frames more often where the file's estimate is "
        "short; 0: only timelapse_interval counts.",
    ),
    Option(
        "camera.primary",
        Kind.TEXT,
        "Name of the camera that the hub shows and that films; empty: the first.",
    ),
    Option(
        "camera.order",
        Kind.TEXTS,
        "Names of the cameras in the order wished; those not named follow, sorted by name.",
        items=8,
    ),
    Option(
        "camera.verify_tls",
        Kind.BOOLEAN,
        "Check the certificates of https cameras; false: not of those at local addresses.",
    ),
    # Intervals
    _seconds(
        "intervals.status_update",
        0.5,
        _HEARTBEAT,
        "Between two status reports; changes are reported at once in any case.",
    ),
    _seconds(
        "intervals.status_idle",
        0.5,
        _HEARTBEAT,
        "The same while the printer is idle; default: as intervals.status_update.",
    ),
    _seconds("intervals.command_check", 0.5, 60, "Between two requests for commands."),
    _seconds("intervals.command_check_active", 0.5, 60, "The same for a minute after a command."),
    _seconds(
        "intervals.health_check",
        1,
        3600,
        "Between two self-checks; printer_state.json is written then.",
    ),
    _seconds(
        "intervals.reconnect_attempt",
        1,
        300,
        "Pause before trying again, once retries.max_attempts have failed.",
    ),
    # Timeouts
    _seconds("timeouts.moonraker", 0.5, 60, "Waiting for an answer of Klipper to a query."),
    _seconds("timeouts.server", 0.5, 120, "Waiting for the hub."),
    _seconds("timeouts.camera", 0.5, 60, "Waiting for a camera."),
    _seconds(
        "timeouts.file_download", 1, 3600, "A download ends when no byte has come for so long."
    ),
    # Retries
    Option(
        "retries.max_attempts",
        Kind.INTEGER,
        "Quick attempts before the pauses of intervals.reconnect_attempt; it never gives up.",
        low=1,
        high=100,
    ),
    Option("retries.exponential_backoff", Kind.BOOLEAN, "Double the pause after each failure."),
    _seconds("retries.base_delay", 0.1, 60, "The first pause."),
    # Network
    Option(
        "network.proxy",
        Kind.PROXY,
        "The proxy on the way to the hub; none: no proxy; empty: as HTTPS_PROXY, HTTP_PROXY and "
        "NO_PROXY of Moonraker's environment say.",
        example="http://proxy.school:3128",
    ),
    Option(
        "network.ca_file",
        Kind.PATH,
        "A PEM file of certificate authorities to trust besides the system's, such as that of a "
        "school's filter.",
        example="/etc/ssl/certs/school.pem",
    ),
    # Files
    Option(
        "file_management.auto_cleanup", Kind.BOOLEAN, "Delete old G-code files.", cautious=False
    ),
    Option(
        "file_management.max_age_days",
        Kind.NUMBER,
        "Not printed or touched for so long counts as old.",
        unit="days",
        low=0.01,
        high=3650,
    ),
    Option(
        "file_management.cleanup_scope",
        Kind.CHOICE,
        "What may be deleted: only what this plugin downloaded, or all G-code files (as "
        "client v4 did).",
        choices=("downloaded", "all"),
        cautious="downloaded",
    ),
    Option(
        "file_management.verify_checksums",
        Kind.BOOLEAN,
        "Refuse a download whose checksum differs from the hub's.",
        cautious=True,
    ),
    Option(
        "file_management.max_size_mb",
        Kind.INTEGER,
        "Refuse larger downloads.",
        unit="MB",
        low=1,
        high=65536,
    ),
    Option(
        "file_management.folder",
        Kind.FOLDER,
        "Folder inside the gcodes folder for downloads; empty: the gcodes folder itself.",
        example="tecmedhub",
    ),
    Option(
        "file_management.allowed_hosts",
        Kind.HOSTS,
        "Hosts besides the hub's own from which files may be downloaded.",
        items=32,
        example="files.example.org",
    ),
    # Log
    Option(
        "logging.level",
        Kind.CHOICE,
        "What is written to tecmedhub.log.",
        choices=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
    ),
    Option(
        "logging.max_size_mb",
        Kind.NUMBER,
        "Size at which the log is rotated.",
        unit="MB",
        low=0.1,
        high=1000,
    ),
    Option(
        "logging.backup_count", Kind.INTEGER, "Rotated logs kept.", unit="files", low=1, high=100
    ),
    Option(
        "logging.verbose", Kind.BOOLEAN, "Also write each exchange with the hub, secrets masked."
    ),
    # Security
    Option(
        "security.remote_control",
        Kind.CHOICE,
        "What the hub may do: full; print (pause, resume, cancel, print, stop); monitor "
        "(emergency stop only); off.",
        choices=("full", "print", "monitor", "off"),
        cautious="monitor",
    ),
    Option(
        "security.validate_dangerous_commands",
        Kind.BOOLEAN,
        "Refuse commands that would spoil a running print unless they carry confirm.",
        cautious=True,
    ),
    _seconds(
        "security.rate_limit_seconds",
        0,
        60,
        "Least time between two commands; an emergency stop never waits.",
        cautious=10.0,
    ),
    Option(
        "security.allowed_gcode_patterns",
        Kind.PATTERNS,
        "G-code commands the hub may send; * and ? stand for any characters; empty: none.",
        limit=60,
        items=100,
        cautious=(),
    ),
    Option(
        "security.allowed_macros",
        Kind.PATTERNS,
        "Macros the hub may call; * and ? stand for any characters; empty: none.",
        limit=60,
        items=100,
        cautious=(),
    ),
    Option(
        "security.allowed_pins",
        Kind.PATTERNS,
        "Pins and lights the hub may set (set_pin, led), as printer.cfg names them; * and ? stand "
        "for any characters; empty: none.",
        limit=60,
        items=100,
        example="light, caselight*",
        cautious=(),
    ),
    Option(
        "security.allowed_power_devices",
        Kind.PATTERNS,
        "Devices of Moonraker's [power] the hub may switch (power); * and ? stand for any "
        "characters; empty: none.",
        limit=60,
        items=32,
        example="lamp",
        cautious=(),
    ),
    Option(
        "security.denied_actions",
        Kind.ACTIONS,
        "Actions always refused.",
        choices=_ACTIONS,
        limit=60,
        items=64,
        example="reboot, shutdown",
        cautious=tuple(action for action in _ACTIONS if action not in _HARMLESS),
    ),
    Option(
        "security.emergency_power_device",
        Kind.TEXT,
        "A device of Moonraker's [power] that is switched off when Klippy does not take an "
        "emergency stop of the hub's; empty: none.",
        limit=60,
        example="printer",
    ),
    Option(
        "security.require_clear_bed",
        Kind.BOOLEAN,
        "After a job, refuse remote prints until someone has declared the bed clear.",
        cautious=True,
    ),
    # Commands
    Option(
        "commands.heat_preset",
        Kind.TEXT,
        "What heat without any parameter means, as generation 1's button sends it: hot end/bed in "
        "°C, either may be left out (200/ or /60); empty: such a heat is refused.",
        limit=20,
    ),
    # Age of commands
    _seconds(
        "expiry.emergency_stop",
        0,
        86400,
        "An emergency stop older than this is not carried out; 0: never too old.",
    ),
    _seconds(
        "expiry.control",
        0,
        86400,
        "The same for pause, resume, cancel, speed, fan and system commands; 0: never too old.",
    ),
    _seconds(
        "expiry.gcode",
        0,
        86400,
        "The same for heating, homing, G-code and macros; 0: never too old.",
    ),
    _seconds("expiry.print", 0, 604800, "The same for starting a print; 0: never too old."),
    # The operator's own actions
    Option(
        "actions",
        Kind.OWN_ACTIONS,
        "Actions of your own: a name, its G-code or macro, and the bounds of its parameters.",
        choices=_ACTIONS,
    ),
    # Its parts
    Option(
        "printer.part_fan",
        Kind.TEXT,
        "The fan that cools the print, as printer.cfg names it; empty: [fan], or what M106 sets.",
        limit=100,
        example="fan_generic side",
    ),
    # About the printer
    Option(
        "printer_data.tags",
        Kind.TEXTS,
        "Labels by which the hub groups printers.",
        limit=100,
        items=32,
        example="Prusa, PLA",
    ),
    Option(
        "printer_data.filament",
        Kind.MAP,
        "The filament loaded: material, color, remaining (any further name is sent too).",
        keys=("material", "color", "remaining"),
    ),
    Option(
        "printer_data.bed_status",
        Kind.TEXT,
        "State of the bed as shown at the hub; with security.require_clear_bed the "
        "plugin sets it itself.",
        limit=100,
        example="limpia",
    ),
    Option(
        "printer_data.bed_needs_clearing",
        Kind.TEXT,
        "What the hub is told of a bed that needs clearing, with security.require_clear_bed; "
        "empty: needs clearing, or por despejar where the language is Spanish.",
        limit=100,
        example="por despejar",
    ),
    Option(
        "printer_data.bed_clear",
        Kind.TEXT,
        "The same of one that is clear; empty: clear, or limpia. printer_data.bed_status, where "
        "it is set, goes before it.",
        limit=100,
        example="limpia",
    ),
    Option(
        "printer_data.location", Kind.TEXT, "Where the printer stands.", example="Lab Principal"
    ),
)

OPTIONS: Tuple[Option, ...] = (
    _CONFIG_FILE,
    *(option._replace(default=_default(option.path)) for option in _TABLE),
)
BY_PATH: Dict[str, Option] = {option.path: option for option in OPTIONS}

# The first part of a path ("" at the top level) → its headline.
SECTIONS: Dict[str, str] = {
    "": sentence("Connection"),
    "camera": sentence("Cameras and timelapse"),
    "intervals": sentence("Intervals"),
    "timeouts": sentence("Timeouts"),
    "retries": sentence("Retries"),
    "network": sentence("Network"),
    "file_management": sentence("Files"),
    "logging": sentence("Log"),
    "security": sentence("Security"),
    "commands": sentence("Commands"),
    "expiry": sentence("Age of commands"),
    "printer": sentence("Parts of the printer"),
    "printer_data": sentence("About the printer"),
}

# What client v4 needed and a component of Moonraker does not; with anything below it.
NO_LONGER_NEEDED: Dict[str, str] = {
    "moonraker_url": sentence("the plugin runs inside Moonraker and needs no address for it"),
    "file_management.gcode_directory": sentence("downloads go to Moonraker's own gcodes folder"),
    "auto_update": sentence("Moonraker's update manager updates the plugin"),
}


def section_of(option: Option) -> str:
    return option.path.partition(".")[0] if "." in option.path else ""
