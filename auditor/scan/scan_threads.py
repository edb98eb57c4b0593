"""Threads of the layer scan: one for hashes, some for the search of windows, some for extractions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from auditor.detect.hits import Hits
from auditor.scan.extractor import ExtractionResult, Extractor
from auditor.scan.file_content import BufferedContent, StreamedContent
from auditor.scan.searcher import Searcher


class ScanThreads:
    """Thread pools that several layer scans may share."""

    def __init__(self, searcher: Searcher, extractor: Extractor, jobs: int) -> None:
        self.extractor = extractor
        self._searcher = searcher
        self._hash_pool = ThreadPoolExecutor(1, "hash")
        self._match_pool = ThreadPoolExecutor(max(1, jobs), "match")
        self._extract_pool = ThreadPoolExecutor(max(1, jobs), "extract")

    def close(self) -> None:
        """End the threads; work that has not started is cancelled."""
        for pool in (self._match_pool, self._hash_pool, self._extract_pool):
            pool.shutdown(cancel_futures=True)

    def hash(self, update: Callable[[memoryview], None], view: memoryview) -> Future[None]:
        """Hash bytes, in the order of the calls."""
        return self._hash_pool.submit(update, view)

    def search(self, view: memoryview, keyword_ranges: Sequence[tuple[int, int]]) -> Future[Hits]:
        """Search a window for raw hits."""
        return self._match_pool.submit(self._searcher.window_hits, view, keyword_ranges)

    def extract(
        self, entry: int, path: str, content: BufferedContent | StreamedContent, *, has_matches: bool
    ) -> Future[ExtractionResult]:
        """Extract a file and search its members."""
        result = self._extract_pool.submit(self.extractor.extract, entry, path, content, has_matches)
        if isinstance(content, StreamedContent):
            result.add_done_callback(lambda _: content.stop())
        return result
