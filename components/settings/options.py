"""The table of every option; reading, bounds, example, JSON template and documents follow from it.

`path` is the place in the JSON file; the option of the same meaning in moonraker.conf has `_` for
`.`. Defaults come from `model`, the Spanish of all texts from the catalogue.
"""

from __future__ import annotations

from typing import Any, Dict, Tuple

from ..runtime.messages import sentence
from .model import Settings, value_of
from .values import Kind, Option

SECTION = "tecmedhub"
CONFIG_FILE = "tecmedhub.json"
V4_CONFIG_FILE = "printer_config.json"

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


_Span = Tuple[float, float]  # from, to


def _number(path: str, span: _Span, unit: str, text: str, **more: Any) -> Option:
    kind = more.pop("kind", Kind.NUMBER)
    return Option(path, kind, text, unit=unit, low=span[0], high=span[1], **more)


def _whole(path: str, span: _Span, unit: str, text: str) -> Option:
    return _number(path, span, unit, text, kind=Kind.INTEGER)


def _seconds(path: str, span: _Span, text: str, **more: Any) -> Option:
    return _number(path, span, "seconds", text, **more)


def _switch(path: str, text: str, **more: Any) -> Option:
    return Option(path, Kind.BOOLEAN, text, **more)


def _choice(path: str, choices: Tuple[str, ...], text: str, **more: Any) -> Option:
    return Option(path, Kind.CHOICE, text, choices=choices, **more)


def _patterns(path: str, items: int, text: str, **more: Any) -> Option:
    """What the hub may name: where nobody can tell what was meant, nothing."""
    return Option(path, Kind.PATTERNS, text, limit=60, items=items, cautious=(), **more)


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
    _choice(
        "protocol", ("auto", "1", "2"), "Generation of the hub; auto tells it from server_url."
    ),
    _choice(
        "language",
        ("auto", "es", "en"),
        "Language of warnings, console, results and log; auto: Spanish where the hub's replies "
        "are, else the computer's.",
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
    _switch("camera.enabled", "Send camera pictures."),
    Option(
        "camera.urls",
        Kind.URLS,
        "Snapshot addresses, one a line; empty: the webcams set up in Mainsail or Fluidd.",
        items=8,
        example="http://127.0.0.1:8080/?action=snapshot",
    ),
    _seconds(
        "camera.capture_interval", (1, 3600), "Between two pictures while printing or heating."
    ),
    _switch("camera.timelapse_enabled", "Make a timelapse video of each print."),
    _seconds("camera.timelapse_interval", (1, 3600), "Between two frames of the timelapse."),
    _choice(
        "camera.resolution",
        ("low", "high", "original"),
        "Width of the pictures: low 640 px, high 1280 px, original as the camera gives them.",
    ),
    _whole(
        "camera.timelapse_keep",
        (1, 1000),
        "videos",
        "Timelapse videos kept; older ones are deleted.",
    ),
    _whole(
        "camera.timelapse_max_mb",
        (50, 1048576),
        "MB",
        "Disk space for timelapse frames and videos together.",
    ),
    _whole("camera.timelapse_fps", (1, 60), "frames a second", "Speed of the timelapse video."),
    _seconds(
        "camera.timelapse_seconds",
        (0, 120),
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
    _switch(
        "camera.verify_tls",
        "Check the certificates of https cameras; false: not of those at local addresses.",
    ),
    # Intervals
    _seconds(
        "intervals.status_update",
        (0.5, _HEARTBEAT),
        "Between two status reports; changes are reported at once in any case.",
    ),
    _seconds(
        "intervals.status_idle",
        (0.5, _HEARTBEAT),
        "The same while the printer is idle; default: as intervals.status_update.",
    ),
    _seconds("intervals.command_check", (0.5, 60), "Between two requests for commands."),
    _seconds("intervals.command_check_active", (0.5, 60), "The same for a minute after a command."),
    _seconds(
        "intervals.health_check",
        (1, 3600),
        "Between two self-checks; printer_state.json is written then.",
    ),
    _seconds(
        "intervals.reconnect_attempt",
        (1, 300),
        "Pause before trying again, once retries.max_attempts have failed.",
    ),
    # Timeouts
    _seconds("timeouts.moonraker", (0.5, 60), "Waiting for an answer of Klipper to a query."),
    _seconds("timeouts.server", (0.5, 120), "Waiting for the hub."),
    _seconds("timeouts.camera", (0.5, 60), "Waiting for a camera."),
    _seconds(
        "timeouts.file_download", (1, 3600), "A download ends when no byte has come for so long."
    ),
    # Retries
    _whole(
        "retries.max_attempts",
        (1, 100),
        "",
        "Quick attempts before the pauses of intervals.reconnect_attempt; it never gives up.",
    ),
    _switch("retries.exponential_backoff", "Double the pause after each failure."),
    _seconds("retries.base_delay", (0.1, 60), "The first pause."),
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
    _switch("file_management.auto_cleanup", "Delete old G-code files.", cautious=False),
    _number(
        "file_management.max_age_days",
        (0.01, 3650),
        "days",
        "Not printed or touched for so long counts as old.",
        cautious=3650.0,
    ),
    _choice(
        "file_management.cleanup_scope",
        ("downloaded", "all"),
        "What may be deleted: only what this plugin downloaded, or all G-code files (as "
        "client v4 did).",
        cautious="downloaded",
    ),
    _switch(
        "file_management.verify_checksums",
        "Refuse a download whose checksum differs from the hub's.",
        cautious=True,
    ),
    _whole("file_management.max_size_mb", (1, 65536), "MB", "Refuse larger downloads."),
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
    _choice(
        "logging.level",
        ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
        "What is written to tecmedhub.log.",
    ),
    _number("logging.max_size_mb", (0.1, 1000), "MB", "Size at which the log is rotated."),
    _whole("logging.backup_count", (1, 100), "files", "Rotated logs kept."),
    _switch("logging.verbose", "Also write each exchange with the hub, secrets masked."),
    # Security
    _choice(
        "security.remote_control",
        ("full", "print", "monitor", "off"),
        "What the hub may do: full; print (pause, resume, cancel, print, stop); monitor "
        "(emergency stop only); off.",
        cautious="monitor",
    ),
    _switch(
        "security.validate_dangerous_commands",
        "Refuse commands that would spoil a running print unless they carry confirm.",
        cautious=True,
    ),
    _seconds(
        "security.rate_limit_seconds",
        (0, 60),
        "Least time between two commands; an emergency stop never waits.",
        cautious=10.0,
    ),
    _patterns(
        "security.allowed_gcode_patterns",
        100,
        "G-code commands the hub may send; * and ? stand for any characters; empty: none.",
    ),
    _patterns(
        "security.allowed_macros",
        100,
        "Macros the hub may call; * and ? stand for any characters; empty: none.",
    ),
    _patterns(
        "security.allowed_pins",
        100,
        "Pins and lights the hub may set (set_pin, led), as printer.cfg names them; * and ? stand "
        "for any characters; empty: none.",
        example="light, caselight*",
    ),
    _patterns(
        "security.allowed_power_devices",
        32,
        "Devices of Moonraker's [power] the hub may switch (power); * and ? stand for any "
        "characters; empty: none.",
        example="lamp",
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
    _switch(
        "security.require_clear_bed",
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
        (0, 86400),
        "An emergency stop older than this is not carried out; 0: never too old.",
    ),
    _seconds(
        "expiry.control",
        (0, 86400),
        "The same for pause, resume, cancel, speed, fan and system commands; 0: never too old.",
    ),
    _seconds(
        "expiry.gcode",
        (0, 86400),
        "The same for heating, homing, G-code and macros; 0: never too old.",
    ),
    _seconds("expiry.print", (0, 604800), "The same for starting a print; 0: never too old."),
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
    *(option._replace(default=value_of(Settings(), option.path)) for option in _TABLE),
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
