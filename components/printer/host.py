"""The computer beside the printer: load, memory, temperature, network, uptime, disk. Read from
Moonraker's own statistics.
"""

import os
import time
from pathlib import Path
from typing import Any, Dict, Mapping, NamedTuple, Optional

from ..runtime.loose import as_dict, as_float, as_int

DISK_EVERY = 30.0  # seconds between looks at the free space


class HostStats(NamedTuple):
    cpu_usage: Optional[float] = None  # percent of all cores
    memory_used_mb: Optional[float] = None
    cpu_temp: Optional[float] = None  # °C
    uptime: float = 0.0  # seconds since boot
    network: Mapping[str, Mapping[str, float]] = {}  # bytes and bytes/s by interface
    disk_total: int = 0  # bytes, of the file system of the gcodes
    disk_free: int = 0


class Host:
    """Keeps Moonraker's last `proc_stat_update` (once a second) and reads it only when asked."""

    def __init__(self, server: Any, gcodes: Path) -> None:
        self._server = server
        self._gcodes = gcodes
        self._last: Mapping[str, Any] = {}
        self._disk = (0, 0)
        self._disk_read = float("-inf")

    def register(self) -> None:
        self._server.register_event_handler("proc_stats:proc_stat_update", self._on_stats)

    def _on_stats(self, stats: Mapping[str, Any]) -> None:
        self._last = stats

    def read(self, monotonic: float) -> HostStats:
        if monotonic - self._disk_read >= DISK_EVERY:
            self._disk_read = monotonic
            self._disk = read_disk(self._gcodes)
        return read_stats(self._last, boot_time(), self._disk)


def boot_time() -> float:
    """Seconds since the computer started."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def read_disk(path: Path) -> "tuple[int, int]":
    """(total, free for us) in bytes; zeros where it cannot be told. One system call, no walking."""
    try:
        stats = os.statvfs(str(path))
    except OSError:
        return 0, 0
    return stats.f_blocks * stats.f_frsize, stats.f_bavail * stats.f_frsize


def read_stats(stats: Mapping[str, Any], uptime: float, disk: "tuple[int, int]") -> HostStats:
    memory = as_dict(stats.get("system_memory"))  # KiB
    used = as_float(memory.get("used"))
    network: Dict[str, Mapping[str, float]] = {}
    for name, card in as_dict(stats.get("network")).items():
        if name == "lo":
            continue
        known = as_dict(card)
        network[name] = {
            "rx_bytes": as_int(known.get("rx_bytes"), 0),
            "tx_bytes": as_int(known.get("tx_bytes"), 0),
            "bandwidth": as_float(known.get("bandwidth"), 0.0),
        }
    return HostStats(
        cpu_usage=as_float(as_dict(stats.get("system_cpu_usage")).get("cpu")),
        memory_used_mb=None if used is None else used / 1024,
        cpu_temp=as_float(stats.get("cpu_temp")),
        uptime=uptime,
        network=network,
        disk_total=disk[0],
        disk_free=disk[1],
    )
