"""A user's machine in a temporary folder: HOME, Moonraker's checkout, data paths, unit files."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LINK = "components/tecmedhub"
EXCLUDED = "/moonraker/components/tecmedhub"
CONF = """\
# moonraker.conf as an image brings it: ñ, 🦄
[server]
host: 0.0.0.0
port: 7125

[authorization]
trusted_clients:
    127.0.0.1
    # a comment inside a value
    [not a section, but a continued value]

[update_manager]
"""


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    command = ["git", *identity, *words]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


def files(folder: Path) -> dict[str, bytes | str]:
    """Everything below a folder: contents, and where links lead; git's index left out."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_dir():
            found[name] = "folder"
        elif not name.endswith(".git/index"):
            found[name] = path.read_bytes()
    return found


class Machine:
    """`install(...)` runs the real install.sh in it; the repository is a clone with an origin."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home of pi"
        self.units = folder / "units"
        self.home.mkdir(parents=True)
        self.units.mkdir()
        self.repository = folder / "tecmedhub"
        (self.repository / "components").mkdir(parents=True)
        shutil.copy2(ROOT / "install.sh", self.repository)
        (self.repository / "components" / "__init__.py").touch()
        git(self.repository, "init", "-q", "-b", "main")
        git(self.repository, "remote", "add", "origin", "https://example.org/lab/tecmedhub.git")
        self.components = self.repository / "components"

    def moonraker(self, name: str = "moonraker") -> Path:
        """A clean git checkout laid out as Moonraker's."""
        checkout = self.home / name
        (checkout / "moonraker" / "components").mkdir(parents=True)
        for file in ("__init__.py", "server.py", "components/__init__.py", "components/webcam.py"):
            (checkout / "moonraker" / file).touch()
        (checkout / ".gitignore").write_text("__pycache__/\n*.pyc\n")
        git(checkout, "init", "-q")
        git(checkout, "add", "-A")
        git(checkout, "commit", "-q", "-m", "Moonraker")
        return checkout

    def data(self, name: str = "printer_data", conf: str | bytes = CONF) -> Path:
        """A data path with a moonraker.conf; returns the latter."""
        file = self.home / name / "config" / "moonraker.conf"
        file.parent.mkdir(parents=True)
        file.write_bytes(conf.encode() if isinstance(conf, str) else conf)
        return file

    def unit(self, name: str, text: str) -> None:
        (self.units / f"{name}.service").write_text("[Service]\n" + text)

    def install(
        self,
        *options: str,
        fails: bool = False,
        answer: str | None = None,
        environment: dict[str, str] | None = None,
    ) -> str:
        """Run it; returns all it said. `answer`: what a person types, on a real terminal."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not re.match("SUDO_|MOONRAKER_|GIT_|TERM$|XDG_|LANG|LC_", name)
        }
        kept |= {"HOME": str(self.home), "SYSTEMD_UNIT_PATH": str(self.units)}
        command = [str(self.repository / "install.sh"), *options]
        if answer is not None:
            command = ["script", "-qec", shlex.join(command), "/dev/null"]
        done = subprocess.run(
            command,
            check=False,
            env={**kept, **(environment or {})},
            cwd="/",
            input=answer,
            stdin=subprocess.DEVNULL if answer is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert (done.returncode != 0) == fails, done.stdout
        return done.stdout


class FakeMoonraker:
    """Answers on a port as far as install.sh asks: state, and a restart in process.

    The plugin counts as loaded after a restart when `conf` has its section.
    """

    def __init__(self, print_state: str = "standby", klippy: str = "ready") -> None:
        self.print_state = print_state
        self.klippy = klippy
        self.conf: Path | None = None
        self.components: list[str] = ["webcam"]
        self.failed: list[str] = []
        self.restarts = 0
        self.refuses = False
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.reply(fake.read(self.path))

            def do_POST(self) -> None:
                self.reply(fake.write(self.path))

            def reply(self, result: Any) -> None:
                body = json.dumps({"result": result}).encode()
                self.send_response(401 if fake.refuses else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def read(self, path: str) -> Any:
        if path.startswith("/server/info"):
            return {
                "klippy_state": self.klippy,
                "components": self.components,
                "failed_components": self.failed,
            }
        return {"status": {"print_stats": {"state": self.print_state}}}

    def write(self, path: str) -> Any:
        assert path == "/server/restart", path
        self.restarts += 1
        loaded = self.conf is not None and "[tecmedhub]" in self.conf.read_text()
        self.components = ["webcam", *(["tecmedhub"] if loaded else [])]
        return "ok"

    def __enter__(self) -> FakeMoonraker:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
