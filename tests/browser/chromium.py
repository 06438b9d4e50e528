"""Debian's Chromium, headless, by its own protocol (Chrome DevTools Protocol) over Tornado's
websocket: no driver, no package.

A `Page` knows what a test asks: open, evaluate, wait until something holds, click, take a picture,
what the console said.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.rig.waiting import LEAST

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--hide-scrollbars",
    "--mute-audio",
    "--no-proxy-server",
    "--remote-debugging-port=0",
)
START_WITHIN = 30.0  # seconds
MESSAGE_SIZE = 64 << 20  # bytes; screenshots of long pages


def find_chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


class BrowserError(Exception):
    """What the browser said."""


class Chromium:
    """`async with Chromium() as browser: page = await browser.page(…)`."""

    def __init__(self) -> None:
        self._profile = tempfile.TemporaryDirectory(
            prefix="tecmedhub-chromium-", ignore_cleanup_errors=True
        )
        self._process: asyncio.subprocess.Process | None = None
        self._socket: WebSocketClientConnection | None = None
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Chromium:
        binary = find_chromium()
        assert binary is not None, "Chromium is not installed: apt install chromium"
        self._process = await asyncio.create_subprocess_exec(
            binary,
            *FLAGS,
            f"--user-data-dir={self._profile.name}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        address = await asyncio.wait_for(self._address(), START_WITHIN)
        self._socket = await websocket_connect(address, max_message_size=MESSAGE_SIZE)
        self._reader = asyncio.ensure_future(self._read())
        return self

    async def __aexit__(self, *_exception: object) -> None:
        assert self._process is not None
        if self._reader is not None:
            self._reader.cancel()
        if self._socket is not None:
            self._socket.close()
        if self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), 10.0)
            except asyncio.TimeoutError:
                self._process.kill()
                await self._process.wait()
        self._profile.cleanup()

    async def page(
        self, width: int = 1280, height: int = 900, language: str = "en-GB", dark: bool = False
    ) -> Page:
        """A fresh tab, with this size, this language and this colour scheme."""
        target = await self.command("Target.createTarget", {"url": "about:blank"})
        attached = await self.command(
            "Target.attachToTarget", {"targetId": target["targetId"], "flatten": True}
        )
        page = Page(self, attached["sessionId"])
        self._pages[attached["sessionId"]] = page
        await page.prepare(width, height, language, dark)
        return page

    async def command(
        self, method: str, params: dict[str, Any] | None = None, session: str = ""
    ) -> dict[str, Any]:
        assert self._socket is not None
        number = next(self._ids)
        message: dict[str, Any] = {"id": number, "method": method, "params": params or {}}
        if session:
            message["sessionId"] = session
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        await self._socket.write_message(json.dumps(message))
        answer = await asyncio.wait_for(future, 60.0)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error'].get('message')}")
        result: dict[str, Any] = answer.get("result", {})
        return result

    async def _address(self) -> str:
        """The browser writes its port into its profile once it listens."""
        file = Path(self._profile.name) / "DevToolsActivePort"
        while True:
            if file.exists():
                lines = file.read_text().splitlines()
                if len(lines) >= 2:
                    return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
            await asyncio.sleep(0.05)

    async def _read(self) -> None:
        assert self._socket is not None
        while True:
            text = await self._socket.read_message()
            if text is None:
                return
            message = json.loads(text)
            if "id" in message:
                future = self._waiting.pop(message["id"], None)
                if future is not None and not future.done():
                    future.set_result(message)
            else:
                page = self._pages.get(message.get("sessionId", ""))
                if page is not None:
                    page.hear(message["method"], message["params"])


class Page:
    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self._session = session
        self.errors: list[str] = []  # what the console complained of
        self.requests: list[str] = []  # addresses asked for

    async def prepare(self, width: int, height: int, language: str, dark: bool) -> None:
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.send(f"{domain}.enable")
        await self.size(width, height)
        await self.send("Emulation.setFocusEmulationEnabled", {"enabled": True})
        agent = await self.evaluate("navigator.userAgent")
        await self.send(
            "Emulation.setUserAgentOverride", {"userAgent": agent, "acceptLanguage": language}
        )
        await self.send(
            "Emulation.setEmulatedMedia",
            {
                "features": [
                    {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
                    {"name": "prefers-reduced-motion", "value": "reduce"},
                ]
            },
        )

    async def send(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        return await self._browser.command(method, params, self._session)

    def hear(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            words = [str(a.get("value", a.get("description", ""))) for a in params["args"]]
            self.errors.append(" ".join(words))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            entry = params["entry"]
            self.errors.append(f"{entry['text']} {entry.get('url', '')}".strip())
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    async def size(self, width: int, height: int) -> None:
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )

    async def close(self) -> None:
        await self.send("Page.close")

    async def open(self, url: str) -> None:
        await self.send("Page.navigate", {"url": url})
        await self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def evaluate(self, expression: str) -> Any:
        answer = await self.send(
            "Runtime.evaluate",
            {"expression": expression, "awaitPromise": True, "returnByValue": True},
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    async def wait_for(self, expression: str, timeout: float = 30.0) -> None:
        """Until the expression is true."""
        timeout = max(timeout, LEAST)
        end = asyncio.get_running_loop().time() + timeout
        while True:
            if await self.evaluate(f"!!({expression})"):
                return
            if asyncio.get_running_loop().time() > end:
                seen = await self.evaluate("document.body.innerText.slice(0, 3000)")
                raise AssertionError(f"not within {timeout:g} s: {expression}\n{seen}")
            await asyncio.sleep(0.1)

    async def text(self, selector: str) -> str:
        return str(
            await self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText.trim()")
        )

    async def wait_for_text(self, selector: str, text: str, timeout: float = 30.0) -> None:
        await self.wait_for(
            f"document.querySelector({json.dumps(selector)})?.innerText.includes({json.dumps(text)})",
            timeout,
        )

    async def click(self, selector: str) -> None:
        """With the mouse, where a person would: at the middle of what is on screen."""
        place = await self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            " return {x: r.x + r.width / 2, y: r.y + r.height / 2, seen: r.width > 0}; })()"
        )
        assert place["seen"], f"{selector} cannot be seen"
        for kind in ("mousePressed", "mouseReleased"):
            await self.send(
                "Input.dispatchMouseEvent",
                {
                    "type": kind,
                    "x": place["x"],
                    "y": place["y"],
                    "button": "left",
                    "clickCount": 1,
                },
            )

    async def press(self, key: str) -> None:
        """A key, where the focus is."""
        code = {"Enter": 13, "Tab": 9, " ": 32}[key]
        about = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        text = {"text": "\r"} if key == "Enter" else {}
        await self.send("Input.dispatchKeyEvent", {"type": "keyDown", **about, **text})
        await self.send("Input.dispatchKeyEvent", {"type": "keyUp", **about})

    async def write(self, text: str) -> None:
        """As typed, where the focus is."""
        await self.send("Input.insertText", {"text": text})

    async def picture(self, file: Path) -> None:
        """A screenshot of the whole page."""
        metrics = await self.send("Page.getLayoutMetrics")
        box = metrics["cssContentSize"]
        shot = await self.send(
            "Page.captureScreenshot",
            {
                "format": "png",
                "captureBeyondViewport": True,
                "clip": {
                    "x": 0,
                    "y": 0,
                    "width": box["width"],
                    "height": box["height"],
                    "scale": 1,
                },
            },
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(shot["data"]))
