"""Open files and slices of them, which can be read any number of times."""

from __future__ import annotations

import errno
import io
import os
import sys
import tempfile
import weakref
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from auditor.core.dataclass import dataclass
from auditor.core.errors import ImageError


class Content(Protocol):
    """The stored bytes of a layer, which can be read from the start any number of times."""

    def open(self) -> BinaryIO:
        """Return a stream with `readinto`; the caller closes it. Raises ImageError or Unreachable."""
        ...


class SharedFile:
    """An open file, closed with its last reference. Reads give their offset, so threads and slices may share it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.close = weakref.finalize(self, os.close, descriptor)
        """Close the file before its last reference is gone."""

    @classmethod
    def open(cls, path: Path) -> SharedFile:
        """Open a file for reading. Raises ImageError with the message of the system."""
        try:
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            return cls(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as exc:
            raise ImageError(f"{path}: can't be read: {exc.strerror}") from exc

    @classmethod
    def temporary(cls) -> SharedFile:
        """Make an empty file without a name, for writing too. Raises OSError."""
        with tempfile.TemporaryFile() as file:
            return cls(os.dup(file.fileno()))

    def append(self, data: memoryview | bytes) -> None:
        """Write bytes to the end. Raises OSError."""
        data = memoryview(data)
        while data:
            data = data[os.write(self.descriptor, data) :]

    @property
    def size(self) -> int:
        """Size in bytes; 0 for a pipe."""
        return os.fstat(self.descriptor).st_size

    def stream(self, offset: int = 0, size: int | None = None) -> io.BufferedReader[Any]:
        """Return a stream over `size` bytes from an offset, or to the end of the file without a size."""
        return io.BufferedReader(
            _SharedFileReader(self, offset, sys.maxsize if size is None else offset + size), 1 << 16
        )


class _SharedFileReader(io.RawIOBase):
    def __init__(self, file: SharedFile, offset: int, end: int) -> None:
        self._file, self._offset, self._end = file, offset, end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = min(len(buffer), self._end - self._offset)
        if count <= 0:
            return 0
        try:
            got = os.preadv(self._file.descriptor, [memoryview(buffer)[:count]], self._offset)
        except OSError as exc:
            if exc.errno != errno.ESPIPE:
                raise ImageError(f"can't be read at byte {self._offset}: {exc.strerror}") from exc
            got = os.readv(self._file.descriptor, [memoryview(buffer)[:count]])  # a pipe has no offsets
        self._offset += got
        return got

    def tell(self) -> int:
        return self._offset


@dataclass(frozen=True, slots=True)
class FileSlice:
    """The bytes [offset, offset+size) of a file."""

    file: SharedFile
    offset: int
    size: int

    def open(self) -> BinaryIO:
        """Return a new stream over the slice."""
        return cast(BinaryIO, self.file.stream(self.offset, self.size))

    def read_at(self, offset: int, count: int) -> bytes:
        """Return the bytes from an offset in the slice on, fewer only at its end. Raises ImageError."""
        with self.file.stream(self.offset + offset, min(count, self.size - offset)) as stream:
            return stream.read()
