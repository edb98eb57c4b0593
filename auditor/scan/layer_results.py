"""Results of one layer: matches, checksums, package databases, and the results of extractions in the order of files."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future

from isal import isal_zlib

from auditor.codec.hashing import HashingReader
from auditor.core.digests import DiffID, Digest
from auditor.core.limits import Limits
from auditor.detect.confirm import Match
from auditor.layers.listing import Listing
from auditor.provenance.checksums import Checksums
from auditor.provenance.databases import reduced
from auditor.scan.extractor import ExtractionResult
from auditor.scan.file_content import BufferedContent
from auditor.scan.git_repositories import GitRepositories
from auditor.scan.layer_budget import LayerBudget
from auditor.scan.record import LayerMatch, LayerRecord

MAX_PENDING_BYTES, MAX_PENDING = 8 << 20, 64
"""Bytes, and number, of files that wait for their extraction."""


class LayerResults:
    """Collects the results of a layer. `budget` has its limits and skipped items."""

    def __init__(self, limits: Limits) -> None:
        self.budget = LayerBudget(limits)
        self.git = GitRepositories()
        self._matches: list[LayerMatch | None] = []
        self._plain_matches: dict[int, list[int]] = {}  # by entry: indexes of matches in a file as it is stored
        self._checksums: dict[int, Checksums] = {}
        self._package_databases: dict[int, bytes] = {}
        self._decoded = 0
        self._transient = False
        self._pending: deque[tuple[int, str, int, Future[ExtractionResult]]] = deque()
        self._pending_bytes = 0

    def add_match(self, entry: int, path: str, match: Match, line: int | None, offset: int) -> bool:
        """Add a match in a file as it is stored; False once a limit is reached."""
        if not self.budget.allows_match(entry, path):
            return False
        self._plain_matches.setdefault(entry, []).append(len(self._matches))
        self._matches.append(
            LayerMatch(entry, match.rule.id, match.secret, line, offset, match.check, match.confidence)
        )
        return True

    def add_checksums(self, entry: int, content: BufferedContent) -> None:
        """Hash a file that has matches."""
        self._checksums[entry] = Checksums.of(content)

    def add_package_database(self, entry: int, path: str, content: BufferedContent) -> None:
        """Keep the part of a package database that provenance needs."""
        self._package_databases[entry] = isal_zlib.compress(reduced(path, content.joined()), 1)

    def add_extraction(self, entry: int, path: str, size: int, result: Future[ExtractionResult]) -> None:
        """Add an extraction in progress. Waits for earlier ones while too many bytes or files wait."""
        self._pending.append((entry, path, size, result))
        self._pending_bytes += size
        while self._pending_bytes > MAX_PENDING_BYTES or len(self._pending) > MAX_PENDING:
            self._take_extraction()

    def finish(self) -> None:
        """Wait for all extractions."""
        while self._pending:
            self._take_extraction()

    def _take_extraction(self) -> None:
        entry, path, size, future = self._pending.popleft()
        self._pending_bytes -= size
        result = future.result()
        self._decoded += result.count
        self._transient |= result.transient
        self.budget.extracted += result.size
        for where, reason in result.skipped:
            self.budget.skipped.append((path if where in (path, "") else f"{path}!{where}", reason))
        matches = [match for match in result.matches if self.budget.allows_match(entry, path)]
        # A member stored uncompressed matches in the archive's own bytes too; the match in the member says more.
        in_members = {match.secret for match in matches} if result.is_archive else set()
        for index in self._plain_matches.pop(entry, ()):
            match = self._matches[index]
            if match and match.secret in in_members:
                self._matches[index] = None
        self._matches += matches
        if result.checksums is not None:
            self._checksums[entry] = result.checksums

    def record(self, raw: HashingReader, diff_id: DiffID, size: int, listing: Listing, *, is_tar: bool) -> LayerRecord:
        """Return the record of a layer after its last byte was read; `raw` hashed the stored bytes."""
        matches = self.git.with_commits([match for match in self._matches if match], listing.paths)
        return LayerRecord(
            raw.digest or Digest(diff_id),
            raw.size,
            diff_id,
            size,
            listing,
            tuple(matches),
            tuple(self.budget.skipped),
            is_tar,
            decoded=self._decoded,
            checksums=self._checksums,
            package_databases=self._package_databases,
            transient=self._transient,
        )
