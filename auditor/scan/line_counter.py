"""Line numbers in files that span several windows."""

from __future__ import annotations

from auditor.codec.windows import OVERLAP, Window
from auditor.layers.listing import Listing

_SNIFF = 8000  # a zero byte within these means binary data, as for git


def is_binary(data: bytes) -> bool:
    """Whether a file is binary, by its first bytes."""
    return data.find(b"\0", 0, _SNIFF) >= 0


class LineCounter:
    """Counts the newlines of the file that continues over windows; within a window newlines are counted on demand."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._entry = -1  # the file that continues
        self._counted_to = 0  # offset in the tar up to which its newlines are counted
        self._newlines: int | None = 0  # None if it is binary
        self._last = (-1, 0, 0)  # entry and offset of the last request, and the number of newlines before it

    def line(self, window: Window, entry: int, offset: int) -> int | None:
        """Return the line number, from 1, of an offset in the tar within a window; None in binary data."""
        begin, newlines = self._listing.offsets[entry], 0
        if self._entry == entry:
            if self._newlines is None:
                return None
            begin, newlines = self._counted_to, self._newlines
        elif self._is_binary(window, entry):
            return None
        if self._last[0] == entry and max(begin, window.start) <= self._last[1] <= offset:  # matches come in order
            _, begin, newlines = self._last
        newlines += window.buffer.count(b"\n", max(begin - window.start, 0), offset - window.start)
        self._last = entry, offset, newlines
        return newlines + 1

    def advance(self, window: Window, entry: int) -> None:
        """Count the newlines of the file that continues (-1 for none), up to the first byte of the next window."""
        if entry < 0:
            self._entry = -1
            return
        begin = self._listing.offsets[entry]
        if self._entry != entry:
            self._entry, self._counted_to = entry, begin
            self._newlines = None if self._is_binary(window, entry) else 0
        end = max(window.end - OVERLAP, begin)
        if self._newlines is not None:
            self._newlines += window.buffer.count(b"\n", self._counted_to - window.start, end - window.start)
        self._counted_to = end

    def _is_binary(self, window: Window, entry: int) -> bool:
        head = max(self._listing.offsets[entry] - window.start, 0)
        stop = min(head + _SNIFF, head + self._listing.sizes[entry], window.size)
        return window.buffer.find(b"\0", head, stop) >= 0
