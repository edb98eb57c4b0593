"""Stream over a file that another thread still writes: the output is read back while it is written."""

from __future__ import annotations

import io
import os
import threading

from auditor.core.errors import FlattenError


class GrowingFile(io.RawIOBase):
    """Stream over an open file from `start` on. Reading waits for bytes that are not yet written."""

    def __init__(self, file: int, start: int) -> None:
        self._file, self._at, self._ready = file, start, start
        self._ended = self._broken = False
        self._changed = threading.Condition()

    def advance(self, end: int) -> None:
        """Allow reading of all bytes before `end`."""
        with self._changed:
            self._ready = end
            self._changed.notify()

    def end(self, *, broken: bool = False) -> None:
        """Mark the end of the stream; `broken` makes the reader fail."""
        with self._changed:
            self._ended, self._broken = True, broken
            self._changed.notify()

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read available bytes, or wait. Raises FlattenError where the writer failed."""
        with self._changed:
            while self._at >= self._ready and not self._ended:
                self._changed.wait()
            if self._broken:
                raise FlattenError("writing the layer failed")
            count = min(len(buffer), self._ready - self._at)
        if count <= 0:
            return 0
        got = os.preadv(self._file, [memoryview(buffer)[:count]], self._at)
        self._at += got
        return got
