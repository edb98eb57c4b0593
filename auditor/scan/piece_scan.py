"""The scan of one piece of a layer, in one thread.

The piece is read once, in windows. Each window of the raw tar is searched with all rules, file boundaries ignored. Raw
hits are then assigned to files and confirmed, and files are extracted.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from auditor.codec.file_slices import SharedFile
from auditor.codec.tar import TarParser
from auditor.codec.windows import Window, windows
from auditor.core.dataclass import dataclass
from auditor.core.errors import Damaged
from auditor.core.limits import Limits
from auditor.detect.hits import Hits
from auditor.detect.rules import Ruleset
from auditor.layers.listing import Listing, overlay_attributes
from auditor.scan.entry_assembly import EntryAssembler
from auditor.scan.extractor import Extractor
from auditor.scan.layer_budget import PieceBudget
from auditor.scan.line_counter import LineCounter
from auditor.scan.piece import Piece, PieceResult
from auditor.scan.piece_results import PieceResults
from auditor.scan.searcher import Searcher
from auditor.scan.window_hits import KeywordRanges, RawHits, hits_by_entry


@dataclass(frozen=True, slots=True)
class Recipe:
    """Values from which another process makes the same scanner; it loads the compiled rules from the folder `cache`."""

    ruleset: Ruleset
    cache: Path | None
    limits: Limits
    search_content: bool

    def scanner(self) -> PieceScanner:
        """Make the scanner."""
        return PieceScanner(Searcher(self.ruleset, self.cache, self.limits), self)


class PieceScanner:
    """Scans pieces. Holds no state between pieces, so threads may share it.

    With `recipe.search_content` false entries are listed, and no file is searched.
    """

    def __init__(self, searcher: Searcher, recipe: Recipe) -> None:
        self.searcher, self.recipe = searcher, recipe
        self.extractor = Extractor(searcher)

    def without_search(self) -> PieceScanner:
        """Return a scanner that lists entries, and searches no file."""
        return PieceScanner(self.searcher, replace(self.recipe, search_content=False))

    def scan(
        self, piece: Piece, file: SharedFile, listing: Listing | None = None, buffer: bytearray | None = None
    ) -> PieceResult:
        """Scan a piece whose bytes are in a file. Raises Damaged.

        Entries are added to `listing`, which knows those before the piece; without it the piece is listed on its own.
        `buffer` is used for its windows.
        """
        return _PieceScan(self, piece, file, listing).run(buffer)


class _PieceScan:
    """One pass over the bytes of a piece."""

    def __init__(self, scanner: PieceScanner, piece: Piece, file: SharedFile, listing: Listing | None) -> None:
        searcher = scanner.searcher
        self._piece, self._file, self._searcher = piece, file, searcher
        self._limits, self._search_content = searcher.limits, scanner.recipe.search_content
        given = piece.listing if listing is None else listing
        self._listing = Listing(limits=self._limits) if given is None else given
        self._parser = TarParser(self._limits, piece.start) if piece.listing is None else None
        self._budget = PieceBudget(self._limits, piece.extracted)
        self._results = PieceResults(self._budget)
        place = None if piece.is_pipe else partial(piece.place, file)
        self._assembler = EntryAssembler(
            self._listing,
            self._results,
            scanner.extractor,
            place,
            piece.published,
            search_content=self._search_content,
        )
        self._path_rules: dict[int, list[int]] = {}  # by entry: rules that apply because of its path
        self._keyword_ranges = KeywordRanges()
        self._lines = LineCounter(self._listing)
        self._next = 0  # the first entry whose end no finished window contains

    def run(self, buffer: bytearray | None) -> PieceResult:
        """Read all windows. Raises Damaged."""
        began = time.thread_time()
        try:
            with closing(self._piece.open(self._file)) as stream:
                for window in windows(stream, self._piece.start, buffer):
                    if window.last and window.end < self._piece.end and not self._piece.is_pipe:
                        raise Damaged("the file became shorter while it was scanned")
                    self._list(window)
                    self._finish(window, self._hits(window) if self._search_content else [])
        finally:
            self._assembler.abort()
        return self._result(time.thread_time() - began)

    def _result(self, seconds: float) -> PieceResult:
        parser, results, budget = self._parser, self._results, self._budget
        entries, paths_bytes = parser.used if parser else (len(self._listing), 0)
        return PieceResult(
            end=parser.position if parser else self._piece.end,
            cut_off=parser is not None and parser.is_cut_off,
            entries=entries,
            paths_bytes=paths_bytes,
            listing=self._listing,
            matches=results.matches,
            skipped=tuple(budget.skipped),
            overlay=tuple(budget.overlay),
            decoded=results.decoded,
            extracted=budget.extracted,
            refused=budget.refused,
            checksums=results.checksums,
            package_databases=results.package_databases,
            histories=results.git.histories,
            published=results.published,
            package_files=tuple(results.package_files),
            transient=results.transient,
            seconds=seconds,
        )

    def _hits(self, window: Window) -> Hits:
        return self._searcher.window_hits(window.view, self._keyword_ranges.within(window))

    def _list(self, window: Window) -> None:
        """Read the headers in a window's new bytes."""
        listing = self._listing
        if self._parser is None:
            first = 0 if window.fresh == self._piece.start else 1
            if first == 0:
                self._keyword_ranges.add(window, listing.paths[0], listing.offsets[0], listing.sizes[0])
            if window.last:  # a pipe may end early, or its size may not be known
                listing.sizes[0] = window.end - listing.offsets[0]
        else:
            first = len(listing)
            for header in self._parser.feed(window.fresh_view, window.fresh):
                listing.add(header)
                if header.pax and (attributes := overlay_attributes(header)):
                    self._budget.report_overlay_attributes("/" + header.path, attributes)
                if header.size:
                    window.clear_before(header.offset)
                    self._keyword_ranges.add(window, header.path, header.offset, header.size)
        if self._search_content:
            for index, rules in self._searcher.path_rules(listing.paths[first:]).items():
                if listing.sizes[first + index]:
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
            self._assembler.finish_file(window, entry, window.end)
        continuing = self._continuing_file(window)
        if continuing >= 0:
            self._confirm(window, continuing, grouped.get(continuing, ()), window.owned_to)
            self._assembler.continue_file(window, continuing, window.end)
        self._lines.advance(window, continuing)

    def _report_truncation(self, hits: Hits, grouped: Mapping[int, RawHits]) -> None:
        """Report rules with truncated hits in a window, for the file with most hits."""
        if len(hits) >= self._limits.raw_hits:
            most = max(grouped, key=lambda entry: len(grouped[entry]), default=None)
            path = None if most is None else "/" + self._listing.paths[most]
            self._searcher.report_truncated(hits, partial(self._budget.report_truncation, path))

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
        on_truncation = partial(self._budget.report_truncation, path)
        for match in self._searcher.confirm(window.view[low:high], own, path, rules, ends_in, on_truncation):
            offset = shift + match.start
            line = self._lines.line(window, entry, offset)
            if not self._results.add_match(entry, path, match, line, offset - begin):
                return
