"""nginx before the hub, as a real server has it: TLS, connections that are kept, gzip off.

    with Front(hub.port, tls="good") as front:
        front.url("/api.php"), front.authority     # a PEM file that a client must trust
        front.accesses                             # a line for each request

PHP's own server closes each connection after its answer; the deployed ones stand behind nginx or
Apache, which do not.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from .certificates import make_certificate
from .klippy import wait_until
from .ports import reserve_port

_CONFIG = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 512m;
    client_body_buffer_size 1m;  # its worker may be somebody who cannot write here
    keepalive_timeout {keepalive}s;
    server {{
        listen 127.0.0.1:{port}{ssl};
        {tls}
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_buffering off;
            proxy_read_timeout 120s;
        }}
    }}
}}
"""


def available() -> bool:
    return shutil.which("nginx", path=_PATH) is not None


_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"


class Front:
    """`tls` is one of certificates.KINDS, or None; `protocols` as nginx names them."""

    def __init__(
        self,
        upstream: int,
        *,
        tls: str | None = "good",
        protocols: str = "TLSv1.2 TLSv1.3",
        keepalive: float = 75,
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tecmedhub-front-"))
        self.port = reserve_port()
        self.scheme = "http"
        self.authority = ""
        lines = ""
        if tls is not None:
            self.scheme = "https"
            (self._folder / "tls").mkdir()
            certificate = make_certificate(self._folder / "tls", tls)
            self.authority = str(certificate.authority)
            lines = f"ssl_certificate {certificate.chain}; ssl_certificate_key {certificate.key};"
            lines += f" ssl_protocols {protocols};"
        config = _CONFIG.format(
            folder=self._folder,
            port=self.port,
            upstream=upstream,
            keepalive=f"{keepalive:g}",
            ssl=" ssl" if tls else "",
            tls=lines,
        )
        (self._folder / "nginx.conf").write_text(config)
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, path: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"

    @property
    def accesses(self) -> list[str]:
        """A line for each request that is over."""
        log = self._folder / "access.log"
        return log.read_text().splitlines() if log.exists() else []

    def __enter__(self) -> Front:
        command = ["nginx", "-p", str(self._folder), "-c", str(self._folder / "nginx.conf")]
        with open(self._folder / "out", "wb") as out:
            self._process = subprocess.Popen(
                command, stdout=out, stderr=out, env={**os.environ, "PATH": _PATH}
            )
        wait_until(self._answers, 10, "nginx to answer")
        return self

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError((self._folder / "out").read_text())
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        shutil.rmtree(self._folder, ignore_errors=True)
