"""Process settings: usable cores, release of freed memory, no core dumps."""

from __future__ import annotations

import ctypes
import math
import os
import resource
from collections.abc import Iterator
from pathlib import Path

_PR_SET_DUMPABLE = 4  # prctl(2)
_M_MMAP_THRESHOLD = -3  # mallopt(3)
_M_TRIM_THRESHOLD, _M_TOP_PAD = -1, -2
_LARGE, _KEPT = 1 << 20, 8 << 20


def return_large_blocks() -> None:
    """Return blocks of a megabyte and more to the system when they are freed.

    glibc raises its threshold after the first large block is freed and keeps all later ones, so that a scan's memory
    stays at its peak. With another C library nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)


def keep_heap() -> None:
    """Keep freed blocks of up to two megabytes for the next allocation, as a worker scans one file after another."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for setting, value in ((_M_MMAP_THRESHOLD, 2 * _LARGE), (_M_TRIM_THRESHOLD, _KEPT), (_M_TOP_PAD, _LARGE)):
            mallopt(setting, value)


def trim_heap() -> None:
    """Return freed small blocks to the system: half of the heap after a scan. Takes milliseconds."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


def disable_core_dumps() -> None:
    """Disable core dumps of this process, which would contain the secrets found.

    The limit covers dumps to files only; programs that the kernel pipes dumps to, such as systemd-coredump, ignore it:
    core(5). On Linux the process is also marked as not dumpable, so that other processes of the user can't read its
    memory.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def usable_cores() -> int:
    """Return the number of processor cores that this process may use, by its affinity and its control groups."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *map(math.ceil, _quotas(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")))]))


def _quotas(own: Path, root: Path) -> Iterator[float]:
    """Yield the cores that each control group above this process may use. Source: cgroups(7), cgroup-v2 `cpu.max`.

    `own` names the groups of the process, `root` is the folder of all groups.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / "cpu" if controllers else root
        for folder in (base / group.lstrip("/") / "_").parents:
            if folder == base.parent:
                break
            quota, period = _quota(folder, unified=not controllers)
            if quota > 0 < period:
                yield quota / period


def _quota(folder: Path, *, unified: bool) -> tuple[int, int]:
    """Return quota and period in microseconds; a quota of 0 or less is no limit."""
    try:
        if unified:
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota), int(period)
    except (OSError, ValueError):  # none of this group, or "max"
        return 0, 0
