"""Raw hits of a window by entry, and the ranges of a window that keyword rules search."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from operator import itemgetter

from auditor.codec.signatures import is_opaque
from auditor.codec.windows import Window
from auditor.detect.heuristics.file_class import is_third_party_source
from auditor.layers.listing import Listing
from auditor.scan.search_text import SIGNATURE_BYTES

RawHits = Sequence[tuple[int, int]]
"""(rule number, end in the window) for each hit."""


class KeywordRanges:
    """Ranges of the tar outside of files that only token rules search."""

    def __init__(self) -> None:
        self._excluded: deque[tuple[int, int]] = deque()  # [start, end) in the tar
        self._is_adjacent = False  # no searched file follows the last excluded range

    def add(self, window: Window, path: str, begin: int, size: int) -> None:
        """Add a file that begins in a window, at the offset `begin`. Consecutive excluded files form one range."""
        excluded = is_third_party_source("/" + path) or is_opaque(window.bytes_at(begin, SIGNATURE_BYTES), size)
        if excluded:
            end = begin + size
            if self._excluded and self._is_adjacent:
                begin = self._excluded.pop()[0]
            self._excluded.append((begin, end))
        self._is_adjacent = excluded

    def within(self, window: Window) -> list[tuple[int, int]]:
        """Return the half-open ranges of a window's bytes that keyword rules search. Windows come in order."""
        while self._excluded and self._excluded[0][1] <= window.start:
            self._excluded.popleft()
        ranges, at = [], 0
        for start, end in self._excluded:
            if start - window.start > at:
                ranges.append((at, start - window.start))
            at = min(end - window.start, window.size)
        return [*ranges, (at, window.size)] if at < window.size else ranges


def hits_by_entry(
    listing: Listing, first: int, window: Window, hits: RawHits
) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Yield the hits of each entry from `first` on: hits with their last byte in its content.

    Hits in headers and padding are dropped.
    """
    entry, stop, own = -1, 0, list[tuple[int, int]]()
    for hit in sorted(hits, key=itemgetter(1)):
        end = window.start + hit[1]
        if end > stop:
            if own:
                yield entry, own
            own = []
            entry = listing.at(end - 1)
            stop = listing.offsets[entry] + listing.sizes[entry] if entry >= first else end
        if entry >= first:
            own.append(hit)
    if own:
        yield entry, own
