"""What becomes of this process's memory: how the C library hands it back, and that no core dump holds it."""

from __future__ import annotations

import ctypes
import resource

_PR_SET_DUMPABLE = 4  # prctl(2)
_M_MMAP_THRESHOLD = -3  # mallopt(3)
_LARGE = 1 << 20


def return_large_blocks() -> None:
    """Have blocks of a megabyte and more given back to the system when they are freed.

    By itself glibc learns from the first large block that is freed to keep all later ones, and a scan's memory grows
    with what it once needed. Elsewhere nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)


def give_back() -> None:
    """Hand back to the system what was freed in small blocks: after a scan that is half of all. Takes milliseconds."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


def keep_off_disk() -> None:
    """Have no core dump written of this process, which would hold what was found.

    The limit is that for files; programs that the kernel pipes dumps to, as systemd-coredump, don't heed it: core(5).
    So on Linux the process is not dumpable, which keeps other processes of the user from reading its memory too.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
