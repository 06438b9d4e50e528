"""A switch on the wall with an HTTP interface, as Moonraker's `[power]` of type `http` knows it.

with WallSwitch() as switch:
    stack = make_stack(sections=switch.section("printer"))
    switch.on, switch.requests          # what it is, and what it was asked: "status", "off", …
"""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class WallSwitch:
    """`delay`: seconds until it answers "off" (it has switched by then)."""

    def __init__(self, delay: float = 0.0) -> None:
        self.on = True
        self.delay = delay
        self.asked: list[tuple[float, str]] = []  # (unix seconds, the word)
        switch = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the name that http.server looks for
                word = self.path.strip("/")
                switch.asked.append((time.time(), word))
                if word in ("on", "off"):
                    switch.on = word == "on"
                    time.sleep(switch.delay)
                body = b"on" if switch.on else b"off"
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def requests(self) -> list[str]:
        return [word for _, word in self.asked]

    def section(self, name: str) -> str:
        """For moonraker.conf."""
        url = f"http://127.0.0.1:{self._server.server_address[1]}"
        return (
            f"[power {name}]\ntype: http\non_url: {url}/on\noff_url: {url}/off\n"
            f"status_url: {url}/status\nresponse_template:\n"
            "  {http_request.last_response().text}\n"
        )

    def __enter__(self) -> WallSwitch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
