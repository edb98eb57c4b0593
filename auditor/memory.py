"""How the C library hands memory back."""

from __future__ import annotations

import ctypes

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
