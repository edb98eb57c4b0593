"""Limits of a layer and of its pieces, and the skipped items that they cause."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.core.limits import Limits, limit_note
from auditor.detect.hits import truncation_reason

_REST = "the rest was left out"
_SPECULATIVE_PART = 8
"""Part of `unpacked-layer-free` that one piece may use while it is not known what the pieces before it use."""
_UNKNOWN_PACKAGES = "packages of some files may be unknown"


class PieceBudget:
    """Counters of one piece against the limits. `skipped` lists absolute paths, each with the reason.

    `match_counts` has the number of matches of each entry with any. `extracted` is the number of bytes that came out
    of the piece's archives and encodings; `before` is that of the pieces before it, None where it is not known.
    `overlay` are entries with extended attributes of overlay file systems.
    """

    def __init__(self, limits: Limits, before: int | None = 0) -> None:
        self.limits = limits
        self._before = before
        self.skipped: list[tuple[str | None, str]] = []
        self.overlay: list[tuple[str, tuple[str, ...]]] = []
        self.match_counts: dict[int, int] = {}
        self.extracted = 0
        self.refused = False
        """Whether an extraction was refused because of the bytes extracted so far."""
        self._matches = 0
        self._truncated: set[tuple[str | None, str]] = set()

    def allows_match(self, entry: int, path: str) -> bool:
        """Count a match; False above the limits of a file, which is reported once, and of the layer."""
        most = self.limits.findings_file
        count = self.match_counts[entry] = self.match_counts.get(entry, 0) + 1
        if count > most:
            if count == most + 1:
                self.skipped.append((path, f"more than {most} findings; {_REST} {limit_note('findings-file')}"))
            return False
        self._matches += 1
        return self._matches <= self.limits.findings_layer + 1  # with one more the layer's limit is exceeded

    def allows_database(self, path: str, size: int) -> bool:
        """Whether a package database is within the limit of one."""
        most = self.limits.database_bytes
        if size > most:
            reason = f"package database of {size} bytes exceeds the limit of {most} {limit_note('database-bytes')}"
            self.skipped.append((path, f"{reason}; {_UNKNOWN_PACKAGES}"))
        return size <= most

    def allows_archive(self, path: str, size: int) -> bool:
        """Whether an archive that must be in memory as a whole is within the limit."""
        return self._allows(path, size, self.limits.archive_bytes, "archive-bytes")

    def allows_indexed(self, path: str, size: int) -> bool:
        """Whether an archive that is read by its directory is within the limit."""
        return self._allows(path, size, self.limits.indexed_bytes, "indexed-bytes")

    def _allows(self, path: str, size: int, limit: int, name: str) -> bool:
        if size > limit:
            reason = f"archive of {size} bytes exceeds the limit of {limit} {limit_note(name)}"
            self.skipped.append((path, reason))
        return size <= limit

    def allows_extraction(self, read: int) -> bool:
        """Whether one more file may be extracted, after `read` bytes of the layer; the first refusal is reported.

        A file of a kilobyte may expand to megabytes, and many of those stay within their own limits.
        """
        if self._before is None:
            most = self.limits.unpacked_layer_free // _SPECULATIVE_PART
        else:
            most = extractable(self.limits, read) - self._before
        if self.extracted <= most:
            return True
        if not self.refused:
            self.refused = True
            reason = f"more than {self.extracted + (self._before or 0)} bytes extracted from the layer's files; {_REST}"
            self.skipped.append((None, f"{reason} {limit_note('unpacked-layer')}"))
        return False

    def report_overlay_attributes(self, path: str, attributes: tuple[str, ...]) -> None:
        """Note an entry with extended attributes by which an overlay file system shows other files."""
        if len(self.overlay) <= self.limits.notes:
            self.overlay.append((path, attributes))

    def report_truncation(self, path: str | None, rule: str) -> None:
        """Report, once a file, a rule with so many hits that some were dropped."""
        if (path, rule) not in self._truncated:
            self._truncated.add((path, rule))
            self.skipped.append((path, truncation_reason(rule, self.limits)))


class LayerBudget:
    """Counters of a whole layer against the limits. `skipped` are the items of all pieces and those of the layer."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.skipped: list[tuple[str | None, str]] = []
        self.extracted = 0
        self._layer_wide: set[str] = set()
        self._matches, self._database_bytes, self._overlay_entries = 0, 0, 0

    def allows_match(self) -> bool:
        """Count a match; False above the limit, which is reported once."""
        most = self.limits.findings_layer
        self._matches += 1
        if self._matches == most + 1:
            reason = f"more than {most} findings in the layer; {_REST} {limit_note('findings-layer')}"
            self.skipped.append((None, reason))
        return self._matches <= most

    def allows_database(self, path: str, size: int) -> bool:
        """Count the bytes of a package database; False above the limit of all."""
        most = self.limits.databases_bytes
        if self._database_bytes + size > most:
            reason = f"package databases of the layer exceed {most} bytes {limit_note('databases-bytes')}"
            self.skipped.append((path, f"{reason}; {_UNKNOWN_PACKAGES}"))
            return False
        self._database_bytes += size
        return True

    def add_skipped(self, items: Sequence[tuple[str | None, str]]) -> None:
        """Add the skipped items of a piece; those that concern the whole layer once."""
        for path, reason in items:
            if path is None:
                if reason in self._layer_wide:
                    continue
                self._layer_wide.add(reason)
            self.skipped.append((path, reason))

    def add_overlay(self, entries: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Report entries with extended attributes by which an overlay file system shows other files."""
        for path, attributes in entries:
            self._overlay_entries += 1
            if self._overlay_entries <= self.limits.notes:
                reason = f"has the extended attribute {', '.join(attributes)}: an engine may show other files here"
                self.skipped.append((path, reason))
            elif self._overlay_entries == self.limits.notes + 1:
                reason = "more entries have extended attributes by which an engine shows other files"
                self.skipped.append((None, reason))


def extractable(limits: Limits, read: int) -> int:
    """Return the number of bytes that may come out of the files in the first `read` bytes of a layer."""
    return max(limits.unpacked_layer_free, limits.unpacked_layer * read)
