"""How far a download is, for the status body, the web interfaces and the console."""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple

from ..runtime.messages import say

TOLD_EVERY = 1.0  # seconds between two notifications
SPEED_OVER = 10.0  # seconds that the speed is averaged over
CONSOLE_STEP = 25  # percent

Listener = Callable[[Optional[Dict[str, Any]]], None]


class Progress:
    """`monotonic` gives seconds; `console` takes a line for people."""

    def __init__(self, monotonic: Callable[[], float], console: Callable[[str], None]) -> None:
        self._monotonic = monotonic
        self._console = console
        self._listeners: List[Listener] = []
        self._file = ""
        self._done = 0
        self._size: Optional[int] = None
        self._samples: Deque[Tuple[float, int]] = deque()
        self._told_at = 0.0
        self._console_next = CONSOLE_STEP

    def subscribe(self, listener: Listener) -> None:
        """Call `listener(progress)` at most once a second while a download runs, and
        `listener(None)` after it.
        """
        self._listeners.append(listener)

    @property
    def now(self) -> Optional[Dict[str, Any]]:
        """`{file, percent, bytes, size, speed, eta}`, or None when nothing is being fetched.

        Bytes, bytes a second, seconds; percent, size and eta are None while the size is not known.
        """
        if not self._file:
            return None
        speed = self._speed()
        percent = eta = None
        if self._size:
            percent = min(round(100.0 * self._done / self._size, 1), 100.0)
            if speed > 0:
                eta = round(max(self._size - self._done, 0) / speed)
        return {
            "file": self._file,
            "percent": percent,
            "bytes": self._done,
            "size": self._size,
            "speed": round(speed),
            "eta": eta,
        }

    def begin(self, file: str, size: Optional[int]) -> None:
        self._file, self._done, self._size = file, 0, size
        self._samples.clear()
        self._console_next = CONSOLE_STEP
        self._tell()

    def update(self, done: int, size: Optional[int]) -> None:
        """`done` bytes are there, of `size`; fewer than before means that it began anew."""
        now = self._monotonic()
        if done < self._done or not self._samples:
            self._samples.clear()
            self._samples.append((now, self._done if done >= self._done else done))
        self._done, self._size = done, size
        if now - self._samples[-1][0] >= TOLD_EVERY / 2:
            self._samples.append((now, done))
            while len(self._samples) > 2 and now - self._samples[0][0] > SPEED_OVER:
                self._samples.popleft()
        if size and 100 * done >= self._console_next * size and self._console_next < 100:
            step = 100 * done // size // CONSOLE_STEP * CONSOLE_STEP
            if step < 100:
                self._console(
                    say(
                        "{file}: {step} % of {size:.1f} MiB",
                        file=self._file,
                        step=step,
                        size=size / 2**20,
                    )
                )
            self._console_next = step + CONSOLE_STEP
        if now - self._told_at >= TOLD_EVERY:
            self._tell()

    def end(self) -> None:
        if self._file:
            self._file = ""
            self._tell()

    def _speed(self) -> float:
        if not self._samples:
            return 0.0
        since, before = self._samples[0]
        elapsed = self._monotonic() - since
        return max(self._done - before, 0) / elapsed if elapsed > 0 else 0.0

    def _tell(self) -> None:
        self._told_at = self._monotonic()
        progress = self.now
        for listener in self._listeners:
            listener(progress)
