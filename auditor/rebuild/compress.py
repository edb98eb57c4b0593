"""Compression of what is written, in parallel, and the same bytes however many threads there are.

gzip is a member for each block, which every reader of gzip takes as one stream: RFC 1952, 2.2.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

BLOCK = 1 << 20
_FAST = 2  # ISA-L's own scale, 0 to 3: five times as fast as zlib at its default, and a few percent larger
_ZSTD_LEVEL = 3


class Compressor(Protocol):
    """Takes bytes and hands on compressed ones, in order."""

    def write(self, block: bytes) -> None:
        """Take some bytes."""
        ...

    def finish(self) -> None:
        """Hand on all that is still held back."""
        ...


class Gzip:
    """Blocks compressed in a pool."""

    def __init__(self, out: Callable[[bytes], object], level: int | None, threads: int) -> None:
        self._out, self._level = out, level
        self._pool = ThreadPoolExecutor(threads, "gzip")
        self._most = 2 * threads
        self._flying: deque[Future[bytes]] = deque()
        self._empty = True

    def write(self, block: bytes) -> None:
        """Take some bytes; at most two blocks a thread are in flight."""
        self._empty = False
        for at in range(0, len(block), BLOCK):
            self._flying.append(self._pool.submit(gzipped, block[at : at + BLOCK], self._level))
            while len(self._flying) > self._most:
                self._out(self._flying.popleft().result())

    def finish(self) -> None:
        """Hand on the rest."""
        if self._empty:
            self.write(b"")
        while self._flying:
            self._out(self._flying.popleft().result())
        self._pool.shutdown()


def gzipped(block: bytes, level: int | None) -> bytes:
    """Compress a block to a gzip member without time or name."""
    if level is None:
        from isal import igzip

        member: bytes = igzip.compress(block, compresslevel=_FAST, mtime=0)
        return member
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    return packer.compress(block) + packer.flush()


class Zstd:
    """One frame, made by zstd's own threads: its jobs are cut by size, so their number does not show."""

    def __init__(self, out: Callable[[bytes], object], level: int | None, threads: int) -> None:
        import zstandard

        self._out = out
        self._packer = zstandard.ZstdCompressor(level=level or _ZSTD_LEVEL, threads=max(threads, 1)).compressobj()

    def write(self, block: bytes) -> None:
        """Take some bytes."""
        self._out(self._packer.compress(block))

    def finish(self) -> None:
        """End the frame."""
        self._out(self._packer.flush())


def compressor(name: str, out: Callable[[bytes], object], level: int | None, threads: int) -> Compressor | None:
    """Return what compresses as `gzip` or `zstd` says; None for `none`."""
    match name:
        case "gzip":
            return Gzip(out, level, threads)
        case "zstd":
            return Zstd(out, level, threads)
        case _:
            return None
