"""Results of one piece of a layer: matches, checksums, package databases, results of extractions."""

from __future__ import annotations

from isal import isal_zlib

from auditor.detect.matches import Match
from auditor.provenance.checksums import Checksums
from auditor.provenance.databases import reduced
from auditor.published.package_files import PackageFiles
from auditor.scan.extractor import ExtractionResult
from auditor.scan.file_content import BufferedContent, StoredContent
from auditor.scan.git_repositories import GitRepositories
from auditor.scan.layer_budget import PieceBudget
from auditor.scan.record import LayerMatch


class PieceResults:
    """Collects the results of a piece, in the order of its files. `budget` has its limits and skipped items."""

    def __init__(self, budget: PieceBudget) -> None:
        self.budget = budget
        self.git = GitRepositories()
        self.checksums: dict[int, Checksums] = {}
        self.package_databases: dict[int, bytes] = {}
        self.published: dict[int, str] = {}
        self.package_files: list[PackageFiles] = []
        self.decoded = 0
        self.transient = False
        self._matches: list[LayerMatch | None] = []
        self._plain_matches: dict[int, list[int]] = {}  # by entry: indexes of matches in a file as it is stored

    @property
    def matches(self) -> tuple[LayerMatch, ...]:
        """The matches so far."""
        return tuple(match for match in self._matches if match)

    def add_match(self, entry: int, path: str, match: Match, line: int | None, offset: int) -> bool:
        """Add a match in a file as it is stored; False once a limit is reached.

        A secret on the border of two windows, each of which owns the raw hit of another rule, is added once.
        """
        own = self._plain_matches.setdefault(entry, [])
        last = self._matches[own[-1]] if own else None
        if last and (last.offset, last.secret) == (offset, match.secret):
            return True
        if not self.budget.allows_match(entry, path):
            return False
        own.append(len(self._matches))
        self._matches.append(
            LayerMatch(entry, match.rule.id, match.secret, line, offset, match.check, match.confidence)
        )
        return True

    def add_checksums(self, entry: int, content: BufferedContent | StoredContent) -> None:
        """Hash a file that has matches."""
        self.checksums[entry] = Checksums.of(content.blocks())

    def add_package_database(self, entry: int, path: str, content: BufferedContent) -> None:
        """Keep the part of a package database that provenance needs."""
        self.package_databases[entry] = isal_zlib.compress(reduced(path, content.data), 1)

    def add_extraction(self, entry: int, path: str, result: ExtractionResult) -> None:
        """Add the result of an extraction."""
        self.decoded += result.count
        self.transient |= result.transient
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
            self.checksums[entry] = result.checksums
