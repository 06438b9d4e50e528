"""Where the processor time goes: of Moonraker alone, of the bare sketch, of the plugin, idle, TLS.

It promises nothing and is no part of `make bench`; it is for whoever wants to make it less:

    python -m bench where           # two minutes; three of each kind side by side at one Klippy

This file is also a Moonraker component (`[where]`) that measures from inside: the processor time of
each callback of the event loop, by the coroutine or function it is, that of waiting for events, of
passes of the garbage collector, and of each other thread. Measuring costs some microseconds a
callback, which show as the loop's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import os
import shutil
import statistics
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

PART = "where"
COPIES = 3
ROWS = 30
LOOP = "the loop itself"


class Books:
    """Processor seconds and calls, by what they were spent on."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0])
        self.began = 0.0
        self._threads: dict[int, float] = {}
        self._collecting = 0.0
        gc.callbacks.append(self._collector)
        self._patch_callbacks()
        self._patch_selector()

    def begin(self) -> None:
        self.spent.clear()
        self.began = time.thread_time()
        self._threads = _thread_seconds()

    def read(self) -> dict[str, list[float]]:
        """Now, the loop's own time included: whatever was spent in no callback."""
        total = time.thread_time() - self.began
        found = {what: list(row) for what, row in self.spent.items()}
        inside = sum(row[0] for what, row in found.items() if not what.startswith("("))
        found[LOOP] = [total - inside, 0]
        names = {thread.native_id: thread.name for thread in threading.enumerate()}
        main = threading.get_native_id()
        for number, seconds in _thread_seconds().items():
            more = seconds - self._threads.get(number, 0.0)
            if number != main and more > 0:
                found[f"thread {names.get(number, '?')}"] = [more, 0]
        return found

    def _book(self, what: str, seconds: float) -> None:
        row = self.spent[what]
        row[0] += seconds
        row[1] += 1

    def _collector(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._collecting = time.thread_time()
        else:  # in brackets: it is part of the callbacks in which it happens
            name = f"(garbage, generation {info['generation']})"
            self._book(name, time.thread_time() - self._collecting)

    def _patch_callbacks(self) -> None:
        original = asyncio.events.Handle._run
        books = self

        def run(handle: asyncio.Handle) -> None:
            what = _whose(handle)
            began = time.thread_time()
            try:
                original(handle)
            finally:
                books._book(what, time.thread_time() - began)

        asyncio.events.Handle._run = run  # type: ignore[method-assign]

    def _patch_selector(self) -> None:
        selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
        original = selector.select

        def select(timeout: float | None = None) -> Any:
            began = time.thread_time()
            try:
                return original(timeout)
            finally:
                self._book("waiting for events", time.thread_time() - began)

        selector.select = select


def _thread_seconds() -> dict[int, float]:
    found = {}
    for number in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError), open(f"/proc/self/task/{number}/schedstat") as file:
            found[int(number)] = int(file.read().split()[0]) / 1e9
    return found


def _whose(handle: asyncio.Handle) -> str:
    """The outermost and the innermost coroutine of a task's step, or the function."""
    callback: Any = handle._callback  # type: ignore[attr-defined]
    while isinstance(callback, functools.partial):
        callback = callback.func
    owner = getattr(callback, "__self__", None)
    if not isinstance(owner, asyncio.Task):
        return f"{getattr(callback, '__module__', '')}.{getattr(callback, '__qualname__', '?')}"
    stack = []
    coroutine: Any = owner.get_coro()
    while coroutine is not None and len(stack) < 20:
        code = getattr(coroutine, "cr_code", None) or getattr(coroutine, "gi_code", None)
        if code is not None:
            stack.append(f"{Path(code.co_filename).stem}.{coroutine.__qualname__}")
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    shown = [*stack[:2], "…", stack[-1]] if len(stack) > 3 else stack
    return "task " + " > ".join(shown)


class Where:
    def __init__(self, config: Any) -> None:
        config.get_server().register_endpoint("/server/where", ["POST"], self._where)
        self._books: Books | None = None

    async def _where(self, web_request: Any) -> dict[str, list[float]]:
        if self._books is None:
            self._books = Books()
        if web_request.get_boolean("begin", False):
            self._books.begin()
        return self._books.read()


def load_component(config: Any) -> Where:
    return Where(config)


def measure(quick: bool) -> list[Any]:
    # Of the bench's own, which a Moonraker that has loaded this file does not know.
    from bench.wire import prepared
    from tests.rig.front import Front
    from tests.rig.hub import PhpHub
    from tests.rig.klippy import KlippyRig, short_folder
    from tests.rig.moonraker import MoonrakerRig

    seconds = 30.0 if quick else 120.0
    with contextlib.ExitStack() as running:
        folder: Path = running.enter_context(short_folder("w"))
        hub = running.enter_context(PhpHub())
        tls = running.enter_context(Front(hub.port, protocols="TLSv1.3"))
        klippy = running.enter_context(KlippyRig(folder / "k"))
        rigs: dict[str, list[MoonrakerRig]] = {"bare": [], "sketch": [], "ours": []}
        for number in range(COPIES):
            for kind, those in rigs.items():
                rig = prepared(kind, number, folder, klippy, tls, "[where]\n")
                shutil.copy(__file__, rig.source / "moonraker" / "components" / "where.py")
                those.append(running.enter_context(rig))
        time.sleep(20.0)
        everybody = [(kind, rig) for kind, those in rigs.items() for rig in those]
        for _, rig in everybody:
            rig.post("/server/where", {"begin": True})
        time.sleep(seconds)
        found: dict[str, list[dict[str, list[float]]]] = defaultdict(list)
        for kind, rig in everybody:
            found[kind].append(rig.post("/server/where"))
    for line in _table(found, seconds):
        print(line)
    return []


def _table(found: dict[str, list[dict[str, list[float]]]], seconds: float) -> list[str]:
    """Milliseconds a minute of each kind, with the calls; the largest differences first."""
    means: dict[str, dict[str, tuple[float, float]]] = {}
    for kind, books in found.items():
        names = {name for book in books for name in book}
        means[kind] = {
            name: (
                statistics.mean(book.get(name, (0, 0))[0] for book in books) * 60000 / seconds,
                statistics.mean(book.get(name, (0, 0))[1] for book in books) * 60 / seconds,
            )
            for name in names
        }
    alone = means["bare"]
    rows = {name for kind in means.values() for name in kind}

    def extra(name: str, kind: str) -> float:
        return means[kind].get(name, (0.0, 0.0))[0] - alone.get(name, (0.0, 0.0))[0]

    lines = ["ms a minute (calls): " + ", ".join(means)]
    total = {k: sum(v[0] for n, v in m.items() if not n.startswith("(")) for k, m in means.items()}
    lines.append("   ".join(f"{total[kind]:9.1f}        " for kind in means) + "  in all")
    ordered = sorted(rows, key=lambda n: -max(abs(extra(n, "ours")), abs(extra(n, "sketch"))))
    for name in ordered[:ROWS]:
        cells = [means[kind].get(name, (0.0, 0.0)) for kind in means]
        lines.append("   ".join(f"{ms:9.1f} ({calls:5.0f})" for ms, calls in cells) + f"  {name}")
    return lines
