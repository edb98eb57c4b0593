"""Line numbers in files that may go on from window to window."""

from __future__ import annotations

from auditor.codec.windows import OVERLAP, Window
from auditor.layers.listing import Listing

_SNIFF = 8000  # a zero byte within these means binary data, as for git


def is_binary(data: bytes) -> bool:
    """Whether a file is binary, by its first bytes."""
    return data.find(b"\0", 0, _SNIFF) >= 0


class LineCounter:
    """Counts newlines of the one file that goes on over windows; within a window they are counted when asked for."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._entry = -1  # the file that goes on
        self._upto = 0  # the place in the tar up to which its newlines are counted
        self._count: int | None = 0  # None where it is binary
        self._last = (-1, 0, 0)  # the entry and the place that were asked for last, and the newlines before it

    def line(self, window: Window, entry: int, place: int) -> int | None:
        """Return the line, from 1, of a place in the tar that a window holds; None in binary data."""
        begin, before = self._listing.offsets[entry], 0
        if self._entry == entry:
            if self._count is None:
                return None
            begin, before = self._upto, self._count
        elif self._binary(window, entry):
            return None
        if self._last[0] == entry and max(begin, window.start) <= self._last[1] <= place:  # matches come in order
            _, begin, before = self._last
        before += window.buffer.count(b"\n", max(begin - window.start, 0), place - window.start)
        self._last = entry, place, before
        return before + 1

    def count_on(self, window: Window, entry: int) -> None:
        """Count the newlines of the file that goes on (-1 for none), up to where the next window's bytes begin."""
        if entry < 0:
            self._entry = -1
            return
        begin = self._listing.offsets[entry]
        if self._entry != entry:
            self._entry, self._upto = entry, begin
            self._count = None if self._binary(window, entry) else 0
        upto = max(window.end - OVERLAP, begin)
        if self._count is not None:
            self._count += window.buffer.count(b"\n", self._upto - window.start, upto - window.start)
        self._upto = upto

    def _binary(self, window: Window, entry: int) -> bool:
        head = max(self._listing.offsets[entry] - window.start, 0)
        stop = min(head + _SNIFF, head + self._listing.sizes[entry], window.size)
        return window.buffer.find(b"\0", head, stop) >= 0
