"""The stack with everything in it that can go wrong, and what every outage has to show.

One stack serves all rows: Moonraker talks to the hub through a `FaultServer`, sees two cameras,
runs with `Hazards` preloaded and the `probe` beside the plugin. `whole()` brings all of it back to
good order, whatever a row has left behind.
"""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.rig import probe, spanish
from tests.rig.cameras import CameraServer
from tests.rig.faults import FaultServer
from tests.rig.hazards import Hazards
from tests.rig.hub_records import Event, Status
from tests.rig.klippy import wait_until
from tests.rig.stack import Stack

TIMEOUT = 2.0  # seconds the plugin waits for the hub; two such waits make a warning
CAMERA_TIMEOUT = 2.0  # seconds the plugin waits for a camera
PATIENCE = 60.0  # seconds that anything may take at the most: the machine may be busy
# A job of half a second that neither heats nor moves.
JOB = "COUNT NAME=jobs\nG4 P500\nM400\n"
OPTIONS = {
    "language": "es",  # every fault there is: what is told of it is read by way of the catalogue
    "timeouts_server": TIMEOUT,
    "timeouts_camera": CAMERA_TIMEOUT,
    "timeouts_file_download": 2,
    "intervals_status_update": 0.5,
    "intervals_command_check": 0.5,
    "intervals_command_check_active": 0.5,
    "intervals_health_check": 1,
    "retries_max_attempts": 100,  # the documented waits all through: no jitter up to a minute
    "retries_exponential_backoff": False,
    "retries_base_delay": 0.3,
    "security_rate_limit_seconds": 0,
    "camera_capture_interval": 1,
    "camera_timelapse_enabled": False,
}
# Sensors of Klipper whose reading is a file's: a number of thousandths, or whatever stands there.
SENSORS = """
[temperature_sensor board]
sensor_type: temperature_host
sensor_path: {path}
min_temp: 0
max_temp: 100

[heater_generic enclosure]
heater_pin: chamber_heater
sensor_type: temperature_host
sensor_path: {path}
min_temp: 0
max_temp: 80
control: watermark
"""


class FaultyStack(Stack):
    """See the module."""

    def __init__(self, folder: Path, **arguments: Any) -> None:
        # A server each: a port that refuses is the fault of one camera only.
        self.readers = spanish.Collector()
        self.camera_servers = [CameraServer(1, size=(320, 240)).start() for _ in range(2)]
        self.cameras = [server[0] for server in self.camera_servers]
        options = {**OPTIONS, **arguments.pop("options", {})}
        options["camera_urls"] = [camera.snapshot_url for camera in self.cameras]
        features = {"command_results": True, "events": True}
        self.trusted = folder / "trusted"  # certificates that Moonraker trusts, by their hash
        self._celsius = folder / "celsius"
        self._celsius.write_bytes(b"31500   \n")
        super().__init__(
            folder,
            options=options,
            features=features,
            sections=probe.SECTION,
            extra_config=SENSORS.format(path=self._celsius),
            **arguments,
        )
        self.spanish = options["language"] == "es"
        if self.spanish:
            self.moonraker.understood = self.readers.at("a warning")
            self.hub.understood = self.readers.at("the hub")
        self.hazards = Hazards(folder / "hazards")
        self.moonraker.environment.update(self.hazards.environment)
        self.moonraker.environment["SSL_CERT_DIR"] = str(self.trusted)
        self._faults: FaultServer | None = None
        self._live = ""  # the JSON override, where a row has written one
        self._seen = 0  # bytes of moonraker.log that were looked at
        self.rows = 0
        self.traces_expected = False  # in moonraker.log

    @property
    def faults(self) -> FaultServer:
        """The server between Moonraker and the hub."""
        if self._faults is None:
            self._faults = FaultServer(self.hub.port).start()
        return self._faults

    @property
    def server_url(self) -> str:
        path = "/api.php" if self.generation == 1 else "/printer-api/update.php"
        return self.faults.url(path)

    def start(self) -> FaultyStack:
        self.hub.start()
        self.moonraker.tecmedhub = self.options()
        self.moonraker.prepare()
        probe.install(self.moonraker.source / "moonraker")
        super().start()
        return self

    def stop(self) -> None:
        self.hazards.clear()
        super().stop()
        for server in self.camera_servers:
            server.stop()
        if self._faults is not None:
            self._faults.stop()

    # -- order ---------------------------------------------------------------------------------

    def whole(self) -> None:
        """Everything works, is connected and idle; no warning stands."""
        self.hazards.clear()
        self.faults.end_fault()
        self.faults.listen()
        for server in self.camera_servers:
            server.clear_behaviour()
            server.listen()
        if not self.hub.running:
            self.hub.restart()
        self.hub.thaw()
        self.hub.clear_faults()
        self.hub.set(features=self.features, tokens=None, clock_offset=None)
        self.calm()
        if self._live:
            self.configure_live("")
        if not self.moonraker.running:
            self.moonraker.start()
        self.moonraker.wait_klippy()
        if abs(self.status()["hub"]["clock_skew"] or 0) > 5:  # that of a former row's hub
            self.wait_result(self.count_once("clock"))  # a reply with commands tells it anew
        if any("amera" in text for text in self.moonraker.warnings()):
            self.do("snapshot")
        try:
            self.wait_quiet(15)
        except AssertionError:  # a row that failed has left something: begin anew
            self.restart()
            self.wait_quiet()
        self.seen_log()

    def calm(self) -> None:
        """Klippy and its board run, whatever has become of them; idle and cold."""
        if self.klippy.state() == "ready":
            job = self.klippy.query("print_stats")["state"]
            hot = [self.klippy.query(name)["target"] for name in ("extruder", "heater_bed")]
            if job not in ("printing", "paused") and not any(hot):
                return
        self.klippy.mcu.sensor("hotend", "")
        self.klippy.mcu.talk()
        self.klippy.mcu.revive()
        self.klippy.launch()

        def settled() -> bool:
            return self.klippy.state() not in ("", "startup")

        wait_until(settled, PATIENCE, "Klippy to start")
        self._calm_klippy()

    def restart(self) -> None:
        """Moonraker's restart in process."""
        self.moonraker.restart_in_process()
        self.moonraker.wait_klippy()

    def wait_quiet(self, timeout: float = PATIENCE) -> None:
        """Until the hub hears from the printer, all is delivered, and no warning stands."""
        start = time.time()

        def quiet() -> bool:
            last = self.hub.last(self.token)
            if last is None or last.time < start or last.body.get("klippy_state") != "ready":
                return False
            if self.moonraker.warnings():  # first: with the last of them goes one more event
                return False
            return self.status()["undelivered"] == {"events": 0, "command_results": 0}

        try:
            wait_until(quiet, timeout, "all to be well")
        except Exception as error:
            state = self.status()
            came = [
                f"{seen.time:.1f} #{seen.connection} {seen.method} {seen.path}"
                for seen in self.faults.requests()
            ]
            raise AssertionError(
                f"{error}: {self.moonraker.warnings()}, {state['undelivered']}, {state['hub']};"
                f" {self.faults.counters}; now {time.time():.1f}, came: {came[-20:]}"
            ) from error

    def configure_live(self, text: str) -> None:
        """Save the JSON override as a web interface does; empty: nothing in it."""
        self._live = text
        self.moonraker.upload(self.override.name, text or "{}", root="config")

    def measure(self, reading: float) -> None:
        """What the sensors of SENSORS read, °C; of the same length always, so never half of it."""
        text = f"{reading * 1000:.0f}".ljust(8) + "\n"
        with self._celsius.open("r+b", buffering=0) as file:
            file.write(text.encode())

    def trust(self, authority: Path) -> None:
        """Moonraker shall trust whatever this authority has signed."""
        command = ["openssl", "x509", "-hash", "-noout", "-in", str(authority)]
        digest = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        self.trusted.mkdir(exist_ok=True)
        (self.trusted / f"{digest}.0").write_bytes(authority.read_bytes())

    # -- looking -------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """`GET /server/tecmedhub/status`"""
        answer: dict[str, Any] = self.moonraker.get("/server/tecmedhub/status")
        return answer

    def probe(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.moonraker.get("/server/probe/belongings")
        return answer

    def log_since_start(self) -> str:
        """What tecmedhub.log says since the plugin's last start."""
        text = self.log_text()
        return text[text.rfind("is at work") :]

    def log_text(self) -> str:
        """The plugin's log, its sentences in English."""
        path = self.moonraker.logs / "tecmedhub.log"
        if not path.exists():
            return ""
        text = path.read_text("utf-8")
        if not self.spanish:
            return text
        read = self.readers.at("the log")
        lines = text.split("\n")
        return "\n".join(_LOG_LINE.sub(lambda m: m[1] + read(m[2]), line) for line in lines)

    def logged(self, sentence: str) -> int:
        """How many lines of the plugin's log say just this, since its last start."""
        return sum(distinct(line) == sentence for line in self.log_since_start().splitlines())

    def seen_log(self) -> str:
        """What moonraker.log has that was not looked at before."""
        text = self.moonraker.log_text()
        fresh, self._seen = text[self._seen :], len(text)
        return fresh

    def faults_in_log(self) -> list[str]:
        """The traces in moonraker.log since the last look in which the plugin has a part."""
        blocks = re.split(r"^(?=\d{4}-\d\d-\d\d )", self.seen_log(), flags=re.MULTILINE)
        return [b for b in blocks if "Traceback" in b and "components/tecmedhub/" in b]

    def strange_words(self) -> list[str]:
        """What somebody who reads Spanish would have met, and not understood, up to now."""
        if self.moonraker.running:
            console = self.readers.at("the console")
            for line in self.moonraker.get("/server/gcode_store?count=1000")["gcode_store"]:
                if line["message"].startswith("// TecMedHub: "):
                    console(line["message"])
            for page in ("status", "commands", "events", "config", "log"):
                self.readers.collect(page, self.moonraker.get(f"/server/tecmedhub/{page}"))
        self.log_text()
        return self.readers.strange()

    def wait_warning(self, words: str, timeout: float = PATIENCE) -> str:
        """The Moonraker warning that holds these words, once it stands."""

        def standing() -> str:
            return next((w for w in self.moonraker.warnings() if words in w), "")

        try:
            return str(wait_until(standing, timeout, f"a warning: {words}"))
        except Exception as error:
            raise AssertionError(f"{error}; there are {self.moonraker.warnings()}") from error

    def wait_no_warning(self, words: str = "", timeout: float = PATIENCE) -> None:
        def gone() -> bool:
            return not any(words in text for text in self.moonraker.warnings())

        wait_until(gone, timeout, f"the warning to go: {words}")

    def wait_result(self, command: Any, timeout: float = PATIENCE) -> Any:
        return self.hub.wait_for(
            lambda: self.final_result(command), timeout, f"the result of {command}"
        )

    def statuses_since(self, moment: float) -> list[Status]:
        return self.hub.history(self.token, since=moment)

    @staticmethod
    def time() -> float:
        return time.time()

    def wait_flow(self, count: int = 3, timeout: float = PATIENCE) -> None:
        """Until the hub has accepted that many more statuses."""
        self.wait_statuses(count, time.time(), timeout)

    def wait_statuses(self, count: int, since: float, timeout: float = PATIENCE) -> list[Status]:
        """Until the hub has accepted that many since then."""
        found: list[Status] = self.hub.wait_for(
            lambda: len(self.statuses_since(since)) >= count and self.statuses_since(since),
            timeout,
            f"{count} statuses",
        )
        return found

    # -- acting --------------------------------------------------------------------------------

    def print_job(self, name: str = "job.gcode", text: str = JOB) -> None:
        """A job from its start to its end, by hand."""
        if not (self.gcodes / name).exists():
            self.put(name, text)
        # A job begun before Moonraker has subscribed to Klippy is one that it never hears of.
        wait_until(lambda: self.status()["printer"]["klippy"] == "ready", PATIENCE, "the printer")
        before = self.moonraker.get("/server/history/totals")["job_totals"]["total_jobs"]
        self.print(name)

        def ended() -> bool:
            totals = self.moonraker.get("/server/history/totals")["job_totals"]
            return int(totals["total_jobs"]) > int(before)

        wait_until(ended, PATIENCE, "the job's end")

    def count_once(self, name: str) -> Any:
        """Queue a command whose executions are counted under `name`; its id."""
        if self.generation == 2:
            return self.hub.queue2(self.token, "macro", f"COUNT NAME={name}")
        return self.hub.queue(self.token, "macro", macro_name="COUNT", params={"NAME": name})

    def events_since(self, seq: int) -> list[Event]:
        found = [event for event in self.hub.events(self.token) if event.body["seq"] > seq]
        return sorted(found, key=lambda event: int(event.body["seq"]))

    def wait_counted(self, name: str, timeout: float = PATIENCE) -> None:
        """Until the printer has carried out the command of `count_once(name)`."""
        wait_until(lambda: self.klippy.count(name) >= 1, timeout, f"the command {name}")

    def last_seq(self) -> int:
        return max((int(e.body["seq"]) for e in self.hub.events(self.token)), default=0)


_LOG_LINE = re.compile(r"^(\S+ \S+ [A-Z]+ +)(.*)")  # time and level; a trace has none


class Outage:
    """One outage: what happens meanwhile, and what must be known and shown after it."""

    def __init__(self, stack: FaultyStack, words: str) -> None:
        stack.rows += 1
        self.stack = stack
        self.words = words
        self.name = f"row{stack.rows}"
        self.seq = stack.last_seq()
        self.log_length = len(stack.log_text())
        self.jobs = stack.klippy.count("jobs")
        self.began = time.time()
        self.ended = 0.0
        self.warning = ""
        self.sentence = ""

    def live_through(self, *, order: bool = True) -> None:
        """A warning shows; a job is printed to its end; the hub is given a command."""
        self.warning = self.stack.wait_warning(self.words)
        self.sentence = re.sub(r"^TecMedHub: | \(since [^()]*\)$", "", self.warning)
        self.stack.print_job()
        if order:
            self.order()

    def order(self) -> None:
        """Give the hub a command that is counted."""
        self.command = self.stack.count_once(self.name)
        self.ended = time.time()

    def check(self) -> None:
        """After the fault: nothing was lost, nothing was done twice, nothing stands any more."""
        stack = self.stack
        assert self.warning, "the outage was not lived through"
        result = stack.wait_result(self.command)
        assert result.status == "done", result.message
        stack.wait_quiet()
        assert stack.klippy.count(self.name) == 1
        assert stack.klippy.count("jobs") == self.jobs + 1
        self.check_events()
        self.check_newest()
        assert stack.logged(self.sentence) >= 1, stack.log_since_start()[-2000:]
        assert self.logged() <= 1, stack.log_since_start()[-2000:]  # of many attempts

    def logged(self) -> int:
        """How many lines of the log say it since the outage began."""
        fresh = self.stack.log_text()[self.log_length :]
        return sum(distinct(line) == self.sentence for line in fresh.splitlines())

    def check_events(self) -> None:
        """Everything that happened, in order, once, with its own time."""
        events = self.stack.events_since(self.seq)
        numbers = [event.body["seq"] for event in events]
        assert numbers == list(range(self.seq + 1, self.seq + 1 + len(numbers))), numbers
        kinds = [event.body["kind"] for event in events]
        for kind in ("hub_unreachable", "job_started", "job_finished", "hub_reconnected"):
            assert kinds.count(kind) >= 1, kinds
        for kind in ("job_started", "job_finished", "job_record"):
            assert kinds.count(kind) == 1, kinds
        order = [kinds.index(k) for k in ("hub_unreachable", "job_started", "job_finished")]
        assert order == sorted(order), kinds
        for event in events:
            if event.body["kind"].startswith("job_"):
                at = event.body["at"]
                assert self.began <= at <= self.ended + 5, (self.began, event.body, self.ended)
        away = [e.body["data"]["seconds"] for e in events if e.body["kind"] == "hub_reconnected"]
        assert max(away) >= 0.5, away

    def check_newest(self) -> None:
        """The hub has the printer as it is now, told after the fault, not an old telling."""
        last = self.stack.hub.last(self.stack.token)
        assert last is not None
        assert last.body["print_state"] == "complete"
        assert last.body["last_completed"].startswith("job.gcode (")
        assert last.time >= self.ended


def distinct(text: str) -> str:
    """A log line without its time and level."""
    return re.sub(r"^\S+ \S+ [A-Z]+ +", "", text)
