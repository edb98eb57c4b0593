"""Random access to a layer's uncompressed tar."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import Any

from auditor.codec.compression import compression_of, decompressed
from auditor.codec.file_slices import FileSlice
from auditor.core.errors import Damaged
from auditor.core.limits import Limits
from auditor.images.source import Layer

_WINDOW = 1 << 18  # fits the processor's cache; blocks of 1 MB would be mapped and unmapped each time


class LayerReader:
    """Ranges of a layer's uncompressed tar. Each step back in a compressed layer decompresses it from the start."""

    def __init__(self, layer: Layer, what: str, limits: Limits) -> None:
        self._content, self.what, self.limits = layer.content, what, limits
        self._window = bytearray(_WINDOW)
        self._low = self._high = 0
        self._stream: Any = None
        self._at = 0
        content = layer.content
        self._slice: FileSlice | None = None
        if isinstance(content, FileSlice):
            with content.open() as stream:
                if compression_of(stream.read(8)) is None:
                    self._slice = content

    def close(self) -> None:
        """Close the layer's stream."""
        if self._stream is not None:
            self._stream.close()

    def __enter__(self) -> LayerReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def chunks(self, start: int, end: int) -> Iterator[memoryview]:
        """Yield the bytes [start, end). Each view is valid until the next one. Raises Damaged at an early end."""
        while start < end:
            if not self._low <= start < self._high:
                self._fill(start)
                if self._high == self._low:
                    raise Damaged(f"{self.what}: truncated: ends at byte {start}, within an entry")
            stop = min(end, self._high)
            yield memoryview(self._window)[start - self._low : stop - self._low]
            start = stop

    def exactly(self, start: int, end: int) -> bytes:
        """Return the bytes [start, end)."""
        return b"".join(bytes(chunk) for chunk in self.chunks(start, end))

    def some(self, start: int, count: int) -> bytes:
        """Return up to `count` bytes from `start` on; fewer at the end of the tar only."""
        pieces: list[bytes] = []
        try:
            for chunk in self.chunks(start, start + count):
                pieces.append(bytes(chunk))  # noqa: PERF401 - pieces before the end are kept
        except Damaged:
            if not pieces and self._high != self._low:
                raise
        return b"".join(pieces)

    def _fill(self, at: int) -> None:
        if self._slice is not None:
            count = max(min(_WINDOW, self._slice.size - at), 0)
            view, got = memoryview(self._window), 0
            while got < count:
                read = os.preadv(self._slice.file.descriptor, [view[got:count]], self._slice.offset + at + got)
                if not read:
                    break
                got += read
            self._low, self._high = at, at + got
            return
        self._forward(at)
        got, view = 0, memoryview(self._window)
        while got < _WINDOW and (read := self._stream.readinto(view[got:])):
            got += read
        self._low, self._high, self._at = at, at + got, at + got

    def _forward(self, at: int) -> None:
        if self._stream is None or at < self._at:
            self.close()
            self._stream, self._at = decompressed(io.BufferedReader(self._content.open(), 1 << 16), self.limits), 0
        while self._at < at:
            skipped = len(self._stream.read(min(_WINDOW, at - self._at)))
            if not skipped:
                return
            self._at += skipped
