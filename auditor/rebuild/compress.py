"""Parallel compression. The output does not depend on the number of threads.

gzip output has one member per block; every reader takes them as one stream (RFC 1952, 2.2).
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import zstandard
from isal import igzip

BLOCK = 1 << 20
_FAST = 2  # ISA-L's own scale, 0 to 3: five times as fast as zlib at its default, and a few percent larger
_ZSTD_LEVEL = 3


class Compressor(Protocol):
    """Compressor that passes its output on, in order."""

    def write(self, block: bytes) -> None:
        """Compress bytes."""
        ...

    def finish(self) -> None:
        """Pass on all remaining output."""
        ...


class Gzip:
    """gzip: blocks compressed in a thread pool."""

    def __init__(self, out: Callable[[bytes], object], level: int | None, threads: int) -> None:
        self._out, self._level = out, level
        self._pool = ThreadPoolExecutor(threads, "gzip")
        self._most = 2 * threads
        self._flying: deque[Future[bytes]] = deque()
        self._empty = True

    def write(self, block: bytes) -> None:
        """Compress bytes; at most two blocks per thread are in flight."""
        self._empty = False
        for at in range(0, len(block), BLOCK):
            self._flying.append(self._pool.submit(gzipped, block[at : at + BLOCK], self._level))
            while len(self._flying) > self._most:
                self._out(self._flying.popleft().result())

    def finish(self) -> None:
        """Pass on the remaining blocks."""
        if self._empty:
            self.write(b"")
        while self._flying:
            self._out(self._flying.popleft().result())
        self._pool.shutdown()


def gzipped(block: bytes, level: int | None) -> bytes:
    """Compress a block to a gzip member without time or name."""
    if level is None:
        member: bytes = igzip.compress(block, compresslevel=_FAST, mtime=0)
        return member
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    return packer.compress(block) + packer.flush()


class Zstd:
    """zstd: one frame. The library cuts its jobs by size, so the number of threads does not change the output."""

    def __init__(self, out: Callable[[bytes], object], level: int | None, threads: int) -> None:
        self._out = out
        self._packer = zstandard.ZstdCompressor(level=level or _ZSTD_LEVEL, threads=max(threads, 1)).compressobj()

    def write(self, block: bytes) -> None:
        """Compress bytes."""
        self._out(self._packer.compress(block))

    def finish(self) -> None:
        """End the frame."""
        self._out(self._packer.flush())


def compressor(name: str, out: Callable[[bytes], object], level: int | None, threads: int) -> Compressor | None:
    """Return the compressor named `gzip` or `zstd`; None for `none`."""
    match name:
        case "gzip":
            return Gzip(out, level, threads)
        case "zstd":
            return Zstd(out, level, threads)
        case _:
            return None
