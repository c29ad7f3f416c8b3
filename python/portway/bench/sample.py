"""CPU and memory of processes on this machine, where /proc tells it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")


def cpu_secs(pids: Iterable[int]) -> float | None:
    """What they have used so far, together; `None` where it cannot be known."""
    ticks = 0
    known = False
    for pid in pids:
        try:
            stat = (PROC / str(pid) / "stat").read_text()
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()  # the name before it may have spaces
        ticks += int(fields[11]) + int(fields[12])
        known = True
    return ticks / os.sysconf("SC_CLK_TCK") if known else None


def rss_mb(pid: int) -> float | None:
    try:
        status = (PROC / str(pid) / "status").read_text()
    except OSError:
        return None
    found = status.partition("VmRSS:")[2].split()
    return int(found[0]) * 1024 / 1e6 if found else None
