"""Reading back what is being written: the scan of the output runs beside the writing, on the bytes of the file."""

from __future__ import annotations

import io
import os
import threading

from auditor.core.errors import FlattenError


class GrowingFile(io.RawIOBase):
    """A stream over the bytes of an open file from `start` on, as far as they are written; it waits for more."""

    def __init__(self, file: int, start: int) -> None:
        self._file, self._at, self._ready = file, start, start
        self._ended = self._broken = False
        self._changed = threading.Condition()

    def written(self, upto: int) -> None:
        """All bytes before `upto` stand in the file."""
        with self._changed:
            self._ready = upto
            self._changed.notify()

    def end(self, *, broken: bool = False) -> None:
        """Nothing more comes; `broken` makes the reader fail."""
        with self._changed:
            self._ended, self._broken = True, broken
            self._changed.notify()

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read what is there, or wait. Raises FlattenError where the writer failed."""
        with self._changed:
            while self._at >= self._ready and not self._ended:
                self._changed.wait()
            if self._broken:
                raise FlattenError("the layer was not written to its end")
            count = min(len(buffer), self._ready - self._at)
        if count <= 0:
            return 0
        got = os.preadv(self._file, [memoryview(buffer)[:count]], self._at)
        self._at += got
        return got
