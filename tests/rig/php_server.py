"""PHP's built-in web server as a child process that never outlives us."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from .ports import reserve_port

_START_SECONDS = 60.0
_PORT_SECONDS = 20.0  # for the workers of a server just killed to let go of its port
_POLL_SECONDS = 0.02


def php_available(php: str = "php") -> bool:
    """Whether the PHP command line with SQLite is installed (Debian: php-cli, php-sqlite3)."""
    if shutil.which(php) is None:
        return False
    modules = subprocess.run([php, "-m"], capture_output=True, text=True, check=False).stdout
    return "pdo_sqlite" in modules


class PhpServer:
    """`php -S 127.0.0.1:PORT` with workers: one that answers a long poll serves nobody else.

    Two connections that reach the same worker within a moment share it: the second may wait for
    the first one's long poll. Eight workers make that rare; announce long polls of a few seconds.
    """

    def __init__(
        self,
        root: Path,
        router: Path,
        log: Path,
        *,
        php: str = "php",
        workers: int = 8,
        ini: Mapping[str, str],
        environment: Mapping[str, str],
    ) -> None:
        self.port = 0
        self._root = root
        self._router = router
        self._log = log
        self._php = php
        self._ini = dict(ini)
        self.environment = {"PHP_CLI_SERVER_WORKERS": str(workers), **environment}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self, port: int = 0) -> None:
        """Return once it accepts connections on `port` (0: any). RuntimeError with PHP's words."""
        if self._process is not None:
            raise RuntimeError("the PHP server is already running")
        port = port or reserve_port()
        give_up = time.monotonic() + _PORT_SECONDS
        while True:
            said = self._words(self._spawn(port))
            started = re.search(r"\(http://127\.0\.0\.1:(\d+)\) started", said)
            if started:
                self.port = int(started.group(1))
                return
            self.kill()
            if "Address already in use" not in said or time.monotonic() > give_up:
                words = said.strip() or "no output"
                raise RuntimeError(f"PHP's server did not start: {words}")
            time.sleep(_POLL_SECONDS)

    def kill(self) -> None:
        """End it at once, requests in progress included; return once the port refuses."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        if process.stdin is not None:
            process.stdin.close()
        deadline = time.monotonic() + _PORT_SECONDS  # its workers are nobody's children now
        while self.port and _accepts(self.port) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    def signal(self, number: int) -> None:
        """Signal all its processes (SIGSTOP: connections are accepted, nothing answers)."""
        if self._process is not None:
            os.killpg(self._process.pid, number)

    def _spawn(self, port: int) -> int:
        command = [self._php]
        for name, value in self._ini.items():
            command += ["-d", f"{name}={value}"]
        command += ["-S", f"127.0.0.1:{port}", "-t", str(self._root), str(self._router)]
        # PHP's workers outlive their master, and all of them a killed test run: the shell ends the
        # whole group as soon as our end of its standard input is gone, however that came about.
        guard = ["sh", "-c", '"$@" & cat >/dev/null; kill -KILL 0', "php-server", *command]
        with self._log.open("ab") as output:
            offset = output.tell()
            self._process = subprocess.Popen(
                guard,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        return offset

    def _words(self, offset: int) -> str:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with self._log.open("rb") as lines:
                lines.seek(offset)
                said = lines.read().decode(errors="replace")
            ended = ("started", "Failed to listen", "not found", "Fatal error")
            if any(word in said for word in ended) or time.monotonic() > deadline:
                return said
            time.sleep(_POLL_SECONDS)


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        pass
    return True
