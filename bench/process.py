"""What a process costs, from Linux's own books."""

from __future__ import annotations

import contextlib
import os


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads, to the nanosecond (schedstat; `stat` counts in hundredths).

    Threads that have ended are missing here, so it is for processes whose threads stay.
    """
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with (
            contextlib.suppress(FileNotFoundError),
            open(f"/proc/{pid}/task/{thread}/schedstat") as f,
        ):
            total += int(f.read().split()[0])
    return total / 1e9


def rss_kib(pid: int) -> int:
    """Resident memory."""
    with open(f"/proc/{pid}/status") as lines:
        for line in lines:
            if line.startswith("VmRSS"):
                return int(line.split()[1])
    return 0


def machine_seconds() -> tuple[float, float]:
    """Of all processors since boot: what the host of a virtual machine took away (`steal`), and
    what was wanted, that included (proc_stat(5)).
    """
    with open("/proc/stat") as lines:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, next(lines).split()[1:9])
    a_second = os.sysconf("SC_CLK_TCK")
    return steal / a_second, (user + nice + system + irq + softirq + steal) / a_second
