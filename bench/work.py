"""Work of a run, counted and not timed: calls of Python and of C functions, and bytes that C functions go through.

A C function counts as one call, and one more for each 4 KiB of its receiver where it always reads all of it. That is
the cost of functions whose time is at most linear, which is known of the modules in LINEAR. A function of any other
module is told by its name: it may take seconds for a kilobyte, as loading a private key does, so that it has no place
in a scan before its cost is bounded.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType, ModuleType
from typing import Any

_PER_CALL = 4096
_ALL_OF_IT = frozenset(("translate", "replace", "split", "splitlines", "lower", "upper", "decode", "encode", "hex"))
LINEAR = frozenset((
    "", "builtins", "re", "_sre", "math", "time", "_struct", "binascii", "zlib", "_bz2", "_lzma", "_io", "io",
    "_hashlib", "_md5", "_sha1", "_sha2", "itertools", "_operator", "_functools", "functools", "_bisect",
    "collections", "_collections", "_heapq", "_json", "_random", "_codecs", "_weakref", "_thread", "_queue",
    "threading", "posix", "select", "sys", "_signal", "gc", "array", "_imp", "_warnings", "_abc", "_stat",
    "_datetime", "datetime", "_contextvars", "gzip", "isal.igzip", "isal.isal_zlib", "isal.igzip_lib",
    "hyperscan", "hyperscan._hs_ext", "zstandard.backend_c", "fcntl", "_posixsubprocess", "subprocess",
    "sqlite3", "unicodedata", "_hmac", "hashlib", "_ctypes", "isal_zlib",
))  # fmt: skip
"""Modules in C whose functions take at most linear time."""


@dataclass(frozen=True, slots=True)
class Work:
    """Calls of Python functions, units of C functions, and the names of C functions whose cost is not known."""

    calls: int
    units: int
    unknown: tuple[str, ...]

    @property
    def total(self) -> int:
        """Calls and units together."""
        return self.calls + self.units


def counted(run: Callable[[], object]) -> Work:
    """Run a function, count in its thread and in those it starts, and return the work."""
    counts: Counter[str] = Counter()
    unknown: set[str] = set()

    def profiled(_: FrameType, event: str, function: Any) -> None:
        if event == "call":
            counts["calls"] += 1
        elif event == "c_call":
            counts["units"] += 1
            receiver = getattr(function, "__self__", None)
            if isinstance(receiver, bytes | bytearray | str):
                if function.__name__ in _ALL_OF_IT:
                    counts["units"] += len(receiver) // _PER_CALL
            elif (module := module_of(function, receiver)) not in LINEAR:
                unknown.add(f"{module}.{function.__name__}")

    gc.collect()  # or what others left behind is finalized, and counted, within the run
    threading.setprofile(profiled)
    sys.setprofile(profiled)
    try:
        run()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return Work(counts["calls"], counts["units"], tuple(sorted(unknown)))


def module_of(function: Any, receiver: object) -> str:
    """Return the module of a C function, or of the type that it is a method of."""
    if receiver is None or isinstance(receiver, ModuleType):
        return function.__module__ or ""
    kind = receiver if isinstance(receiver, type) else type(receiver)
    return str(kind.__module__)
