"""What must stand in the hub's database at the end; each check with what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.rig.hub import PhpHub
from tests.rig.hub_records import Status

from .story import FILE, Order


@dataclass(frozen=True)
class Check:
    what: str
    ok: bool
    found: str


@dataclass(frozen=True)
class Done:
    """An order that was queued, and its id at the hub."""

    order: Order
    command: Any


def words(history: Sequence[Status]) -> list[str]:
    """The status words in order, repetitions left out."""
    found: list[str] = []
    for status in history:
        if not found or found[-1] != status.status:
            found.append(status.status)
    return found


def check_states(history: Sequence[Status]) -> Check:
    expected = ["idle", "printing", "paused", "printing", "idle"]
    found = words(history)
    return Check("states seen", found == expected, " → ".join(found))


def check_pause(history: Sequence[Status]) -> Check:
    paused = any(status.body.get("print_state") == "paused" for status in history)
    return Check("the pause seen", paused, "print_state: paused" if paused else "never")


def check_figures(history: Sequence[Status]) -> Check:
    """The orders' effects, as the printer itself reported them while it printed."""
    printing = [s.body for s in history if s.body.get("print_state") in ("printing", "paused")]
    wanted = {"print_speed": 150, "print_flow": 105, "fan_speed": 80, "temp_hotend_target": 215}
    missed = [
        name for name, value in wanted.items() if all(body[name] != value for body in printing)
    ]
    told = ", ".join(f"{name} {value}" for name, value in wanted.items())
    return Check("figures reported", not missed, told if not missed else f"never: {missed}")


def check_print(hub: PhpHub, token: str, generation: int) -> Check:
    kept = hub.printer(token, generation) or {}
    job = next(iter((hub.status(token) or {}).get("history", [])), {})
    ok = (
        job.get("filename") == FILE
        and job.get("status") == "completed"
        and str(kept.get("last_completed", "")).startswith(FILE)
    )
    found = (
        f"{kept.get('last_completed')}, {job.get('status')} in "
        f"{float(job.get('total_duration', 0)):.0f} s, "
        f"{float(job.get('filament_used', 0)):.0f} mm of filament"
    )
    return Check("finished print", ok, found)


def check_file(hub: PhpHub, token: str, on_disk: bytes, offered: bytes) -> Check:
    entry = hub.file_entry(FILE, token) or {}
    ok = on_disk == offered and bool(entry.get("downloaded"))
    found = f"{FILE}, {len(on_disk):,} bytes, verified and reported taken"
    return Check("file fetched", ok, found if ok else f"{entry}, {len(on_disk)} bytes on disk")


def check_pictures(hub: PhpHub, token: str) -> Check:
    pictures = hub.images(token)
    size = sum(len(picture.data) for picture in pictures) // 1024
    return Check("camera pictures", bool(pictures), f"{len(pictures)}, {size} KiB")


def check_orders(hub: PhpHub, token: str, orders: Sequence[Done]) -> list[Check]:
    checks = []
    for done in orders:
        result = hub.result(token, done.command)
        status = "no result" if result is None else result.status
        message = "" if result is None else result.message
        ok = status == done.order.result
        checks.append(Check(done.order.label, ok, f"{status:8}  {message}".rstrip()))
    return checks
