"""Per-layer limits, and the skipped items that they cause."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.core.limits import Limits, limit_note
from auditor.detect.hits import truncation_reason

_REST = "the rest was left out"


class LayerBudget:
    """Counters of one layer against its limits. `skipped` lists absolute paths, each with the reason.

    `match_counts` has the number of matches of each entry with any. `extracted` is the number of bytes that came out
    of archives and encodings.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.skipped: list[tuple[str | None, str]] = []
        self.match_counts: dict[int, int] = {}
        self.extracted = 0
        self._matches, self._database_bytes, self._overlay_entries = 0, 0, 0
        self._extraction_stopped = False
        self._truncated: set[tuple[str | None, str]] = set()

    def allows_match(self, entry: int, path: str) -> bool:
        """Count a match; False above the limits of a file and of the layer. Each limit is reported once."""
        per_file, per_layer = self.limits.findings_file, self.limits.findings_layer
        count = self.match_counts[entry] = self.match_counts.get(entry, 0) + 1
        if count > per_file:
            if count == per_file + 1:
                self.skipped.append((path, f"more than {per_file} findings; {_REST} {limit_note('findings-file')}"))
            return False
        self._matches += 1
        if self._matches == per_layer + 1:
            reason = f"more than {per_layer} findings in the layer; {_REST} {limit_note('findings-layer')}"
            self.skipped.append((None, reason))
        return self._matches <= per_layer

    def allows_database(self, path: str, size: int) -> bool:
        """Count the bytes of a package database; False above the limits of one and of all in the layer."""
        each, total = self.limits.database_bytes, self.limits.databases_bytes
        if size > each:
            reason = f"package database of {size} bytes exceeds the limit of {each} {limit_note('database-bytes')}"
        elif self._database_bytes + size > total:
            reason = f"package databases of the layer exceed {total} bytes {limit_note('databases-bytes')}"
        else:
            self._database_bytes += size
            return True
        self.skipped.append((path, f"{reason}; packages of some files may be unknown"))
        return False

    def allows_archive(self, path: str, size: int) -> bool:
        """Whether an archive that must be in memory as a whole is within the limit."""
        limit = self.limits.archive_bytes
        if size > limit:
            reason = f"archive of {size} bytes exceeds the limit of {limit} {limit_note('archive-bytes')}"
            self.skipped.append((path, reason))
        return size <= limit

    def allows_extraction(self, read: int) -> bool:
        """Whether one more file may be extracted, after `read` bytes of the layer; the first refusal is reported.

        A file of a kilobyte may expand to megabytes, and many of those stay within their own limits.
        """
        if self.extracted <= max(self.limits.unpacked_layer_free, self.limits.unpacked_layer * read):
            return True
        if not self._extraction_stopped:
            self._extraction_stopped = True
            reason = f"more than {self.extracted} bytes extracted from the layer's files; {_REST}"
            self.skipped.append((None, f"{reason} {limit_note('unpacked-layer')}"))
        return False

    def report_overlay_attributes(self, path: str, attributes: Sequence[str]) -> None:
        """Report an entry with extended attributes by which an overlay file system shows other files."""
        self._overlay_entries += 1
        if self._overlay_entries <= self.limits.notes:
            reason = f"has the extended attribute {', '.join(attributes)}: an engine may show other files here"
            self.skipped.append((path, reason))
        elif self._overlay_entries == self.limits.notes + 1:
            self.skipped.append((None, "more entries have extended attributes by which an engine shows other files"))

    def report_truncation(self, path: str | None, rule: str) -> None:
        """Report, once a file, a rule with so many hits that some were dropped."""
        if (path, rule) not in self._truncated:
            self._truncated.add((path, rule))
            self.skipped.append((path, truncation_reason(rule, self.limits)))
