"""Contents of file versions: a masked preview, and recovery to a file. The layers of the image are read again."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from auditor.api import rulesets
from auditor.core.dataclass import dataclass
from auditor.core.entries import EntryKind, FileVersion
from auditor.core.errors import RecoverError, UsageError
from auditor.core.options import AuditOptions
from auditor.core.output_file import open_output
from auditor.core.text import display_path, printable, size
from auditor.detect.matches import Match
from auditor.images.resolve import open_target
from auditor.images.source import Image
from auditor.pipeline import Audit
from auditor.rebuild.layer_reader import LayerReader
from auditor.scan.line_counter import is_binary
from auditor.scan.masker import masked_text
from auditor.scan.record import LayerMatch
from auditor.scan.searcher import Searcher

_SHOWN, _MARGIN = 64 << 10, 16 << 10
"""Bytes of a preview, and bytes behind it that are searched, so that no secret is cut in two."""


@dataclass(frozen=True, slots=True)
class Preview:
    """First lines of a file, printable and with secrets masked; `note` names the parts that are not shown."""

    lines: tuple[str, ...]
    note: str = ""


class FileContents:
    """Contents of the files of one audited image. Methods may run in a thread other than the one of the audit."""

    def __init__(self, target: str, audit: Audit, options: AuditOptions) -> None:
        self._target, self._audit, self._options = target, audit, options

    @functools.cached_property
    def _image(self) -> Image:
        """The image, with layers that can be opened again; an engine exports it for that."""
        options = self._options
        images = open_target(self._target, options.limits, platform=options.platform, insecure=options.insecure)
        found = next((image for image in images if image.id == self._audit.image.id), None)
        if found is None or len(found.layers) != len(self._audit.records):
            raise RecoverError(f"{self._audit.image.target}: changed since the audit. Quit and start again")
        return found

    @functools.cached_property
    def _searcher(self) -> Searcher:
        """Search with all rules: those that the audit left out mask their secrets too."""
        rules = rulesets.ruleset(replace(self._options, only_rules=(), exclude_rules=(), rule_references=()))
        return Searcher(rules, self._options.cache_dir, self._options.limits)

    def preview(self, version: FileVersion) -> Preview:
        """Return the beginning of a file version. Raises ImageError, Damaged and RecoverError."""
        listing = self._audit.records[version.layer].listing
        kind, target = listing.kinds[version.entry], listing.links.get(version.entry)
        if kind == EntryKind.SYMLINK:
            return Preview((), f"symbolic link to {printable(self._audit.mask(target or ''))}")
        content = self._audit.file_history.content(version) if kind == EntryKind.HARDLINK else version
        if content is None or kind not in (EntryKind.FILE, EntryKind.HARDLINK, EntryKind.WHITEOUT):
            return Preview((), "no regular file: no content")
        record = self._audit.records[content.layer]
        known = [match for match in record.matches if match.entry == content.entry]
        if any(match.member is not None or match.decoded for match in known):
            return Preview((), "not shown: the file holds a secret in an encoded form. Press r to recover it")
        length = record.listing.sizes[content.entry]
        data = self._read(content, min(length, _SHOWN + _MARGIN))
        if is_binary(data):
            return Preview((), f"binary file, {size(length)}. Press r to recover it")
        path = display_path(record.listing.paths[content.entry])
        return _preview(data, length, self._searcher.search_bytes(data, path), known)

    def _read(self, content: FileVersion, count: int) -> bytes:
        layer, offset = content.layer, self._audit.records[content.layer].listing.offsets[content.entry]
        what = f"{self._audit.image.target}: layer {layer}"
        with LayerReader(self._image.layers[layer], what, self._options.limits) as reader:
            return reader.exactly(offset, offset + count)

    def recover(self, version: FileVersion, output: Path) -> int:
        """Write a file version to a new file with its mode; return its size in bytes.

        All layers are read and verified, as by `image-audit recover`. Raises UsageError if the file exists or can't be
        written, RecoverError, ImageError and Damaged.
        """
        if os.path.lexists(output):
            raise UsageError(f"{output}: exists already. Choose another name")
        # It imports all archive formats, which the first screen does not need.
        from auditor.rebuild.recover import PathVersions

        path = self._audit.records[version.layer].listing.paths[version.entry]
        versions = PathVersions(self._image, path, self._options.limits)
        chosen = next((found for found in versions.versions() if found.version == version), None)
        if chosen is None:
            raise RecoverError(f"{self._audit.mask(display_path(path))}: not a regular file")
        written = 0
        with open_output(output, chosen.mode & 0o777) as out:  # without set-user-ID, set-group-ID and sticky bits
            for chunk in versions.read(chosen):
                written += out.write(chunk)
        return written


def _preview(data: bytes, length: int, found: Sequence[Match], known: Sequence[LayerMatch]) -> Preview:
    """Mask a text file. It ends before a line with a secret that the audit knows and the search did not find again."""
    end = len(data) if length == len(data) else _SHOWN
    within = [match for match in known if match.offset < end]
    missed = [match for match in within if not any(one.start <= match.offset < one.end for one in found)]
    end = min([end, *(_line_start(data, match) for match in missed)])
    end = min((match.start for match in found if match.start < end < match.end), default=end)
    text = masked_text(data[:end].decode("utf-8", "surrogateescape"), [match for match in found if match.end <= end])
    reason = ": a secret there can't be masked. Press r to recover the file" if missed else ""
    note = f"{size(length - end)} more, not shown{reason}" if end < length else ""
    return Preview(tuple(printable(line) for line in text.removesuffix("\n").split("\n")), note)


def _line_start(data: bytes, match: LayerMatch) -> int:
    """Return the offset of the line of a match, by its line and by its offset whichever is lower; 0 without a line."""
    if match.line is None:
        return 0
    by_line = 0
    for _ in range(match.line - 1):
        by_line = data.find(b"\n", by_line) + 1
        if not by_line:
            break
    return min(by_line, data.rfind(b"\n", 0, match.offset) + 1)
