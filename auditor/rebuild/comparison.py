"""Comparison of two file systems: every path, its metadata, its links, every byte."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import field, replace

from auditor.core.dataclass import dataclass
from auditor.core.entries import EntryKind, FileVersion
from auditor.core.text import display_path
from auditor.rebuild.content_comparison import ContentPairs, differing_contents
from auditor.rebuild.extraction import ExtractedInode
from auditor.rebuild.operations import NO_VERSION, unpack_version
from auditor.rebuild.readable_layers import FileSystem
from auditor.rebuild.tar_headers import EntryMetadata

_NS = 1_000_000_000
MAX_SHOWN = 20
"""Differences that are described; the rest is counted."""


@dataclass(slots=True)
class Comparison:
    """Numbers of compared paths and bytes, and the differences, one line each."""

    paths: int = 0
    bytes: int = 0
    count: int = 0
    differences: list[str] = field(default_factory=list)

    def differs(self, path: str, what: str) -> None:
        """Add a difference."""
        self.count += 1
        if len(self.differences) < MAX_SHOWN:
            self.differences.append(f"{display_path(path)}: {what}")


def compare(
    before: FileSystem,
    after: FileSystem,
    copied_from: Mapping[int, array[int]] | None = None,
    *,
    whole_seconds: bool = False,
) -> Comparison:
    """Compare two file systems. `whole_seconds` ignores the fractions of times. Raises Damaged.

    `copied_from` maps layers of the second image to the result of `copy_sources`: those copies are compared too, with
    their paths, even where hidden.
    """
    pairs, result = ContentPairs(before, after), Comparison()
    _Walk(before, after, whole_seconds, pairs, result).walk()
    for layer, sources in (copied_from or {}).items():
        for entry, source in enumerate(sources):
            if source != NO_VERSION:
                old, new = unpack_version(source), FileVersion(layer, entry)
                if before.path(old) != after.path(new):
                    result.differs(after.path(new), "is a copy of a file with another path")
                pairs.add(old, new)
    for new in differing_contents(pairs):
        result.differs(after.path(new), "has other content")
    result.bytes = pairs.bytes()
    return result


class _Walk:
    """Walk over both file systems at once. `pairs` collects the contents that must be equal."""

    def __init__(
        self, before: FileSystem, after: FileSystem, whole_seconds: bool, pairs: ContentPairs, result: Comparison
    ) -> None:
        self._before, self._after, self._whole_seconds = before, after, whole_seconds
        self._pairs, self._result = pairs, result
        self._partners: dict[int, ExtractedInode] = {}
        self._back: dict[int, ExtractedInode] = {}

    def walk(self) -> None:
        """Compare all paths except their contents."""
        stack = [("", self._before.root, self._after.root)]
        while stack:
            path, old, new = stack.pop()
            self._compare(path, old.inode, new.inode)
            prefix = path + "/" if path else ""
            old_names, new_names = old.children(), new.children()
            for name in sorted(old_names.keys() ^ new_names.keys()):
                self._result.differs(prefix + name, f"is {'missing' if name in old_names else 'new'} in the output")
            for name in sorted(old_names.keys() & new_names.keys()):
                self._result.paths += 1
                was, now = old_names[name], new_names[name]
                if was.inode.children or now.inode.children or was.lower or now.lower:
                    stack.append((prefix + name, was, now))
                else:
                    self._compare(prefix + name, was.inode, now.inode)

    def _compare(self, path: str, old: ExtractedInode, new: ExtractedInode) -> None:
        before, after, differs = self._before, self._after, self._result.differs
        if old.kind != new.kind:
            differs(path, f"is {_name(new.kind)}, was {_name(old.kind)}")
            return
        if before.packed_metadata_of(old) != after.packed_metadata_of(new):
            self._compare_metadata(path, before.metadata_of(old), after.metadata_of(new))
        if old.link != new.link:
            differs(path, "has another link target")
        if old.kind is EntryKind.DIR or old.kind is None:
            return
        if old.created_by and new.created_by and self._is_first(path, old, new):
            self._pairs.add(old.created_by, new.created_by)

    def _compare_metadata(self, path: str, was: EntryMetadata, now: EntryMetadata) -> None:
        if self._whole_seconds:
            was, now = (replace(meta, mtime_ns=meta.mtime_ns // _NS * _NS) for meta in (was, now))
        for name in EntryMetadata.__slots__:
            if getattr(was, name) != getattr(now, name):
                self._result.differs(path, f"{name} is {getattr(now, name)!r:.80}, was {getattr(was, name)!r:.80}")

    def _is_first(self, path: str, old: ExtractedInode, new: ExtractedInode) -> bool:
        """Whether this is the first name of its file; all further names must belong to the same pair of files."""
        if old.metadata is None and new.metadata is None:
            return True
        partner, back = self._partners.get(id(old)), self._back.get(id(new))
        if partner is None and back is None:
            self._partners[id(old)], self._back[id(new)] = new, old
            return True
        if partner is not new or back is not old:
            self._result.differs(path, "is hard linked to other names")
        return False


def _name(kind: EntryKind | None) -> str:
    return kind.name.lower() if kind is not None else "a hard link without a target"
