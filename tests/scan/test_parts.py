"""Parts of the layer scan: hits by entry, keyword ranges, entry assembly, results, limits; each with byte strings."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

import pytest

from auditor.codec.hashing import HashingReader
from auditor.codec.tar import TarParser
from auditor.codec.windows import Window
from auditor.core.digests import DiffID
from auditor.core.limits import DEFAULT, Limits
from auditor.layers.listing import Listing
from auditor.provenance.checksums import Checksums
from auditor.scan.entry_assembly import EntryAssembler
from auditor.scan.extractor import ExtractionResult, Extractor
from auditor.scan.layer_budget import LayerBudget
from auditor.scan.layer_results import LayerResults
from auditor.scan.layer_scan import LayerScan
from auditor.scan.record import LayerMatch, LayerRecord
from auditor.scan.scan_threads import ScanThreads
from auditor.scan.search_text import MIN_OPAQUE
from auditor.scan.searcher import Searcher
from auditor.scan.window_hits import KeywordRanges, hits_by_entry
from tests.images import digest, file, layer, token

TOKEN = token(13)


@pytest.fixture(scope="module")
def threads(searcher: Searcher, extractor: Extractor) -> Iterator[ScanThreads]:
    made = ScanThreads(searcher, extractor, 1)
    yield made
    made.close()


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
    OPAQUE = b"\x7fELF" + bytes(MIN_OPAQUE)

    def ranges(self, data: bytes) -> list[tuple[int, int]]:
        ranges, whole = KeywordRanges(), window(data)
        for header in TarParser(DEFAULT).feed(memoryview(data), 0):
            ranges.add(whole, header)
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
    def assembled(self, threads: ScanThreads, data: bytes, cuts: Sequence[int], path: str = "a") -> LayerRecord:
        """Feed a layer of one file in windows that end at the cuts."""
        tar = layer(file(path, data))
        listing, results = listed(tar), LayerResults(DEFAULT)
        assembler = EntryAssembler(listing, results, threads, search_content=True)
        begin, end = 0, listing.offsets[0] + len(data)
        for cut in (*cuts, len(tar)):
            part = window(tar[begin:cut], begin, begin, last=cut == len(tar))
            if cut >= end:
                assembler.finish_file(part, 0, cut)
                break
            assembler.continue_file(part, 0, cut)
            begin = cut
        results.finish()
        raw = HashingReader(io.BytesIO(tar))
        return results.record(raw, DiffID(digest(tar)), len(tar), listing, is_tar=True)

    @pytest.mark.parametrize("cuts", [(), (700,), (600, 700, 800)])
    def test_an_archive_is_extracted_wherever_windows_end(self, threads: ScanThreads, cuts: Sequence[int]) -> None:
        data = gzip.compress(f"{TOKEN}\n".encode() + bytes(range(256)) * 3, 0)
        (match,) = self.assembled(threads, data, cuts, "a.gz").matches
        assert match.decoded == ("gzip",)

    @pytest.mark.parametrize("cuts", [(), (700,)])
    def test_a_package_database_is_kept(self, threads: ScanThreads, cuts: Sequence[int]) -> None:
        status = b"Package: one\nVersion: 1\nPassword: x\n" * 20
        record = self.assembled(threads, status, cuts, "var/lib/dpkg/status")
        assert list(record.package_databases) == [0]

    def test_an_aborted_stream_ends_its_extraction(self, threads: ScanThreads) -> None:
        size = 6 << 20
        tar = layer(file("a.gz", gzip.compress(b"x" * 100) + bytes(size)))
        listing, results = listed(tar), LayerResults(DEFAULT)
        assembler = EntryAssembler(listing, results, threads, search_content=True)
        assembler.continue_file(window(tar[:2000], last=False), 0, 2000)
        assembler.abort()
        results.finish()


class TestResults:
    def result(self, *matches: LayerMatch, is_archive: bool) -> Future[ExtractionResult]:
        future: Future[ExtractionResult] = Future()
        sums = Checksums("1", "2", "3")
        future.set_result(ExtractionResult(1, 10, matches, (("member", "damaged"),), sums, is_archive))
        return future

    def recorded(self, searcher: Searcher, *, is_archive: bool) -> LayerRecord:
        listing, results = listed(layer(file("a", "x"))), LayerResults(DEFAULT)
        (match,) = searcher.search_text(TOKEN)
        assert results.add_match(0, "/a", match, 1, 0) and list(results.budget.match_counts) == [0]
        inner = LayerMatch(0, match.rule.id, match.secret, 1, 0, match.check, match.confidence, "member")
        results.add_extraction(0, "/a", 10, self.result(inner, is_archive=is_archive))
        results.finish()
        return results.record(HashingReader(io.BytesIO()), DiffID(digest(b"")), 0, listing, is_tar=True)

    def test_a_match_in_a_member_replaces_that_in_the_archives_bytes(self, searcher: Searcher) -> None:
        record = self.recorded(searcher, is_archive=True)
        assert [match.member for match in record.matches] == ["member"]
        assert record.skipped == (("/a!member", "damaged"),) and list(record.checksums) == [0]

    def test_a_match_in_a_decoded_part_stands_beside_that_in_the_text(self, searcher: Searcher) -> None:
        assert [match.member for match in self.recorded(searcher, is_archive=False).matches] == [None, "member"]


class TestBudget:
    def test_matches_above_the_limits_are_refused_and_reported_once(self) -> None:
        budget = LayerBudget(Limits(findings_file=2, findings_layer=3))
        assert [budget.allows_match(0, "/a") for _ in range(4)] == [True, True, False, False]
        assert [budget.allows_match(1, "/b") for _ in range(2)] == [True, False]
        assert [path for path, _ in budget.skipped] == ["/a", None]
        assert budget.match_counts == {0: 4, 1: 2}

    def test_extraction_stops_at_the_limit_and_is_reported_once(self) -> None:
        budget = LayerBudget(Limits(unpacked_layer=2, unpacked_layer_free=10))
        budget.extracted = 100
        assert budget.allows_extraction(50) and not budget.allows_extraction(49) and not budget.allows_extraction(1)
        assert len(budget.skipped) == 1

    def test_package_databases_are_limited_each_and_in_sum(self) -> None:
        budget = LayerBudget(Limits(database_bytes=10, databases_bytes=15))
        assert [budget.allows_database("/d", size) for size in (11, 10, 6, 5)] == [False, True, False, True]


def test_a_layer_scan_of_bytes_returns_a_record(searcher: Searcher, threads: ScanThreads) -> None:
    data = layer(file("a.txt", f"one\n{TOKEN}\n"))
    for search_content in (True, False):
        raw = HashingReader(io.BytesIO(data))
        scan = LayerScan(io.BufferedReader(raw), searcher, threads, search_content=search_content)
        scan.run()
        record = scan.record(raw)
        assert record.diff_id == digest(data) == record.digest and record.listing.paths == ["a.txt"]
        assert [(match.line, match.offset) for match in record.matches] == ([(2, 4)] if search_content else [])
