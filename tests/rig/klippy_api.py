"""Klippy's API server, from a test's side: past Moonraker, so that it is an independent witness."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any, Dict, List

END = b"\x03"  # ends each message


class KlippyError(Exception):
    """Klippy's own answer to a request that failed."""


class KlippySocket:
    """One connection to Klippy's API server. Not for several threads."""

    def __init__(self, path: Path, timeout: float = 30.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._buffer = b""
        self._last = 0

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> KlippySocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def receive(self, timeout: float) -> Dict[str, Any]:
        """The next message; `TimeoutError` when none comes in time."""
        deadline = time.monotonic() + timeout
        while END not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("no message from Klippy")
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(65536)
            except socket.timeout as exc:
                raise TimeoutError("no message from Klippy") from exc
            if not data:
                raise ConnectionError("Klippy closed the connection")
            self._buffer += data
        message, self._buffer = self._buffer.split(END, 1)
        decoded: Dict[str, Any] = json.loads(message)
        return decoded

    def call(self, method: str, params: Dict[str, Any], timeout: float) -> Any:
        self._last += 1
        request = {"id": self._last, "method": method, "params": params}
        self._socket.sendall(json.dumps(request).encode() + END)
        deadline = time.monotonic() + timeout
        while True:
            message = self.receive(deadline - time.monotonic())
            if message.get("id") != self._last:
                continue
            if "error" in message:
                raise KlippyError(message["error"].get("message", "unknown error"))
            return message.get("result")


class Console:
    """What Klippy prints on its console, from the moment this was made."""

    def __init__(self, path: Path) -> None:
        self.lines: List[str] = []
        self._socket = KlippySocket(path)
        params = {"response_template": {"method": "output"}}
        self._socket.call("gcode/subscribe_output", params, 10.0)

    def wait_for(self, text: str, timeout: float) -> str:
        """The first line that contains `text`, seen already or still to come."""
        for line in self.lines:
            if text in line:
                return line
        deadline = time.monotonic() + timeout
        while True:
            message = self._socket.receive(deadline - time.monotonic())
            if message.get("method") == "output":
                line = message["params"]["response"]
                self.lines.append(line)
                if text in line:
                    return str(line)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
