"""One of two file systems that are compared: what a name in it shows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from auditor.core.digests import Digest
from auditor.core.entries import EntryKind, FileVersion
from auditor.rebuild.extraction import IMPLIED_MODE, SETGID, ExtractedInode, OverlayNode
from auditor.rebuild.layer_writer import ReadableLayers
from auditor.rebuild.tar_headers import EntryMetadata, combined_metadata, unpacked_metadata


@dataclass(frozen=True, slots=True)
class FileSystem:
    """One of the two file systems, with its root; `digests` are those of its layers, verified."""

    readable: ReadableLayers
    root: OverlayNode
    digests: tuple[Digest, ...]

    def path(self, at: FileVersion) -> str:
        """Return the path of an entry."""
        return self.readable.listings[at.layer].paths[at.entry]

    def meta(self, inode: ExtractedInode) -> EntryMetadata:
        """Return the metadata that the file system shows."""
        metadata = [unpacked_metadata(self.readable.meta(at)) for at in inode.metadata_entries]
        if not metadata:
            return EntryMetadata(IMPLIED_MODE | SETGID * inode.setgid, 0, 0, 0)
        meta = combined_metadata(metadata, symlink=inode.kind is EntryKind.SYMLINK)
        timed = unpacked_metadata(self.readable.meta(inode.timed)) if inode.timed is not None else meta
        return replace(meta, mtime_ns=timed.mtime_ns)

    def raw(self, inode: ExtractedInode) -> tuple[bytes, ...]:
        """Return the metadata as it stands: equal, if all is well."""
        timed = () if inode.timed is None else (inode.timed,)
        return tuple(self.readable.meta(at) for at in (*inode.metadata_entries, *timed))
