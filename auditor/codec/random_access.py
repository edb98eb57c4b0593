"""Bytes that are read at any offset, in memory or in a file."""

from __future__ import annotations

from typing import Protocol

from auditor.codec.file_slices import FileSlice

_BLOCK = 256 << 10
"""Bytes of a file that are read at a time: most callers go on where the last read ended."""


class RandomAccess(Protocol):
    """Bytes with a size."""

    @property
    def size(self) -> int:
        """Number of bytes."""
        ...

    def view(self, offset: int, count: int) -> memoryview:
        """Return the bytes from an offset on, fewer only at the end. Raises ImageError."""
        ...


class BytesAccess:
    """Bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self._view = memoryview(data)

    @property
    def size(self) -> int:
        """Number of bytes."""
        return len(self._view)

    def view(self, offset: int, count: int) -> memoryview:
        """Return the bytes from an offset on, without a copy."""
        return self._view[offset : offset + count]


class FileAccess:
    """Bytes of a slice of a file. Reads ahead, so only one thread may use it."""

    def __init__(self, content: FileSlice) -> None:
        self._content = content
        self._block, self._begin = memoryview(b""), 0

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self._content.size

    def view(self, offset: int, count: int) -> memoryview:
        """Return the bytes from an offset on."""
        start = offset - self._begin
        if not 0 <= start <= start + count <= len(self._block):
            self._block = memoryview(self._content.read_at(offset, max(count, _BLOCK)))
            self._begin, start = offset, 0
        return self._block[start : start + count]
