"""The record of a layer from the results of its pieces, which are added in order."""

from __future__ import annotations

from dataclasses import replace

from auditor.codec.hashing import HashingReader
from auditor.codec.tar import check_end, check_entries
from auditor.codec.tar_headers import Header
from auditor.core.digests import DiffID, Digest
from auditor.core.errors import Damaged
from auditor.core.limits import Limits
from auditor.layers.listing import Listing, overlay_attributes
from auditor.provenance.checksums import Checksums
from auditor.published.image_lists import PackageLists
from auditor.scan.extractor import NOT_CACHED
from auditor.scan.git_repositories import GitRepositories
from auditor.scan.layer_budget import LayerBudget, extractable
from auditor.scan.piece import Piece, PieceResult
from auditor.scan.record import LayerMatch, LayerRecord


class LayerMerge:
    """Results of the pieces of a layer so far. `extracted` is the number of bytes that were extracted from them.

    A piece was scanned on its own. Where its result would be another one behind the pieces before it, `accepts` is
    false; it is then scanned again, with `listing` and `extracted`.
    """

    def __init__(self, limits: Limits) -> None:
        self.listing = Listing(limits=limits)
        self._limits = limits
        self._budget = LayerBudget(limits)
        self._git = GitRepositories()
        self._matches: list[LayerMatch] = []
        self._checksums: dict[int, Checksums] = {}
        self._package_databases: dict[int, bytes] = {}
        self._published: dict[int, str] = {}
        self._entries = self._paths_bytes = self._decoded = 0
        self._transient = False
        self._end, self._is_cut_off = 0, False

    @property
    def extracted(self) -> int:
        """Bytes that were extracted from the files of the pieces so far."""
        return self._budget.extracted

    def accepts(self, piece: Piece, result: PieceResult) -> bool:
        """Whether the result of a piece that was scanned on its own holds behind the pieces so far."""
        if piece.listing is None and self.listing.affects(result.listing):
            return False
        if piece.extracted is not None:
            return True
        return not result.refused and self.extracted + result.extracted <= extractable(self._limits, piece.start)

    def add(self, result: PieceResult, end: int | None, listing: Listing | None = None) -> None:
        """Add the next piece, which was cut at the offset `end`; None for the last one. Raises Damaged.

        `listing` has its entries where they were listed before its scan.
        """
        if end is not None and (result.end != end or result.cut_off):
            raise Damaged(f"tar: headers contradict each other about the entry that ends at offset {end}")
        self._end, self._is_cut_off = result.end, result.cut_off
        self._entries += result.entries
        self._paths_bytes += result.paths_bytes
        check_entries(self._entries, self._paths_bytes, self._limits)
        first = len(self.listing)
        self.listing.append(listing or result.listing)
        budget = self._budget
        budget.add_skipped(result.skipped)
        budget.add_overlay(result.overlay)
        self._matches += [
            replace(match, entry=first + match.entry) if first else match
            for match in result.matches
            if budget.allows_match()
        ]
        budget.extracted += result.extracted
        for entry, data in result.package_databases.items():
            at = first + entry
            if budget.allows_database("/" + self.listing.paths[at], self.listing.sizes[at]):
                self._package_databases[at] = data
        self._checksums.update((first + entry, sums) for entry, sums in result.checksums.items())
        self._published.update((first + entry, publisher) for entry, publisher in result.published.items())
        self._git.append(result.histories)
        self._decoded += result.decoded
        self._transient |= result.transient

    def add_header(self, header: Header) -> None:
        """Report the header of a file that is scanned without it."""
        if attributes := overlay_attributes(header):
            self._budget.add_overlay([("/" + header.path, attributes)])

    def add_lost(self, piece: Piece, listed: PieceResult) -> None:
        """Report a piece whose scan was killed; `listed` has its entries."""
        self._transient = True
        paths = listed.listing.paths
        if paths:
            what = "was not searched" if len(paths) == 1 else f"and {len(paths) - 1} files behind it were not searched"
            reason = f"{what}: the process that scanned {piece.size} bytes was killed; {NOT_CACHED}"
            self._budget.skipped.append(("/" + paths[0], reason))

    def record(
        self, raw: HashingReader, diff_id: DiffID, size: int, lists: PackageLists, *, is_tar: bool
    ) -> LayerRecord:
        """Return the record of a layer of `size` bytes; `raw` hashed the stored bytes to their end. Raises Damaged."""
        if is_tar:
            check_end(size, self._end, is_cut_off=self._is_cut_off)
        else:
            self.listing.sizes[0] = size
        return LayerRecord(
            raw.digest or Digest(diff_id),
            raw.size,
            diff_id,
            size,
            self.listing,
            tuple(self._git.with_commits(self._matches, self.listing.paths)),
            tuple(self._budget.skipped),
            is_tar,
            decoded=self._decoded,
            checksums=self._checksums,
            package_databases=self._package_databases,
            published=self._published,
            package_lists=lists,
            transient=self._transient,
        )
