"""What is kept of one layer under the limits, and the lines about what is not."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.core.limits import Limits, named
from auditor.detect.hits import truncation_reason

_REST = "the rest was left out"


class Quota:
    """Counts what is kept of a layer. What is refused is noted in `skipped`, by absolute path, with the reason.

    `counts` are the matches by file: those that have any. `unpacked` are the bytes that came out of files.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.skipped: list[tuple[str | None, str]] = []
        self._matches, self._databases = 0, 0
        self.counts: dict[int, int] = {}
        self.unpacked, self._told = 0, False
        self._overrun: set[tuple[str | None, str]] = set()
        self._steered = 0

    def takes_match(self, entry: int, path: str) -> bool:
        """Count a match; False beyond what is kept of a file, and of the layer, each of which is noted once."""
        of_file, of_layer = self.limits.findings_file, self.limits.findings_layer
        count = self.counts[entry] = self.counts.get(entry, 0) + 1
        if count > of_file:
            if count == of_file + 1:
                self.skipped.append((path, f"more than {of_file} findings; {_REST} {named('findings-file')}"))
            return False
        self._matches += 1
        if self._matches == of_layer + 1:
            reason = f"more than {of_layer} findings in the layer; {_REST} {named('findings-layer')}"
            self.skipped.append((None, reason))
        return self._matches <= of_layer

    def takes_database(self, path: str, size: int) -> bool:
        """Count the bytes of a package database; False beyond what is kept of one, and of all in the layer."""
        of_one, of_layer = self.limits.database_bytes, self.limits.databases_bytes
        if size > of_one:
            reason = f"a package database of {size} bytes; {of_one} at most {named('database-bytes')}"
        elif self._databases + size > of_layer:
            reason = f"more than {of_layer} bytes of package databases in the layer {named('databases-bytes')}"
        else:
            self._databases += size
            return True
        self.skipped.append((path, f"{reason}: which package brought a file may be unknown"))
        return False

    def takes_archive(self, path: str, size: int) -> bool:
        """Whether an archive that is opened as a whole may be as large."""
        most = self.limits.archive_bytes
        if size > most:
            self.skipped.append(
                (path, f"an archive of {size} bytes; {most} are opened at most {named('archive-bytes')}")
            )
        return size <= most

    def steered(self, path: str, attributes: Sequence[str]) -> None:
        """Note an entry whose extended attributes have an overlay file system show other files; a few are named."""
        self._steered += 1
        if self._steered <= self.limits.notes:
            reason = f"has the extended attribute {', '.join(attributes)}: an engine may show other files here"
            self.skipped.append((path, reason))
        elif self._steered == self.limits.notes + 1:
            self.skipped.append((None, "more entries have extended attributes by which an engine shows other files"))

    def takes_look(self, read: int) -> bool:
        """Whether one more file may be opened of a layer of which `read` bytes were read; the first refusal is noted.

        A file of a kilobyte may hold megabytes, and one after another is within its own limits.
        """
        if self.unpacked <= max(self.limits.unpacked_layer_free, self.limits.unpacked_layer * read):
            return True
        if not self._told:
            self._told = True
            reason = f"its files hold more than {self.unpacked} bytes, opened; {_REST} {named('unpacked-layer')}"
            self.skipped.append((None, reason))
        return False

    def overrun(self, path: str | None, rule: str) -> None:
        """Note, once a file, that a rule, named by its id, hits so often that not all is looked at."""
        if (path, rule) not in self._overrun:
            self._overrun.add((path, rule))
            self.skipped.append((path, truncation_reason(rule, self.limits)))
