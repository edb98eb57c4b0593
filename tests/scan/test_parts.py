"""Parts of the scan of a piece: hits by entry, keyword ranges, entry assembly, results, limits; with byte strings."""

from __future__ import annotations

import gzip
from collections.abc import Sequence

import pytest

from auditor.codec.tar import TarParser
from auditor.codec.windows import Window
from auditor.core.limits import DEFAULT, Limits
from auditor.layers.listing import Listing
from auditor.provenance.checksums import Checksums
from auditor.scan.entry_assembly import EntryAssembler
from auditor.scan.extractor import ExtractionResult, Extractor
from auditor.scan.layer_budget import LayerBudget, PieceBudget
from auditor.scan.piece_results import PieceResults
from auditor.scan.record import LayerMatch
from auditor.scan.searcher import Searcher
from auditor.scan.window_hits import KeywordRanges, hits_by_entry
from tests.images import file, layer, token

TOKEN = token(13)


def listed(data: bytes) -> Listing:
    listing = Listing()
    for header in TarParser(DEFAULT).feed(memoryview(data), 0):
        listing.add(header)
    return listing


def window(data: bytes, start: int = 0, fresh: int | None = None, *, last: bool = True) -> Window:
    return Window(bytearray(data), len(data), start, start if fresh is None else fresh, last)


class TestHitsByEntry:
    DATA = layer(file("a", "x" * 600), file("b", "y" * 10))

    def test_hits_in_headers_and_padding_are_dropped(self) -> None:
        listing = listed(self.DATA)
        a, b = listing.offsets
        hits = [(1, b + 3), (2, a + 600), (3, a - 5), (4, a + 601), (5, b + 10), (6, b + 11)]
        grouped = dict(hits_by_entry(listing, 0, window(self.DATA), hits))
        assert grouped == {0: [(2, a + 600)], 1: [(1, b + 3), (5, b + 10)]}

    def test_hits_in_finished_entries_are_dropped(self) -> None:
        listing = listed(self.DATA)
        hits = [(1, listing.offsets[0] + 5), (2, listing.offsets[1] + 5)]
        assert dict(hits_by_entry(listing, 1, window(self.DATA), hits)) == {1: [(2, listing.offsets[1] + 5)]}


class TestKeywordRanges:
    OPAQUE = b"\x7fELF" + bytes(64 << 10)

    def ranges(self, data: bytes) -> list[tuple[int, int]]:
        ranges, whole = KeywordRanges(), window(data)
        for header in TarParser(DEFAULT).feed(memoryview(data), 0):
            ranges.add(whole, header.path, header.offset, header.size)
        return ranges.within(whole)

    def test_opaque_files_are_left_out(self) -> None:
        data = layer(file("a", "text"), file("b.so", self.OPAQUE), file("c", "text"))
        begin = listed(data).offsets[1]
        assert self.ranges(data) == [(0, begin), (begin + len(self.OPAQUE), len(data))]

    def test_consecutive_opaque_files_are_one_range(self) -> None:
        data = layer(file("a.so", self.OPAQUE), file("b.so", self.OPAQUE), file("c", "text"))
        first, second, _ = listed(data).offsets
        assert self.ranges(data) == [(0, first), (second + len(self.OPAQUE), len(data))]

    def test_a_small_opaque_file_is_searched(self) -> None:
        data = layer(file("a.so", b"\x7fELF"))
        assert self.ranges(data) == [(0, len(data))]


class TestEntryAssembly:
    def assembled(self, extractor: Extractor, data: bytes, cuts: Sequence[int], path: str = "a") -> PieceResults:
        """Feed a layer of one file in windows that end at the cuts."""
        tar = layer(file(path, data))
        listing, results = listed(tar), PieceResults(PieceBudget(DEFAULT))
        assembler = EntryAssembler(listing, results, extractor, None, {}, search_content=True)
        begin, end = 0, listing.offsets[0] + len(data)
        for cut in (*cuts, len(tar)):
            part = window(tar[begin:cut], begin, begin, last=cut == len(tar))
            if cut >= end:
                assembler.finish_file(part, 0, cut)
                break
            assembler.continue_file(part, 0, cut)
            begin = cut
        return results

    @pytest.mark.parametrize("cuts", [(), (700,), (600, 700, 800)])
    def test_an_archive_is_extracted_wherever_windows_end(self, extractor: Extractor, cuts: Sequence[int]) -> None:
        data = gzip.compress(f"{TOKEN}\n".encode() + bytes(range(256)) * 3, 0)
        (match,) = self.assembled(extractor, data, cuts, "a.gz").matches
        assert match.decoded == ("gzip",)

    @pytest.mark.parametrize("cuts", [(), (700,)])
    def test_a_package_database_is_kept(self, extractor: Extractor, cuts: Sequence[int]) -> None:
        status = b"Package: one\nVersion: 1\nPassword: x\n" * 20
        assert list(self.assembled(extractor, status, cuts, "var/lib/dpkg/status").package_databases) == [0]

    def test_an_aborted_stream_ends_its_extraction(self, extractor: Extractor) -> None:
        size = 6 << 20
        tar = layer(file("a.gz", gzip.compress(b"x" * 100) + bytes(size)))
        assembler = EntryAssembler(
            listed(tar), PieceResults(PieceBudget(DEFAULT)), extractor, None, {}, search_content=True
        )
        assembler.continue_file(window(tar[:2000], last=False), 0, 2000)
        assembler.abort()


class TestResults:
    def results(self, searcher: Searcher, *, is_archive: bool) -> PieceResults:
        results = PieceResults(PieceBudget(DEFAULT))
        (match,) = searcher.search_text(TOKEN)
        assert results.add_match(0, "/a", match, 1, 0) and list(results.budget.match_counts) == [0]
        inner = LayerMatch(0, match.rule.id, match.secret, 1, 0, match.check, match.confidence, "member")
        sums = Checksums("1", "2", "3")
        extracted = ExtractionResult(1, 10, (inner,), (("member", "damaged"),), sums, is_archive)
        results.add_extraction(0, "/a", extracted)
        return results

    def test_a_match_in_a_member_replaces_that_in_the_archives_bytes(self, searcher: Searcher) -> None:
        results = self.results(searcher, is_archive=True)
        assert [match.member for match in results.matches] == ["member"]
        assert results.budget.skipped == [("/a!member", "damaged")] and list(results.checksums) == [0]

    def test_a_match_in_a_decoded_part_stands_beside_that_in_the_text(self, searcher: Searcher) -> None:
        assert [match.member for match in self.results(searcher, is_archive=False).matches] == [None, "member"]


class TestBudget:
    def test_matches_above_the_limit_of_a_file_are_refused_and_reported_once(self) -> None:
        budget = PieceBudget(Limits(findings_file=2))
        assert [budget.allows_match(0, "/a") for _ in range(4)] == [True, True, False, False]
        assert budget.allows_match(1, "/b")
        assert [path for path, _ in budget.skipped] == ["/a"] and budget.match_counts == {0: 4, 1: 1}

    def test_matches_above_the_limit_of_a_layer_are_refused_and_reported_once(self) -> None:
        budget = LayerBudget(Limits(findings_layer=3))
        assert [budget.allows_match() for _ in range(5)] == [True, True, True, False, False]
        assert [path for path, _ in budget.skipped] == [None]

    def test_extraction_stops_at_the_limit_and_is_reported_once(self) -> None:
        budget = PieceBudget(Limits(unpacked_layer=2, unpacked_layer_free=10), before=40)
        budget.extracted = 60
        assert budget.allows_extraction(50) and not budget.allows_extraction(49) and not budget.allows_extraction(1)
        assert len(budget.skipped) == 1

    def test_a_piece_uses_a_part_of_the_limit_where_that_of_others_is_unknown(self) -> None:
        budget = PieceBudget(Limits(unpacked_layer=2, unpacked_layer_free=80), before=None)
        budget.extracted = 10
        assert budget.allows_extraction(100)
        budget.extracted = 11
        assert not budget.allows_extraction(100) and budget.refused

    def test_package_databases_are_limited_each_and_in_sum(self) -> None:
        limits = Limits(database_bytes=10, databases_bytes=15)
        piece, whole = PieceBudget(limits), LayerBudget(limits)
        assert [piece.allows_database("/d", size) for size in (11, 10)] == [False, True]
        assert [whole.allows_database("/d", size) for size in (10, 6, 5)] == [True, False, True]

    def test_skipped_items_of_the_layer_are_reported_once(self) -> None:
        budget = LayerBudget(DEFAULT)
        for _ in range(2):
            budget.add_skipped([("/a", "x"), (None, "y")])
        assert budget.skipped == [("/a", "x"), (None, "y"), ("/a", "x")]
