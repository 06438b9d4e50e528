"""An HTTP proxy that a test holds in its hand: CONNECT, absolute addresses, a password, and a book.

    with Proxy(names={"hub.lab": ("127.0.0.1", hub.port)}, login="me:secret") as proxy:
        proxy.url                     # http://me:secret@127.0.0.1:…
        proxy.asked                   # ["CONNECT hub.lab:443", "POST http://hub.lab/api.php", …]

`names` is its own DNS: what stands there is reached there, whatever the test's resolver says.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from urllib.parse import urlsplit

from .own_loop import OwnLoop

_BLOCK = 64 << 10


class Proxy(OwnLoop):
    def __init__(
        self, names: dict[str, tuple[str, int]] | None = None, login: str = "", code: int = 0
    ) -> None:
        super().__init__()
        self.names = names or {}
        self.login = login
        self.code = code  # the answer to everything, if not 0
        self.asked: list[str] = []
        self.open = 0  # connections at this moment

    @property
    def url(self) -> str:
        return f"http://{self.login}@127.0.0.1:{self.port}" if self.login else self.bare_url

    @property
    def bare_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while await self._serve(reader, writer):
                    pass
        finally:
            self.open -= 1
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether another may follow."""
        block = await reader.readuntil(b"\r\n\r\n")
        first, *lines = block.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
        self.asked.append(f"{method} {target}")
        body = await reader.readexactly(int(headers.get("content-length") or 0))
        wanted = "Basic " + base64.b64encode(self.login.encode()).decode()
        code = self.code
        if self.login and headers.get("proxy-authorization") != wanted:
            code = 407
        if code:
            answer = f"HTTP/1.1 {code} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            writer.write(answer.encode())
            return False
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            there = await asyncio.open_connection(*self._where(host, int(port)))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await _both_ways((reader, writer), there)
            return False
        parts = urlsplit(target)
        path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        kept = [line for line in lines if not line.lower().startswith(("proxy-", "connection"))]
        request = "\r\n".join([f"{method} {path} HTTP/1.1", *kept, "Connection: close", "", ""])
        where = self._where(parts.hostname or "", parts.port or 80)
        up_reader, up_writer = await asyncio.open_connection(*where)
        up_writer.write(request.encode("latin-1") + body)
        while data := await up_reader.read(_BLOCK):
            writer.write(data)
        up_writer.close()
        return False

    def _where(self, host: str, port: int) -> tuple[str, int]:
        return self.names.get(host.strip("[]"), (host.strip("[]"), port))


Way = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _both_ways(here: Way, there: Way) -> None:
    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(_BLOCK):
                sink.write(data)
                await sink.drain()
        sink.close()

    await asyncio.gather(pump(here[0], there[1]), pump(there[0], here[1]))
