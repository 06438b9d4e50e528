"""A real Moonraker with the plugin linked by install.sh itself.

    with MoonrakerRig(folder / "data", tecmedhub={"server_url": hub.gen1_url}) as moonraker:
        moonraker.get("/server/info")["components"]           # the `result` of Moonraker's answer
        moonraker.post("/printer/print/start", {"filename": "cube.gcode"})
        with moonraker.websocket() as ws:                     # notifications and JSON-RPC
            ws.wait("notify_gcode_response", lambda params: "TecMedHub" in params[0], 5)
        moonraker.restart_in_process()                        # what "save & restart" does
        moonraker.kill(); moonraker.start()                   # a power cut; the data stay

Every rig runs a copy of the installed `moonraker` package of its own, so that rigs may run side by
side and on any of the interpreters of the test bench (`interpreters()`): the copy is what
install.sh is told with -m, and PYTHONPATH puts it before the installed one. All calls block; use
``asyncio.to_thread`` in async tests. Together with Klippy: the same data path for both rigs.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.parse
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .klippy import ROOT, SOCKET_LIMIT, RigError, wait_until
from .ports import reserve_port
from .rpc import WebSocket

Options = Mapping[str, Any]

_CONFIG = """\
[server]
host: 127.0.0.1
port: {port}
klippy_uds_address: {klippy_socket}

[machine]
provider: none
validate_service: False
validate_config: False

[authorization]
trusted_clients: 127.0.0.1

[file_manager]
enable_object_processing: False

# Reads a file of its own instead of asking the net.
[announcements]
dev_mode: True
"""

_installed: dict[str, Path] = {}  # by interpreter: where its Moonraker lies
# Moonraker's `shell_command` may lose a race with a command that ends at its exit, and then hangs.
OWN_FAULT = "Error executing 'close()' for component: shell_command"
_NO_DOCS = re.compile(r"^Supplied path .* for \((config_examples|docs)\) is invalid")


def interpreters(versions: bool = True) -> dict[str, str]:
    """What `scripts/bootstrap` made, "main" first: {…, "moonraker-0.9.3-py3.7": "…/bin/python"}."""
    found = {"main": str(ROOT / ".venv" / "main" / "bin" / "python")}
    if versions:
        for folder in sorted((ROOT / ".venv").glob("moonraker-*-py*")):
            if (folder / "bin" / "python").exists():
                found[folder.name] = str(folder / "bin" / "python")
    return {name: path for name, path in found.items() if Path(path).exists()}


def with_speedups() -> str:
    """The interpreter whose Moonraker has its speed-ups (msgspec, uvloop), else the main one."""
    found = interpreters()
    return next((python for name, python in found.items() if "0.11.0" in name), found["main"])


def section(name: str, options: Options | str) -> str:
    """One section of moonraker.conf; lists and multi-line texts become indented lines."""
    if isinstance(options, str):
        return f"[{name}]\n{options.rstrip()}\n"
    lines = [f"[{name}]"]
    for option, value in options.items():
        rows = value if isinstance(value, (list, tuple)) else str(value).splitlines()
        if len(rows) > 1:
            lines += [f"{option}:", *(f"  {row}" for row in rows)]
        else:
            lines.append(f"{option}: {rows[0] if rows else ''}")
    return "\n".join(lines) + "\n"


class MoonrakerError(Exception):
    """Moonraker's own answer to a request that failed: its HTTP status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class MoonrakerRig:
    """One Moonraker on a data path.

    `python`: the interpreter it runs in (package ``moonraker`` installed there). `tecmedhub`: the
    options of the plugin's section, as a mapping or as text; None leaves the section out of the
    file that install.sh finds, so that install.sh writes it. `sections`: further text for
    moonraker.conf. `plugin`: False runs the bare Moonraker. `updates`: let install.sh add
    [update_manager tecmedhub] too. `repository`: the checkout whose install.sh is run.
    `checkout`: one of Moonraker's own repository, whose Moonraker runs in place of the installed
    one. `neighbours`: further components, the file of each by its section's name. An existing
    moonraker.conf is kept.
    """

    def __init__(
        self,
        data_path: Path,
        *,
        python: str | None = None,
        tecmedhub: Options | str | None = None,
        sections: str = "",
        plugin: bool = True,
        updates: bool = False,
        klippy_socket: Path | None = None,
        repository: Path = ROOT,
        environment: Mapping[str, str] | None = None,
        port: int = 0,
        checkout: Path | None = None,
        neighbours: Mapping[str, str] | None = None,
    ) -> None:
        self.data_path = Path(data_path).resolve()
        self.python = python or os.environ.get("TECMEDHUB_MOONRAKER_PYTHON") or sys.executable
        self.tecmedhub = tecmedhub
        self.sections = sections
        self.plugin = plugin
        self.updates = updates
        self.repository = repository
        self.environment = dict(environment or {})
        self.port = port or reserve_port()
        self.checkout = checkout
        self.neighbours = dict(neighbours or {})
        self.config_folder = self.data_path / "config"
        self.config_file = self.config_folder / "moonraker.conf"
        self.gcodes = self.data_path / "gcodes"
        self.logs = self.data_path / "logs"
        self.log = self.logs / "moonraker.log"
        self.state_folder = self.data_path / "tecmedhub"
        self.klippy_socket = klippy_socket or self.data_path / "comms" / "klippy.sock"
        self.source = self.data_path.parent / f"{self.data_path.name}-moonraker"
        # Moonraker calls what is being uploaded after the second by the machine's clock, so of two
        # in one folder each may get the other's file.
        self.temporary = self.data_path.parent / f"{self.data_path.name}-tmp"
        self.process: subprocess.Popen[bytes] | None = None
        self.understood: Callable[[str], str] = str  # how whoever asks reads a warning
        self.installer_output = ""
        if len(os.fsencode(self.data_path / "comms" / "moonraker.sock")) > SOCKET_LIMIT:
            raise RigError(f"{self.data_path} is too long for a Unix socket: use `short_folder`")

    # -- set-up --------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Folders, moonraker.conf, the copy of Moonraker, the link; done once by `start`."""
        for name in ("config", "logs", "gcodes", "comms", "database"):
            (self.data_path / name).mkdir(parents=True, exist_ok=True)
        if not self.config_file.exists():
            self.write_config(self.tecmedhub)
        if not self.source.exists():
            shutil.copytree(self._installed(), self.source / "moonraker", symlinks=True)
            for name, file in self.neighbours.items():
                shutil.copyfile(file, self.source / "moonraker" / "components" / f"{name}.py")
            if self.plugin:
                self.install()

    def _installed(self) -> Path:
        if self.checkout is not None:
            return self.checkout / "moonraker"
        if self.python not in _installed:
            where = "import moonraker; print(moonraker.__path__[0])"
            _installed[self.python] = Path(self._run(self.python, "-c", where).strip())
        return _installed[self.python]

    def write_config(self, tecmedhub: Options | str | None, sections: str | None = None) -> None:
        """Write moonraker.conf anew; takes effect at the next (in-process) restart."""
        text = _CONFIG.format(port=self.port, klippy_socket=self.klippy_socket)
        extra = self.sections if sections is None else sections
        if extra:
            text += "\n" + extra.strip() + "\n"
        if tecmedhub is not None:
            text += "\n" + section("tecmedhub", tecmedhub)
        self.config_file.write_text(text, encoding="utf-8")

    def install(self, *options: str) -> str:
        """Run install.sh with `options` more; returns what it said."""
        command = [str(self.repository / "install.sh"), "-m", str(self.source / "moonraker")]
        command += ["-d", str(self.data_path), "--no-restart", "--yes"]
        if not self.updates:
            command.append("--no-update-manager")
        self.installer_output = self._run(*command, *options)
        return self.installer_output

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            check=False,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise RigError(f"{command[0]} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def _environment(self, **more: str) -> dict[str, str]:
        dropped = re.compile("SUDO_|LC_|MOONRAKER_|PYTHON|VIRTUAL_ENV|.*_proxy$", re.IGNORECASE)
        kept = {name: value for name, value in os.environ.items() if not dropped.match(name)}
        self.temporary.mkdir(parents=True, exist_ok=True)
        fixed = {
            "HOME": str(self.data_path.parent),
            "LANG": "C.UTF-8",
            "TMPDIR": str(self.temporary),
        }
        return {**kept, **fixed, **self.environment, **more}

    # -- life ----------------------------------------------------------------------------------

    def start(self, timeout: float = 90) -> MoonrakerRig:
        """Return once it answers HTTP and all of its components have started."""
        self.launch()
        self.wait_started(timeout)
        return self

    def launch(self) -> None:
        """As `start`, without waiting."""
        if self.running:
            return
        self.prepare()
        with open(self.logs / "moonraker.err", "ab") as errors:
            self.process = subprocess.Popen(
                [self.python, "-m", "moonraker", "-d", str(self.data_path)],
                cwd=self.source,
                env=self._environment(PYTHONPATH=str(self.source), PYTHONUNBUFFERED="1"),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
            )

    def wait_started(self, timeout: float = 90) -> None:
        self.wait(self._answers, timeout, "Moonraker to answer")

    def _answers(self) -> bool:
        if not self.running:
            raise RigError(f"Moonraker ended ({self.exit_code}):\n{self.log_tail()}")
        try:
            self.get("/server/info")
        except (OSError, http.client.HTTPException, MoonrakerError):
            return False
        return True

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def exit_code(self) -> int | None:
        return None if self.process is None else self.process.poll()

    @property
    def pid(self) -> int:
        if self.process is None:
            raise RigError("Moonraker was not started")
        return self.process.pid

    def sigterm(self, timeout: float = 60) -> int:
        """What systemd does: SIGTERM, and wait; returns the exit code, `RigError` when it hangs."""
        if self.process is None:
            raise RigError("Moonraker was not started")
        self.process.terminate()
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            tail = self.log_tail()
            self.kill()
            if OWN_FAULT in tail:
                return -signal.SIGKILL
            raise RigError(f"no exit {timeout} s after SIGTERM:\n{tail}") from None

    def kill(self) -> None:
        """SIGKILL: no last words."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)

    def stop(self) -> None:
        """End it in good order where it still runs, by force where it does not obey."""
        if self.running:
            try:
                self.sigterm()
            finally:
                self.kill()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, nothing moves."""
        os.killpg(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

    def restart_in_process(self, timeout: float = 90) -> None:
        """`POST /server/restart`: the same process reads moonraker.conf and loads all anew.

        Waits until Moonraker looks into no G-code file: else, without any plugin too, it stumbles
        over its own list of running commands and hangs (seen on 0.11.0).
        """
        self.wait(lambda: not self._scanning(), timeout, "Moonraker to have read all files")
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as witness:
            # An idle connection is closed when the old server goes: a sure sign, and in time.
            witness.sendall(b"GET /server/info HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            witness.recv(65536)
            self.post("/server/restart")
            while witness.recv(65536):
                pass
        self.wait_started(timeout)

    def _scanning(self) -> bool:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = path.read_bytes()
            except OSError:  # it has gone
                continue
            if bytes(self.source) in command and b"metadata.py" in command:
                return True
        return False

    def __enter__(self) -> MoonrakerRig:
        try:
            return self.start()
        except BaseException:
            self.kill()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- asking --------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30,
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        """One exchange, unread: status, body, headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30,
    ) -> Any:
        """One exchange; the `result` of Moonraker's answer, `MoonrakerError` where it refused."""
        status, data, _ = self.request(method, path, body, headers, timeout)
        try:
            answer = json.loads(data)
        except ValueError:
            raise MoonrakerError(status, data[:200].decode("utf-8", "replace")) from None
        if status >= 400:
            error = answer.get("error", answer) if isinstance(answer, dict) else answer
            text = error.get("message", error) if isinstance(error, dict) else error
            raise MoonrakerError(status, str(text))
        if isinstance(answer, dict) and "result" in answer:
            return answer["result"]
        return answer

    def get(self, path: str, timeout: float = 30, **query: Any) -> Any:
        """`get("/server/files/list", root="gcodes")`"""
        if query:
            path += "?" + urllib.parse.urlencode(query)
        return self.call("GET", path, timeout=timeout)

    def post(self, path: str, body: Any = None, timeout: float = 30) -> Any:
        """`body` goes as JSON."""
        data = json.dumps({} if body is None else body).encode()
        headers = {"Content-Type": "application/json"}
        return self.call("POST", path, data, headers, timeout)

    def delete(self, path: str, timeout: float = 30) -> Any:
        return self.call("DELETE", path, timeout=timeout)

    def upload(self, name: str, data: bytes | str, root: str = "gcodes", **fields: str) -> Any:
        """As Mainsail and Fluidd save a file: multipart, to /server/files/upload."""
        content = data.encode() if isinstance(data, str) else data
        boundary = uuid.uuid4().hex
        parts = []
        for field, value in {"root": root, **fields}.items():
            parts.append(f'Content-Disposition: form-data; name="{field}"\r\n\r\n{value}'.encode())
        head = f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n'
        parts.append(head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + content)
        body = b"".join(b"--%s\r\n%s\r\n" % (boundary.encode(), part) for part in parts)
        body += b"--%s--\r\n" % boundary.encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self.call("POST", "/server/files/upload", body, headers)

    def gcode(self, script: str, timeout: float = 120) -> Any:
        """Returns when Klippy has finished it."""
        return self.post("/printer/gcode/script", {"script": script}, timeout)

    def objects(self, *names: str) -> dict[str, Any]:
        """The status of Klippy's objects: `objects("print_stats")["print_stats"]["state"]`."""
        query = "&".join(urllib.parse.quote(name) for name in names)
        status: dict[str, Any] = self.get(f"/printer/objects/query?{query}")["status"]
        return status

    @property
    def klippy_state(self) -> str:
        return str(self.get("/server/info")["klippy_state"])

    def wait_klippy(self, state: str = "ready", timeout: float = 90) -> None:
        """Until Moonraker itself knows: "ready", "startup", "shutdown", "error", "disconnected"."""
        self.wait(lambda: self.klippy_state == state, timeout, f"Moonraker to see Klippy {state}")

    def warnings(self) -> list[str]:
        """What Mainsail and Fluidd show their users as Moonraker's warnings.

        Left out: that Klipper's docs and example configurations are missing, which is so wherever
        Klippy was installed as a package.
        """
        info = self.get("/server/info")
        texts = [self.understood(text) for text in info["warnings"] if not _NO_DOCS.search(text)]
        return texts + [f"failed: {name}" for name in info["failed_components"]]

    def log_text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def log_tail(self, lines: int = 30) -> str:
        """The end of the log and of what went to stderr: for the message of a failed test."""
        errors = self.logs / "moonraker.err"
        said = errors.read_text(encoding="utf-8", errors="replace") if errors.exists() else ""
        return "\n".join((self.log_text() + said).splitlines()[-lines:])

    def wait(self, probe: Callable[[], Any], timeout: float, what: str = "a condition") -> Any:
        """Ask `probe` until its answer is true; returns it. `RigError` after `timeout` seconds."""
        return wait_until(probe, timeout, what)

    def websocket(self) -> WebSocket:
        """A connection as a web interface opens one."""
        return WebSocket(f"ws://127.0.0.1:{self.port}/websocket")
