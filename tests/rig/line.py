"""A line between two ends: slow, lossy, narrow, forgetful, on command.

    with Line(server.port) as line:
        ...                                   # connect to line.port instead
        line.set(delay=0.3, loss=0.05, up=8_000, forget=20.0)
        line.cut()                            # every connection, at once
        line.counters.connections, line.counters.up, line.counters.down

A TCP relay, since not every machine lets a test make networks of its own. `delay` is one way
(seconds); `loss` the share of pieces that come a retransmission late (`RETRANSMIT`, as TCP would
have it; what follows waits behind them); `up`, `down` bytes a second; `forget`: a connection over
which no byte went for so many seconds is dead without a word: what is sent into it goes nowhere,
as behind a middlebox that has dropped its flow.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass

from .own_loop import OwnLoop

RETRANSMIT = 1.0  # seconds; RFC 6298's first, which a round trip of 600 ms comes near
PIECE = 1400  # bytes, of a packet
_BLOCK = 16 << 10


@dataclass
class Counters:
    connections: int = 0
    forgotten: int = 0  # connections that died of silence and were used all the same
    up: int = 0  # bytes
    down: int = 0


@dataclass
class Quality:
    delay: float = 0.0
    loss: float = 0.0
    up: float = 0.0  # bytes a second; 0: any
    down: float = 0.0
    forget: float = 0.0  # seconds; 0: never


class _Pipe:
    """Bytes on their way, in order."""

    def __init__(self, line: Line, up: bool) -> None:
        self.line = line
        self.up = up
        self.free_at = 0.0  # when the last byte has left

    async def carry(self, data: bytes, arrived: float) -> float:
        """Wait as long as they take; when they arrive (loop time)."""
        quality, loop = self.line.quality, asyncio.get_running_loop()
        rate = quality.up if self.up else quality.down
        self.free_at = max(loop.time(), self.free_at) + (len(data) / rate if rate else 0.0)
        late = 0.0
        for _ in range(0, len(data), PIECE):
            if self.line.rng.random() < quality.loss:
                late += RETRANSMIT
        # No earlier than what went before: TCP delivers in order.
        return max(self.free_at + quality.delay + late, arrived)


class Line(OwnLoop):
    def __init__(self, upstream: int, seed: int = 1) -> None:
        super().__init__()
        self.upstream = upstream
        self.quality = Quality()
        self.counters = Counters()
        self.rng = random.Random(seed)
        self._connections: set[asyncio.Task[None]] = set()
        # Of each direction, since a narrow line is narrow for all connections together.
        self._ways = (_Pipe(self, True), _Pipe(self, False))

    def set(self, **quality: float) -> None:
        self.quality = Quality(**{**vars(self.quality), **quality})

    def cut(self) -> None:
        self._call(self._drop())

    async def __aenter__(self) -> Line:
        """In the event loop that runs, rather than in a thread of its own."""
        self._loop.close()
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def _drop(self) -> None:
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self.counters.connections += 1
        writers = [writer]
        try:
            await asyncio.sleep(2 * self.quality.delay)  # SYN and its answer
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
            writers.append(up_writer)
            flow = _Flow(self)
            await asyncio.gather(
                flow.pump(reader, up_writer, self._ways[0]),
                flow.pump(up_reader, writer, self._ways[1]),
            )
        except OSError:
            pass
        except asyncio.CancelledError:
            for each in writers:
                each.transport.abort()
        finally:
            self._connections.discard(task)
            for each in writers:
                each.close()


class _Flow:
    """One connection through the line."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._dead = False

    def _alive(self) -> bool:
        """Whether the middlebox still knows it; each byte tells it so."""
        now, forget = self._loop.time(), self._line.quality.forget
        if forget and not self._dead and now - self._last > forget:
            self._dead = True
            self._line.counters.forgotten += 1
        self._last = now
        return not self._dead

    async def pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: _Pipe
    ) -> None:
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)

        async def deliver() -> None:
            with contextlib.suppress(OSError):
                while True:
                    at, data = await on_the_way.get()
                    await asyncio.sleep(max(0.0, at - self._loop.time()))
                    if self._dead:
                        continue
                    if not data:
                        sink.write_eof() if sink.can_write_eof() else sink.close()
                        return
                    sink.write(data)
                    await sink.drain()

        delivering = asyncio.ensure_future(deliver())
        arrived = 0.0
        try:
            while True:
                try:
                    data = await source.read(_BLOCK)
                except OSError:
                    data = b""
                if data and not self._alive():
                    continue
                if self._dead:
                    return  # nobody on the other side hears of the end either
                arrived = await way.carry(data, arrived)
                if way.up:
                    self._line.counters.up += len(data)
                else:
                    self._line.counters.down += len(data)
                await on_the_way.put((arrived, data))
                if way.free_at - self._loop.time() > 0.2:  # no queue of seconds inside the relay
                    await asyncio.sleep(way.free_at - self._loop.time() - 0.1)
                if not data:
                    await delivering
                    return
        finally:
            delivering.cancel()
