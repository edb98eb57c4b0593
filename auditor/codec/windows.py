"""Overlapping windows of a long stream. Windows overlap, so no match is split."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from auditor.core.dataclass import dataclass

WINDOW = 2 << 20
"""New bytes of one window."""
AHEAD = 40 << 10
"""Bytes at the end of a window that the next window owns: a match that begins before them may end in them."""
OVERLAP = AHEAD + (8 << 10)
"""Bytes repeated from the window before: those that it does not own, and context in front of them."""


@dataclass(frozen=True, slots=True)
class Window:
    """The bytes `buffer[:size]` of a stream. `buffer[0]` is at offset `start`; bytes from offset `fresh` on are new.

    Each offset of the stream belongs to exactly one window, which reports the matches that end there.
    """

    buffer: bytes | bytearray
    size: int
    start: int
    fresh: int
    last: bool

    @property
    def view(self) -> memoryview:
        """All bytes, without a copy."""
        return memoryview(self.buffer)[: self.size]

    @property
    def fresh_view(self) -> memoryview:
        """The bytes that are in no earlier window, without a copy."""
        return memoryview(self.buffer)[self.fresh - self.start : self.size]

    def bytes_at(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from a stream offset within the window."""
        at = offset - self.start
        return bytes(self.buffer[at : min(at + count, self.size)])

    def clear_before(self, offset: int) -> None:
        """Clear the byte before an offset: the last of a header, where a search would take it for text of the body."""
        at = offset - self.start - 1
        if at >= 0 and self.buffer[at]:
            memoryview(self.buffer)[at] = 0

    @property
    def end(self) -> int:
        """Stream offset behind the last byte."""
        return self.start + self.size

    @property
    def owned_from(self) -> int:
        """First stream offset that belongs to this window."""
        return max(self.fresh - AHEAD, 0)

    @property
    def owned_to(self) -> int:
        """First stream offset that belongs to the next window."""
        return self.end + 1 if self.last else max(self.end - AHEAD, 0)


def windows(stream: BinaryIO, start: int = 0, buffer: bytearray | None = None) -> Iterator[Window]:
    """Yield the windows of a stream whose first byte is at offset `start`.

    All windows share one buffer of OVERLAP + WINDOW bytes, `buffer` if it is given: a window is valid until the next.
    """
    buffer = bytearray(OVERLAP + WINDOW) if buffer is None else buffer
    view, tail, fresh = memoryview(buffer), 0, start
    while True:
        size, limit = tail, tail + WINDOW
        while size < limit and (count := stream.readinto(view[size:limit])):  # type: ignore[attr-defined]
            size += count
        last = size < limit
        yield Window(buffer, size, fresh - tail, fresh, last)
        if last:
            return
        fresh += size - tail
        kept = min(OVERLAP, size)
        buffer[:kept] = bytes(view[size - kept : size])
        tail = kept
