"""Cameras as mjpg-streamer serves them, with pictures drawn for the purpose, that can misbehave.

    with CameraServer(2) as cameras:
        first, second = cameras
        ...                                   # camera_urls: first.snapshot_url, second.snapshot_url
        first.behave("hang")                  # or any other mode, also with times=3
        first.asks_for("aula", "secret")      # HTTP Digest; the address with both in it
        first.wait_for_request()
        second.changing = False               # the same picture byte for byte; noise=True: nearly
        second.progress = 0.5                 # and now another one
        assert second.served[-1].frame == 7
        first.behave("ok")

Each camera has `/camN/?action=snapshot` and `/camN/?action=stream`, N from 1.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from . import scenes
from .faults import FaultServer
from .loop_server import Exchange, Seen, head

_JPEG = "image/jpeg"
_REALM, _NONCE = "cam", "0123456789abcdef"
_BLOCK = 64 << 10


@dataclass(frozen=True)
class Served:
    """One picture handed out in good order."""

    time: float
    frame: int  # the number drawn in it
    size: int
    sha256: str


class Camera:
    """One camera; its attributes may be changed at any time, from any thread."""

    def __init__(self, server: CameraServer, number: int, size: tuple[int, int]) -> None:
        self.number = number
        self.size = size
        self.changing = True  # the part grows with each picture
        self.noise = False  # sensor noise: no two pictures are the same bytes
        self.progress = 0.1  # of the part in the picture, 0–1
        self.frame = 0
        self.served: list[Served] = []
        self._server = server
        self._lock = threading.Lock()
        self._frozen: bytes | None = None

    @property
    def target(self) -> str:
        return f"/cam{self.number}/"

    @property
    def snapshot_url(self) -> str:
        return self._server.url(f"{self.target}?action=snapshot")

    def asks_for(self, user: str, password: str) -> str:
        """Answer only who proves by HTTP Digest to know both; the address that holds them."""
        self.behave("digest", user=user, password=password)
        return self.snapshot_url.replace("://", f"://{quote(user)}:{quote(password)}@")

    @property
    def stream_url(self) -> str:
        return self._server.url(f"{self.target}?action=stream")

    def behave(self, mode: str, *, times: int | None = None, **params: Any) -> None:
        """From now on, "ok" or a mode of CameraServer."""
        with self._lock:
            self._frozen = None
        self._server.behave("pass" if mode == "ok" else mode, self.target, times=times, **params)

    def requests(self) -> list[Seen]:
        """What was asked of this camera, however it was answered."""
        return self._server.requests(self.target)

    def wait_for_request(self, count: int = 1, timeout: float = 60) -> list[Seen]:
        return self._server.wait_for_request(self.target, count, timeout)

    def picture(self) -> bytes:
        """The next picture, a JPEG."""
        with self._lock:
            if self.changing:
                self.progress = self.progress + 0.02 if self.progress < 0.98 else 0.1
            if self.changing or not self.served:
                self.frame += 1
            noise = len(self.served) if self.noise else None
            title = f"CAM{self.number}"
            data = scenes.draw(self.size, title, self.frame, self.progress, noise=noise)
            digest = hashlib.sha256(data).hexdigest()
            self.served.append(Served(time.time(), self.frame, len(data), digest))
            return data

    def frozen_picture(self) -> bytes:
        """The same picture for ever, as a camera sends whose driver has died."""
        data = self._frozen or self.picture()
        with self._lock:
            self._frozen = data
        return data


class CameraServer(FaultServer):
    """Cameras on one port. Besides FaultServer's modes, where the reply is the picture:

    png, black, frozen          good files, but not what a camera should send
    big(size)                   a JPEG with megabytes behind it, honestly framed
    multipart(interval)         the endless stream where a snapshot was asked for
    bomb_jpeg(pixels), bomb_png(pixels)     small files of huge dimensions, (width, height)
    digest(user, password)      401 for whoever does not answer its challenge (RFC 7616)

    Of FaultServer's, these make sense here: hang, hang_accept, hang_body, status(code=404), html,
    empty, close, reset, cut, truncated, drip(size, interval), lying_length, endless_chunks.
    """

    def __init__(
        self, count: int = 1, *, size: tuple[int, int] = (640, 480), tls: str | None = None
    ) -> None:
        super().__init__(tls=tls)
        self.cameras = [Camera(self, number + 1, size) for number in range(count)]

    def __iter__(self) -> Iterator[Camera]:
        return iter(self.cameras)

    def __getitem__(self, index: int) -> Camera:
        return self.cameras[index]

    def _camera(self, exchange: Exchange) -> Camera | None:
        for camera in self.cameras:
            if exchange.seen.path.startswith(camera.target):
                return camera
        return None

    async def _reply(self, exchange: Exchange, params: Mapping[str, Any]) -> tuple[bytes, str]:
        camera = self._camera(exchange)
        if camera is None or "body" in params or "reply" in params:
            return await super()._reply(exchange, params)
        return camera.picture(), _JPEG

    async def _mode_pass(self, exchange: Exchange) -> None:
        camera = self._camera(exchange)
        action = exchange.seen.query.get("action")
        if camera is None or action not in ("snapshot", "stream"):
            await self._mode_status(exchange, 404)
        elif action == "stream":
            await self._mode_multipart(exchange)
        else:
            await exchange.reply(200, camera.picture(), content_type=_JPEG)

    async def _mode_png(self, exchange: Exchange) -> None:
        await exchange.reply(200, scenes.png(self._size(exchange)), content_type="image/png")

    async def _mode_black(self, exchange: Exchange) -> None:
        await exchange.reply(200, scenes.black(self._size(exchange)), content_type=_JPEG)

    async def _mode_frozen(self, exchange: Exchange) -> None:
        camera = self._camera(exchange)
        data = camera.frozen_picture() if camera else b""
        await exchange.reply(200, data, content_type=_JPEG)

    async def _mode_big(self, exchange: Exchange, size: int = 50 << 20) -> None:
        picture, _ = await self._reply(exchange, {})
        await exchange.send(head(200, {"Content-Type": _JPEG, "Content-Length": str(size)}))
        await exchange.send(picture[:size])
        for start in range(len(picture), size, _BLOCK):
            await exchange.send(bytes(min(_BLOCK, size - start)))

    async def _mode_multipart(self, exchange: Exchange, interval: float = 0.05) -> None:
        kind = "multipart/x-mixed-replace;boundary=boundarydonotcross"
        await exchange.send(head(200, {"Content-Type": kind}) + b"--boundarydonotcross\r\n")
        while True:
            picture, _ = await self._reply(exchange, {})
            first = f"Content-Type: {_JPEG}\r\nContent-Length: {len(picture)}\r\n\r\n"
            await exchange.send(first.encode() + picture + b"\r\n--boundarydonotcross\r\n")
            await asyncio.sleep(interval)

    async def _mode_bomb_jpeg(
        self, exchange: Exchange, pixels: tuple[int, int] = (65500, 65500)
    ) -> None:
        await exchange.reply(200, scenes.bomb_jpeg(pixels), content_type=_JPEG)

    async def _mode_bomb_png(
        self, exchange: Exchange, pixels: tuple[int, int] = (30000, 30000)
    ) -> None:
        data = await asyncio.to_thread(scenes.bomb_png, pixels)
        await exchange.reply(200, data, content_type="image/png")

    async def _mode_digest(self, exchange: Exchange, user: str, password: str) -> None:
        """Reckoned anew from RFC 7616, 3.4.1, not by the code that is tested."""
        line = exchange.seen.headers.get("authorization", "")
        fields = dict(re.findall(r'(\w+)="?([^",]*)"?', line.partition(" ")[2]))

        def h(*parts: str) -> str:
            return hashlib.sha256(":".join(parts).encode()).hexdigest()

        one, two = h(user, _REALM, password), h("GET", exchange.seen.target)
        middle = [fields.get(name, "") for name in ("nc", "cnonce", "qop")]
        right = h(one, _NONCE, *middle, two)
        if line.startswith("Digest ") and fields.get("response") == right:
            await self._mode_pass(exchange)
            return
        challenge = f'Digest realm="{_REALM}", nonce="{_NONCE}", algorithm=SHA-256, qop="auth"'
        await exchange.reply(401, b"who are you?", headers={"WWW-Authenticate": challenge})

    def _size(self, exchange: Exchange) -> tuple[int, int]:
        camera = self._camera(exchange)
        return camera.size if camera else (640, 480)
