"""A hub that is hostile: every field of every reply, every header, redirect, file and file name in
turn holds what could harm whoever believes it.

    with HostileHub() as hub:
        ...                                   # server_url: hub.url("/api.php")
        hub.wait_for(lambda: hub.told >= 500)
        assert hub.elsewhere.requests() == []

`python -m tests.rig.hostile_hub` makes a whole stack believe it for 10,000 replies and looks at
what came of it; see `Watch` for what that must not be.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .cameras import CameraServer
from .klippy import short_folder
from .loop_server import Exchange, LoopServer, head
from .stack import Stack

MARK = "H0ST1LE"  # stands in every text of its own
FORGED = f"2026-01-01 00:00:00,000 ERROR    {MARK} forged"
GCODE = b"; made for the rig\nM105\nG4 P10\n"
TOKEN = "T-HOSTILE"
OPTIONS: dict[str, Any] = {
    "printer_token": TOKEN,
    "intervals_status_update": 0.5,
    "intervals_command_check": 0.5,
    "retries_base_delay": 0.1,
    "retries_exponential_backoff": False,
    "retries_max_attempts": 100,
    "security_rate_limit_seconds": 0,
    "camera_capture_interval": 1,
}


class Elsewhere(LoopServer):
    """A host that nobody has any business with."""

    async def answer(self, exchange: Exchange) -> None:
        await exchange.reply(200, GCODE)


class HostileHub(LoopServer):
    """Speaks generation 1, each second reply as it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.elsewhere = Elsewhere()
        self.told = 0  # hostile replies
        self.names: set[str] = set()  # of endpoints that gave one
        self.honest = False
        self._turns: dict[str, Iterator[tuple[str, Any]]] = {}
        self._ids = itertools.count(1)
        self._asked: dict[str, int] = {}

    def start(self, port: int = 0) -> HostileHub:
        self.elsewhere.start()
        return super().start(port)

    def stop(self) -> None:
        super().stop()
        self.elsewhere.stop()

    async def answer(self, exchange: Exchange) -> None:
        seen = exchange.seen
        action = seen.query.get("action", "")
        if not action and seen.body.startswith(b"{"):
            action = str(json.loads(seen.body).get("action", ""))
        name = action or seen.path.rpartition("/")[2]
        asked = self._asked[name] = self._asked.get(name, -1) + 1
        reply = self._reply(name)
        if self.honest or (asked % 2 == 0 and name != "get_commands"):
            await self._send(exchange, name, reply)
            return
        turns = self._turns.setdefault(name, self._cases(name))
        kind, value = next(turns)
        self.told += 1
        self.names.add(name)
        if kind == "headers":
            code, headers = value
            body = json.dumps(reply).encode()
            lines = {"Content-Length": str(len(body)), "Connection": "close", **headers}
            await exchange.send(head(code, lines) + body)
        elif kind == "bytes":
            await exchange.reply(200, value)
        else:
            changed = copy.deepcopy(reply)
            _put(changed, kind.split("/"), value)
            await self._send(exchange, name, changed)

    async def _send(self, exchange: Exchange, name: str, reply: Any) -> None:
        if name == "download_file" and reply.get("success"):
            await exchange.reply(200, GCODE, content_type="application/octet-stream")
            return
        text = json.dumps(reply, ensure_ascii=False)
        await exchange.reply(200, text.encode("utf-8", "surrogatepass"))

    def _reply(self, name: str) -> dict[str, Any]:
        good: dict[str, Any] = {"success": True, "message": "ok", "note": "x"}
        if name == "get_commands":
            good["commands"] = [self._command()]
            good["features"] = {"long_poll": 2, "command_results": True, "events": True}
        elif name == "update_printer":
            good.update(printer_id="printer_1", timestamp=int(time.time()))
            good["features"] = {"long_poll": 2, "command_results": True, "events": True}
        elif name == "upload_image.php":
            good["image_url"] = "printer_images/x.jpg"
        elif name == "list_files":
            row = {"name": "ok.gcode", "original_name": "ok.gcode", "size": "1 KB"}
            row.update(size_bytes=len(GCODE), md5="", uploaded=1, downloaded=False, exists=True)
            good["files"] = [row]
        return good

    def _command(self) -> dict[str, Any]:
        number = next(self._ids)
        base = {"id": f"cmd_{number}", "token": TOKEN, "timestamp": int(time.time())}
        at = f"http://127.0.0.2:{self.elsewhere.port}/{MARK}.gcode"
        kinds: tuple[dict[str, Any], ...] = (
            {"action": "set_speed", "speed": 100},
            {"action": "print", "file": "ok.gcode"},
            {"action": "gcode", "gcode": "M105"},
            {"action": "print", "file": f"{MARK}.gcode", "download_url": at},
            {"action": "macro", "macro_name": "NOTHING", "params": {"A": 1}},
            {"action": "heat", "hotend_temp": 0, "bed_temp": 0},
            {"action": "print_local", "file": "ok.gcode"},
            {"action": "cancel_download", "file": "ok.gcode"},
            {"action": "set_fan", "speed": 0},
        )
        return {**base, **kinds[number % len(kinds)]}

    def _cases(self, name: str) -> Iterator[tuple[str, Any]]:
        """For ever: a path within the reply and what stands there; or headers, or the bytes."""
        while True:
            paths = list(_paths(self._reply(name)))
            for value in self._values():
                for path in paths:
                    yield "/".join(path), value
                yield f"{MARK}<b>", value  # a name that nobody knows
            for path in paths:
                yield "message", f"{path} <img src=x onerror=alert(1)> {MARK}"
                yield "success", False
            for address in self._addresses():
                for code in (301, 302, 303, 307, 308, 200, 401):
                    safe = address.encode("utf-8", "replace").decode("latin-1")
                    yield "headers", (code, {"Location": safe, "Refresh": f"0; url={safe}"})
            for text in (f"<script>{MARK}</script>", "-5", "1e99", "NaN", f"{MARK} GMT", "9" * 400):
                for header in ("Retry-After", "Date", "Content-Type", "Set-Cookie", "Server"):
                    yield "headers", (503, {header: text})
                    yield "headers", (200, {header: text})
            script = b"G28\n; generated by PrusaSlicer <img src=x onerror=alert(1)> on 2026\n"
            for data in (
                script,
                b"\0" * 4096,
                b"<html>" + FORGED.encode(),
                b"{" * 100_000,
                b"\xff\xfe\0",
            ):
                yield "bytes", data

    def _addresses(self) -> tuple[str, ...]:
        port = self.elsewhere.port
        return (
            f"http://127.0.0.2:{port}/{MARK}",
            f"//127.0.0.2:{port}/{MARK}",
            f"http://127.0.0.1@127.0.0.2:{port}/<img src=x onerror=alert(1)>{MARK}",
            f"javascript:alert('{MARK}')",
            f"file:///etc/{MARK}",
            f"\t<svg onload=alert(1)>{MARK}",
        )

    def _values(self) -> tuple[Any, ...]:
        deep: Any = MARK
        for _ in range(60):
            deep = [deep]
        return (
            f'<img src=x onerror="alert(1)">{MARK}',
            f"&lt;script&gt;{MARK}&#60;b>",
            f"[{MARK}](javascript:alert(1))",
            f"{MARK}\x00\x1b[31m\x07\u202e\u2028",
            f"{MARK}\n{FORGED}\r\nX: y",
            f'ok" ; M112 ; {MARK}',
            f"G28\nM112\n{MARK}",
            f"../../../../../../../../tmp/{MARK}.gcode",
            f"/tmp/{MARK}.gcode",
            f".{MARK}.gcode",
            f"{MARK}\ud800",
            *self._addresses(),
            MARK * 150_000,
            -1,
            2**70,
            1e308,
            float("nan"),
            None,
            True,
            [],
            {},
            [MARK],
            {MARK: {"<b>": MARK}},
            deep,
            [{}] * 2000,
        )


def _paths(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for name, inner in inside:
        yield (*path, str(name))
        if isinstance(inner, (dict, list)):
            yield from _paths(inner, (*path, str(name)))


def _put(reply: Any, path: list[str], value: Any) -> None:
    for step in path[:-1]:
        reply = reply[int(step)] if isinstance(reply, list) else reply.get(step, {})
    if isinstance(reply, list):
        reply[int(path[-1])] = value
    else:
        reply[path[-1]] = value


class Watch:
    """What must not come of it: anything at Klippy but what is allowed, on the disk outside the
    plugin's folders, at other hosts, as markup in Mainsail's page, as a forged line in a log.
    """

    def __init__(self, stack: Stack, hub: HostileHub) -> None:
        self.stack = stack
        self.hub = hub
        self.shown: set[str] = set()  # what Mainsail would show
        self.before = self._files()

    def look(self) -> None:
        self.shown.update(self.stack.moonraker.warnings())
        store = self.stack.moonraker.get("/server/gcode_store?count=1000")["gcode_store"]
        self.shown.update(row["message"] for row in store if "TecMedHub" in row["message"])
        commands = [row["message"] for row in store if row["type"] == "command"]
        assert not [text for text in commands if MARK in text], commands

    def _files(self) -> set[str]:
        return {str(path) for path in self.stack.moonraker.data_path.rglob("*")}

    def check(self) -> None:
        self.look()
        assert self.hub.elsewhere.requests() == []
        assert not list(Path("/tmp").glob(f"*{MARK}*")) + list(Path("/etc").glob(f"*{MARK}*"))
        data = self.stack.moonraker.data_path
        ours = (str(self.stack.moonraker.state_folder), str(data / "logs"), str(data / "database"))
        new = [path for path in sorted(self._files() - self.before) if not path.startswith(ours)]
        printable = [path for path in new if path.startswith(str(self.stack.gcodes))]
        usual = re.compile(r"(\.thumbs|ok( \(\d+\))?\.gcode)\Z")  # the first is Moonraker's
        assert all(usual.match(Path(path).name) for path in printable), printable
        for path in printable:
            assert Path(path).is_dir() or b"onerror" not in Path(path).read_bytes(), path
        others = [path for path in new if path not in printable and "timelapse" not in path]
        assert others == [], others
        for text in self.shown:
            assert not set(text) & set("<>\n\r\x00\x1b\u202e\u2028"), text
            assert "&lt;" not in text and "&#" not in text, text
        for name in ("tecmedhub.log", "moonraker.log"):
            log = (self.stack.moonraker.logs / name).read_text(encoding="utf-8", errors="strict")
            assert not re.search(rf"^{re.escape(FORGED)}", log, re.MULTILINE), name
            control = re.search(r"[\x00-\x08\x0b-\x1f\x7f]", log)
            assert control is None, log[control.start() - 200 : control.end()]
            assert len(log) < 20 << 20, (name, len(log))
            assert "Traceback" not in log, log[log.index("Traceback") - 300 :][:2000]
        assert self.stack.klippy.state() == "ready"
        info = self.stack.moonraker.get("/server/info")
        assert info["failed_components"] == []
        failures = self.stack.moonraker.get("/server/tecmedhub/status")["task_failures"]
        assert failures == {}, failures


def run(replies: int, minutes: float, say: Any = lambda text: None) -> set[str]:
    """Let a stack of its own hear that many hostile replies; what Mainsail would have shown."""
    with HostileHub() as hub, CameraServer(1) as cameras, short_folder("e") as folder:
        options = {
            **OPTIONS,
            "server_url": hub.url("/api.php"),
            "camera_urls": cameras[0].snapshot_url,
        }
        stack = Stack(folder, token=TOKEN, options=options, connected=False)
        with stack:
            # What the plugin lays down at its first start is no doing of the hub's.
            stack.moonraker.wait(stack.override.exists, 60, "the file of settings")
            watch = Watch(stack, hub)
            end = time.monotonic() + minutes * 60
            while hub.told < replies:
                assert time.monotonic() < end, f"only {hub.told} replies in {minutes:g} min"
                watch.look()
                say(f"{hub.told} hostile replies, {len(watch.shown)} texts shown")
                time.sleep(1)
            watch.check()
            # And it is well again, as soon as the hub is.
            hub.honest = True
            before = len(hub.requests("get_commands"))
            hub.wait_for(lambda: len(hub.requests("get_commands")) > before + 3, 90)
            stack.moonraker.wait(
                lambda: not [t for t in stack.moonraker.warnings() if "hub" in t.lower()],
                60,
                "no warning about the hub",
            )
            say(f"{hub.told} hostile replies at {sorted(hub.names)}")
            return watch.shown


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replies", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=90)
    asked = parser.parse_args()
    shown = run(asked.replies, asked.minutes, lambda text: print(text, file=sys.stderr, flush=True))
    print(f"nothing came of them; {len(shown)} texts were shown, none with markup")
