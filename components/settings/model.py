"""What the operator decided, as frozen values: the shape of `printer_config.json` (client v4) with
its additions.

A room reads `LiveSettings.now` each time it needs a value, so that a change of the JSON override
takes effect without a restart. Nothing here reads a file; see `loader` for how values come to be,
`options` for their bounds. All durations are seconds unless a name says otherwise.
"""

# Real annotations: as texts, each field of a named tuple would be compiled and kept.
from enum import Enum
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ..runtime.messages import Told
from ..runtime.redaction import secrets_in


class Origin(str, Enum):
    """Where an effective value came from."""

    DEFAULT = "default"
    MOONRAKER_CONF = "moonraker.conf"
    V4 = "printer_config.json"  # client v4's file, below our own
    JSON = "json"
    KEPT = "kept"  # was written in a JSON file before; what is now would allow more
    CAUTIOUS = "cautious"  # nobody can tell what was meant


class RemoteControl(str, Enum):
    """How much the hub may do here, from most to least (`security.remote_control`)."""

    FULL = "full"
    PRINT = "print"
    MONITOR = "monitor"
    OFF = "off"


class BadValue(Told):
    """What an option must be, or what is wrong with a part of it."""


class OperatorParameter(NamedTuple):
    """`kind`: number | text | choice | boolean. `default` None: it must be given."""

    name: str
    kind: str = "number"
    low: float = 0.0
    high: float = 0.0
    unit: str = ""
    choices: Tuple[str, ...] = ()
    longest: int = 0  # characters of a text
    default: Any = None


class Confirmation(NamedTuple):
    """The state that shows its success: a field of one of Klipper's objects; `equals` None: it is
    anything at all.
    """

    object: str
    field: str
    equals: Any = None
    within: float = 30.0  # seconds


class OperatorAction(NamedTuple):
    name: str
    gcode: str = ""  # with {parameter} places
    macro: str = ""  # its parameters become the macro's
    parameters: Tuple[OperatorParameter, ...] = ()
    lane: str = "gcode"
    danger: bool = True  # it wants confirm: true while a job owns the printer
    expiry: Optional[float] = None  # seconds; None: as G-code
    confirmation: Optional[Confirmation] = None
    description: str = ""


class Camera(NamedTuple):
    enabled: bool = True
    urls: Tuple[str, ...] = ()
    capture_interval: float = 30.0
    timelapse_enabled: bool = True
    timelapse_interval: float = 60.0
    resolution: str = "high"  # low (640 px wide) | high (1280 px) | original
    timelapse_keep: int = 10  # videos
    timelapse_max_mb: int = 2048  # frames and videos together
    timelapse_fps: int = 15
    timelapse_seconds: float = 10.0  # of video at least, by the slicer's estimate; 0: as it comes
    primary: str = ""  # the camera shown and filmed; "" is the first by name
    order: Tuple[str, ...] = ()  # names; those not in it follow, sorted
    verify_tls: bool = True  # of https cameras at addresses of the local network


class Intervals(NamedTuple):
    status_update: float = 5.0
    status_idle: float = 5.0  # default: the same as status_update
    command_check: float = 3.0
    command_check_active: float = 1.0
    health_check: float = 60.0
    reconnect_attempt: float = 10.0


class Timeouts(NamedTuple):
    moonraker: float = 5.0
    server: float = 10.0
    camera: float = 5.0
    file_download: float = 60.0  # without a single byte arriving


class Retries(NamedTuple):
    max_attempts: int = 5
    exponential_backoff: bool = True
    base_delay: float = 2.0


class Network(NamedTuple):
    """The way to the hub."""

    proxy: str = ""  # http://[user:password@]host:port; none; "" is as the environment says
    ca_file: str = ""  # authorities beside the system's


class FileManagement(NamedTuple):
    auto_cleanup: bool = True
    max_age_days: float = 30.0
    verify_checksums: bool = True
    max_size_mb: int = 1024
    folder: str = ""  # sub-folder of the gcodes root; "" is the root itself
    allowed_hosts: Tuple[str, ...] = ()
    cleanup_scope: str = "downloaded"  # downloaded | all


class Logging(NamedTuple):
    level: str = "INFO"
    max_size_mb: float = 10.0
    backup_count: int = 5
    verbose: bool = False


class CommandDefaults(NamedTuple):
    heat_preset: str = "200/60"  # °C of hot end and bed, of a heat that names none: client v4's


class Expiry(NamedTuple):
    """How old a command may be when it is run; 0 is never too old."""

    emergency_stop: float = 60.0
    control: float = 60.0
    gcode: float = 120.0  # heat, movement, gcode, macro
    print: float = 600.0


class Security(NamedTuple):
    validate_dangerous_commands: bool = True
    rate_limit_seconds: float = 1.0
    allowed_gcode_patterns: Tuple[str, ...] = ("G*", "M*", "T*")
    allowed_macros: Tuple[str, ...] = ("*",)
    remote_control: RemoteControl = RemoteControl.FULL
    allowed_pins: Tuple[str, ...] = ()
    allowed_power_devices: Tuple[str, ...] = ()
    denied_actions: Tuple[str, ...] = ()
    require_clear_bed: bool = False
    emergency_power_device: str = ""  # of Moonraker's [power]; "" is none


class PrinterParts(NamedTuple):
    """What cannot be told from printer.cfg."""

    part_fan: str = ""  # an object of Klipper's: "fan_generic side"; "" follows M106


class PrinterData(NamedTuple):
    tags: Tuple[str, ...] = ()
    filament: Mapping[str, Any] = {}  # material, color, remaining
    bed_status: str = ""
    bed_needs_clearing: str = ""  # "" is a word by the language
    bed_clear: str = ""  # the same
    location: str = ""


class Settings(NamedTuple):
    server_url: str = ""
    printer_token: str = ""
    printer_name: str = ""
    protocol: str = "auto"  # auto | 1 | 2
    language: str = "auto"  # auto | es | en
    commands_url: str = ""
    files_url: str = ""
    image_url: str = ""
    camera: Camera = Camera()
    intervals: Intervals = Intervals()
    timeouts: Timeouts = Timeouts()
    retries: Retries = Retries()
    network: Network = Network()
    file_management: FileManagement = FileManagement()
    logging: Logging = Logging()
    security: Security = Security()
    commands: CommandDefaults = CommandDefaults()
    expiry: Expiry = Expiry()
    actions: Mapping[str, OperatorAction] = {}  # the operator's own
    printer: PrinterParts = PrinterParts()
    printer_data: PrinterData = PrinterData()

    def __repr__(self) -> str:
        return f"<settings of {self.printer_name!r}>"  # the token must not get into a log this way

    @property
    def secrets(self) -> Tuple[str, ...]:
        """What must stand in no log."""
        urls = (self.server_url, self.network.proxy, *self.camera.urls)
        return (self.printer_token, *(secret for url in urls for secret in secrets_in(url)))

    @property
    def complete(self) -> bool:
        """Whether there is a hub to talk to: without both of these nothing is sent."""
        return bool(self.server_url and self.printer_token)


class LiveSettings:
    """The settings in force now. Rooms keep this object, not a `Settings`."""

    def __init__(self, settings: Settings) -> None:
        self._now = settings
        self._listeners: List[Callable[[Settings, Settings], None]] = []

    @property
    def now(self) -> Settings:
        return self._now

    def subscribe(self, listener: Callable[[Settings, Settings], None]) -> None:
        """Call `listener(old, new)` after each change that changes anything."""
        self._listeners.append(listener)

    def replace(self, settings: Settings) -> bool:
        """Put new settings in force; True if they differ from the old ones."""
        old = self._now
        if settings == old:
            return False
        self._now = settings
        failure: Optional[Exception] = None
        for listener in self._listeners:
            try:
                listener(old, settings)
            except Exception as error:  # the others must hear of it all the same
                failure = error
        if failure is not None:
            raise failure
        return True


Origins = Dict[str, Origin]


def value_of(settings: Settings, path: str) -> Any:
    """The value at `path`, in the form in which the table's options hold it."""
    value: Any = settings
    for name in path.split("."):
        value = getattr(value, name, None)
    return value.value if isinstance(value, RemoteControl) else value
