"""The uncompressed bytes of a layer in blocks, and the files that scans of its pieces read."""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Protocol

from auditor.codec.file_slices import FileSlice, SharedFile

_BLOCK = 1 << 20
_PIPE = 1 << 20
_MOST_HELD, _MOST_UNUSED = 128 << 20, 32 << 20
_MOST_UNUSED_BLOCKS = 4  # those of one layer
_F_SETPIPE_SZ = 1031  # fcntl(2); Python 3.11 has the name on Linux alone


class BlockBuffers:
    """Buffers of a megabyte, used again: allocating them takes longer than the scan of a small layer.

    All layers of a scanner share it; threads may use it at the same time.
    """

    def __init__(self) -> None:
        self._unused: deque[bytearray] = deque(maxlen=_MOST_UNUSED_BLOCKS)

    @contextmanager
    def lend(self) -> Iterator[Callable[[], bytearray]]:
        """Yield a function that returns one more buffer. After the context, other layers use them."""
        lent = list[bytearray]()

        def one() -> bytearray:
            try:
                lent.append(self._unused.pop())
            except IndexError:
                lent.append(bytearray(_BLOCK))
            return lent[-1]

        try:
            yield one
        finally:
            self._unused.extend(lent)

    def clear(self) -> None:
        """Release the memory of unused buffers."""
        self._unused.clear()


def blocks(stream: BinaryIO, buffers: int, take: Callable[[], bytearray]) -> Iterator[memoryview]:
    """Yield a stream in blocks of a megabyte, the last one shorter. A block is valid until `buffers` later ones.

    `take` returns a buffer of that size.
    """
    ring = list[bytearray]()
    number = 0
    while True:
        if number < buffers:
            ring.append(take())
        view, size = memoryview(ring[number % buffers]), 0
        while size < _BLOCK and (count := stream.readinto(view[size:])):  # type: ignore[attr-defined]
            size += count
        if size:
            yield view[:size]
        if size < _BLOCK:
            return
        number += 1


class PieceFiles(Protocol):
    """The files that pieces are read from.

    `is_stream` is set where they hold copies of the layer's bytes; a file larger than `large` bytes then goes through a
    pipe.
    """

    is_stream: bool
    large: int

    @property
    def is_full(self) -> bool:
        """Whether so many bytes are in memory that the next piece must wait for another one to be released."""
        ...

    def write(self, data: memoryview) -> None:
        """Take the next bytes of the piece that is not yet cut."""
        ...

    def cut(self, start: int) -> tuple[SharedFile, int]:
        """Return the file of the piece that begins at an offset of the layer, and the offset of the piece in it."""
        ...

    def release(self, file: SharedFile) -> None:
        """Take back the file of a piece that nobody will read again."""
        ...

    def close(self) -> None:
        """Stop counting the pieces that were not released, as the layer can't be read to its end."""
        ...


class SliceFiles:
    """Pieces of a layer that is stored uncompressed: all are in the file of the layer itself."""

    is_stream, large = False, sys.maxsize
    is_full = False

    def __init__(self, content: FileSlice) -> None:
        self._content = content

    def write(self, data: memoryview) -> None:
        """Do nothing: the file has the bytes."""

    def cut(self, start: int) -> tuple[SharedFile, int]:
        """Return the file of the layer."""
        return self._content.file, self._content.offset + start

    def release(self, file: SharedFile) -> None:
        """Do nothing: the file is not of the piece alone."""

    def close(self) -> None:
        """Do nothing: the file is the caller's."""


class MemoryFiles:
    """Files in memory, used again: the system takes longer to find memory for a piece than to copy it there.

    All layers of a scanner share it; threads may use it at the same time. No process maps the files: their memory
    counts towards the limit of a container, but not in the PSS of a process.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held = self._idle = 0  # bytes of pieces, and of unused files
        self._unused: list[tuple[SharedFile, int]] = []

    @property
    def is_full(self) -> bool:
        """Whether pieces hold more than their share of memory."""
        return self._held > _MOST_HELD

    def take(self) -> SharedFile:
        """Return a file, whose size and bytes may be those of another piece."""
        with self._lock:
            if self._unused:
                file, size = self._unused.pop()
                self._idle -= size
                return file
        return SharedFile(_memory_file())

    def hold(self, size: int) -> None:
        """Count the bytes of a piece, until they are given back with its file or without it."""
        with self._lock:
            self._held += size

    def give(self, size: int, file: SharedFile | None = None) -> None:
        """Take back the bytes of a piece, and a file that nobody will read again."""
        with self._lock:
            self._held -= size
            if file is not None and self._idle + size <= _MOST_UNUSED:
                self._unused.append((file, size))
                self._idle += size

    def clear(self) -> None:
        """Release the memory of unused files."""
        with self._lock:
            self._unused.clear()
            self._idle = 0


class SpooledFiles:
    """Pieces of a layer that is compressed, or can be read only once: each in a file in memory."""

    is_stream, large = True, 32 << 20

    def __init__(self, files: MemoryFiles) -> None:
        self._files = files
        self._file: SharedFile | None = None
        self._size = self._held = 0

    @property
    def is_full(self) -> bool:
        """Whether the pieces of all layers hold more than their share of memory."""
        return self._files.is_full

    def write(self, data: memoryview) -> None:
        """Append bytes to the file of the piece."""
        file = self._current()
        written = 0
        while written < len(data):
            written += os.pwrite(file.descriptor, data[written:], self._size + written)
        self._size += written

    def cut(self, start: int) -> tuple[SharedFile, int]:  # noqa: ARG002
        """Return the file of the piece, and begin a new one."""
        file = self._current()
        os.ftruncate(file.descriptor, self._size)  # what is left of another piece
        self._files.hold(self._size)
        self._held += self._size
        self._file, self._size = None, 0
        return file, 0

    def release(self, file: SharedFile) -> None:
        """Use the file for a later piece, of any layer."""
        size = file.size
        self._held -= size
        self._files.give(size, file)

    def close(self) -> None:
        """Stop counting the pieces that were not released."""
        self._files.give(self._held)
        self._held = 0

    def _current(self) -> SharedFile:
        self._file = self._file or self._files.take()
        return self._file


class PiecePipe:
    """A pipe for the bytes [start, stop) of a layer: a piece that is too large to be spooled."""

    def __init__(self, start: int, stop: int) -> None:
        self._start, self._stop = start, stop
        read, self._descriptor = os.pipe()
        self.file = SharedFile(read)
        with suppress(OSError):
            fcntl.fcntl(self._descriptor, _F_SETPIPE_SZ, _PIPE)

    def write(self, data: memoryview, base: int) -> None:
        """Write the part of the pipe's bytes that is in `data`, the bytes of the layer from offset `base` on.

        Waits for the reader; bytes after its end are dropped.
        """
        data = data[max(self._start - base, 0) : max(self._stop - base, 0)]
        with suppress(BrokenPipeError):
            while data:
                data = data[os.write(self._descriptor, data) :]

    def close(self) -> None:
        """End the piece."""
        os.close(self._descriptor)


def _memory_file() -> int:
    """Return the descriptor of a file without a name, in memory where the system has such files."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("piece", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
