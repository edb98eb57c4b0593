"""The scan of one layer.

The layer is read once, in windows. For each window one thread computes the hash and another searches the raw tar with
all rules, file boundaries ignored; meanwhile this thread reads the headers. Raw hits are then assigned to files and
confirmed. Reading, decompressing, hashing and searching release the interpreter lock.
"""

from __future__ import annotations

import hashlib
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from typing import BinaryIO

from auditor.codec.hashing import HashingReader
from auditor.codec.tar import TarParser
from auditor.codec.tar_headers import BLOCK, is_header
from auditor.codec.windows import Window, WindowReader
from auditor.core.digests import DiffID
from auditor.core.errors import Damaged
from auditor.core.limits import limit_note
from auditor.detect.hits import Hits
from auditor.layers.listing import Listing, overlay_attributes, plain_file
from auditor.scan.entry_assembly import EntryAssembler
from auditor.scan.layer_results import LayerResults
from auditor.scan.line_counter import LineCounter
from auditor.scan.record import LayerRecord
from auditor.scan.scan_threads import ScanThreads
from auditor.scan.searcher import Searcher
from auditor.scan.window_hits import KeywordRanges, RawHits, hits_by_entry

_IN_FLIGHT = 4


class LayerScan:
    """One pass over a layer's uncompressed bytes: call `run`, then `record`.

    With `search_content` false the layer is listed and hashed, and no file is searched.
    """

    def __init__(
        self, stream: BinaryIO, searcher: Searcher, threads: ScanThreads, *, search_content: bool = True
    ) -> None:
        self._stream, self._searcher, self._threads = stream, searcher, threads
        self._limits, self._search_content = searcher.limits, search_content
        self._listing = Listing(limits=self._limits)
        self._parser: TarParser | None = None
        self._hash = hashlib.sha256()
        self._size = 0
        self._results = LayerResults(self._limits)
        self._assembler = EntryAssembler(self._listing, self._results, threads, search_content=search_content)
        self._path_rules: dict[int, list[int]] = {}  # by entry: rules that apply because of its path
        self._keyword_ranges = KeywordRanges()
        self._lines = LineCounter(self._listing)
        self._next = 0  # the first entry whose end no finished window contains

    def run(self) -> None:
        """Read all windows; a few are in flight. Raises Damaged."""
        reader = WindowReader(self._stream, _IN_FLIGHT)
        in_flight: deque[tuple[Window, Future[None], Future[Hits] | None]] = deque()
        try:
            for window in reader:
                hashed = self._threads.hash(self._hash.update, window.fresh_view)
                self._list(window)
                ranges = self._keyword_ranges.within(window)
                found = self._threads.search(window.view, ranges) if self._search_content else None
                in_flight.append((window, hashed, found))
                while in_flight and (window.last or len(in_flight) >= _IN_FLIGHT - 1):
                    done, hashed, found = in_flight.popleft()
                    self._finish(done, found.result() if found else [])
                    hashed.result()
                    reader.release(done)
        finally:
            for _, hashed, found in in_flight:
                hashed.exception()
                if found:
                    found.exception()
            self._assembler.abort()
            reader.close()
        self._results.finish()
        if self._parser is not None:
            self._parser.finish(self._size)

    def record(self, raw: HashingReader) -> LayerRecord:
        """Return the layer's record; `raw` hashed the stored bytes to their end."""
        diff_id = DiffID(f"sha256:{self._hash.hexdigest()}")
        return self._results.record(raw, diff_id, self._size, self._listing, is_tar=self._parser is not None)

    def _list(self, window: Window) -> None:
        """Read the headers in a window's new bytes; the first window shows whether the layer is a tar."""
        fresh = window.fresh_view
        if window.fresh == 0 and (len(fresh) == 0 or is_header(bytes(fresh[:BLOCK]))):
            self._parser = TarParser(self._limits)
        self._size = window.end
        if self._size > self._limits.layer_bytes:
            raise Damaged(f"has more than {self._limits.layer_bytes} bytes {limit_note('layer-bytes')}")
        if self._parser is None:
            self._listing.replace(plain_file("", window.end if window.last else sys.maxsize))
            return
        first = len(self._listing)
        for header in self._parser.feed(fresh, window.fresh):
            self._listing.add(header)
            if header.pax and (attributes := overlay_attributes(header)):
                self._results.budget.report_overlay_attributes("/" + header.path, attributes)
            if header.size:
                self._keyword_ranges.add(window, header)
        if self._search_content:
            for index, rules in self._searcher.path_rules(self._listing.paths[first:]).items():
                if self._listing.sizes[first + index]:
                    self._path_rules[first + index] = rules

    def _finish(self, window: Window, hits: Hits) -> None:
        """Process the files that end in a window, and the one that continues in the next."""
        grouped = dict(hits_by_entry(self._listing, self._next, window, hits))
        self._report_truncation(hits, grouped)
        for entry in self._ending_files(window):
            own = grouped.get(entry, ())
            if own or entry in self._path_rules:
                self._confirm(window, entry, own, sys.maxsize)
                self._path_rules.pop(entry, None)
            self._assembler.finish_file(window, entry, self._size)
        continuing = self._continuing_file(window)
        if continuing >= 0:
            self._confirm(window, continuing, grouped.get(continuing, ()), window.owned_to)
            self._assembler.continue_file(window, continuing, self._size)
        self._lines.advance(window, continuing)

    def _report_truncation(self, hits: Hits, grouped: Mapping[int, RawHits]) -> None:
        """Report rules with truncated hits in a window, for the file with most hits."""
        if len(hits) >= self._limits.raw_hits:
            most = max(grouped, key=lambda entry: len(grouped[entry]), default=None)
            path = None if most is None else "/" + self._listing.paths[most]
            self._searcher.report_truncated(hits, partial(self._results.budget.report_truncation, path))

    def _ending_files(self, window: Window) -> Iterator[int]:
        """Yield the files with content that end in a window."""
        offsets, sizes, end = self._listing.offsets, self._listing.sizes, window.end
        while self._next < len(self._listing) and offsets[self._next] + sizes[self._next] <= end:
            entry = self._next
            self._next += 1
            if sizes[entry]:
                yield entry

    def _continuing_file(self, window: Window) -> int:
        """Return the file that continues in the next window, -1 for none."""
        continues = self._next < len(self._listing) and self._listing.offsets[self._next] < window.end
        return self._next if continues else -1

    def _confirm(self, window: Window, entry: int, hits: RawHits, owned_to: int) -> None:
        """Confirm the hits in a window's part of a file.

        In a file that began in an earlier window, hits count that end in the part that this window owns.
        """
        begin = self._listing.offsets[entry]
        low = max(begin - window.start, 0)
        high = min(begin + self._listing.sizes[entry] - window.start, window.size)
        owned_from = window.owned_from if begin < window.fresh else 0
        shift = window.start + low
        own = [(rule, end - low) for rule, end in hits if owned_from <= window.start + end < owned_to]
        rules = self._path_rules.get(entry, ())
        if not own and not rules:
            return
        path, ends_in = "/" + self._listing.paths[entry], (owned_from - shift, owned_to - shift)
        on_truncation = partial(self._results.budget.report_truncation, path)
        for match in self._searcher.confirm(window.view[low:high], own, path, rules, ends_in, on_truncation):
            offset = shift + match.start
            line = self._lines.line(window, entry, offset)
            if not self._results.add_match(entry, path, match, line, offset - begin):
                return
