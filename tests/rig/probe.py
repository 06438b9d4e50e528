"""A Moonraker component that looks at the plugin from inside the same process.

Copied beside Moonraker's own components (`install`), with a section `[probe]` of its own:

    GET  /server/probe/belongings           tasks, threads, sockets, log handlers of the plugin
    POST /server/probe/break?what=status    the task of that name meets an exception, once
    POST /server/probe/stalls?begin=1       start measuring (again); without begin: what was seen
    GET  /server/probe/memory               resident bytes; Python objects and blocks, by number

A stall is one callback that held the event loop, or the time by which the loop came back late from
waiting for events. Time blocked on a disk, a lock or the interpreter's own lock counts. What is
taken off:

- what the thread spent waiting for a processor (Linux: schedstat), since a busy test machine is no
  fault of anybody's; and of the time it was blocked, as much as the one of the process's other
  threads that waited longest for a processor: that may be what it waited for;
- what a virtual machine's host took away: the thread did not compute, nor wait for a processor, nor
  give it up itself (`ru_nvcsw` of getrusage(2); a disk and a lock raise it, the interpreter's too);
- what the garbage collector takes, since it goes through all of Moonraker's memory whoever sets it
  off.

It is the plugin's if the callback is a step of one of its coroutines, if a frame of it was on the
stack when a watching thread looked, or if the loop was blocked while threads of the plugin computed
for half of that time: they may have held the interpreter.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import resource
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

OURS = f"{os.sep}tecmedhub{os.sep}"
LOOK_AFTER = 0.002  # seconds that a callback has run when the watcher first looks at its stack
LOOK_EVERY = 0.001
WORTH_NOTING = 0.003  # seconds
THREADS = "tecmedhub"  # what the names of the plugin's threads begin with
SECTION = "[probe]\n"


def install(moonraker_package: Path) -> None:
    """Put this file among Moonraker's components."""
    shutil.copy(__file__, moonraker_package / "components" / "probe.py")


class Stalls:
    """Measures every callback of the event loop, for as long as the process lives."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.callbacks = 0
        self._main = threading.get_ident()
        self._loop_thread = threading.get_native_id()
        self._files: dict[int, int] = {}  # by native id, the open `schedstat` of each thread
        # As os.pread, but without letting go of the interpreter: a busy thread would take it, and
        # measuring would make the stalls.
        self._pread = ctypes.PyDLL(None).pread
        self._buffer = ctypes.create_string_buffer(100)
        self.longest_collection = 0.0  # seconds
        self._collecting = 0.0  # seconds that the garbage collector has taken so far
        self._collection_began = 0.0
        gc.callbacks.append(self._collector)
        self._began = 0.0
        self._looks: list[list[tuple[str, int, str]]] = []
        self._at_work: list[str] = []  # what the plugin's threads did when the watcher looked
        self._patch()
        threading.Thread(target=self._watch, name="probe", daemon=True).start()

    def begin(self) -> None:
        self.seen.clear()
        self.callbacks = 0
        self.longest_collection = 0.0
        self._patch_selector()

    def _waited(self, thread: int = 0) -> float:
        """Seconds that a thread (the event loop's) has waited for a processor so far."""
        thread = thread or self._loop_thread
        file = self._files.get(thread, -1)
        if file < 0:
            try:
                file = os.open(f"/proc/self/task/{thread}/schedstat", os.O_RDONLY)
            except OSError:
                return 0.0  # it has ended
            self._files[thread] = file
        size = self._pread(file, self._buffer, 99, ctypes.c_long(0))
        return int(self._buffer.raw[:size].split()[1]) / 1e9 if size > 0 else 0.0

    def _others_waited(self) -> dict[int, float]:
        """The same of the process's other threads, by their native ids."""
        found = {}
        for thread in list(threading._active.values()):  # type: ignore[attr-defined]
            number = thread.native_id or self._loop_thread
            if number != self._loop_thread:
                found[number] = self._waited(number)
        for ended in self._files.keys() - found.keys() - {self._loop_thread}:
            os.close(self._files.pop(ended))
        return found

    def _starved(self, before: dict[int, float]) -> float:
        """The most that one of the other threads has waited for a processor since `before`."""
        now = self._others_waited()
        return max((waited - before.get(thread, 0.0) for thread, waited in now.items()), default=0)

    @staticmethod
    def _given_up() -> int:
        """How often this thread has given up its processor so far, to wait for something."""
        return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw

    @staticmethod
    def _threads() -> float:
        """Seconds that the plugin's threads have computed so far."""
        total = 0.0
        for thread in list(threading._active.values()):  # type: ignore[attr-defined]
            if thread.name.startswith(THREADS) and thread.ident:
                total += time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
        return total

    def _collector(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._collection_began = time.perf_counter()
            return
        lasted = time.perf_counter() - self._collection_began
        self._collecting += lasted
        self.longest_collection = max(self.longest_collection, lasted)

    def _patch(self) -> None:
        original = asyncio.events.Handle._run
        stalls = self

        def run(handle: asyncio.Handle) -> None:
            threads = stalls._threads()
            others = stalls._others_waited()
            computed = time.thread_time()
            given_up = stalls._given_up()
            waited = stalls._waited() + stalls._collecting
            began = time.perf_counter()
            stalls._looks = []
            stalls._at_work = []
            stalls._began = began
            try:
                original(handle)
            finally:
                stalls._began = 0.0
                stalls.callbacks += 1
                lasted = time.perf_counter() - began
                if lasted > WORTH_NOTING:
                    held = lasted - (stalls._waited() + stalls._collecting - waited)
                    blocked = held - (time.thread_time() - computed)
                    by_itself = stalls._given_up() != given_up
                    starved = stalls._starved(others) if by_itself else blocked
                    excused = max(min(blocked, starved), 0.0)
                    threads = stalls._threads() - threads
                    stalls._note(_whose(handle), lasted, held - excused, blocked - excused, threads)

        asyncio.events.Handle._run = run  # type: ignore[method-assign]

    def _patch_selector(self) -> None:
        """Look also at how late the loop comes back from waiting, where that can be told."""
        selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
        if "select" in vars(selector):
            return  # looked at already; a restart of Moonraker may bring another loop
        original = selector.select

        def select(timeout: float | None = None) -> Any:
            threads = self._threads()
            others = self._others_waited()
            waited = self._waited() + self._collecting
            began = time.perf_counter()
            found = original(timeout)
            late = time.perf_counter() - began - max(timeout or 0.0, 0.0)
            if timeout is not None and late > WORTH_NOTING:
                held = late - (self._waited() + self._collecting - waited)
                held -= max(min(held, self._starved(others)), 0.0)
                self._looks = []
                self._note("waiting for events", late, held, held, self._threads() - threads)
            return found

        selector.select = select

    def _note(self, what: str, lasted: float, held: float, blocked: float, threads: float) -> None:
        """`held` seconds were not waited for a processor; `blocked` of them not computed either,
        while threads of the plugin computed for `threads`.
        """
        if held <= WORTH_NOTING:
            return
        looks, self._looks = self._looks, []
        behind_a_thread = blocked > WORTH_NOTING / 3 and threads > blocked / 2
        ours = any(OURS in file for look in looks for file, _, _ in look)
        last = looks[-1] if looks else []
        stack = [f"{Path(file).name}:{line} {name}" for file, line, name in last]
        self.seen.append(
            {
                "seconds": round(held, 5),
                "lasted": round(lasted, 5),
                "looks": len(looks),
                "ours": ours or OURS in what or behind_a_thread,
                "blocked": round(blocked, 5),
                "threads": round(threads, 5),
                "at_work": self._at_work[-3:],
                "what": what,
                "stack": stack,
            }
        )
        del self.seen[:-500]

    def _watch(self) -> None:
        while True:
            time.sleep(LOOK_EVERY)
            began = self._began
            if began and time.perf_counter() - began > LOOK_AFTER:
                frames = sys._current_frames()
                frame = frames.get(self._main)
                self._at_work += _at_work(frames)
                if frame is not None and self._began == began and len(self._looks) < 50:
                    self._looks.append(_stack(frame))


def _at_work(frames: dict[int, Any]) -> list[str]:
    """Where the plugin's threads are that do not wait for work, or for the disk."""
    found = []
    for thread in list(threading._active.values()):  # type: ignore[attr-defined]
        frame = frames.get(thread.ident or 0)
        if thread.name.startswith(THREADS) and frame is not None:
            stack = _stack(frame)
            if stack[0][2] not in ("wait", "get", "_serve"):
                told = (f"{Path(file).name}:{line} {name}" for file, line, name in stack[:4])
                found.append(f"{thread.name}: " + " < ".join(told))
    return found


def _stack(frame: Any) -> list[tuple[str, int, str]]:
    """Innermost first. Not by `traceback`, which reads the source files and makes others wait."""
    found = []
    while frame is not None and len(found) < 60:
        found.append((frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_name))
        frame = frame.f_back
    return found


def _whose(handle: asyncio.Handle) -> str:
    """The coroutines of the task that this callback is a step of, or the function it is."""
    callback: Any = handle._callback  # type: ignore[attr-defined]
    owner = getattr(callback, "__self__", None)
    if not isinstance(owner, asyncio.Task):
        code = getattr(callback, "__code__", None)
        return f"{code.co_filename} {code.co_name}" if code else repr(callback)[:200]
    names = []
    coroutine: Any = owner.get_coro()
    while coroutine is not None and len(names) < 12:
        code = getattr(coroutine, "cr_code", None)
        names.append(f"{code.co_filename} {code.co_name}" if code else repr(coroutine)[:80])
        coroutine = getattr(coroutine, "cr_await", None)
    return " > ".join(names)


class Probe:
    def __init__(self, config: Any) -> None:
        self.server = config.get_server()
        register = self.server.register_endpoint
        register("/server/probe/belongings", ["GET"], self._belongings)
        register("/server/probe/break", ["POST"], self._break)
        register("/server/probe/stalls", ["POST"], self._stalls)
        register("/server/probe/memory", ["GET"], self._memory)

    async def _belongings(self, web_request: Any) -> dict[str, Any]:
        gc.collect()
        tasks = []
        for task in asyncio.all_tasks():
            code = getattr(task.get_coro(), "cr_code", None)
            if code is not None and OURS in code.co_filename:
                tasks.append(f"{Path(code.co_filename).name} {code.co_name}")
        root = logging.getLogger()
        filters = sum(len(handler.filters) for handler in root.handlers)
        loggers = ("tecmedhub", "tornado.application", "tornado.general")
        return {
            "tasks": sorted(tasks),
            "threads": sorted(
                thread.name for thread in threading.enumerate() if "tecmedhub" in thread.name
            ),
            "sockets": sum(
                _link(name).startswith("socket:") for name in os.listdir("/proc/self/fd")
            ),
            "files": sorted(
                link
                for link in map(_link, os.listdir("/proc/self/fd"))
                if "tecmedhub" in Path(link).name
            ),
            "handlers": filters
            + sum(len(logging.getLogger(name).handlers) for name in loggers)
            + sum(len(logging.getLogger(name).filters) for name in loggers),
            "hubs": sum(type(thing).__name__ == "TecMedHub" for thing in gc.get_objects()),
        }

    async def _break(self, web_request: Any) -> str:
        hub = self.server.lookup_component("tecmedhub")
        what = web_request.get_str("what")
        owner, name = {
            "status": (hub.reporter, "_make_body"),
            "commands": (hub.client, "fetch_commands"),
            "samples": (hub.chronicle, "_cut_off"),
        }[what]
        good = getattr(owner, name)

        def bad(*_args: Any, **_more: Any) -> Any:
            setattr(owner, name, good)
            raise ZeroDivisionError(f"a fault put into {what} by the test")

        setattr(owner, name, bad)
        return "ok"

    async def _stalls(self, web_request: Any) -> dict[str, Any]:
        global _stalls  # noqa: PLW0603 - one for the process, across in-process restarts
        if _stalls is None:
            _stalls = Stalls()
        if web_request.get_boolean("begin", False):
            _stalls.begin()
        return {
            "callbacks": _stalls.callbacks,
            "seen": list(_stalls.seen),
            "collection": _stalls.longest_collection,
        }

    async def _memory(self, web_request: Any) -> dict[str, int]:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return {"resident": pages * os.sysconf("SC_PAGESIZE"), "objects": len(gc.get_objects())}


_stalls: Stalls | None = None


def _link(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""


def load_component(config: Any) -> Probe:
    return Probe(config)
