"""Content of a piece's files from windows: buffered, streamed or skipped, and extracted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from auditor.codec.file_slices import FileSlice
from auditor.codec.windows import Window
from auditor.detect.heuristics.file_class import FileClass, file_class, is_third_party_source
from auditor.layers.listing import Listing
from auditor.provenance.databases import is_package_database
from auditor.published.package_files import HEAD as PACKAGE_HEAD
from auditor.published.package_files import PackageFiles, md5sums_of
from auditor.scan.extractor import HEAD, MAX_DECODED_TEXT, NOT_CACHED, ExtractionResult, Extractor
from auditor.scan.file_content import BufferedContent, SpooledContent, StoredContent, StreamedContent
from auditor.scan.piece_results import PieceResults

MAX_BUFFERED = 16 << 20
"""Bytes of a file of several windows that is buffered, if it is neither an archive nor a package database."""
_ALGORITHMS = {32: "sha256", 16: "md5"}
"""Algorithms of the digests of published packages and of their files, by the digest's length."""
MAX_UNSTREAMED = 4 << 20
"""A larger archive is extracted while it is read, if its format is read front to back."""


class EntryAssembler:
    """Assembles the content of files, one at a time and in the order of the tar, and has it extracted.

    `place` returns the bytes of an entry, by offset in the layer and size; None for a pipe. `published` has publishers
    by the SHA-256 of published packages, which are not extracted. With `search_content` false only package databases
    are assembled.
    """

    def __init__(
        self,
        listing: Listing,
        results: PieceResults,
        extractor: Extractor,
        place: Callable[[int, int], FileSlice] | None,
        published: Mapping[bytes, str],
        *,
        search_content: bool,
    ) -> None:
        self._listing, self._results, self._extractor, self._place = listing, results, extractor, place
        self._published, self._search_content = published, search_content
        self._stored: _StoredArchive | None = None  # an archive that continues, and is read at any offset
        self._buffered: BufferedContent | None = None  # of the file that continues in the next window
        self._streamed: _StreamedExtraction | None = None  # of a large archive that continues
        self._refused = -1  # the last archive that continues, and is too large for extraction, or published

    def abort(self) -> None:
        """End an extraction in progress, so that no thread waits for the rest of a piece that is cut off."""
        if self._streamed is not None:
            self._streamed.result()

    def continue_file(self, window: Window, entry: int, read: int) -> None:
        """Take a window's bytes of the file that continues in the next one. `read` bytes of the layer were read."""
        begin = self._listing.offsets[entry]
        if begin >= window.fresh:
            self._begin(entry, self._listing.paths[entry], window.bytes_at(begin, HEAD), read)
        for content in (self._buffered, self._streamed, self._stored):
            if content is not None:
                content.add(window.view[max(begin, window.fresh) - window.start :])

    def _begin(self, entry: int, path: str, head: bytes, read: int) -> None:
        """Decide whether to buffer, stream or skip a file that continues in the next window."""
        size, budget = self._listing.sizes[entry], self._results.budget
        is_archive = self._search_content and self._extractor.is_extractable(path, head)
        if is_archive and self._is_published(entry):
            self._refused = entry
            return
        streams = is_archive and size > MAX_UNSTREAMED and self._extractor.is_streamed(path, head)
        if streams and budget.allows_extraction(read):
            has_matches = entry in budget.match_counts
            self._streamed = _StreamedExtraction(
                self._extractor, entry, "/" + path, StreamedContent(head, size), has_matches
            )
            return
        if is_archive and self._extractor.is_random(path, head) and not is_package_database(path):
            if budget.allows_indexed("/" + path, size):
                self._stored = _StoredArchive(self._place)
            else:
                self._refused = entry
            return
        if is_archive and not budget.allows_archive("/" + path, size):
            self._refused, is_archive = entry, False
        limit = MAX_BUFFERED if not is_archive else budget.limits.archive_bytes
        if is_package_database(path):
            limit = max(limit, budget.limits.database_bytes)
        self._buffered = BufferedContent() if size <= limit else None

    def finish_file(self, window: Window, entry: int, read: int) -> None:
        """Process a file that ends in a window. `read` bytes of the layer were read."""
        path, results = self._listing.paths[entry], self._results
        if self._streamed is not None:
            end = self._listing.offsets[entry] + self._listing.sizes[entry]
            self._streamed.add(window.view[window.fresh - window.start : end - window.start])
            result, self._streamed = self._streamed.result(), None
            results.add_extraction(entry, "/" + path, result)
            return
        if self._stored is not None:
            self._extract_stored(window, entry, "/" + path, read)
            return
        extracts = self._search_content and self._is_worth_extracting(window, entry, "/" + path, read)
        size = self._listing.sizes[entry]
        is_database = is_package_database(path) and results.budget.allows_database("/" + path, size)
        has_matches = entry in results.budget.match_counts
        content = self._content(window, entry) if extracts or is_database or has_matches else None
        self._buffered = None
        if content is None:
            return
        if extracts:
            results.git.add(path, content)
            extracted = self._extractor.extract(entry, "/" + path, content, has_matches=has_matches)
            results.add_extraction(entry, "/" + path, extracted)
        elif has_matches:
            results.add_checksums(entry, content)
        if is_database:
            results.add_package_database(entry, path, content)

    def _extract_stored(self, window: Window, entry: int, path: str, read: int) -> None:
        begin, size = self._listing.offsets[entry], self._listing.sizes[entry]
        archive, self._stored = self._stored, None
        assert archive is not None  # noqa: S101 - as the caller has seen
        archive.add(window.view[window.fresh - window.start : begin + size - window.start])
        try:
            content = archive.content(begin, size)
        except OSError as exc:
            reason = f"can't be copied to a temporary file: {exc.strerror}; {NOT_CACHED}"
            self._results.budget.skipped.append((path, reason))
            self._results.transient = True
            return
        has_matches = entry in self._results.budget.match_counts
        if self._results.budget.allows_extraction(read):
            result = self._extractor.extract(entry, path, content, has_matches=has_matches)
            self._results.add_extraction(entry, path, result)
        elif has_matches:
            self._results.add_checksums(entry, content)

    def _is_worth_extracting(self, window: Window, entry: int, path: str, read: int) -> bool:
        begin, size, budget = self._listing.offsets[entry], self._listing.sizes[entry], self._results.budget
        is_in_window = begin >= window.start
        if entry == self._refused or not budget.allows_extraction(read):
            return False
        head = window.bytes_at(begin, HEAD) if is_in_window else self._buffered.head(HEAD) if self._buffered else b""
        if self._extractor.is_extractable(path, head):
            if self._is_published(entry):
                return False
            if size <= budget.limits.archive_bytes or not is_in_window:
                return True
            return self._extractor.is_streamed(path, head) or budget.allows_archive(path, size)
        return size <= MAX_DECODED_TEXT and not is_third_party_source(path) and file_class(path) < FileClass.THIRD_PARTY

    def _is_published(self, entry: int) -> bool:
        """Whether an archive is a published package, or one that such a package installs; notes it."""
        if not self._published or self._place is None:
            return False
        content = StoredContent(self._place(self._listing.offsets[entry], self._listing.sizes[entry]))
        hashes = [hashlib.new(_ALGORITHMS[size], usedforsecurity=False) for size in set(map(len, self._published))]
        for block in content.blocks():
            for digest in hashes:
                digest.update(block)
        for digest in hashes:
            publisher = self._published.get(digest.digest())
            if publisher is not None:
                self._results.published[entry] = publisher
                if digest.name == "sha256":
                    self._results.package_files.append(PackageFiles(publisher, md5sums_of(content.head(PACKAGE_HEAD))))
                return True
        return False

    def _content(self, window: Window, entry: int) -> BufferedContent | None:
        """Return the content of a file that ends in this window, None for one too large to buffer."""
        begin = self._listing.offsets[entry]
        end = begin + self._listing.sizes[entry]
        content = self._buffered
        if begin >= window.start:
            content = BufferedContent()
            content.add(window.view[begin - window.start : end - window.start])
        elif content is not None:
            content.add(window.view[window.fresh - window.start : end - window.start])
        return content


class _StoredArchive:
    """An archive that is read at any offset: where it is, or in a temporary file if it comes from a pipe."""

    def __init__(self, place: Callable[[int, int], FileSlice] | None) -> None:
        self._place = place
        self._spooled: SpooledContent | None = None
        self._error: OSError | None = None

    def add(self, piece: memoryview) -> None:
        """Append the next bytes."""
        if self._place is None and self._error is None:
            try:
                self._spooled = self._spooled or SpooledContent()
                self._spooled.add(piece)
            except OSError as exc:
                self._spooled, self._error = None, exc

    def content(self, begin: int, size: int) -> StoredContent:
        """Return the content, after the last byte, by its offset in the layer. Raises OSError."""
        if self._place is not None:
            return StoredContent(self._place(begin, size))
        if self._error is not None or self._spooled is None:
            raise self._error or OSError("it is empty")
        return self._spooled.stored()


class _StreamedExtraction:
    """Extraction of a large archive in a thread, while this one reads the archive."""

    def __init__(
        self, extractor: Extractor, entry: int, path: str, content: StreamedContent, has_matches: bool
    ) -> None:
        self._content = content
        self._pool = ThreadPoolExecutor(1, "extract")
        self._result = self._pool.submit(extractor.extract, entry, path, content, has_matches)
        self._result.add_done_callback(lambda _: content.stop())

    def add(self, piece: memoryview) -> None:
        """Append the next bytes; waits for the thread, and drops the bytes where it has ended."""
        self._content.add(piece)

    def result(self) -> ExtractionResult:
        """Return the result, after the last byte."""
        self._content.add(b"")
        with self._pool:
            return self._result.result()
