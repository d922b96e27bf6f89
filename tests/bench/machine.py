"""What this run ran on: figures of different machines are not to be compared, their ratios with care."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def machine(place: Path) -> dict[str, str]:
    """CPU, cores that we may use, memory, kernel, Python, and the file system that `place` lies on."""
    return {
        "cpu": _after(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": _gibibytes(_after(Path("/proc/meminfo"), "MemTotal")),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "file system": file_system(place),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def file_system(place: Path) -> str:
    """The type of the file system below `place`; it decides what an fsync costs."""
    best, found = "", "unknown"
    for row in Path("/proc/mounts").read_text().splitlines():
        point, kind = row.split()[1:3]
        point = point.encode().decode("unicode_escape")
        if place.resolve().is_relative_to(point) and len(point) >= len(best):
            best, found = point, kind
    return found


def _after(table: Path, name: str) -> str:
    """The first value called `name` in one of the kernel's `name : value` tables; "" if there is none."""
    for row in table.read_text().splitlines():
        key, _, value = row.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _gibibytes(kilobytes: str) -> str:
    return f"{int(kilobytes.split()[0]) / 2**20:.1f} GiB" if kilobytes else "unknown"
