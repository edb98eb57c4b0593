"""Time slices of this process: how long a thread runs before another one gets its core."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SYS_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
"""Numbers of the system call, which C libraries have no function for. Source: syscall_64.tbl, unistd.h of Linux."""

_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
"""struct sched_attr in its first version: size, policy, flags, nice, priority, runtime, deadline, period (ns)."""

_LONG_NS = 100_000_000
"""The longest that Linux allows."""


@contextmanager
def long_time_slices() -> Iterator[None]:
    """Let the threads of this process run for up to 100 ms before another process gets their core.

    A search fills the cache of its core, and after each change of processes the cache is filled again: that takes 3 %
    of the time of four workers on two cores. Threads that start meanwhile do as the one that starts them. Needs Linux;
    before 6.12 it has no slices, but a thread that wakes up doesn't interrupt another one. Does nothing where the
    process has another scheduling policy than the usual one, or none that it can read. Source: sched(7), `SCHED_BATCH`;
    sched_setattr(2); `sched_runtime` in kernel/sched/syscalls.c.
    """
    if not _is_usual():
        yield
        return
    _change(os.SCHED_OTHER, os.SCHED_BATCH, _LONG_NS)
    try:
        yield
    finally:
        _change(os.SCHED_BATCH, os.SCHED_OTHER, 0)


def _is_usual() -> bool:
    """Whether this thread has the usual policy of Linux. musl, the C library of Alpine, reads none: ENOSYS."""
    try:
        return sys.platform == "linux" and os.sched_getscheduler(0) == os.SCHED_OTHER
    except OSError:
        return False


def _change(policy: int, new: int, slice_ns: int) -> None:
    """Give all threads that have a policy a new one, and a slice in nanoseconds; 0 stands for the usual slice."""
    number = _SYS_SCHED_SETATTR.get(os.uname().machine)
    if number is None:
        return
    call = ctypes.CDLL(None).syscall
    threads: list[int] = []
    with suppress(OSError):  # without /proc, no thread is changed
        threads = [int(folder.name) for folder in Path("/proc/self/task").iterdir()]
    for thread in threads:
        with suppress(OSError):  # it has ended
            if os.sched_getscheduler(thread) == policy:
                nice = os.getpriority(os.PRIO_PROCESS, thread)
                attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, new, 0, nice, 0, slice_ns, 0, 0)
                call(ctypes.c_long(number), thread, attributes, 0)  # where it is refused, the thread stays as it is
